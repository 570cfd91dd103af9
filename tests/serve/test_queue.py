#!/usr/bin/python3
"""A queue with workers and clients that the test plays: what is answered, once, and in which order."""

import signal
import unittest

from support.cluster import main
from support.queue_peers import BUSY, ENDING, EXPIRED, INVALID, NO_WORKER, Queue, Worker


class QueueTest(unittest.TestCase):
    def queue(self, *flags, **options):
        return Queue(self, *flags, **options)


class Answers(QueueTest):
    def test_each_text_has_its_answer_in_order(self):
        queue = self.queue()
        client, _ = queue.client(), queue.worker()
        texts = ["one", "", "two\nlines", "one", "nul \0 and é", " "]
        number = client.request(*texts)
        self.assertEqual(queue.answers(client, number), [[text.upper() for text in texts]])

    def test_a_request_before_the_first_worker_is_answered_by_it(self):
        queue = self.queue()
        client = queue.client()
        number = client.request("early")
        queue.worker()
        self.assertEqual(queue.answers(client, number), [["EARLY"]])

    def test_an_unknown_pair_of_languages_is_refused(self):
        queue = self.queue()
        client, _ = queue.client(), queue.worker()
        number = client.request("text", source="xx", target="yy")
        self.assertEqual(queue.answers(client, number)[0]["reason"], INVALID)

    def test_identical_sentences_in_flight_are_computed_once(self):
        queue = self.queue()
        worker = queue.worker(plan=Worker.keep)
        clients = [queue.client() for _ in range(3)]
        numbers = [client.request("the same", "own " + str(i)) for i, client in enumerate(clients)]
        queue.wait_for(lambda: sum(len(batch["texts"]) for batch in worker.batches) >= 2)
        worker.plan = Worker.answer
        for batch in worker.batches:
            worker.answer(batch)
        for client, number in zip(clients, numbers):
            queue.answers(client, number)
        texts = [text for batch in worker.batches for text in batch["texts"]]
        self.assertEqual(sorted(texts), ["own 0", "own 1", "own 2", "the same"])

    def test_a_repeated_request_is_computed_once(self):
        queue = self.queue()
        worker = queue.worker(plan=Worker.keep)
        client = queue.client()
        number = client.request("again")
        queue.wait_for(lambda: worker.batches)
        client.reconnect()
        client.request("again", number=number)
        queue.work(0.1)
        worker.answer(worker.batches[0])
        self.assertEqual(queue.answers(client, number), [["AGAIN"]])
        client.answers.clear()
        client.reconnect()
        client.request("again", number=number)
        self.assertEqual(queue.answers(client, number), [["AGAIN"]])
        self.assertEqual((len(worker.batches), client.doubled), (1, 0))


class Limits(QueueTest):
    def test_a_full_queue_is_busy_at_once_with_a_time_to_retry(self):
        queue = self.queue(**{"serve.queue": 10, "serve.max_batch": 2})
        worker, client = queue.worker(plan=Worker.keep), queue.client()
        numbers = [client.request(f"text {i}") for i in range(40)]
        queue.wait_for(lambda: len(client.answers) >= 26)
        busy = [answer for answer in client.answers.values() if isinstance(answer, dict)]
        self.assertEqual({answer["reason"] for answer in busy}, {BUSY})
        self.assertGreater(min(answer["retry_ms"] for answer in busy), 0)
        worker.plan = Worker.answer
        for batch in worker.batches:
            worker.answer(batch)
        queue.answers(client, *numbers)
        self.assertEqual(len(numbers), len(busy) + sum(isinstance(a, list) for a in client.answers.values()))

    def test_a_deadline_fires_although_every_worker_is_stuck(self):
        queue = self.queue()
        worker, client = queue.worker(plan=Worker.keep), queue.client()
        client.request("first")
        queue.wait_for(lambda: worker.batches)
        number = client.request("second", seconds=0.2)
        self.assertEqual(queue.answers(client, number)[0]["reason"], EXPIRED)
        self.assertGreaterEqual(client.took_s[number], 0.2)

    def test_a_cancelled_request_is_not_computed(self):
        queue = self.queue()
        worker, client = queue.worker(plan=Worker.keep), queue.client()
        numbers = [client.request("text 0")]
        queue.wait_for(lambda: worker.batches)
        numbers += [client.request(f"text {i}") for i in (1, 2)]
        queue.wait_for(lambda: queue.status()["waiting"] == 2)
        client.cancel(numbers[1])
        queue.wait_for(lambda: queue.status()["waiting"] == 1)
        worker.plan = Worker.answer
        worker.answer(worker.batches[0])
        queue.answers(client, numbers[0], numbers[2])
        self.assertNotIn("text 1", [text for batch in worker.batches for text in batch["texts"]])
        self.assertNotIn(numbers[1], client.answers)

    def test_the_work_of_a_client_that_left_is_withdrawn(self):
        queue = self.queue()
        worker, client, other = queue.worker(plan=Worker.keep), queue.client(), queue.client()
        first = other.request("first")
        queue.wait_for(lambda: worker.batches)
        client.request("waits")
        queue.wait_for(lambda: queue.status()["waiting"] == 1)
        client.close()
        queue.wait_for(lambda: queue.status()["waiting"] == 0)
        worker.answer(worker.batches[0])
        queue.answers(other, first)

    def test_without_a_worker_requests_are_refused_after_a_while(self):
        queue = self.queue()
        client = queue.client()

        def refused():
            number = client.request("text", seconds=1)
            return queue.answers(client, number)[0]["reason"] == NO_WORKER

        queue.wait_for(refused)


class Drain(QueueTest):
    def test_accepted_work_is_answered_and_new_work_refused(self):
        queue = self.queue()
        worker, client = queue.worker(plan=Worker.keep), queue.client()
        number = client.request("accepted")
        queue.wait_for(lambda: worker.batches)
        queue.process.send(signal.SIGTERM)
        queue.process.event("draining")
        late = client.request("late")
        self.assertEqual(queue.answers(client, late)[0]["reason"], ENDING)
        worker.answer(worker.batches[0])
        self.assertEqual(queue.answers(client, number), [["ACCEPTED"]])
        self.assertEqual(queue.process.end(), 0)


if __name__ == "__main__":
    main()
