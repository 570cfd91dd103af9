#!/usr/bin/env python3
"""Training that diverges ends the run: no other worker repeats the epoch, and each is dismissed."""

import os

from support.cluster import SOURCE, Cluster, ClusterTest, main

PAIRS = os.path.join(SOURCE, "tests/cases/pairs200.tsv")


class Diverged(ClusterTest):
    def diverges(self, text, **options):
        """A coordinator and two workers; parameters grow by a factor of 999 in each step."""
        # float32 ends at step 13 or 14
        cluster = Cluster(self, PAIRS, data__valid_fraction=0.02, model__embed=16, model__hidden=16, train__epochs=40,
                          train__lr=1000, train__clip=0, train__optimizer="sgd", train__weight_decay=1,
                          train__min_workers=2, cluster__settle=0, **options)
        cluster.start().listening()
        for _ in range(2):
            cluster.worker("--precision", options.get("train__precision", "fp32"))
        coordinator = cluster.coordinator
        self.assertEqual(coordinator.end(), 1, cluster.log())
        reason = coordinator.event("failed", status=1)["reason"]
        self.assertRegex(reason, rf"\Aepoch 1: {text}; lower train.lr or set train.clip\Z", cluster.log())
        self.assertEqual(len(coordinator.happened("generation_started")), 1, cluster.log())
        self.assertEqual(len(coordinator.happened("run_ended", result="failed")), 1, cluster.log())
        self.assertEqual(coordinator.happened("worker_dead"), [], cluster.log())
        ends = sorted(worker.end() for worker in cluster.workers)
        self.assertIn(ends, ([0, 1], [1, 1]), cluster.log())  # dismissed, or the one that met the numbers

    def test_where_validation_meets_it(self):
        self.diverges("validation loss is not finite", train__batch=16)

    def test_where_a_step_meets_it(self):
        self.diverges("step 14: .* not finite", train__batch=14)

    def test_where_sums_are_of_bf16(self):
        self.diverges("step 14: .* not finite", train__batch=14, train__reduce="bf16", train__precision="bf16")


if __name__ == "__main__":
    main()
