#!/usr/bin/env python3
"""No worker is declared dead on an overloaded machine: four processes for each core only count, besides the run.

Two minutes on one core, so that other tests have the others; in full ten minutes on all of them."""

import os
import subprocess
import sys

from support.cluster import FULL, ClusterTest, main

SECONDS, EACH = 600 if FULL else 120, 4


class Busy(ClusterTest):
    def setUp(self):
        super().setUp()
        cores = os.sched_getaffinity(0)
        self.addCleanup(os.sched_setaffinity, 0, cores)
        self.cores = cores if FULL else {max(cores)}
        os.sched_setaffinity(0, self.cores)  # what is started from here on inherits it
        for _ in range(EACH * len(self.cores)):
            self.burn()

    def burn(self):
        process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)

    def test_no_worker_is_declared_dead(self):
        cluster = self.cluster(train__epochs=100000, train__min_workers=2, cluster__timeout=None).start().listening()
        for _ in range(2):
            cluster.worker()
        cluster.active()
        self.assertIsNone(cluster.coordinator.awaits("worker_dead", SECONDS), cluster.log())
        status = cluster.status()
        self.assertEqual((status["lost"], status["workers"], status["generation"]), (0, 2, 1), cluster.log())
        self.say(f"{status['step']} steps in {SECONDS} s on {len(self.cores)} cores, none declared dead")


if __name__ == "__main__":
    main()
