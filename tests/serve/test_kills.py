#!/usr/bin/python3
"""Workers of a queue are killed at random under load. No request is lost, none is answered twice, and what a dead
worker had is answered soon. $LSTMQ_FULL means 1,000 kills instead of 20, and judges the time."""

import random
import threading

from support.serving import FULL, ServeTest, main, share

KILLS = 1000 if FULL else 20
WORKERS = 3
SOON_S = 0.15
REDELIVERED_S = 2.0
LIMIT_S = 1800


class Kills(ServeTest):
    def test_killed_workers_lose_and_double_nothing(self):
        drawn = random.Random(5)
        run, sentences = self.model(), self.sentences(300)
        queue = self.queue("--model", run).start()
        for _ in range(WORKERS):
            queue.worker()
        for worker in queue.workers:
            queue.ready(worker)
        alone = self.load(queue.endpoint, lambda number: [sentences[number % len(sentences)]], window=1)
        alone.answered(len(sentences))
        wanted = {sent.texts[0]: sent.answers[0][1].texts[0] for sent in alone.finish().sent if sent.answers}
        load = self.load(queue.endpoint, lambda number: [sentences[(7 * number + i) % len(sentences)]
                                                         for i in range(1 + number % 3)], window=24)
        load.answered(50)
        for _ in range(KILLS):
            threading.Event().wait(SOON_S * drawn.random())
            victim = drawn.choice(queue.workers[-WORKERS:])
            queue.workers.remove(victim)
            victim.kill()
            queue.worker()
            mark = load.count()
            load.answered(mark + 30, LIMIT_S)
        load.finish(LIMIT_S)
        times = load.times()
        self.say(f"{KILLS} kills, {len(load.sent)} requests: p50 {share(times, 0.5) * 1e3:.1f} ms, "
                 f"p99 {share(times, 0.99) * 1e3:.1f} ms, the slowest {times[-1] * 1e3:.0f} ms")
        self.nothing_went_wrong(load)
        self.assertEqual(load.wrong(wanted.get), [])
        if FULL:
            self.assertLessEqual(times[-1], REDELIVERED_S)


if __name__ == "__main__":
    main()
