"""The requests of one client and what is due for them, without a socket: both clients drive it.

Handlers only record: stands, broke, received. `advance` then decides: what is over, and what is to be sent."""

from __future__ import annotations

import random
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Dict, Iterator, List, Optional, Sequence, Tuple

from . import protocol
from .errors import Error, ExpiredError, QueueConnectionError, UsageError

if TYPE_CHECKING:
    import asyncio

FRESH_BYTES = 32 << 10  # in flight until the queue has answered: it holds little for a peer that it does not trust yet
WINDOW_BYTES = 8 << 20  # in flight after that
GRACE_S = 0.05  # for the queue's own word on a deadline
SILENT_S = 1.0


@dataclass(eq=False)
class Call:
    """One request: it is over when it has translations or an error."""

    number: int
    source: str
    target: str
    texts: Sequence[bytes]
    alternatives: int
    details: bool
    begun_s: float
    deadline_s: float
    size: int = 0
    sent: bool = False
    again_s: float = 0.0
    refusal: Optional[Error] = None
    translations: Sequence[protocol.Translation] = ()
    error: Optional[Error] = None
    over: bool = False
    waiter: Optional["asyncio.Future[None]"] = None  # of the asynchronous client

    def end(self, error: Optional[Error] = None, translations: Sequence[protocol.Translation] = ()) -> None:
        self.error, self.translations, self.over = error, translations, True


def encode(texts: Sequence[str]) -> List[bytes]:
    encoded = []
    for number, text in enumerate(texts, 1):
        if not isinstance(text, str):
            raise UsageError(f"text {number} is no str but {type(text).__name__}")
        try:
            encoded.append(text.encode())
        except UnicodeEncodeError as failure:
            raise UsageError(f"text {number}: {failure}") from failure
    return encoded


class Session:
    def __init__(self, endpoint: str, connect_timeout: float, retry: bool) -> None:
        self.endpoint, self.connect_timeout, self.retry = endpoint, connect_timeout, retry
        self.identity = secrets.randbelow((1 << 63) - 1) + 1
        self.calls: Dict[int, Call] = {}
        self.last = 0
        self.connected = self.stood = self.fresh = self.greeted = False
        self.heard_s = 0.0
        self.failure = ""  # why there is no connection
        self.refused = False  # and it is the key
        self.must_break = False  # the owner closes the connection and opens another

    # ---- what happened ----

    def stands(self) -> None:
        self._unsend()
        self.connected = self.stood = self.fresh = True
        self.refused, self.failure, self.heard_s = False, "", time.monotonic()

    def broke(self, failure: str, refused: bool = False) -> None:
        if self.connected:
            self._unsend()
        self.connected, self.failure, self.refused = False, failure, refused

    def _unsend(self) -> None:
        self.greeted = False
        for call in list(self.calls.values()):
            if call.sent and not self.retry:
                self._end(call, QueueConnectionError(f"the connection to {self.endpoint} ended"))
            call.sent = False

    def received(self, frames: Sequence[bytes]) -> None:
        self.fresh, self.heard_s = False, time.monotonic()
        answer = protocol.read(frames)
        if answer is None:
            return
        if answer.request is None:
            for call in list(self.calls.values()):
                self._end(call, QueueConnectionError(f"{self.endpoint}: {answer.error}"))
            self.must_break = True
            return
        if answer.request not in self.calls:
            return
        call = self.calls[answer.request]
        if answer.error is not None:
            self._rejected(call, answer.error)
        elif len(answer.translations) != len(call.texts):
            self._end(call, QueueConnectionError(f"{self.endpoint} sent {len(answer.translations)} translations of "
                                                 f"{len(call.texts)} texts"))
        else:
            self._end(call, translations=answer.translations)

    def _rejected(self, call: Call, error: Error) -> None:
        """Rest for the queue's time and up to half of it more, so that refused clients do not return together."""
        after = error.retry_after
        again_s = time.monotonic() + (after or 0) * random.uniform(1, 1.5)
        if not self.retry or after is None or again_s >= call.deadline_s:
            self._end(call, error)
        elif call.sent:
            call.refusal, call.again_s, call.sent = error, again_s, False

    def _end(self, call: Call, error: Optional[Error] = None,
             translations: Sequence[protocol.Translation] = ()) -> None:
        del self.calls[call.number]
        call.end(error, translations)

    # ---- decide ----

    def add(self, source: str, target: str, texts: Sequence[bytes], deadline: float, alternatives: int,
            details: bool) -> Call:
        if not 0 < deadline <= protocol.DEADLINE_MOST_MS / 1000:
            raise UsageError(f"deadline: {deadline} s is not above 0 and at most {protocol.DEADLINE_MOST_MS // 1000} s")
        if not 0 <= alternatives <= protocol.ALTERNATIVES_MOST:
            raise UsageError(f"alternatives: {alternatives} is not 0 to {protocol.ALTERNATIVES_MOST}")
        for code in (source, target):
            if len(code) > protocol.LANGUAGE_MOST or not all("!" <= letter <= "~" for letter in code):
                raise UsageError(f'{code!r} is no code of a language, such as "en"')
        if not self.stood:
            self.refused = False  # a refusal was reported; the next attempt decides about this call
        self.last += 1
        now = time.monotonic()
        call = Call(self.last, source, target, texts, alternatives, details, now, now + deadline,
                    sum(map(len, texts)))
        self.calls[call.number] = call
        return call

    def withdraw(self, call: Call) -> Optional[List[bytes]]:
        """Forget a call. Returns the message that says so, if the queue knows of it."""
        known = self.calls.pop(call.number, None) is not None and call.sent and self.connected
        call.end(Error("withdrawn"))
        return protocol.cancel(self.identity, call.number) if known else None

    def _late_s(self, call: Call) -> float:
        if call.sent:
            return call.deadline_s + GRACE_S
        return call.deadline_s if self.stood else min(call.deadline_s, call.begun_s + self.connect_timeout)

    def _expire(self, call: Call, now: float) -> None:
        if not self.connected:
            why = self.failure or "no connection"
            self._end(call, QueueConnectionError(f'{self.endpoint}: {why}: is "lstmq serve" running there?'))
            return
        if call.sent and now - self.heard_s > SILENT_S:
            self.must_break = True  # the host may be gone without a word
        self._end(call, call.refusal or ExpiredError(
            f"no answer from {self.endpoint} within {call.deadline_s - call.begun_s:g} s"))

    def advance(self) -> Iterator[Tuple[Optional[Call], List[bytes]]]:
        """End the calls that are late, then yield the messages that are to be sent now, each with its call. A caller
        that cannot send one stops, and sets call.sent to False."""
        now = time.monotonic()
        if self.refused and not self.stood:
            for call in list(self.calls.values()):
                self._end(call, QueueConnectionError(f"{self.endpoint} {self.failure}"))
        for call in list(self.calls.values()):
            if now >= self._late_s(call):
                self._expire(call, now)
        if not self.connected or self.must_break:
            return
        in_flight = sum(call.size for call in self.calls.values() if call.sent)
        for call in list(self.calls.values()):
            if call.sent or call.again_s > now:
                continue
            call.again_s = 0.0
            most = FRESH_BYTES if self.fresh else WINDOW_BYTES
            if self.fresh and call.size > most and in_flight == 0 and not self.greeted:
                self.greeted = True  # a large request waits for the answer to this small one
                yield None, protocol.translate(self.identity, 0, call.source, call.target, 1000, 0, False, [b""])
            if in_flight + call.size > most:
                return
            in_flight += call.size
            call.sent = True
            left_ms = max(1, int((call.deadline_s - now) * 1000))
            yield call, protocol.translate(self.identity, call.number, call.source, call.target, left_ms,
                                           call.alternatives, call.details, call.texts)

    def due_s(self) -> Optional[float]:
        """When `advance` is due again, if nothing happens."""
        times = [call.again_s if call.again_s and not call.sent else self._late_s(call) for call in self.calls.values()]
        return min(times, default=None)
