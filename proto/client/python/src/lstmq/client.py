"""The client that waits, and what both clients share."""

from __future__ import annotations

import os
import threading
import time
from typing import Iterator, List, Literal, Optional, Sequence, Tuple, Union, overload

import zmq

from . import keys as key_files
from .errors import FailedError, UsageError
from .protocol import BYTES_MOST, Translation
from .session import Call, Session, encode
from .transport import Transport

Path = Union[str, "os.PathLike[str]"]
Texts = Union[List[str], Tuple[str, ...]]
PART_TEXTS = 1024  # of a long list that are one request
PARTS_IN_FLIGHT = 8
DEADLINE_S = 30.0
WAIT_S = 0.5  # at a time: a signal just before a wait does not end it, and Python handles it only then


def parts(texts: Sequence[str]) -> Iterator[List[bytes]]:
    """A list in parts that a request holds."""
    part: List[bytes] = []
    size = 0
    for text in encode(texts):
        if len(text) > BYTES_MOST:
            raise UsageError(f"a text of {len(text)} bytes is above {BYTES_MOST}")
        if len(part) == PART_TEXTS or size + len(text) > BYTES_MOST:
            yield part
            part, size = [], 0
        part.append(text)
        size += len(text)
    if part:
        yield part


def outcome(calls: Sequence[Call], single: bool, plain: bool):
    """What `translate` returns for calls that are over; raises their first error."""
    for call in calls:
        if call.error is not None:
            raise call.error
    found: List[Translation] = [one for call in calls for one in call.translations]
    failed = [number for number, one in enumerate(found, 1) if one.text is None]
    if failed and plain:
        error = FailedError(f"texts that could not be translated: {', '.join(map(str, failed))} of {len(found)}")
        error.translations = found
        raise error
    result = [one.text for one in found] if plain else found
    return result[0] if single else result


class Settings:
    """The arguments that both clients have.

    endpoint: tcp://HOST:PORT or ipc://PATH. source, target: codes of languages for requests that name none.
    key, server: own NAME.key and the queue's NAME.pub. deadline: seconds for requests that name none.
    connect_timeout: seconds after which a request fails if there never was a connection. retry: send a request again
    when the queue is busy or was restarted, until the deadline."""

    def __init__(self, endpoint: str = "tcp://127.0.0.1:5758", *, source: Optional[str] = None,
                 target: Optional[str] = None, key: Optional[Path] = None, server: Optional[Path] = None,
                 deadline: float = DEADLINE_S, connect_timeout: float = 5.0, retry: bool = True) -> None:
        if not endpoint.startswith(("tcp://", "ipc://")):
            raise UsageError(f"{endpoint!r} is not an endpoint: use tcp://HOST:PORT")
        if (key is None) != (server is None):
            raise UsageError("a connection with keys needs both the own NAME.key and the queue's NAME.pub")
        self.source, self.target, self.deadline = source or "", target or "", deadline
        self._session = Session(endpoint, connect_timeout, retry)
        read = key_files.read(key, server) if key is not None and server is not None else None
        self._transport = Transport(self._session, read)
        self._closed = False
        self._process = os.getpid()
        self._unused = threading.Lock()

    def _add(self, part: Sequence[bytes], source: Optional[str], target: Optional[str], deadline: Optional[float],
             alternatives: int, details: bool) -> Call:
        if self._closed:
            raise UsageError("this client is closed")
        if os.getpid() != self._process:
            raise UsageError("this client was made before a fork: make one in the new process")
        return self._session.add(
            self.source if source is None else source, self.target if target is None else target, part,
            self.deadline if deadline is None else deadline, alternatives, details)


def listed(texts: Union[str, Texts]) -> Tuple[Sequence[str], bool]:
    return ([texts], True) if isinstance(texts, str) else (list(texts), False)


class Client(Settings):
    """A connection to a queue whose `translate` waits. It belongs to one thread at a time."""

    @overload
    def translate(self, texts: str, *, source: Optional[str] = None, target: Optional[str] = None,
                  deadline: Optional[float] = None, alternatives: Literal[0] = 0,
                  details: Literal[False] = False) -> str: ...

    @overload
    def translate(self, texts: Texts, *, source: Optional[str] = None, target: Optional[str] = None,
                  deadline: Optional[float] = None, alternatives: Literal[0] = 0,
                  details: Literal[False] = False) -> List[str]: ...

    @overload
    def translate(self, texts: str, *, source: Optional[str] = None, target: Optional[str] = None,
                  deadline: Optional[float] = None, alternatives: int = 0, details: bool = False) -> Translation: ...

    @overload
    def translate(self, texts: Texts, *, source: Optional[str] = None, target: Optional[str] = None,
                  deadline: Optional[float] = None, alternatives: int = 0,
                  details: bool = False) -> List[Translation]: ...

    def translate(self, texts, *, source=None, target=None, deadline=None, alternatives=0, details=False):
        """Translate a text to a text, or a list to a list of the same length. With `details` or `alternatives` the
        answers are `Translation`s. Raises a subclass of `Error`."""
        if not self._unused.acquire(blocking=False):
            raise UsageError("this client is translating already: give each thread a client of its own")
        try:
            return self._translate(texts, source, target, deadline, alternatives, details)
        finally:
            self._unused.release()

    def _translate(self, texts, source, target, deadline, alternatives, details):
        given, single = listed(texts)
        ahead = parts(given)
        calls: List[Call] = []
        running: List[Call] = []
        try:
            while True:
                while len(running) < PARTS_IN_FLIGHT and (part := next(ahead, None)) is not None:
                    running.append(self._add(part, source, target, deadline, alternatives, details))
                    calls.append(running[-1])
                if not running:
                    return outcome(calls, single, not details and not alternatives) if calls else []
                self._turn(running)
                running = [call for call in running if not call.over]
                if any(call.error for call in calls):
                    break
            return outcome(calls, single, False)
        finally:
            for call in running:
                if not call.over:
                    self._transport.tell(self._session.withdraw(call))

    def _turn(self, running: Sequence[Call]) -> None:
        """Move on, and wait for news unless a call is over."""
        self._transport.pump()
        if any(call.over for call in running):
            return
        due = self._transport.due_s()
        poller = zmq.Poller()
        for socket in self._transport.sockets():
            poller.register(socket, zmq.POLLIN)
        left = WAIT_S if due is None else min(WAIT_S, max(0.0, due - time.monotonic()))
        if poller.sockets:
            poller.poll(int(left * 1000) + 1)
        else:
            time.sleep(left)

    def close(self) -> None:
        """Withdraw what is in flight and disconnect. May be called twice."""
        if not self._closed:
            self._closed = True
            self._transport.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
