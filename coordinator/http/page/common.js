/* common.js - what the parts of the page share: texts, figures, tables, curves. Every text from the server is set as
 * text, never as markup. */

export const byId = id => document.getElementById(id);

/* Set a text, but leave an equal one alone, so that a screen reader does not repeat it. */
export function write(node, text) {
    if (node.textContent !== text)
        node.textContent = text;
}

export function element(name, text, kind) {
    const node = document.createElement(name);
    if (text !== undefined)
        node.textContent = text;
    if (kind)
        node.className = kind;
    return node;
}

export function number(value, digits = 0) {
    if (typeof value !== "number" || !isFinite(value))
        return "–";
    return value.toLocaleString("en", {minimumFractionDigits: digits, maximumFractionDigits: digits});
}

/* A rate or a time with as many digits as matter. */
export const figure = value => number(value, value >= 100 || value === 0 ? 0 : value >= 10 ? 1 : 2);

export const percent = (value, digits = 1) =>
    typeof value === "number" ? number(value * 100, digits) + " %" : "–";

export function seconds(value) {
    if (typeof value !== "number" || !isFinite(value))
        return "–";
    return value < 1 ? figure(value * 1000) + " ms" : figure(value) + " s";
}

/* Ask this server. `body` is sent as JSON; what it answers is JSON or text. Throws when there is no answer. */
export async function ask(path, {body, signal, key, raw} = {}) {
    const options = {signal, cache: "no-store", credentials: "same-origin", headers: {}};
    if (body !== undefined) {
        options.method = "POST";
        options.headers["Content-Type"] = "application/json";
        options.body = JSON.stringify(key ? {...body, api_key: key} : body);
    }
    const answer = await fetch(path, options);
    const text = await answer.text();
    let data = text;
    if (!raw) {
        try {
            data = JSON.parse(text);
        } catch {
            data = null;
        }
    }
    return {ok: answer.ok, status: answer.status, headers: answer.headers, data};
}

/* Fill a list of figures: [name, value, remark] each. */
export function scores(list, rows) {
    while (list.children.length > rows.length)
        list.lastChild.remove();
    rows.forEach(([name, value, remark], i) => {
        if (!list.children[i]) {
            const item = list.appendChild(element("div")), shown = element("dd");
            item.append(element("dt"), shown);
            shown.append(element("span"), element("small"));
        }
        const [term, shown] = list.children[i].children;
        write(term, name);
        write(shown.firstChild, value);
        write(shown.lastChild, remark || "");
    });
}

/* Fill a table: columns are [name, kind], rows are lists of texts. What is equal stays. */
export function table(node, columns, rows, kindOf = () => "") {
    const cells = JSON.stringify([columns, rows]);
    if (node.cells === cells)
        return;
    node.cells = cells;
    const head = element("tr"), body = element("tbody"), top = element("thead");
    for (const [name, kind] of columns) {
        const cell = head.appendChild(element("th", name, kind));
        cell.scope = "col";
    }
    top.append(head);
    rows.forEach((row, r) => {
        const line = body.appendChild(element("tr", undefined, kindOf(r)));
        row.forEach((text, i) => line.append(element("td", text, columns[i][1])));
    });
    node.replaceChildren(top, body);
}

const names = new Intl.DisplayNames(["en"], {type: "language", fallback: "code"});

function languageName(code) {
    try {
        return names.of(code);
    } catch {
        return code || "any language";
    }
}

/* The languages of a model: "English → French". */
export const pair = model => `${languageName(model.source)} → ${languageName(model.target)}`;

const plots = [];

const colour = name => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();

/* Labels of an axis with as many digits as tell neighbours apart; `scale` and `unit` as in 100 and " %". */
const ticks = (scale, unit) => (value, index, all) => {
    const step = all.length > 1 ? Math.abs(all[1].value - all[0].value) * scale : 1;
    return number(value * scale, Math.max(0, Math.min(6, -Math.floor(Math.log10(step) + 1e-9)))) + unit;
};

/* Lines over a canvas. `lines` are {name, pen, dash, fill}; `options` are {scale, unit, digits, zero, title, quiet}:
 * quiet ones have no labels along the x axis. */
export class Plot {
    constructor(canvas, lines, options) {
        Object.assign(this, {canvas, lines, options, labels: [], data: lines.map(() => [])});
        plots.push(this);
    }

    draw(labels, data) {
        this.labels = labels;
        this.data = data;
        if (!this.chart)
            this.create();
        this.chart.data.labels = labels;
        this.chart.data.datasets.forEach((set, i) => {
            set.data = data[i];
            set.pointRadius = !this.options.quiet && labels.length < 4 ? 3 : 0;
        });
        this.chart.update("none");
    }

    create() {
        const {lines, options} = this, scale = options.scale || 1, unit = options.unit || "";
        const axis = {ticks: {color: colour("soft"), font: {size: 11.5}, maxRotation: 0}};
        Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;
        this.chart = new Chart(this.canvas, {
            type: "line",
            data: {
                labels: this.labels,
                datasets: lines.map((line, i) => ({
                    label: line.name, data: this.data[i], borderColor: colour(line.pen),
                    backgroundColor: colour(line.pen) + "2e", fill: Boolean(line.fill), borderWidth: 2,
                    borderDash: line.dash ? [5, 4] : [], pointRadius: 0, pointHoverRadius: 4, pointHitRadius: 12,
                    tension: 0, spanGaps: true
                }))
            },
            options: {
                animation: false, responsive: true, maintainAspectRatio: false,
                interaction: {mode: "index", intersect: false},
                scales: {
                    x: {...axis, display: !options.quiet, grid: {display: false, drawBorder: false},
                        ticks: {...axis.ticks, autoSkipPadding: 18}},
                    y: {...axis, beginAtZero: options.zero !== false, suggestedMax: options.most,
                        grid: {color: colour("grid"), drawBorder: false},
                        ticks: {...axis.ticks, maxTicksLimit: 6, callback: ticks(scale, unit)}}
                },
                plugins: {
                    legend: {display: false},
                    tooltip: {
                        backgroundColor: colour("ink"), titleColor: colour("card"), bodyColor: colour("card"),
                        padding: 10, displayColors: false,
                        callbacks: {
                            title: items => options.title + " " + items[0].label,
                            label: item => item.dataset.label + ": " + number(item.raw * scale, options.digits) + unit
                        }
                    }
                }
            }
        });
    }

    destroy() {
        if (this.chart)
            this.chart.destroy();
        this.chart = null;
    }
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => plots.forEach(plot => {
    if (plot.chart) {
        plot.destroy();
        plot.draw(plot.labels, plot.data);
    }
}));
