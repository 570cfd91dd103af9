"""The messages of a client, as proto/wire/PROTOCOL.md defines them: frames from arguments, and values from frames.

What a queue sends is checked here. A message that breaks the protocol is a QueueConnectionError."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Sequence, Tuple

import msgpack

from .errors import REASONS, Error, QueueConnectionError

VERSION = (1, 0)
ERROR, TRANSLATE, TRANSLATED, REJECTED, CANCEL = 14, 24, 25, 26, 27

TEXTS_MOST = 4096
BYTES_MOST = 8 << 20  # of a request: below the 2^24 of the protocol, and below what a queue holds for one peer
ALTERNATIVES_MOST = 16
DEADLINE_MOST_MS = 86400000
LANGUAGE_MOST = 35
MAP_MOST = 65536

ANSWER = struct.Struct("<7I")  # status, hypotheses, src_tokens, tgt_tokens, unknown, cut, notes
HYPOTHESIS = struct.Struct("<If")  # size, score


@dataclass(frozen=True)
class Alternative:
    """One more translation of a text. `score`: its log-probability; 0 where the queue does not compute it."""

    text: str
    score: float


@dataclass(frozen=True)
class Translation:
    """What became of one text. `text` is None if it failed. `unknown` counts words that the model does not know, `cut`
    those that were not translated because a sentence was too long. `unknown_words` needs details=True."""

    text: Optional[str]
    score: float
    alternatives: Tuple[Alternative, ...]
    source_tokens: int
    target_tokens: int
    unknown: int
    cut: int
    unknown_words: Tuple[str, ...]
    model: str  # languages, step and hash of the checkpoint
    step: int

    def __str__(self) -> str:
        return self.text or ""


@dataclass(frozen=True)
class Answer:
    """What a queue sent: a number of a request with its translations or its error; without a number, the error holds
    for all requests."""

    request: Optional[int]
    translations: Sequence[Translation] = ()
    error: Optional[Error] = None


def pack(kind: int, body: Dict[str, Any], *bulk: bytes) -> List[bytes]:
    return [msgpack.packb({"v": list(VERSION), "t": kind}), msgpack.packb(body), *bulk]


def translate(client: int, request: int, source: str, target: str, deadline_ms: int, alternatives: int, details: bool,
              texts: Sequence[bytes]) -> List[bytes]:
    joined = b"".join(texts)
    body = {
        "client": client, "request": request, "source": source, "target": target, "deadline_ms": deadline_ms,
        "alternatives": alternatives, "details": int(details), "text_count": len(texts), "size": len(joined)}
    return pack(TRANSLATE, body, struct.pack(f"<{len(texts)}I", *map(len, texts)), joined)


def cancel(client: int, request: int) -> List[bytes]:
    return pack(CANCEL, {"client": client, "request": request})


def _map(frame: bytes, name: str) -> Dict[str, Any]:
    if len(frame) > MAP_MOST:
        raise ValueError(f"{name}: {len(frame)} bytes are above {MAP_MOST}")
    found = msgpack.unpackb(frame)
    if not isinstance(found, dict):
        raise ValueError(f"{name}: not a map")
    return found


def _uint(body: Dict[str, Any], name: str, most: int = (1 << 63) - 1) -> int:
    value = body.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
        raise ValueError(f"field {name}: {value!r}")
    return value


def _text(body: Dict[str, Any], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str):
        raise ValueError(f"field {name}: {value!r}")
    return value


def _items(shape: struct.Struct, frame: bytes, count: int, name: str) -> List[Tuple[Any, ...]]:
    if len(frame) != count * shape.size:
        raise ValueError(f"frame {name}: {len(frame)} bytes are not {count} items")
    return list(shape.iter_unpack(frame))


def _translated(body: Dict[str, Any], bulk: Sequence[bytes]) -> Answer:
    answers, hypotheses, texts, notes = bulk
    model, step, found, text_at, note_at = _text(body, "model"), _uint(body, "step"), [], 0, 0
    ahead = iter(_items(HYPOTHESIS, hypotheses, _uint(body, "hypothesis_count"), "hypotheses"))
    rows = _items(ANSWER, answers, _uint(body, "text_count"), "answers")
    for status, count, src, tgt, unknown, cut, note_size in rows:
        if (status == 0) != (count > 0):
            raise ValueError(f"an answer of status {status} with {count} translations")
        ways = []
        for _ in range(count):
            size, score = next(ahead)
            ways.append(Alternative(texts[text_at:text_at + size].decode(), score))
            text_at += size
        words = notes[note_at:note_at + note_size].decode().split("\n")
        note_at += note_size
        found.append(
            Translation(
                ways[0].text if ways else None, ways[0].score if ways else 0.0, tuple(ways[1:]), src, tgt, unknown, cut,
                tuple(words[:-1]), model, step))
    if text_at != len(texts) or note_at != len(notes) or next(ahead, None) is not None:
        raise ValueError("the sizes of an answer's parts do not add up")
    return Answer(_uint(body, "request"), found)


def read(frames: Sequence[bytes]) -> Optional[Answer]:
    """The answer in a message; None: another kind of message."""
    try:
        header, body = _map(frames[0], "header"), _map(frames[1], "body")
        version = header.get("v")
        major = version[0] if isinstance(version, list) and version else version
        kind = header.get("t")
        if kind == ERROR:
            return Answer(None, error=QueueConnectionError(_text(body, "text")))
        if major != VERSION[0]:
            raise ValueError(f"the peer speaks protocol {version}, this side {VERSION[0]}.{VERSION[1]}")
        if kind == TRANSLATED:
            return _translated(body, frames[2:])
        if kind == REJECTED:
            retry_ms = _uint(body, "retry_ms")
            error = REASONS[_uint(body, "reason")](_text(body, "text"), retry_ms / 1000 if retry_ms else None)
            return Answer(_uint(body, "request"), error=error)
        return None
    except (ValueError, LookupError, TypeError, StopIteration, msgpack.UnpackException) as failure:
        return Answer(None, error=QueueConnectionError(f"the queue broke the protocol: {failure!r}"))
