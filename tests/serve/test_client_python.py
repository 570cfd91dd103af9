#!/usr/bin/python3
"""The Python package: what it returns and raises, what it sends again, and what it never sends."""

import asyncio
import glob
import importlib.util
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest

from support.program import SOURCE, main

PACKAGE = os.path.join(SOURCE, "proto", "client", "python")
sys.path.insert(0, os.path.join(PACKAGE, "src"))

try:
    import zmq

    import lstmq
    from lstmq import protocol
    from support.answering_queue import (BUSY, ENDING, ERROR, EXPIRED, FAILED, INVALID, NO_WORKER, AnsweringQueue, Made,
                                         Raw, Refusal, header, translated)
except ImportError:
    raise SystemExit(77) from None
import msgpack

DEAD = "tcp://127.0.0.1:9"


class ClientTest(unittest.TestCase):
    def queue(self, answer=None, **more):
        queue = AnsweringQueue(answer, **more) if answer else AnsweringQueue(**more)
        self.addCleanup(queue.stop)
        return queue

    def client(self, queue, **more):
        client = lstmq.Client(queue if isinstance(queue, str) else queue.endpoint, **more)
        self.addCleanup(client.close)
        return client


class Answers(ClientTest):
    def test_a_text_gives_a_text_and_a_list_gives_a_list(self):
        client = self.client(self.queue())
        self.assertEqual(client.translate("abc"), "cba")
        self.assertEqual(client.translate(["abc", "", "é\0x"]), ["cba", "", "x\0é"])
        self.assertEqual(client.translate(("ab",)), ["ba"])
        self.assertEqual(client.translate([]), [])
        self.assertEqual(client.translate(""), "")

    def test_another_thread_cannot_use_a_client_that_translates(self):
        queue = self.queue(lambda request: None if request.texts == ["slow"] else ["other"])
        client, answers = self.client(queue), []
        slow = threading.Thread(target=lambda: answers.append(client.translate("slow")))
        slow.start()
        queue.wait(lambda queue: queue.requests)
        with self.assertRaisesRegex(lstmq.UsageError, "each thread a client"):
            client.translate("text")
        queue.answer = lambda request: ["done"]
        queue.stop()
        queue.start()
        slow.join()
        self.assertEqual((answers, client.translate("text")), (["done"], "done"))

    def test_a_client_does_not_survive_a_fork(self):
        client = self.client(self.queue())
        client.translate("abc")
        child = os.fork()
        if child == 0:
            signal.alarm(30)
            try:
                client.translate("abc")
            except lstmq.UsageError:
                os._exit(7)
            os._exit(1)
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 7)
        self.assertEqual(client.translate("abc"), "cba")

    def test_a_long_list_is_sent_in_parts(self):
        queue = self.queue()
        texts = [f"text {number}" for number in range(10_000)]
        self.assertEqual(self.client(queue).translate(texts), [text[::-1] for text in texts])
        self.assertGreater(len(queue.requests), 9)
        self.assertEqual(len({request.request for request in queue.requests}), len(queue.requests))

    def test_details_and_alternatives(self):
        queue = self.queue(lambda request: [
            Made("un", "deux", "trois", scores=(-0.5, -1.5, -2.5), unknown=("zeppelin", "café"), cut=3), Made("x")])
        one, other = self.client(queue).translate(["a", "b"], details=True, alternatives=2)
        self.assertEqual((one.text, one.score, str(one)), ("un", -0.5, "un"))
        self.assertEqual([(way.text, way.score) for way in one.alternatives], [("deux", -1.5), ("trois", -2.5)])
        self.assertEqual((one.unknown, one.unknown_words, one.cut), (2, ("zeppelin", "café"), 3))
        self.assertEqual((one.source_tokens, one.target_tokens), (3, 4))
        self.assertEqual((one.model, one.step), ("en-fr step-7 0123456789abcdef", 7))
        self.assertEqual((other.text, other.alternatives, other.unknown_words), ("x", (), ()))
        self.assertEqual((queue.requests[0].details, queue.requests[0].alternatives), (1, 2))

    def test_languages_and_deadlines_are_sent(self):
        queue = self.queue()
        client = self.client(queue, source="en", deadline=20)
        client.translate("a", target="fr")
        client.translate("a", source="de", target="fr", deadline=0.5)
        first, second = queue.requests
        self.assertEqual((first.source, first.target, second.source), ("en", "fr", "de"))
        self.assertTrue(15_000 < first.deadline_ms <= 20_000 and second.deadline_ms <= 500)

    def test_a_text_that_failed_is_named_and_the_others_are_there(self):
        client = self.client(self.queue(lambda request: ["x", None, "z"]))
        with self.assertRaisesRegex(lstmq.FailedError, "could not be translated: 2 of 3") as caught:
            client.translate(["a", "b", "c"])
        self.assertEqual([one.text for one in caught.exception.translations], ["x", None, "z"])
        self.assertEqual([one.text for one in client.translate(["a", "b", "c"], details=True)], ["x", None, "z"])

    def test_large_first_request_waits_for_the_queues_trust(self):
        queue = self.queue()
        text = "x" * 3_000_000
        self.assertEqual(self.client(queue).translate(text), text)
        self.assertEqual([(request.request, request.size) for request in queue.requests], [(0, 0), (1, 3_000_000)])


class Errors(ClientTest):
    def test_each_refusal_has_its_class(self):
        for reason, kind in ((BUSY, lstmq.BusyError), (EXPIRED, lstmq.ExpiredError), (INVALID, lstmq.InvalidError),
                             (NO_WORKER, lstmq.NoWorkerError), (ENDING, lstmq.EndingError),
                             (FAILED, lstmq.FailedError)):
            client = self.client(self.queue(lambda request, reason=reason: Refusal(reason, 0, "why not")))
            with self.assertRaisesRegex(kind, "^why not$") as caught:
                client.translate("a")
            self.assertIsNone(caught.exception.retry_after)
            self.assertIsInstance(caught.exception, lstmq.Error)
        self.assertTrue(issubclass(lstmq.ExpiredError, TimeoutError))

    def test_busy_for_longer_than_the_deadline_is_raised_at_once(self):
        client = self.client(self.queue(lambda request: Refusal(BUSY, 60_000)))
        began = time.monotonic()
        with self.assertRaises(lstmq.BusyError) as caught:
            client.translate("a", deadline=30)
        self.assertEqual(caught.exception.retry_after, 60)
        self.assertLess(time.monotonic() - began, 20)

    def test_a_queue_without_a_word_expires(self):
        queue = self.queue()
        client = self.client(queue)
        self.assertEqual(client.translate("ab"), "ba")
        queue.answer = lambda request: None
        with self.assertRaisesRegex(lstmq.ExpiredError, "no answer from tcp://.* within 0.2 s"):
            client.translate("a", deadline=0.2)

    def test_nothing_listens(self):
        with self.assertRaisesRegex(lstmq.QueueConnectionError, "cannot be reached.*lstmq serve"):
            self.client(DEAD, connect_timeout=0.3).translate("a")

    def test_what_breaks_the_protocol_is_an_error(self):
        head, body, *bulk = translated(1, ["x"])
        bad = [Raw(head, body), Raw(head, body, *bulk[:-1]), Raw(head, body, bulk[0] + b"x", *bulk[1:]), Raw(b"", b""),
               Raw(head, b"\xc1", *bulk), Raw(head, body, bulk[0], bulk[1], b"xy", bulk[3]),
               Raw(msgpack.packb({"v": [2, 0], "t": 25}), body, *bulk),
               Raw(header(ERROR), msgpack.packb({"code": 5, "text": "it does not fit"}))]
        for frames in bad:
            client = self.client(self.queue(lambda request, frames=frames: frames))
            with self.assertRaises(lstmq.QueueConnectionError):
                client.translate("a")
        client = self.client(self.queue(lambda request: ["x", "y"]))
        with self.assertRaisesRegex(lstmq.QueueConnectionError, "2 translations of 1 texts"):
            client.translate("a")

    def test_wrong_arguments_are_usage_errors(self):
        client = self.client(DEAD)
        for arguments in ({"texts": "a", "deadline": -1}, {"texts": "a", "alternatives": 17}, {"texts": [1]},
                          {"texts": "\ud800"}, {"texts": "a", "source": "e n"}, {"texts": "x" * (9 << 20)}):
            with self.subTest(arguments), self.assertRaises(lstmq.UsageError):
                client.translate(**arguments)
        for arguments in ({"endpoint": "127.0.0.1:1"}, {"key": "x"}, {"key": "/none", "server": "/none"}):
            with self.subTest(arguments), self.assertRaises(lstmq.UsageError):
                lstmq.Client(**arguments)
        client.close()
        with self.assertRaises(lstmq.UsageError):
            client.translate("a")


class Tries(ClientTest):
    def test_busy_is_tried_again_after_the_queues_time(self):
        refusals = [Refusal(BUSY, 50), Refusal(ENDING, 50), Refusal(NO_WORKER, 50)]
        queue = self.queue(lambda request: refusals.pop(0) if refusals else ["x"])
        self.assertEqual(self.client(queue).translate("a"), "x")
        self.assertEqual([request.request for request in queue.requests], [1] * 4)
        self.assertEqual(len({request.client for request in queue.requests}), 1)
        times = [request.at_s for request in queue.requests]
        self.assertTrue(all(later - sooner >= 0.045 for sooner, later in zip(times, times[1:])), times)
        left = [request.deadline_ms for request in queue.requests]
        self.assertEqual(left, sorted(left, reverse=True))

    def test_without_retry_busy_is_raised(self):
        with self.assertRaises(lstmq.BusyError) as caught:
            self.client(self.queue(lambda request: Refusal(BUSY, 50)), retry=False).translate("a")
        self.assertEqual(caught.exception.retry_after, 0.05)

    def test_a_restarted_queue_gets_the_same_request(self):
        queue = self.queue(lambda request: None)

        def restart():
            queue.wait(lambda queue: queue.requests)
            queue.stop()
            queue.answer = lambda request: ["x"]
            queue.start()

        thread = threading.Thread(target=restart)
        thread.start()
        self.assertEqual(self.client(queue).translate("a", deadline=120), "x")
        thread.join()
        first, again = queue.requests
        self.assertEqual((first.client, first.request), (again.client, again.request))
        self.assertLess(again.deadline_ms, first.deadline_ms)

    def test_a_queue_that_starts_later_is_reached(self):
        queue = self.queue()
        queue.stop()
        client = self.client(queue, connect_timeout=120)
        threading.Timer(0.2, queue.start).start()
        self.assertEqual(client.translate("ab"), "ba")

    def test_an_interrupted_call_is_withdrawn(self):
        queue = self.queue(lambda request: None)
        client = self.client(queue)

        def interrupt():
            queue.wait(lambda queue: queue.requests)
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

        before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have had it ignored
        self.addCleanup(signal.signal, signal.SIGINT, before)
        threading.Thread(target=interrupt).start()
        with self.assertRaises(KeyboardInterrupt):
            client.translate("a", deadline=600)
        queue.wait(lambda queue: queue.cancelled == [1])
        queue.answer = lambda request: ["x"]
        self.assertEqual(client.translate("b"), "x")


class Asynchronous(ClientTest):
    def run_with(self, queue, scene, **more):
        async def run():
            async with lstmq.AsyncClient(queue if isinstance(queue, str) else queue.endpoint, **more) as client:
                return await scene(client)

        return asyncio.run(asyncio.wait_for(run(), 180))

    def test_many_at_a_time(self):
        queue = self.queue()

        async def scene(client):
            return await asyncio.gather(*(client.translate(f"text {number}") for number in range(500)))

        self.assertEqual(self.run_with(queue, scene), [f"text {number}"[::-1] for number in range(500)])

    def test_lists_details_and_errors(self):
        queue = self.queue(lambda request: Refusal(INVALID, 0, "no") if request.source == "xx" else
                           [Made(text, unknown=("w",)) for text in request.texts])

        async def scene(client):
            self.assertEqual(await client.translate(["a", "b"]), ["a", "b"])
            self.assertEqual((await client.translate("a", details=True)).unknown_words, ("w",))
            self.assertEqual(await client.translate([]), [])
            with self.assertRaisesRegex(lstmq.InvalidError, "no"):
                await client.translate("a", source="xx")

        self.run_with(queue, scene)

    def test_busy_and_a_restart_are_bridged(self):
        refusals = [Refusal(BUSY, 20)] * 5
        queue = self.queue(lambda request: refusals.pop() if refusals else None)

        async def scene(client):
            answers = asyncio.gather(*(client.translate(f"{number}", deadline=120) for number in range(20)))
            await asyncio.get_running_loop().run_in_executor(
                None, lambda: queue.wait(lambda queue: len(queue.requests) >= 25))
            queue.stop()
            queue.answer = lambda request: [text + "!" for text in request.texts]
            queue.start()
            return await answers

        self.assertEqual(self.run_with(queue, scene), [f"{number}!" for number in range(20)])

    def test_a_cancelled_task_withdraws_its_request(self):
        queue = self.queue(lambda request: None if request.texts == ["slow"] else request.texts)

        async def scene(client):
            task = asyncio.ensure_future(client.translate("slow"))
            while not queue.requests:
                await asyncio.sleep(0.01)
            task.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await task
            self.assertEqual(await client.translate("b"), "b")

        self.run_with(queue, scene)
        self.assertEqual(queue.cancelled, [1])

    def test_no_queue_and_no_answer(self):
        async def scene(client):
            with self.assertRaises(lstmq.QueueConnectionError):
                await client.translate("a")

        self.run_with(DEAD, scene, connect_timeout=0.3)

        queue = self.queue()

        async def late(client):
            self.assertEqual(await client.translate("ab"), "ba")
            queue.answer = lambda request: None
            with self.assertRaises(lstmq.ExpiredError):
                await client.translate("a", deadline=0.2)

        self.run_with(queue, late)


class Page(unittest.TestCase):
    def test_numbers_are_those_of_the_page(self):
        with open(os.path.join(SOURCE, "proto", "wire", "PROTOCOL.md"), encoding="utf-8") as file:
            page = file.read()
        numbers = {name: int(number) for number, name in re.findall(r"^### (\d+) ([A-Z]+)$", page, re.M)}
        for name in ("ERROR", "TRANSLATE", "TRANSLATED", "REJECTED", "CANCEL"):
            self.assertEqual(getattr(protocol, name), numbers[name], name)
        self.assertEqual(re.search(r"^# The protocol, version (\d+)\.(\d+)$", page, re.M).groups(),
                         tuple(map(str, protocol.VERSION)))
        for item, shape in (("answer", protocol.ANSWER), ("hypothesis", protocol.HYPOTHESIS)):
            size, rows = re.search(rf"^`{item}`, (\d+) bytes:\n\n((?:\|.*\n)+)", page, re.M).groups()
            kinds = re.findall(r"^\| \d+ \| (\w+) \|", rows, re.M)
            letters = "".join({"u32": "I", "f32": "f"}[kind] for kind in kinds)
            self.assertEqual(shape.size, int(size))
            self.assertEqual("".join(letter * int(count or 1) for count, letter in
                                     re.findall(r"(\d*)([If])", shape.format)), letters)
        section = page.split("\n### 26 REJECTED\n")[1].split("\n### ")[0]
        reasons = dict(re.findall(r"^\| (\d) \| (.*) \|$", section, re.M))
        self.assertEqual(sorted(map(int, reasons)), sorted(lstmq.errors.REASONS))
        section = page.split("\n### 24 TRANSLATE\n")[1].split("\n### ")[0]
        ranges = dict(re.findall(r"^\| `(\w+)` \| \w+ \| ([^|]*) \|", section, re.M))
        self.assertEqual(ranges["alternatives"], f"0..{protocol.ALTERNATIVES_MOST}")
        self.assertEqual(ranges["text_count"], f"1..{protocol.TEXTS_MOST}")
        self.assertEqual(ranges["deadline_ms"], f"0..{protocol.DEADLINE_MOST_MS}")
        self.assertEqual(ranges["source"], f"0..{protocol.LANGUAGE_MOST} bytes")

    def test_programs_of_the_documents_run(self):
        queue = AnsweringQueue(lambda request: [text.upper() for text in request.texts])
        self.addCleanup(queue.stop)
        programs = []
        for path in ("docs/serving.md", "proto/client/python/README.md"):
            with open(os.path.join(SOURCE, path), encoding="utf-8") as file:
                programs += re.findall(r"```python\n(.*?)```", file.read(), re.S)
        self.assertGreaterEqual(len(programs), 3)
        for program in programs:
            done = subprocess.run([sys.executable, "-c", program.replace("tcp://127.0.0.1:5758", queue.endpoint)],
                                  env={**os.environ, "PYTHONPATH": os.path.join(PACKAGE, "src")}, check=False,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8")
            self.assertEqual((done.returncode, done.stderr), (0, ""), program)
            self.assertRegex(done.stdout, "I AM HAPPY .|I KNOW .")

    def test_a_message_byte_by_byte(self):
        head, body, lengths, data = protocol.translate(5, 6, "en", "fr", 7, 1, True, [b"ab", b""])
        self.assertEqual(head.hex(), "82a17692" + "0100" + "a17418" + "18"[2:])
        self.assertEqual(msgpack.unpackb(body)["size"], 2)
        self.assertEqual((lengths.hex(), data), ("0200000000000000", b"ab"))


class Install(unittest.TestCase):
    @unittest.skipUnless(importlib.util.find_spec("pip") and importlib.util.find_spec("setuptools"),
                         "no pip or no setuptools here")
    def test_pip_installs_it_with_its_types(self):
        with tempfile.TemporaryDirectory(prefix="lstmq-pip-") as folder:
            source = os.path.join(folder, "source")
            subprocess.run(["cp", "-r", PACKAGE, source], check=True)
            done = subprocess.run(
                [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index",
                 "--target", os.path.join(folder, "site"), source],
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", check=False)
            self.assertEqual(done.returncode, 0, done.stdout)
            found = {os.path.basename(path) for path in glob.glob(os.path.join(folder, "site", "lstmq", "*"))}
            self.assertLessEqual({"__init__.py", "py.typed", "client.py"}, found)
            out = subprocess.run([sys.executable, "-c", "import lstmq; print(lstmq.__file__, lstmq.__version__)"],
                                 env={**os.environ, "PYTHONPATH": os.path.join(folder, "site")}, check=True,
                                 stdout=subprocess.PIPE, encoding="utf-8").stdout
            self.assertTrue(out.startswith(folder) and out.endswith(" 0.1.0\n"), out)


if __name__ == "__main__":
    main()
