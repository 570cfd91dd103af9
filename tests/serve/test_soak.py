#!/usr/bin/python3
"""Twenty minutes of load over ZeroMQ and HTTP, with clients that come and go and workers that are killed: memory does
not grow and no descriptor is lost. Without $LSTMQ_FULL it is skipped."""

import json
import threading
import time
import urllib.request

from support.serving import FULL, ServeTest, main

SECONDS, WARM_S, LOOK_S = 1200, 300, 5
GROWTH = 1 << 20  # bytes an hour


def slope(points):
    """Bytes a second, by least squares."""
    n, mean_x, mean_y = len(points), sum(x for x, _ in points) / len(points), sum(y for _, y in points) / len(points)
    return (sum((x - mean_x) * (y - mean_y) for x, y in points) / sum((x - mean_x) ** 2 for x, _ in points)
            if n > 1 else 0.0)


class Soak(ServeTest):
    def test_memory_and_descriptors(self):
        if not FULL:
            self.skipTest("$LSTMQ_FULL is not set: it takes 20 minutes")
        sentences = self.sentences(300)
        queue = self.queue("--model", self.model(), serve__workers=2, http__bind="127.0.0.1:0").start()
        over = threading.Event()

        def over_http():
            number = 0
            while not over.is_set():
                number += 1
                body = json.dumps({"q": sentences[number % 300], "source": "en", "target": "fr"}).encode()
                request = urllib.request.Request(f"http://{queue.http}/translate", body,
                                                 {"Content-Type": "application/json"})
                with urllib.request.urlopen(request, timeout=60) as answer:
                    json.load(answer)
                over.wait(0.02)

        def come_and_go():
            while not over.is_set():
                load = self.load(queue.endpoint, lambda number: [sentences[number % 300]], window=4)
                load.answered(50)
                load.finish()
                over.wait(0.2)

        threads = [threading.Thread(target=one, daemon=True) for one in (over_http, come_and_go)]
        for thread in threads:
            thread.start()
        began_s, points, files = time.monotonic(), [], []
        while (now := time.monotonic() - began_s) < SECONDS:
            time.sleep(LOOK_S)
            if now >= WARM_S:
                points.append((now, queue.process.memory()))
                files.append(queue.descriptors())
        over.set()
        for thread in threads:
            thread.join(60)
        grown = 3600 * slope(points)
        self.say(f"memory grows by {grown / (1 << 20):.2f} MiB an hour, from {points[0][1] / (1 << 20):.1f} MiB; "
                 f"descriptors {min(files)} to {max(files)}")
        self.assertLess(grown, GROWTH)
        self.assertLessEqual(sum(files[-10:]), sum(files[:10]) + 10)


if __name__ == "__main__":
    main()
