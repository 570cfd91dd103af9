#!/usr/bin/env python3
"""The README's commands and options are those of the program."""

import os
import re
import sys
import unittest

from program import SKIPPED, SOURCE, commands, main, option_names

README = os.path.join(SOURCE, "README.md")


def code(text):
    """The code of a Markdown text: lines of fenced blocks (continued lines joined) and spans in backticks."""
    found = []
    for number, part in enumerate(re.split(r"^```.*$", text, flags=re.M)):
        if number % 2 == 1:
            found += re.sub(r"\\\n\s*", " ", part).splitlines()
        else:
            found += re.findall(r"`([^`]+)`", part)
    return found


def calls(line):
    """(command, its options) for each `lstmq COMMAND ...` in a line of code."""
    line = re.sub(r"(^|\s)#.*", "", line)
    for call in re.finditer(r"(?:^|[\s/(])lstmq\s+([a-z][a-z-]*)(?![\w:.=])([^|;&>)]*)", line):
        yield call[1], re.findall(r"(?<!\S)--([a-z][\w.-]*)", call[2])


class Readme(unittest.TestCase):
    def setUp(self):
        with open(README, encoding="utf-8") as file:
            self.code = code(file.read())
        self.known = commands()

    def test_its_commands_and_their_options_exist(self):
        for line in self.code:
            for command, options in calls(line):
                self.assertIn(command, self.known, line)
                for option in options:
                    names = option_names(command)
                    self.assertTrue(option in names or option.removeprefix("no-") in names, line)

    def test_an_option_named_alone_exists(self):
        listed = set().union(*(option_names(command) for command in self.known)) | {"version"}
        for line in self.code:
            alone = re.match(r"--([a-z][\w.-]*)", line)
            if alone:
                self.assertIn(alone[1], listed, line)

    def test_it_names_each_command(self):
        words = {word for line in self.code for word in re.findall(r"[a-z][a-z-]*", line)}
        self.assertEqual(set(self.known) - words, set())


class Reading(unittest.TestCase):
    """That the reader of the README above sees what is there."""

    def test_calls_are_found(self):
        text = "Run `lstmq train --lr 1`.\n```sh\n$ build/lstmq help \\\n   --man | less --raw  # lstmq x\n```\n"
        found = [call for line in code(text) for call in calls(line)]
        self.assertEqual(found, [("train", ["lr"]), ("help", ["man"])])

    def test_messages_are_not_calls(self):
        self.assertEqual(list(calls("lstmq train: pairs.tsv:3: no TAB")), [])


if __name__ == "__main__":
    if not os.path.exists(README):
        print(f"skipped: there is no {README}")
        sys.exit(SKIPPED)
    main()
