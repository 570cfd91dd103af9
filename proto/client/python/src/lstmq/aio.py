"""The asynchronous client."""

from __future__ import annotations

import asyncio
from typing import Dict, List, Literal, Optional, Sequence, overload

import zmq

from .client import PARTS_IN_FLIGHT, Settings, Texts, listed, outcome, parts
from .protocol import Translation
from .session import Call


class AsyncClient(Settings):
    """A connection to a queue for coroutines: any number of them may translate at the same time. It belongs to the
    event loop that first uses it."""

    _timer: Optional[asyncio.TimerHandle] = None
    _watched: Sequence[int] = ()
    _opened = 0  # the transport's socket that is watched

    def __init__(self, *arguments, **named) -> None:
        super().__init__(*arguments, **named)
        self._waiting: Dict[int, Call] = {}

    @overload
    async def translate(self, texts: str, *, source: Optional[str] = None, target: Optional[str] = None,
                        deadline: Optional[float] = None, alternatives: Literal[0] = 0,
                        details: Literal[False] = False) -> str: ...

    @overload
    async def translate(self, texts: Texts, *, source: Optional[str] = None, target: Optional[str] = None,
                        deadline: Optional[float] = None, alternatives: Literal[0] = 0,
                        details: Literal[False] = False) -> List[str]: ...

    @overload
    async def translate(self, texts: str, *, source: Optional[str] = None, target: Optional[str] = None,
                        deadline: Optional[float] = None, alternatives: int = 0,
                        details: bool = False) -> Translation: ...

    @overload
    async def translate(self, texts: Texts, *, source: Optional[str] = None, target: Optional[str] = None,
                        deadline: Optional[float] = None, alternatives: int = 0,
                        details: bool = False) -> List[Translation]: ...

    async def translate(self, texts, *, source=None, target=None, deadline=None, alternatives=0, details=False):
        """As Client.translate. A cancelled task withdraws its request."""
        given, single = listed(texts)
        ahead = parts(given)
        calls: List[Call] = []
        running: Dict[asyncio.Future, Call] = {}
        try:
            while True:
                while len(running) < PARTS_IN_FLIGHT and (part := next(ahead, None)) is not None:
                    call = self._add(part, source, target, deadline, alternatives, details)
                    call.waiter = asyncio.get_running_loop().create_future()
                    running[call.waiter] = call
                    calls.append(call)
                    self._waiting[call.number] = call
                if not running:
                    return outcome(calls, single, not details and not alternatives) if calls else []
                self._turn()
                over, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for waiter in over:
                    del running[waiter]
                if any(call.error for call in calls):
                    return outcome(calls, single, False)
        finally:
            for call in running.values():
                self._waiting.pop(call.number, None)
                if not call.over:
                    self._transport.tell(self._session.withdraw(call))

    def _turn(self) -> None:
        """Move on; wake the coroutines whose calls are over; come back when something arrives or is due."""
        if self._closed:
            return
        loop = asyncio.get_running_loop()
        self._transport.pump()
        for call in [call for call in self._waiting.values() if call.over]:
            del self._waiting[call.number]
            if call.waiter is not None and not call.waiter.done():
                call.waiter.set_result(None)
        self._watch(loop)
        if self._timer is not None:
            self._timer.cancel()
        due = self._transport.due_s()
        self._timer = None if due is None else loop.call_at(due, self._turn)

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._opened == self._transport.opened:
            return
        self._unwatch()
        self._watched = [int(socket.get(zmq.FD)) for socket in self._transport.sockets()]
        for descriptor in self._watched:
            loop.add_reader(descriptor, self._turn)
        self._opened = self._transport.opened

    def _unwatch(self) -> None:
        for descriptor in self._watched:
            asyncio.get_running_loop().remove_reader(descriptor)
        self._watched = ()

    async def close(self) -> None:
        """Withdraw what is in flight and disconnect. May be called twice."""
        if self._closed:
            return
        self._unwatch()
        if self._timer is not None:
            self._timer.cancel()
        self._closed = True
        for call in self._waiting.values():
            if call.waiter is not None:
                call.waiter.cancel()
        self._transport.close()

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
