"""Where the calls of a service client can be watched: `spans` does it, where OpenTelemetry is installed."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from ..protocol.operations import Operation


class Try:
    """One try of a request: here nobody watches."""

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Give what tells the service which span this is."""
        return []

    def answered(self, status_code: int) -> None:
        """Note the status of the answer."""


class Tracing:
    """What watches the calls of one service client: here nobody does."""

    def call(self, operation: Operation) -> AbstractContextManager[None]:
        """Watch a whole call; an exception that leaves the block makes it a failed one."""
        return _NO_CALL

    def attempt(self, operation: Operation, tries: int) -> AbstractContextManager[Try]:
        """Watch one try, the ``tries``-th; an exception that leaves the block makes it a failed one."""
        return _NO_TRY


_NO_CALL = nullcontext()
_NO_TRY = nullcontext(Try())


def tracing_of(address: str) -> Tracing:
    """Give what watches calls to ``address``: OpenTelemetry, if its API is installed."""
    try:
        from .spans import Spans
    except ImportError:
        return Tracing()
    return Spans(address)
