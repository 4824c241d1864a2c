"""What the handlers of a `Listener` are given and give back, and what it puts up with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields

from ..protocol.arguments import check_number


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What a peer may do. Sizes are in bytes, times in seconds.

    Raises:
        ValueError: one is below 0.
        TypeError: one is no number.
    """

    connections: int = 20_000
    """At once, of all peers together; one more is answered with 503."""
    head_size: int = 16_384
    """Of a request line with its headers; more is answered with 431."""
    body_size: int = 1_048_576
    """Of a request's body; more is answered with 413."""
    message_size: int = 1_048_576
    """Of a WebSocket message; more ends the connection with 1009."""
    head_timeout: float = 10.0
    """From the first byte of a head to its last; then 408."""
    body_timeout: float = 30.0
    """From the end of a head to the end of its body; then 408."""
    idle_timeout: float = 60.0
    """Before the first byte of a head; then the connection is closed."""
    send_timeout: float = 30.0
    """For a peer to take a whole HTTP response; then the connection is closed."""
    ping_interval: float = 20.0
    """Of silence on a WebSocket that is read from, before a ping; after as long again the peer is cut off."""
    close_timeout: float = 2.0
    """For a peer to take part in closing; then the connection is closed without it."""

    def __post_init__(self) -> None:
        for each in fields(self):
            check_number(each.name, getattr(self, each.name), zero=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """An HTTP request. Only method and path show in its ``repr``: the rest may hold tokens."""

    method: str
    path: str
    """As it came, percent signs and all."""
    query: str = field(default="", repr=False)
    """What stood behind the question mark, as it came."""
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    """By lower-case name; the values of a header that came several times are joined with commas."""
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Response:
    """An HTTP response; its length is added."""

    status: int
    headers: Iterable[tuple[str, str]] = ()
    body: bytes = b""
