"""What the shell tells a hub: who wants to connect, and the answers to the hub's questions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from ...protocol.wire import Payload, WireError


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectRequest:
    """A client wants a new connection, and its token (if it needed one) is good."""

    connection_id: str
    """Unique, and not to be guessed."""
    session_secret: bytes = field(default=b"", repr=False)
    """Random bytes, for the session of a reliable subprotocol."""
    subprotocols: Sequence[str] = ()
    """What the client offers, as it spells it."""
    user_id: str | None = None
    roles: Sequence[str] = ()
    groups: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectAccepted:
    """The client may connect; what is not ``None`` replaces what its token says."""

    subprotocol: str | None = None
    """One that the client offers; ``None`` for the first of them that the service knows, if there is one."""
    user_id: str | None = None
    """An empty one makes the client anonymous."""
    roles: Sequence[str] | None = None
    groups: Sequence[str] | None = None


@dataclass(frozen=True, slots=True)
class ConnectRefused:
    """The client may not connect, and gets this HTTP status."""

    status: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class EventHandled:
    """The event was handled. A payload is the reply: to an invocation its result, else a message to the connection."""

    payload: Payload | None = None
    metadata: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class EventFailed:
    """The event was not handled, or without success."""

    error: WireError


ConnectAnswer: TypeAlias = ConnectAccepted | ConnectRefused
EventAnswer: TypeAlias = EventHandled | EventFailed

UNHANDLED = EventFailed(WireError("InternalServerError", "No event handler takes this event."))
"""The answer where nobody handles events."""
