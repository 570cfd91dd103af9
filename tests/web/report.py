#!/usr/bin/env python3
"""report.py - report.html in a real browser: it fits, it draws, it loads nothing from outside, and no text breaks it.

Needs Chromium; exits 77 (skipped) without. LSTMQ_REPORT_SAMPLE is the helper that writes reports of invented runs.
`report.py --screenshots FOLDER` also saves a picture of each page."""
import os
import subprocess
import sys
import tempfile

from support import chromium

WIDTHS = (360, 768, 1280)

# The name of each canvas, and the number of its drawn pixels.
DRAWN = """[...document.querySelectorAll("canvas")].map(canvas => {
    const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    let drawn = 0;
    for (let i = 3; i < pixels.length; i += 4)
        drawn += pixels[i] > 0;
    return [canvas.id, drawn];
})"""

# Elements that reach beyond the right edge of the window, without those in a scrolling box.
OUTSIDE = """[...document.querySelectorAll("body *")].filter(element =>
    element.getBoundingClientRect().right > innerWidth + 0.5 && !element.closest(".scroll")).map(element =>
    element.tagName + "." + element.className)"""

# Contrast of text against the page, as WCAG defines it.
CONTRAST = """(() => {
    const light = name => {
        const probe = document.body.appendChild(document.createElement("i"));
        probe.style.color = "var(--" + name + ")";
        const parts = getComputedStyle(probe).color.match(/[\\d.]+/g).slice(0, 3).map(part => part / 255)
            .map(part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
        probe.remove();
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
    };
    const ratio = (a, b) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    return Math.min(...["page", "card"].flatMap(back =>
        ["ink", "soft", "accent", "two", "three"].map(front => ratio(light(front), light(back)))));
})()"""

failures = []


def check(name, good, detail=""):
    if not good:
        failures.append(name)
        print(f"FAIL {name} {detail}")


def check_page(browser, kind, path, width, dark):
    name = f"{kind} at {width} px, {'dark' if dark else 'light'}:"
    url = "file://" + path
    browser.open(url, width, dark=dark)
    check(f"{name} nothing overflows", browser.value("document.documentElement.scrollWidth <= innerWidth"),
          browser.value("document.documentElement.scrollWidth"))
    check(f"{name} nothing sticks out", browser.value(OUTSIDE) == [], browser.value(OUTSIDE))
    browser.value("document.querySelectorAll('details').forEach(details => details.open = true)")
    check(f"{name} nothing overflows when all is unfolded",
          browser.value("document.documentElement.scrollWidth <= innerWidth"))
    browser.value("document.querySelectorAll('details').forEach(details => details.open = false)")
    charts = browser.value(DRAWN)
    check(f"{name} the charts are there", len(charts) == (0 if kind == "empty" else 4), charts)
    for chart, drawn in charts:
        check(f"{name} {chart} is drawn", drawn > 500, drawn)
    check(f"{name} no complaint on the console", browser.complaints() == [], browser.complaints())
    check(f"{name} no request but the page itself", browser.requests() == [url], browser.requests())
    check(f"{name} no text has run as a script", "broken" != browser.value("document.title"))
    check(f"{name} text can be read", browser.value(CONTRAST) >= 4.5, browser.value(CONTRAST))


# Pairs of charts, tiles and panels that overlap, and canvases larger than their boxes.
OVERLAPS = """(() => {
    const boxes = [...document.querySelectorAll("figure, .scores, main > .panel, p.about")]
        .map(element => element.getBoundingClientRect())
        .filter(box => box.width > 0 && box.height > 0);
    const over = boxes.flatMap((a, i) => boxes.slice(i + 1).filter(b =>
        a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 1 && b.top < a.bottom - 1));
    const large = [...document.querySelectorAll("canvas")].filter(canvas => {
        const inner = canvas.getBoundingClientRect(), outer = canvas.parentElement.getBoundingClientRect();
        return inner.right > outer.right + 1 || inner.bottom > outer.bottom + 1;
    });
    return over.length + large.length;
})()"""


def check_printed(browser, path, pictures):
    """Drawn for a wide dark screen, then laid out on A4 (182 mm between its margins are 688 px)."""
    browser.open("file://" + path, 1280, dark=True)
    browser.call("Emulation.setEmulatedMedia", {"media": "print",
                 "features": [{"name": "prefers-color-scheme", "value": "dark"}]})
    browser.call("Emulation.setDeviceMetricsOverride", {"width": 688, "height": 1017,
                 "deviceScaleFactor": 1, "mobile": False})
    browser.value("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))")
    check("printed: nothing overlaps", browser.value(OVERLAPS) == 0, browser.value(OVERLAPS))
    check("printed: nothing overflows", browser.value("document.documentElement.scrollWidth <= innerWidth"))
    paper = browser.value("getComputedStyle(document.body).backgroundColor")
    check("printed: on white paper", paper == "rgb(255, 255, 255)", paper)
    check("printed: tables stay tables", browser.value(
        "getComputedStyle(document.querySelector('.samples tr')).display") == "table-row")
    if pictures:
        browser.screenshot(os.path.join(pictures, "printed.png"))
    browser.value("window.unfolded = null; addEventListener('beforeprint', () => { window.unfolded = "
                  "document.querySelectorAll('details:not([open])').length; })")
    browser.call("Page.printToPDF", {"preferCSSPageSize": True})
    check("printed: every table is unfolded", browser.value("window.unfolded") == 0, browser.value("window.unfolded"))
    check("printed: folded again afterwards", browser.value("document.querySelectorAll('details[open]').length") == 0)
    browser.call("Emulation.setEmulatedMedia", {"media": "", "features": []})


def check_plain(browser, path):
    """Without JavaScript the table of epochs is open, and there is no empty box in place of a curve."""
    browser.call("Emulation.setScriptExecutionDisabled", {"value": True})
    browser.call("Page.navigate", {"url": "about:blank"})
    browser.open("file://" + path, 1280, script=False)
    found = browser.call("DOM.getDocument", {"depth": 0})["root"]["nodeId"]
    charts = browser.call("DOM.querySelector", {"nodeId": found, "selector": ".charts"})["nodeId"]
    table = browser.call("DOM.querySelector", {"nodeId": found, "selector": "details[open] .epochs"})["nodeId"]
    try:
        browser.call("DOM.getBoxModel", {"nodeId": charts})
        check("plain: no empty charts", False)
    except RuntimeError:
        pass
    pointer = browser.call("DOM.querySelector", {"nodeId": found, "selector": ".only-plain a[href='#numbers']"})[
        "nodeId"]
    check("plain: a line points at the table",
          pointer and browser.call("DOM.getBoxModel", {"nodeId": pointer})["model"]["height"] > 0)
    check("plain: the table of epochs is open",
          table and browser.call("DOM.getBoxModel", {"nodeId": table})["model"]["height"] > 500)
    browser.call("Emulation.setScriptExecutionDisabled", {"value": False})


def check_texts(browser, path):
    """The page shows the texts of the run, markup included."""
    browser.open("file://" + path, 1280)
    cells = browser.value("[...document.querySelectorAll('.samples td')].map(cell => cell.textContent)")
    check("samples: seven rows of three", len(cells) == 21, len(cells))
    check("samples: markup is shown as it is", "c'est un petit <b>chat</b> ." in cells and
          "</script><script>document.title = 'broken'</script>" in cells, cells)
    check("samples: bytes that are not UTF-8 are replaced", "je ne sais \u2028pas & plus \ufffd\ufffd" in cells, cells)
    check("samples: an empty translation is said to be empty", cells[11] == "empty", cells[11])
    check(
        "title: markup is shown as it is",
        "</title><script>" in browser.value("document.querySelector('h1').textContent"))
    first = browser.value("[...document.querySelectorAll('.settings')][0].textContent")
    check(
        "settings: what differs from the defaults comes first",
        all(key in first for key in ("data.pairs", "data.take", "model.encoder_padding")) and "train.lr" not in first,
        first)
    epochs = browser.value("JSON.parse(document.getElementById('epochs').textContent).epoch.length")
    check("curves: half a line at the end is left out", epochs == 50, epochs)


def main():
    path = chromium.find()
    if not path:
        print("skipped: no Chromium (Debian's package chromium)")
        return 77
    pictures = sys.argv[2] if sys.argv[1:2] == ["--screenshots"] else None
    with tempfile.TemporaryDirectory(prefix="lstmq-report-") as folder, chromium.Browser(path) as browser:
        for kind in ("full", "one", "empty"):
            run = os.path.join(folder, kind)
            os.mkdir(run)
            subprocess.run([os.environ["LSTMQ_REPORT_SAMPLE"], run, kind], check=True)
            page = os.path.join(run, "report.html")
            for width in WIDTHS:
                for dark in (False, True):
                    check_page(browser, kind, page, width, dark)
                    if pictures:
                        shade = "dark" if dark else "light"
                        browser.screenshot(os.path.join(pictures, f"{kind}-{width}-{shade}.png"))
        check_texts(browser, os.path.join(folder, "full", "report.html"))
        check_printed(browser, os.path.join(folder, "full", "report.html"), pictures)
        check_plain(browser, os.path.join(folder, "full", "report.html"))
    print(f"{len(failures)} failures" if failures else "report.html: fits, draws, asks for nothing")
    return 1 if failures else 0


sys.exit(main())
