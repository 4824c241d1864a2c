"""The values that users of the client get to see: messages, results, and what happened to the connection."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

import msgspec

from .errors import InvalidPayload

DataType: TypeAlias = Literal["json", "text", "binary", "protobuf"]
"""How a payload travels: any JSON value, a string, bytes, or a serialised ``google.protobuf.Any``."""

T = TypeVar("T")


# What most messages have, so that a codec can decode straight into the message; it looks at larger ones itself.
_SequenceId: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]
_NotEmpty: TypeAlias = Annotated[str, msgspec.Meta(min_length=1)]


# Nothing in these two can refer to anything else, so the garbage collector, which a fragment would cost a fifth of its
# decoding, need not look at them.
class StreamError(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True, gc=False):
    """Why a group stream ended early."""

    name: str = ""
    """What kind of error; the service may add kinds."""
    message: str = ""
    user_error_code: str | None = None
    """The sender's own code, where ``name`` is ``"UserError"``."""


class StreamInfo(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True, gc=False):
    """Which fragment of which group stream a group message is (a preview of the service)."""

    stream_id: str
    """Names the stream among those of its sender."""
    stream_sequence_id: int
    """The fragment's place in the stream, from 1."""
    end_of_stream: bool = False
    """True for the last one, which may have no payload."""
    error: StreamError | None = None
    """Set on the last one when the stream did not end as its sender wished."""


class _Payload(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    # Messages are decoded from JSON frames as they are, since any step between costs as much as the decoding.
    data: Any = None
    """What was sent: a JSON value, ``str`` for text, ``bytes`` for binary and protobuf."""
    data_type: str = "json"
    """``"json"``, ``"text"``, ``"binary"``, ``"protobuf"``, or a kind that this version does not know."""
    sequence_id: _SequenceId | None = None
    """Where the message stands in its session; ``None`` on subprotocols that are not reliable."""
    metadata: Mapping[str, str] | None = None
    """What the sender attached to the message, if anything."""
    # The names of these two keep a field of the frame from being taken for them.
    data_error: str | None = msgspec.field(default=None, name="!dataError")
    """Why ``data`` could not be decoded; then ``data`` is ``None`` and ``raw`` holds what came."""
    raw: bytes | None = msgspec.field(default=None, name="!raw")
    """The payload as it stood in the frame, only where it could not be decoded."""

    def decode_as(self, type: type[T]) -> T:
        """Give ``data`` as a value of ``type``: a dataclass, ``TypedDict``, msgspec struct, or what else msgspec knows.

        Raises:
            InvalidPayload: ``data`` does not fit ``type``, or could not be decoded in the first place.
        """
        if self.data_error is not None:
            raise InvalidPayload(self.data_error)
        return _converted(self.data, type)


def _converted(data: Any, type: type[T]) -> T:
    try:
        return msgspec.convert(data, type)
    except msgspec.ValidationError as error:
        raise InvalidPayload(str(error)) from error


class GroupMessage(_Payload, frozen=True, kw_only=True, tag_field="from", tag="group"):
    """A message that came because this connection is a member of a group."""

    group: str
    """The group it was sent to."""
    from_user_id: _NotEmpty | None = None
    """The sender's user id; ``None`` for an anonymous sender, for the service's REST API, and always where the
    subprotocol is protobuf, whose messages do not say it."""
    stream: StreamInfo | None = None
    """Set when the message is a fragment of a group stream."""


class ServerMessage(_Payload, frozen=True, kw_only=True, tag_field="from", tag="server"):
    """A message that the service's side sent to this connection, its user or everybody, or an event handler's reply."""


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """Messages are missing here. A subscription with ``gaps=True`` yields it in their place; neighbours are one."""

    session_lost: bool = False
    """A session was lost: whatever the service had not delivered then, and sent until the next one began."""
    unreadable: int = 0
    """Frames that could not be read at all."""
    overflowed: int = 0
    """Messages that did not fit into this subscription's buffer."""
    fragments: int = 0
    """Fragments of a group stream, by its own numbers (a preview of the service)."""

    def __add__(self, other: Gap) -> Gap:
        return Gap(
            session_lost=self.session_lost or other.session_lost,
            unreadable=self.unreadable + other.unreadable,
            overflowed=self.overflowed + other.overflowed,
            fragments=self.fragments + other.fragments,
        )


class MemberState(msgspec.Struct, frozen=True, kw_only=True):
    """What a connection has set as its state in a group (a preview of the service)."""

    user_id: str | None
    """``None`` when anonymous."""
    state: Mapping[str, str]
    updated_at: float
    """When it was set, by the service's clock, in seconds since 1970."""


class GroupStateChange(msgspec.Struct, frozen=True, kw_only=True):
    """A connection's state in a group is there, new, or gone (a preview of the service)."""

    connection_id: str
    user_id: str | None
    state: Mapping[str, str] | None
    """``None`` when the state was cleared, or its connection has gone."""
    updated_at: float
    """When that happened, by the service's clock, in seconds since 1970."""


class InvokeResult(msgspec.Struct, frozen=True, kw_only=True):
    """What an event handler answered to an invocation."""

    data: Any = None
    """A JSON value, ``str`` for text, ``bytes`` for binary and protobuf; ``None`` if the answer was empty."""
    data_type: str | None = None
    metadata: Mapping[str, str] | None = None

    def decode_as(self, type: type[T]) -> T:
        """Give ``data`` as a value of ``type``: a dataclass, ``TypedDict``, msgspec struct, or what else msgspec knows.

        Raises:
            InvalidPayload: ``data`` does not fit ``type``.
        """
        return _converted(self.data, type)


class SendResult(msgspec.Struct, frozen=True, kw_only=True):
    """What the service said to an acknowledged operation."""

    ack_id: int
    """The id under which it ran, unique within its session."""
    duplicated: bool = False
    """True when the service had already run it, and told so to a repetition of the same frame."""


class Connected(msgspec.Struct, frozen=True, kw_only=True):
    """A new session began. Where ``first`` is false an earlier one was lost, with what the service still held."""

    connection_id: str
    user_id: str | None = None
    first: bool


class Disconnected(msgspec.Struct, frozen=True, kw_only=True):
    """A transport (one WebSocket) ended; the session may still be recovered."""

    connection_id: str | None
    code: int
    """The WebSocket close code; 1006 when none came."""
    reason: str = ""
    """The text of the close frame."""
    message: str | None = None
    """The text of the service's ``disconnected`` message, if one came."""


class Recovered(msgspec.Struct, frozen=True, kw_only=True):
    """The session goes on over a new transport; nothing was lost."""

    connection_id: str


class ConnectAttemptFailed(msgspec.Struct, frozen=True, kw_only=True):
    """One try to recover or to reconnect failed (asking for a URL included)."""

    error: Exception
    next_delay: float | None
    """Seconds until the next try; ``None`` when there is none."""


class RejoinFailed(msgspec.Struct, frozen=True, kw_only=True):
    """The service refused a group of the last session in the new one."""

    group: str
    error: Exception


class Stopped(msgspec.Struct, frozen=True, kw_only=True):
    """The client ended for good."""

    reason: str


Lifecycle: TypeAlias = Connected | Disconnected | Recovered | ConnectAttemptFailed | RejoinFailed | Stopped
"""What `Client.lifecycle` yields: `Connected`, `Disconnected`, `Recovered`, `ConnectAttemptFailed`, `RejoinFailed`,
`Stopped`."""
