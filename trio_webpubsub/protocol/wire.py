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

from .messages import GroupMessage, ServerMessage, StreamInfo


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


class StreamStart(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """What begins a stream. Only groups have streams so far; that events carry it is reserved by the schema."""

    stream_id: str
    idle_timeout_ms: int | None = None
    """Milliseconds without a fragment after which the service ends the stream; five minutes if not given."""


class SendEvent(msgspec.Struct, frozen=True, kw_only=True):
    event: str
    payload: Payload
    ack_id: int | None = None
    metadata: Mapping[str, str] | None = None
    stream: StreamStart | None = None


class Invoke(msgspec.Struct, frozen=True, kw_only=True):
    invocation_id: str
    event: str
    payload: Payload | None = None
    metadata: Mapping[str, str] | None = None
    stream: StreamStart | None = None


class CancelInvocation(msgspec.Struct, frozen=True):
    invocation_id: str


class OpenStream(msgspec.Struct, frozen=True, kw_only=True):
    """Begins a stream to a group: a ``sendToGroup`` that carries a start instead of data (a preview of the service)."""

    group: str
    stream: StreamStart
    no_echo: bool = False


class StreamData(msgspec.Struct, frozen=True):
    """A fragment of a stream; without number and payload a sign that its sender lives."""

    stream_id: str
    stream_sequence_id: int | None = None
    payload: Payload | None = None


class StreamEndError(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """Why a sender ended its stream early. Members of the group get it under the name ``UserError``."""

    message: str | None = None
    user_error_code: str | None = None


class StreamEnd(msgspec.Struct, frozen=True):
    stream_id: str
    error: StreamEndError | None = None


class SetGroupState(msgspec.Struct, frozen=True):
    """Replaces this connection's state in a group (a preview of the service); ``None`` clears it."""

    group: str
    state: Mapping[str, str] | None = None
    ack_id: int | None = None


class SubscribeGroupState(msgspec.Struct, frozen=True):
    group: str
    ack_id: int | None = None


class UnsubscribeGroupState(msgspec.Struct, frozen=True):
    group: str
    ack_id: int | None = None


class SequenceAck(msgspec.Struct, frozen=True):
    """Confirms every message up to this id."""

    sequence_id: int


class Ping(msgspec.Struct, frozen=True):
    pass


Acknowledged: TypeAlias = (
    JoinGroup | LeaveGroup | SendToGroup | SendEvent | SetGroupState | SubscribeGroupState | UnsubscribeGroupState
)
"""The messages that can have an ack id."""

StreamMessage: TypeAlias = OpenStream | StreamData | StreamEnd
"""What a stream's sender writes. The answers are messages of their own, not acks."""

Upstream: TypeAlias = Acknowledged | StreamMessage | Invoke | CancelInvocation | SequenceAck | Ping

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


class StreamAck(msgspec.Struct, frozen=True, rename="camel"):
    """Confirms the opening of a stream, and every fragment below the one that is expected next."""

    stream_id: str
    expected_sequence_id: int


class StreamNack(msgspec.Struct, frozen=True):
    """The service did not take a fragment: its sender goes back to the one that is expected."""

    stream_id: str
    expected_sequence_id: int
    name: str = ""
    message: str = ""


class StreamClosed(msgspec.Struct, frozen=True):
    """The end of a stream, or the refusal to open it."""

    stream_id: str
    error: WireError | None = None


class GroupStateItem(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What one connection has set as its state in a group."""

    connection_id: str
    user_id: str | None = None
    state: Mapping[str, str] | None = None
    """``None`` where the state was removed."""
    updated_at: int = 0
    """Milliseconds since 1970."""


class GroupState(msgspec.Struct, frozen=True, kw_only=True):
    """States in a group: all of them (a snapshot), or those that changed."""

    group: str
    items: list[GroupStateItem]
    snapshot: bool
    sequence_id: int | None = None

    @property
    def size(self) -> int:
        """About the bytes of its items."""
        return sum(
            len(item.connection_id) + sum(len(key) + len(value) for key, value in (item.state or {}).items())
            for item in self.items
        )


class DataMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message as the service's side writes it: to a group's members, or from the server if ``group`` is ``None``."""

    payload: Payload
    group: str | None = None
    from_user_id: str | None = None
    metadata: Mapping[str, str] | None = None
    stream: StreamInfo | None = None

    @property
    def size(self) -> int:
        """Bytes of its payload."""
        return len(self.payload.body)


class UnknownMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message of a type that this version does not know: passed over, but its sequence id counts."""

    type: str
    sequence_id: int | None = None


Control: TypeAlias = (
    ConnectedMessage | DisconnectedMessage | Ack | Pong | InvokeResponse | StreamAck | StreamNack | StreamClosed
)
"""What the service sends to one connection, without a sequence id."""

Numbered: TypeAlias = DataMessage | GroupState
"""What the service's side gives a sequence id."""

Downstream: TypeAlias = GroupMessage | ServerMessage | GroupState | Control | UnknownMessage
"""What the client's side reads."""
