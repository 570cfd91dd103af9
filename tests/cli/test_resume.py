#!/usr/bin/env python3
"""An interrupted run, whatever interrupted it, ends with the bits of an undisturbed one."""

import json
import os
import random
import re
import shlex
import shutil
import signal
import socket
import subprocess
import time

from support.program import dumped, main, option_rows, run
from support.training import LIMIT_S, TrainingTest, hashes, metrics, new_folder, read, sample_pairs, words, write

KILLS = 30
PAIRS = sample_pairs(400)


class Resume(TrainingTest):
    unbroken_once = {}  # by options: the folder of an undisturbed run
    options = {**TrainingTest.options, "model.embed": 48, "model.hidden": 96, "train.epochs": 4, "train.span": 2,
               "train.checkpoint_every": 6, "log.steps": 1000}

    def setUp(self):
        super().setUp()
        self.options = {**self.options, "data.pairs": write(self.path("pairs.tsv"), PAIRS)}

    @classmethod
    def tearDownClass(cls):
        for folder in cls.unbroken_once.values():
            shutil.rmtree(folder)

    def unbroken(self):
        """The folder of a run with these options that no test disturbed."""
        options = repr({**self.options, "data.pairs": None})
        if options not in self.unbroken_once:
            self.unbroken_once[options] = new_folder()
            self.train(run__dir=self.unbroken_once[options])
        return self.unbroken_once[options]

    def assertSameRun(self, expected, found):
        self.assertEqual(hashes(found), hashes(expected))
        self.assertEqual(hashes(found, "best"), hashes(expected, "best"))
        self.assertEqual(metrics(found), metrics(expected))
        self.assertEqual(read(found, "steps.jsonl"), read(expected, "steps.jsonl"))
        for folder in (expected, found):
            checkpoints = [name for name in os.listdir(folder) if "step-" in name]
            self.assertEqual([name for name in checkpoints if name.endswith((".partial", ".replaced"))], [])

    def test_a_run_killed_at_any_moment_ends_with_the_same_bits(self):
        """A moment is a drawn delay after a drawn number of lines, of which there is one a step and one a save."""
        expected = self.unbroken()
        draw = random.Random(20)
        broken, killed, starts = self.path("broken"), 0, set()
        while killed < KILLS or (len(starts) < 3 and killed < 10 * KILLS):
            process = self.start(*self.arguments("--resume", "--log.format", "json", run__dir=broken, log__every=1))
            printed = b"".join(process.stderr.readline() for _ in range(draw.randrange(40)))
            time.sleep(draw.uniform(0, 0.005))
            process.kill()
            printed += process.communicate(timeout=LIMIT_S)[1]
            starts.update(re.findall(rb'"event":"run_resumed".*"step":(\d+)', printed))
            if process.returncode == 0:
                self.assertSameRun(expected, broken)
                shutil.rmtree(broken)
                continue
            self.assertEqual(process.returncode, -signal.SIGKILL, printed)
            killed += 1
        self.train("--resume", run__dir=broken)
        self.assertSameRun(expected, broken)
        self.assertGreaterEqual(len(starts), 3, "no kill came between checkpoints")

    def test_a_signal_saves_and_says_how_to_go_on(self):
        self.options = {**self.options, "train.epochs": 12, "train.checkpoint_every": 0}
        expected = self.unbroken()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            folder = self.path(f"broken by {number.name}")
            process = self.start(*self.arguments("--log.format", "json", run__dir=folder, log__level="debug"))
            self.event(process, "worker_joined")
            process.send_signal(number)
            self.assertEqual(self.event(process, "stopping")["signal"], number.name)
            reason = self.event(process, "interrupted")["reason"]
            self.assertEqual(process.wait(LIMIT_S), 130)
            self.assertRegex(reason, r"\Ainterrupted; continue with: lstmq train --run.dir '.*' --resume\Z")
            again = run(*shlex.split(reason.split("continue with: ")[1])[1:])
            self.assertEqual(again.returncode, 0, again.stderr)
            self.assertRegex(again.stderr, '"event":"(run_resumed|checkpoint_missing)"')
            self.assertSameRun(expected, folder)

    def test_a_finished_run_goes_on_only_with_more_epochs(self):
        expected, folder = self.unbroken(), self.path("longer")
        self.train(run__dir=folder, train__epochs=2)
        before = hashes(folder)
        self.assertIn("is finished after 2 epochs: nothing is left to do (more with --train.epochs)",
                      self.train("--resume", run__dir=folder, train__epochs=2))
        self.assertEqual(hashes(folder), before)
        self.assertIn("continuing from step", self.train("--resume", run__dir=folder))
        self.assertSameRun(expected, folder)

    def test_a_run_that_stopped_early_names_the_option_to_raise(self):
        """With train.lr 0 no epoch is better than the first, so that patience 1 ends the run after two."""
        self.options = {**self.options, "train.lr": 0, "train.patience": 1, "train.checkpoint_every": 0}
        folder = self.path("stopped")
        self.train(run__dir=folder)
        self.assertEqual(len(metrics(folder)), 2)
        for command in ("train", "coordinator"):
            options = {**self.options, "run.dir": folder, "train.shards": 1, "train.epochs": 50}
            if command == "coordinator":
                options["train.threads"] = None
            printed = run(command, "--resume", *words(options))
            self.assertEqual(printed.returncode, 0, printed.stderr)
            self.assertIn(
                f"{folder} is finished after 2 epochs, stopped by train.patience 1: raise it to go on (", printed.stderr
            )
            printed = run(command, "--resume", *words({**options, "train.epochs": 2}))
            self.assertIn("stopped by train.patience 1: raise it to go on, and train.epochs too (", printed.stderr)
        self.assertEqual(len(metrics(folder)), 2)
        self.assertIn(
            "continuing from step", self.train("--resume", run__dir=folder, train__epochs=50, train__patience=3))
        self.assertEqual(len(metrics(folder)), 4)
        expected = self.path("unbroken")
        self.train(run__dir=expected, train__patience=3)
        self.assertSameRun(expected, folder)

    def test_epochs_speed_and_time_are_those_of_all_parts(self):
        folder, pairs = self.path("parts"), write(self.path("parts.tsv"), sample_pairs(60))
        self.train(run__dir=folder, data__pairs=pairs, train__epochs=2)
        records = [json.loads(line) for line in read(folder, "metrics.jsonl").splitlines()]
        lines = [json.dumps({**record, "seconds": 100, "tgt_tok_per_s": 1}) for record in records]
        write(os.path.join(folder, "metrics.jsonl"), lines)
        result = run(*self.arguments("--resume", run__dir=folder, data__pairs=pairs, train__epochs=3,
                                     run__progress="auto"))
        self.assertEqual(result.returncode, 0, result.stderr)
        minutes, seconds = re.search(r"total time +(\d+):(\d\d)\n", result.stdout).groups()
        self.assertGreaterEqual(60 * int(minutes) + int(seconds), 200)
        self.assertRegex(result.stdout, r"tokens/s +[12]\n")
        self.assertIn("Command: <code>lstmq train --", re.sub("</?span>", "", read(folder, "report.html").decode()))
        page = run("inspect", os.path.join(folder, "latest")).stdout
        self.assertRegex(page, r"\n  epochs done +3 of 3\n")
        self.assertRegex(run("inspect", folder).stdout, r"\n  step-\d+ +3 .*latest")
        found = json.loads(run("inspect", folder, "--json").stdout)
        self.assertEqual(found["run"]["checkpoints"][0]["epochs_done"], 3)
        self.assertEqual(found["state"]["epochs_done"], 3)
        self.assertNotIn("epoch", found["state"])

    def test_without_a_checkpoint_it_starts_at_step_0(self):
        expected, folder = self.unbroken(), self.path("new")
        self.assertIn(f"{folder} holds no checkpoint: training begins at step 0\n",
                      self.train("--resume", run__dir=folder))
        self.assertSameRun(expected, folder)

    def test_an_older_checkpoint_replaces_a_damaged_one(self):
        expected, folder = self.unbroken(), self.path("damaged")
        self.train(run__dir=folder, train__epochs=3)
        path = os.path.join(os.path.realpath(os.path.join(folder, "latest")), "optimizer.safetensors")
        damaged = bytearray(read(path))
        damaged[-1] ^= 1
        write(path, bytes(damaged))
        printed = self.train("--resume", run__dir=folder)
        self.assertIn(f"checkpoint skipped: {path}: ", printed)
        self.assertSameRun(expected, folder)

    def test_a_copy_resumes_whatever_its_links_are(self):
        expected, folder = self.unbroken(), self.path("begun")
        self.train(run__dir=folder, train__epochs=3)
        best = os.path.basename(os.path.realpath(os.path.join(folder, "best")))
        for name, copy in (("with folders for links", "cp -rL {0} {1}"),
                           ("without links", "cp -r {0} {1} && rm {1}/best {1}/latest"),
                           ("with full paths", "cp -r {0} {1} && ln -sfn {1}/" + best + "/ {1}/best")):
            with self.subTest(name):
                again = self.path(name.replace(" ", "_"))
                subprocess.run(copy.format(shlex.quote(folder), shlex.quote(again)), shell=True, check=True)
                self.train("--resume", run__dir=again, train__epochs=3)  # nothing to do but the links
                for link in ("best", "latest"):
                    self.assertTrue(os.path.islink(os.path.join(again, link)), link)
                    self.assertEqual(os.path.basename(os.path.realpath(os.path.join(again, link))),
                                     os.path.basename(os.path.realpath(os.path.join(folder, link))))
                self.train("--resume", run__dir=again)
                self.assertSameRun(expected, again)
                for link in ("best", "latest"):
                    self.assertTrue(os.path.islink(os.path.join(again, link)))

    def test_more_threads_give_the_same_bits(self):
        expected, folder = self.unbroken(), self.path("two")
        self.train(run__dir=folder, train__threads=2)
        self.assertSameRun(expected, folder)


class OwnOptions(TrainingTest):
    """`--run.dir RUN --resume` is enough: the run knows its options."""

    options = {**TrainingTest.options, "log.steps": 1000, "train.checkpoint_every": 6, "train.epochs": 4}

    def setUp(self):
        super().setUp()
        self.options = {**self.options, "data.pairs": write(self.path("pairs.tsv"), PAIRS)}
        self.run_dir = self.path("run")

    def resume(self, *flags, folder=None, status=0, **more):
        result = run("train", "--run.dir", folder or self.run_dir, "--resume", *flags, **more)
        self.assertEqual(result.returncode, status, result.stderr)
        return result.stderr

    def unread(self, *flags):
        """The reasons why options.yaml could not be used."""
        lines = self.resume(*flags, "--log.format", "json").splitlines()
        return [event["reason"] for event in map(json.loads, lines) if event["event"] == "options_unread"]

    def dump(self, *flags, status=0, command="train"):
        result = run(command, "--run.dir", self.run_dir, "--resume", "--dump-config", *flags)
        self.assertEqual(result.returncode, status, (flags, result.stderr))
        return dumped(result.stdout) if status == 0 else result.stderr

    def unbroken(self, **options):
        self.train(run__dir=self.path("unbroken"), **options)
        return self.outcome(self.path("unbroken"))

    @staticmethod
    def outcome(folder):
        return hashes(folder), hashes(folder, "best"), metrics(folder), read(folder, "steps.jsonl")

    def test_a_run_goes_on_with_its_own_options(self):
        expected = self.unbroken(train__lr=0.004, train__reduce="exact", train__workers=2)
        self.train("--run.overwrite", run__dir=self.run_dir, train__epochs=2, train__lr=0.004, train__reduce="exact",
                   train__workers=2)
        self.assertIn("is finished after 2 epochs", self.resume())
        self.assertIn("continuing from step", self.resume("--epochs", "4"))
        self.assertEqual(self.outcome(self.run_dir), expected)

    def test_a_run_killed_early_knows_its_options(self):
        options = {"train__batch": 1, "train__checkpoint_every": 0, "train__epochs": 1}
        expected = self.unbroken(**options)
        self.killed_at("run_started", *self.arguments(run__dir=self.run_dir, **options))
        self.assertFalse(os.path.lexists(os.path.join(self.run_dir, "latest")), "a checkpoint was before it")
        self.assertFails(2, f'train.lr is "0.5" but the run in {self.run_dir} was begun with "0.001"', "train",
                         "--run.dir", self.run_dir, "--resume", "--lr", "0.5")
        self.assertIn('"event":"checkpoint_missing"', self.resume())
        self.assertEqual(self.outcome(self.run_dir), expected)

    def test_its_newest_options_are_those_of_its_newest_start(self):
        """The same if no checkpoint follows."""
        self.train(run__dir=self.run_dir, train__epochs=1)
        self.killed_at("run_started", "train", "--run.dir", self.run_dir, "--resume", "--epochs", "7")
        self.assertEqual(self.dump()["train.epochs"], "7")
        self.dump("--lr", "0.5", status=2)
        self.assertEqual(self.dump()["train.lr"], "0.001")

    def test_a_start_that_fails_leaves_the_options_alone(self):
        self.train(run__dir=self.run_dir, train__epochs=1)
        had = self.dump(command="coordinator")
        with socket.create_server(("127.0.0.1", 0)) as taken:
            result = run("coordinator", "--run.dir", self.run_dir, "--resume", "--epochs", "7", "--bind",
                         f"tcp://127.0.0.1:{taken.getsockname()[1]}")
        self.assertEqual(result.returncode, 2, result.stderr)
        self.assertIn("Address already in use", result.stderr)
        self.assertEqual(self.dump(command="coordinator"), had)

    def test_insecure_holds_for_one_start(self):
        """The port stays as typed: 0 is a free one at each start."""
        self.train(run__dir=self.run_dir, train__epochs=1)
        process = self.start("coordinator", "--run.dir", self.run_dir, "--resume", "--epochs", "2", "--insecure",
                             "--bind", "tcp://127.0.0.1:0", "--log.format", "json")
        self.event(process, "run_started")
        process.send_signal(signal.SIGTERM)
        self.assertRegex(self.event(process, "interrupted")["reason"], r"continue with: .* --resume --insecure\Z")
        self.assertEqual(process.wait(LIMIT_S), 130)
        shown = self.dump(command="coordinator")
        self.assertEqual((shown["curve.insecure"], shown["cluster.bind"]), ("false", "tcp://127.0.0.1:0"))

    def test_help_names_just_the_options_that_may_change(self):
        """A command takes another value for each option that help names, and refuses it for all others."""
        self.train(run__dir=self.run_dir)
        for command in ("train", "coordinator"):
            page = run("help", command).stdout.split("\nwith --resume\n")[1].split("\n\n")[0]
            listed = re.findall(r"[a-z]+\.[a-z_]+", page)
            self.assertIn("train.epochs", listed)
            self.assertIn("train.patience", listed)
            had = self.dump(command=command)
            keys = {name for names, _ in option_rows(command) for name in names if name in had}
            self.assertLessEqual(set(listed), keys)
            for key in sorted(keys - {"run.dir", "run.resume", "run.overwrite", "curve.insecure", "model.layers"}):
                value = self.other(command, key, had[key])
                if key in listed:
                    self.assertEqual(
                        self.dump(f"--{key}={value}", command=command), {**had, key: value, **self.replaced(key)})
                else:
                    printed = self.dump(f"--{key}={value}", command=command, status=2)
                    self.assertIn(
                        f'{key} is "{value}" but the run in {self.run_dir} was begun with "{had[key]}": ', printed)

    @staticmethod
    def other(command, key, had):
        """A value of that option other than `had`."""
        kinds = {name: kind for names, kind in option_rows(command) for name in names}
        if kinds[key] == "":
            return "false" if had == "true" else "true"
        if "|" in kinds[key]:
            return next(name for name in kinds[key].split("|") if name != had)
        if kinds[key] in ("N", "X"):
            return next(
                value
                for value in ("1", "0.5", "20", "300", "5000")
                if value != had
                and (kinds[key] == "X" or "." not in value)
                and run(command, f"--{key}={value}", "--dump-config").returncode == 0)
        return "other"

    @staticmethod
    def replaced(key):
        """The options that change with it: data.src replaces data.pairs."""
        return {"data.pairs": ""} if key in ("data.src", "data.tgt") else {}

    def test_a_file_beside_it_must_agree_or_say_what_may_change(self):
        self.train(run__dir=self.run_dir)
        had = self.dump()
        agrees = write(self.path("agrees.yaml"), ["train:", "  lr: 0.001", "  epochs: 9", "run.progress: plain"])
        self.assertEqual(self.dump("--config", agrees), {**had, "train.epochs": "9", "run.progress": "plain"})
        self.assertEqual(self.dump("--config", agrees, "--epochs", "3")["train.epochs"], "3")
        other = write(self.path("other.yaml"), ["train.epochs: 9", "model.hidden: 13"])
        self.assertIn('model.hidden is "13" but the run', self.dump("--config", other, status=2))
        self.assertRegex(self.dump("--config", "default", status=2), r' \w+\.\w+ is ".*" but the run')
        names = write(self.path("names.yaml"), ["run:", f"  dir: {self.run_dir}", "  resume: true"])
        result = run("train", "--config", names, "--dump-config")
        self.assertEqual(dumped(result.stdout), had)

    def test_a_way_to_name_the_pairs_replaces_the_other(self):
        sides = [[pair.split("\t")[i] for pair in PAIRS] for i in (0, 1)]
        files = {"data__src": write(self.path("src.txt"), sides[0]), "data__tgt": write(self.path("tgt.txt"), sides[1])}
        expected = self.unbroken()
        self.train(run__dir=self.run_dir, data__pairs=None, train__epochs=2, **files)
        self.assertIn("continuing from", self.resume("--pairs", self.options["data.pairs"], "--epochs", "3"))
        os.remove(files["data__src"])
        self.assertIn("continuing from", self.resume("--src", write(self.path("moved.txt"), sides[0]), "--tgt",
                                                   files["data__tgt"], "--epochs", "4"))
        self.assertEqual(self.outcome(self.run_dir), expected)

    def test_a_file_that_is_not_where_the_run_had_it_is_named(self):
        result = run(*self.arguments(run__dir=self.run_dir, data__pairs="pairs.tsv", train__epochs=1), cwd=self.folder)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn(f'the run in {self.run_dir} has data.pairs "pairs.tsv": No such file or directory in /: give '
                      "--data.pairs with its present path\n", self.resume("--epochs", "2", status=1, cwd="/"))
        self.assertIn("continuing from", self.resume("--epochs", "2", cwd=self.folder))
        self.assertIn("continuing from", self.resume("--epochs", "3", "--pairs", self.options["data.pairs"], cwd="/"))
        os.remove(self.options["data.pairs"])
        self.assertIn(f'has data.pairs "{self.options["data.pairs"]}": No such file or directory: give',
                      self.resume("--epochs", "4", status=1))

    def test_a_folder_without_a_run_is_named(self):
        for folder in (self.path("nothing"), new_folder()):
            self.assertIn(f"{folder} holds no run to continue: give another --run.dir, or begin a run there",
                          self.resume(folder=folder, status=2))
        self.assertFalse(os.path.lexists(self.path("nothing")))

    def test_unreadable_options_come_from_the_checkpoint(self):
        expected = self.unbroken()
        self.train(run__dir=self.run_dir, train__epochs=2)
        options = os.path.join(self.run_dir, "options.yaml")
        write(options, "train:\n  bach: 3\n")
        self.assertEqual(self.unread("--epochs", "3"),
                         [f'{options}:2: unknown key "train.bach"; did you mean "train.batch"?'])
        os.remove(options)
        state = os.path.join(os.path.realpath(os.path.join(self.run_dir, "latest")), "state.json")
        write(state, read(state).replace(b'"train.seed": 42', b'"train.seed": 43'))
        self.assertIn("checkpoint skipped: ", self.resume("--epochs", "4"))
        self.assertEqual(self.outcome(self.run_dir), expected)

    def test_options_cut_off_come_from_the_checkpoint(self):
        """At any byte: in a value, and with nothing left."""
        self.train(run__dir=self.run_dir, train__lr=0.0125, train__epochs=1, train__patience=17, train__seed=4242)
        options = os.path.join(self.run_dir, "options.yaml")
        whole = read(options)
        for key, value in (("train.lr", b"0.0125"), ("train.patience", b"17"), ("train.seed", b"4242"), (None, b"")):
            line = 0 if key is None else whole.index(f"  {key.split('.')[1]}: ".encode())
            with self.subTest(key=key):
                write(options, whole[:whole.index(value, line) + len(value) // 2] if value else b"")
                shown = self.dump()
                for name, kept in (("train.lr", "0.0125"), ("train.patience", "17"), ("train.seed", "4242"),
                                   ("data.pairs", self.options["data.pairs"])):
                    self.assertEqual(shown[name].strip('"'), kept)
        self.assertEqual(self.unread("--epochs", "1"), [f"{options}: incomplete: data.pairs is not in it"])

    def test_unusable_options_without_a_checkpoint_are_refused(self):
        os.mkdir(self.run_dir)
        for text, fault in (("model:\n  embed: 8\n", ": incomplete: data.pairs is not in it"),
                            ("model:\n  embed: many\n", ':2: model.embed: "many" is not a whole number'),
                            (b"\0", ": incomplete: data.pairs is not in it")):
            options = write(os.path.join(self.run_dir, "options.yaml"), text)
            for given in ([], ["--data.pairs", self.options["data.pairs"]]):
                with self.subTest(fault, given=given):
                    printed = self.resume(*given, status=3)
                    self.assertEqual(len(printed.splitlines()), 1, printed)
                    self.assertTrue(printed.startswith(f"lstmq train: {options}{fault}"), printed)
                    self.assertTrue(printed.endswith("; correct it, or begin again with --run.overwrite in place of "
                                                     "--resume\n"), printed)
        self.train("--run.overwrite", run__dir=self.run_dir)
        self.assertIn("is finished after 4 epochs", self.resume())

    def test_a_file_that_the_user_wrote_is_not_replaced(self):
        os.mkdir(self.run_dir)
        mine = write(os.path.join(self.run_dir, "options.yaml"), "train:\n  lr: 0.004\n")
        self.assertIn(f"{mine}: not written by this lstmq",
                      self.train("--config", mine, run__dir=self.run_dir, status=2))
        self.assertEqual(read(mine), b"train:\n  lr: 0.004\n")
        os.rename(mine, self.path("mine.yaml"))
        self.train("--config", self.path("mine.yaml"), run__dir=self.run_dir)

    def test_a_copy_goes_on_where_it_is(self):
        expected = self.unbroken()
        self.train(run__dir=self.run_dir, train__epochs=2)
        copy = self.path("copy")
        shutil.copytree(self.run_dir, copy, symlinks=True)
        before = self.outcome(self.run_dir)
        self.resume("--epochs", "4", folder=copy)
        self.assertEqual(self.outcome(copy), expected)
        self.assertEqual(self.outcome(self.run_dir), before)

    def test_workers_and_threads_do_not_change_the_shards(self):
        self.train(run__dir=self.run_dir, train__workers=2, train__reduce="exact", train__epochs=2)
        expected = self.unbroken(train__workers=2, train__reduce="exact")
        self.assertEqual(self.dump()["train.shards"], "2")
        self.assertEqual(self.dump("--shards", "0")["train.shards"], "2")
        self.resume("--epochs", "4", "--train.workers", "1", "--threads", "2")
        self.assertEqual(self.outcome(self.run_dir), expected)


class Refused(TrainingTest):
    def setUp(self):
        super().setUp()
        self.run_dir = self.path("run")
        self.options = {**self.options, "data.pairs": write(self.path("pairs.tsv"), PAIRS), "run.dir": self.run_dir}
        self.train()
        self.before = hashes(self.run_dir)

    def assertRefused(self, status, pattern, *flags, **options):
        self.assertFails(status, pattern, *self.arguments(*flags, **options))
        self.assertEqual(hashes(self.run_dir), self.before)

    def test_a_folder_with_a_run_is_not_trained_over(self):
        self.assertRefused(2, "holds a run already: add --resume .*--run.overwrite")
        self.assertRefused(2, "run.resume and run.overwrite contradict each other", "--resume", "--run.overwrite")

    def test_a_changed_option_that_shapes_the_numbers_is_named(self):
        for key, value in (("train.batch", 8), ("train.seed", 7), ("train.lr", 0.5), ("train.optimizer", "sgd"),
                           ("train.shards", 2), ("train.reduce", "exact"), ("train.clip", 0.25), ("model.hidden", 13),
                           ("model.cell", "rnn"), ("data.take", 100), ("data.normalise", "none"),
                           ("data.valid_fraction", 0.5), ("train.valid_decode", "free"), ("train.keep_best", "bleu")):
            with self.subTest(key):
                self.assertRefused(2, rf'{key} is "{value}" but the run in {self.run_dir} was begun with "',
                                   "--resume", train__epochs=3, **{key.replace(".", "__"): value})

    def test_other_pairs_are_named(self):
        other = write(self.path("other.tsv"), PAIRS[:-1] + ["a b .\tc d ."])
        self.assertRefused(3, f"the pairs are not those that {self.run_dir} was begun with", "--resume",
                           data__pairs=other, train__epochs=3)

    def test_the_same_pairs_elsewhere_are_the_same(self):
        os.rename(self.path("pairs.tsv"), self.path("moved.tsv"))
        self.train("--resume", data__pairs=self.path("moved.tsv"), train__epochs=3)

    def test_a_second_training_in_the_same_folder_is_refused(self):
        process = self.start(*self.arguments("--resume", "--log.format", "json", train__epochs=100000))
        self.event(process, "run_started")
        self.assertFails(1, f"process {process.pid} is training there",
                         *self.arguments("--resume", "--log.format", "text"))

    def test_overwriting_starts_over(self):
        write(self.path("run", "notes.txt"), "mine")
        self.train("--run.overwrite", train__epochs=1)
        self.assertEqual([record["epoch"] for record in metrics(self.run_dir)], [1])
        self.assertEqual(read(self.run_dir, "notes.txt"), b"mine")


class Reduce(TrainingTest):
    """Spans only carry work; shards are part of the definition of a step."""

    def setUp(self):
        super().setUp()
        self.options = {**self.options, "data.pairs": write(self.path("pairs.tsv"), PAIRS[:200]), "log.steps": 1000}

    def outcome(self, **options):
        folder = self.path(repr(sorted(options.items())).replace("/", ""))
        self.train(run__dir=folder, **options)
        return hashes(folder), metrics(folder), read(folder, "steps.jsonl")

    def test_spans_threads_and_checkpoints_leave_no_trace(self):
        for shards, reduce in ((1, "fp32"), (4, "fp32"), (1, "exact"), (4, "exact")):
            expected = self.outcome(train__shards=shards, train__reduce=reduce)
            for span, threads, every in ((1, 1, 0), (3, 2, 5), (64, 2, 0)):
                found = self.outcome(train__shards=shards, train__reduce=reduce, train__span=span,
                                     train__threads=threads, train__checkpoint_every=every)
                self.assertEqual(found, expected, (shards, reduce, span))

    def test_shards_change_no_more_than_rounding(self):
        """Each shard is rounded separately before the sum: in float32, or to the fixed scale of exact sums."""
        runs = [self.outcome(train__shards=shards, train__reduce=reduce)[1]
                for shards in (1, 4, 32) for reduce in ("fp32", "exact")]
        for records in runs[1:]:
            for record, expected in zip(records, runs[0], strict=True):
                self.assertEqual(record["tgt_tokens"], expected["tgt_tokens"])
                self.assertAlmostEqual(record["train_loss"] / expected["train_loss"], 1, 5)
                self.assertAlmostEqual(record["val_tf_loss"] / expected["val_tf_loss"], 1, 5)


if __name__ == "__main__":
    main()
