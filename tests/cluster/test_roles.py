#!/usr/bin/python3
"""A coordinator lets an administrator's key read the status, and not train."""

import os
import re
import subprocess

from support.cluster import BINARY, LIMIT_S, ClusterTest, main
from support.peers import Keys


class Roles(ClusterTest):
    def test_an_admin_key_reads_status_and_does_not_train(self):
        keys = Keys(os.path.join(self.folder, "keys"))
        keys.make("server", allowed=False)
        keys.make("boss", role="admin")
        keys.make("hand")
        cluster = self.cluster(train__epochs=2, train__min_workers=1)
        cluster.start(*keys.of_server()).listening()
        boss = cluster.worker(*keys.of_peer("boss"))
        self.assertEqual(boss.end(), 1, cluster.log())
        boss.event("failed", reason=re.compile("--role train"))
        cluster.coordinator.event("worker_refused")
        cluster.workers.clear()
        told = subprocess.run(
            [BINARY, "status", "--connect", cluster.endpoint, *keys.of_peer("boss")], capture_output=True, text=True,
            timeout=LIMIT_S)
        self.assertEqual(told.returncode, 0, told.stderr)
        cluster.worker(*keys.of_peer("hand"))
        cluster.finished()


if __name__ == "__main__":
    main()
