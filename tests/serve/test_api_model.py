#!/usr/bin/python3
"""HTTP in front of real models: what they say they are, and the language of each text by their own pairs."""

import re

from support.api import Server
from support.cluster import main
from support.training import TINY, TrainingTest, sample_pairs, write


class Models(TrainingTest):
    def run_of(self, source, target):
        """A run that translates these languages, of the sample's pairs or of those turned round."""
        pairs = [line.split("\t")[:2] for line in sample_pairs(600)]
        if source == "fr":
            pairs = [(second, first) for first, second in pairs]
        name = f"{source}-{target}"
        file = write(self.path(name + ".tsv"), ["\t".join(pair) for pair in pairs])
        self.train(**{**TINY, "data.pairs": file, "data.src_lang": source, "data.tgt_lang": target,
                      "run.dir": self.path(name), "train.epochs": 1})
        return self.path(name)

    def test_one_pair_of_languages(self):
        server = Server(self.addCleanup, **{"serve.model": self.run_of("en", "fr")}).ready()
        english, french = sample_pairs(600)[7].split("\t")[:2]
        for text, language in ((english, "en"), (french, "fr")):
            found = server.form("/detect", {"q": text}).json()
            self.assertEqual([guess["language"] for guess in found], [language])
            self.assertGreaterEqual(found[0]["confidence"], 90)
        answer = server.post("/translate", {"q": [english, french, "\U0001F600"], "source": "auto", "target": "fr"})
        self.assertEqual(answer.status, 200, answer.body)
        found = answer.json()
        self.assertEqual([one["language"] for one in found["detectedLanguage"]], ["en", "fr", "en"])
        self.assertEqual(found["detectedLanguage"][2]["confidence"], 0)
        self.assertEqual(found["translatedText"][1:], [french, "\U0001F600"])
        self.assertRegex(answer.headers["X-Lstmq-Model"], "^en-fr step-[0-9]+ [0-9a-f]{16}$")
        answer = server.post("/translate", {"q": french, "source": "auto", "target": "en"})
        self.assertEqual((answer.status, answer.error()),
                         (400, "English (en) is not available as a target language from French (fr)"))
        self.assertRegex(server.get("/metrics").body.decode(),
                         r'(?m)^lstmq_model_info\{model="en-fr",source="en",target="fr",step="[0-9]+",hash="[0-9a-f]+"')

    def test_unknown_words_are_named(self):
        server = Server(self.addCleanup, **{"serve.model": self.run_of("en", "fr")}).ready()
        english = sample_pairs(600)[7].split("\t")[0]
        answer = server.post("/translate", {
            "q": f"<p>{english} <b>xylophone &amp; zebra</b></p>", "source": "en", "target": "fr", "format": "html",
            "details": True})
        found = answer.json()
        self.assertRegex(found["translatedText"], re.compile("^<p>.*<b>.*</b></p>$", re.DOTALL))
        words = " ".join(found["lstmq"]["texts"][0]["unknown_words"])
        self.assertIn("xylophone", words)
        self.assertIn("zebra", words)
        self.assertGreater(found["lstmq"]["texts"][0]["source_tokens"], 0)

    def test_both_directions(self):
        first, second = self.run_of("en", "fr"), self.run_of("fr", "en")
        server = Server(self.addCleanup, "--model", second, **{"serve.model": first})
        for model in ("en-fr", "fr-en"):
            server.process.event("model_current", model=re.compile("^" + model))
        self.assertEqual([language["targets"] for language in server.get("/languages").json()], [["en", "fr"]] * 2)
        english, french = sample_pairs(600)[7].split("\t")[:2]
        answer = server.post("/translate", {"q": [english, french], "source": "auto", "target": "en"})
        self.assertEqual(answer.json()["translatedText"][0], english)
        self.assertRegex(answer.headers["X-Lstmq-Model"], "^fr-en step-")


if __name__ == "__main__":
    main()
