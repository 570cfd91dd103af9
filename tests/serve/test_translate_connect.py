#!/usr/bin/python3
"""lstmq translate --connect: a line out for each line in, in order, whatever the queue does."""

import json
import os
import selectors
import signal
import subprocess
import threading
import time
import unittest

from support.program import BINARY, main, run

try:
    from support.answering_queue import BUSY, EXPIRED, INVALID, AnsweringQueue, Made, Refusal
except ImportError:
    raise SystemExit(77) from None

LIMIT_S = 180


class ConnectTest(unittest.TestCase):
    def queue(self, answer=None):
        queue = AnsweringQueue(answer) if answer else AnsweringQueue()
        self.addCleanup(queue.stop)
        return queue

    def translate(self, queue, text, *options):
        result = run("translate", "--connect", queue if isinstance(queue, str) else queue.endpoint, *options,
                     stdin=text)
        result.lines = result.stdout.split("\n")[:-1]
        return result

    def start(self, queue, *options):
        process = subprocess.Popen([BINARY, "translate", "--connect", queue.endpoint, *options], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(lambda: (process.kill(), process.wait(), process.stdout.close(), process.stderr.close(),
                                 process.stdin.close()))
        return process


class Lines(ConnectTest):
    def assert_lines(self, text, expected, queue=None):
        result = self.translate(queue or self.queue(), text)
        self.assertEqual((result.returncode, result.stderr, result.lines), (0, "", expected))

    def test_each_line_has_its_answer_in_its_place(self):
        self.assert_lines("", [])
        self.assert_lines("\n", [""])
        self.assert_lines("ab", ["ba"])
        self.assert_lines("ab\r\n\r\ncd\refé\n\n", ["ba", "", "dc", "éfe", ""])
        self.assert_lines("\ufeffab\n", ["ba"])

    def test_many_lines_are_in_flight_and_in_order(self):
        lines = [f"line {number}" for number in range(50_000)]
        queue = self.queue()
        self.assert_lines("\n".join(lines), [line[::-1] for line in lines], queue)
        self.assertLess(len(queue.requests), 1000)

    def test_answers_that_change_places_are_put_in_order(self):
        kept = []

        def answer(request):
            kept.append(request)
            if len(kept) < 2:
                return None
            for one in reversed(kept):
                queue.reply(one, [text.upper() for text in one.texts])
            kept.clear()
            return None

        queue = self.queue(answer)
        lines = [f"line {number}" for number in range(1024)]
        self.assert_lines("\n".join(lines), [line.upper() for line in lines], queue)

    def test_a_translation_is_one_line(self):
        self.assert_lines("a\nb\n", ["x  y", "x  y"], self.queue(lambda request: ["x\r\ny"] * len(request.texts)))

    def test_a_pipe_fed_line_by_line_is_answered_line_by_line(self):
        process = self.start(self.queue())
        with selectors.DefaultSelector() as ready:
            ready.register(process.stdout, selectors.EVENT_READ)
            for line in (b"abc", b"", b"de"):
                process.stdin.write(line + b"\n")
                process.stdin.flush()
                self.assertTrue(ready.select(LIMIT_S))
                self.assertEqual(os.read(process.stdout.fileno(), 100), line[::-1] + b"\n")
        rest, printed = process.communicate(b"last", timeout=LIMIT_S)
        self.assertEqual((rest, printed, process.returncode), (b"tsal\n", b"", 0))

    def test_languages_are_those_of_the_options(self):
        queue = self.queue()
        self.translate(queue, "a\n", "--source", "en", "--target", "fr")
        self.translate(queue, "a\n")
        self.assertEqual([(one.source, one.target) for one in queue.requests], [("en", "fr"), ("", "")])

    def test_large_lines_pass(self):
        lines = ["x" * 1_000_000, "y", "z" * 900_000] * 4
        self.assert_lines("\n".join(lines), lines)


class Remarks(ConnectTest):
    def test_unknown_words_and_cut_lines_are_named(self):
        made = {"b": Made("x", unknown=("zeppelin", "caf\u00e9", "a\u009bb")), "c": Made("y", cut=4)}
        queue = self.queue(lambda request: [made.get(text, text) for text in request.texts])
        result = self.translate(queue, "a\nb\nc\n")
        self.assertEqual((result.returncode, result.lines), (0, ["a", "x", "y"]))
        self.assertEqual(result.stderr, "stdin:2: unknown: zeppelin café aU+009Bb\n"
                                        "stdin:3: too long: 4 words were not translated\n")
        result = self.translate(queue, "b\n", "--log.format", "json")
        event = json.loads(result.stderr)
        self.assertEqual((event["event"], event["line"], event["count"]), ("words_unknown", 1, 3))

    def test_a_line_that_failed_is_empty_and_named(self):
        queue = self.queue(lambda request: [None if text == "b" else text for text in request.texts])
        result = self.translate(queue, "a\nb\nc\n")
        self.assertEqual((result.returncode, result.lines), (1, ["a", "", "c"]))
        self.assertEqual(result.stderr, "stdin:2: not translated: the workers that tried it died\n"
                                        "lstmq translate: lines that could not be translated: 1\n")

    def test_lines_before_a_bad_one_are_answered_first(self):
        process = self.start(self.queue())
        out, printed = process.communicate(b"ab\ncd\n\xff\nef\n", timeout=LIMIT_S)
        self.assertEqual((out, process.returncode), (b"ba\ndc\n", 3))
        self.assertRegex(printed.decode(), r"\Alstmq translate: stdin:3: not valid UTF-8 text at byte 1[^\n]*\n\Z")


class Failures(ConnectTest):
    def assert_fails(self, queue, status, pattern, *options):
        result = self.translate(queue, "a\nb\n", *options)
        self.assertEqual((result.returncode, result.stdout), (status, ""), result.stderr)
        self.assertRegex(result.stderr, rf"\Alstmq translate: {pattern}[^\n]*\n\Z")

    def test_usage(self):
        self.assert_fails("tcp://127.0.0.1:1", 2, "--model translates here and --connect through a queue", "--model",
                          "x")
        self.assert_fails("nowhere", 2, '"nowhere" is not an endpoint')
        self.assert_fails("tcp://127.0.0.1:1", 2, "a language is a code", "--source", "e n")
        self.assert_fails("tcp://127.0.0.1:1", 2, ".*needs both", "--key", "/none")

    def test_refusals(self):
        self.assert_fails(self.queue(lambda request: Refusal(INVALID, 0, "no such model")), 2,
                          "stdin:1: invalid: no such model")
        self.assert_fails(self.queue(lambda request: Refusal(EXPIRED, 0, "too slow")), 1, "stdin:1: expired: too slow")

    def test_nothing_listens(self):
        queue = self.queue()
        queue.stop()
        self.assert_fails(queue, 1, "stdin:1: no connection to tcp://.*lstmq serve")

    def test_without_input_no_queue_is_needed(self):
        result = self.translate("tcp://127.0.0.1:1", "")
        self.assertEqual((result.returncode, result.stdout, result.stderr), (0, "", ""))

    def test_an_interrupt_ends_it_and_the_reader_that_leaves_too(self):
        queue = self.queue(lambda request: None)
        process = self.start(queue)
        process.stdin.write(b"a\n")
        process.stdin.flush()
        queue.wait(lambda queue: queue.requests)
        process.send_signal(signal.SIGTERM)
        process.wait(LIMIT_S)
        self.assertEqual(process.returncode, -signal.SIGTERM)
        reader, writer = os.pipe()
        os.close(reader)
        with os.fdopen(writer) as closed:
            done = subprocess.run([BINARY, "translate", "--connect", self.queue().endpoint], input=b"a\n",
                                  stdout=closed, stderr=subprocess.PIPE, check=False, timeout=LIMIT_S)
        self.assertEqual((done.returncode, done.stderr), (-signal.SIGPIPE, b""))


class Tries(ConnectTest):
    def test_busy_queues_are_tried_again(self):
        refused = {}

        def answer(request):
            refused[request.request] = refused.get(request.request, 0) + 1
            return Refusal(BUSY, 20) if refused[request.request] < 4 else [text.upper() for text in request.texts]

        lines = [f"line {number}" for number in range(3000)]
        result = self.translate(self.queue(answer), "\n".join(lines))
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertEqual(result.lines, [line.upper() for line in lines])

    def test_a_queue_killed_again_and_again_loses_and_doubles_nothing(self):
        queue = self.queue(lambda request: None if request.request % 3 == 0 else [t.upper() for t in request.texts])
        lines = [f"line {number}" for number in range(20_000)]
        ended = threading.Event()

        def restarts():
            for _ in range(4):
                seen = len(queue.requests)
                queue.wait(lambda queue: len(queue.requests) > seen + 3 or ended.is_set())
                queue.stop()
                queue.start()
            queue.answer = lambda request: [text.upper() for text in request.texts]
            queue.stop()
            queue.start()

        thread = threading.Thread(target=restarts)
        thread.start()
        result = self.translate(queue, "\n".join(lines))
        ended.set()
        thread.join()
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertEqual(result.lines, [line.upper() for line in lines])


if __name__ == "__main__":
    main()
