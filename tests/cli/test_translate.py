#!/usr/bin/env python3
"""translate answers every line in its place and names what it cannot do; the figures of evaluate follow from its
translations."""

import bz2
import gzip
import json
import lzma
import math
import os
import selectors
import shutil
import subprocess

from support.program import BINARY, SOURCE, main, run
from support.training import LIMIT_S, TINY, TrainingTest, new_folder, read, sample_pairs, words, write

PAIRS = sample_pairs(400)
TRAINED = {
    **TINY, "model.embed": 24, "model.hidden": 48, "train.epochs": 12, "train.lr": 0.01, "train.keep_best": "bleu",
    "train.valid_decode": "free", "data.vocab_from": "all", "data.normalise": "notebook"}
MODEL = {}


def setUpModule():
    MODEL["folder"] = new_folder()
    MODEL["run"] = os.path.join(MODEL["folder"], "run")
    pairs = write(os.path.join(MODEL["folder"], "pairs.tsv"), PAIRS)
    result = run("train", *words({**TRAINED, "data.pairs": pairs, "run.dir": MODEL["run"]}))
    if result.returncode != 0:
        raise AssertionError(result.stderr)


def tearDownModule():
    shutil.rmtree(MODEL["folder"])


def translate(text, *options):
    """Run it. stdout and stderr of the result are lists of lines; the last line of stdout must end."""
    result = run("translate", "--model", MODEL["run"], *options, stdin=text)
    assert result.stdout == "" or result.stdout.endswith("\n")
    result.lines = result.stdout.split("\n")[:-1]
    result.remarks = result.stderr.split("\n")[:-1]
    return result


class Lines(TrainingTest):
    def assertLines(self, text, expected, *options):
        result = translate(text, *options)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertEqual(result.lines, expected)

    def test_each_line_has_its_answer_in_its_place(self):
        sources = ["i know .", "the hotel is empty .", "we are tired ."]
        alone = [translate(source + "\n").lines for source in sources]
        self.assertEqual([len(lines) for lines in alone], [1, 1, 1])
        known, hotel, tired = (lines[0] for lines in alone)
        self.assertEqual(len({known, hotel, tired}), 3, "the model says the same of everything")
        self.assertLines("", [])
        self.assertLines("\n", [""])
        self.assertLines("i know .", [known])
        self.assertLines("\n\ni know .\n\nthe hotel is empty .", ["", "", known, "", hotel])
        self.assertLines("i know .\n  \t \nwe are tired .\n\n", [known, "", tired, ""])
        self.assertLines("i know .\r\n\r\nwe are tired .\r\n", [known, "", tired])
        self.assertLines("i know .\r\rwe are tired .\r", [known, "", tired])
        self.assertLines("i know .\rwe are tired .\nthe hotel is empty .\r\n\r\n", [known, tired, hotel, ""])
        self.assertLines("i know .\r\r\nwe are tired .\r\r\n", [known, tired])
        self.assertLines("\r", [""])
        self.assertLines("\ufeffi know .\n", [known])
        self.assertLines("I KNOW .\n", [known])

    def test_a_byte_order_mark_is_no_part_of_a_word(self):
        plain = self.path("plain")
        self.train(data__pairs=write(self.path("pairs.tsv"), PAIRS), data__normalise="none", run__dir=plain)
        expected = run("translate", "--model", plain, stdin="i know .\n")
        self.assertEqual(expected.returncode, 0, expected.stderr)
        self.assertNotIn("unknown", expected.stderr)
        marked = run("translate", "--model", plain, stdin="\ufeffi know .\n")
        self.assertEqual((marked.stdout, marked.stderr), (expected.stdout, expected.stderr))

    def test_answers_do_not_depend_on_batches_or_threads(self):
        sources = [pair.split("\t")[0] for pair in sample_pairs(1000)]
        sources[::50] = [""] * 20
        text = "".join(source + "\n" for source in sources)
        expected = translate(text)
        self.assertEqual((expected.returncode, len(expected.lines)), (0, 1000))
        self.assertEqual([line == "" for line in expected.lines], [source == "" for source in sources])
        for options in (["--translate.batch", "1"], ["--translate.batch", "7", "--threads", "2"], ["--threads", "1"]):
            self.assertEqual(translate(text, *options).lines, expected.lines, options)

    def test_more_lines_than_are_translated_in_one_go(self):
        sources = ["i know .", "", "we are tired ."] * 3000
        result = translate("\n".join(sources))
        self.assertEqual(len(result.lines), 9000)
        self.assertEqual(result.lines, result.lines[:3] * 3000)

    def test_a_pipe_fed_line_by_line_is_answered_line_by_line(self):
        process = self.start("translate", "--model", MODEL["run"], stdin=subprocess.PIPE)
        with selectors.DefaultSelector() as ready:
            ready.register(process.stdout, selectors.EVENT_READ)
            for source in ("i know .", "", "we are tired ."):
                process.stdin.write(source.encode() + b"\n")
                process.stdin.flush()
                self.assertTrue(ready.select(LIMIT_S), "no answer before the end of the input")
                answer = os.read(process.stdout.fileno(), 4096).decode()
                self.assertEqual(answer, translate(source + "\n").stdout)
            process.stdin.write(b"i kn")
            process.stdin.flush()
            self.assertFalse(ready.select(0.05), "half a line was answered")
        rest, printed = process.communicate(b"ow .\nwe are", timeout=LIMIT_S)
        self.assertEqual(rest.decode(), translate("i know .\nwe are").stdout)
        self.assertEqual((process.returncode, printed), (0, b""))

    def test_a_cr_answers_its_line_before_the_next_byte(self):
        process = self.start("translate", "--model", MODEL["run"], stdin=subprocess.PIPE)
        known, tired = translate("i know .\nwe are tired .").lines
        with selectors.DefaultSelector() as ready:
            ready.register(process.stdout, selectors.EVENT_READ)
            for text, answer in (("i know .\r", known), ("\nwe are tired .\r", tired), ("i know .\r\n", known),
                                 ("we are tired .\r", tired), ("\r", None), ("\ni know .\r", known)):
                process.stdin.write(text.encode())
                process.stdin.flush()
                if answer is not None:
                    self.assertTrue(ready.select(LIMIT_S), "no answer before the end of the input")
                    self.assertEqual(os.read(process.stdout.fileno(), 4096).decode(), answer + "\n")
        rest, printed = process.communicate(b"", timeout=LIMIT_S)
        self.assertEqual((rest, process.returncode, printed), (b"", 0, b""))

    def test_a_reader_that_leaves_ends_it_silently(self):
        reader, writer = os.pipe()
        os.close(reader)
        with os.fdopen(writer) as closed:
            result = run_into(closed, "i know .\n")
        self.assertEqual((result.returncode, result.stderr), (-13, b""))
        with open("/dev/full", "w", encoding="utf-8") as full:
            result = run_into(full, "i know .\n")
        self.assertEqual(result.returncode, 1)
        self.assertIn(b"No space left on device", result.stderr)


def run_into(stdout, text):
    return subprocess.run([BINARY, "translate", "--model", MODEL["run"]], input=text.encode(), stdout=stdout,
                          stderr=subprocess.PIPE, check=False, timeout=LIMIT_S)


class Remarks(TrainingTest):
    def test_unknown_words_are_named_with_their_line(self):
        result = translate("i know .\nthe zeppelin is CAFÉ !\n\nxyzzy\n")
        self.assertEqual((result.returncode, len(result.lines)), (0, 4))
        self.assertEqual(result.remarks, ["stdin:2: unknown: zeppelin café !", "stdin:4: unknown: xyzzy"])

    def test_removed_pieces_are_named_with_their_line(self):
        result = translate("привет мир\ni know .\n2 + 2 = 4\nI know, 3 zeppelins .\ni\u200b know\u202f.\n")
        self.assertEqual((result.returncode, len(result.lines)), (0, 5))
        self.assertEqual(result.remarks, ["stdin:1: removed: привет мир", "stdin:3: removed: 2 + 2 = 4",
                                          "stdin:4: removed: , 3", "stdin:4: unknown: zeppelins",
                                          "stdin:5: removed: U+200B"])
        self.assertEqual([line == "" for line in result.lines], [True, False, True, False, False])
        self.assertEqual(result.lines[4], result.lines[1])

    def test_nfc_removes_nothing_and_unknown_words_are_named(self):
        model = self.path("nfc")
        self.train(data__pairs=write(self.path("pairs.tsv"), PAIRS), data__vocab_from="all", run__dir=model)
        result = run("translate", "--model", model, stdin="привет мир\n2 + 2 = 4\ni know .\n\u009b2Jx\n")
        self.assertEqual(result.returncode, 0)
        self.assertEqual([line for line in result.stderr.splitlines() if "translation was cut" not in line],
                         ["stdin:1: unknown: привет мир", "stdin:2: unknown: 2 + 2 = 4",
                          "stdin:4: unknown: U+009B2Jx"])

    def test_lines_too_long_are_named_and_translated_in_part(self):
        limit = TRAINED["data.length"] - 1  # <sos> comes first; <eos> is what is cut
        fits = "i know " + "tired " * (limit - 3)
        longer = fits + "very happy and more"
        result = translate(f"i know .\n{fits}\n{longer}\n")
        self.assertEqual(len(result.lines), 3)
        self.assertNotIn("too long", result.stderr.split("stdin:3")[0])
        count = len(longer.split())
        self.assertRegex(result.stderr, rf"stdin:3: too long: the last \d+ of {count} words were not translated\n")
        self.assertEqual([line for line in result.remarks if line.startswith("stdin:1")], [])

    def test_a_translation_that_was_cut_is_named(self):
        result = translate("i know .\nthe hotel is empty .\n\n", "--translate.length", "2")
        self.assertEqual(
            result.remarks, [f"stdin:{line}: the translation was cut at the model's limit" for line in (1, 2)])
        self.assertEqual([len(line.split()) for line in result.lines], [2, 2, 0])

    def test_lines_before_a_bad_one_are_answered_first(self):
        good = translate("i know .\nwe are tired .\n").lines
        for name, line, pattern in (("invalid UTF-8", b"i \xe9t", "stdin:3: not valid UTF-8 text at byte 3"),
                                    ("NUL", b"i\0know", "stdin:3: .*at byte 2"),
                                    ("too long", b"a" * 3_000_000, "stdin:3: a line of more than 1048576 bytes")):
            with self.subTest(name):
                text = b"i know .\nwe are tired .\n" + line + b"\ni know .\n"
                process = self.start("translate", "--model", MODEL["run"], stdin=subprocess.PIPE)
                out, printed = process.communicate(text, timeout=LIMIT_S)
                self.assertEqual(out.decode().split("\n")[:-1], good)
                self.assertEqual(process.returncode, 3)
                self.assertRegex(printed.decode(), rf"\Alstmq translate: {pattern}[^\n]*\n\Z")


class Form(TrainingTest):
    """Input that is not UTF-8 text is named, with the command that converts it."""

    def test_it_is_named_for_what_it_is(self):
        text = "i know .\nwe are tired .\n" * 3
        for data, what, command in ((gzip.compress(text.encode()), "gzip data", "gzip -dc"),
                                    (lzma.compress(text.encode()), "xz data", "xz -dc"),
                                    (bz2.compress(text.encode()), "bzip2 data", "bzip2 -dc"),
                                    (b"\x28\xb5\x2f\xfd\x24\x00", "zstd data", "zstd -dc"),
                                    (read(SOURCE, "tests/cases/pairs.zip"), "a zip archive", "unzip -p"),
                                    (text.encode("UTF-16"), "UTF-16 text", "iconv -f UTF-16 -t UTF-8"),
                                    (text.encode("UTF-16LE"), "UTF-16 text", "iconv -f UTF-16LE -t UTF-8"),
                                    (read(SOURCE, "tests/cases/utf32.tsv"), "UTF-32 text", "iconv -f UTF-32 -t UTF-8")):
            with self.subTest(what):
                process = self.start("translate", "--model", MODEL["run"], stdin=subprocess.PIPE)
                out, printed = process.communicate(data, timeout=LIMIT_S)
                self.assertEqual((out, process.returncode), (b"", 3))
                self.assertEqual(printed.decode(), f"lstmq translate: stdin: this is {what}; make it plain UTF-8 text: "
                                                f"{command} FILE | lstmq translate\n")

    def test_a_one_byte_encoding_is_named_with_its_line(self):
        for data, encoding in ((b"i know .\ncaf\xe9\n", "LATIN1"), (b"i know .\ncaf\xe9\x85\n", "WINDOWS-1252")):
            process = self.start("translate", "--model", MODEL["run"], stdin=subprocess.PIPE)
            out, printed = process.communicate(data, timeout=LIMIT_S)
            self.assertEqual((out.decode(), process.returncode), (translate("i know .\n").stdout, 3))
            self.assertIn(
                f"stdin:2: not valid UTF-8 text at byte 4; if it is {encoding}: iconv -f {encoding} -t UTF-8 FILE",
                printed.decode())


class Model(TrainingTest):
    """The values that --model takes."""

    def setUp(self):
        super().setUp()
        self.run = self.path("run")
        shutil.copytree(MODEL["run"], self.run, symlinks=True)
        self.newest = os.path.realpath(os.path.join(self.run, "latest"))

    def assertTranslates(self, model):
        result = run("translate", "--model", model, stdin="i know .\n")
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        return result.stdout

    def flip(self, *path, at=-1):
        data = bytearray(read(*path))
        data[at] ^= 1
        return write(os.path.join(*path), bytes(data))

    def test_a_run_a_link_or_a_checkpoint(self):
        best = self.assertTranslates(self.run)
        self.assertEqual(self.assertTranslates(os.path.join(self.run, "best")), best)
        self.assertEqual(self.assertTranslates(os.path.realpath(os.path.join(self.run, "best")) + "/"), best)
        self.assertTranslates(os.path.join(self.run, "latest"))
        os.remove(os.path.join(self.run, "best"))
        self.assertTranslates(self.run)

    def test_nonsense_is_named(self):
        empty = self.path("empty")
        os.mkdir(empty)
        for status, model, pattern in ((1, self.path("missing"), "missing: .*No such file or directory"),
                                       (3, empty, "empty: neither a checkpoint .* nor a run"),
                                       (3, write(self.path("file"), "x"), "file: not a folder"),
                                       (2, "", "no model: give --model RUN_OR_CHECKPOINT")):
            for command in ("translate", "evaluate"):
                self.assertFails(status, pattern, command, "--model", model, "--data.pairs" if command == "evaluate"
                                 else "--threads", "1")

    def test_a_damaged_file_is_named_and_an_older_one_offered(self):
        older = sorted(name for name in os.listdir(self.run) if name.startswith("step-"))
        self.assertEqual(os.path.join(self.run, older[-1]), self.newest)
        for name in sorted(os.listdir(self.newest)):
            with self.subTest(name):
                before = read(self.newest, name)
                self.flip(self.newest, name, at=len(before) // 2)
                self.assertFails(3, f"{self.newest}/{name}: .*; the newest valid older one: "
                                    f"{self.run}/{older[-2]}", "translate", "--model", self.newest)
                write(os.path.join(self.newest, name), before[:-1])
                self.assertFails(3, f"{self.newest}/{name}: ", "translate", "--model", self.newest)
                os.remove(os.path.join(self.newest, name))
                if name == "optimizer.safetensors":
                    self.assertTranslates(self.newest)
                else:
                    self.assertFails(
                        3, f"{self.newest}/{name}.*; the newest valid older", "translate", "--model", self.newest)
                write(os.path.join(self.newest, name), before)
        self.assertTranslates(self.newest)
        for name in older[:-1]:
            self.flip(self.run, name, "model.safetensors")
        self.flip(self.newest, "tgt.vocab")
        result = self.assertFails(3, f"{self.newest}/tgt.vocab: ", "translate", "--model", self.newest)
        self.assertNotIn("newest older", result.stderr)


class Evaluate(TrainingTest):
    """tests/proto/score/test_bleu.c compares the scores with sacreBLEU. Here they follow from the printed
    translations."""

    def evaluate(self, pairs, *options):
        path = write(self.path("pairs.tsv"), pairs)
        result = run("evaluate", "--model", MODEL["run"], "--data.pairs", path, *options)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        return result.stdout

    def test_json_holds_every_score(self):
        scores = json.loads(self.evaluate(PAIRS[:100], "--json"))
        self.assertEqual(scores["pairs"], 100)
        self.assertEqual((scores["unknown_words"], scores["cut_pairs"]), (0, 0))
        targets = [pair.split("\t")[1].split() for pair in PAIRS[:100]]
        self.assertEqual(scores["tgt_tokens"], sum(len(target) + 1 for target in targets))
        self.assertAlmostEqual(scores["perplexity"], math.exp(scores["loss"]), 9)
        self.assertTrue(0.5 < scores["token_accuracy"] < 1, scores)
        self.assertTrue(5 < scores["bleu"] < 100 and 20 < scores["chrf"] < 100, scores)
        self.assertIn("tok:13a|smooth:exp", scores["bleu_signature"])
        self.assertIn("nc:6|nw:0", scores["chrf_signature"])

    def test_the_page_and_the_json_agree(self):
        scores = json.loads(self.evaluate(PAIRS[:60], "--json"))
        page = self.evaluate(PAIRS[:60])
        for text in (f"{scores['loss']:.4f}", f"{scores['perplexity']:.2f}", f"{100 * scores['token_accuracy']:.2f} %",
                     f"BLEU            {scores['bleu']:.2f}  {scores['bleu_signature']}",
                     f"chrF2           {scores['chrf']:.2f}  {scores['chrf_signature']}"):
            self.assertIn(text, page)

    def test_translations_are_those_of_translate_and_come_first(self):
        pairs = PAIRS[::4]
        output = self.evaluate(pairs, "--json", "--output.translations").splitlines()
        sources = "".join(pair.split("\t")[0] + "\n" for pair in pairs)
        self.assertEqual(output[:-1], translate(sources).lines)
        self.assertEqual(json.loads(output[-1]), json.loads(self.evaluate(pairs, "--json")))

    def test_scores_do_not_depend_on_batches_and_threads(self):
        expected = json.loads(self.evaluate(PAIRS[:50], "--json"))
        for options in (["--translate.batch", "1"], ["--translate.batch", "13", "--threads", "2"]):
            found = json.loads(self.evaluate(PAIRS[:50], "--json", *options))
            for key in ("loss", "perplexity"):
                self.assertAlmostEqual(found.pop(key) / expected[key], 1, 6)
            self.assertEqual(found, {key: value for key, value in expected.items() if key in found})

    def test_a_perfect_translation_scores_100(self):
        sources = [pair.split("\t")[0] for pair in PAIRS[:80]]
        printed = translate("".join(source + "\n" for source in sources)).lines
        perfect = [f"{source}\t{text}" for source, text in zip(sources, printed) if len(text.split()) >= 4]
        self.assertGreater(len(perfect), 10)
        scores = json.loads(self.evaluate(perfect, "--json"))
        self.assertEqual((round(scores["bleu"], 9), round(scores["chrf"], 9)), (100, 100))

    def test_raw_references_are_scored_as_sacrebleu_scores_them(self):
        """3.16751 and 26.053942 are what sacreBLEU 2.6 gives for these four translations and the raw file."""
        model = self.path("raw")
        pairs = os.path.join(SOURCE, "tests/cases/bleu_raw.tsv")
        options = {**TINY, "data.pairs": pairs, "data.normalise": "notebook", "model.embed": 16, "model.hidden": 32,
                   "train.lr": 0.05, "train.epochs": 200, "data.valid_pairs": pairs, "run.dir": model,
                   "train.keep_best": "bleu_normalised", "train.patience": 0, "run.progress": "plain"}
        result = run("train", *words(options))
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertRegex(result.stdout, r"\n *200/200 .* 3\.17 +100\.00 ")
        self.assertRegex(result.stdout, r"\n  BLEU +3\.17\n  BLEU, norm\. +100\.00\n")
        self.assertIn("<dt>BLEU</dt><dd>3.17<small>of 100; normalised references: 100.00</small>",
                      read(model, "report.html").decode())
        result = run("evaluate", "--model", os.path.join(model, "latest"), "--data.pairs", pairs, "--json")
        scores = json.loads(result.stdout)
        self.assertAlmostEqual(scores["bleu"], 3.16751, 5)
        self.assertAlmostEqual(scores["chrf"], 26.053942, 6)
        self.assertAlmostEqual(scores["bleu_normalised"], 100, 9)
        self.assertAlmostEqual(scores["chrf_normalised"], 100, 9)
        last = [json.loads(line) for line in read(model, "metrics.jsonl").splitlines()][-1]
        more = write(self.path("more.tsv"), b"\tlonely\n" + read(pairs) + b"lonely\t\n")
        result = run("evaluate", "--model", os.path.join(model, "latest"), "--data.pairs", more, "--json")
        self.assertEqual(json.loads(result.stdout), {**scores, "pairs_left_out": 2})
        self.assertAlmostEqual(last["bleu"], 3.16751, 5)
        self.assertAlmostEqual(last["bleu_normalised"], 100, 9)

    def test_json_holds_null_where_a_score_is_beyond_numbers(self):
        model = self.path("wild")
        pairs = write(self.path("few.tsv"), PAIRS[:20])
        options = {**TINY, "data.pairs": pairs, "model.hidden": 128, "train.lr": 1000, "train.optimizer": "sgd",
                   "train.clip": 0, "train.epochs": 1, "data.valid_fraction": 0, "run.dir": model}
        self.assertEqual(run("train", *words(options)).returncode, 0)
        text = run("evaluate", "--model", model, "--data.pairs", pairs, "--json").stdout

        def refuse(name):
            raise ValueError(name)

        scores = json.loads(text, parse_constant=refuse)
        self.assertNotIn("inf", text)
        self.assertGreater(scores["loss"], 709.8, "perplexity is finite: the test holds nothing")
        self.assertIsNone(scores["perplexity"])

    def test_the_best_epochs_figures_come_out_again(self):
        records = [json.loads(line) for line in read(MODEL["run"], "metrics.jsonl").splitlines()]
        best = max(records, key=lambda record: record["bleu"])
        self.assertEqual(os.path.realpath(os.path.join(MODEL["run"], "best")).split("-")[-1], f"{best['step']:08}")

    def test_unknown_words_long_and_bad_pairs_are_counted(self):
        pairs = PAIRS[:20] + ["the zeppelin is qwert .\tle zeppelin .", "i know " * 20 + "\tje sais .", "a\t"]
        path = write(self.path("pairs.tsv"), pairs + ["no tab"])
        arguments = ["evaluate", "--model", MODEL["run"], "--data.pairs", path, "--json"]
        self.assertFails(3, f"{path}:24: no TAB", *arguments)
        result = run(*arguments, "--data.on_bad_line", "skip")
        scores = json.loads(result.stdout)
        self.assertEqual((scores["pairs"], scores["unknown_words"], scores["cut_pairs"]), (22, 2, 1))
        self.assertEqual(result.stderr, "1 bad lines were skipped\n1 pairs with an empty side were left out\n")
        self.assertEqual((scores["bad_lines"], scores["pairs_left_out"]), (1, 1))

    def test_pairs_with_an_empty_side_keep_their_place_unscored(self):
        path = os.path.join(SOURCE, "tests/cases/empty_side.tsv")
        arguments = ["evaluate", "--model", MODEL["run"], "--json", "--data.pairs"]
        result = run(*arguments, path, "--output.translations")
        self.assertEqual(result.returncode, 0, result.stderr)
        *lines, scores = result.stdout.splitlines()
        self.assertEqual(lines, [*translate("k22\nk23\n").lines, "", *translate("k26\n").lines])
        self.assertNotIn("", lines[:2])
        scores = json.loads(scores)
        self.assertEqual((scores["pairs"], scores["pairs_left_out"], scores["bad_lines"]), (2, 2, 0))
        self.assertEqual(scores, json.loads(run(*arguments, path).stdout))
        two = write(self.path("two.tsv"), [line for line in read(path).decode().splitlines() if line.strip() == line])
        self.assertEqual({**json.loads(run(*arguments, two).stdout), "pairs_left_out": 2}, scores)
        page = run("evaluate", "--model", MODEL["run"], "--data.pairs", path).stdout
        self.assertIn("\nleft out        2 pairs with an empty side\n", page)

    def test_each_line_of_the_file_has_a_translation(self):
        lines = ["i know .\tje sais .", "no tab", "", "\tlonely", "we are tired .\tnous sommes .", "i know .\t"]
        path = write(self.path("pairs.tsv"), lines * 3 + ["", ""])
        arguments = ["evaluate", "--model", MODEL["run"], "--data.pairs", path, "--data.on_bad_line", "skip",
                     "--translate.batch", "2", "--output.translations"]
        known, tired = translate("i know .\nwe are tired .\n").lines
        *found, scores = run(*arguments, "--json").stdout.splitlines()
        self.assertEqual(found, [known, "", "", "", tired, known] * 3 + ["", ""])
        scores = json.loads(scores)
        self.assertEqual((scores["pairs"], scores["bad_lines"], scores["pairs_left_out"]), (6, 6, 8))
        self.assertIn("\nbad lines       6 were skipped\n", run(*arguments).stdout)

    def test_translations_that_were_cut_are_counted(self):
        pairs = PAIRS[::20]
        for limit in ("2", "4", "30"):
            sources = "".join(pair.split("\t")[0] + "\n" for pair in pairs)
            cut = len(translate(sources, "--translate.length", limit).remarks)
            scores = json.loads(self.evaluate(pairs, "--json", "--translate.length", limit))
            self.assertEqual((scores["translations_cut"], scores["cut_pairs"]), (cut, 0))
            page = self.evaluate(pairs, "--translate.length", limit)
            self.assertEqual(
                cut > 0,
                f"\nunfinished      {cut} translation{'' if cut == 1 else 's'} cut at the model's limit\n" in page)
            self.assertEqual(limit == "2", cut == len(pairs))

    def test_a_file_of_which_nothing_can_be_scored_is_an_error(self):
        path = write(self.path("pairs.tsv"), ["no tab", "k23\t", "\tlonely", " \t \u00a0"])
        self.assertFails(3, f"{path}: nothing can be scored: of 4 lines 1 are bad and 3 have an empty side", "evaluate",
                         "--model", MODEL["run"], "--data.pairs", path, "--data.on_bad_line", "skip")


if __name__ == "__main__":
    main()
