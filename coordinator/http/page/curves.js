/* curves.js - the curves of a training run, from its metrics.jsonl. */
import {ask, byId, element, number, pair, percent, Plot, scores, table, write} from "./common.js";

const loss = new Plot(byId("loss-chart"), [{name: "training", pen: "one"}, {name: "validation", pen: "two"},
    {name: "validation, teacher forcing", pen: "three", dash: true}], {digits: 4, zero: false, title: "Epoch"});
const accuracy = new Plot(byId("accuracy-chart"), [{name: "training", pen: "one"}, {name: "validation", pen: "two"}],
    {digits: 1, scale: 100, unit: " %", title: "Epoch"});
const bleu = new Plot(byId("bleu-chart"), [{name: "as written", pen: "two"},
    {name: "normalised", pen: "three", dash: true}], {digits: 2, title: "Epoch"});
const speed = new Plot(byId("speed-chart"), [{name: "target tokens per second", pen: "one"}], {title: "Epoch"});

let shown = ""; /* the text that is on the page */

/* The records of a file that may be growing: half a line at the end does not count. */
function parse(text) {
    const records = [];
    for (const line of text.split("\n")) {
        try {
            const record = JSON.parse(line);
            if (record && Number.isInteger(record.epoch))
                records.push(record);
        } catch {
            continue;
        }
    }
    return records;
}

/* The record with the best value of a field: the highest, or with -1 the lowest. */
function best(records, field, sign) {
    return records.filter(record => typeof record[field] === "number").reduce((one, other) =>
        !one || sign * other[field] > sign * one[field] ? other : one, null);
}

function remark(record, field, digits, shownAs = number) {
    return record ? `best ${shownAs(record[field], digits)}, epoch ${record.epoch}` : "";
}

function draw(records) {
    const last = records[records.length - 1], of = field => records.map(record => record[field]);
    const epochs = of("epoch"), best_bleu = best(records, "bleu", 1), best_loss = best(records, "val_loss", -1);
    scores(byId("training-scores"), [
        ["Epochs", number(last.epoch), `${number(last.step)} steps`],
        ["Training loss", number(last.train_loss, 4), `accuracy ${percent(last.train_acc)}`],
        ["Validation loss", number(last.val_loss, 4), remark(best_loss, "val_loss", 4)],
        ["Validation accuracy", percent(last.val_acc), remark(best(records, "val_acc", 1), "val_acc", 1, percent)],
        ["BLEU", number(last.bleu, 2), remark(best_bleu, "bleu", 2)],
        ["Target tokens/s", number(last.tgt_tok_per_s), `${number(last.seconds, 1)} s for an epoch`]
    ]);
    loss.draw(epochs, [of("train_loss"), of("val_loss"), of("val_tf_loss")]);
    accuracy.draw(epochs, [of("train_acc"), of("val_acc")]);
    bleu.draw(epochs, [of("bleu"), of("bleu_normalised")]);
    speed.draw(epochs, [of("tgt_tok_per_s")]);
    const mark = best_bleu || best_loss;
    table(byId("epochs"), ["Epoch", "Step", "Training loss", "Accuracy", "Validation loss", "Forced", "Accuracy",
        "BLEU", "Tokens/s", "Seconds"].map(name => [name, "number"]), records.map(record => [
        number(record.epoch), number(record.step), number(record.train_loss, 4), percent(record.train_acc),
        number(record.val_loss, 4), number(record.val_tf_loss, 4), percent(record.val_acc), number(record.bleu, 2),
        number(record.tgt_tok_per_s), number(record.seconds, 1)]), row => records[row] === mark ? "best" : "");
}

/* Offer the models of a queue; the page shows the curves of one. */
export function offerModels(models) {
    const pick = byId("model"), names = models.map(pair);
    if (pick.names === JSON.stringify(names))
        return;
    pick.names = JSON.stringify(names);
    const old = pick.value;
    pick.replaceChildren(...names.map((name, i) => {
        const option = element("option", name);
        option.value = String(i);
        return option;
    }));
    pick.value = old && Number(old) < names.length ? old : "0";
    byId("pick").hidden = names.length < 2;
}

export async function readCurves() {
    const answer = await ask("metrics.jsonl?model=" + (byId("model").value || "0"), {raw: true});
    if (answer.ok && answer.data === shown)
        return;
    const records = answer.ok ? parse(answer.data) : [];
    shown = answer.ok ? answer.data : "";
    byId("training").hidden = false;
    byId("training-charts").hidden = byId("training-scores").hidden = records.length === 0;
    byId("training").querySelector("details").hidden = records.length === 0;
    write(byId("training-about"), records.length ? "" : answer.ok ? "No epoch has ended yet."
        : "The checkpoint's run has no metrics.jsonl, so there are no curves.");
    if (records.length)
        draw(records);
}
