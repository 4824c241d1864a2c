"""What a hub wants done. The shell does it in the order given.

An effect names a transport, never a connection: when a session has moved on to another transport, nothing that was
meant for the old one can reach the new one by mistake.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from ...protocol.wire import Control, Numbered, Payload
from .inputs import ConnectRequest

Transport: TypeAlias = int
"""A number that the shell chooses for each WebSocket (each request for one, to be exact), and never uses again."""

Token: TypeAlias = int
"""Names a question about an event until its answer."""


@dataclass(frozen=True, slots=True)
class Upgrade:
    """Accept the handshake, then tell `Hub.transport_opened`."""

    transport: Transport
    subprotocol: str | None
    """As the client spells it."""


@dataclass(frozen=True, slots=True)
class Reject:
    """Answer the handshake with this HTTP status."""

    transport: Transport
    status: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Send:
    """Send one message that has no sequence id."""

    transport: Transport
    message: Control


@dataclass(frozen=True, slots=True)
class Deliver:
    """Send one message to many: written once, with each recipient's own sequence id where there is one."""

    message: Numbered
    recipients: Sequence[tuple[Transport, int | None]]


@dataclass(frozen=True, slots=True)
class Close:
    """Close the transport with a close frame. Nothing that still comes from it counts."""

    transport: Transport
    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class Abort:
    """Cut the transport without a close frame. Nothing that still comes from it counts."""

    transport: Transport


@dataclass(frozen=True, slots=True)
class AskConnect:
    """Ask whether a client may connect; the answer goes to `Hub.answer_connect`."""

    transport: Transport
    request: ConnectRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class AskEvent:
    """Ask what a client's event results in; the answer goes to `Hub.answer_event`."""

    token: Token
    connection_id: str
    user_id: str | None
    subprotocol: str | None
    event: str
    payload: Payload | None
    metadata: Mapping[str, str] | None
    invocation_id: str | None
    """Set when the client waits for the result, as with a function call."""


@dataclass(frozen=True, slots=True)
class Withdraw:
    """Nobody waits for the answer to `AskEvent` any more."""

    token: Token


Notice: TypeAlias = Literal["connected", "disconnected", "joined", "left"]
"""What event handlers are told without being asked."""


@dataclass(frozen=True, slots=True)
class Notify:
    """Tell whoever handles events what happened to a connection."""

    notice: Notice
    connection_id: str
    user_id: str | None
    subprotocol: str | None
    detail: str = ""
    """Why it was disconnected; which group it joined or left."""


Effect: TypeAlias = Send | Deliver | Close | Abort | AskEvent | Withdraw | Notify
"""What the life of a connection brings; the others belong to its beginning and are results of their own."""
