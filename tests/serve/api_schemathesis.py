#!/usr/bin/python3
"""schemathesis, with all of its checks, finds no fault in what /spec promises."""

import os
import subprocess
import unittest

from support.api import Server
from support.cluster import main
from support.packages import install

PACKAGE = "schemathesis==4.32.5"
EXAMPLES = int(os.environ.get("LSTMQ_EXAMPLES", "300"))


class Schemathesis(unittest.TestCase):
    def test_all_checks(self):
        python = install("schemathesis", PACKAGE)
        server = Server(self.addCleanup).ready()
        result = subprocess.run(
            [os.path.join(os.path.dirname(python), "schemathesis"), "run", server.url + "/spec", "--checks", "all",
             "--max-examples", str(EXAMPLES), "--seed", "1", "--no-color"], stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, encoding="utf-8", timeout=3600, check=False)
        self.assertEqual(result.returncode, 0, result.stdout)


if __name__ == "__main__":
    main()
