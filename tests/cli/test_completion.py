#!/usr/bin/env python3
"""Shells complete the commands, options and values of the program, and no others."""

import fcntl
import os
import pty
import select
import shutil
import struct
import subprocess
import tempfile
import termios
import unittest

from support.program import LIMIT_S, commands, main, option_rows, run

FILES = {"FILE"}  # what help calls the values that are files, and folders
FOLDERS = {"FOLDER"}


def script(shell):
    result = run("help", "--completion", shell)
    if result.returncode != 0 or result.stderr:
        raise AssertionError(result.stderr)
    return result.stdout


class Completion(unittest.TestCase):
    """A folder with a file "file x" and a folder "folder y", in which shells complete."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="lstmq-completion-")
        self.addCleanup(folder.cleanup)
        self.folder = os.path.join(folder.name, "here")
        os.makedirs(os.path.join(self.folder, "folder y"))
        os.makedirs(os.path.join(folder.name, "share", "lstmq", "recipes"))
        os.makedirs(os.path.join(folder.name, "bin"))
        os.chmod(self.write("bin/lstmq", "#!/bin/sh\n"), 0o755)
        self.environment = {**os.environ, "TERM": "xterm", "PATH": f"{folder.name}/bin:{os.environ['PATH']}"}
        self.write("here/file x", "")
        self.write("share/lstmq/recipes/small.yaml", "")

    def write(self, name, text):
        path = os.path.join(self.folder, "..", name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def command(self, *arguments, stdin=""):
        result = subprocess.run(arguments, input=stdin, cwd=self.folder, env=self.environment, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, encoding="utf-8", check=False)
        self.assertEqual((result.returncode, result.stderr), (0, ""), (arguments, stdin[:1000]))
        return result.stdout


class Bash(Completion):
    def complete(self, *lines):
        """What bash offers for the last word of each line, a list of words."""
        calls = [script("bash")]
        for line in lines:
            words = " ".join("'" + word + "'" for word in line)
            calls.append(f"COMP_WORDS=({words}) COMP_CWORD={len(line) - 1}; _lstmq; "
                         "printf '%s\\n' \"${COMPREPLY[@]}\"; echo --end--")
        offered = self.command("bash", "--norc", "-u", stdin="\n".join(calls)).split("--end--\n")
        return [set(text.splitlines()) - {""} for text in offered[:-1]]

    def test_the_first_word_is_a_command(self):
        every, some = self.complete(["lstmq", ""], ["lstmq", "tr"])
        self.assertEqual(every, {*commands(), "--help", "--version"})
        self.assertEqual(some, {name for name in commands() if name.startswith("tr")})
        self.assertEqual(self.complete(["lstmq", "help", "tr"])[0], some)
        self.assertEqual(self.complete(["lstmq", "frobnicate", "--"]), [set()])

    def test_each_command_has_its_options(self):
        for command in commands():
            names = {f"--{name}" for found, _ in option_rows(command) for name in found}
            self.assertEqual(self.complete(["lstmq", command, "--"])[0], names)

    def test_each_option_has_its_values(self):
        rows = [(command, name, value) for command in commands() for names, value in option_rows(command)
                for name in names if name != "config"]
        files, folders = {"file x", "folder y"}, {"folder y"}
        lines = [["lstmq", command, f"--{name}", *equals, ""] for command, name, _ in rows for equals in ([], ["="])]
        offered = iter(self.complete(*lines))
        for command, name, value in rows:
            apart, joined = next(offered), next(offered)
            if not value:
                takes = name not in ("help", "dump-config") and not name.startswith("no-")
                self.assertEqual(joined, {"true", "false"} if takes else joined, (command, name))
                continue
            choices = set(value.split("|")) if "|" in value else set()
            expected = files if value in FILES else folders if value in FOLDERS else choices
            self.assertEqual((apart, joined), (expected, expected), (command, name))

    def test_an_equals_sign_may_be_the_last_letter(self):
        self.assertEqual(self.complete(["lstmq", "train", "--cell", "="])[0], {"lstm", "rnn"})
        self.assertEqual(self.complete(["lstmq", "train", "--cell", "=", "r"])[0], {"rnn"})

    def test_recipes_and_files_are_configurations(self):
        self.assertEqual(self.complete(["lstmq", "train", "--config", ""])[0], {"file x", "folder y", "small"})

    @unittest.skipUnless(shutil.which("shellcheck"), "no shellcheck here")
    def test_shellcheck_finds_nothing(self):
        self.command("shellcheck", "--shell=bash", "-", stdin=script("bash"))


@unittest.skipUnless(shutil.which("zsh"), "no zsh here")
class Zsh(Completion):
    """Keys typed at a terminal of zsh: the functions of a completion run nowhere else."""

    def setUp(self):
        super().setUp()
        self.command("zsh", "-n", self.write("_lstmq", script("zsh")))
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 200, 0, 0))
        zsh = subprocess.Popen(["zsh", "-f", "-i"], cwd=self.folder, stdin=slave, stdout=slave, stderr=slave,
                               env=self.environment, start_new_session=True)
        os.close(slave)
        self.addCleanup(lambda: (zsh.kill(), zsh.wait(), os.close(self.master)))
        self.shown = ""
        self.type("PS1=; unsetopt beep; fpath=($PWD/.. $fpath); autoload -U compinit; compinit -u -D; echo set'-'up\n",
                  "set-up")

    def type(self, keys, shown):
        """Type keys, and read until the terminal shows `shown`."""
        self.shown = ""
        os.write(self.master, keys.encode())
        while shown not in self.shown:
            self.assertTrue(select.select([self.master], [], [], LIMIT_S)[0], (shown, self.shown))
            self.shown += os.read(self.master, 65536).decode(errors="replace")

    def test_it_completes(self):
        erase = "\x15"
        self.type("lstmq or\t", "or-gate")
        self.type(erase + "lstmq train --mod\thid\t", "--model.hidden")
        self.type(erase + "lstmq train --cell r\t", "--cell rnn")
        self.type(erase + "lstmq train --config sm\t", "small")
        self.type(erase + "lstmq train --pairs fi\t", "file\\ x")
        self.type(erase + "lstmq train --run.dir f\t", "folder\\ y")
        self.type(erase + "lstmq help ev\t", "evaluate")


@unittest.skipUnless(shutil.which("fish"), "no fish here")
class Fish(Completion):
    def complete(self, *lines):
        asked = "\n".join(f"complete -C '{line}'; echo --end--" for line in lines)
        offered = self.command("fish", "--private", "--no-config", stdin=script("fish") + asked).split("--end--\n")
        return [{row.split("\t")[0] for row in text.splitlines()} for text in offered[:-1]]

    def test_commands_options_and_values_are_completed(self):
        first, choice, joined, folder, help_of = self.complete(
            "lstmq ", "lstmq train --cell ", "lstmq train --cell=", "lstmq train --run.dir ", "lstmq train --no-tr")
        self.assertEqual(first, set(commands()))
        self.assertEqual(choice, {"lstm", "rnn"})
        self.assertEqual(joined, {"--cell=lstm", "--cell=rnn"})
        self.assertEqual(folder, {"folder y/"})
        self.assertEqual(help_of, {"--no-train.bleu"})

    def test_each_command_has_its_options(self):
        offered = self.complete(*(f"lstmq {command} --" for command in commands()))
        for command, found in zip(commands(), offered):
            names = {f"--{name}" for names, _ in option_rows(command) for name in names}
            self.assertEqual({name.rstrip("=") for name in found}, names, command)


if __name__ == "__main__":
    main()
