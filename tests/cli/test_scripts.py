#!/usr/bin/env python3
"""scripts/data.sh and scripts/dependencies.sh if something fails: no network, cut archives, no root, a held lock.

The scripts are real. Small programs in front of PATH replace the programs that they call (curl, apt-get, dpkg-query,
id)."""
import os
import shutil
import stat
import subprocess
import tempfile
import unittest
import zipfile

from support.program import LIMIT_S, SOURCE, main

PAIRS = "go .\tva !\tattribution\nhello .\tbonjour .\n"
TOOLS = ("bash dirname basename cat mkdir mktemp rm mv cp head tail grep sed tr cut wc sha256sum awk env sleep "
         "unzip python3 touch").split()


class Script(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="lstmq-scripts-")
        self.addCleanup(shutil.rmtree, self.folder)
        self.programs = self.path("bin")
        os.mkdir(self.programs)
        for tool in TOOLS:
            found = shutil.which(tool)
            if found:
                os.symlink(found, os.path.join(self.programs, tool))

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def program(self, name, text):
        path = os.path.join(self.programs, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write("#!/bin/sh\n" + text)
        os.chmod(path, stat.S_IRWXU)

    def script(self, name, *arguments, **environment):
        environment = {
            "PATH": self.programs, "HOME": self.folder, "LC_ALL": "C.UTF-8", "FOLDER": self.folder, **environment}
        return subprocess.run(
            [os.path.join(SOURCE, "scripts", name), *arguments], env=environment, encoding="utf-8",
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=LIMIT_S, check=False)


class Data(Script):
    def setUp(self):
        super().setUp()
        self.program("curl", 'echo "curl: (6) Could not resolve host" >&2; exit 6\n')
        os.mkdir(self.path("in"))

    def archive(self, path, member="fra.txt", text=PAIRS):
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(member, text)

    def data(self, *arguments, **environment):
        return self.script("data.sh", "--out", self.path("out"), *arguments, **environment)

    def assert_pairs(self, result, text):
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(result.stdout, self.path("out", "fra.txt") + "\n")
        with open(self.path("out", "fra.txt"), encoding="utf-8") as file:
            self.assertEqual(file.read(), text)
        self.assertEqual(sorted(os.listdir(self.path("out"))), ["EDITION", "fra.txt"])

    def assert_sample(self, result):
        sample = subprocess.run(
            [os.path.join(SOURCE, "scripts/sample_pairs.sh")], stdout=subprocess.PIPE, encoding="utf-8", check=True)
        self.assert_pairs(result, sample.stdout)
        self.assertIn("NOT REAL DATA", result.stderr)

    def test_an_archive_in_the_folder_is_unpacked(self):
        self.archive(self.path("in", "fra-eng.zip"))
        result = self.data(LSTMQ_DATA=self.path("in"))
        self.assert_pairs(result, PAIRS)
        self.assertIn("CC BY 2.0", result.stderr)
        self.assertIn("another edition", result.stderr)
        self.assertNotIn("NOT REAL", result.stderr)

    def test_plain_files_in_the_folder_will_do(self):
        for name in ("fra.txt", "eng-fra.txt"):
            with self.subTest(name):
                with open(self.path("in", name), "w", encoding="utf-8") as file:
                    file.write(PAIRS)
                self.assert_pairs(self.data(LSTMQ_DATA=self.path("in")), PAIRS)
                os.remove(self.path("in", name))
                os.remove(self.path("out", "fra.txt"))

    def test_pairs_that_are_there_stay(self):
        self.archive(self.path("in", "fra-eng.zip"))
        self.data(LSTMQ_DATA=self.path("in"))
        self.program("curl", "touch $FOLDER/called; exit 6\n")
        self.assert_pairs(self.data(), PAIRS)
        self.assertFalse(os.path.exists(self.path("called")))

    def test_a_sample_made_without_a_network_is_later_replaced(self):
        self.assert_sample(self.data())
        self.archive(self.path("in", "fra-eng.zip"))
        self.assert_pairs(self.data(LSTMQ_DATA=self.path("in")), PAIRS)

    def test_a_damaged_archive_is_named_and_not_used(self):
        for name, damage in (("cut", lambda data: data[:len(data) // 2]),
                             ("changed", lambda data: data[:60] + bytes(8) + data[68:]),
                             ("empty", lambda data: b""),
                             ("a page instead", lambda data: b"<html>Please log in</html>")):
            for without in ((), ("unzip",)):
                with self.subTest(name, without=without):
                    path = self.path("in", "fra-eng.zip")
                    self.archive(path, text=PAIRS * 50)
                    with open(path, "rb") as file:
                        data = damage(file.read())
                    with open(path, "wb") as file:
                        file.write(data)
                    for tool in without:
                        if os.path.lexists(os.path.join(self.programs, tool)):
                            os.remove(os.path.join(self.programs, tool))
                    result = self.data(LSTMQ_DATA=self.path("in"))
                    self.assertIn("fra-eng.zip is truncated, damaged", result.stderr)
                    self.assert_sample(result)

    def test_the_second_address_serves_when_the_first_does_not(self):
        self.archive(self.path("served.zip"))
        self.program("curl", """
echo "$*" >> $FOLDER/calls
case "$*" in *manythings*) while [ "$1" != -o ]; do shift; done; cp $FOLDER/served.zip "$2" ;; *) exit 6 ;; esac
""")
        result = self.data()
        self.assert_pairs(result, PAIRS)
        self.assertIn("CC BY 2.0", result.stderr)
        with open(self.path("calls"), encoding="utf-8") as file:
            calls = file.read().splitlines()
        self.assertEqual(["pytorch.org" in calls[0], "manythings.org" in calls[1], len(calls)], [True, True, 2])
        self.assertTrue(all("Mozilla/5.0" in call and "--connect-timeout" in call for call in calls))

    def test_a_missing_unpacker_is_named(self):
        self.archive(self.path("in", "fra-eng.zip"))
        for tool in ("unzip", "python3"):
            if os.path.lexists(os.path.join(self.programs, tool)):
                os.remove(os.path.join(self.programs, tool))
        result = self.data(LSTMQ_DATA=self.path("in"))
        self.assertIn("unzip, python3 and busybox are all missing", result.stderr)
        self.assert_sample(result)

    def test_a_folder_that_cannot_be_made_is_one_line(self):
        with open(self.path("out"), "w", encoding="utf-8"):
            pass
        result = self.data()
        self.assertEqual((result.returncode, result.stdout), (1, ""))
        self.assertRegex(result.stderr, r"^data.sh: cannot make the folder [^\n]*\n$")

    def test_the_sample_agrees_and_repeats_nothing(self):
        lines = subprocess.run(
            [os.path.join(SOURCE, "scripts/sample_pairs.sh")], stdout=subprocess.PIPE, encoding="utf-8", check=True
        ).stdout.splitlines()
        self.assertGreater(len(lines), 3000)
        self.assertEqual(len(lines), len(set(lines)))
        self.assertTrue(all(line.count("\t") == 1 and all(line.split("\t")) for line in lines))
        for line in (
            "this is a small cat .\tc'est un petit chat .", "this is a small car .\tc'est une petite voiture .",
            "where is the station ?\toù est la gare ?", "the hats are green .\tles chapeaux sont verts .",
            "you are not ready .\tvous n'êtes pas prêts .", "this is an empty room .\tc'est une chambre vide ."):
            self.assertIn(line, lines)


class Dependencies(Script):
    LOCKED = "E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 77 (unattended-upgr)"

    def setUp(self):
        super().setUp()
        self.program("dpkg-query", "exit 1\n")  # nothing is installed
        self.program("apt-get", 'echo "$*" >> $FOLDER/calls\n')
        self.program(
            "apt-cache",
            'case $2 in chromium|libmsgpack-c-dev) echo "Candidate: (none)" ;; *) echo "Candidate: 1.0" ;; esac\n')
        self.user(0)

    def user(self, number):
        self.program("id", f"echo {number}\n")

    def calls(self):
        if not os.path.exists(self.path("calls")):
            return []
        with open(self.path("calls"), encoding="utf-8") as file:
            return file.read().splitlines()

    def test_nothing_is_done_if_all_is_installed(self):
        self.program("dpkg-query", "echo installed\n")
        result = self.script("dependencies.sh", "test")
        self.assertEqual((result.returncode, result.stdout, result.stderr), (0, "", ""))
        self.assertEqual(self.calls(), [])

    def test_missing_packages_are_installed_by_local_names(self):
        result = self.script("dependencies.sh", "build")
        self.assertEqual(result.returncode, 0, result.stderr)
        install = self.calls()[-1]
        self.assertIn("--no-install-recommends", install)
        self.assertIn(" libmsgpack-dev ", install)
        self.assertNotIn("libmsgpack-c-dev", install)
        self.assertNotIn("libcmocka-dev", install)

    def test_without_root_or_sudo_the_command_to_run_is_named(self):
        self.user(1000)
        result = self.script("dependencies.sh", "test")
        self.assertEqual(result.returncode, 1)
        self.assertRegex(
            result.stderr,
            r"^dependencies.sh: .*no root or sudo.*as root, run: apt-get install --no-install-recommends "
            r".*gcc .*libcmocka-dev [^\n]*\n$")
        self.assertEqual(self.calls(), [])

    def test_sudo_is_used_where_there_is_no_root(self):
        self.user(1000)
        self.program("sudo", 'echo "sudo $*" >> $FOLDER/sudo; [ "$1" = -n ] && exit 0; exec "$@"\n')
        result = self.script("dependencies.sh", "build")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("--no-install-recommends", self.calls()[-1])
        self.assertTrue(os.path.exists(self.path("sudo")))

    def test_apt_waits_for_a_lock_and_names_its_holder(self):
        self.program("apt-get", f'echo "{self.LOCKED}" >&2; exit 100\n')
        result = self.script("dependencies.sh", "build", LSTMQ_APT_WAIT="1")
        self.assertEqual(result.returncode, 1)
        self.assertIn("waiting up to 1 s", result.stderr)
        self.assertIn("still held by process 77 (unattended-upgr)", result.stderr.splitlines()[-1])

    def test_a_lock_that_is_given_back_is_no_failure(self):
        self.program(
            "apt-get", f'[ -e $FOLDER/free ] && exit 0; touch $FOLDER/free; echo "{self.LOCKED}" >&2; exit 100\n')
        self.assertEqual(self.script("dependencies.sh", "build").returncode, 0)

    def test_a_missing_network_is_one_line(self):
        self.program(
            "apt-get", 'case "$*" in *install*) echo "E: Unable to fetch some archives" >&2; exit 100 ;; esac\n')
        result = self.script("dependencies.sh", "build")
        self.assertEqual(result.returncode, 1)
        self.assertIn("Is there a network?", result.stderr.splitlines()[-1])

    def test_another_system_gets_the_list_of_needs(self):
        os.remove(os.path.join(self.programs, "dpkg-query"))
        result = self.script("dependencies.sh", "build")
        self.assertEqual(result.returncode, 1)
        self.assertIn("neither Debian nor Ubuntu", result.stderr)


if __name__ == "__main__":
    main()
