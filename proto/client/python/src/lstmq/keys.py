"""Key files of `lstmq keygen`: NAME.key has the line "ROLE PUBLIC NAME" and the line "secret SECRET". NAME.pub has the
first of them. Lines that begin with # are comments."""

from __future__ import annotations

import os
import stat
from typing import List, NamedTuple, Union

from .errors import UsageError

Path = Union[str, "os.PathLike[str]"]


class Keys(NamedTuple):
    public: bytes
    secret: bytes
    server: bytes


def _lines(path: Path) -> List[List[str]]:
    try:
        with open(path, encoding="ascii") as file:
            return [line.split() for line in file if line.strip() and not line.startswith("#")]
    except (OSError, UnicodeDecodeError) as failure:
        raise UsageError(f"{os.fspath(path)}: cannot read the key: {failure}") from failure


def read(key: Path, server: Path) -> Keys:
    own, other = _lines(key), _lines(server)
    if len(own) != 2 or len(own[0]) != 3 or own[1][:1] != ["secret"] or len(own[1]) != 2:
        raise UsageError(f"{os.fspath(key)}: not a secret key file; give the .key file of the pair")
    if len(other) != 1 or len(other[0]) != 3:
        raise UsageError(f"{os.fspath(server)}: not a public key file; give the .pub file of the pair")
    if os.name == "posix" and stat.S_IMODE(os.stat(key).st_mode) & 0o077:
        raise UsageError(f"{os.fspath(key)}: others can read this secret key; run: chmod 600 {os.fspath(key)}")
    keys = Keys(own[0][1].encode(), own[1][1].encode(), other[0][1].encode())
    if any(len(one) != 40 for one in keys):
        raise UsageError(f"{os.fspath(key)}, {os.fspath(server)}: a key has 40 characters")
    return keys
