#!/usr/bin/python3
"""A worker far away is given a state that takes its line longer than a worker may be silent, and is not taken for dead meanwhile."""

import os
import subprocess
import sys

from cluster import BINARY, HERE, ClusterTest, main, words

RATE = 2_000_000  # bytes a second, either way
MODEL = {"model__embed": 64, "model__hidden": 256, "train__min_workers": 1}


class SlowLine(ClusterTest):
    def relay(self, target):
        host, port = target.removeprefix("tcp://").rsplit(":", 1)
        process = subprocess.Popen([sys.executable, os.path.join(HERE, "relay.py"), "127.0.0.1", host, port],
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

        def close():
            process.kill()
            process.wait()
            process.stdin.close()
            process.stdout.close()

        self.addCleanup(close)
        found = int(process.stdout.readline())
        process.stdin.write(f"rate {RATE}\n")
        process.stdin.flush()
        self.assertEqual(process.stdout.readline(), "done\n")
        return f"tcp://127.0.0.1:{found}"

    def test_a_state_takes_its_time(self):
        cluster = self.cluster(train__epochs=1, **MODEL)
        options = {key: value for key, value in cluster.options.items() if key != "train.min_workers"}
        subprocess.run([BINARY, "train", *words({**options, "train.threads": 1, "run.progress": "none"})], check=True,
                       stderr=subprocess.DEVNULL)
        size = sum(os.path.getsize(os.path.join(cluster.run, "latest", name)) for name in ("model.safetensors",
                                                                                            "optimizer.safetensors"))
        self.assertGreater(size / RATE, 3.0, "longer than cluster.timeout, or nothing is shown")
        cluster.options["train.epochs"] = 2
        cluster.start("--resume", binary=BINARY).listening()
        cluster.endpoint = self.relay(cluster.endpoint)
        cluster.worker(binary=BINARY)
        began_s, _ = cluster.coordinator.expect("generation 1: 1 worker")
        work_s, _ = cluster.coordinator.expect("generation 1 is at work", limit=60)
        self.say(f"a state of {size / 1e6:.1f} MB over {RATE / 1e6:.0f} MB/s took {work_s - began_s:.1f} s")
        cluster.finished(limit=60)
        self.assertIsNone(cluster.coordinator.find("given up"), cluster.log())


if __name__ == "__main__":
    main()
