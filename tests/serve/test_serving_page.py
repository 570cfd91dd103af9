#!/usr/bin/python3
"""docs/serving.md, followed as it stands: the queue answers curl, the command line, C and Python."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import unittest
import urllib.request

from support.cluster import Process
from support.program import BINARY, LIMIT_S, SOURCE, main
from support.training import TINY, new_folder, sample_pairs, words, write

PAGE = os.path.join(SOURCE, "docs", "serving.md")
CLIENT = os.path.join(SOURCE, "proto", "client")


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return str(listener.getsockname()[1])


class Page(unittest.TestCase):
    """The page's first section, in a folder with a run where quickstart leaves it. Ports are free ones."""

    @classmethod
    def setUpClass(cls):
        cls.folder = new_folder()
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        pairs = write(os.path.join(cls.folder, "pairs.tsv"), sample_pairs(500))
        train = {**TINY, "data.pairs": pairs, "run.dir": os.path.join(cls.folder, "runs", "quickstart")}
        subprocess.run([BINARY, "train", *words(train)], check=True, stderr=subprocess.DEVNULL, timeout=LIMIT_S)
        with open(PAGE, encoding="utf-8") as file:
            text = file.read().split("## In two lines")[1].split("\n## ")[0]
        cls.ports = ports = {"5000": free_port(), "5758": free_port()}
        cls.blocks = re.findall(r"^```(\w+)\n(.*?)^```", re.sub(r"\b(5000|5758)\b", lambda m: ports[m[0]], text),
                                re.M | re.S)
        serve = cls.block("sh", "lstmq serve").splitlines()[0].removesuffix(" &").split()
        queue = Process(*serve[1:], "--bind", f"tcp://127.0.0.1:{ports['5758']}", folder=cls.folder)
        cls.addClassCleanup(queue.kill)
        queue.event("model_current")

    @classmethod
    def block(cls, language, part):
        return next(text for name, text in cls.blocks if name == language and part in text)

    def shell(self, text):
        environment = {**os.environ, "PATH": f"{os.path.dirname(os.path.abspath(BINARY))}:{os.environ['PATH']}"}
        result = subprocess.run(["bash", "-ec", text], cwd=self.folder, env=environment, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, encoding="utf-8", timeout=LIMIT_S, check=False)
        self.assertEqual(result.returncode, 0, result.stderr)
        return result.stdout

    @unittest.skipUnless(shutil.which("curl"), "no curl here")
    def test_curl(self):
        answer = json.loads(self.shell(self.block("sh", "lstmq serve").splitlines()[1]))
        self.assertEqual(list(answer), ["translatedText"])

    def test_the_page(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ports['5000']}/", timeout=LIMIT_S) as answer:
            self.assertIn("text/html", answer.headers["Content-Type"])
            self.assertIn(b"<title>", answer.read())

    def test_the_command_line(self):
        write(os.path.join(self.folder, "lines.txt"), ["i am happy .", "", "how are you ?"])
        self.assertEqual(len(self.shell(self.block("sh", "lstmq translate")).splitlines()), 3)

    @unittest.skipUnless(shutil.which("cc"), "no cc here")
    def test_c(self):
        write(os.path.join(self.folder, "main.c"), self.block("c", "lstmq_open"))
        library = os.path.join(os.path.dirname(os.path.abspath(BINARY)), "proto", "client")
        printed = self.shell(f"cc -Wall -Wextra -Werror main.c -o main -I{CLIENT} -L{library} -Wl,-rpath,{library} "
                             "-llstmq-client && ./main")
        self.assertEqual(len(printed.splitlines()), 1)

    def test_python(self):
        write(os.path.join(self.folder, "main.py"), self.block("python", "lstmq.Client"))
        printed = self.shell(f"PYTHONPATH={CLIENT}/python/src {sys.executable} main.py")
        self.assertEqual(len(printed.splitlines()), 2)


if __name__ == "__main__":
    main()
