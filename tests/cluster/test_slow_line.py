#!/usr/bin/python3
"""A state takes longer over a slow line than the heartbeat timeout, and the worker is not declared dead."""

import os
import subprocess

from support.cluster import BINARY, FULL, ClusterTest, Relay, main, words

RATE = 2_000_000  # bytes a second, either way
TIMEOUT_S = 1.5  # cluster.heartbeat_timeout
MODEL = {"model__embed": 64, "model__hidden": 256, "train__min_workers": 1}


class SlowLine(ClusterTest):
    def test_a_state_takes_its_time(self):
        cluster = self.cluster(train__epochs=1, **MODEL)
        options = {key: value for key, value in cluster.options.items() if key != "train.min_workers"}
        subprocess.run([BINARY, "train", *words({**options, "train.threads": 1, "run.progress": "none"})], check=True,
                       stderr=subprocess.DEVNULL)
        size = sum(os.path.getsize(os.path.join(cluster.run, "latest", name)) for name in ("model.safetensors",
                                                                                            "optimizer.safetensors"))
        cluster.options.update({"train.epochs": 2, "cluster.heartbeat_timeout": int(1000 * TIMEOUT_S)})
        cluster.start("--resume", binary=BINARY).listening()
        relay = Relay(self, cluster.endpoint)
        relay.say("rate", RATE)
        cluster.endpoint = relay.endpoint
        cluster.worker(binary=BINARY)
        began_s = cluster.coordinator.event("generation_started", generation=1, workers=1)["at_s"]
        work_s = cluster.coordinator.event("generation_active", generation=1)["at_s"]
        self.say(f"a state of {size / 1e6:.1f} MB over {RATE / 1e6:.0f} MB/s took {work_s - began_s:.1f} s")
        self.assertGreater(work_s - began_s, 2 * TIMEOUT_S, "or nothing is shown")
        if FULL:
            self.assertLess(work_s - began_s, 2 * size / RATE + 1, "what the line can bear is not made use of")
        cluster.finished()
        self.assertEqual(cluster.coordinator.happened("worker_dead"), [], cluster.log())


if __name__ == "__main__":
    main()
