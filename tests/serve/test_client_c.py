#!/usr/bin/python3
"""The installed C library: its example builds with pkg-config and translates; C++ can use the header; the library
exports its own names alone, and holds nothing that prints."""

import os
import re
import shutil
import subprocess
import tempfile
import unittest

from support.program import BINARY, SOURCE, main

try:
    from support.answering_queue import INVALID, AnsweringQueue, Made, Refusal
except ImportError:
    raise SystemExit(77) from None

BUILD = os.path.dirname(os.path.abspath(BINARY))
SYMBOLS = subprocess.run(["nm", "-D", BINARY], stdout=subprocess.PIPE, encoding="utf-8", check=False).stdout
SANITIZED = "__asan_" in SYMBOLS or "__tsan_" in SYMBOLS


def output(*command, **more):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, encoding="utf-8", **more).stdout


@unittest.skipUnless(all(map(shutil.which, ("cmake", "pkg-config", "cc", "nm", "objdump"))),
                     "no cmake, pkg-config, cc or binutils here")
@unittest.skipUnless(os.path.exists(os.path.join(BUILD, "cmake_install.cmake")), "not a build folder")
@unittest.skipIf(SANITIZED, "a library with a sanitizer needs a program with it")
class Installed(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(prefix="lstmq-client-")
        cls.addClassCleanup(folder.cleanup)
        cls.folder = folder.name
        cls.prefix = os.path.join(cls.folder, "moved here")
        subprocess.run(["cmake", "--install", BUILD, "--prefix", cls.prefix], stdout=subprocess.DEVNULL, check=True)
        found = [path for path, _, files in os.walk(cls.prefix) if "lstmq-client.pc" in files]
        cls.environment = {**os.environ, "PKG_CONFIG_PATH": found[0]}
        cls.library = os.path.dirname(found[0])
        cls.flags = [re.sub(r"\\(.)", r"\1", word) for word in re.findall(
            r"(?:\\.|\S)+", output("pkg-config", "--cflags", "--libs", "lstmq-client", env=cls.environment))]
        cls.example = os.path.join(cls.folder, "example")
        source = os.path.join(cls.prefix, "share", "doc", "lstmq", "client", "example.c")
        subprocess.run(["cc", "-Wall", "-Wextra", "-Werror", source, *cls.flags, "-o", cls.example], check=True)

    def run_example(self, queue, *texts, stdin=""):
        return subprocess.run([self.example, queue.endpoint, *texts], input=stdin, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, encoding="utf-8", check=False, timeout=180,
                              env={**os.environ, "LD_LIBRARY_PATH": self.library})

    def test_the_example_translates(self):
        queue = AnsweringQueue(lambda request: [Made(text.upper(), unknown=("w",) * request.details)
                                                for text in request.texts])
        self.addCleanup(queue.stop)
        done = self.run_example(queue, "ab", "cd", stdin="".join(f"line {number}\n" for number in range(300)))
        self.assertEqual((done.returncode, done.stderr), (0, "unknown: w\n" * 2))
        lines = done.stdout.splitlines()
        self.assertEqual(lines[:2], ["AB", "CD"])
        self.assertEqual(sorted(lines[2:]), sorted(f"{number + 2}: LINE {number}" for number in range(300)))
        self.assertTrue(all(request.deadline_ms <= 30_000 for request in queue.requests))

    def test_the_example_names_an_error(self):
        queue = AnsweringQueue(lambda request: Refusal(INVALID, 0, "no such model"))
        self.addCleanup(queue.stop)
        done = self.run_example(queue, "ab")
        self.assertEqual((done.returncode, done.stdout, done.stderr), (1, "", "invalid: no such model\n"))

    def test_the_programs_of_the_page_and_the_header_translate(self):
        queue = AnsweringQueue(lambda request: [text.upper() for text in request.texts])
        self.addCleanup(queue.stop)
        with open(os.path.join(SOURCE, "docs", "serving.md"), encoding="utf-8") as file:
            programs = [block for block in re.findall(r"```c\n(.*?)```", file.read(), re.S) if "lstmq.h" in block]
        with open(os.path.join(SOURCE, "proto", "client", "lstmq.h"), encoding="utf-8") as file:
            lines = re.findall(r"^ \*     (.*)", file.read().split("*/")[0], re.M)
        programs.append("#include <lstmq.h>\n#include <stdio.h>\nint main(void)\n{" + "\n".join(lines) + "}\n")
        self.assertGreaterEqual(len(programs), 2)
        for number, program in enumerate(programs):
            source, made = (os.path.join(self.folder, f"page{number}{ending}") for ending in (".c", ""))
            with open(source, "w", encoding="utf-8") as file:
                file.write(program.replace("tcp://127.0.0.1:5758", queue.endpoint))
            subprocess.run(["cc", "-Wall", "-Wextra", "-Werror", source, *self.flags, "-o", made], check=True)
            self.assertEqual(output(made, env={**os.environ, "LD_LIBRARY_PATH": self.library}), "I AM HAPPY .\n")

    @unittest.skipUnless(shutil.which("c++"), "no C++ compiler here")
    def test_the_header_is_cpp_too(self):
        source = os.path.join(self.folder, "client.cpp")
        with open(source, "w", encoding="utf-8") as file:
            file.write('#include <lstmq.h>\nint main() { lstmq_close(lstmq_open("bad", nullptr, nullptr)); }\n')
        program = os.path.join(self.folder, "client")
        subprocess.run(["c++", "-std=c++11", "-Wall", "-Wextra", "-Wpedantic", "-Werror", source, *self.flags, "-o",
                        program], check=True)
        subprocess.run([program], check=True, env={**os.environ, "LD_LIBRARY_PATH": self.library})

    def test_the_header_stands_alone(self):
        with open(os.path.join(self.prefix, "include", "lstmq.h"), encoding="utf-8") as file:
            header = file.read()
        self.assertEqual(re.findall(r"#include (.*)", header), ["<stdbool.h>", "<stddef.h>", "<stdint.h>"])
        self.assertEqual(os.listdir(os.path.join(self.prefix, "include")), ["lstmq.h"])

    def test_the_library_exports_what_the_header_declares(self):
        path = os.path.join(self.library, "liblstmq-client.so")
        exported = {line.split()[-1] for line in output("nm", "-D", "--defined-only", path).splitlines()}
        with open(os.path.join(SOURCE, "proto", "client", "lstmq.h"), encoding="utf-8") as file:
            declared = set(re.findall(r"^LSTMQ_API [^;(]*?(\w+)\(", file.read(), re.M))
        self.assertEqual(exported, declared)
        used = {line.split()[-1].split("@")[0] for line in output("nm", "-D", "--undefined-only", path).splitlines()}
        self.assertFalse(used & {"stderr", "stdout", "write", "puts", "printf", "fprintf", "exit", "abort", "signal"})
        self.assertRegex(output("objdump", "-p", path), r"SONAME +liblstmq-client\.so\.\d")
        # Data that changes is in .data or .bss.
        changing = re.findall(r" \.(?:data|bss)\s+0*[1-9a-f][0-9a-f]*\s+(?:\.hidden )?(\S+)$",
                              output("objdump", "-t", path), re.M)
        self.assertLessEqual(set(changing), {"__dso_handle", "completed.0"})


if __name__ == "__main__":
    main()
