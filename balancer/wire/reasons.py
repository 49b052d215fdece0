"""
Why a connection ended, as Twisted tells protocols.
"""

from __future__ import annotations

from twisted.internet.error import ConnectionAborted
from twisted.internet.main import CONNECTION_DONE
from twisted.python.failure import Failure


def failure(error: BaseException | None = None) -> Failure:
    """`error`, or the exception being handled, as a Failure."""
    return Failure(error)


#: Made once: a Failure costs as much as reading a request.
DONE = failure(CONNECTION_DONE)
ABORTED = failure(ConnectionAborted())
