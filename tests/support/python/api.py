"""`lstmq serve` with its HTTP side as a process of a test, and requests to it byte for byte."""

import http.client
import json
import urllib.parse

from support.cluster import Process

JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


class Answer:
    def __init__(self, response):
        self.status, self.headers, self.body = response.status, response.headers, response.read()

    def json(self):
        return json.loads(self.body)

    def error(self):
        return self.json()["error"]


class Server:
    """With these options ("http.texts": 5); by default one embedded worker that echoes. `cleanup` is a test's
    addCleanup."""

    def __init__(self, cleanup, *flags, **options):
        options = {"serve.bind": "tcp://127.0.0.1:0", "http.bind": "127.0.0.1:0", "serve.heartbeat_timeout": 60000,
                   "train.threads": 1, **options}
        if "serve.model" not in options:
            flags = ("--serve.echo", *flags)
        words = [word for key, value in options.items() for word in ("--" + key, str(value))]
        self.process = Process("serve", *words, *flags, "--log.format", "json", name="queue")
        cleanup(self.close)
        self.endpoint = self.process.event("listening")["address"]
        self.address = self.process.event("http_listening")["address"]
        self.url = "http://" + self.address

    def ready(self):
        self.process.event("model_current")
        return self

    def request(self, method, path, body=None, headers=None):
        connection = http.client.HTTPConnection(self.address, timeout=120)
        try:
            connection.request(method, path, body, headers or {})
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def get(self, path, headers=None):
        return self.request("GET", path, headers=headers)

    def post(self, path, fields, headers=None):
        """Send JSON."""
        return self.request("POST", path, json.dumps(fields), {**JSON, **(headers or {})})

    def form(self, path, fields, headers=None):
        """Send a form; `fields` may repeat a name."""
        return self.request("POST", path, urllib.parse.urlencode(fields), {**FORM, **(headers or {})})

    def multipart(self, path, fields, headers=None):
        mark = "------mark"
        body = "".join(f'--{mark}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
                       for name, value in fields)
        return self.request("POST", path, (body + f"--{mark}--\r\n").encode(),
                            {"Content-Type": f"multipart/form-data; boundary={mark}", **(headers or {})})

    def metric(self, line):
        """The value of a line of /metrics, named with its labels."""
        for row in self.get("/metrics").body.decode().splitlines():
            if row.rpartition(" ")[0] == line:
                return float(row.rpartition(" ")[2])
        raise AssertionError(line + " is not among the metrics")

    def close(self):
        if not self.process.ended():
            self.process.kill()
