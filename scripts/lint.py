#!/usr/bin/env python3
"""The rules of lint.sh that need no compiler. Reads the git checkout in the working folder; a finding is a line on
stdout.

A rule is a function that takes the files and yields findings (path, line, rule, what). Files are those that git tracks,
and untracked ones that it does not ignore."""
import collections
import os
import re
import subprocess
import sys

LINE_LENGTH = 120
FOLDER_FILES = 26
FUNCTION_LINES = 60
STATIC_FILES = 3

# Data, not prose: inputs of tests, a dashboard, and the licence.
NOT_PROSE = re.compile(r"^tests/(cases|fuzz/corpus|parity)/.*(?<!\.py)(?<!\.c)(?<!CMakeLists\.txt)$|^LICENSE$|"
                       r"^ops/grafana/dashboards/.*\.json$")
WORDS = "scripts/lint_words.txt"

# Which folders a folder may include, besides itself and the folders below it. A folder that is not listed follows the
# folder above it. A command (cmd_NAME.c) may include all of its top folder, and proto/.
MODEL = ["proto", "kernels"]
MAY_INCLUDE = {
    "proto/base": [],
    "proto/cli": ["proto/base"],
    "proto/text": ["proto/base"],
    "proto/score": ["proto/base", "proto/text"],
    "proto/store": ["proto/base", "proto/text"],
    "proto/wire": ["proto/base"],
    "proto/client": ["proto/base", "proto/wire"],
    "kernels": ["proto/base"],
    "worker/model": MODEL,
    "worker/collective": MODEL,
    "worker/train": MODEL + ["worker/model", "worker/collective"],
    "worker/link": ["proto"],
    "worker/cluster": MODEL + ["worker/model", "worker/collective", "worker/train", "worker/link"],
    "worker/serve": MODEL + ["worker/model", "worker/link"],
    "worker": MODEL,
    "coordinator/data": ["proto"],
    "coordinator/run": ["proto", "coordinator/data"],
    "coordinator/http": ["proto", "coordinator/run"],
    "coordinator/cluster": ["proto", "coordinator/data", "coordinator/run", "coordinator/http"],
    "coordinator/serve": ["proto", "coordinator/run", "coordinator/http"],
    "coordinator": ["proto"],
}
# The one place that names the implementers of a table is no part of a circle.
OPENERS = {"kernels/backend.c"}
MAY_INCLUDE["worker/bench"] = MAY_INCLUDE["worker/cluster"] + ["worker/serve"]

INCLUDE = re.compile(r'^#include "([^"]+)"')
STATIC = re.compile(r"^static (?!struct \w+ \{|inline const|_Thread_local).*?\b(\w+)(?:\(|\[| =|;)")


class Files:
    """The text of each file, by path."""

    def __init__(self):
        listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], check=True,
                                stdout=subprocess.PIPE).stdout.decode()
        self.paths = sorted(path for path in set(listed.split("\0")) if path and os.path.isfile(path))
        self.lines = {}
        for path in self.paths:
            if NOT_PROSE.match(path):
                continue
            with open(path, "rb") as file:
                data = file.read()
            if b"\0" not in data:
                self.lines[path] = data.decode("utf-8", "replace").split("\n")

    def sources(self, *endings):
        return [path for path in self.lines if path.endswith(endings or (".c", ".h"))]

    def includes(self, path):
        """(line, path) of each header of the tree that the file includes."""
        for number, line in enumerate(self.lines[path], 1):
            match = INCLUDE.match(line)
            if match and match.group(1) in self.lines:
                yield number, match.group(1)


def words(files):
    """Plain English: none of the words that WORDS lists."""
    folder = os.path.dirname(os.path.abspath(__file__))
    with open(os.path.join(folder, os.path.basename(WORDS)), encoding="utf-8") as file:
        rows = [line.rstrip("\n").split(" | ") for line in file if line.strip() and not line.startswith("#")]
    instead = {re.compile(rf"\b(?:{form})\b".replace(" ", r"[\s*#]+"), re.IGNORECASE): advice for form, advice in rows}
    for path, lines in files.lines.items():
        if path == WORDS:
            continue
        text = "\n".join(lines)
        for form, advice in instead.items():
            for match in form.finditer(text):
                number = text.count("\n", 0, match.start()) + 1
                yield path, number, "word", f'"{" ".join(match.group().split())}": write {advice}'


def length(files):
    """No line is longer than LINE_LENGTH letters. A row of a Markdown table cannot be broken, so it may be."""
    for path, lines in files.lines.items():
        for number, line in enumerate(lines, 1):
            if len(line) > LINE_LENGTH and not (path.endswith(".md") and line.startswith("|")):
                yield path, number, "length", f"{len(line)} letters, at most {LINE_LENGTH}"


def guards(files):
    """A header's include guard is its path, so no two headers can share one."""
    for path in files.sources(".h"):
        guard = "LSTMQ_" + re.sub(r"\W", "_", path).upper()
        text = "\n".join(files.lines[path])
        if f"\n#ifndef {guard}\n#define {guard}\n" not in text:
            yield path, 1, "guard", f"the include guard must be {guard}"


def headers(files):
    """No two headers have one name: a name says which header is meant."""
    paths = collections.defaultdict(list)
    for path in files.sources(".h"):
        paths[os.path.basename(path)].append(path)
    for same in paths.values():
        for path in same[1:]:
            yield path, 1, "header", f"{same[0]} has the same name"


def statics(files):
    """A static name carries its file's noun, so it stands in STATIC_FILES files at most."""
    places = collections.defaultdict(dict)
    for path in files.sources(".c"):
        for number, line in enumerate(files.lines[path], 1):
            match = STATIC.match(line)
            if match and match.group(1) != "main":
                places[match.group(1)].setdefault(path, number)
    for name, where in places.items():
        if len(where) > STATIC_FILES:
            for path, number in where.items():
                yield path, number, "static", f"{name} is a static name in {len(where)} files, at most {STATIC_FILES}"


def folders(files):
    """A folder has at most FOLDER_FILES files, so that a reader sees it as a whole."""
    counts = collections.Counter(os.path.dirname(path) for path in files.lines)
    for folder, count in counts.items():
        if count > FOLDER_FILES:
            yield folder or ".", 1, "folder", f"{count} files, at most {FOLDER_FILES}"


def functions(files):
    """A function fits a screen: at most FUNCTION_LINES lines from its first brace to its last."""
    for path in files.sources():
        begun = None
        for number, line in enumerate(files.lines[path], 1):
            if line == "{":
                begun = number
            elif line == "}" and begun:
                if number - begun - 1 > FUNCTION_LINES:
                    yield path, begun, "function", f"{number - begun - 1} lines, at most {FUNCTION_LINES}"
                begun = None


def includes(files):
    """Folders include each other as MAY_INCLUDE says."""
    for path in files.sources():
        folder = os.path.dirname(path)
        if not folder or folder.split("/")[0] == "tests":
            continue
        if os.path.basename(path).startswith("cmd_"):
            allowed = [folder.split("/")[0], "proto", *MAY_INCLUDE.get(folder.split("/")[0], [])]
        else:
            room = folder
            while room not in MAY_INCLUDE and "/" in room:
                room = os.path.dirname(room)
            allowed = [room, *MAY_INCLUDE.get(room, [])]
        for number, header in files.includes(path):
            if not any(header.startswith(room + "/") for room in allowed):
                yield path, number, "include", f"{folder}/ may not include {os.path.dirname(header)}/"


def noun_of(path, stems):
    """The files of one noun are NOUN.h, NOUN.c and NOUN_part.*, in one folder."""
    stem = os.path.splitext(path)[0]
    folder, name = os.path.split(stem)
    parts = name.split("_")
    for count in range(1, len(parts)):
        noun = os.path.join(folder, "_".join(parts[:count]))
        if noun in stems:
            return noun
    return stem


def circles(files):
    """Nouns do not include each other in a circle. A test is one program, so its headers need no such order."""
    stems = {os.path.splitext(path)[0] for path in files.sources(".h")}
    graph = collections.defaultdict(dict)
    for path in set(files.sources()) - OPENERS:
        if path.startswith("tests/"):
            continue
        noun = noun_of(path, stems)
        for number, header in files.includes(path):
            other = noun_of(header, stems)
            if other != noun:
                graph[noun].setdefault(other, (path, number))

    def reach(noun):
        seen, ahead = set(), list(graph[noun])
        while ahead:
            other = ahead.pop()
            if other not in seen:
                seen.add(other)
                ahead += graph.get(other, ())
        return seen

    reached = {noun: reach(noun) for noun in list(graph)}
    for noun, others in reached.items():
        if noun in others:
            for other, (path, number) in graph[noun].items():
                if noun in reached.get(other, ()):
                    yield path, number, "circle", f"{other}.h includes, by others or itself, {noun}.h"


RULES = [words, length, guards, headers, statics, folders, functions, includes, circles]


def main():
    files = Files()
    found = sorted({finding for rule in RULES for finding in rule(files)})
    for path, number, rule, what in found:
        print(f"{path}:{number}: {rule}: {what}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
