#!/usr/bin/python3
"""What a queue does when its workers leave, die, freeze or lie: the test plays them."""

import os
import resource
import signal
import unittest

from support.cluster import main
from support.queue_peers import Queue, Worker


class PoolTest(unittest.TestCase):
    def queue(self, **options):
        return Queue(self, **options)

    def lent(self, queue, client, *texts):
        """A worker that was lent these texts and keeps them, and the number of the request."""
        worker = queue.worker(plan=Worker.keep)
        queue.wait_for(lambda: worker.models)
        number = client.request(*texts)
        queue.wait_for(lambda: worker.batches)
        return worker, number


class Unfinished(PoolTest):
    def test_a_worker_that_disconnects_loses_its_batch(self):
        queue = self.queue()
        client = queue.client()
        worker, number = self.lent(queue, client, "text")
        worker.close()
        queue.worker()
        self.assertEqual(queue.answers(client, number), [["TEXT"]])
        self.assertEqual(queue.process.event("translator_dead")["worker"], worker.number)

    def test_a_worker_that_says_goodbye_loses_its_batch_without_suspicion(self):
        queue = self.queue()
        client = queue.client()
        texts = [f"text {i}" for i in range(20)]
        worker, number = self.lent(queue, client, *texts)
        worker.goodbye()
        other = queue.worker()
        queue.answers(client, number)
        self.assertEqual([len(batch["texts"]) for batch in other.batches], [20])
        queue.process.event("translator_left", worker=worker.number)

    def test_a_silent_worker_loses_its_batch_and_its_late_result_is_dropped(self):
        queue = self.queue(**{"serve.heartbeat_timeout": 300, "serve.heartbeat": 20})
        client = queue.client()
        worker, number = self.lent(queue, client, "text")
        worker.answers_pings = False
        queue.wait_for(lambda: queue.process.happened("translator_dead", worker=worker.number))
        other = queue.worker()
        queue.answers(client, number)
        worker.answer(worker.batches[0], ["late"])
        queue.wait_for(lambda: queue.process.happened("late_result"))
        queue.wait_for(lambda: worker.errors)
        self.assertEqual((client.answers[number], client.doubled), (["TEXT"], 0))
        worker.plan, worker.answers_pings = Worker.answer, True
        worker.join()
        other.goodbye()
        queue.process.event("translator_left", worker=other.number)
        self.assertEqual(queue.answers(client, client.request("back")), [["BACK"]])

    def test_a_lease_ends_although_the_worker_answers_pings(self):
        queue = self.queue(**{"serve.lease": 0.3, "serve.heartbeat": 20})
        client = queue.client()
        worker, number = self.lent(queue, client, "text")
        queue.wait_for(lambda: queue.process.happened("translator_dead", worker=worker.number))
        queue.worker()
        self.assertEqual(queue.answers(client, number), [["TEXT"]])

    def test_a_worker_that_breaks_the_protocol_loses_its_batch(self):
        queue = self.queue()
        client = queue.client()
        worker, number = self.lent(queue, client, "one", "two")
        worker.answer(worker.batches[0], ["too few"])
        queue.wait_for(lambda: worker.errors)
        queue.worker()
        self.assertEqual(queue.answers(client, number), [["ONE", "TWO"]])


class Poison(PoolTest):
    def test_a_text_that_kills_three_workers_fails_alone(self):
        """Workers that are lent the text die, and others take their place."""
        queue = self.queue()
        client, died = queue.client(), []

        def plan(worker, batch):
            if "poison" not in batch["texts"]:
                worker.answer(batch)
                return
            died.append(len(batch["texts"]))
            worker.close()
            queue.peers.remove(worker)
            queue.worker(plan=plan)

        texts = [f"text {i}" for i in range(40)] + ["poison"] + [f"text {i}" for i in range(40, 60)]
        queue.worker(plan=plan)
        number = client.request(*texts)
        answers = queue.answers(client, number)[0]
        self.assertEqual([i for i, answer in enumerate(answers) if answer is None], [40])
        self.assertEqual(answers[:40] + answers[41:], [text.upper() for text in texts if text != "poison"])
        self.assertEqual((len(died), died[-1]), (3, 1), died)
        self.assertEqual(queue.process.event("sentence_refused")["deaths"], 3)
        self.assertEqual(queue.answers(client, client.request("text 0")), [["TEXT 0"]])


class Embedded(PoolTest):
    def test_without_descriptors_a_worker_is_started_again_later(self):
        """The queue has no descriptor left to watch its new worker with."""
        queue = Queue(self, **{"serve.workers": 1})
        worker = queue.process.event("translator_joined")["process"]
        folder = f"/proc/{queue.process.pid}/fd"
        watches = [int(fd) for fd in os.listdir(folder) if "pidfd" in os.readlink(os.path.join(folder, fd))]
        limits = resource.prlimit(queue.process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(queue.process.pid, resource.RLIMIT_NOFILE, (min(watches), limits[1]))
        os.kill(worker, signal.SIGKILL)
        queue.process.event("embedded_delayed")
        resource.prlimit(queue.process.pid, resource.RLIMIT_NOFILE, limits)
        client = queue.client()
        self.assertEqual(queue.answers(client, client.request("text")), [["text"]])
        self.assertEqual(len(queue.process.happened("translator_joined")), 2)

    def test_a_frozen_worker_is_replaced(self):
        queue = Queue(self, **{"serve.workers": 1, "serve.heartbeat_timeout": 1500})
        os.kill(queue.process.event("translator_joined")["process"], signal.SIGSTOP)
        self.assertEqual(queue.process.event("embedded_ended")["signal"], signal.SIGKILL)
        client = queue.client()
        self.assertEqual(queue.answers(client, client.request("text")), [["text"]])


class Credit(PoolTest):
    def test_no_batch_is_sent_beyond_the_credit(self):
        queue = self.queue(**{"serve.max_batch": 1})
        worker, client = queue.worker(plan=Worker.keep), queue.client()
        numbers = [client.request(f"text {i}") for i in range(6)]
        queue.wait_for(lambda: worker.batches)
        worker.answer(worker.batches[0], credit=False)
        queue.wait_for(lambda: len(worker.batches) == 2)
        worker.answer(worker.batches[1], credit=False)
        queue.answers(client, *numbers[:2])
        queue.work(0.1)
        self.assertEqual(len(worker.batches), 2)
        worker.plan = Worker.answer
        worker.say(6, {"units": 1})
        queue.answers(client, *numbers)

    def test_an_idle_worker_gets_what_is_there_and_a_busy_one_full_batches(self):
        queue = self.queue(**{"serve.max_batch": 8})
        client = queue.client()
        worker, first = self.lent(queue, client, "first")
        numbers = [client.request(f"text {i}") for i in range(16)]
        queue.wait_for(lambda: queue.status()["waiting"] == 16)
        worker.plan = Worker.answer
        worker.answer(worker.batches[0])
        queue.answers(client, first, *numbers)
        self.assertEqual([len(batch["texts"]) for batch in worker.batches], [1, 8, 8])


if __name__ == "__main__":
    main()
