#!/usr/bin/env python3
"""The documents' commands, options, paths, functions and links are those of the program and its sources."""

import glob
import os
import re
import sys
import unittest

from support.program import SKIPPED, SOURCE, commands, dumped, main, option_names, run

README = os.path.join(SOURCE, "README.md")
DOCUMENTS = [README, os.path.join(SOURCE, "CONTRIBUTING.md"), *sorted(glob.glob(os.path.join(SOURCE, "docs", "*.md")))]
FOLDERS = ("docs", "proto", "kernels", "worker", "coordinator", "ops", "scripts", "tests")


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def code(text):
    """The code of a Markdown text: lines of fenced blocks (continued lines joined) and spans in backticks."""
    found = []
    for number, part in enumerate(re.split(r"^```.*$", text, flags=re.M)):
        if number % 2 == 1:
            found += re.sub(r"\\\n\s*", " ", part).splitlines()
        else:
            found += [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", part)]
    return found


def calls(line):
    """(command, its options) for each `lstmq COMMAND ...` in a line of code."""
    line = re.sub(r"(^|\s)#.*", "", line)
    for call in re.finditer(r"(?:^|[\s/(])lstmq\s+([a-z][a-z-]*)(?![\w:.=])([^|;&>)]*)", line):
        yield call[1], re.findall(r"(?<!\S)--([a-z][\w.-]*)", call[2])


def paths(line):
    """The paths of the source tree in a line of code."""
    return [word.rstrip(",;:") for word in line.split() if word.split("/")[0] in FOLDERS and "/" in word]


def functions(text):
    """The names of the functions that a C text declares or defines."""
    return set(re.findall(r"^(?:[a-z][\w ]*[ *])(\w+)\(", text, re.M))


def anchors(text):
    """The names by which a page's headings can be linked."""
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in re.findall(r"^#+ (.*)$", text, re.M)}


class Documents(unittest.TestCase):
    def setUp(self):
        self.lines = [(os.path.basename(path), line) for path in DOCUMENTS for line in code(read(path))]
        self.known = commands()

    def test_their_commands_and_options_exist(self):
        for page, line in self.lines:
            for command, options in calls(line):
                self.assertIn(command, self.known, (page, line))
                for option in options:
                    names = option_names(command)
                    self.assertTrue(option in names or option.removeprefix("no-") in names, (page, line))

    def test_an_option_named_alone_exists(self):
        listed = set().union(*(option_names(command) for command in self.known)) | {"version"}
        for page, line in self.lines:
            alone = re.match(r"--([a-z][\w.-]*)", line)
            if alone:
                self.assertIn(alone[1], listed, (page, line))

    def test_an_option_named_by_its_key_exists(self):
        keys = dumped(run("train", "--dump-config").stdout)
        sections = {key.split(".")[0] for key in keys}
        for page, line in self.lines:
            key = re.match(r"([a-z]+)\.[a-z_]+(?=$|[ :])", line)
            if key and key[1] in sections and not key[0].endswith(".safetensors"):
                self.assertTrue(key[0] in keys, (page, line))

    def test_the_readme_names_each_command(self):
        words = {word for line in code(read(README)) for word in re.findall(r"[a-z][a-z-]*", line)}
        self.assertEqual(set(self.known) - words, set())

    def test_their_paths_exist(self):
        for page, line in self.lines:
            for path in paths(line):
                self.assertTrue(glob.glob(os.path.join(SOURCE, path)), (page, path))

    def test_their_functions_exist(self):
        named = {(page, name) for page, line in self.lines for name in re.findall(r"\b([a-z]\w+)\(\)", line)}
        self.assertGreater(len(named), 10)
        sources = [path for folder in FOLDERS for ending in ("c", "h")
                   for path in glob.glob(os.path.join(SOURCE, folder, "**", "*." + ending), recursive=True)]
        text = "\n".join(map(read, [os.path.join(SOURCE, "main.c"), *sources]))
        self.assertEqual({found for found in named if found[1] not in functions(text)}, set())

    def test_their_functions_are_where_they_say(self):
        for path in DOCUMENTS:
            for name, file in re.findall(r"`([a-z]\w+)\(\)`\s+in\s+`([\w./]+\.[ch])`", read(path)):
                self.assertIn(name, functions(read(os.path.join(SOURCE, file))), (path, file))

    def test_their_links_lead_somewhere(self):
        for path in DOCUMENTS:
            for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"^```.*?^```", "", read(path), flags=re.M | re.S)):
                if re.match(r"https?:", target):
                    continue
                name, _, anchor = target.partition("#")
                page = os.path.join(os.path.dirname(path), name) if name else path
                self.assertTrue(os.path.exists(page), (path, target))
                if anchor:
                    self.assertIn(anchor, anchors(read(page)), (path, target))


class Reading(unittest.TestCase):
    """That the reader of the documents above sees what is there."""

    def test_calls_are_found(self):
        text = "Run `lstmq train --lr 1`.\n```sh\n$ build/lstmq help \\\n   --man | less --raw  # lstmq x\n```\n"
        found = [call for line in code(text) for call in calls(line)]
        self.assertEqual(found, [("train", ["lr"]), ("help", ["man"])])

    def test_messages_are_not_calls(self):
        self.assertEqual(list(calls("lstmq train: pairs.tsv:3: no TAB")), [])

    def test_paths_are_found(self):
        found = paths("tests/parity/parity.py tiny; runs/first, proto/wire/")
        self.assertEqual(found, ["tests/parity/parity.py", "proto/wire/"])

    def test_anchors_are_found(self):
        self.assertEqual(anchors("# A title\n## Keys, and more\n"), {"a-title", "keys-and-more"})


if __name__ == "__main__":
    if not os.path.exists(README):
        print(f"skipped: there is no {README}")
        sys.exit(SKIPPED)
    main()
