"""Translations from an lstmq queue (`lstmq serve`).

    with lstmq.Client("tcp://127.0.0.1:5758") as client:
        client.translate("i am happy .")

Client waits for its answers, AsyncClient is for asyncio. Errors are subclasses of Error."""

from .aio import AsyncClient
from .client import Client
from .errors import (BusyError, EndingError, Error, ExpiredError, FailedError, InvalidError, NoWorkerError,
                     QueueConnectionError, UsageError)
from .protocol import Alternative, Translation

__version__ = "0.1.0"
__all__ = [
    "Alternative", "AsyncClient", "BusyError", "Client", "EndingError", "Error", "ExpiredError", "FailedError",
    "InvalidError", "NoWorkerError", "QueueConnectionError", "Translation", "UsageError"]
