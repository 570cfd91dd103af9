#!/usr/bin/python3
"""Which checkpoint a queue serves, and what happens to requests while it changes: the test plays the workers."""

import json
import os
import shutil
import signal

from support.cluster import Process
from support.queue_peers import FETCH, Queue, Worker
from support.serving import ServeTest, main
from support.training import TINY


class Catalog(ServeTest):
    model_options = {**TINY, "train.epochs": 3, "train.checkpoint_every": 20, "train.keep": 1000}

    def run_of(self, name):
        """A run with the first checkpoint of the model, and the names of the others."""
        model = self.model()
        self.names = sorted(step for step in os.listdir(model) if step.startswith("step-"))
        self.run_folder = os.path.join(self.folder, name)
        os.makedirs(self.run_folder)
        self.add(0)
        return self.run_folder

    def add(self, index):
        name = self.names[index]
        partial = os.path.join(self.run_folder, f".{name}.partial")
        shutil.copytree(os.path.join(self.model(), name), partial)
        os.rename(partial, os.path.join(self.run_folder, name))
        for link in ("latest", "best"):
            new = os.path.join(self.run_folder, f".{link}.new")
            os.symlink(name, new)
            os.rename(new, os.path.join(self.run_folder, link))

    def serve(self, run):
        return Queue(self, **{"serve.model": run, "serve.check_every": 0.05})

    @staticmethod
    def opened(queue):
        """The folders of checkpoints in which the queue has files open."""
        folder = f"/proc/{queue.process.pid}/fd"
        files = [os.path.realpath(os.path.join(folder, fd)) for fd in os.listdir(folder)]
        return {os.path.dirname(file) for file in files if "/step-" in file}

    def current(self, queue, step):
        queue.wait_for(lambda: queue.process.happened("model_current", model=lambda text: f"step-{step} " in text))

    def step(self, index):
        return int(self.names[index].removeprefix("step-"))

    def test_requests_keep_the_checkpoint_with_which_they_began(self):
        queue = self.serve(self.run_of("run"))
        worker, client = queue.worker(plan=Worker.keep), queue.client()
        self.current(queue, self.step(0))
        old = client.request("old")
        queue.wait_for(lambda: worker.batches)
        self.add(1)
        self.current(queue, self.step(1))
        new = client.request("new")
        worker.plan = Worker.answer
        worker.answer(worker.batches[0])
        queue.answers(client, old, new)
        self.assertEqual([client.bodies[number]["step"] for number in (old, new)], [self.step(0), self.step(1)])
        queue.wait_for(lambda: worker.retired == [worker.batches[0]["version"]])

    def test_a_checkpoint_that_no_worker_can_load_is_not_served(self):
        queue = self.serve(self.run_of("run"))
        worker, client = queue.worker(), queue.client()
        self.current(queue, self.step(0))
        worker.loads = False
        self.add(1)
        queue.wait_for(lambda: len(worker.models) == 2)
        worker.loaded(max(worker.models), good=False)
        queue.wait_for(lambda: queue.process.happened("model_failed"))
        number = client.request("text")
        queue.answers(client, number)
        self.assertEqual(client.bodies[number]["step"], self.step(0))

    def test_a_worker_that_joins_later_tries_what_others_could_not_load(self):
        queue = self.serve(self.run_of("run"))
        full = queue.worker(loads=False)
        queue.wait_for(lambda: full.models)
        full.loaded(max(full.models), good=False)
        queue.wait_for(lambda: queue.process.happened("model_failed"))
        client = queue.client()
        queue.worker()
        self.current(queue, self.step(0))
        self.assertEqual(queue.answers(client, client.request("text")), [["TEXT"]])

    def test_checkpoints_between_the_one_that_loads_and_the_newest_are_passed_over(self):
        queue = self.serve(self.run_of("run"))
        worker = queue.worker(loads=False)
        queue.wait_for(lambda: worker.models)
        for index in range(1, len(self.names)):
            self.add(index)
            queue.wait_for(lambda: len(queue.process.happened("model_found")) > index)
        worker.loaded(max(worker.models))
        self.current(queue, self.step(0))
        queue.wait_for(lambda: len(worker.models) == 2)
        worker.loaded(max(worker.models))
        self.current(queue, self.step(-1))
        self.assertGreater(len(self.names), 3)
        self.assertEqual(len(worker.models), 2)
        newest = os.path.realpath(os.path.join(self.run_folder, self.names[-1]))
        queue.wait_for(lambda: self.opened(queue) == {newest})

    def test_workers_of_the_queue_fetch_and_compute_as_its_options_say(self):
        run, cache = self.run_of("run"), os.path.join(self.folder, "cache")
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            precision = "bf16" if "avx512_bf16" in file.read() else "fp32"
        queue = Queue(self, **{"serve.model": run, "serve.workers": 1, "serve.cache": cache,
                               "train.precision": precision})
        self.current(queue, self.step(0))
        shutil.rmtree(run)
        worker = queue.process.event("translator_joined")["process"]
        with open(f"/proc/{worker}/cmdline", encoding="utf-8") as file:
            self.assertIn(f"--train.precision\0{precision}\0", file.read())
        os.kill(worker, signal.SIGKILL)
        queue.wait_for(lambda: len(queue.process.happened("translator_loaded")) == 2)
        self.assertEqual(len(os.listdir(cache)), 1)

    def test_two_models_of_one_pair_of_languages_are_refused(self):
        run = self.run_of("run")
        process = Process("serve", "--model", run, "--model", os.path.join(run, self.names[0]), "--bind",
                          "tcp://127.0.0.1:0", "--workers", "0", name="queue")
        self.addCleanup(lambda: process.ended() or process.kill())
        self.assertEqual(process.end(), 2)
        self.assertIn("both translate from en to fr", process.log())

    def test_a_damaged_checkpoint_is_not_offered(self):
        queue = self.serve(self.run_of("run"))
        worker = queue.worker()
        self.current(queue, self.step(0))
        broken = os.path.join(self.folder, "broken")
        shutil.copytree(os.path.join(self.model(), self.names[1]), broken)
        with open(os.path.join(broken, "src.vocab"), "ab") as file:
            file.write(b"x")
        os.rename(broken, os.path.join(self.run_folder, self.names[1]))
        self.switch(self.names[1])
        queue.wait_for(lambda: queue.process.happened("model_unreadable"))
        queue.work(0.2)
        self.assertEqual(len(worker.models), 1)

    def test_files_are_fetched_by_their_hash_after_the_run_removed_them(self):
        queue = self.serve(self.run_of("run"))
        worker = queue.worker()
        self.current(queue, self.step(0))
        with open(os.path.join(self.run_folder, self.names[0], "manifest.json"), "rb") as file:
            manifest = file.read()
        shutil.rmtree(os.path.join(self.run_folder, self.names[0]))
        worker.say(FETCH, {"hash": next(iter(worker.models.values()))["manifest"], "offset": 10})
        body, data = queue.wait_for(lambda: getattr(worker, "piece", None))
        self.assertEqual((body["total"], data), (len(manifest), manifest[10:]))
        worker.piece = None
        worker.say(FETCH, {"hash": 12345, "offset": 0})
        body, data = queue.wait_for(lambda: worker.piece)
        self.assertEqual((body["total"], data), (0, b""))

    def switch(self, name):
        link = os.path.join(self.run_folder, ".best.new")
        os.symlink(name, link)
        os.rename(link, os.path.join(self.run_folder, "best"))

    def test_a_damaged_copy_does_not_replace_the_files_of_what_serves(self):
        queue = self.serve(self.run_of("run"))
        worker = queue.worker()
        self.current(queue, self.step(0))
        worker.loads = False
        copy = os.path.join(self.run_folder, "step-00009999")
        shutil.copytree(os.path.join(self.run_folder, self.names[0]), copy)
        with open(os.path.join(copy, "model.safetensors"), "r+b") as file:
            good = file.read(100)
            file.seek(0)
            file.write(bytes(100))
        with open(os.path.join(copy, "manifest.json"), encoding="ascii") as file:
            digest = int(json.load(file)["files"]["model.safetensors"]["xxh3"], 16)
        self.switch("step-00009999")
        queue.wait_for(lambda: len(queue.process.happened("model_found")) == 2)
        worker.say(FETCH, {"hash": digest, "offset": 0})
        _, data = queue.wait_for(lambda: getattr(worker, "piece", None))
        self.assertEqual(data[:100], good)

    def test_a_pipe_instead_of_a_file_does_not_stop_the_queue(self):
        queue = self.serve(self.run_of("run"))
        queue.worker()
        self.current(queue, self.step(0))
        os.mkdir(os.path.join(self.run_folder, "step-00009999"))
        os.mkfifo(os.path.join(self.run_folder, "step-00009999", "manifest.json"))
        self.switch("step-00009999")
        queue.wait_for(lambda: queue.process.happened("model_unreadable"), 20)
        client = queue.client()
        self.assertEqual(queue.answers(client, client.request("text")), [["TEXT"]])

    def test_work_of_a_checkpoint_that_died_with_its_workers_goes_to_the_current_one(self):
        queue = self.serve(self.run_of("run"))
        worker, client = queue.worker(plan=Worker.keep), queue.client()
        self.current(queue, self.step(0))
        number = client.request("first", "second")
        queue.wait_for(lambda: worker.batches)
        self.add(1)
        self.current(queue, self.step(1))
        other = queue.worker(loads=False)
        queue.wait_for(lambda: len(other.models) == 2)
        for version in other.models:
            other.loaded(version, good=version == max(other.models))
        queue.wait_for(lambda: len(queue.process.happened("translator_loaded", worker=other.number)) == 1)
        worker.close()
        self.assertEqual(queue.answers(client, number), [["FIRST", "SECOND"]])
        self.assertEqual(client.bodies[number]["step"], self.step(1))


if __name__ == "__main__":
    main()
