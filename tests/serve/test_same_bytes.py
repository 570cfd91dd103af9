#!/usr/bin/python3
"""A sentence gets the same bytes alone and in batches of every size, on any of three workers. $LSTMQ_FULL means 10,000
lines instead of 400."""

import random

from support.serving import FULL, ServeTest, main

LINES = 10_000 if FULL else 400
SIZES = 256 if FULL else 64
WORKERS = 3


class SameBytes(ServeTest):
    def lines(self):
        """Different sentences of the grammar, with other words between theirs, so that lengths differ too."""
        drawn, sentences = random.Random(1), self.sentences(1200)
        found = set()
        while len(found) < LINES:
            parts = [drawn.choice(sentences) for _ in range(1 + drawn.randrange(2))]
            found.add(" ".join(parts)[:drawn.randrange(10, 80)].strip())
        return sorted(found)

    def test_alone_and_in_batches(self):
        drawn, lines = random.Random(2), self.lines()
        queue = self.queue("--model", self.model(), serve__max_batch=SIZES).start()
        for _ in range(WORKERS):
            queue.worker()
        for worker in queue.workers:
            queue.ready(worker)
        alone = self.load(queue.endpoint, lambda number: [lines[number % LINES]], window=1)
        alone.answered(LINES)
        wanted = {sent.texts[0]: sent.answers[0][1].texts[0] for sent in alone.finish().sent if sent.answers}
        self.nothing_went_wrong(alone)
        order, requests = lines * 2, []
        drawn.shuffle(order)
        while order:
            size = min(len(order), 1 + drawn.randrange(SIZES))
            requests.append([order.pop() for _ in range(size)])
        load = self.load(queue.endpoint, lambda number: requests[number % len(requests)], window=6)
        load.answered(len(requests))
        load.finish()
        self.nothing_went_wrong(load)
        self.assertEqual(load.wrong(wanted.get), [])
        self.say(f"{LINES} lines alone and in {len(requests)} requests of up to {SIZES}: the same")


if __name__ == "__main__":
    main()
