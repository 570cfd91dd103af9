#!/usr/bin/env python3
"""A worker is killed at the worst points. The others go on, at most one step is repeated, and the weights are the same.
$LSTMQ_FULL also judges the time: it is noticed within half a second, and the others train again within two."""

import signal

from support.cluster import FULL, ClusterTest, main

EPOCHS = 20
SEEN_S, AGAIN_S = 0.5, 2.0
STEPS = 30  # of an epoch: 480 rows in batches of 16


class WorkerKilled(ClusterTest):
    pairs_count = 533
    figures = []

    @classmethod
    def tearDownClass(cls):
        if cls.figures:
            seen, again = ([figure[i] for figure in cls.figures] for i in (0, 1))
            print(f"  {len(seen)} kills: declared dead after {1000 * max(seen):.0f} ms at most, active again after "
                  f"{1000 * max(again):.0f} ms at most (mean {1000 * sum(again) / len(again):.0f} ms)", flush=True)

    def kill(self, fault, checkpoint_every=0, victim=0, late=False):
        """One run of three workers, of which one dies at that point. `late`: the third joins when the others are
        active. The first waits for the others, so that the run does not end before."""
        cluster = self.cluster(train__epochs=EPOCHS, train__min_workers=2, cluster__settle=0 if late else 100,
                               train__checkpoint_every=checkpoint_every).start().listening()
        for number in range(3):
            if late and number == 2:
                cluster.workers[0].at_step(9)
            if number == (2 if late else 1):
                cluster.workers[0].send(signal.SIGSTOP)
            cluster.worker("--log.level", "debug", fault=fault if number == victim else None)
            # Ranks follow the order in which workers join.
            cluster.coordinator.event("worker_joined", worker=number + 1)
        cluster.workers[0].send(signal.SIGCONT)
        dying = cluster.workers[victim]
        self.assertEqual(dying.end(), -signal.SIGKILL, cluster.log())
        lost = cluster.coordinator.event("worker_dead", process=dying.pid)
        self.assertNotIn("was silent", lost["reason"], "its connection tells sooner")
        lost_s = lost["at_s"]
        work_s = cluster.active(lost["line_number"])
        begun = cluster.coordinator.event("generation_started", lost["line_number"])["step"]
        cluster.finished()
        self.assertEqual(cluster.hashes(), self.wanted_hashes(train__epochs=EPOCHS), cluster.log())
        if FULL:
            self.assertLessEqual(lost_s - dying.ended_s, SEEN_S, cluster.log())
            self.assertLessEqual(work_s - dying.ended_s, AGAIN_S, cluster.log())
        done = dying.steps()
        if done:
            # At most one step is repeated: the last one that it began if that was finished, otherwise the one before.
            last = done[-1] if fault.startswith("step") else done[-1] - 1
            self.assertGreaterEqual(begun, last, cluster.log())
        self.figures.append((lost_s - dying.ended_s, work_s - dying.ended_s))
        cluster.close()

    def cases(self, few, many):
        for number in many if FULL else few:
            yield number

    def test_in_the_all_reduce(self):
        for number in self.cases((1, 17, 31, 60, 97), range(1, 161, 4)):
            with self.subTest(number=number):
                self.kill(f"all-reduce:{number}", victim=number % 3)

    def test_with_a_step_done_and_not_reported(self):
        for number in self.cases((8, 20, 31, 60), range(1, 161, 4)):
            with self.subTest(number=number):
                self.kill(f"step:{number}", victim=number % 3)

    def test_in_the_rendezvous(self):
        for point in ("rendezvous-listen", "rendezvous-connect"):
            for victim in self.cases((0, 1, 2), 20 * (0, 1, 2)):
                with self.subTest(point=point, victim=victim):
                    self.kill(point, victim=victim)

    def test_in_the_broadcast_of_a_state(self):
        for victim in self.cases((0, 2), 20 * (0, 2)):
            with self.subTest(victim=victim):
                self.kill("sync", victim=victim, late=True)

    def test_in_the_upload_of_a_checkpoint(self):
        for number in self.cases((1, 2, 3), 5 * (1, 2, 3, 4)):
            with self.subTest(number=number):
                self.kill(f"upload:{number}", checkpoint_every=20)


if __name__ == "__main__":
    main()
