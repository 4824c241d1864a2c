"""Where the calls of a service client can be watched: `spans` does it, where OpenTelemetry is installed."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from ..protocol.operations import Operation


class Try(Protocol):
    """Watches one try of a request."""

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Give what tells the service which span this is."""
        ...

    def answered(self, status_code: int, /) -> None:
        """Note the status of the answer."""
        ...


class Tracing(Protocol):
    """Watches the calls of one service client."""

    def call(self, operation: Operation, /) -> AbstractContextManager[None]:
        """Watch a whole call; an exception that leaves the block makes it a failed one."""
        ...

    def attempt(self, operation: Operation, tries: int, /) -> AbstractContextManager[Try]:
        """Watch one try, the ``tries``-th; an exception that leaves the block makes it a failed one."""
        ...


class _Nobody:
    """Does not watch: both a `Try` and a `Tracing`."""

    def headers(self) -> list[tuple[bytes, bytes]]:
        return []

    def answered(self, _: int, /) -> None:
        pass

    def call(self, _: Operation, /) -> AbstractContextManager[None]:
        return nullcontext()

    def attempt(self, _: Operation, __: int, /) -> AbstractContextManager[Try]:
        return nullcontext(self)


NOBODY: Tracing = _Nobody()


def tracing_of(address: str) -> Tracing:
    """Give what watches calls to ``address``: OpenTelemetry, if its API is installed."""
    try:
        from .spans import Spans
    except ImportError:
        return NOBODY
    return Spans(address)
