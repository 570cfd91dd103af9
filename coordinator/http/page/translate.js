/* translate.js - the translation box. It translates when the user pauses, presses the button, or Ctrl and Enter. */
import {ask, byId, element, write, seconds} from "./common.js";

const DETECT_MS = 350, PAUSE_MS = 700;

const source = byId("source"), target = byId("target"), text = byId("text"), result = byId("result");

let languages = []; /* of /languages */
let limit = -1;     /* characters of a text; -1 = none */
let most = 3;       /* alternatives to request */
let detected = "";  /* code, of the present text */
let pending = null;   /* the AbortController of the request in flight */
let detectTimer = 0, pauseTimer = 0, detection = 0;

const find = code => languages.find(language => language.code === code);
const name = code => (find(code) || {name: code}).name;
const key = () => byId("key").value;

function fill(select, options, wanted) {
    const texts = JSON.stringify(options);
    if (select.options_are !== texts)
        select.replaceChildren(...options.map(([code, label]) => {
            const option = element("option", label);
            option.value = code;
            return option;
        }));
    select.options_are = texts;
    if (options.some(([code]) => code === wanted))
        select.value = wanted;
}

/* The languages that the chosen source can be translated to, the others first. */
function offerTargets(wanted) {
    const from = source.value;
    const reached = new Set(from === "auto" ? languages.flatMap(language =>
        language.targets.filter(code => code !== language.code)) : find(from).targets);
    if (from !== "auto" && reached.size > 1)
        reached.delete(from);
    fill(target, [...reached].map(code => [code, name(code)]), wanted || target.value);
    offerSwap();
}

function swapped() {
    const from = source.value === "auto" ? detected : source.value;
    const back = find(target.value);
    return from && from !== target.value && back && back.targets.includes(from) ? from : "";
}

function offerSwap() {
    byId("swap").setAttribute("aria-disabled", swapped() ? "false" : "true");
    byId("swap").title = swapped() ? "" : "No model translates the other way";
}

function count() {
    const length = [...text.value].length;
    const shown = length.toLocaleString("en") + (limit >= 0 ? " of " + limit.toLocaleString("en") : "");
    write(byId("count"), length || limit >= 0 ? shown + (length === 1 ? " character" : " characters") : "");
}

function showDetected(guess) {
    detected = guess && guess.confidence > 0 ? guess.language : "";
    write(byId("detected"), !guess || source.value !== "auto" ? ""
        : detected ? `Detected: ${name(detected)}, ${guess.confidence} % sure` : "The language was not recognised");
    if (detected)
        text.lang = detected;
    offerSwap();
}

async function detect() {
    const turn = ++detection;
    if (source.value !== "auto" || !text.value.trim()) {
        showDetected(null);
        return;
    }
    try {
        const answer = await ask("detect", {body: {q: text.value}, key: key()});
        if (turn === detection && answer.ok && Array.isArray(answer.data))
            showDetected(answer.data[0]);
    } catch {
        /* The translation will say that the server cannot be reached. */
    }
}

/* The source with each unknown word marked, where it stands. */
function showUnknown(value, words) {
    const box = byId("unknown-text"), low = value.toLowerCase(), rest = [];
    byId("unknown").hidden = words.length === 0;
    box.replaceChildren();
    let at = 0;
    for (const token of words) {
        const word = token.replace(/^[^\p{L}\p{N}]+|[^\p{L}\p{N}]+$/gu, "") || token;
        const found = low.length === value.length ? low.indexOf(word.toLowerCase(), at) : -1;
        if (found < 0) {
            rest.push(word);
            continue;
        }
        box.append(value.slice(at, found), element("mark", value.slice(found, found + word.length)));
        at = found + word.length;
    }
    box.append(at > 0 ? value.slice(at) : "");
    rest.forEach((word, i) => box.append(at > 0 || i > 0 ? " " : "", element("mark", word)));
}

function showAlternatives(others) {
    byId("alternatives").hidden = others.length === 0;
    byId("alternatives-list").replaceChildren(...others.map(other => {
        const item = element("li", other);
        item.lang = target.value;
        item.dir = "auto";
        return item;
    }));
}

function showBy(details) {
    const model = details && details.models && details.models[0] ? details.models[0] : "";
    write(byId("by"), model ? `${model.split(" ").slice(0, 2).join(", ")} in ` +
        seconds((details.queue_ms + details.compute_ms) / 1000) : "");
}

function clear() {
    write(result, "");
    write(byId("problem"), "");
    write(byId("by"), "");
    byId("copy").hidden = true;
    showUnknown("", []);
    showAlternatives([]);
}

function show(value, data) {
    const details = data.lstmq, of = details && details.texts ? details.texts[0] : null;
    write(result, data.translatedText);
    result.lang = target.value;
    write(byId("problem"), of && of.cut_words > 0 ? `The model reads shorter sentences only: ${of.cut_words} words ` +
        "at the end of sentences were left out" : "");
    byId("copy").hidden = !data.translatedText;
    showBy(details);
    showUnknown(value, of ? of.unknown_words : []);
    showAlternatives(data.alternatives || []);
    if (data.detectedLanguage)
        showDetected(data.detectedLanguage);
}

async function request(value, signal) {
    for (;;) {
        const answer = await ask("translate", {
            body: {q: value, source: source.value, target: target.value, format: "text", details: true,
                   alternatives: most},
            signal, key: key()
        });
        const error = answer.data && answer.data.error;
        const fewer = /alternatives parameter must be <= (\d+)/.exec(error || "");
        if (!fewer || Number(fewer[1]) >= most)
            return answer;
        most = Number(fewer[1]);
    }
}

async function translate() {
    clearTimeout(pauseTimer);
    if (pending)
        pending.abort();
    if (!text.value.trim()) {
        pending = null;
        settle();
        clear();
        return;
    }
    const mine = pending = new AbortController(), value = text.value;
    result.classList.add("old");
    result.setAttribute("aria-busy", "true");
    try {
        const answer = await request(value, mine.signal);
        if (mine !== pending)
            return;
        if (answer.ok && answer.data && typeof answer.data.translatedText === "string")
            show(value, answer.data);
        else
            write(byId("problem"), (answer.data && answer.data.error) || `The server answered ${answer.status}`);
    } catch {
        if (mine !== pending)
            return;
        write(byId("problem"), "The server cannot be reached");
    }
    settle();
}

function settle() {
    result.classList.remove("old");
    result.setAttribute("aria-busy", "false");
}

function typed() {
    count();
    clearTimeout(detectTimer);
    clearTimeout(pauseTimer);
    detectTimer = setTimeout(detect, DETECT_MS);
    pauseTimer = setTimeout(translate, PAUSE_MS);
}

function swap() {
    const from = swapped(), old = result.textContent;
    if (!from)
        return;
    source.value = target.value;
    offerTargets(from);
    if (old)
        text.value = old;
    text.lang = source.value;
    count();
    showDetected(null);
    translate();
}

async function copy() {
    try {
        await navigator.clipboard.writeText(result.textContent);
    } catch {
        getSelection().selectAllChildren(result);
        document.execCommand("copy");
    }
    write(byId("copy"), "Copied");
    setTimeout(() => write(byId("copy"), "Copy"), 1500);
}

/* Read the languages and limits again: a server that starts, or loads another model, changes them. */
export async function readLanguages() {
    const [known, settings] = await Promise.all([ask("languages"), ask("frontend/settings")]);
    if (!known.ok || !Array.isArray(known.data))
        return;
    const first = languages.length === 0;
    languages = known.data;
    if (settings.ok && settings.data) {
        limit = settings.data.charLimit;
        byId("key-row").hidden = !settings.data.keyRequired;
    }
    fill(source, [["auto", "Detect"], ...languages.map(({code, name: label}) => [code, label])],
        source.value || "auto");
    offerTargets(first && settings.data ? settings.data.language.target.code : target.value);
    byId("translate").hidden = languages.length === 0;
    byId("docs").hidden = false;
    count();
}

export function beginTranslation() {
    byId("form").addEventListener("submit", event => {
        event.preventDefault();
        translate();
    });
    text.addEventListener("input", typed);
    text.addEventListener("keydown", event => {
        if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
            event.preventDefault();
            translate();
        }
    });
    source.addEventListener("change", () => {
        offerTargets();
        text.lang = source.value === "auto" ? "" : source.value;
        showDetected(null);
        detect();
        translate();
    });
    target.addEventListener("change", () => {
        offerSwap();
        translate();
    });
    byId("swap").addEventListener("click", swap);
    byId("copy").addEventListener("click", copy);
}
