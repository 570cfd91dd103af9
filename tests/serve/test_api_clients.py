#!/usr/bin/python3
"""Clients of LibreTranslate work with this server unchanged: two Python packages, curl, and requests as other clients
send them."""

import json
import os
import shutil
import subprocess
import unittest
import urllib.parse

from support.api import FORM, JSON, Server
from support.cluster import main
from support.packages import install
from support.training import new_folder, write

PACKAGES = ["libretranslatepy==2.1.4", "deep-translator==1.11.4"]

LIBRETRANSLATEPY = """
import json, sys
from libretranslatepy import LibreTranslateAPI
from urllib.error import HTTPError
found = []
for key in (None, "", "key"):
    server = LibreTranslateAPI(sys.argv[1], key)
    found.append([server.translate("Hi there, \\u00e9!", "en", "fr"), server.detect("\\U0001F600"), server.languages()])
try:
    server.translate("a", "en", "zz")
except HTTPError as error:
    found.append([error.code, json.load(error)["error"]])
print(json.dumps(found))
"""

DEEP_TRANSLATOR = """
import json, sys
from deep_translator import LibreTranslator
from deep_translator.exceptions import AuthorizationException, ServerException
server = LibreTranslator(source="en", target="fr", custom_url=sys.argv[1] + "/", api_key="beta")
found = [server.translate("Hi there, \\u00e9 & you!"), server.translate_batch(["a", "b"])]
try:
    LibreTranslator(source="en", target="fr", custom_url=sys.argv[1] + "/", api_key="no").translate("a")
except AuthorizationException:
    found.append("unauthorized")
try:
    LibreTranslator(source="fr", target="en", custom_url=sys.argv[1] + "/", api_key="beta").translate("a")
except ServerException:
    found.append("refused")
print(json.dumps(found))
"""


class ClientTest(unittest.TestCase):
    def start(self, **options):
        self.server = Server(self.addCleanup, **options).ready()

    def python(self, program):
        result = subprocess.run([install("clients", *PACKAGES), "-c", program, self.server.url], capture_output=True,
                                text=True, timeout=120, check=False)
        self.assertEqual(result.returncode, 0, result.stderr)
        return json.loads(result.stdout)

    def curl(self, *words):
        result = subprocess.run(["curl", "-sS", "--fail-with-body", *words], capture_output=True, text=True,
                                timeout=120, check=False)
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        return json.loads(result.stdout)


class Packages(ClientTest):
    def test_libretranslatepy(self):
        self.start()
        *each, error = self.python(LIBRETRANSLATEPY)
        for text, detected, languages in each:
            self.assertEqual(text, "Hi there, é!")
            self.assertEqual(detected, [{"confidence": 0, "language": "en"}])
            self.assertEqual([language["code"] for language in languages], ["en", "fr"])
        self.assertEqual(error, [400, "zz is not supported"])

    def test_deep_translator(self):
        folder = new_folder()
        self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        self.start(**{"http.keys": write(os.path.join(folder, "keys"), "beta\n")})
        self.assertEqual(self.python(DEEP_TRANSLATOR),
                         ["Hi there, é & you!", ["a", "b"], "unauthorized", "refused"])

    def test_curl(self):
        self.start()
        url = self.server.url
        for words in (
                ("-d", "q=Hi there!", "-d", "source=en", "-d", "target=fr"),
                ("-F", "q=Hi there!", "-F", "source=en", "-F", "target=fr"),
                ("-H", "Content-Type: application/json", "-d", '{"q":"Hi there!","source":"en","target":"fr"}'),
                ("-H", "Expect: 100-continue", "-d", "q=Hi+there!&source=en&target=fr")):
            self.assertEqual(self.curl(url + "/translate", *words), {"translatedText": "Hi there!"})
        self.assertEqual(self.curl("-X", "POST", url + "/translate?q=a&source=en&target=fr"), {"translatedText": "a"})
        self.assertEqual(self.curl(url + "/health", "-X", "GET", *("-H", "Content-Type: application/json"), "-d", "{}"),
                         {"status": "ok"})


class Requests(ClientTest):
    """What each client sends, and what it needs of the answer."""

    def setUp(self):
        self.start()

    def assert_ok(self, answer):
        self.assertEqual(answer.status, 200, answer.body)
        return answer.json()

    def test_mastodon(self):
        for source, key in (("en", None), ("auto", None), ("auto", "key")):
            found = self.assert_ok(self.server.post("/translate", {
                "q": ["<p>Hello &amp; <a href=\"https://a.example/\">bye</a></p>", "x"], "source": source,
                "target": "fr", "format": "html", "api_key": key}))
            self.assertEqual(found["translatedText"],
                             ["<p>Hello &amp; <a href=\"https://a.example/\">bye</a></p>", "x"])
            self.assertEqual(len(found.get("detectedLanguage", [1, 2])), 2)
        for language in self.assert_ok(self.server.get("/languages", JSON)):
            self.assertIn(language["code"], language["targets"])

    def test_akkoma(self):
        found = self.assert_ok(self.server.post("/translate", {
            "q": "<p>a<br>b</p>", "source": "auto", "target": "fr", "format": "html", "api_key": ""}))
        self.assertEqual(found["translatedText"], "<p>a<br>b</p>")
        self.assertIn("language", found["detectedLanguage"])

    def test_discourse(self):
        body = "q=%3Cp%3EHello%3C%2Fp%3E&source=en&target=fr&format=html&api_key"
        found = self.assert_ok(self.server.request("POST", "/translate", body, FORM))
        self.assertEqual(found["translatedText"], "<p>Hello</p>")
        found = self.assert_ok(self.server.request("POST", "/detect", "q=Hello&api_key", FORM))
        self.assertIn("language", found[0])

    def test_weblate(self):
        texts = [f"%1$s text {number}\n" for number in range(20)]
        found = self.assert_ok(
            self.server.post("/translate", {"q": texts, "source": "en", "target": "fr", "api_key": ""}))
        self.assertEqual(found["translatedText"], texts)

    def test_php(self):
        """It opens with POST /, sends empty multipart bodies, and lists as URL-encoded JSON, which come back so."""
        self.assertIn(self.server.multipart("/", []).status, (404, 405))
        self.assert_ok(self.server.request("GET", "/languages", b"--x--\r\n",
                                           {"Content-Type": "multipart/form-data; boundary=x"}))
        self.assertIn("language", self.assert_ok(self.server.multipart("/detect?q=Hello&api_key=", []))[0])
        fields = [("format", "html"), ("source", "en"), ("target", "fr"), ("api_key", "")]
        self.assertEqual(self.assert_ok(self.server.multipart("/translate", [("q", "a & b"), *fields])),
                         {"translatedText": "a &amp; b"})
        texts = ["a b", "é \"c\"", ""]
        found = self.assert_ok(self.server.multipart(
            "/translate", [("q", urllib.parse.quote_plus(json.dumps(texts))), *fields]))
        self.assertEqual(json.loads(urllib.parse.unquote_plus(found["translatedText"])), texts)

    def test_go_and_translatepy(self):
        headers = {"Origin": "http://a.example", "Referer": "http://a.example/"}
        found = self.assert_ok(self.server.form("/detect", {"q": "\U0001F600"}, headers))
        self.assertEqual(len(found), 1)
        self.assert_ok(self.server.form("/translate", {"q": "a", "source": "en", "target": "fr"}, headers))

    def test_aio(self):
        fields = [("q", "a"), ("q", "b"), ("source", "en"), ("target", "fr"), ("format", "text"), ("alternatives", "3")]
        found = self.assert_ok(self.server.form("/translate", fields))
        self.assertEqual((found["translatedText"], found["alternatives"]), (["a", "b"], [[], []]))
        settings = self.assert_ok(self.server.get("/frontend/settings"))
        for name in ("charLimit", "apiKeys", "keyRequired", "suggestions", "language"):
            self.assertIn(name, settings)

    def test_the_rest(self):
        fields = {"q": "a", "source": "en", "target": "fr"}
        # ocr_translate
        self.assertEqual(
            self.assert_ok(self.server.post("//translate", {**fields, "q": ["a"]}))["translatedText"], ["a"])
        # TranslateYou
        query = urllib.parse.urlencode({**fields, "api_key": ""})
        self.assert_ok(self.server.request("POST", "/translate?" + query, ""))
        # The page of LibreTranslate
        self.assert_ok(self.server.multipart(
            "/translate", [*fields.items(), ("format", "text"), ("alternatives", "3"), ("api_key", "")]))
        # argostranslate
        self.assertEqual(self.server.form("/languages", {}).status, 405)
        # Docker's check of health
        self.assert_ok(self.server.request("GET", "/health", "{}", JSON))
        # Browsers' extensions
        answer = self.server.request("OPTIONS", "/translate", headers={
            "Origin": "moz-extension://x", "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "content-type"})
        self.assertEqual(answer.status, 200)
        self.assertEqual(answer.headers["Access-Control-Allow-Origin"], "*")


if __name__ == "__main__":
    main()
