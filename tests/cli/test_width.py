#!/usr/bin/env python3
"""Pages for people fit the terminal: help, the tables and the live line."""

import os
import re
import socket

from support.program import commands, main, on_terminal, run
from support.training import TINY, TrainingTest, sample_pairs, words, write

FIELDS = re.compile(r"epoch \d+/\d+|step \d+/\d+|loss (-|\d+\.\d{4})|acc (-|\d+\.\d%)|(-|\d+) tok/s|"
                    r"ETA (-|(\d+:)?\d+:\d\d)|training|validating|saving")


class Width(TrainingTest):
    def fits(self, text, width, what):
        for line in text.splitlines():
            self.assertLessEqual(len(line), width, (what, line))
            self.assertEqual(line, line.rstrip(), what)

    def training(self, *arguments, **options):
        pairs = write(os.path.join(self.folder, "pairs.tsv"), sample_pairs(400))
        options = {**TINY, "data.pairs": pairs, "run.dir": os.path.join(self.folder, "run"), "log.level": "warn",
                   **{name.replace("__", "."): value for name, value in options.items()}}
        return ["train", *words(options), "--run.overwrite", *arguments]

    def test_help_is_as_wide_as_the_terminal(self):
        for width in (40, 80, 120):
            for page in ([], *([command] for command in commands())):
                text = run("help", *page, environment={"COLUMNS": str(width)}).stdout
                self.fits(text, width, (width, page))
                self.assertEqual(text, on_terminal(width, ["help", *page]))
            self.assertGreater(max(map(len, text.splitlines())), width * 3 // 4)

    def test_help_says_the_same_at_each_width(self):
        def printed(command, width):
            page = run("help", command, environment={"COLUMNS": str(width)}).stdout
            return re.sub(r"\s+|\\\n", "", page.replace(" \\\n", " "))

        for command in commands():
            self.assertEqual(printed(command, 40), printed(command, 120), command)

    def test_a_word_wider_than_the_terminal_stays_whole(self):
        text = on_terminal(8, ["help", "train"])
        self.assertIn("\n  --train.checkpoint_every\n", text)
        self.assertTrue(all(len(line) <= 8 or len(line.split()) <= 2 for line in text.splitlines()), text)

    def test_help_in_a_pager_has_the_terminals_width(self):
        self.assertEqual(on_terminal(50, ["help", "train"], piped=["stdout"]), on_terminal(50, ["help", "train"]))

    def test_columns_makes_it_narrower_only(self):
        page = ["help", "train"]
        self.assertEqual(on_terminal(100, page, COLUMNS="60"), on_terminal(60, page))
        self.assertEqual(on_terminal(60, page, COLUMNS="100"), on_terminal(60, page))
        for nonsense in ("", "0", "-5", "7", "60x", "99999999999999999999"):
            self.assertEqual(on_terminal(60, page, COLUMNS=nonsense), on_terminal(60, page))
            self.assertEqual(run(*page, environment={"COLUMNS": nonsense}).stdout, on_terminal(80, page))

    def test_tables_fit_80_columns(self):
        result = run(*self.training(run__progress="plain", train__epochs=3))
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.fits(result.stdout, 79, "train")
        self.assertIn(" best\n", result.stdout)
        many = run(*self.training(run__progress="plain", train__epochs=1000, train__patience=1, train__lr=0))
        self.assertEqual((many.returncode, many.stderr), (0, ""))
        self.fits(many.stdout, 79, "train of 1000 epochs")
        folder = os.path.join(self.folder, "run")
        for arguments in (["inspect", folder], ["evaluate", "--model", folder, "--pairs", self.folder + "/pairs.tsv"]):
            result = run(*arguments)
            self.assertEqual((result.returncode, result.stderr), (0, ""))
            self.fits(re.sub(r" *\S*/\S*/\S*", "", result.stdout), 80, arguments[0])

    def test_a_status_fits_80_columns(self):
        coordinator = self.start("coordinator", *self.training(cluster__bind="tcp://127.0.0.1:*", train__epochs=100000,
                                                               train__threads=None, log__level="info")[1:],
                                 "--log.format", "json")
        address = self.event(coordinator, "listening")["address"]
        self.start("worker", "--connect", address, "--threads", "1")
        while self.event(coordinator, "epoch_done")["epoch"] < 3:
            pass
        result = run("status", "--connect", address)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.fits(result.stdout.replace(socket.gethostname(), "host"), 80, "status")
        self.assertRegex(result.stdout, r"; best: \S+ [\d.e-]+ in epoch \d+\n|\n  best: ")

    def test_a_loss_of_many_digits_fits_its_column(self):
        # One step an epoch, each of which multiplies the parameters by a factor of 999.
        result = run(*self.training(run__progress="plain", train__lr=1000, train__weight_decay=1, train__epochs=4,
                                    train__optimizer="sgd", train__clip=0, train__batch=400))
        self.fits(result.stdout, 79, "train")
        self.assertRegex(result.stdout, r" \d(\.\d+)?e\+\d+ ")

    def test_the_table_leaves_columns_out_on_a_narrow_terminal(self):
        shown = on_terminal(40, self.training(run__progress="plain", run__dir=os.path.join(self.folder, "r")))
        table = shown.split("\n\n")[0].splitlines()
        self.assertEqual(table[0].split(), ["epoch", "val_loss", "val_acc", "BLEU"])
        self.fits("\n".join(table), 40, "train")

    def live(self, width):
        shown = on_terminal(width, self.training(run__progress="live", train__epochs=4))
        return [line for line in re.findall(r"\r([^\r\n]*)\033\[K", shown) if line]

    def test_the_last_column_stays_free(self):
        whole = max(map(len, self.live(200)))
        for width in range(whole - 2, whole + 3):
            self.assertLess(max(map(len, self.live(width))), width)

    def test_the_live_line_has_whole_fields_only(self):
        for width, least in ((14, 1), (40, 2), (80, 5), (200, 7)):
            shown = on_terminal(width, self.training(run__progress="live", train__epochs=4))
            lines = [line for line in re.findall(r"\r([^\r\n]*)\033\[K", shown) if line]
            self.assertTrue(lines, shown)
            for line in lines:
                self.assertLess(len(line), width, line)
                fields = re.split(" {2,}", line)
                self.assertGreaterEqual(len(fields), least, line)
                for field in fields:
                    self.assertTrue(FIELDS.fullmatch(field), (field, line))


if __name__ == "__main__":
    main()
