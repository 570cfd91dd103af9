#!/usr/bin/python3
"""The HTTP interface answers as LibreTranslate's does, and better where docs/serving.md says so."""

import json
import os
import random
import re
import shutil
import socket
import threading
import unittest

from support.api import FORM, JSON, Server
from support.cluster import Process, main
from support.training import new_folder, write

MISSING = "Invalid request: missing {} parameter"
NOT_UNDERSTOOD = "The browser (or proxy) sent a request that this server could not understand."
WRONG_Q = "Invalid request: q must be a string or a list of strings"
LANGUAGES = [{"code": "en", "name": "English", "targets": ["en", "fr"]},
             {"code": "fr", "name": "French", "targets": ["fr"]}]


class ApiTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server(cls.addClassCleanup, **cls.options).ready()

    options = {}

    def translate(self, q, source="en", target="fr", **more):
        return self.server.post("/translate", {"q": q, "source": source, "target": target, **more})

    def assert_text(self, answer, text):
        self.assertEqual((answer.status, answer.json().get("translatedText")), (200, text), answer.body)

    def assert_error(self, answer, status, text):
        self.assertEqual((answer.status, answer.json()), (status, {"error": text}))
        self.assertEqual(answer.headers["Content-Type"], "application/json")
        self.assertTrue(answer.body.endswith(b"\n"))


class Encodings(ApiTest):
    fields = [("q", "Hi there!"), ("source", "en"), ("target", "fr")]

    def test_each_encoding_is_understood(self):
        server, fields = self.server, dict(self.fields)
        for answer in (
                server.post("/translate", fields), server.form("/translate", fields),
                server.multipart("/translate", self.fields),
                server.request("POST", "/translate?q=Hi+there%21&source=en&target=fr"),
                server.request("POST", "//translate?q=Hi+there%21&source=en&target=fr", ""),
                server.request("POST", "/translate", json.dumps(fields),
                               {"Content-Type": "application/ld+json; charset=utf-8"}),
                server.form("/translate?q=Hi+there!&source=en", [("q", "no"), ("source", "fr"), ("target", "fr")])):
            self.assert_text(answer, "Hi there!")
            self.assertEqual(answer.headers["Content-Type"], "application/json")
            self.assertEqual(answer.body, b'{"translatedText":"Hi there!"}\n')

    def test_a_chunked_body_and_expect_100(self):
        body = json.dumps(dict(self.fields)).encode()
        self.assert_text(self.server.request("POST", "/translate", iter([body[:5], body[5:]]), JSON), "Hi there!")

    def test_json_of_another_type_has_no_fields(self):
        body = json.dumps(dict(self.fields))
        for headers in (FORM, {}):
            self.assert_error(self.server.request("POST", "/translate", body, headers), 400, MISSING.format("q"))
        self.assertEqual(self.server.request("POST", "/translate", body, {"Content-Type": "text/plain"}).status, 415)

    def test_bodies_that_are_not_json(self):
        for body in ("", "{", '{"q":"a"} x', b'{"q":"\xff"}', '{"q":"\\ud800"}'):
            self.assert_error(self.server.request("POST", "/translate", body, JSON), 400, NOT_UNDERSTOOD)
        for body in ("[]", "3", '"a"', "null"):
            self.assert_error(self.server.request("POST", "/translate", body, JSON), 400, "Invalid JSON format")

    def test_repeated_fields_are_a_list(self):
        answer = self.server.form("/translate", [("q", "a"), ("q", ""), ("q", "b"), *self.fields[1:]])
        self.assert_text(answer, ["a", "", "b"])

    def test_lines_of_forms(self):
        self.assert_text(self.server.form("/translate", [("q", "a\r\nb\rc\n"), *self.fields[1:]]), "a\nb\nc")
        self.assert_text(self.translate("a\r\nb\rc\n"), "a\r\nb\rc\n")
        self.assert_text(
            self.server.request("POST", "/translate", "q=%FF&source=en&target=fr&api_key", FORM), "%FF")

    def test_a_body_of_get_is_dropped(self):
        for path, headers in (("/languages", FORM), ("/health", JSON), ("/frontend/settings", {})):
            self.assertEqual(self.server.request("GET", path, "{}", headers).status, 200)
            self.assertEqual(self.server.request("HEAD", path).body, b"")

    def test_too_large_a_body(self):
        answer = self.translate("a" * 5_000_000)
        self.assertEqual(answer.status, 413)
        self.assertIn("error", answer.json())


class Fields(ApiTest):
    options = {"http.texts": 5, "http.characters": 10, "http.alternatives": 2}

    def test_texts(self):
        for text in (" ", "a\0b", "\U0001F600 \U0001F600", "é" * 10, "%1$s", "a\n\nb", "\ufeff", '"\\/\x7f\x01'):
            self.assert_text(self.translate(text), text)
        for texts in ([""], ["a"], ["a", "", " ", "b"]):
            self.assert_text(self.translate(texts), texts)

    def test_wrong_texts(self):
        for q in ("", None, []):
            self.assert_error(self.translate(q), 400, MISSING.format("q"))
        for q in (3, True, {}, [1], ["a", None], [["a"]], 1.5):
            self.assert_error(self.translate(q), 400, WRONG_Q)
        self.assert_error(self.translate("a" * 11), 400, "Invalid request: request (11) exceeds text limit (10)")
        self.assert_error(self.translate(["a"] * 6), 400, "Invalid request: request (6) exceeds text limit (5)")
        self.assert_error(
            self.translate(["a", "é" * 11]), 400, "Invalid request: request (11) exceeds text limit (10)")

    def test_languages_of_a_request(self):
        self.assert_text(self.translate("a", source="EN", target="Fr"), "a")
        for fields, text in (
                ({"source": None}, MISSING.format("source")), ({"source": ""}, MISSING.format("source")),
                ({"target": None}, MISSING.format("target")), ({"source": "zz"}, "zz is not supported"),
                ({"target": "auto"}, "auto is not supported"), ({"target": 3}, "3 is not supported"),
                ({"source": []}, "Invalid request: source must be a string"),
                ({"source": "fr", "target": "en"},
                 "English (en) is not available as a target language from French (fr)")):
            self.assert_error(self.translate("a", **fields), 400, text)
        self.assert_error(self.server.form("/translate", {"q": "a"}), 400, MISSING.format("source"))

    def test_the_same_language_is_the_identity(self):
        self.assert_text(self.translate("a <b>&c", source="fr"), "a <b>&c")
        answer = self.translate(["<b>&copy;x", ""], source="fr", format="html", alternatives=1, details=True)
        self.assert_text(answer, ["<b>&copy;x", ""])
        self.assertEqual(answer.json()["alternatives"], [[], []])
        self.assertNotIn("X-Lstmq-Model", answer.headers)

    def test_format(self):
        for form in ("text", "", None, "html"):
            self.assert_text(self.translate("a", format=form), "a")
        self.assert_error(self.translate("a", format="xml"), 400, "xml format is not supported")
        self.assert_error(self.translate("a", format=1), 400, "1 format is not supported")

    def test_alternatives(self):
        for count in (0, 1, 2, "2", 1.9, -1, " 1 "):
            answer = self.translate("a", alternatives=count)
            self.assert_text(answer, "a")
            self.assertEqual(answer.json().get("alternatives"), [] if count in (1, 2, "2", 1.9, " 1 ") else None)
        for count in ("abc", None, "", "1.9", True, [], {}):
            self.assert_error(
                self.translate("a", alternatives=count), 400,
                "Invalid request: alternatives parameter is not a number")
        for count in (3, "3", 1e300):
            self.assert_error(
                self.translate("a", alternatives=count), 400, "Invalid request: alternatives parameter must be <= 2")
        self.assert_error(
            self.server.form("/translate", {"q": "a", "source": "en", "target": "fr", "alternatives": ""}), 400,
            "Invalid request: alternatives parameter is not a number")

    def test_the_first_wrong_field_decides(self):
        fields = {"q": "", "source": "", "target": "", "alternatives": "x", "format": "xml"}
        for right, text in (
                ({}, MISSING.format("q")), ({"q": ["a" * 11] * 6}, MISSING.format("source")),
                ({"source": "zz"}, MISSING.format("target")), ({"target": "yy"},
                 "Invalid request: alternatives parameter is not a number"),
                ({"alternatives": 3}, "Invalid request: alternatives parameter must be <= 2"),
                ({"alternatives": 1}, "Invalid request: request (6) exceeds text limit (5)"),
                ({"q": "a" * 11}, "Invalid request: request (11) exceeds text limit (10)"),
                ({"q": "a"}, "zz is not supported"), ({"source": "fr"}, "yy is not supported"),
                ({"target": "en"}, "xml format is not supported"),
                ({"format": "text"}, "English (en) is not available as a target language from French (fr)")):
            fields.update(right)
            self.assert_error(self.server.post("/translate", fields), 400, text)

    def test_details(self):
        answer = self.translate(["a b", ""], details=True).json()["lstmq"]
        self.assertEqual(set(answer), {"compute_ms", "models", "queue_ms", "texts"})
        self.assertEqual(len(answer["texts"]), 2)
        self.assertEqual(set(answer["texts"][0]), {"cut_words", "source_tokens", "target_tokens", "unknown_words"})
        self.assertNotIn("lstmq", self.translate("a", details=False).json())
        self.assert_error(self.translate("a", details="x"), 400, "Invalid request: details must be true or false")

    def test_detected_languages_have_the_shape_of_q(self):
        one = self.translate("a", source="auto").json()["detectedLanguage"]
        self.assertEqual(set(one), {"confidence", "language"})
        self.assertIsInstance(one["confidence"], int)
        self.assertEqual(self.translate("\U0001F600", source="auto").json()["detectedLanguage"],
                         {"confidence": 0, "language": "en"})
        self.assertEqual(len(self.translate(["a", "b"], source="auto").json()["detectedLanguage"]), 2)

    def test_a_time_limit_must_be_a_time(self):
        fields = {"q": "a", "source": "en", "target": "fr"}
        self.assert_text(self.server.post("/translate", fields, {"X-Request-Timeout": "20.5"}), "a")
        for limit in ("0", "-1", "x", "1 s", "nan"):
            self.assertEqual(self.server.post("/translate", fields, {"X-Request-Timeout": limit}).status, 400)


class Html(ApiTest):
    def html(self, text):
        answer = self.translate(text, format="html")
        self.assertEqual(answer.status, 200, answer.body)
        return answer.json()["translatedText"]

    def test_all_but_texts_stays(self):
        for page in (
                '<p class=\'x\'>Hello <b title="a > b">you</b><br/><img src=a?b=1&amp;c=2></p>',
                "<!DOCTYPE html><!-- secret --><?php x > y ?><![CDATA[x]]>a", "<script>1 < 2 && '&lt;'</script>b",
                "<code>a &eacute; b</code> c", '<p translate="no">&eacute;</p>', "<p>unclosed <i>x",
                "  \n <p> a </p>\n"):
            self.assertEqual(self.html(page), page)

    def test_escaped_text_stays_escaped(self):
        for text in ("&lt;script&gt;alert(1)&lt;/script&gt;", "1 &lt; 2 &amp; 3", "a&nbsp;b", "&amp;lt;"):
            self.assertEqual(self.html(text), text)
        self.assertEqual(self.html("1 < 2 & 3 &eacute;&#233;\xa0"), "1 &lt; 2 &amp; 3 éé&nbsp;")

    def test_parsers_see_the_same_page(self):
        """However tags, texts and their halves follow each other."""
        try:
            import html5lib
        except ImportError:
            self.skipTest("python3-html5lib is not installed")
        pieces = ("<p> </p> <b_title='x>y'> </b> <!--_c_--> <!-- --> --!> ]]> <script> </script> <style> </style> "
                  "<title> </title> <svg> </svg> <math> </math> <code> </code> <pre> </pre> <textarea> </textarea> "
                  "<iframe> </iframe> <xmp> </xmp> <noscript> </noscript> <table> <tr> <td> <li> <select> <option> "
                  "<i_class=notranslate> </i> <br/> <h1_ </ <! <? < > = / ' \" a_<_b &lt; &amp; &copy &nbsp; &plus; x"
                  ).split(" ") + ["\n", "text & more", '<a href="q?a=1&b=2">']
        pieces = [piece.replace("_", " ") for piece in pieces]
        draw = random.Random(1)
        pages = ["".join(draw.choices(pieces, k=draw.randint(1, 14))) for _ in range(500)]
        for page in filter(None, pages):
            same = [html5lib.serialize(html5lib.parse(text)) for text in (page, self.html(page))]
            self.assertEqual(*same, page)


class Addresses(ApiTest):
    def test_languages(self):
        answer = self.server.get("/languages")
        self.assertEqual((answer.status, answer.json()), (200, LANGUAGES))

    def test_settings(self):
        self.assertEqual(
            self.server.get("/frontend/settings").json(), {
                "apiKeys": False, "charLimit": -1, "filesTranslation": False, "frontendTimeout": 500,
                "keyRequired": False,
                "language": {"source": {"code": "auto", "name": "Auto Detect"},
                             "target": {"code": "fr", "name": "French"}},
                "suggestions": False, "supportedFilesFormat": []})

    def test_detect(self):
        for answer in (
                self.server.form("/detect", {"q": "\U0001F600"}), self.server.post("/detect", {"q": "\U0001F600"}),
                self.server.request("POST", "/detect?q=%F0%9F%98%80", "", FORM)):
            self.assertEqual((answer.status, answer.json()), (200, [{"confidence": 0, "language": "en"}]))
        self.assert_error(self.server.post("/detect", {}), 400, MISSING.format("q"))
        self.assert_error(self.server.post("/detect", {"q": 3}), 400, WRONG_Q)

    def test_health(self):
        for path in ("/health", "/livez", "/readyz"):
            answer = self.server.get(path)
            self.assertEqual((answer.status, answer.body), (200, b'{"status":"ok"}\n'))

    def test_what_is_disabled(self):
        self.assert_error(self.server.form("/suggest", {}), 403, "Suggestions are disabled on this server.")
        files = "Files translation are disabled on this server."
        self.assert_error(self.server.multipart("/translate_file", [("file", "x")]), 403, files)
        self.assert_error(self.server.get("/download_file/a.txt"), 400, files)

    def test_documents(self):
        spec = self.server.get("/spec")
        self.assertEqual(spec.json()["openapi"], "3.0.3")
        self.assertEqual(spec.body, self.server.get("/openapi.json").body)
        moved = self.server.get("/docs")
        self.assertEqual((moved.status, moved.headers["Location"]), (308, "/docs/"))
        page = self.server.get("/docs/")
        self.assertEqual(page.headers["Content-Type"], "text/html; charset=utf-8")
        self.assertNotRegex(re.sub("http://localhost:5000", "", page.body.decode()), "https?://|//")
        self.assertEqual(self.server.get("/docs/", {"If-None-Match": page.headers["ETag"]}).status, 304)
        self.assertEqual(self.server.get("/docs/x").status, 404)

    def test_unknown_addresses_and_methods(self):
        for path in ("/translate/", "/nothing", "/languages/x", "/translat", "/translatex"):
            answer = self.server.request("POST", path, "")
            self.assertEqual((answer.status, list(answer.json())), (404, ["error"]))
        for method, path, allow in (
                ("GET", "/translate", "OPTIONS, POST"), ("PUT", "/translate", "OPTIONS, POST"),
                ("POST", "/languages", "GET, HEAD, OPTIONS"), ("POST", "/spec", "GET, HEAD, OPTIONS"),
                ("DELETE", "/health", "GET, HEAD, OPTIONS")):
            answer = self.server.request(method, path)
            self.assertEqual((answer.status, list(answer.json()), answer.headers["Allow"]), (405, ["error"], allow))

    def test_other_origins_may_call(self):
        for method, path in (("OPTIONS", "/translate"), ("OPTIONS", "/languages"), ("GET", "/languages"),
                             ("GET", "/translate"), ("POST", "/translate"), ("POST", "/detect")):
            answer = self.server.request(method, path, headers={"Origin": "http://a.example"})
            self.assertEqual(answer.headers["Access-Control-Allow-Origin"], "*")
            self.assertEqual(answer.headers["Access-Control-Allow-Methods"], "GET, POST")
            self.assertIn("Authorization, Content-Type", answer.headers["Access-Control-Allow-Headers"])
            self.assertEqual(answer.headers["Access-Control-Max-Age"], "1728000")
            self.assertNotIn("Access-Control-Allow-Credentials", answer.headers)
            if method == "OPTIONS":
                self.assertEqual((answer.status, answer.body), (200, b""))

    def test_every_answer_names_its_request(self):
        answer = self.server.get("/health", {"X-Request-ID": "mine-1"})
        self.assertEqual(answer.headers["X-Request-ID"], "mine-1")
        self.assertRegex(self.server.get("/nothing").headers["X-Request-ID"], "^[0-9a-f]{32}$")
        self.assertEqual(self.translate("a").headers["X-Lstmq-Model"], "echo")


class Limits(unittest.TestCase):
    def setUp(self):
        self.folder = new_folder()
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.keys = write(os.path.join(self.folder, "keys"), "alpha 4 5 mastodon\nbeta\ngamma 1000 0\n")

    def translate(self, server, q="a", key=None, **more):
        return server.post("/translate", {"q": q, "source": "en", "target": "fr",
                                          **({} if key is None else {"api_key": key})}, **more)

    def test_addresses_have_a_limit(self):
        server = Server(self.addCleanup, **{"http.requests_per_minute": 3}).ready()
        first = self.translate(server)
        self.assertEqual([first.headers["X-RateLimit-" + name] for name in ("Limit", "Remaining")], ["3", "2"])
        self.assertLessEqual(int(first.headers["X-RateLimit-Reset"]), 61)
        self.assertEqual(self.translate(server, ["a", "b", "c"]).status, 429)  # a list costs its length
        self.assertEqual(self.translate(server, ["a", "b"]).status, 200)
        refused = self.translate(server)
        self.assertEqual((refused.status, refused.error()), (429, "Slowdown: 3 per 1 minute"))
        self.assertEqual(refused.headers["X-RateLimit-Remaining"], "0")
        self.assertTrue(1 <= int(refused.headers["Retry-After"]) <= 61)
        self.assertEqual(server.post("/detect", {"q": "a"}).status, 429)
        self.assertEqual(server.request("POST", "/translate", "{", JSON).status, 429)
        for path in ("/languages", "/frontend/settings", "/health", "/spec", "/metrics"):
            self.assertEqual(server.get(path).status, 200)
        self.assertEqual(server.metric('lstmq_requests_total{interface="http",outcome="limited"}'), 4)

    def test_keys_have_their_own_limits(self):
        server = Server(self.addCleanup, **{
            "http.requests_per_minute": 2, "http.keys": self.keys, "http.characters": 7}).ready()
        for _ in range(4):
            self.assertEqual(self.translate(server, key="alpha").status, 200)
        self.assertEqual(self.translate(server, key="alpha").error(), "Slowdown: 4 per 1 minute")
        for _ in range(10):
            answer = self.translate(server, key="beta")
            self.assertEqual((answer.status, answer.headers["X-RateLimit-Limit"]), (200, None))
        self.assertEqual(self.translate(server, "12345678", key="beta").status, 400)
        self.assertEqual(self.translate(server, "12345678", key="gamma").status, 200)
        self.assertEqual(self.translate(server, "123456", headers={"Authorization": "Bearer gamma"}).status, 200)
        self.assertEqual(self.translate(server, key="").status, 200)
        answer = self.translate(server, key="unknown-key")
        self.assertEqual((answer.status, answer.error()), (403, "Invalid API key"))
        self.assertEqual(self.translate(server, key="").status, 429)
        self.assertNotRegex(server.process.log(), "alpha|unknown-key")
        self.assertNotRegex(server.get("/metrics").body.decode(), "alpha|127.0.0.1|mastodon")
        settings = server.get("/frontend/settings").json()
        self.assertEqual((settings["apiKeys"], settings["keyRequired"], settings["charLimit"]), (True, False, 7))

    def test_a_key_may_be_required(self):
        server = Server(self.addCleanup, "--http.require_key", **{"http.keys": self.keys}).ready()
        for answer in (self.translate(server), self.translate(server, key=""), server.post("/detect", {"q": "a"})):
            self.assertEqual((answer.status, answer.error()),
                             (400, "Please contact the server operator to get an API key"))
        self.assertEqual(self.translate(server, key="no").status, 403)
        self.assertEqual(self.translate(server, key=3).status, 400)
        for answer in (self.translate(server, key="beta"), server.form(
                "/translate?api_key=beta", {"q": "a", "source": "en", "target": "fr"}),
                       self.translate(server, headers={"Authorization": "bearer beta"})):
            self.assertEqual(answer.status, 200)
        self.assertTrue(server.get("/frontend/settings").json()["keyRequired"])
        with open(self.keys, "w", encoding="ascii") as file:
            file.write("delta\n")
        # The next look is a tenth of a second after the last one.
        while self.translate(server, key="delta").status != 200:
            pass
        server.process.event("api_keys_read")
        self.assertEqual(self.translate(server, key="beta").status, 403)

    def test_metrics_may_need_a_token(self):
        token = write(os.path.join(self.folder, "token"), "s3cret\n")
        server = Server(self.addCleanup, **{"http.metrics_token": token})
        for headers in ({}, {"Authorization": "Bearer no"}, {"Authorization": "s3cret"}):
            answer = server.get("/metrics", headers)
            self.assertEqual((answer.status, answer.headers["WWW-Authenticate"]), (401, "Bearer"))
        self.assertEqual(server.get("/metrics", {"Authorization": "Bearer s3cret"}).status, 200)

    def test_other_machines_need_keys(self):
        for flags, status in ((("--http", "0.0.0.0:0"), 2), (("--http", "0.0.0.0:0", "--http.keys", self.keys), 2),
                              (("--http", "127.0.0.1:0", "--http.require_key"), 2)):
            process = Process("serve", "--serve.echo", "--bind", "tcp://127.0.0.1:0", "--workers", "0", *flags,
                              "--log.format", "json", name="queue")
            self.addCleanup(process.kill)
            self.assertEqual(process.end(), status, process.log())
            self.assertRegex(process.event("failed")["reason"], "--http.keys")


class Faults(unittest.TestCase):
    def test_without_a_worker(self):
        server = Server(self.addCleanup, **{"serve.workers": 0})
        for path, status in (("/health", 503), ("/readyz", 503), ("/livez", 200)):
            answer = server.get(path)
            self.assertEqual(answer.status, status)
        self.assertEqual(server.get("/health").json()["status"], "unavailable")
        answer = server.post("/translate", {"q": "a", "source": "en", "target": "fr"}, {"X-Request-Timeout": "0.2"})
        self.assertIn(answer.status, (503, 504))
        self.assertIn("error", answer.json())

    def test_a_client_that_leaves_is_noticed(self):
        server = Server(self.addCleanup, **{"serve.workers": 0})
        body = json.dumps({"q": "a", "source": "en", "target": "fr"})
        host, port = server.address.rsplit(":", 1)
        with socket.create_connection((host, int(port))) as left:
            left.sendall(f"POST /translate HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
                         f"Content-Length: {len(body)}\r\n\r\n{body}".encode())
            answer = server.get("/health")
        while (server.metric('lstmq_requests_total{interface="http",outcome="cancelled"}') +
               server.metric('lstmq_requests_total{interface="http",outcome="no_worker"}')) == 0:
            pass
        self.assertEqual(answer.status, 503)

    def test_many_at_once(self):
        server = Server(self.addCleanup).ready()
        found = []

        def ask(number):
            for i in range(20):
                text = f"{number} {i}"
                answer = server.post("/translate", {"q": [text, text + "!"], "source": "en", "target": "fr"})
                found.append(answer.json()["translatedText"] == [text, text + "!"])

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(found, [True] * 320)
        self.assertEqual(server.metric('lstmq_requests_total{interface="http",outcome="ok"}'), 320)


class Metrics(ApiTest):
    def test_all_sets_of_labels_are_there_from_the_start(self):
        answer = self.server.get("/metrics")
        self.assertEqual(answer.headers["Content-Type"], "text/plain; version=0.0.4; charset=utf-8")
        page = answer.body.decode()
        for outcome in ("ok", "busy", "expired", "cancelled", "invalid", "unauthorized", "limited", "no_worker",
                        "failed"):
            for interface in ("http", "zmq"):
                self.assertIn(f'\nlstmq_requests_total{{interface="{interface}",outcome="{outcome}"}} ', page)
        for name in (
                "lstmq_build_info", "lstmq_model_info", "lstmq_sentences_total", "lstmq_batches_total",
                "lstmq_source_tokens_total", "lstmq_target_tokens_total", "lstmq_unknown_words_total",
                "lstmq_deduplicated_sentences_total", "lstmq_request_duration_seconds_bucket",
                "lstmq_queue_duration_seconds_bucket", "lstmq_compute_duration_seconds_bucket",
                "lstmq_batch_sentences_bucket", "lstmq_queue_sentences", "lstmq_queue_limit_sentences",
                "lstmq_queue_oldest_seconds", "lstmq_flows", "lstmq_workers", "lstmq_worker_losses_total",
                "lstmq_requeued_sentences_total", "lstmq_late_results_total", "lstmq_poison_sentences_total",
                "lstmq_reloads_total", "lstmq_connections", "lstmq_handshake_failures_total",
                "process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds", "process_max_fds",
                "process_start_time_seconds"):
            self.assertRegex(page, rf"(?m)^{name}[ {{]")

    def test_what_is_answered_is_counted(self):
        line = 'lstmq_requests_total{{interface="http",outcome="{}"}}'
        before = [self.server.metric(line.format(outcome)) for outcome in ("ok", "invalid")]
        self.translate("a")
        self.translate("")
        after = [self.server.metric(line.format(outcome)) for outcome in ("ok", "invalid")]
        self.assertEqual([new - old for new, old in zip(after, before)], [1, 1])

    def test_openmetrics_is_sent_to_who_accepts_it(self):
        answer = self.server.get("/metrics", {"Accept": "application/openmetrics-text; version=1.0.0"})
        self.assertEqual(answer.headers["Content-Type"],
                         "application/openmetrics-text; version=1.0.0; charset=utf-8")
        page = answer.body.decode()
        self.assertTrue(page.endswith("# EOF\n"))
        try:
            from prometheus_client.openmetrics.parser import text_string_to_metric_families
        except ImportError:
            self.skipTest("python3-prometheus-client is not installed")
        self.assertGreater(len(list(text_string_to_metric_families(page))), 25)


if __name__ == "__main__":
    main()
