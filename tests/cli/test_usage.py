#!/usr/bin/env python3
"""A mistake in a command line or a configuration is named in one line, with its exit status."""

import os
import shutil
import signal
import subprocess
import tempfile
import unittest

from support.program import BINARY, SOURCE, commands, main, run


class BadUsage(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="lstmq-usage-")
        self.addCleanup(self.folder.cleanup)

    def path(self, name, text=None):
        path = os.path.join(self.folder.name, name)
        if text is not None:
            with open(path, "wb") as file:
                file.write(text if isinstance(text, bytes) else text.encode())
        return path

    def refused(self, message, *arguments, status=2, **more):
        result = run(*arguments, cwd=self.folder.name, **more)
        self.assertEqual(result.stderr, message + "\n", arguments)
        self.assertEqual(result.returncode, status, arguments)
        self.assertEqual(result.stdout, "", arguments)

    def test_no_command_shows_the_commands_and_fails(self):
        result = run()
        self.assertEqual(result.returncode, 2)
        self.assertEqual(result.stdout, "")
        self.assertEqual(result.stderr, run("help").stdout)

    def test_an_unknown_command_is_named(self):
        self.refused('lstmq: unknown command "trian"; did you mean "train"?', "trian")
        self.refused('lstmq: unknown command "frobnicate"; "lstmq help" lists them', "frobnicate")
        self.refused('lstmq: unknown command ""; "lstmq help" lists them', "")
        self.refused('lstmq: unknown command "--verison"; "lstmq help" lists them', "--verison")
        self.refused('lstmq help: unknown command "trian"; did you mean "train"?', "help", "trian")

    def test_an_unknown_option_is_named(self):
        self.refused("lstmq train: --bach is not an option; did you mean --batch?", "train", "--bach", "3")
        self.refused('lstmq train: --frobnicate is not an option; see "lstmq help train"', "train", "--frobnicate")
        self.refused('lstmq train: -b is not an option; see "lstmq help train"', "train", "-b")
        for command in commands():
            self.refused(f'lstmq {command}: --frobnicate is not an option; see "lstmq help {command}"', command,
                         "--frobnicate")

    def test_another_tools_option_leads_to_the_one_here(self):
        for name, meant in (
            ("learning_rate", "train.lr"), ("learning-rate", "train.lr"), ("hidden_size", "model.hidden"),
            ("early-stopping", "train.patience"), ("batch_size", "train.batch"), ("num_layers", "model.layers"),
            ("max-epoch", "train.epochs"), ("clip-norm", "train.clip"), ("batchsize", "train.batch"),
            ("emb_size", "model.embed"), ("report-every", "log.every"), ("log-steps", "log.steps"),
            ("log_steps", "log.steps"), ("train-batch", "train.batch")):
            self.refused(f"lstmq train: --{name} is not an option; did you mean --{meant}?", "train", f"--{name}", "3")
        for name in ("steps", "train_steps", "max-steps", "train.steps", "train.max_update"):
            self.refused(
                f"lstmq train: --{name} is not an option; training is counted in epochs: see --train.epochs", "train",
                f"--{name}", "3")
        for name in ("dropout", "beam_size", "warmup_steps"):
            self.refused(f'lstmq train: --{name} is not an option; see "lstmq help train"', "train", f"--{name}", "3")

    def test_an_option_of_another_command_is_refused(self):
        self.refused('lstmq translate: --hidden_size is not an option; see "lstmq help translate"', "translate",
                     "--hidden_size", "3")
        self.refused("lstmq translate: --batch is an option of other commands; did you mean --translate.batch?",
                     "translate", "--batch", "3")
        self.refused('lstmq inspect: --epochs is an option of other commands; see "lstmq help inspect"', "inspect",
                     "--epochs", "3")

    def test_a_value_is_checked(self):
        self.refused("lstmq train: --batch needs a value", "train", "--batch")
        self.refused("lstmq train: --batch needs a value", "train", "--batch", "--lr", "3")
        self.refused('lstmq train: train.batch: "x" is not a whole number from 1 to 65536', "train", "--batch", "x")
        self.refused('lstmq train: train.batch: "0" is not a whole number from 1 to 65536', "train", "--batch=0")
        self.refused('lstmq train: train.lr: "nan" is not a number from 0 to 1000', "train", "--lr", "nan")
        self.refused('lstmq train: train.lr: "-1" is not a number from 0 to 1000', "train", "--lr", "-1")
        self.refused('lstmq train: model.cell: "gru" is not one of lstm|rnn', "train", "--cell", "gru")
        self.refused('lstmq train: run.resume: "maybe" is neither true nor false', "train", "--resume=maybe")
        self.refused("lstmq train: run.dir: a text of 5000 bytes; 1023 is the most", "train", "--run.dir", "x" * 5000)
        self.refused('lstmq train: run.dir: "?" is not valid UTF-8 (byte 1)', "train", "--run.dir", b"\xff")

    def test_an_option_that_is_a_list_is_given_several_times(self):
        self.path("c.yaml", "serve:\n  model:\n    - x\n    - y\n")
        for arguments, model in (([], '["x", "y"]'), (["--model", "a"], '["a"]'), (["--model="], "[]"),
                                 (["--serve.model=a", "--model", "b, c"], '["a", "b, c"]')):
            result = run("serve", "--config", "c.yaml", *arguments, "--dump-config", cwd=self.folder.name)
            self.assertEqual((result.returncode, result.stderr), (0, ""))
            self.assertIn(f"\nserve:\n  model: {model}\n", result.stdout)
        self.refused("lstmq serve: serve.model: entry 2 is empty", "serve", "--model", "a", "--model", "")
        self.refused("lstmq serve: serve.model: more than 64 entries", "serve", *["--model=x"] * 65)
        self.path("c.yaml", "serve:\n  model: [a, {b: c}]\n")
        self.refused("lstmq serve: c.yaml:2: serve.model: an entry is one text without a NUL", "serve", "--config",
                     "c.yaml")

    def test_a_word_too_many_is_named(self):
        self.refused('lstmq train: unexpected "pairs.tsv"; see "lstmq help train"', "train", "pairs.tsv")
        self.refused('lstmq help: unexpected "translate"; see "lstmq help help"', "help", "train", "translate")

    def test_what_was_typed_cannot_break_the_line(self):
        self.refused('lstmq: unknown command "a?b?[31m"; "lstmq help" lists them', "a\nb\033[31m")

    def test_a_configuration_that_cannot_be_read_is_named(self):
        self.refused('lstmq train: cannot read configuration "./none.yaml": No such file or directory', "train",
                     "--config", "./none.yaml")
        self.refused('lstmq train: cannot read configuration "./": Is a directory', "train", "--config", "./")
        self.refused("lstmq train: --config needs a value", "train", "--config")
        self.refused("lstmq train: --config is given twice", "train", "--config", "a", "--config", "b")

    @unittest.skipIf(os.geteuid() == 0, "root reads every file")
    def test_a_configuration_without_permission_is_named(self):
        os.chmod(self.path("closed.yaml", ""), 0)
        self.refused('lstmq train: cannot read configuration "closed.yaml": Permission denied', "train", "--config",
                     "closed.yaml")

    def test_an_unknown_recipe_lists_those_there_are(self):
        recipes = ", ".join(sorted(name[:-5] for name in os.listdir(os.path.join(SOURCE, "ops", "recipes"))))
        self.refused(f'lstmq train: no file and no recipe "notbook"; did you mean "notebook"? Recipes: {recipes}',
                     "train", "--config", "notbook")

    def test_what_is_wrong_in_a_configuration_has_its_line(self):
        not_taken = 'is not accepted here: options are "section:" and, below it, "name: value"'
        rows = [
            ("train:\n  bach: 3\n", 'c.yaml:2: unknown key "train.bach"; did you mean "train.batch"?'),
            ("train:\n  learning_rate: 3\n", 'c.yaml:2: unknown key "train.learning_rate"; did you mean "train.lr"?'),
            ("train:\n  steps: 1000\n",
             'c.yaml:2: unknown key "train.steps"; training is counted in epochs: see train.epochs'),
            ("trian:\n  batch: 3\n", 'c.yaml:1: unknown section "trian"; did you mean "train"?'),
            ("train:\n  lr: 1\n  lr: 2\n", "c.yaml:3: train.lr is given again (first on line 2)"),
            ("train.lr: 1\ntrain:\n  lr: 2\n", "c.yaml:3: train.lr is given again (first on line 1)"),
            ("train:\n  batch: 0\n", 'c.yaml:2: train.batch: "0" is not a whole number from 1 to 65536'),
            ("train:\n  batch:\n", 'c.yaml:2: train.batch: "" is not a whole number from 1 to 65536'),
            ("train:\n  lr: .inf\n", 'c.yaml:2: train.lr: ".inf" is not a number from 0 to 1000'),
            ("train:\n  batch: [3]\n", "c.yaml:2: a sequence " + not_taken),
            ("train:\n  lr: &a 1\n  clip: *a\n", "c.yaml:2: an anchor " + not_taken),
            ("train: 3\n", "c.yaml:1: train is a section: its options stand below it, one on a line, indented"),
            ("train:\n\tbatch: 3\n", "c.yaml:2: not YAML: found character that cannot start any token"),
            (b"run:\n  dir: \xff\n", "c.yaml:2: not YAML: invalid leading UTF-8 octet"),
            ("run:\n  dir: " + "x" * 1024, "c.yaml:2: run.dir: a text of 1024 bytes; 1023 is the most"),
        ]
        for text, message in rows:
            self.path("c.yaml", text)
            self.refused("lstmq train: " + message, "train", "--config", "c.yaml")

    def test_every_command_checks_its_configuration(self):
        self.path("c.yaml", "train:\n  bach: 3\n")
        for command in commands():
            self.refused(f'lstmq {command}: c.yaml:2: unknown key "train.bach"; did you mean "train.batch"?', command,
                         "--config", "c.yaml")


class Configuration(unittest.TestCase):
    def test_a_dump_is_a_configuration(self):
        with tempfile.TemporaryDirectory(prefix="lstmq-usage-") as folder:
            path = os.path.join(folder, "c.yaml")
            arguments = ["--config", "notebook", "--lr", "0.1", "--run.dir", 'a "b" \\ é\n#', "--resume"]
            first = run("train", *arguments, "--dump-config")
            self.assertEqual(first.returncode, 0, first.stderr)
            self.assertIn("\n  lr: 0.1\n", first.stdout)
            with open(path, "w", encoding="utf-8") as file:
                file.write(first.stdout)
            again = run("train", "--config", path, "--dump-config")
            self.assertEqual(again.stdout, first.stdout, again.stderr)

    def test_recipes_come_from_the_chosen_folder_first(self):
        with tempfile.TemporaryDirectory(prefix="lstmq-usage-") as folder:
            recipes = os.path.join(folder, "share", "lstmq", "recipes")
            chosen = os.path.join(folder, "chosen")
            binary = os.path.join(folder, "bin", "lstmq")
            for path in (recipes, chosen, os.path.dirname(binary)):
                os.makedirs(path)
            shutil.copy(BINARY, binary)
            for path, batch in ((recipes, 5), (chosen, 6)):
                with open(os.path.join(path, "only-here.yaml"), "w", encoding="utf-8") as file:
                    file.write(f"train:\n  batch: {batch}\n")
            arguments = ["train", "--config", "only-here", "--dump-config"]
            self.assertIn("\n  batch: 5\n", run(*arguments, binary=binary).stdout)
            self.assertIn(
                "\n  batch: 6\n", run(*arguments, binary=binary, environment={"LSTMQ_RECIPES": chosen}).stdout)
            self.assertEqual(run(*arguments).returncode, 2)

    def test_the_built_in_values_are_the_recipe_default(self):
        for command in ("train", "coordinator"):
            built_in, recipe = run(command, "--dump-config"), run(command, "--config", "default", "--dump-config")
            self.assertEqual((built_in.returncode, recipe.returncode), (0, 0))
            self.assertEqual(built_in.stdout, recipe.stdout)

    def test_every_recipe_is_valid(self):
        for name in sorted(os.listdir(os.path.join(SOURCE, "ops", "recipes"))):
            result = run("train", "--config", name[:-5], "--dump-config")
            self.assertEqual((result.returncode, result.stderr), (0, ""), name)


class Output(unittest.TestCase):
    def test_version_says_what_this_is(self):
        for option in ("--version", "-V"):
            result = run(option)
            self.assertEqual(result.returncode, 0)
            self.assertRegex(result.stdout, r"\Alstmq \d+\.\d+\.\d+ \(commit ([0-9a-f]{12}|unknown)\)\n"
                                            r"oneDNN \d+\.\d+.*plug-ins: .*\n\Z")

    def test_a_closed_pipe_ends_translate_silently(self):
        for restore in (True, False):
            with open(os.devnull, encoding="utf-8") as nothing:
                reader, writer = os.pipe()
                os.close(reader)
                with os.fdopen(writer) as closed:
                    result = subprocess.run([BINARY, "help", "train"], stdin=nothing, stdout=closed,
                                            stderr=subprocess.PIPE, restore_signals=restore, check=False)
            self.assertEqual(result.stderr, b"")
            self.assertEqual(result.returncode, -signal.SIGPIPE)

    @unittest.skipUnless(os.path.exists("/dev/full"), "no /dev/full here")
    def test_a_full_disk_is_a_failure(self):
        for arguments in (["help"], ["--version"], ["train", "--help"], ["train", "--dump-config"]):
            with open("/dev/full", "w", encoding="utf-8") as full:
                result = subprocess.run([BINARY, *arguments], stdout=full, stderr=subprocess.PIPE, check=False)
            self.assertEqual(result.returncode, 1)
            self.assertIn(b"cannot write to standard output: No space left on device\n", result.stderr)


if __name__ == "__main__":
    main()
