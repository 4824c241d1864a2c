"""What travels between client and service, as values; a codec turns them into the bytes of one subprotocol and back.

The service's side writes every message as a `DataMessage`. The client's side reads it as what its user gets to see,
`GroupMessage` or `ServerMessage` of `messages`, since anything in between would be made a million times for nothing.

Sources: the client protocol pages of the service's documentation and the client specification
(``protocols/client/client-spec.md`` in Azure/azure-webpubsub).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import msgspec

from .messages import GroupMessage, ServerMessage


class Payload(msgspec.Struct, frozen=True):
    """What a message carries, in the form from which every subprotocol can be written without decoding it."""

    data_type: str
    """``"text"``, ``"json"``, ``"binary"`` or ``"protobuf"``."""
    body: bytes
    """UTF-8 text, JSON text, the bytes themselves, or a serialised ``google.protobuf.Any``."""


class WireError(msgspec.Struct, frozen=True):
    """Why the service refused something. Names are open: the service may add some."""

    name: str = ""
    message: str = ""


# Client to service


class JoinGroup(msgspec.Struct, frozen=True):
    group: str
    ack_id: int | None = None


class LeaveGroup(msgspec.Struct, frozen=True):
    group: str
    ack_id: int | None = None


class SendToGroup(msgspec.Struct, frozen=True, kw_only=True):
    group: str
    payload: Payload
    ack_id: int | None = None
    no_echo: bool = False
    ttl_seconds: int | None = None
    metadata: Mapping[str, str] | None = None


class SendEvent(msgspec.Struct, frozen=True, kw_only=True):
    event: str
    payload: Payload
    ack_id: int | None = None
    metadata: Mapping[str, str] | None = None


class Invoke(msgspec.Struct, frozen=True, kw_only=True):
    invocation_id: str
    event: str
    payload: Payload | None = None
    metadata: Mapping[str, str] | None = None


class CancelInvocation(msgspec.Struct, frozen=True):
    invocation_id: str


class SequenceAck(msgspec.Struct, frozen=True):
    """Confirms every message up to this id."""

    sequence_id: int


class Ping(msgspec.Struct, frozen=True):
    pass


Upstream: TypeAlias = JoinGroup | LeaveGroup | SendToGroup | SendEvent | Invoke | CancelInvocation | SequenceAck | Ping

# Service to client


class ConnectedMessage(msgspec.Struct, frozen=True, kw_only=True):
    """The first message of a session; it may come again after a recovery, with a newer token."""

    connection_id: str
    user_id: str | None = None
    reconnection_token: str | None = None

    def __repr__(self) -> str:  # the reconnection token is a secret
        return f"ConnectedMessage(connection_id={self.connection_id!r}, user_id={self.user_id!r})"


class DisconnectedMessage(msgspec.Struct, frozen=True):
    """The service is about to close the connection."""

    message: str | None = None


class Ack(msgspec.Struct, frozen=True, rename="camel"):
    ack_id: int
    success: bool
    error: WireError | None = None


class Pong(msgspec.Struct, frozen=True):
    pass


class InvokeResponse(msgspec.Struct, frozen=True, kw_only=True):
    invocation_id: str
    success: bool
    payload: Payload | None = None
    error: WireError | None = None
    metadata: Mapping[str, str] | None = None


class DataMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message as the service's side writes it: to a group's members, or from the server if ``group`` is ``None``."""

    payload: Payload
    group: str | None = None
    from_user_id: str | None = None
    metadata: Mapping[str, str] | None = None


class UnknownMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message of a type that this version does not know: passed over, but its sequence id counts."""

    type: str
    sequence_id: int | None = None


Control: TypeAlias = ConnectedMessage | DisconnectedMessage | Ack | Pong | InvokeResponse
"""What the service sends to one connection, without a sequence id."""

Downstream: TypeAlias = GroupMessage | ServerMessage | Control | UnknownMessage
"""What the client's side reads."""
