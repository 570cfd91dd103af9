#!/usr/bin/env python3
"""A disk that is full, read-only or gone ends no training and removes no checkpoint. If a run cannot begin, the error
says why."""

import json
import os
import shutil
import subprocess

from support.program import main, run
from support.training import LIMIT_S, TrainingTest, hashes, metrics, read, sample_pairs, write

PAIRS = sample_pairs(300)


class DiskTest(TrainingTest):
    """Training on a separate file system, so small that one checkpoint more matters."""

    size_kib = 4096

    def setUp(self):
        super().setUp()
        self.options = {**self.options, "data.pairs": write(self.path("pairs.tsv"), PAIRS), "train.checkpoint_every": 3,
                        "log.steps": 1000, "train.epochs": 4}
        self.disk = self.path("disk")
        os.mkdir(self.disk)
        mounted = os.geteuid() == 0 and shutil.which("mount") and subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={self.size_kib}k", "lstmq-test", self.disk],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode == 0
        if not mounted:
            self.skipTest("a file system of its own needs root and mount")
        self.addCleanup(subprocess.run, ["umount", "-l", self.disk], check=False)
        self.run_dir = os.path.join(self.disk, "run")
        self.options["run.dir"] = self.run_dir

    def fill(self):
        """Fill the file system. Returns the file that fills it."""
        path = os.path.join(self.disk, "fill")
        with open(path, "wb", buffering=0) as file:
            try:
                while file.write(b"x" * 4096) > 0:
                    pass
            except OSError:
                return path
        self.fail("the disk did not fill up")

    def assertWhole(self, *path):
        result = run("inspect", os.path.join(self.run_dir, *path), "--json")
        self.assertEqual(result.returncode, 0, result.stderr)
        return json.loads(result.stdout)


class FullDisk(DiskTest):
    def test_training_goes_on_from_the_last_good_checkpoint(self):
        self.train(train__epochs=1)
        good = hashes(self.run_dir)
        filler = self.fill()
        said = self.train("--resume", status=1)
        self.assertIn("could not be written: ", said)
        self.assertIn("No space left on device; training goes on, the last good one stays\n", said)
        self.assertIn(
            f"lstmq train: {self.run_dir}: training is done, but its last state could not be saved: free some "
            "space there, then add --resume", said)
        self.assertEqual(hashes(self.run_dir), good)
        for link in ("latest", "best"):
            self.assertWhole(link)

        os.remove(filler)
        self.train("--resume")
        expected = self.path("unbroken")
        self.train(run__dir=expected)
        self.assertEqual(hashes(self.run_dir), hashes(expected))
        self.assertEqual(metrics(self.run_dir), metrics(expected))
        self.assertEqual(read(self.run_dir, "steps.jsonl"), read(expected, "steps.jsonl"))

    def test_delayed_records_are_written_once_the_disk_has_space(self):
        self.train(train__epochs=1)
        filler = self.fill()
        process = self.start(*self.arguments("--resume", "--log.format", "json", train__epochs=100))
        self.event(process, "checkpoint_failed")
        os.remove(filler)
        said = process.communicate(timeout=LIMIT_S)[1]
        self.assertEqual(process.returncode, 0, said)
        last = self.assertWhole()
        steps = [json.loads(line)["step"] for line in read(self.run_dir, "steps.jsonl").splitlines()]
        self.assertEqual(steps, list(range(1, 1001)))
        self.assertEqual([record["epoch"] for record in metrics(self.run_dir)], list(range(1, 101)))
        self.assertEqual(metrics(self.run_dir)[-1]["step"], last["state"]["step"])

    def test_a_disk_too_small_for_any_checkpoint_is_named(self):
        write(os.path.join(self.disk, "most"), b"x" * (self.size_kib - 24) * 1024)
        said = self.train(status=1, train__checkpoint_every=0)
        self.assertEqual(said.count("could not be written"), 4, said)
        self.assertIn("training is done, but its last state could not be saved", said)
        self.assertFails(3, "neither a checkpoint .* nor a run", "translate", "--model", self.run_dir)

    def test_a_signal_on_a_full_disk_says_that_nothing_was_saved(self):
        self.train(train__epochs=1)
        good = hashes(self.run_dir)
        self.fill()
        process = self.start(*self.arguments("--resume", "--log.format", "json", train__epochs=100000))
        self.event(process, "checkpoint_failed")
        process.terminate()
        said = process.communicate(timeout=LIMIT_S)[1]
        self.assertEqual(process.returncode, 130, said)
        self.assertIn(b"interrupted, and the last checkpoint could not be written; continue with: ", said)
        self.assertEqual(hashes(self.run_dir), good)


class ReadOnlyDisk(DiskTest):
    def remount(self, mode):
        subprocess.run(["mount", "-o", f"remount,{mode}", self.disk], check=True)

    def test_a_run_cannot_begin_there(self):
        self.remount("ro")
        self.assertFails(1, f"{self.run_dir}: .*Read-only file system", *self.arguments())

    def test_a_read_only_run_translates_but_does_not_resume(self):
        self.train(train__epochs=1)
        self.remount("ro")
        self.assertFails(1, f"{self.run_dir}/lock: Read-only file system", *self.arguments("--resume"))
        self.assertWhole()
        self.assertEqual(run("translate", "--model", self.run_dir, stdin="i know .\n").stdout.count("\n"), 1)


class Folder(TrainingTest):
    def setUp(self):
        super().setUp()
        self.options = {**self.options, "data.pairs": write(self.path("pairs.tsv"), PAIRS)}

    def test_a_file_in_its_place_is_named(self):
        file = write(self.path("file"), "mine\n")
        self.assertFails(1, f"{file}: is there and is not a folder", *self.arguments(run__dir=file))
        self.assertFails(1, f"{file}: is there and is not a folder", *self.arguments(run__dir=file + "/run"))
        self.assertEqual(read(file), b"mine\n")

    def test_a_folder_that_is_not_ours_is_named(self):
        locked = self.path("locked")
        os.mkdir(locked, mode=0o555)
        if os.access(locked, os.W_OK):
            self.skipTest("root may write everywhere")
        self.assertFails(1, f"{locked}/run: .*Permission denied", *self.arguments(run__dir=locked + "/run"))
        self.assertFails(1, f"{locked}/lock: Permission denied", *self.arguments(run__dir=locked))

    def test_an_empty_name_is_refused(self):
        self.assertFails(2, "run.dir is empty: give --run.dir FOLDER", *self.arguments(run__dir=""))

    def test_missing_parents_are_made(self):
        self.train(run__dir=self.path("a", "b", "run"))
        self.assertEqual(len(metrics(self.path("a", "b", "run"))), 2)

    def test_a_removed_folder_returns_with_the_next_checkpoint(self):
        folder, stolen = self.path("run"), self.path("stolen")
        process = self.start(*self.arguments("--progress", "plain", run__dir=folder, run__progress=None,
                                             train__epochs=50))
        process.stdout.readline()
        process.stdout.readline()  # an epoch is over
        os.rename(folder, stolen)
        said = process.communicate(timeout=LIMIT_S)[1].decode()
        self.assertEqual(process.returncode, 0, said)
        self.assertEqual(run("inspect", folder).returncode, 0)
        self.assertEqual(metrics(folder)[-1]["epoch"], 50)
        seen = [record["epoch"] for record in metrics(stolen) + metrics(folder)]
        self.assertEqual(seen, list(range(1, 51)))


if __name__ == "__main__":
    main()
