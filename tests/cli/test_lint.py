#!/usr/bin/env python3
"""scripts/lint.sh names each kind of finding in a small checkout, and nothing in a clean one."""
import os
import shutil
import subprocess
import tempfile
import unittest

from support.program import LIMIT_S, SOURCE, main

HEADER = "/* {name}.h - a noun. */\n#ifndef {guard}\n#define {guard}\n\n{text}\n#endif\n"


class Lint(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="lstmq-lint-")
        self.addCleanup(shutil.rmtree, self.folder)
        subprocess.run(["git", "init", "--quiet", self.folder], check=True, timeout=LIMIT_S)
        self.header("proto/base/one.h", "int one(void);\n")
        self.write("proto/base/one.c", '#include "proto/base/one.h"\n\nint one(void)\n{\n    return 1;\n}\n')

    def write(self, path, text):
        path = os.path.join(self.folder, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)

    def header(self, path, text, guard=None):
        guard = guard or "LSTMQ_" + path.upper().replace("/", "_").replace(".", "_")
        self.write(path, HEADER.format(name=os.path.basename(path)[:-2], guard=guard, text=text))

    def lint(self):
        done = subprocess.run([os.path.join(SOURCE, "scripts", "lint.sh"), self.folder], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8", timeout=LIMIT_S,
                              check=False)
        return done.returncode, done.stdout.splitlines()

    def assert_found(self, *starts):
        status, lines = self.lint()
        for start in starts:
            self.assertTrue(any(line.startswith(start) for line in lines), (start, lines))
        self.assertEqual((status, len(lines)), (1, len(starts)), lines)

    def test_a_clean_tree_has_no_finding(self):
        self.assertEqual(self.lint(), (0, []))

    def test_words_and_long_lines(self):
        self.write("docs/page.md", "The worker who" + "ever\n" + "a" * 121 + "\n| " + "a" * 130 + " |\n")
        self.assert_found("docs/page.md:1: word: ", "docs/page.md:2: length: 121 letters")

    def test_headers(self):
        self.header("proto/text/two.h", "int two(void);\n", guard="LSTMQ_TWO_H")
        self.header("proto/text/one.h", "int other(void);\n")
        self.assert_found("proto/text/two.h:1: guard: ", "proto/text/one.h:1: header: proto/base/one.h")

    def test_names_and_functions(self):
        for name in "abcd":
            self.write(f"proto/text/{name}.c", f"static int same(void)\n{{\n    return 1;\n}}\n\nint {name}(void)\n{{\n"
                       "    return same();\n}\n")
        self.write("proto/text/e.c", "void e(void)\n{\n" + "    e();\n" * 61 + "}\n")
        self.assert_found(
            *(f"proto/text/{name}.c:1: static: same" for name in "abcd"), "proto/text/e.c:2: function: 61")

    def test_folders(self):
        for number in range(27):
            self.write(f"docs/{number}.md", "A page.\n")
        self.assert_found("docs:1: folder: 27 files")

    def test_includes_and_circles(self):
        self.header("proto/text/two.h", '#include "proto/text/three.h"\n')
        self.header("proto/text/three.h", '#include "proto/text/two.h"\n')
        self.write("proto/base/one.c", '#include "proto/text/two.h"\n')
        self.assert_found(
            "proto/base/one.c:1: include: ", "proto/text/two.h:5: circle: ", "proto/text/three.h:5: circle: ")

    @unittest.skipIf(not shutil.which("clang-format-14"), "clang-format-14 is not installed")
    def test_formatting(self):
        self.write("proto/text/two.c", "int two(void) { return 2; }\n")
        self.assert_found("proto/text/two.c:1: format: ")


if __name__ == "__main__":
    main()
