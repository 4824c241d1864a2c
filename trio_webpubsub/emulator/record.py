"""What clients and application servers sent to the emulator, as those want to see it who test them."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from ..listener import Request
from ..protocol import wire
from ..protocol.errors import InvalidPayload
from ..protocol.payloads import data_of
from .hub.registry import Connection

_DETAILS = (
    "no_echo",
    "ttl_seconds",
    "metadata",
    "invocation_id",
    "sequence_id",
    "stream",
    "stream_id",
    "stream_sequence_id",
    "error",
    "state",
)
_OVERHEAD = 500
"""Bytes that an entry takes besides its payload, about."""
_SHOWN = 100
"""Characters of a payload that stand in the log."""

_logger = logging.getLogger("trio_webpubsub.emulator.traffic")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedMessage:
    """A message that a client sent."""

    time: float
    """On trio's clock."""
    hub: str
    connection_id: str
    user_id: str | None
    type: str
    """As it is called in the JSON subprotocols: ``"joinGroup"``, ``"sendToGroup"``, ``"event"`` and so on."""
    group: str | None = None
    event: str | None = None
    data: Any = None
    """Decoded; ``bytes`` if it is binary, or not what its data type says."""
    data_type: str | None = None
    ack_id: int | None = None
    details: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """What else the message says, if it does: ``no_echo``, ``ttl_seconds``, ``metadata``, ``invocation_id``,
    ``sequence_id``; of streams and states ``stream`` and ``error`` (both as `dict`), ``stream_id``,
    ``stream_sequence_id`` and ``state``."""

    def __str__(self) -> str:
        named = [_name(part) for part in (self.group, self.event) if part is not None]
        if self.data_type is not None:
            named += [self.data_type, _shown(self.data)]
        if self.ack_id is not None:
            named.append(f"(ack id {self.ack_id})")
        sender = self.connection_id if self.user_id is None else f"{self.connection_id} ({_shown(self.user_id)})"
        return f"{self.hub}: {sender} {' '.join([self.type, *named])}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedRequest:
    """A request that came over REST, and the status with which it was answered."""

    time: float
    """On trio's clock."""
    method: str
    path: str
    """As it came, percent signs and all."""
    query: str
    content_type: str | None
    body: bytes
    status: int
    refusal: str | None = None
    """Why it was not carried out, where its answer says that or ought to."""

    def __str__(self) -> str:
        body = f" {_shown(self.body)}" if self.body else ""
        why = f", {ascii(self.refusal)[1:-1]}" if self.refusal else ""
        return f"{self.method} {self.path}{body}: {self.status}{why}"


Received: TypeAlias = ReceivedMessage | ReceivedRequest
"""What the emulator was sent: a `ReceivedMessage` by a client, a `ReceivedRequest` by an application server."""


class Record:
    """The newest of what was received, within bounds. What falls out is counted."""

    def __init__(self, entries: int, size: int) -> None:
        self.dropped: int = 0
        """How many entries are not there any more."""
        self._entries: deque[tuple[int, Callable[[], Received]]] = deque()
        self._most = entries
        self._room = size

    def message(self, now: float, hub: str, connection: Connection, message: wire.Upstream) -> None:
        """Note a client's message; ``hub`` is the name of its hub. The connection itself is not kept."""
        sender, user_id = connection.id, connection.user_id
        payload: wire.Payload | None = getattr(message, "payload", None)
        state: Mapping[str, str] = getattr(message, "state", None) or {}
        size = sum(len(key) + len(value) for key, value in state.items())
        size += 0 if payload is None else len(payload.body)
        self._add(size, lambda: _message(now, hub, sender, user_id, message))

    def request(self, now: float, request: Request, status: int, refusal: str | None) -> None:
        """Note a request, and why it was refused, if it was; its token is left out."""
        entry = ReceivedRequest(
            time=now,
            method=request.method,
            path=request.path,
            query=request.query,
            content_type=request.headers.get("content-type"),
            body=request.body,
            status=status,
            refusal=refusal,
        )
        size = len(request.body) + len(request.query) + len(request.path)
        self._add(size, lambda: entry, logging.DEBUG if refusal is None else logging.INFO)

    def entries(self) -> list[Received]:
        """Give all that is there, the oldest first."""
        return [entry() for _, entry in self._entries]

    def clear(self) -> None:
        """Forget all of it, and the count of what fell out."""
        self._room += sum(size for size, _ in self._entries)
        self._entries.clear()
        self.dropped = 0

    def _add(self, size: int, entry: Callable[[], Received], level: int = logging.DEBUG) -> None:
        if _logger.isEnabledFor(level):
            _logger.log(level, "%s", entry())
        size += _OVERHEAD
        self._entries.append((size, entry))
        self._room -= size
        while self._entries and (self._room < 0 or len(self._entries) > self._most):
            self._room += self._entries.popleft()[0]
            self.dropped += 1


def _message(now: float, hub: str, connection_id: str, user_id: str | None, message: wire.Upstream) -> ReceivedMessage:
    payload: wire.Payload | None = getattr(message, "payload", None)
    return ReceivedMessage(
        time=now,
        hub=hub,
        connection_id=connection_id,
        user_id=user_id,
        type=_type(message),
        group=getattr(message, "group", None),
        event=getattr(message, "event", None),
        data=None if payload is None else _data(payload),
        data_type=None if payload is None else payload.data_type,
        ack_id=getattr(message, "ack_id", None),
        details=_details(message),
    )


def _details(message: wire.Upstream) -> dict[str, Any]:
    details: dict[str, Any] = {}
    for name in _DETAILS:
        value = getattr(message, name, None)
        if isinstance(value, wire.StreamStart | wire.StreamEndError):
            value = {field: getattr(value, field) for field in value.__struct_fields__}
        if value is not None and value is not False:
            details[name] = value
    return details


def _type(message: wire.Upstream) -> str:
    match message:
        case wire.SendEvent():
            return "event"
        case wire.OpenStream():
            return "sendToGroup"
        case _:
            name = type(message).__name__
            return name[0].lower() + name[1:]


def _data(payload: wire.Payload) -> Any:
    try:
        return data_of(payload)
    except InvalidPayload:
        return payload.body


def _name(text: str) -> str:
    """Write a name as it is, unless a terminal would obey it."""
    return text if text.isprintable() else ascii(text)


def _shown(value: object) -> str:
    """Write a value on one line, in ASCII: a terminal obeys some of the other characters."""
    text = ascii(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
