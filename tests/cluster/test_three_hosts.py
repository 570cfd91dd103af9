#!/usr/bin/python3
"""Three hosts, as network namespaces with keys, and a bad line between them: delayed, throttled, cut, and partitioned
for ten seconds. The run ends with the weights of one process.

A partitioned host reaches no other. Delay, throttling and cuts affect the messages between workers and coordinator,
through the relay. Workers tell each other their own addresses, so the ring does not use the relay."""

import os
import subprocess

from support.cluster import BINARY, FULL, Cluster, ClusterTest, Relay, main
from support.peers import Keys

PARTED_S = 10
SILENT_MS = 1500 if FULL else 5000  # cluster.heartbeat_timeout
SEEN_S = 2.0  # in full
EPOCHS = 100


def ip(*words, check=True):
    return subprocess.run(["ip", *words], check=check, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode


class Hosts:
    """A router, and hosts named by a letter, each with a cable to it: 10.77.N.1, the router's end 10.77.N.254."""

    def __init__(self, letters):
        self.mark, self.letters = f"lq{os.getpid() % 1000000}", letters
        try:
            self.make()
        except Exception:
            self.remove()
            raise

    def make(self):
        ip("netns", "add", self.space("router"))
        self.inside("router", "link", "set", "lo", "up")
        for number, letter in enumerate(self.letters):
            own, far = f"{self.mark}{letter}", f"{self.mark}{letter}r"
            ip("netns", "add", self.space(letter))
            ip(
                "link", "add", own, "netns", self.space(letter), "type", "veth", "peer", "name", far, "netns",
                self.space("router"))
            for space, name, last in ((letter, own, 1), ("router", far, 254)):
                self.inside(space, "address", "add", f"10.77.{number}.{last}/24", "dev", name)
                self.inside(space, "link", "set", name, "up")
            self.inside(letter, "link", "set", "lo", "up")
            self.inside(letter, "route", "add", "default", "via", f"10.77.{number}.254")
        subprocess.run(self.command("router", "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"), check=True)

    def space(self, name):
        return f"{self.mark}-{name}"

    def inside(self, name, *words):
        ip("-n", self.space(name), *words)

    def command(self, name, *words):
        return ["ip", "netns", "exec", self.space(name), *words]

    def address(self, letter, last=1):
        return f"10.77.{self.letters.index(letter)}.{last}"

    def cable(self, letter, state):
        self.inside("router", "link", "set", f"{self.mark}{letter}r", state)

    def remove(self):
        for name in ("router", *self.letters):
            ip("netns", "delete", self.space(name), check=False)


class DistantCluster(Cluster):
    """A cluster in which each process has a host."""

    def __init__(self, test, pairs, hosts, **options):
        super().__init__(test, pairs, **options)
        self.hosts, self.keys, self.relay = hosts, Keys(os.path.join(self.folder, "keys")), None
        self.keys.make("server", allowed=False)
        self.endpoint = f"tcp://{hosts.address('c')}:0"

    def _process(self, *arguments, binary=BINARY, host="c", **more):
        words = self.hosts.command(host, binary, *arguments)
        return super()._process(*words[1:], binary=words[0], **more)

    def begin(self):
        self.start(*self.keys.of_server(), binary=BINARY).listening()
        self.relay = Relay(self.test, self.endpoint, "0.0.0.0", self.hosts.command("router"))
        return self

    def distant(self, host):
        self.keys.make(host)
        self.endpoint = f"tcp://{self.hosts.address(host, 254)}:{self.relay.port}"
        return self.worker(*self.keys.of_peer(host), binary=BINARY, host=host)


class ThreeHosts(ClusterTest):
    def setUp(self):
        if os.geteuid() != 0:
            self.skipTest("network namespaces need root")
        try:
            self.hosts = Hosts("cabd")
        except (OSError, subprocess.CalledProcessError) as failure:
            self.skipTest(f"network namespaces cannot be made here: {failure}")
        self.addCleanup(self.hosts.remove)
        super().setUp()

    def part(self, cluster, workers):
        """Partition these hosts. Returns how far the coordinator's log was."""
        mark = cluster.coordinator.mark()
        for host in workers:
            self.hosts.cable(host, "down")
            held_s = cluster.relay.say("hold", self.hosts.address(host))
        for worker in workers.values():
            lost_s = cluster.declared_dead(worker, "was silent", mark)
            if FULL:
                self.assertLessEqual(lost_s - held_s, SEEN_S, cluster.log())
        self.say(f"{' and '.join(workers)} cut off: declared dead after {lost_s - held_s:.2f} s")
        return mark

    def join(self, cluster, workers):
        """End the partition; the workers join as new ones."""
        numbers = {host: worker.happened("joined")[-1]["worker"] for host, worker in workers.items()}
        marks = {host: worker.mark() for host, worker in workers.items()}
        mark = cluster.coordinator.mark()
        for host in workers:
            self.hosts.cable(host, "up")
        cluster.relay.say("release")
        for host, worker in workers.items():
            self.assertGreater(worker.number(marks[host]), numbers[host])
        cluster.generation(3, mark)

    def test_a_bad_line_changes_no_bit(self):
        wanted = self.train(train__epochs=EPOCHS, train__threads=1)
        cluster = DistantCluster(self, self.pairs, self.hosts, train__epochs=EPOCHS, train__min_workers=2,
                                 cluster__timeout=SILENT_MS).begin()
        cluster.relay.say("delay", "5")
        workers = {host: cluster.distant(host) for host in "ab"}
        cluster.generation(2)
        workers["d"] = cluster.distant("d")
        cluster.generation(3)
        cluster.relay.say("rate", "300000")
        mark = cluster.coordinator.mark()
        cluster.relay.say("cut")
        cluster.generation(3, mark)
        one, two = ({host: workers[host] for host in hosts} for hosts in ("d", "bd"))
        mark = self.part(cluster, one)
        cluster.generation(2, mark)
        cluster.active(mark)
        self.join(cluster, one)
        mark = self.part(cluster, two)
        cluster.coordinator.event("waiting_for_workers", mark)
        self.assertIsNone(
            cluster.coordinator.awaits("generation_started", PARTED_S, mark), "no worker was there to train")
        self.join(cluster, two)
        cluster.relay.say("rate", "0")
        cluster.finished()
        self.assertEqual(cluster.hashes(), wanted)


if __name__ == "__main__":
    main()
