#!/usr/bin/env python3
"""Workers freeze, leave, return and join together, while others leave: no process waits without end, and the weights
are the same."""

import glob
import os
import signal
import socket
import time

from support.cluster import FULL, LIMIT_S, ClusterTest, Relay, main

EPOCHS = 120
# cluster.heartbeat_timeout of tests in which a worker is silent. In full, where the delay is judged, it is the default.
SILENT_MS = 1500 if FULL else 3000
SEEN_S = 2.0
LARGE = {"model__embed": 64, "model__hidden": 512}  # a state of 29 MB, more than sockets hold
RATE = 6_000_000  # bytes a second, of a line on which that takes its time


class Members(ClusterTest):
    def begin(self, workers=3, least=2, **options):
        cluster = self.cluster(train__epochs=EPOCHS, train__min_workers=least, cluster__settle=100,
                               **options).start().listening()
        for _ in range(workers):
            cluster.worker("--log.level", "debug")
        return cluster

    def resume(self, cluster):
        """Start the coordinator again, and two workers that hold nothing."""
        cluster.workers.clear()
        cluster.start("--resume").listening()
        cluster.worker(), cluster.worker()

    def uploading(self):
        """A worker alone behind a slow line, which is sending the state of its first step."""
        cluster = self.cluster(train__epochs=EPOCHS, train__min_workers=1, train__checkpoint_every=1,
                               cluster__timeout=SILENT_MS, **LARGE)
        cluster.start().listening()
        relay = Relay(self, cluster.endpoint)
        relay.say("rate", RATE)
        cluster.endpoint = relay.endpoint
        worker = cluster.worker()
        deadline, there = time.monotonic() + LIMIT_S, 0
        while there < RATE / 4 and time.monotonic() < deadline:  # no event marks the first bytes
            time.sleep(0.01)
            paths = glob.glob(os.path.join(cluster.run, ".step-00000001.partial", "*.safetensors"))
            there = sum(map(os.path.getsize, paths))
        self.assertGreaterEqual(there, RATE / 4, cluster.log())
        return cluster, worker

    def finish(self, cluster):
        cluster.finished()
        self.assertEqual(cluster.hashes(), self.wanted_hashes(train__epochs=EPOCHS), cluster.log())

    # ---- frozen, or cut off ----

    def seen(self, silent_s, lost_s):
        if FULL:
            self.assertLessEqual(lost_s - silent_s, SEEN_S)

    def test_a_frozen_worker_that_wakes_joins_as_a_new_one(self):
        cluster = self.begin(cluster__timeout=SILENT_MS)
        frozen, woken = cluster.workers[1], 0
        for step in (20, 900):
            frozen.at_step(step)
            number, since, woken = frozen.number(woken), cluster.coordinator.mark(), frozen.mark()
            stopped_s = frozen.send(signal.SIGSTOP)
            lost_s = cluster.declared_dead(frozen, "was silent", since)
            self.seen(stopped_s, lost_s)
            cluster.active(since)
            frozen.send(signal.SIGCONT)
            self.assertGreater(frozen.number(woken), number, "as a new one")
            frozen.event("generation_entered", woken, workers=3)
            self.say(f"frozen: declared dead after {lost_s - stopped_s:.2f} s")
        self.finish(cluster)

    def test_others_go_on_without_a_cut_off_worker_that_rejoins(self):
        cluster = self.begin(workers=2, cluster__timeout=SILENT_MS)
        relay, near = Relay(self, cluster.endpoint), cluster.endpoint
        cluster.endpoint = relay.endpoint
        parted = cluster.worker("--log.level", "debug")
        cluster.endpoint = near
        cluster.generation(3)
        parted.at_step()
        number, since, heard = parted.number(), cluster.coordinator.mark(), parted.mark()
        held_s = relay.say("hold", "127.0.0.1")
        lost_s = cluster.declared_dead(parted, "was silent", since)
        self.seen(held_s, lost_s)
        cluster.generation(2, since)
        cluster.active(since)
        cluster.workers[0].at_step(since=cluster.workers[0].mark())
        relay.say("release")
        self.assertGreater(parted.number(heard), number, "as a new one")
        cluster.generation(3, since)
        self.say(f"cut off: declared dead after {lost_s - held_s:.2f} s")
        self.finish(cluster)

    def test_a_worker_that_wakes_before_the_limit_stays_a_member(self):
        cluster = self.begin(cluster__timeout=1500 if FULL else 20000)
        frozen = cluster.workers[1]
        frozen.at_step(50)
        frozen.send(signal.SIGSTOP)
        time.sleep(1)  # what is tested is that a second is not too long
        frozen.send(signal.SIGCONT)
        self.finish(cluster)
        self.assertEqual(cluster.coordinator.happened("worker_dead"), [], cluster.log())

    def test_in_float_sums_woken_workers_take_the_runs_present_state(self):
        cluster = self.begin(workers=2, least=1, train__reduce="fp32", cluster__timeout=SILENT_MS)
        cluster.workers[1].at_step(30)
        since, sleepers = cluster.coordinator.mark(), list(cluster.workers)
        slept_in = cluster.coordinator.happened("generation_active")[-1]["generation"]
        for worker in sleepers:
            worker.send(signal.SIGSTOP)
        for worker in sleepers:
            cluster.declared_dead(worker, "was silent", since)
        cluster.worker("--log.level", "debug").at_step(10)
        marks = [worker.mark() for worker in sleepers]
        for worker in sleepers:
            worker.send(signal.SIGCONT)
        for worker, mark in zip(sleepers, marks):
            cluster.coordinator.event("state_outdated", since, worker=worker.number(mark),
                                      generation=slept_in)
        cluster.generation(3, since)
        cluster.finished()

    # ---- too few ----

    def test_below_the_least_number_the_run_waits_and_says_so(self):
        cluster = self.begin(workers=2)
        victim = cluster.workers[0]
        victim.at_step(30)
        since = cluster.coordinator.mark()
        victim.kill()
        cluster.coordinator.event("waiting_for_workers", since, workers=1, least=2)
        self.assertEqual(cluster.status()["phase"], "waiting")
        step = cluster.status()["step"]
        cluster.worker()
        self.assertGreaterEqual(cluster.generation(2, since), step)
        self.finish(cluster)

    def test_all_die_and_others_go_on_from_the_last_checkpoint(self):
        cluster = self.begin(workers=2)
        cluster.workers[0].at_step(100)
        for worker in cluster.workers:
            worker.send(signal.SIGKILL)
        for worker in list(cluster.workers):
            worker.end()
        cluster.worker(), cluster.worker()
        self.finish(cluster)

    # ---- coming while others go ----

    def test_one_joins_while_another_dies(self):
        for step in (10, 45, 90):
            with self.subTest(step=step):
                cluster = self.begin()
                cluster.workers[2].at_step(step)
                came = cluster.coordinator.mark()
                cluster.worker()
                cluster.coordinator.event("worker_joined", came, worker=4)
                cluster.workers[0].kill()
                self.finish(cluster)

    def test_one_dies_while_it_joins(self):
        cluster = self.begin()
        cluster.workers[2].at_step(10)
        joining = cluster.worker()
        cluster.coordinator.event("worker_joined", worker=4)
        joining.kill()
        self.finish(cluster)

    def test_two_join_at_once(self):
        cluster = self.begin(workers=2)
        cluster.workers[1].at_step(20)
        since = cluster.coordinator.mark()
        cluster.worker(), cluster.worker()
        cluster.generation(4, since)
        self.finish(cluster)

    def test_all_but_one_die_together(self):
        cluster = self.begin(workers=4, least=1)
        cluster.workers[3].at_step(40)
        for worker in cluster.workers[:3]:
            worker.send(signal.SIGKILL)
        self.finish(cluster)

    def fixed_ports(self, count):
        """Ports of this host, free a moment ago."""
        held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
        ports = [one.getsockname()[1] for one in held]
        for one in held:
            one.close()
        return ports

    def test_workers_keep_their_chosen_ports_across_generations(self):
        ports = self.fixed_ports(3)
        cluster = self.begin(workers=0)
        for port in ports[:2]:
            cluster.worker("--log.level", "debug", "--worker.bind", f"127.0.0.1:{port}")
        cluster.workers[1].at_step(20)
        since = cluster.coordinator.mark()
        cluster.worker("--worker.bind", f"127.0.0.1:{ports[2]}")
        cluster.generation(3, since)
        cluster.active(since)
        since = cluster.coordinator.mark()
        cluster.workers[0].send(signal.SIGTERM)
        cluster.generation(2, since)
        self.finish(cluster)
        for worker in cluster.workers:
            self.assertEqual(len(worker.happened("joined")), 1, worker.log())

    # ---- leaving ----

    def test_an_interrupted_worker_leaves_and_loses_no_step(self):
        cluster = self.begin()
        leaving = cluster.workers[1]
        leaving.at_step(30)
        since = cluster.coordinator.mark()
        leaving.send(signal.SIGTERM)
        self.assertEqual(leaving.end(), 0, cluster.log())
        cluster.coordinator.event("worker_left", since, worker=leaving.number())
        computed = leaving.steps()[-1]
        self.assertEqual(cluster.generation(2, since), computed + 1, cluster.log())
        self.finish(cluster)

    def test_the_last_workers_to_leave_save_all_steps(self):
        cluster = self.begin(workers=2)
        cluster.workers[1].at_step(50)
        for worker in cluster.workers:
            worker.send(signal.SIGTERM)
        for worker in cluster.workers:
            self.assertEqual(worker.end(), 0, cluster.log())
        ended = cluster.coordinator.event("generation_ended")
        cluster.coordinator.event("waiting_for_workers", ended["line_number"], workers=0, least=2)
        computed = max(worker.steps()[-1] for worker in cluster.workers)
        since = cluster.coordinator.mark()
        cluster.worker(), cluster.worker()
        self.assertEqual(cluster.generation(2, since), computed + 1, cluster.log())
        self.finish(cluster)

    def test_workers_leave_one_by_one_and_no_step_is_lost(self):
        cluster = self.begin(workers=2)
        for first_by, last_by in ((signal.SIGTERM, signal.SIGTERM), (signal.SIGKILL, signal.SIGTERM),
                                  (signal.SIGTERM, signal.SIGKILL)):
            first, last = cluster.workers[-2:]
            last.at_step()
            last.at_step(since=last.mark())
            since = cluster.coordinator.mark()
            for worker, number in ((first, first_by), (last, last_by)):
                worker.send(number)
                self.assertEqual(worker.end(), 0 if number == signal.SIGTERM else -number, cluster.log())
                if worker is first:
                    cluster.coordinator.event("waiting_for_workers", since, workers=1, least=2)
            # Where the first was killed, the last of them may name a step that was dropped.
            done = last.steps()[-1] + (0 if first_by == signal.SIGKILL else 1)
            cluster.worker("--log.level", "debug"), cluster.worker("--log.level", "debug")
            self.assertGreaterEqual(cluster.generation(2, since), done, cluster.log())
        self.finish(cluster)
        self.assertEqual(cluster.coordinator.happened("step_back"), [], cluster.log())

    def test_a_signal_in_a_save_lets_the_worker_send_all_of_it(self):
        cluster, worker = self.uploading()
        told_s = worker.send(signal.SIGTERM)
        self.assertEqual(worker.end(), 0, cluster.log())
        self.say(f"told to end while it sends a checkpoint: gone after {time.monotonic() - told_s:.1f} s")
        cluster.coordinator.event("worker_left", worker=1, steps=1)
        self.assertEqual(os.readlink(os.path.join(cluster.run, "latest")), "step-00000001")
        self.assertEqual(cluster.coordinator.happened("worker_dead"), [], cluster.log())

    def test_a_second_signal_ends_a_worker_in_the_middle_of_a_save(self):
        cluster, worker = self.uploading()
        worker.send(signal.SIGTERM)
        deadline = time.monotonic() + LIMIT_S
        while not worker.ended() and time.monotonic() < deadline:  # signals at the heels of the first mean the same
            worker.send(signal.SIGTERM)
            time.sleep(0.05)
        self.assertEqual(worker.end(), -signal.SIGTERM, cluster.log())
        self.assertFalse(os.path.lexists(os.path.join(cluster.run, "latest")), cluster.log())

    def test_signals_to_all_at_once_save_the_run(self):
        cluster = self.begin()
        cluster.workers[1].at_step(50)
        for process in [*cluster.workers, cluster.coordinator]:
            process.send(signal.SIGTERM)
        cluster.finished(status=130)
        computed = max(worker.steps()[-1] for worker in cluster.workers)
        self.resume(cluster)
        self.assertEqual(cluster.generation(2), computed + 1, cluster.log())
        self.finish(cluster)

    def test_below_min_workers_an_interrupted_run_is_still_saved(self):
        cluster = self.begin(workers=2)
        cluster.workers[1].at_step(50)
        since = cluster.coordinator.mark()
        cluster.workers[0].kill()
        cluster.coordinator.event("waiting_for_workers", since, workers=1, least=2)
        cluster.coordinator.send(signal.SIGTERM)
        cluster.finished(status=130)
        computed = cluster.workers[1].steps()[-1]
        self.resume(cluster)
        self.assertGreaterEqual(cluster.generation(2), computed, cluster.log())
        self.finish(cluster)

    def test_an_interrupted_coordinator_saves_and_can_be_resumed(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            with self.subTest(signal=number):
                cluster = self.begin()
                cluster.workers[1].at_step(50)
                cluster.coordinator.send(number)
                cluster.finished(status=130)
                words = cluster.coordinator.event("interrupted")["reason"].split("continue with: lstmq ")[1].split()
                self.assertEqual(words, ["coordinator", "--run.dir", cluster.run, "--resume"])
                cluster.workers.clear()
                cluster.start_again()
                cluster.listening()
                for _ in range(2):
                    cluster.worker()
                self.finish(cluster)


if __name__ == "__main__":
    main()
