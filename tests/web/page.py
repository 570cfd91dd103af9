#!/usr/bin/env python3
"""page.py - the page of `lstmq serve` and `lstmq coordinator` in a real browser, before an invented server.

It fits phones and desks in dark and light, draws its curves, asks its own server only, and no text breaks it. A
keyboard is enough. Needs Chromium; exits 77 (skipped) without. `page.py --screenshots FOLDER` also saves pictures.

`page.py axe` lets axe look for barriers instead. It needs the Python package axe-core-python, or LSTMQ_AXE with the
path of an axe.min.js; exits 77 without."""
import glob
import importlib.util
import json
import os
import sys
import time

from support import chromium
from page_server import HOSTILE, PageServer

WIDTHS = (360, 1280)
KINDS = ("one", "many", "new", "run")
SECONDS = 60
TEXT = "The xylophone is old. Is the Xylograph new?"

DRAWN = """[...document.querySelectorAll("canvas")].filter(canvas => canvas.offsetParent).map(canvas => {
    const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    let drawn = 0;
    for (let i = 3; i < pixels.length; i += 4)
        drawn += pixels[i] > 0;
    return [canvas.id, drawn];
})"""

# Elements that reach beyond an edge of the window, without those in a scrolling box or made for screen readers.
OUTSIDE = """[...document.querySelectorAll("body *")].filter(element => {
    const box = element.getBoundingClientRect();
    return (box.right > innerWidth + 0.5 || box.left < -0.5) && !element.closest(".scroll, .hidden");
}).map(element => element.tagName + "." + element.className)"""

# Pairs of boxes that overlap, and texts that are cut off by their box.
OVERLAPS = """(() => {
    const boxes = [...document.querySelectorAll("figure, .scores, .panel, .pane, .note, .actions, .languages")]
        .map(element => element.getBoundingClientRect()).filter(box => box.width > 0 && box.height > 0);
    const over = boxes.flatMap((a, i) => boxes.slice(i + 1).filter(b =>
        a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 1 && b.top < a.bottom - 1));
    const cut = [...document.querySelectorAll("button, dd, dt, .state, h1, h2, h3, .under span")].filter(element =>
        element.scrollWidth > element.clientWidth + 1 && element.clientWidth > 0);
    return [over.length, cut.map(element => element.outerHTML.slice(0, 80))];
})()"""

failures = []


def check(name, good, detail=""):
    if not good:
        failures.append(name)
        print(f"FAIL {name} {detail}")


def wait(browser, expression, name):
    """Wait until an expression is true; report it if it never is."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        if browser.value(expression):
            return True
        time.sleep(0.02)
    check(name, False, expression)
    return False


def axe_script():
    """The text of axe.min.js, or None."""
    paths = [os.environ["LSTMQ_AXE"]] if os.environ.get("LSTMQ_AXE") else []
    for package in ("axe_core_python", "axe_playwright_python"):
        found = importlib.util.find_spec(package)
        for folder in found.submodule_search_locations if found else []:
            paths += glob.glob(os.path.join(folder, "**", "axe.min.js"), recursive=True)
    for path in paths:
        with open(path, encoding="utf-8") as file:
            return file.read()
    return None


def chart_js():
    for pattern in ("chart.umd.min.js", "chart.umd.js", "chart.min.js", "Chart.min.js"):
        for folder in ("/usr/share/javascript/chart.js", "/usr/share/nodejs/chart.js/dist"):
            if os.path.exists(os.path.join(folder, pattern)):
                return os.path.join(folder, pattern)
    return None


def check_axe(browser, name, axe):
    browser.value(axe + "; 1")
    found = browser.value("axe.run(document, {resultTypes: ['violations']}).then(result => "
                          "result.violations.map(v => [v.id, v.nodes.map(node => node.html.slice(0, 90))]))")
    check(f"{name} axe finds nothing", found == [], json.dumps(found))


def type_text(browser, text):
    browser.value("document.getElementById('text').focus(); document.getElementById('text').select()")
    browser.call("Input.insertText", {"text": text})


def press(browser, key, code, modifiers=0, text=None):
    for kind in ("keyDown", "keyUp"):
        browser.call("Input.dispatchKeyEvent", {
            "type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code, "modifiers": modifiers,
            **({"text": text} if text and kind == "keyDown" else {})})


def open_page(browser, server, width, dark, kind):
    server.show(kind)
    browser.open(server.url, width, dark=dark)
    ready = {"run": "!document.getElementById('run').hidden && !document.getElementById('training').hidden",
             "new": "!document.getElementById('queue').hidden"}
    wait(browser, ready.get(kind, "!document.getElementById('training').hidden && "
                                  "!document.getElementById('queue').hidden"), f"{kind}: the page is filled")


def check_look(browser, server, width, dark, kind, axe, pictures):
    shade = "dark" if dark else "light"
    name = f"{kind} at {width} px, {shade}:"
    open_page(browser, server, width, dark, kind)
    if kind in ("one", "many"):
        type_text(browser, TEXT)
        wait(browser, "document.getElementById('result').textContent && "
                      "!document.getElementById('alternatives').hidden", f"{name} translated")
    browser.value("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))")
    if axe:
        browser.value("document.querySelectorAll('details').forEach(details => details.open = true)")
        check_axe(browser, name, axe)
        return
    check(f"{name} nothing overflows", browser.value("document.documentElement.scrollWidth <= innerWidth"),
          browser.value("document.documentElement.scrollWidth"))
    check(f"{name} nothing sticks out", browser.value(OUTSIDE) == [], browser.value(OUTSIDE))
    check(f"{name} nothing overlaps", browser.value(OVERLAPS) == [0, []], browser.value(OVERLAPS))
    charts = browser.value(DRAWN)
    check(f"{name} the charts are there", len(charts) == {"one": 6, "many": 6, "new": 2, "run": 4}[kind], charts)
    for chart, drawn in charts:
        check(f"{name} {chart} is drawn", drawn > 200, drawn)
    if pictures:
        browser.screenshot(os.path.join(pictures, f"{kind}-{width}-{shade}.png"))
    browser.value("document.querySelectorAll('details').forEach(details => details.open = true)")
    check(f"{name} nothing overflows when all is unfolded",
          browser.value("document.documentElement.scrollWidth <= innerWidth"))
    check(f"{name} no complaint on the console", browser.complaints() == [] or kind == "new", browser.complaints())
    strange = [url for url in browser.requests() if not url.startswith(server.url)]
    check(f"{name} only its own server is asked", strange == [], strange)
    check(f"{name} no text has run as a script", "broken" != browser.value("document.title"))


def text_of(identity):
    return f"document.getElementById('{identity}').textContent"


def check_translation(browser, server):
    open_page(browser, server, 1280, False, "one")
    server.most_alternatives = 2
    type_text(browser, "le chat")
    wait(browser, text_of("detected") + ".includes('French')", "translate: the language is detected while one types")
    type_text(browser, TEXT)
    wait(browser, text_of("result") + f" === {json.dumps('<fr> ' + TEXT.upper())}", "translate: a pause translates")
    check("translate: markup is shown as it is", HOSTILE in browser.value(
        "[...document.querySelectorAll('#alternatives-list li')].map(item => item.textContent)"))
    check("translate: unknown words are marked in their text", browser.value(
        "[...document.querySelectorAll('#unknown-text mark')].map(mark => mark.textContent)") ==
          ["xylophone", "Xylograph"] and browser.value(text_of("unknown-text")) == TEXT,
          browser.value(text_of("unknown-text")))
    check("translate: fewer alternatives are requested where the server allows fewer",
          server.requests[-1]["alternatives"] == 2, server.requests[-1])
    check("translate: the model is named", "step-5650" in browser.value(text_of("by")))
    check("translate: the result has its language", browser.value("document.getElementById('result').lang") == "fr")
    check("translate: there is no way back", browser.value(
        "document.getElementById('swap').getAttribute('aria-disabled')") == "true")
    server.error = (503, {"error": "Server is busy, try again in 1 s " + HOSTILE})
    type_text(browser, "again")
    press(browser, "Enter", 13, modifiers=2)
    wait(browser, text_of("problem") + ".startsWith('Server is busy')", "translate: an error is shown")
    server.error = None
    press(browser, "Enter", 13, modifiers=2)
    wait(browser, text_of("result") + " === '<fr> AGAIN' && " + text_of("problem") + " === ''",
         "translate: Ctrl and Enter translate at once, and the error goes")
    type_text(browser, "")
    press(browser, "Delete", 46)
    wait(browser, text_of("result") + " === '' && document.getElementById('unknown').hidden",
         "translate: an empty text has an empty translation")


def check_swap(browser, server):
    open_page(browser, server, 1280, False, "many")
    check("swap: a key is requested", browser.value("!document.getElementById('key-row').hidden"))
    browser.value("const from = document.getElementById('source'); from.value = 'en';"
                  "from.dispatchEvent(new Event('change')); const to = document.getElementById('target');"
                  "to.value = 'fr'; to.dispatchEvent(new Event('change')); document.getElementById('key').value = 'k1'")
    check("swap: a language is not offered as its own target", "en" not in browser.value(
        "[...document.getElementById('target').options].map(option => option.value)"))
    type_text(browser, "cat")
    wait(browser, text_of("result") + " === '<fr> CAT'", "swap: translated")
    check("swap: the key is sent", server.requests[-1].get("api_key") == "k1", server.requests[-1])
    check("swap: the limit is shown", browser.value(text_of("count")) == "3 of 500 characters")
    browser.value("document.getElementById('swap').click()")
    wait(browser, "document.getElementById('source').value === 'fr' && document.getElementById('target').value === 'en'"
         " && " + text_of("result") + " === '<en> <FR> CAT'", "swap: both languages and texts change places")
    check("models: their curves can be chosen", browser.value("document.getElementById('model').options.length") == 5)


def check_keyboard(browser, server):
    """Tab visits the box in the order of the page, and each stop can be seen."""
    open_page(browser, server, 1280, False, "one")
    seen = []
    for _ in range(7):
        press(browser, "Tab", 9)
        seen.append(browser.value("document.activeElement.id"))
        check("keyboard: the focus can be seen", browser.value(
            "getComputedStyle(document.activeElement).outlineStyle !== 'none'"), seen[-1])
    check("keyboard: in the order of the page", seen[:6] == ["source", "swap", "target", "text", "result", "go"], seen)


def check_states(browser, server):
    open_page(browser, server, 1280, False, "new")
    check("states: the reason is shown", browser.value(text_of("state")) == "no worker has loaded a model")
    server.show("one")
    wait(browser, text_of("state") + " === 'serving' && !document.getElementById('training-charts').hidden",
         "states: it goes on when the server is ready")
    check("states: latency of the last minute", "≤ 5.00 ms" in browser.value(text_of("queue-scores")),
          browser.value(text_of("queue-scores")))
    server.status = None
    wait(browser, text_of("state") + " === 'no connection to the server'", "states: a lost server is noticed")
    open_page(browser, server, 1280, False, "run")
    check("states: a run has no translation box", browser.value("document.getElementById('translate').hidden"))
    check("states: a run names itself", browser.value("document.title") == "runs/first · lstmq")
    check("states: half a line at the end of the curves is left out",
          browser.value("document.querySelectorAll('#epochs tbody tr').length") == 27)


def main():
    path, chart = chromium.find(), chart_js()
    if not path or not chart:
        print("skipped: no Chromium (Debian's package chromium), or no Chart.js")
        return 77
    pictures = sys.argv[2] if sys.argv[1:2] == ["--screenshots"] else None
    axe = axe_script() if sys.argv[1:2] == ["axe"] else None
    if sys.argv[1:2] == ["axe"] and not axe:
        print("skipped: no axe (the Python package axe-core-python, or LSTMQ_AXE=/path/to/axe.min.js)")
        return 77
    with PageServer(chart) as server, chromium.Browser(path) as browser:
        for kind in KINDS:
            for width in WIDTHS:
                for dark in (False, True) if kind == "many" else (width == 360,):
                    check_look(browser, server, width, dark, kind, axe, pictures)
        if not axe:
            check_translation(browser, server)
            check_swap(browser, server)
            check_keyboard(browser, server)
            check_states(browser, server)
        browser.call("Page.navigate", {"url": "about:blank"})
    print(f"{len(failures)} failures" if failures else "the page: fits, draws, translates, asks its own server only")
    return 1 if failures else 0


sys.exit(main())
