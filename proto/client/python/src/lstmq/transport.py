"""The socket of a client and the monitor of its connection, and one turn of both: `pump`."""

from __future__ import annotations

import time
from typing import Optional, Tuple

import zmq
from zmq.utils.monitor import parse_monitor_message

from .errors import UsageError
from .keys import Keys
from .session import Session

HANDSHAKE_MS = 3000
SILENT_S = HANDSHAKE_MS / 2000  # a refusal arrives at once, silence lasts
REOPEN_S = 0.5
REFUSES_KEY = "refuses this key: is its .pub in the queue's --allow folder, with the role client, and is the " \
    "server's .pub this queue's?"
REFUSES_NO_KEY = "refuses a connection without a key: does the queue need keys, or is it not a queue?"


class Transport:
    def __init__(self, session: Session, keys: Optional[Keys]) -> None:
        self.session, self.keys = session, keys
        self.context = zmq.Context()
        self.context.blocky = False  # a program that forgets to close a client still ends
        self.socket: Optional[zmq.Socket] = None
        self.monitor: Optional[zmq.Socket] = None
        self.reopen_s = 0.0
        self.opened = 0  # sockets so far: a new one may have the descriptor of an old one
        try:
            self.connect()
        except zmq.ZMQError as failure:
            self.close()
            raise UsageError(f"cannot connect to {session.endpoint}: {failure}") from failure

    def connect(self) -> None:
        self.stands = self.ended = self.silent = False
        self.reported = False  # this attempt has ended: only EVENT_CONNECT_RETRIED may follow
        self.began_s = time.monotonic()
        self.opened += 1
        self.socket = socket = self.context.socket(zmq.DEALER)
        socket.linger = 0
        socket.immediate = True  # nothing waits in the pipe of a queue that is not there
        socket.setsockopt(zmq.HANDSHAKE_IVL, HANDSHAKE_MS)
        socket.setsockopt(zmq.CONNECT_TIMEOUT, HANDSHAKE_MS)
        socket.setsockopt(zmq.RECONNECT_IVL, 100)
        socket.setsockopt(zmq.RECONNECT_IVL_MAX, 1000)
        socket.setsockopt(zmq.MAXMSGSIZE, 64 << 20)
        if self.keys:
            socket.curve_publickey, socket.curve_secretkey, socket.curve_serverkey = self.keys
        self.monitor = socket.get_monitor_socket(
            zmq.EVENT_CONNECTED | zmq.EVENT_CLOSED | zmq.EVENT_DISCONNECTED | zmq.EVENT_CONNECT_RETRIED
            | zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL)
        socket.connect(self.session.endpoint)

    def disconnect(self) -> None:
        if self.socket is not None and self.monitor is not None:
            self.socket.disable_monitor()
            self.monitor.close(0)
            self.socket.close(0)
        self.socket = self.monitor = None

    def reopen(self, after_s: float) -> None:
        self.disconnect()
        self.reopen_s = time.monotonic() + after_s

    def close(self) -> None:
        self.disconnect()
        self.context.term()

    def sockets(self) -> Tuple[zmq.Socket, ...]:
        return (self.monitor, self.socket) if self.monitor is not None and self.socket is not None else ()

    def due_s(self) -> Optional[float]:
        due = self.session.due_s()
        return due if self.socket is not None else min(self.reopen_s, due or self.reopen_s)

    def pump(self) -> None:
        """One turn: take what has arrived, decide, send. It goes on until nothing is left to read, because ZeroMQ's
        descriptors do not show what came in the meantime."""
        if self.socket is None and time.monotonic() >= self.reopen_s:
            self.connect()
        while True:
            self._take_news()
            self._receive()
            self._send()
            if self.session.must_break:
                self.session.must_break = False
                self.session.broke("the connection ended")
                self.reopen(0)
                return
            if not any(int(socket.get(zmq.EVENTS)) & zmq.POLLIN for socket in self.sockets()):
                return

    def _take_news(self) -> None:
        while self.monitor is not None:
            try:
                event = parse_monitor_message(self.monitor.recv_multipart(zmq.NOBLOCK))["event"]
            except zmq.Again:
                return
            self._on_event(event)

    def _on_event(self, event: int) -> None:
        reported, self.reported = self.reported, event in (zmq.EVENT_CLOSED, zmq.EVENT_DISCONNECTED)
        if event == zmq.EVENT_CONNECTED:
            self.stands = self.ended = self.silent = False
            self.began_s = time.monotonic()
        elif event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            self.stands = True
            self.session.stands()
        elif event == zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL:
            self.ended, self.silent = True, time.monotonic() - self.began_s >= SILENT_S
        elif event == zmq.EVENT_DISCONNECTED:
            self._on_disconnected()
        elif event == zmq.EVENT_CLOSED or not reported:
            self.session.broke("cannot be reached")

    def _on_disconnected(self) -> None:
        stood, self.stands = self.stands, False
        if stood:
            self.session.broke("the connection ended")
        elif self.silent and not self.keys:
            self.session.broke("accepts connections but does not answer")
        elif self.silent:  # libzmq may end a refused handshake as late as a silent one
            self.session.broke(f"does not answer, or {REFUSES_KEY}")
        else:
            self.session.broke(REFUSES_KEY if self.keys else REFUSES_NO_KEY, refused=True)
            if not self.ended:
                self.reopen(REOPEN_S)  # libzmq does not retry

    def _receive(self) -> None:
        while self.socket is not None:
            try:
                frames = self.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            self.session.received(frames)

    def _send(self) -> None:
        for call, frames in self.session.advance():
            try:
                if self.socket is not None:
                    self.socket.send_multipart(frames, zmq.NOBLOCK)
            except zmq.Again:
                if call is not None:
                    call.sent = False
                return

    def tell(self, frames: Optional[list]) -> None:
        """Send a message whose loss does no harm."""
        try:
            if frames is not None and self.socket is not None:
                self.socket.send_multipart(frames, zmq.NOBLOCK)
        except zmq.Again:
            pass
