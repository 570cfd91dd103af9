"""What can go wrong, as exceptions. Their texts say what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Dict, Optional, Sequence, Type

if TYPE_CHECKING:
    from .protocol import Translation


class Error(Exception):
    """A request without a translation. `retry_after`: the queue's advice in seconds; None: do not try again."""

    def __init__(self, text: str, retry_after: Optional[float] = None) -> None:
        super().__init__(text)
        self.retry_after = retry_after


class BusyError(Error):
    """The queue is full."""


class ExpiredError(Error, TimeoutError):
    """The deadline passed."""


class InvalidError(Error, ValueError):
    """No model for these languages, or above a limit of this queue."""


class NoWorkerError(Error):
    """No translation worker has loaded the model."""


class EndingError(Error):
    """The queue is about to end."""


class FailedError(Error):
    """Texts that could not be translated. `translations`: of each text in order; those that failed have no text."""

    translations: Sequence["Translation"] = ()


class QueueConnectionError(Error, ConnectionError):
    """The queue cannot be reached, refuses the key, or breaks the protocol."""


class UsageError(Error, ValueError):
    """A wrong argument: an endpoint, a key file, a text or a number."""


#: The reasons of REJECTED in PROTOCOL.md.
REASONS: Dict[int, Type[Error]] = {
    1: BusyError, 2: ExpiredError, 3: InvalidError, 4: NoWorkerError, 5: EndingError, 6: FailedError}
