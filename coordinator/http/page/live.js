/* live.js - the live figures of a queue (lstmq serve) or of a run (lstmq coordinator), from their status. */
import {ask, byId, figure, number, pair, Plot, scores, seconds, table, write} from "./common.js";

const HISTORY = 120; /* points, one for each status */
const WINDOW_MS = 60000; /* over which latency is measured */

const history = []; /* {at, waiting, rate, capacity} */
const readings = []; /* {at, buckets} of the requests' times */
let latency = null;  /* {half, most} */
let refused = false; /* the metrics need a token, which the page has not */

const waiting = new Plot(byId("waiting-chart"), [{name: "waiting", pen: "two", fill: true}],
    {quiet: true, digits: 0, title: "", most: 10});
const rate = new Plot(byId("rate-chart"), [{name: "translated", pen: "one", fill: true},
    {name: "possible", pen: "three", dash: true}], {quiet: true, digits: 1, title: "", most: 10});

const NUMBER = "number";

/* The requests of a page of metrics by their time: [seconds, requests that took at most as long], rising. */
function readTimes(page) {
    const buckets = new Map();
    for (const line of page.split("\n")) {
        const found = /^lstmq_request_duration_seconds_bucket\{.*?le="([^"]+)"\} (\S+)/.exec(line);
        if (found) {
            const bound = found[1] === "+Inf" ? Infinity : Number(found[1]);
            buckets.set(bound, (buckets.get(bound) || 0) + Number(found[2]));
        }
    }
    return [...buckets].sort((a, b) => a[0] - b[0]);
}

function within(now, before, share) {
    const counts = now.map(([bound, requests], i) => [bound, requests - (before[i] ? before[i][1] : 0)]);
    const all = counts.length ? counts[counts.length - 1][1] : 0;
    const found = counts.find(([, requests]) => requests >= share * all);
    return all > 0 && found ? found[0] : null;
}

/* Measure the latency of the last minute, if the page may read the metrics. */
export async function readLatency() {
    if (refused)
        return;
    const answer = await ask("metrics", {raw: true});
    refused = answer.status === 401;
    if (!answer.ok)
        return;
    const now = {at: Date.now(), buckets: readTimes(answer.data)};
    readings.push(now);
    while (readings.length > 2 && readings[1].at <= now.at - WINDOW_MS)
        readings.shift();
    const before = readings.length > 1 ? readings[0].buckets : [];
    latency = {half: within(now.buckets, before, 0.5), most: within(now.buckets, before, 0.99)};
}

function bounded(value) {
    return value === null ? "–" : value === Infinity ? "over 30 s" : "≤ " + seconds(value);
}

function queueState(status) {
    const state = byId("state");
    write(state, status.state === "serving" ? status.trouble || "serving" : status.state);
    state.className = "state " + (status.trouble ? "bad" : "good");
}

function queueScores(status) {
    const done = status.requests, lost = done.failed + done.invalid + done.no_worker + done.ending;
    const working = status.workers ? status.workers.filter(worker => worker.state === "busy").length : null;
    scores(byId("queue-scores"), [
        ["Waiting", number(status.waiting), `of ${number(status.queue_limit)} sentences`],
        ["Workers", number(status.worker_count), working === null ? "" : `${working} translating`],
        ["Sentences/s", figure(status.sentences_per_s), `${figure(status.capacity_per_s)} possible`],
        ["Flows", number(status.flow_count), `${number(status.clients)} queue clients`],
        ["Median latency", latency ? bounded(latency.half) : "–", refused ? "the metrics need a token"
            : latency && latency.half !== null ? `99 % ${bounded(latency.most)}` : "no request seen"],
        ["Answered", number(done.ok), `${number(done.busy)} refused, ${number(done.expired)} late, ` +
            `${number(lost)} failed`]
    ]);
}

function queueTables(status) {
    table(byId("models"), [["Languages"], ["Step", NUMBER], ["Checkpoint"], ["State"], ["Waiting", NUMBER],
        ["Oldest", NUMBER], ["Sentences", NUMBER], ["Batches", NUMBER]], status.models.map(model => [
        pair(model), number(model.step), model.hash.slice(0, 8), model.ready ? "ready" : "not loaded",
        number(model.waiting), model.waiting ? seconds(model.oldest_seconds) : "–", number(model.sentences),
        number(model.batches)]));
    byId("workers-box").hidden = !status.workers || status.workers.length === 0;
    table(byId("workers"), [["Worker", NUMBER], ["State"], ["Host"], ["Process", NUMBER], ["Backend"],
        ["Threads", NUMBER], ["Sentences", NUMBER], ["Batches", NUMBER], ["Computing", NUMBER]],
    (status.workers || []).map(worker => [
        number(worker.worker), worker.state, worker.host, String(worker.pid), worker.backend, number(worker.threads),
        number(worker.sentences), number(worker.batches), seconds(worker.computed_seconds)]));
    byId("flows-box").hidden = !status.flows || status.flows.length === 0;
    table(byId("flows"), [["Flow", "wide"], ["Requests", NUMBER], ["Sentences that wait", NUMBER]],
        (status.flows || []).map(flow => [flow.flow, number(flow.requests), number(flow.waiting)]));
}

export function showQueue(status) {
    byId("queue").hidden = false;
    queueState(status);
    queueScores(status);
    queueTables(status);
    history.push({at: new Date().toLocaleTimeString(), waiting: status.waiting, rate: status.sentences_per_s,
                  capacity: status.capacity_per_s});
    if (history.length > HISTORY)
        history.shift();
    const blank = Array(HISTORY - history.length).fill(null), series = name => [...blank,
        ...history.map(point => point[name])];
    waiting.draw([...blank.map(() => ""), ...history.map(point => point.at)], [series("waiting")]);
    rate.draw([...blank.map(() => ""), ...history.map(point => point.at)], [series("rate"), series("capacity")]);
    write(byId("waiting-now"), `now ${number(status.waiting)}`);
    write(byId("rate-now"), `now ${figure(status.sentences_per_s)}`);
}

function runScores(status) {
    const all = status.epoch_steps * status.epochs;
    byId("progress").max = all || 1;
    byId("progress").value = Math.min(status.step, all || 1);
    scores(byId("run-scores"), [
        ["Step", number(status.step), all ? `of ${number(all)}` : ""],
        ["Epoch", number(Math.min(status.epoch, status.epochs)), `of ${number(status.epochs)}`],
        ["Target tokens/s", number(status.tgt_tok_per_s), "in this epoch"],
        ["Workers", number(status.workers), `${number(status.waiting)} waiting, ${number(status.lost)} lost`],
        ["Best " + status.best_metric, number(status.best_score, 4),
         status.best_epoch === null ? "" : `epoch ${number(status.best_epoch)}`],
        ["Saved at step", number(status.saved_step), `generation ${number(status.generation)}`]
    ]);
}

export function showRun(status) {
    const state = byId("state");
    byId("run").hidden = false;
    write(state, status.phase);
    state.className = "state " + (status.workers > 0 ? "good" : "busy");
    runScores(status);
    byId("members-box").hidden = !status.members || status.members.length === 0;
    table(byId("members"), [["Worker", NUMBER], ["State"], ["Rank", NUMBER], ["Host"], ["Process", NUMBER], ["Backend"],
        ["Threads", NUMBER], ["Steps", NUMBER], ["Rows", NUMBER], ["Computing", NUMBER], ["Waiting", NUMBER]],
    (status.members || []).map(member => [
        number(member.worker), member.phase, member.rank === null ? "–" : number(member.rank), member.host,
        String(member.pid), member.backend, number(member.threads), number(member.steps), number(member.rows),
        seconds(member.busy_seconds), seconds(member.waited_seconds)]));
}
