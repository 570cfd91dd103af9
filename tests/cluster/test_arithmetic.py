#!/usr/bin/env python3
"""Workers of one arithmetic compute the same bits at any vector length; exact reduction refuses other workers."""

import re
import unittest

from support.cluster import ClusterTest, main

with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
    CPU = set(file.read().split())
FMA = {"avx2", "fma"} <= CPU
AVX512 = FMA and {"avx512f", "avx512bw", "avx512dq", "avx512vl"} <= CPU


@unittest.skipUnless(FMA, "this processor has one arithmetic only")
class Arithmetic(ClusterTest):
    def worker(self, cluster, isa):
        return cluster.worker(environment={"LSTMQ_ISA": isa})

    @unittest.skipUnless(AVX512, "this processor has no AVX-512: one vector length only")
    def test_two_vector_lengths_give_the_weights_of_one(self):
        cluster = self.cluster(train__epochs=2, train__min_workers=2).start().listening()
        self.worker(cluster, "avx2")
        self.worker(cluster, "avx512")
        cluster.finished()
        self.assertEqual(cluster.hashes(), self.wanted_hashes(train__epochs=2))
        self.assertEqual(cluster.coordinator.happened("workers_differ"), [], cluster.log())

    def test_another_arithmetic_is_refused_in_exact_reduction(self):
        cluster = self.cluster(train__epochs=1, train__min_workers=2).start().listening()
        self.worker(cluster, "avx2").number()
        other = self.worker(cluster, "scalar")
        cluster.coordinator.event("worker_refused", reason=re.compile("one arithmetic.*fp32-plain.*fp32-fma"))
        self.assertEqual(other.end(), 1, cluster.log())

    def test_a_mixture_is_a_warning_in_fast_reduction(self):
        cluster = self.cluster(train__epochs=1, train__min_workers=2, train__reduce="fp32").start().listening()
        self.worker(cluster, "avx2").number()
        self.worker(cluster, "scalar")
        cluster.coordinator.event("workers_differ", arithmetic="fp32-fma", other_arithmetic=re.compile("^fp32-plain-"))


if __name__ == "__main__":
    main()
