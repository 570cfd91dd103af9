#!/usr/bin/env python3
"""For any file of pairs, training says what it read: which line of which file is bad, and how many were left out."""

import bz2
import gzip
import io
import json
import lzma
import os
import re
import subprocess
import tarfile
import types
import unicodedata
import zipfile

from support.program import SOURCE, main, run
from support.training import TrainingTest, hashes, metrics, read, sample_pairs, write

PAIRS = sample_pairs(60)
LONGEST = 1 << 16  # bytes of a line


def packed(files, method=zipfile.ZIP_DEFLATED, comment=b"", stream=False):
    """A zip archive; with `stream`, as written by a program that cannot seek back to fill in sizes."""
    memory = io.BytesIO()
    target = types.SimpleNamespace(write=memory.write, flush=memory.flush) if stream else memory
    with zipfile.ZipFile(target, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
        archive.comment = comment
    return memory.getvalue()


class DataTest(TrainingTest):
    options = {**TrainingTest.options, "train.epochs": 1, "train.bleu": "false"}

    def setUp(self):
        super().setUp()
        self.runs = 0

    def new_run(self):
        self.runs += 1
        return self.path(f"run-{self.runs}")

    def pairs(self, text, name="pairs.tsv"):
        return write(self.path(name), text)

    def assertRefused(self, pattern, status=3, **options):
        folder = self.new_run()
        self.assertFails(status, pattern, *self.arguments(run__dir=folder, **options))
        self.assertFalse(os.path.exists(folder), "a run that never began left a folder")

    def trained_on(self, **options):
        """The counts of the data line on stderr: lines, pairs, training pairs, validation pairs; and the model."""
        folder = self.new_run()
        printed = self.train(run__dir=folder, **options)
        counts = re.search(r"(\d+) lines, (\d+) pairs of .*; training on (\d+), validating on (\d+);", printed)
        return [int(count) for count in counts.groups()], hashes(folder), printed


class BadLine(DataTest):
    """Each of these is line 31 between good ones."""

    BAD = [
        ("no TAB", b"i know .", r"no TAB; a line is SOURCE TAB TARGET"), ("an empty line", b"", r"no TAB"),
        ("invalid UTF-8", b"i \xff know .\tje sais .",
            r"invalid UTF-8 at byte 3 \(0xFF\); convert the file with iconv"),
        ("half a letter", b"i know .\tje sais \xc3", r"invalid UTF-8 at byte 18 \(0xC3\)"),
        ("a surrogate", b"i know .\t\xed\xa0\x80", r"invalid UTF-8 at byte 10"),
        ("an overlong letter", b"\xc1\x81\tje sais .", r"invalid UTF-8 at byte 1"),
        ("NUL", b"i know .\tje\0 sais .", r"a NUL at byte 12"),
        ("1 MB and more", b"a " * (1 << 19) + b"\tb", rf"the line has more than {LONGEST} bytes; split it"),
        ("2 MB without a word's end", b"a" * (1 << 21), rf"the line has more than {LONGEST} bytes; split it")]

    def around(self, line):
        lines = [pair.encode() for pair in PAIRS]
        return b"".join(each + b"\n" for each in lines[:30] + [line] + lines[30:])

    def test_it_is_named_with_its_file(self):
        for name, line, pattern in self.BAD:
            with self.subTest(name):
                path = self.pairs(self.around(line))
                self.assertRefused(
                    rf"train: {path}:31: {pattern}.*, or leave such lines out with --data.on_bad_line skip",
                    data__pairs=path)

    def test_it_is_named_in_a_gzip_file_and_in_validation_too(self):
        line = b"i know ."
        packed = self.pairs(gzip.compress(self.around(line)), "pairs.tsv.gz")
        self.assertRefused(rf"train: {packed}:31: no TAB", data__pairs=packed)
        self.assertRefused(rf"train: {packed}:31: no TAB", data__pairs=self.pairs(PAIRS), data__valid_pairs=packed)

    def test_skipping_counts_it_and_trains_on_the_others(self):
        good = self.trained_on(data__pairs=self.pairs(PAIRS))
        self.assertNotIn("bad line", good[2])
        for name, line, pattern in self.BAD:
            with self.subTest(name):
                path = self.pairs(self.around(line))
                counts, model, printed = self.trained_on(data__pairs=path, data__on_bad_line="skip")
                self.assertEqual(counts, [len(PAIRS) + 1, *good[0][1:]])
                self.assertEqual(model, good[1])
                self.assertRegex(
                    printed, rf"1 bad lines? .*skipped \(data.on_bad_line skip\); the first: {path}:31: {pattern}")

    def test_all_of_them_are_counted(self):
        lines = [pair.encode() for pair in PAIRS] + [line for _, line, _ in self.BAD]
        path = self.pairs(b"\n".join(lines))
        counts, _, printed = self.trained_on(data__pairs=path, data__on_bad_line="skip")
        self.assertEqual(counts[:2], [len(lines), len(PAIRS)])
        self.assertIn(
            f"{len(self.BAD)} bad lines were skipped (data.on_bad_line skip); the first: {path}:61: no TAB", printed)

    def test_a_file_of_bad_lines_alone_leaves_nothing(self):
        path = self.pairs(["no tab here"] * 5)
        self.assertRefused(
            rf"{path}: none of 5 lines is a usable pair \(5 bad", data__pairs=path, data__on_bad_line="skip")

    def test_in_parallel_files_the_side_is_named(self):
        good = [pair.encode() for pair in PAIRS]
        src, tgt = (b"".join(pair.split(b"\t")[side] + b"\n" for pair in good) for side in (0, 1))
        bad = tgt.split(b"\n")
        bad[6] = b"je \xe9tais"
        src, tgt = self.pairs(src, "pairs.en"), self.pairs(b"\n".join(bad), "pairs.fr")
        self.assertRefused(rf"train: {tgt}:7: invalid UTF-8 at byte 4 \(0xE9\)", data__src=src, data__tgt=tgt)
        counts, _, printed = self.trained_on(data__src=src, data__tgt=tgt, data__on_bad_line="skip")
        self.assertEqual(counts[:2], [60, 59])
        self.assertIn(f"the first: {tgt}:7: invalid UTF-8", printed)


class Form(DataTest):
    """The same pairs in other formats train the same model."""

    def setUp(self):
        super().setUp()
        self.expected = self.trained_on(data__pairs=self.pairs(PAIRS))[:2]

    def assertSame(self, text, name="other.tsv"):
        self.assertEqual(self.trained_on(data__pairs=self.pairs(text, name))[:2], self.expected)

    def test_line_ends_marks_and_trailing_columns(self):
        self.assertSame("\r\n".join(PAIRS) + "\r\n")
        self.assertSame("\n".join(PAIRS))
        self.assertSame("\ufeff" + "\n".join(PAIRS) + "\n")
        self.assertSame("\n".join(PAIRS) + "\n\n\n")
        self.assertSame([pair + "\tCC-BY 2.0 (France)\tand more" for pair in PAIRS])

    def test_a_cr_ends_a_line(self):
        self.assertSame("\r".join(PAIRS) + "\r")
        self.assertSame("\r\r\n".join(PAIRS) + "\r\r\n")
        self.assertSame("\n".join(PAIRS[:20]) + "\n" + "\r".join(PAIRS[20:40]) + "\r" + "\r\n".join(PAIRS[40:]))
        for name, count in (("cr_only", 4), ("cr_chunk", 5)):
            path = os.path.join(SOURCE, f"tests/cases/{name}.tsv")
            self.assertEqual(self.trained_on(data__pairs=path, data__valid_fraction=0)[0], [count, count, count, 0])
            self.assertEqual(self.trained_on(data__pairs=self.pairs(PAIRS), data__valid_pairs=path)[0][2:], [60, count])
            result = run("evaluate", "--model", self.path(f"run-{self.runs}"), "--data.pairs", path, "--json")
            self.assertEqual(json.loads(result.stdout)["pairs"], count)

    def test_a_cr_within_a_line_is_named(self):
        path = self.pairs(PAIRS[:30] + ["i know .\tje\rsais ."] + PAIRS[30:])
        self.assertRefused(rf"train: {path}:32: no TAB; .* the one before ends in a CR without LF", data__pairs=path)
        counts, model, _ = self.trained_on(data__pairs=path, data__on_bad_line="skip")
        self.assertEqual((counts[0], counts[1:], model), (62, self.expected[0][1:], self.expected[1]))
        sides = [[pair.split("\t")[side] for pair in PAIRS] for side in (0, 1)]
        sides[1][7] = "a\rb"
        src, tgt = self.pairs(sides[0], "pairs.en"), self.pairs(sides[1], "pairs.fr")
        self.assertRefused(rf"train: {tgt}:8: the line ends in a CR without LF and those before it in LF",
                           data__src=src, data__tgt=tgt, data__on_bad_line="skip")

    def test_sample_sentences_end_at_a_cr_too(self):
        for name, ends in (("lf", ("\n", "\n")), ("cr", ("\r", "\r")), ("both", ("\r\n", "\r"))):
            sample = self.pairs("\ufeff" + "i know ." + ends[0] + ends[1] + "we are tired ." + ends[1], name)
            folder = self.new_run()
            printed = self.train(run__dir=folder, data__pairs=self.pairs(PAIRS), run__sample=sample)
            self.assertNotIn("left out", printed)  # an empty line is no sentence
            page = read(folder, "report.html").decode()
            self.assertTrue("i know ." in page and "we are tired ." in page, name)
            self.assertNotIn("i know .we", page)
        bad = self.pairs(b"i know .\rcaf\xe9\r", "bad")
        self.assertRefused(f"{bad}:2: not UTF-8 text", data__pairs=self.pairs(PAIRS), run__sample=bad)

    def test_gzip(self):
        text = "".join(pair + "\n" for pair in PAIRS).encode()
        self.assertSame(gzip.compress(text), "other.tsv.gz")
        self.assertSame(gzip.compress(text), "named-like-text.tsv")
        self.assertSame(gzip.compress(text[:500]) + gzip.compress(text[500:]), "two-members.gz")

        self.assertSame(gzip.compress(text[:500]) + bytes(100) + gzip.compress(text[500:]) + bytes(70000), "padded.gz")
        path = os.path.join(SOURCE, "tests/cases/zero_padded.tsv.gz")
        self.assertEqual(self.trained_on(data__pairs=path, data__valid_fraction=0)[0], [2, 2, 2, 0])

    def test_zip(self):
        text = "".join(pair + "\n" for pair in PAIRS).encode()
        for name, beside, method in (("stored.zip", [], zipfile.ZIP_STORED), ("deflated.zip", [], zipfile.ZIP_DEFLATED),
                                     ("beside.zip", ["_about.txt", "a/", "__MACOSX/pairs.txt", "a/.DS_Store"],
                                      zipfile.ZIP_DEFLATED)):
            with self.subTest(name):
                self.assertSame(packed({**{each: b"no pairs" for each in beside}, "a/pairs.txt": text}, method), name)
        self.assertSame(packed({"pairs.txt": text}), "named-like-text.tsv")
        self.assertSame(packed({"pairs.txt": text}, comment=b"from PK\5\6 a site"), "comment.zip")
        self.assertSame(packed({"pairs.txt": text}, stream=True), "stream.zip")
        self.assertSame(packed({"pairs.txt": text}, zipfile.ZIP_STORED, stream=True), "stored-stream.zip")
        path = os.path.join(SOURCE, "tests/cases/pairs.zip")
        self.assertEqual(self.trained_on(data__pairs=path, data__valid_fraction=0)[0], [80, 80, 80, 0])
        longer = "".join(f"number {i}\tnombre {i * i}\n" for i in range(40000))
        path = self.pairs(packed({"pairs.txt": longer.encode()}), "longer.zip")
        self.assertEqual(self.trained_on(data__pairs=path, data__split="tail", data__take=100)[0][:2], [40000, 40000])

    def test_parallel_files_and_a_pipe(self):
        sides = [[pair.split("\t")[side] for pair in PAIRS] for side in (0, 1)]
        src, tgt = self.pairs(sides[0], "pairs.en"), self.pairs(sides[1], "pairs.fr")
        self.assertEqual(self.trained_on(data__src=src, data__tgt=tgt)[:2], self.expected)
        folder = self.new_run()
        text = "".join(pair + "\n" for pair in PAIRS)
        result = run(*self.arguments(run__dir=folder, data__pairs="/dev/stdin"), stdin=text)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(hashes(folder), self.expected[1])


def case(name):
    return os.path.join(SOURCE, "tests", "cases", name)


def letters(text):
    """The letters, digits and marks of a text, with repetitions."""
    return sorted(c for c in unicodedata.normalize("NFC", text) if unicodedata.category(c)[0] in "LNM")


class Loss(DataTest):
    """Normalisation counts what it removes, and refuses to remove much."""

    SMALL = {"data__valid_fraction": 0, "data__max_tokens": 48, "data__length": 50}

    def assertKeepsAll(self, path, *flags, **options):
        """The vocabularies have every letter and digit of both sides."""
        folder = self.new_run()
        printed = self.train(*flags, run__dir=folder, data__pairs=path, **self.SMALL, **options)
        self.assertNotIn("removed", printed)
        pairs = [line.split("\t") for line in read(path).decode().splitlines()]
        for side, name in enumerate(("src.vocab", "tgt.vocab")):
            words = read(folder, "latest", name).decode().split("\n")[4:]
            self.assertEqual(set(words) - {""}, {word for pair in pairs for word in pair[side].split()})
            self.assertGreater(len(letters("".join(words))), 0)

    def test_the_notebooks_rule_alone_drops_letters_and_digits(self):
        for name in ("russian.tsv", "letters_lost.tsv"):
            with self.subTest(name):
                self.assertKeepsAll(case(name))
                self.assertKeepsAll(case(name), "--config", "default")

    def test_more_than_a_fifth_of_a_side_is_refused(self):
        path = case("russian.tsv")
        lost = (
            rf'train: data.normalise notebook removed 47 of 47 letters and digits of the targets \(100.0 %\), such as '
            rf'{path}:1: "Я" became ""; give --data.normalise nfc')
        self.assertRefused(lost, data__pairs=path, data__normalise="notebook", **self.SMALL)
        turned = self.pairs(["\t".join(reversed(line.split("\t"))) for line in read(path).decode().splitlines()])
        self.assertRefused("47 of 47 letters and digits of the sources", data__pairs=turned, data__normalise="notebook",
                           data__min_tokens=1, **self.SMALL)
        digits = self.pairs(["i have 1234 cats\tj ai 1234 chats"])
        self.assertRefused("removed 4 of 13 letters and digits of the sources", data__pairs=digits,
                           data__normalise="notebook", **self.SMALL)

    def test_less_is_a_warning_with_an_example_of_each_side(self):
        path = case("letters_lost.tsv")
        printed = self.trained_on(data__pairs=path, data__normalise="notebook", **self.SMALL)[2]
        self.assertIn("warn", printed)
        for part in ('removed 3 of 58 letters and digits of the sources (5.2 %), such as '
                     f'{path}:3: "Łódź" became "ód"; data.normalise nfc keeps them',
                     'removed 5 of 59 letters and digits of the targets (8.5 %), such as '
                     f'{path}:1: "sœur" became "sur"; data.normalise nfc keeps them'):
            self.assertIn(part, printed)
        plain = self.trained_on(data__pairs=self.pairs(PAIRS), data__normalise="notebook")[2]
        self.assertNotIn("removed", plain)

    def test_pairs_of_validation_and_evaluate_get_warnings_too(self):
        path, russian = case("letters_lost.tsv"), case("russian.tsv")
        printed = self.trained_on(
            data__pairs=path, data__valid_pairs=russian, data__normalise="notebook", **self.SMALL)[2]
        lost = (
            "removed 47 of 47 letters and digits of the {}targets (100.0 %), such as " + f'{russian}:1: "Я" became ""')
        self.assertIn(lost.format("validation "), printed)
        result = run("evaluate", "--model", self.path("run-1"), "--data.pairs", russian)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn(lost.format("") + "; a model trained with data.normalise nfc keeps them", result.stderr)

    def test_what_is_removed_from_a_sample_sentence_is_named(self):
        sample = self.pairs(["i know 3 .", "2 + 2 = 4", "i know ."], "sample.txt")
        printed = self.trained_on(data__pairs=self.pairs(PAIRS), data__normalise="notebook", run__sample=sample)[2]
        self.assertIn(f'{sample}: data.normalise notebook removed from "i know 3 .": 3\n', printed)
        self.assertIn(f'{sample}: data.normalise notebook removed from "2 + 2 = 4": 2 + 2 = 4\n', printed)
        self.assertEqual(printed.count("removed from"), 2)


class ControlCharacter(DataTest):
    """Every reader of a run accepts its words, for any text."""

    def test_a_run_on_control_characters_is_read_again(self):
        characters = [chr(code) for code in (*range(1, 9), *range(11, 13), *range(14, 32), 127)]
        own = self.pairs([f"a{each}\tb{each}c {each} d" for each in characters])
        for rule in ("nfc", "none", "notebook"):
            for path, words in ((case("control_char.tsv"), "a\n"), (own, "a\n")):
                with self.subTest(rule, path=path):
                    folder = self.new_run()
                    self.train(run__dir=folder, data__pairs=path, data__normalise=rule, data__valid_fraction=0)
                    self.assertEqual(read(folder, "latest", "src.vocab").decode().split("<unk>\n")[1], words)
                    for command in (["translate", "--model", folder], ["inspect", folder],
                                    ["evaluate", "--model", folder, "--data.pairs", path]):
                        result = run(*command, stdin="a\x01\n")
                        self.assertEqual(result.returncode, 0, (command, result.stderr))
                        self.assertNotIn("unknown", result.stderr)
                    self.train("--resume", run__dir=folder, data__pairs=path, data__normalise=rule,
                               data__valid_fraction=0, train__epochs=2)


class BadFile(DataTest):
    def test_what_cannot_be_read_is_named(self):
        good = self.pairs(PAIRS)
        packed = gzip.compress("".join(pair + "\n" for pair in PAIRS).encode())
        flipped = bytearray(packed)
        flipped[-6] ^= 1  # of its checksum
        for status, name, text, pattern in (
            (3, "empty.tsv", b"", "the file is empty; it should hold one sentence or pair a line"),
            (3, "lf.tsv", b"\n\n\n", "none of 0 lines is a usable pair"),
            (3, "bom.tsv", b"\xef\xbb\xbf", "none of 0 lines is a usable pair"),
            (3, "empty.gz", gzip.compress(b""), "this gzip file is empty"),
            (3, "cut.gz", packed[:len(packed) // 2], r"damaged gzip file \(it ends too early\); check it with gzip -t"),
            (3, "cut-by-one.gz", packed[:-1], r"damaged gzip file \(it ends too early\)"),
            (3, "flipped.gz", bytes(flipped), r"damaged gzip file \("),
            (3, "tail.gz", packed + b"rubbish", r"damaged gzip file \("),
            (3, "text.gz", b"a\tb\n", "not a gzip file in spite of its name"),
        ):
            with self.subTest(name):
                path = self.pairs(text, name)
                self.assertRefused(f"train: {path}.*{pattern}", status, data__pairs=path)
                self.assertRefused(f"train: {path}.*{pattern}", status, data__pairs=good, data__valid_pairs=path)

    def test_archives_and_encodings_are_named_with_a_remedy(self):
        text = "".join(pair + "\n" for pair in PAIRS).encode()
        with io.BytesIO() as memory:
            with tarfile.open(fileobj=memory, mode="w:gz") as archive:
                entry = tarfile.TarInfo("pairs.tsv")
                entry.size = len(text)
                archive.addfile(entry, io.BytesIO(text))
            tar = memory.getvalue()
        zstd = b"\x28\xb5\x2f\xfd\x24\x00"
        seven = b"7z\xbc\xaf\x27\x1c\x00\x04"
        for name, data, what, command in (
            ("pairs.xz", lzma.compress(text), "xz data", "xz -dc"),
            ("pairs.bz2", bz2.compress(text), "bzip2 data", "bzip2 -dc"),
            ("pairs.zst", zstd, "zstd data", "zstd -dc"),
            ("pairs.7z", seven, "a 7z archive", "7z x -so"),
            *((f"{each}.tsv", text.decode().encode(each), f"{each[:6]} text", f"iconv -f {each} -t UTF-8")
              for each in ("UTF-16", "UTF-16LE", "UTF-16BE", "UTF-32", "UTF-32LE", "UTF-32BE"))
        ):
            with self.subTest(name):
                path = self.pairs(data, name)
                self.assertRefused(f"train: {path}: this is {what}; make it plain UTF-8 text: {command} {path} > NEW",
                                   data__pairs=path, data__on_bad_line="skip")
                self.assertRefused(
                    f"train: {path}: this is {what}", data__pairs=self.pairs(PAIRS), data__valid_pairs=path)
                self.assertRefused(f"train: {path}: this is {what}", data__pairs=self.pairs(PAIRS), run__sample=path)
        for name, data, what in (
            ("tar.gz", tar, "gzip data, and in it a tar archive; .* tar -xOf FILE"),
            ("xz.gz", gzip.compress(lzma.compress(text)), "gzip data, and in it xz data; .* xz -dc FILE"),
            ("utf16.zip", packed({"a": text.decode().encode("utf-16")}),
             "a zip archive, and in it UTF-16 text; .* iconv -f UTF-16 -t UTF-8 FILE")):
            path = self.pairs(data, name)
            self.assertRefused(f"train: {path}: {what} > NEW", data__pairs=path)
        latin = os.path.join(SOURCE, "tests/cases/latin1.tsv")
        self.assertRefused(
            rf"{latin}:1: invalid UTF-8 at byte 14 .0xE9.; .* iconv -f LATIN1 -t UTF-8 FILE > NEW if it is",
            data__pairs=latin)
        wide = os.path.join(SOURCE, "tests/cases/utf32.tsv")
        self.assertRefused(f"{wide}: this is UTF-32 text; .* iconv -f UTF-32 -t UTF-8 {wide} > NEW", data__pairs=wide)

    def test_a_zip_that_cannot_be_read_is_named(self):
        good = packed({"pairs.txt": "".join(pair + "\n" for pair in PAIRS).encode()})
        row, end = good.rindex(b"PK\1\2"), good.rindex(b"PK\5\6")

        def changed(at, value):
            return good[:at] + value + good[at + len(value):]

        for name, data, pattern in (
            ("two.zip", packed({"a.txt": b"a", "b.txt": b"b"}),
             "holds several files, a.txt and b.txt among them; unpack"),
            ("none.zip", packed({"_about.txt": b"a", "b/": b""}), "no text file is in this zip archive"),
            ("empty.zip", packed({}), "no text file is in this zip archive"),
            ("nothing.zip", packed({"a.txt": b""}), "this zip archive is empty"),
            ("cut.zip", good[:-30], r"damaged zip archive \(.*\); check it with unzip -t"),
            ("tail.zip", good[30:], "not a zip file in spite of its name"),
            ("checksum.zip", changed(row + 16, b"\0"), r"damaged zip archive \(incorrect data check\)"),
            ("size.zip", changed(row + 24, b"\1\0\0\0"), r"damaged zip archive \(its sizes do not agree\)"),
            ("encrypted.zip", changed(row + 8, b"\1"),
             "pairs.txt in it is encrypted; unpack it with unzip and its password"),
            ("zip64.zip", changed(row + 24, b"\xff" * 4),
             "a zip64 archive, which is not read here; unpack it with unzip"),
            ("zip64-end.zip", changed(end + 16, b"\xff" * 4), "a zip64 archive"),
            ("part.zip", changed(end + 4, b"\1"), "one part of a zip archive in several"),
            ("bzip2.zip", packed({"a.txt": b"a\tb\n" * 50}, zipfile.ZIP_BZIP2),
             "a.txt in it is compressed by method 12"),
            ("text.zip", b"a\tb\n", "not a zip file in spite of its name")):
            with self.subTest(name):
                path = self.pairs(data, name)
                self.assertRefused(f"train: {path}: .*{pattern}", data__pairs=path)
        os.mkfifo(self.path("pipe"))
        writer = subprocess.Popen(["sh", "-c", 'exec cat "$0" > "$1"', self.pairs(good, "good.zip"), self.path("pipe")])
        self.assertRefused(
            f"{self.path('pipe')}: a zip archive is not read from a pipe; unpack it first: unzip -p FILE",
            data__pairs=self.path("pipe"))
        writer.wait()

    def test_a_missing_file_and_a_folder_are_named(self):
        missing = self.path("missing.tsv")
        self.assertRefused(f"{missing}: cannot open: No such file or directory", 1, data__pairs=missing)
        self.assertRefused(f"{self.folder}: cannot (read|open).*: Is a directory", 1, data__pairs=self.folder)

    def test_parallel_files_of_different_length_are_named(self):
        src, tgt = self.pairs(["a"] * 8, "long.en"), self.pairs(["b"] * 5, "short.fr")
        self.assertRefused(f"{tgt} ends after line 5, but {src} is longer; parallel files need equally many lines",
                           data__src=src, data__tgt=tgt)
        self.assertRefused(f"{tgt} ends after line 5, but {src} is longer", data__src=tgt, data__tgt=src)

    def test_files_that_do_not_fit_are_a_usage_error(self):
        path = self.pairs(PAIRS)
        self.assertRefused("no data: give --data.pairs FILE", 2)
        self.assertRefused("data.pairs and data.src/data.tgt both name data", 2, data__pairs=path, data__src=path)
        self.assertRefused("data.tgt is missing", 2, data__src=path)
        self.assertRefused("data.valid_src is missing", 2, data__pairs=path, data__valid_tgt=path)


class Choice(DataTest):
    """Which pairs are trained on, and which are held out."""

    def test_take_keeps_that_many_or_all_there_are(self):
        path = self.pairs(PAIRS)
        everything = self.trained_on(data__pairs=path)
        self.assertEqual(self.trained_on(data__pairs=path, data__take=10**6)[:2], everything[:2])
        few = self.trained_on(data__pairs=path, data__take=10, data__valid_fraction=0.2)[0]
        self.assertEqual(few, [60, 60, 8, 2])

    def test_validation_pairs_of_their_own_are_all_held_out(self):
        path = self.pairs(PAIRS[:50])
        sides = [[pair.split("\t")[side] for pair in PAIRS[50:]] for side in (0, 1)]
        own = self.trained_on(data__pairs=path, data__valid_pairs=self.pairs(PAIRS[50:], "valid.tsv"))
        self.assertEqual(own[0], [60, 60, 50, 10])
        apart = self.trained_on(data__pairs=path, data__valid_src=self.pairs(sides[0], "valid.en"),
                                data__valid_tgt=self.pairs(sides[1], "valid.fr"))
        self.assertEqual(apart[:2], own[:2])

    def test_without_validation_the_figures_are_null(self):
        self.trained_on(data__pairs=self.pairs(PAIRS), data__valid_fraction=0)
        record = metrics(self.path("run-1"))[0]
        self.assertEqual(
            [record[key] for key in ("val_loss", "val_acc", "val_tf_loss", "bleu", "bleu_normalised")], [None] * 5)
        self.assertIsNotNone(record["train_loss"])

    def test_pairs_beyond_the_token_limits_are_counted(self):
        path = self.pairs(PAIRS + ["a " * 13 + "\tb", "\tb", "a\t "])
        self.assertEqual(self.trained_on(data__pairs=path)[0][:2], [63, 60])
        self.assertRefused(r"none of 63 lines is a usable pair \(0 bad, 63 with a side outside 11 to 12 tokens\); see "
                           "data.min_tokens and data.max_tokens", data__pairs=path, data__min_tokens=11)

    def test_too_few_pairs_to_hold_some_out_are_an_error(self):
        one, same = self.pairs(["a\tb"], "one.tsv"), self.pairs(["a\tb"] * 20, "same.tsv")
        self.assertRefused("no training pair is left of 1: 1 are held out .data.valid_fraction 0.1.", data__pairs=one)
        self.assertRefused(
            "no training pair is left of 20: .*18 share their source .*data.split source", data__pairs=same)
        self.assertEqual(self.trained_on(data__pairs=one, data__valid_fraction=0)[0], [1, 1, 1, 0])
        self.assertEqual(self.trained_on(data__pairs=same, data__split="tail")[0], [20, 20, 18, 2])


if __name__ == "__main__":
    main()
