#!/usr/bin/python3
"""The systemd units are valid and sandboxed, and start commands that lstmq accepts."""

import glob
import os
import re
import shutil
import subprocess
import tempfile
import unittest

from support.program import BINARY, SOURCE, dumped, main, run

UNITS = os.path.join(SOURCE, "ops", "systemd")
EXPOSURE = 2.0  # most that systemd-analyze security may find


def read(name):
    with open(os.path.join(UNITS, name), encoding="utf-8") as file:
        return file.read()


def names(*endings):
    return sorted(os.path.basename(path) for ending in endings for path in glob.glob(os.path.join(UNITS, "*" + ending)))


def settings(text, key):
    return re.findall(rf"^{key}=(.*)$", text, re.M)


class Units(unittest.TestCase):
    def test_each_service_starts_a_command_that_exists(self):
        for name in names(".service"):
            lstmq, command, *arguments = settings(read(name), "ExecStart")[0].split()
            self.assertEqual(lstmq, "lstmq")
            configuration = arguments.pop(arguments.index("--config") + 1)
            self.assertEqual(os.path.dirname(configuration), "/etc/lstmq")
            arguments.insert(arguments.index("--config") + 1, os.path.join(UNITS, os.path.basename(configuration)))
            result = run(command, *arguments, "--run.dir=/nonexistent", "--dump-config") \
                if command == "coordinator" else run(command, *arguments, "--dump-config")
            self.assertEqual((result.returncode, result.stderr), (0, ""), name)

    def test_the_queue_has_the_sockets_of_its_configuration(self):
        configured = dumped(run("serve", "--config", os.path.join(UNITS, "serve.yaml"), "--dump-config").stdout)
        listened = {settings(read(name), "FileDescriptorName")[0]: settings(read(name), "ListenStream")[0]
                    for name in names(".socket")}
        self.assertEqual(listened, {"http": configured["http.bind"],
                                    "queue": configured["serve.bind"].removeprefix("tcp://")})
        for name in names(".socket"):
            self.assertEqual(settings(read(name), "Service"), ["lstmq-serve.service"])
            self.assertIn(name, settings(read("lstmq-serve.service"), "Requires")[0].split())

    def test_a_service_may_end_slower_than_it_drains(self):
        built_in = dumped(run("serve", "--dump-config").stdout)
        needed = float(built_in["serve.drain_delay"]) + float(built_in["serve.drain_timeout"])
        self.assertGreater(float(settings(read("lstmq-serve.service"), "TimeoutStopSec")[0]), needed)

    def test_the_service_of_the_queue_is_watched(self):
        text = read("lstmq-serve.service")
        self.assertEqual(settings(text, "Type"), ["notify"])
        self.assertGreater(float(settings(text, "WatchdogSec")[0]), 0)


@unittest.skipUnless(shutil.which("systemd-analyze"), "no systemd-analyze here")
class Systemd(unittest.TestCase):
    """What systemd says. The units are copied, because only an installed lstmq is found by its name."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="lstmq-units-")
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        for name in names(".service", ".socket"):
            with open(os.path.join(self.folder, name), "w", encoding="utf-8") as file:
                file.write(re.sub(r"^ExecStart=lstmq", f"ExecStart={os.path.abspath(BINARY)}", read(name), flags=re.M))

    def analyze(self, *arguments):
        result = subprocess.run(["systemd-analyze", *arguments], cwd=self.folder, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, encoding="utf-8", check=False)
        return result.returncode, result.stdout

    def test_systemd_finds_no_mistake(self):
        verify = ["verify", "--man=no", "--recursive-errors=no"]
        self.assertEqual(self.analyze(*verify, *names(".service", ".socket")), (0, ""))
        for name in names("@.service"):
            self.assertEqual(self.analyze(*verify, "./" + name.replace("@", "@1")), (0, ""))

    def test_a_mistake_would_be_found(self):
        with open(os.path.join(self.folder, "lstmq-serve.service"), "a", encoding="utf-8") as file:
            file.write("[Service]\nWatchdogSecs=1\n")
        self.assertIn("WatchdogSecs", self.analyze("verify", "--man=no", "lstmq-serve.service")[1])

    def test_the_services_are_confined(self):
        for name in names(".service"):
            status, found = self.analyze("security", "--offline=true", "--no-pager", name)
            self.assertEqual(status, 0, found)
            exposure = re.search(r"Overall exposure level for \S+: ([\d.]+)", found)
            self.assertLessEqual(float(exposure[1]), EXPOSURE, found)


if __name__ == "__main__":
    main()
