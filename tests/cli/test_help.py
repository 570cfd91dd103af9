#!/usr/bin/env python3
"""Help names every option that a command takes and no other, and the manual page says the same."""

import os
import re
import shutil
import subprocess
import unittest

from support.program import BINARY, commands, dumped, main, on_terminal, option_names, option_rows, run

ALWAYS = {"config", "dump-config", "help"}


def roff_options(man):
    return {name.replace("\\-", "-") for name in re.findall(r"\\fB\\-\\-([a-z](?:[\w.]|\\-)*)\\fR", man)}


class Help(unittest.TestCase):
    def test_each_command_has_a_page(self):
        self.assertIn("train", commands())
        for command in commands():
            page = run("help", command)
            self.assertEqual((page.returncode, page.stderr), (0, ""))
            self.assertTrue(page.stdout.startswith(f"lstmq {command} - "), page.stdout)
            self.assertIn(f"\nusage\n  lstmq {command}", page.stdout)
            for arguments in ([command, "--help"], [command, "-h"], ["--help", command]):
                self.assertEqual(run(*arguments).stdout, page.stdout)

    def test_the_overview_lists_each_command(self):
        for arguments in (["--help"], ["-h"]):
            self.assertEqual(run(*arguments).stdout, run("help").stdout)

    def test_each_option_in_help_is_taken(self):
        for command in commands():
            plain = run(command, "--dump-config")
            self.assertEqual((plain.returncode, plain.stderr), (0, ""), command)
            values = dumped(plain.stdout)
            for names, value in option_rows(command):
                if ALWAYS.intersection(names):
                    continue
                key = next(name for name in names if name in values)
                for name in names:
                    forms = [[f"--{name}={values[key]}"]]
                    if value and values[key]:
                        forms.append([f"--{name}", values[key]])
                    if not value:
                        off = name.startswith("no-")
                        forms = [[f"--{name}"]] if off else [[f"--{name}"], [f"--no-{name}"], [f"--{name}=true"]]
                    for form in forms:
                        result = run(command, *form, "--dump-config")
                        self.assertEqual((result.returncode, result.stderr), (0, ""), (command, form))
                        if value:
                            self.assertEqual(result.stdout, plain.stdout, (command, form))

    def test_a_switch_switches(self):
        off, on = "\n  resume: false\n", "\n  resume: true\n"
        self.assertIn(on, run("train", "--resume", "--dump-config").stdout)
        self.assertIn(off, run("train", "--resume", "--no-resume", "--dump-config").stdout)

    def test_an_option_that_is_not_in_help_is_not_taken(self):
        keys = dumped(run("train", "--dump-config").stdout)
        everything = set(keys).union(*(option_names(command) for command in commands()))
        for command in commands():
            # One of each section: test_arguments.c tries all.
            missing = {name.split(".")[0]: name for name in sorted(everything - option_names(command))}
            for name in missing.values():
                if name.startswith("no-"):
                    continue
                result = run(command, f"--{name}={keys.get(name, '')}", "--dump-config")
                self.assertEqual(result.returncode, 2, (command, name))

    def test_bench_names_all_that_it_measures(self):
        """In its usage and its description, as in the error that names what can be measured."""
        refused = run("bench", "nothing").stderr
        subjects = re.findall(r"[a-z]+", refused.split("; give ")[1].replace(" or ", ", "))
        self.assertIn("cluster", subjects)
        page = " ".join(run("help", "bench").stdout.split())
        self.assertIn(f"[{'|'.join(subjects)}]", page)
        for subject in subjects:
            self.assertIn(f"{subject}: ", page)

    def test_every_key_is_in_the_help_of_some_command(self):
        listed = set().union(*(option_names(command) for command in commands()))
        self.assertEqual(set(dumped(run("train", "--dump-config").stdout)) - listed, set())

    def test_it_says_which_options_may_change_when_a_run_goes_on(self):
        for command in commands():
            titles = [line for line in run("help", command).stdout.splitlines() if line == "with --resume"]
            self.assertEqual(titles, ["with --resume"] if "resume" in option_names(command) else [], command)
        self.assertIn("options that may change: data.pairs, ", run("help", "--man").stdout)

    def test_headings_are_bold_on_a_terminal_only(self):
        def help_page(**environment):
            return on_terminal(80, ["help", "or-gate"], **{"NO_COLOR": None, **environment})

        self.assertIn("\033[1musage\033[0m", help_page())
        self.assertNotIn("\033", help_page(NO_COLOR="1"))
        self.assertNotIn("\033", help_page(TERM="dumb"))
        self.assertNotIn("\033", run("help", "or-gate").stdout)


class ManualPage(unittest.TestCase):
    def setUp(self):
        result = run("help", "--man")
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.man = result.stdout

    def test_it_has_each_command_with_its_usage(self):
        for command in commands():
            self.assertIn(f'.SS "lstmq {command}"\n', self.man)
            usage = (
                run("help", command, environment={"COLUMNS": "120"})
                .stdout.split("\nusage\n")[1]
                .splitlines()[0]
                .strip())
            plain = re.sub(r"\\f[BIR]", "", self.man).replace("\\-", "-")
            self.assertIn(f"\n{usage}\n", plain)

    def test_it_has_the_options_of_help_and_no_others(self):
        listed = set().union(*(option_names(command) for command in commands()))
        self.assertEqual(roff_options(self.man) - {"version"}, listed)

    def test_it_names_the_commands_that_take_an_option(self):
        entries = re.split(r"\n\.TP\n|\n\.S[SH]", self.man)
        for command in commands():
            for names, _ in option_rows(command):
                entry = next(e for e in entries if names[0] in roff_options(e) and names[-1] in roff_options(e))
                takers = entry.rstrip().splitlines()[-1].replace("\\-", "-").rstrip(".")
                if takers != "All commands":
                    self.assertIn(command, takers.removeprefix("Commands: ").split(", "), names)

    @unittest.skipUnless(shutil.which("groff"), "no groff here")
    def test_roff_takes_it_without_a_warning(self):
        result = subprocess.run(["groff", "-man", "-Tutf8", "-ww", "-z"], input=self.man, encoding="utf-8",
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
        self.assertEqual((result.returncode, result.stderr), (0, ""))


if __name__ == "__main__":
    main()
