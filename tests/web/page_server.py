"""page_server.py - a server that speaks the endpoints of the page, with invented models, workers and translations.

It sends the page's own files, with the header by which lstmq confines a page. A PageServer is a context manager;
`server.url` is its address, and its fields say what it answers."""
import http.server
import json
import os
import pathlib
import threading
import urllib.parse

FILES = pathlib.Path(os.environ["LSTMQ_SOURCE"]) / "coordinator" / "http" / "page"
TYPES = {".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml",
         ".js": "text/javascript; charset=utf-8"}
POLICY = "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
HOSTILE = "</script><img src=x onerror=\"document.title='broken'\"><b>bold</b>"
NAMES = {"en": "English", "fr": "French", "de": "German", "pt-BR": "Portuguese (Brazil)"}


def epochs(count):
    """The lines of a metrics.jsonl of `count` epochs, and half a line."""
    lines = [json.dumps({
        "epoch": e, "step": 113 * e, "train_loss": 6.1 / (1 + e / 6), "train_acc": 1 - 0.8 / (1 + e / 9),
        "val_loss": 5.4 / (1 + e / 9) + e / 60, "val_acc": 1 - 0.75 / (1 + e / 14), "val_tf_loss": 5 / (1 + e / 9),
        "bleu": None if e < 3 else 31 - 29 / (1 + e / 10), "bleu_normalised": None if e < 3 else 33 - 30 / (1 + e / 10),
        "tgt_tokens": 58222, "tgt_tok_per_s": 21000 + 900 * (e % 5), "seconds": 3.1}) for e in range(1, count + 1)]
    return "\n".join(lines + ['{"epoch": 99, "st'])


def model(source, target, ready=True):
    return {"source": source, "target": target, "version": 3, "step": 5650, "hash": "0123456789abcdef", "ready": ready,
            "waiting": 12, "oldest_seconds": 0.031, "sentences": 1234567, "batches": 20480, "deduplicated": 17}


def queue_status(models, workers, flows, trouble=None):
    states = ("busy", "idle", "loading")
    return {
        "kind": "queue", "state": "serving", "trouble": trouble, "waiting": 12 * len(models), "queue_limit": 16384,
        "sentences_per_s": 412.53, "capacity_per_s": 1201.2, "clients": 3, "connections": 41, "late_results": 0,
        "poison_sentences": 0, "reloads": 2, "reloads_failed": 0, "flow_count": len(flows),
        "requests": {"ok": 90417, "busy": 12, "expired": 3, "invalid": 1, "no_worker": 0, "ending": 0, "failed": 0,
                     "cancelled": 9},
        "models": models, "worker_count": workers,
        "workers": [{"worker": w, "state": states[w % 3], "host": "translate-%d.example.org" % w, "pid": 4711 + w,
                     "threads": 8, "backend": "cpu", "batches": 9000 + w, "sentences": 70000 * w,
                     "computed_seconds": 1871.25 * w} for w in range(1, workers + 1)],
        "flows": [{"flow": flow, "waiting": 7, "requests": 2} for flow in flows]}


RUN_STATUS = {
    "phase": "training", "run": "runs/first", "step": 3100, "epoch": 28, "epochs_done": 27, "epoch_step": 49,
    "epoch_steps": 113, "epochs": 50, "saved_step": 3051, "tgt_tok_per_s": 41230.5, "generation": 3, "workers": 3,
    "waiting": 1, "lost": 1, "best_metric": "val_acc", "best_score": 0.7321, "best_epoch": 26,
    "members": [{"worker": w, "rank": None if w == 4 else w - 1, "phase": "waiting" if w == 4 else "working",
                 "host": "trainer-%d.example.org" % w, "pid": 900 + w, "backend": "cuda", "threads": 4, "steps": 3100,
                 "rows": 49600, "busy_seconds": 812.4, "waited_seconds": 14.2} for w in range(1, 5)]}


class PageServer:
    def __init__(self, chart):
        self.chart = chart
        self.show("one")
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def send(self, status, kind, body):
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Content-Security-Policy", POLICY)
                self.end_headers()
                try:
                    self.wfile.write(body)
                except ConnectionError:  # the browser has left the page
                    self.close_connection = True

            def answer(self, body=None):
                path = urllib.parse.urlsplit(self.path)
                found = server.file(path.path) or server.answer(path.path, body)
                self.send(*found)

            def do_GET(self):
                self.answer()

            def do_POST(self):
                self.answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = "http://127.0.0.1:%d/" % self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def show(self, kind):
        """Be a queue with `one` model, a busy one with `many` and hostile names, one that is `new`, or a `run`."""
        self.error = None
        self.requests = []
        self.most_alternatives = 10
        self.key_required = kind == "many"
        self.limit = 500 if kind == "many" else -1
        self.curves = epochs(1 if kind == "new" else 50 if kind == "one" else 27)
        self.languages = [("en", ["en", "fr"]), ("fr", ["fr"])]
        if kind == "many":
            self.languages = [("de", ["de", "en"]), ("en", ["de", "en", "fr", "pt-BR"]), ("fr", ["en", "fr"]),
                              ("pt-BR", ["pt-BR"])]
        models = {"one": [model("en", "fr")], "new": [model("en", "fr", ready=False)], "run": [],
                  "many": [model("en", "fr"), model("fr", "en"), model("en", "de"), model("de", "en"),
                           model("en", "pt-BR")]}[kind]
        if kind == "new":
            self.curves = None
        flows = ["key:" + HOSTILE, "address:2001:db8:1234:5678:9abc:def0:1234:5678"] if kind == "many" else []
        self.status = RUN_STATUS if kind == "run" else queue_status(
            models, {"one": 2, "many": 12, "new": 0}[kind], flows,
            "no worker has loaded a model" if kind == "new" else None)

    def file(self, path):
        name = "page.html" if path == "/" else path[6:] if path.startswith("/page/") else ""
        if name == "chart.js":
            return 200, TYPES[".js"], pathlib.Path(self.chart).read_bytes()
        if name and "/" not in name and (FILES / name).is_file():
            return 200, TYPES[(FILES / name).suffix], (FILES / name).read_bytes()
        return None

    def answer(self, path, body):
        text = {"/metrics": "lstmq_request_duration_seconds_bucket{interface=\"http\",le=\"0.005\"} 60\n"
                            "lstmq_request_duration_seconds_bucket{interface=\"http\",le=\"0.025\"} 100\n"
                            "lstmq_request_duration_seconds_bucket{interface=\"http\",le=\"+Inf\"} 100\n",
                "/metrics.jsonl": self.curves}.get(path)
        if text is not None:
            return 200, "text/plain", text.encode()
        value = {"/status.json": self.status, "/languages": self.describe(),
                 "/frontend/settings": {"charLimit": self.limit, "keyRequired": self.key_required,
                                        "language": {"target": {"code": "fr", "name": "French"}}}}.get(path)
        status = 200
        if path == "/detect":
            value = [{"confidence": 96, "language": "fr" if "chat" in body["q"] else "en"}]
        elif path == "/translate":
            status, value = self.translate(body)
        elif value is None:
            status, value = 404, {"error": "There is no such page"}
        return status, "application/json", json.dumps(value).encode()

    def describe(self):
        return [{"code": code, "name": NAMES[code], "targets": targets} for code, targets in self.languages]

    def translate(self, body):
        self.requests.append(body)
        if self.error:
            return self.error
        if body["alternatives"] > self.most_alternatives:
            return 400, {"error": "Invalid request: alternatives parameter must be <= %d" % self.most_alternatives}
        words = [word for word in body["q"].split() if word.lower().startswith("xylo")]
        answer = {"translatedText": "<%s> %s" % (body["target"], body["q"].upper()),
                  "alternatives": [HOSTILE, "another translation"],
                  "lstmq": {"compute_ms": 3.25, "queue_ms": 0.5, "models": ["en-fr step-5650 0123456789abcdef"],
                            "texts": [{"cut_words": 0, "source_tokens": 7, "target_tokens": 8,
                                       "unknown_words": words}]}}
        if body["source"] == "auto":
            answer["detectedLanguage"] = {"confidence": 96, "language": "en"}
        return 200, answer
