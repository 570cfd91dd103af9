/* page.js - begins the page, and asks for the status once a second while the page is visible. */
import {ask, byId, pair, write} from "./common.js";
import {offerModels, readCurves} from "./curves.js";
import {readLatency, showQueue, showRun} from "./live.js";
import {beginTranslation, readLanguages} from "./translate.js";

const STATUS_MS = 1000, LATENCY_MS = 5000, CURVES_MS = 30000;

const due = {languages: 0, latency: 0, curves: 0}; /* when each is to be read again */
let known = ""; /* models of the last status, or its epochs */

/* Run a reader if its time has come; a failure is tried again later. */
async function when(name, ms, read) {
    if (Date.now() < due[name])
        return;
    due[name] = Date.now() + ms;
    try {
        await read();
    } catch {
        due[name] = Date.now() + STATUS_MS;
    }
}

async function showStatus(status) {
    const queue = status.kind === "queue";
    const now = JSON.stringify(queue ? status.models.map(({source, target, version, ready}) =>
        [source, target, version, ready]) : status.epochs_done);
    if (now !== known)
        due.languages = due.curves = 0;
    known = now;
    if (queue) {
        document.title = "Translate · lstmq";
        write(byId("about"), status.models.map(pair).join(", "));
        offerModels(status.models);
        await Promise.all([when("languages", Infinity, readLanguages), when("latency", LATENCY_MS, readLatency),
                           when("curves", CURVES_MS, readCurves)]);
        showQueue(status);
    } else {
        document.title = `${status.run} · lstmq`;
        write(byId("title"), status.run);
        write(byId("about"), "A training run");
        showRun(status);
        await when("curves", CURVES_MS, readCurves);
    }
}

function showLost() {
    write(byId("state"), "no connection to the server");
    byId("state").className = "state bad";
    known = "";
}

async function look() {
    let answer;
    try {
        answer = await ask("status.json");
    } catch {
        showLost();
        return;
    }
    if (answer.ok && answer.data)
        await showStatus(answer.data);
    else
        showLost();
}

async function watch() {
    try {
        if (!document.hidden)
            await look();
    } finally {
        setTimeout(watch, STATUS_MS);
    }
}

beginTranslation();
byId("model").addEventListener("change", () => {
    due.curves = 0;
    when("curves", CURVES_MS, readCurves);
});
watch();
