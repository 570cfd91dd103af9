#!/usr/bin/python3
"""A queue is killed under load and started again on its port. Clients repeat their requests by their numbers. Each gets
one answer, and the right one."""

import random
import threading

from support.serving import FULL, ServeTest, main, share

KILLS = 30 if FULL else 3
WORKERS, CLIENTS = 2, 3


class BrokerKilled(ServeTest):
    def test_clients_of_a_killed_queue_get_one_right_answer(self):
        drawn, sentences = random.Random(9), self.sentences(300)
        queue = self.queue("--model", self.model()).start()
        for _ in range(WORKERS):
            queue.ready(queue.worker())
        alone = self.load(queue.endpoint, lambda number: [sentences[number % len(sentences)]], window=1)
        alone.answered(len(sentences))
        wanted = {sent.texts[0]: sent.answers[0][1].texts[0] for sent in alone.finish().sent if sent.answers}
        loads = [self.load(queue.endpoint, lambda number, c=c: [sentences[(number * 7 + c * 50 + i) % len(sentences)]
                                                                for i in range(1 + number % 4)], window=12)
                 for c in range(CLIENTS)]
        for _ in range(KILLS):
            for load in loads:
                load.answered(load.count() + 40)
            threading.Event().wait(0.1 * drawn.random())
            queue.process.kill()
            queue.start()
        for load in loads:
            load.answered(load.count() + 40)
            load.finish()
            self.nothing_went_wrong(load)
            self.assertEqual(load.wrong(wanted.get), [])
        times = sorted(time for load in loads for time in load.times())
        self.say(f"{KILLS} kills, {len(times)} requests, {sum(load.repeated for load in loads)} repeated: the slowest "
                 f"took {times[-1]:.2f} s, p50 {share(times, 0.5) * 1e3:.1f} ms")


if __name__ == "__main__":
    main()
