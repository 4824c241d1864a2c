"""The service's side of an event: the request to the application written, and its answer read.

Nothing here waits or tries again; how long the service waits and how often it asks are constants.

Sources: as in `cloudevents`; the figures, and what counts as success, are those of the official emulator.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias
from urllib.parse import quote

import msgspec

from . import cloudevents as ce
from .cloudevents_values import ClientCertificate
from .errors import InvalidPayload
from .names import check_group
from .payloads import check_metadata
from .wire import Payload

EVENT_TIMEOUT = 100.0
"""Seconds until the head of an answer, all tries included."""
VALIDATION_TIMEOUT = 10.0
"""Seconds for one validation request."""
RETRY_DELAYS = (1.0, 3.0, 5.0)
"""Seconds before each further try."""
VALIDATION_INTERVAL = 60.0
"""Seconds after a successful validation until the next, and the longest after one that failed (1, 2, 4, ...)."""

Headers: TypeAlias = Iterable[tuple[str, str]]


class EventRequest(msgspec.Struct, frozen=True):
    """An HTTP request without its address. Cookies are the sender's to add."""

    method: str
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes = b""


class EventSource(msgspec.Struct, frozen=True, kw_only=True):
    """What every request about one connection says."""

    origin: str
    """The host name of the service, with its port where that is not the scheme's own."""
    hub: str
    connection_id: str
    user_id: str | None = None
    subprotocol: str | None = None
    state: str | None = None
    """What handlers have stored: ``None`` while nothing was, and ``""`` after it was emptied."""
    keys: Sequence[str] = ()
    """The access keys that sign, the primary one first; without any the request is not signed."""

    def __repr__(self) -> str:  # the keys are secrets
        return f"EventSource(hub={self.hub!r}, connection_id={self.connection_id!r})"


class ConnectOverrides(msgspec.Struct, frozen=True, kw_only=True):
    """The client may connect; what is not ``None`` replaces what its token says."""

    user_id: str | None = None
    """``""`` makes it anonymous."""
    roles: Sequence[str] | None = None
    groups: Sequence[str] | None = None
    """Never empty: an empty list counts as none."""
    subprotocol: str | None = None
    """One that the client offered."""
    state: str | None = None
    """What is stored from now on; ``None`` leaves it as it is."""


class EventReply(msgspec.Struct, frozen=True, kw_only=True):
    """The event was handled."""

    payload: Payload | None = None
    """What the client gets; ``None`` for nothing."""
    metadata: Mapping[str, str] | None = None
    state: str | None = None
    """What is stored from now on; ``None`` leaves it as it is."""


class HandlerFailure(msgspec.Struct, frozen=True, kw_only=True):
    """The event was not handled, or its answer is of no use."""

    kind: Literal["status", "body", "content type", "metadata", "size"]
    """What is wrong with the answer."""
    detail: str
    """For the log; quotes nothing of the answer."""
    status: int

    @property
    def client_status(self) -> int:
        """What the handshake of a client fails with that wanted to connect: the handler's own 4xx, else 500."""
        return self.status if self.kind == "status" and 400 <= self.status < 500 else 500


def event_url(template: str, *, hub: str, event: str) -> str:
    """Fill in the address of an event handler; for its validation the event is ``validate``.

    Args:
        template: An absolute URL, with ``{hub}`` and ``{event}`` in any case.
        hub: Whose event it is.
        event: What it is called.

    Raises:
        ValueError: The template holds another parameter, or one in its host, or is not an http(s) URL.
    """
    if not re.match(r"https?://[^/?#{}]+([/?]|$)", template, re.IGNORECASE):
        raise ValueError(
            "the address of an event handler is a URL, beginning http:// or https://, without a parameter in its host"
        )
    values = {"hub": hub, "event": event}

    def fill(match: re.Match[str]) -> str:
        name = match[1].lower()
        if name not in values:
            raise ValueError(f"the address of an event handler has {{hub}} and {{event}}, and no {match[0][:60]!a}")
        return quote(values[name], safe="")

    return re.sub(r"\{([^{}]*)\}", fill, template)


# Requests


def write_validation(origin: str, *, method: Literal["OPTIONS", "GET"] = "OPTIONS") -> EventRequest:
    """Ask whether events may be sent there. ``GET`` is for where ``OPTIONS`` was answered with 404.

    Raises:
        ValueError: The origin cannot stand in a header.
    """
    return EventRequest(method, ((b"webhook-request-origin", _header_bytes(origin)), (b"ce-awpsversion", b"1.0")))


def write_connect(
    source: EventSource,
    *,
    time: float,
    claims: Mapping[str, Sequence[str]],
    query: Mapping[str, Sequence[str]],
    headers: Mapping[str, Sequence[str]],
    subprotocols: Sequence[str] = (),
    client_certificates: Sequence[ClientCertificate] = (),
) -> EventRequest:
    """Write that a client wants to connect.

    Args:
        source: The connection that it would be.
        time: Seconds since 1970.
        claims: Of its token.
        query: Of its URL, the token already left out.
        headers: Of its request, the token already left out.
        subprotocols: What it offers, in its order.
        client_certificates: What it showed.

    Raises:
        ValueError: A value cannot stand in a header.
    """
    content = {
        "claims": claims,
        "query": query,
        "headers": headers,
        "subprotocols": subprotocols,
        "clientCertificates": client_certificates,
    }
    return _event(source, f"{ce.SYSTEM_PREFIX}connect", 0, time, ce.CONTENT_TYPES["json"], msgspec.json.encode(content))


def write_connected(source: EventSource, *, event_id: int, time: float) -> EventRequest:
    """Write that a client has connected.

    Args:
        source: Its connection.
        event_id: The number of the event within the connection, from 1.
        time: Seconds since 1970.

    Raises:
        ValueError: A value cannot stand in a header.
    """
    return _event(source, f"{ce.SYSTEM_PREFIX}connected", event_id, time, ce.CONTENT_TYPES["json"], b"{}")


def write_disconnected(source: EventSource, *, event_id: int, time: float, reason: str | None = None) -> EventRequest:
    """Write that a connection has ended; the arguments are those of `write_connected`.

    Raises:
        ValueError: A value cannot stand in a header.
    """
    body = msgspec.json.encode({"reason": reason})
    return _event(source, f"{ce.SYSTEM_PREFIX}disconnected", event_id, time, ce.CONTENT_TYPES["json"], body)


def write_group_event(
    source: EventSource, *, event_id: int, time: float, change: Literal["joined", "left"], group: str
) -> EventRequest:
    """Write that a connection came into a group or went out; the arguments are those of `write_connected`.

    Raises:
        ValueError: A value cannot stand in a header.
    """
    body = msgspec.json.encode({"group": group})
    return _event(source, f"{ce.GROUP_PREFIX}{change}", event_id, time, ce.CONTENT_TYPES["json"], body)


def write_user_event(
    source: EventSource,
    *,
    event_id: int,
    time: float,
    event: str,
    payload: Payload | None,
    metadata: Mapping[str, str] | None = None,
) -> EventRequest:
    """Write a client's event (``"message"`` for a simple client's message), an invocation included.

    Args:
        source: Its connection.
        event_id: The number of the event within the connection, from 1.
        time: Seconds since 1970.
        event: What it is called.
        payload: What was sent; ``None`` where that was only metadata.
        metadata: What was attached to it.

    Raises:
        ValueError: A value cannot stand in a header.
    """
    data = payload or Payload("text", b"")
    content_type = ce.CONTENT_TYPES[data.data_type]
    more = ce.metadata_headers(metadata or {})
    return _event(source, f"{ce.USER_PREFIX}{event}", event_id, time, content_type, data.body, more)


# Answers


def may_succeed_later(status: int) -> bool:
    """Whether a request that was answered with this status is tried again."""
    return status == 408 or status >= 500


def is_validated(status: int, headers: Headers, origin: str) -> bool:
    """Whether a validation request was answered with yes: by a line of its own for the origin, or for all."""
    lines = (value.strip().lower() for name, value in headers if name.lower() == ce.ALLOWED_ORIGIN)
    return 200 <= status < 300 and any(line in ("*", origin.lower()) for line in lines)


def read_notification_answer(status: int) -> HandlerFailure | None:
    """Read the answer to an event that nobody waits for: only whether it was taken counts."""
    return None if 200 <= status < 300 else _failed(status)


def read_connect_answer(
    status: int, headers: Headers, body: bytes, *, offered: Sequence[str] = ()
) -> ConnectOverrides | HandlerFailure:
    """Read the answer about a client that wants to connect.

    Args:
        status: Of the answer.
        headers: Of the answer, names in any case.
        body: Of the answer.
        offered: The subprotocols that the client offered, one of which the answer may choose.
    """
    if (wrong := _check(status, body)) is not None:
        return wrong
    state = _last(headers, ce.STATE)
    try:
        # No field in the answer is told by its case.
        content: dict[str, Any] = (body.strip() and msgspec.json.decode(body, type=dict[str, Any] | None)) or {}
        fields = {name.lower(): value for name, value in content.items() if value is not None}
        accept = msgspec.convert(fields, _AcceptBody)
        for group in accept.groups:
            check_group(group)
    except (ValueError, RecursionError):
        return HandlerFailure(kind="body", detail="the answer's body is not what a connect event has", status=status)
    if accept.subprotocol is not None and accept.subprotocol not in offered:
        detail = "the answer chooses a subprotocol that the client did not offer"
        return HandlerFailure(kind="body", detail=detail, status=status)
    return ConnectOverrides(
        user_id=accept.userid,
        roles=accept.roles,
        groups=accept.groups or None,
        subprotocol=accept.subprotocol,
        state=state,
    )


def read_event_answer(status: int, headers: Headers, body: bytes) -> EventReply | HandlerFailure:
    """Read the answer to a client's event.

    Args:
        status: Of the answer.
        headers: Of the answer, names in any case.
        body: Of the answer.
    """
    if (wrong := _check(status, body)) is not None:
        return wrong
    lines = [(name.lower(), value) for name, value in headers]
    # The official emulator takes what follows the last comma, since a proxy may have joined several lines.
    metadata = {
        name: value.rpartition(",")[2].strip() for name, value in ce.prefixed(lines, ce.METADATA_PREFIX).items()
    }
    try:
        check_metadata(metadata)
    except ValueError as error:
        return HandlerFailure(kind="metadata", detail=str(error), status=status)
    payload: Payload | None = None
    if body:
        content_type = _last(lines, "content-type") or ce.CONTENT_TYPES["binary"]
        if (data_type := ce.DATA_TYPES.get(ce.media_type(content_type))) is None:
            return HandlerFailure(kind="content type", detail="no message can have this content type", status=status)
        try:
            payload = Payload(data_type, ce.wire_body(body, data_type, content_type))
        except InvalidPayload as error:
            return HandlerFailure(kind="body", detail=str(error), status=status)
    elif metadata:
        payload = Payload("text", b"")
    return EventReply(payload=payload, metadata=metadata or None, state=_last(lines, ce.STATE))


class _AcceptBody(msgspec.Struct):
    userid: str | None = None
    roles: list[str] | None = None
    groups: list[str] = []
    subprotocol: str | None = None


def _check(status: int, body: bytes) -> HandlerFailure | None:
    if not 200 <= status < 300:
        return _failed(status)
    if len(body) > ce.MAX_ANSWER_SIZE:
        return HandlerFailure(kind="size", detail=f"the answer has {len(body):,} bytes", status=status)
    return None


def _failed(status: int) -> HandlerFailure:
    return HandlerFailure(kind="status", detail=f"the answer has the status {status}", status=status)


def _last(headers: Headers, name: str) -> str | None:
    values = [value for each, value in headers if each.lower() == name]
    return values[-1].strip() if values else None


def _event(
    source: EventSource,
    type_: str,
    event_id: int,
    time: float,
    content_type: str,
    body: bytes,
    more: Sequence[tuple[str, str]] = (),
) -> EventRequest:
    headers = [
        ("content-type", content_type),
        ("webhook-request-origin", source.origin),
        ("ce-specversion", "1.0"),
        ("ce-awpsversion", "1.0"),
        ("ce-type", type_),
        ("ce-source", f"/hubs/{source.hub}/client/{source.connection_id}"),
        ("ce-id", str(event_id)),
        ("ce-time", datetime.fromtimestamp(int(time), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")),
        ("ce-hub", source.hub),
        ("ce-connectionId", source.connection_id),
        ("ce-eventName", type_.split(".", 3)[3]),
    ]
    if source.keys:
        headers.append(("ce-signature", ce.signatures(source.keys, source.connection_id)))
    if source.user_id:
        headers.append(("ce-userId", source.user_id))
    if source.subprotocol:
        headers.append(("ce-subprotocol", source.subprotocol))
    if source.state is not None:
        headers.append(("ce-connectionState", source.state))
    return EventRequest("POST", tuple((name.encode(), _header_bytes(value)) for name, value in [*headers, *more]), body)


def _header_bytes(value: str) -> bytes:
    """Write a header's value in UTF-8, which user ids need."""
    if any(character < " " or character == "\x7f" for character in value):
        raise ValueError("a value with control characters cannot stand in a header")
    return value.encode()
