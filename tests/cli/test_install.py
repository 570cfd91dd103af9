#!/usr/bin/env python3
"""`cmake --install` puts the binary, the recipes and the manual page where they find each other."""

import os
import shutil
import subprocess
import tempfile
import unittest

from program import BINARY, SOURCE, main, run

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

    def test_the_recipes_are_those_of_the_sources(self):
        installed = self.path("share", "lstmq", "recipes")
        self.assertEqual(sorted(os.listdir(installed)), sorted(os.listdir(os.path.join(SOURCE, "ops", "recipes"))))

    def test_a_recipe_is_the_installed_one(self):
        with open(self.path("share", "lstmq", "recipes", "only-here.yaml"), "w", encoding="utf-8") as file:
            file.write("train:\n  batch: 5\n")
        result = run("train", "--config", "only-here", "--dump-config", binary=self.path("bin", "lstmq"))
        os.remove(file.name)
        self.assertIn("\n  batch: 5\n", result.stdout, result.stderr)


if __name__ == "__main__":
    main()
