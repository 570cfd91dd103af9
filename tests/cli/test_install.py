#!/usr/bin/env python3
"""`cmake --install` puts the binary, the recipes and the manual page where they find each other."""

import os
import shutil
import subprocess
import tempfile
import unittest

from support.program import BINARY, SOURCE, main, run

BUILD = os.path.dirname(os.path.abspath(BINARY))


@unittest.skipUnless(shutil.which("cmake"), "no cmake here")
@unittest.skipUnless(os.path.exists(os.path.join(BUILD, "cmake_install.cmake")), "not a build folder")
class Install(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="lstmq-install-")
        cls.addClassCleanup(cls.folder.cleanup)
        result = subprocess.run(["cmake", "--install", BUILD, "--prefix", cls.folder.name], stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, encoding="utf-8", check=False)
        if result.returncode != 0:
            raise AssertionError(result.stdout)

    def path(self, *names):
        return os.path.join(self.folder.name, *names)

    def test_the_binary_is_the_one_that_was_built(self):
        installed = run("--version", binary=self.path("bin", "lstmq"))
        self.assertEqual((installed.returncode, installed.stdout), (0, run("--version").stdout))

    def test_the_manual_page_is_the_programs(self):
        with open(self.path("share", "man", "man1", "lstmq.1"), encoding="utf-8") as file:
            self.assertEqual(file.read(), run("help", "--man").stdout)

    def test_the_completions_are_the_programs(self):
        for shell, path in (("bash", "bash-completion/completions/lstmq"), ("zsh", "zsh/site-functions/_lstmq"),
                            ("fish", "fish/vendor_completions.d/lstmq.fish")):
            with open(self.path("share", path), encoding="utf-8") as file:
                self.assertEqual(file.read(), run("help", "--completion", shell).stdout)

    def test_the_recipes_are_those_of_the_sources(self):
        installed = self.path("share", "lstmq", "recipes")
        self.assertEqual(sorted(os.listdir(installed)), sorted(os.listdir(os.path.join(SOURCE, "ops", "recipes"))))

    def test_units_and_examples_are_installed(self):
        for installed, source in (("lib/systemd/system/lstmq-serve.service", "systemd/lstmq-serve.service"),
                                  ("lib/systemd/system/lstmq-serve.socket", "systemd/lstmq-serve.socket"),
                                  ("lib/sysusers.d/lstmq.conf", "systemd/lstmq.sysusers"),
                                  ("share/lstmq/systemd/serve.yaml", "systemd/serve.yaml"),
                                  ("share/lstmq/prometheus/rules.yml", "prometheus/rules.yml"),
                                  ("share/lstmq/grafana/dashboards/lstmq.json", "grafana/dashboards/lstmq.json"),
                                  ("share/lstmq/kubernetes/queue.yaml", "kubernetes/queue.yaml")):
            with open(self.path(installed), "rb") as one, open(os.path.join(SOURCE, "ops", source), "rb") as other:
                self.assertEqual(one.read(), other.read())

    def test_licence_and_documents_are_installed(self):
        for name in ("LICENSE", "README.md", "docs/cluster.md"):
            with open(self.path("share", "doc", "lstmq", name), "rb") as installed, \
                    open(os.path.join(SOURCE, name), "rb") as source:
                self.assertEqual(installed.read(), source.read())

    def test_a_recipe_is_the_installed_one(self):
        with open(self.path("share", "lstmq", "recipes", "only-here.yaml"), "w", encoding="utf-8") as file:
            file.write("train:\n  batch: 5\n")
        result = run("train", "--config", "only-here", "--dump-config", binary=self.path("bin", "lstmq"))
        os.remove(file.name)
        self.assertIn("\n  batch: 5\n", result.stdout, result.stderr)


@unittest.skipUnless(shutil.which("cmake") and shutil.which("ninja"), "no cmake or no ninja here")
class Build(unittest.TestCase):
    """A separate build folder. Almost nothing is compiled in it: the test reads what ninja would do."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="lstmq-build-")
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.build = os.path.join(folder.name, "build")

    def command(self, *arguments, status=0):
        result = subprocess.run(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8",
                                check=False)
        self.assertEqual(result.returncode, status, result.stdout)
        return result.stdout

    def rules(self):
        """Configure. Returns how each file is compiled."""
        self.command("cmake", "-S", SOURCE, "-B", self.build, "-G", "Ninja", "-DBUILD_TESTING=OFF")
        with open(os.path.join(self.build, "compile_commands.json"), encoding="utf-8") as file:
            return file.read()

    def test_configuring_again_changes_no_compile_command(self):
        first = self.rules()
        self.assertEqual(first, self.rules())

    def test_configuring_again_compiles_nothing(self):
        """The compile commands of two files that depend on what configuring finds and writes: libzmq's folders, and the
        commit."""
        self.rules()
        objects = ["CMakeFiles/lstmq.dir/main.c.o", "proto/wire/CMakeFiles/lstmq_wire.dir/socket.c.o"]
        self.assertIn("Building C object", self.command("ninja", "-C", self.build, *objects))
        self.rules()
        self.assertNotIn("Building", self.command("ninja", "-C", self.build, *objects))

    def test_the_program_brings_all_that_is_installed(self):
        self.rules()
        page = self.command("ninja", "-C", self.build, "-t", "query", "lstmq.1")
        self.assertIn("lstmq", page)
        self.assertIn("help --man", self.command("ninja", "-C", self.build, "-t", "commands", "lstmq"))

    def test_uninstall_removes_what_the_manifest_names(self):
        self.rules()
        self.assertIn("nothing to uninstall", self.command("ninja", "-C", self.build, "uninstall", status=1))
        kept, removed = (os.path.join(self.folder, name) for name in ("kept", "removed"))
        for path in (kept, removed):
            with open(path, "w", encoding="utf-8"):
                pass
        with open(os.path.join(self.build, "install_manifest.txt"), "w", encoding="utf-8") as file:
            file.write(removed)
        self.command("ninja", "-C", self.build, "uninstall")
        self.assertEqual((os.path.exists(kept), os.path.exists(removed)), (True, False))


if __name__ == "__main__":
    main()
