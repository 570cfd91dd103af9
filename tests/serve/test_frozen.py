#!/usr/bin/python3
"""A worker is stopped past its lease, and then runs on. What it had was translated by another worker, its late result
reaches no client, and it joins again."""

import random
import signal
import threading

from support.serving import FULL, ServeTest, main

ROUNDS = 10 if FULL else 2
FROZEN_S = 1.5


class Frozen(ServeTest):
    def test_a_frozen_worker_delivers_no_late_result(self):
        drawn, sentences = random.Random(3), self.sentences(300)
        queue = self.queue("--model", self.model(), serve__lease=0.5, serve__heartbeat_timeout=400).start()
        workers = [queue.worker() for _ in range(2)]
        for worker in workers:
            queue.ready(worker)
        load = self.load(queue.endpoint, lambda number: [sentences[(3 * number + i) % 300] for i in range(4)],
                         window=24)
        for _ in range(ROUNDS):
            load.answered(load.count() + 50)
            victim = drawn.choice(workers)
            victim.send(signal.SIGSTOP)
            threading.Event().wait(FROZEN_S)  # what must not happen in this time cannot be awaited
            mark = victim.mark()
            victim.send(signal.SIGCONT)
            victim.event("joined", mark)
            load.answered(load.count() + 200)
        load.finish()
        self.nothing_went_wrong(load)
        seen = {}
        for sent in load.sent:
            for text, result in zip(sent.texts, sent.answers[0][1].texts):
                self.assertEqual(seen.setdefault(text, result), result)


if __name__ == "__main__":
    main()
