"""The JSON subprotocols: one object per WebSocket message, with a string ``type``.

A client reads in two ways. Nearly every frame is a message of a group or the server, or an acknowledgement, written
in one of the orders of fields that the service is known to use: its first bytes tell which, and it is decoded in one
step. Any other frame, and any frame that fails there, is read patiently: `envelope.scan` cuts it into fields and each
is decoded by itself, so that whatever is wrong costs only the field it stands in. Both ways give the same value where
both succeed.

Sources: the reference pages of ``json.webpubsub.azure.v1`` and ``json.reliable.webpubsub.azure.v1`` in the service's
documentation; where they are silent, what Microsoft's emulator reads and writes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from operator import itemgetter

import msgspec
from msgspec import UNSET, Raw, UnsetType
from msgspec.structs import force_setattr

from . import wire
from .json_downstream import UNDECODABLE, read_patiently
from .json_upstream import read_strictly
from .messages import GroupMessage, ServerMessage, StreamInfo

_MESSAGE = b'"type":"message","from":"'
_GROUP_MESSAGE = b'"type":"message","from":"group"'
_PONG = b'{"type":"pong"}'
_HEAD = 66
"""A message has `_MESSAGE` within so many bytes: at its beginning, or behind its sequence id."""


class _Outgoing(msgspec.Struct, kw_only=True, rename="camel", omit_defaults=True):
    """Any message as either side writes it. The order matters: readers tell messages apart by how they begin."""

    type: str
    from_: str | None = msgspec.field(default=None, name="from")
    group: str | None = None
    target: str | None = None
    event: str | None = None
    invocation_id: str | None = None
    user_id: str | UnsetType | None = UNSET
    from_user_id: str | UnsetType | None = UNSET
    connection_id: str | None = None
    reconnection_token: str | None = None
    message: str | None = None
    sequence_id: int | None = None
    ack_id: int | None = None
    success: bool | None = None
    error: wire.WireError | wire.StreamEndError | None = None
    no_echo: bool = False
    ttl_seconds: int | None = None
    metadata: Mapping[str, str] | None = None
    stream_id: str | None = None
    stream_sequence_id: int | None = None
    expected_sequence_id: int | None = None
    name: str | None = None
    state: Mapping[str, str] | None = None
    items: list[wire.GroupStateItem] | None = None
    data_type: str | None = None
    data: str | bytes | Raw | UnsetType = UNSET
    stream: StreamInfo | wire.StreamStart | None = None


class _SendToGroup(msgspec.Struct, tag_field="type", tag="sendToGroup", rename="camel", omit_defaults=True):
    """What a client writes most. Among the few fields that it can have, it is written in a third of the time."""

    group: str
    ack_id: int | None = None
    no_echo: bool = False
    ttl_seconds: int | None = None
    metadata: Mapping[str, str] | None = None
    data_type: str = ""
    data: str | bytes | Raw | UnsetType = UNSET


_encode = msgspec.json.Encoder().encode

_data_decoder: msgspec.json.Decoder[GroupMessage | ServerMessage] = msgspec.json.Decoder(GroupMessage | ServerMessage)
_decode_message = _data_decoder.decode
_decode_group_message = msgspec.json.Decoder(GroupMessage).decode
_decode_ack = msgspec.json.Decoder(wire.Ack).decode
_decode_stream_ack = msgspec.json.Decoder(wire.StreamAck).decode


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonCodec:
    """The `Codec` of both JSON subprotocols, which differ only in whether messages are given sequence ids."""

    subprotocol: str
    reliable: bool
    binary: bool = False

    # The client's side

    def encode_upstream(self, message: wire.Upstream) -> bytes:
        """Write a message to the service; a JSON payload is copied as it stands.

        Raises:
            ValueError: a name holds a lone surrogate.
        """
        if isinstance(message, wire.SendToGroup):  # nearly all, and a match statement would take half of the time
            return _group_send(message)
        match message:
            case wire.SendEvent(event=event, payload=payload):
                frame = _Outgoing(
                    type="event",
                    event=event,
                    ack_id=message.ack_id,
                    metadata=message.metadata,
                    data_type=payload.data_type,
                    data=_written(payload),
                    stream=message.stream,
                )
            case wire.StreamData(stream_id, number, payload):
                frame = _Outgoing(
                    type="streamData",
                    stream_id=stream_id,
                    stream_sequence_id=number,
                    data_type=None if payload is None else payload.data_type,
                    data=UNSET if payload is None else _written(payload),
                )
            case wire.SequenceAck(sequence_id):
                frame = _Outgoing(type="sequenceAck", sequence_id=sequence_id)
            case wire.Ping():
                frame = _Outgoing(type="ping")
            case wire.JoinGroup(group, ack_id):
                frame = _Outgoing(type="joinGroup", group=group, ack_id=ack_id)
            case wire.LeaveGroup(group, ack_id):
                frame = _Outgoing(type="leaveGroup", group=group, ack_id=ack_id)
            case wire.Invoke(payload=payload):
                frame = _Outgoing(
                    type="invoke",
                    target="event",
                    event=message.event,
                    invocation_id=message.invocation_id,
                    metadata=message.metadata,
                    data_type=None if payload is None else payload.data_type,
                    data=UNSET if payload is None else _written(payload),
                    stream=message.stream,
                )
            case wire.CancelInvocation(invocation_id):
                frame = _Outgoing(type="cancelInvocation", invocation_id=invocation_id)
            case wire.OpenStream(group=group, stream=stream):
                frame = _Outgoing(type="sendToGroup", group=group, no_echo=message.no_echo, stream=stream)
            case wire.StreamEnd(stream_id, error):
                frame = _Outgoing(type="streamEnd", stream_id=stream_id, error=error)
            case wire.SetGroupState(group, state, ack_id):
                frame = _Outgoing(type="setGroupState", group=group, state=state, ack_id=ack_id)
            case wire.SubscribeGroupState(group, ack_id):
                frame = _Outgoing(type="subscribeGroupState", group=group, ack_id=ack_id)
            case _:
                frame = _Outgoing(type="unsubscribeGroupState", group=message.group, ack_id=message.ack_id)
        return _encode(frame)

    def decode_downstream(self, frame: bytes) -> wire.Downstream:
        """Read a message from the service; a payload that cannot be decoded is a value of its message.

        A message whose ``sequenceId`` is there but is no positive 64-bit integer is unreadable as a whole. Without
        the id it could neither be told from its repetition after a recovery nor be confirmed, and a number that is
        too large would make every later message look like a repetition. That a frame was skipped is told to the user;
        anything else would go wrong in silence.

        Raises:
            UnreadableFrame: what the frame is, or one of the ids in it, cannot be read. The text quotes nothing of it.
        """
        try:
            if frame.startswith(b'{"type":"ack",'):
                return _decode_ack(frame)
            if frame.find(_MESSAGE, 0, _HEAD) > 0:
                message = _decode_message(frame)
                if _is_complete(message):
                    return message
            elif frame.startswith(b'{"type":"streamAck",'):
                return _decode_stream_ack(frame)
            elif frame == _PONG:
                return wire.Pong()
        except UNDECODABLE:
            pass
        return read_patiently(frame)

    def decode_messages(self, frames: list[bytes]) -> list[GroupMessage | ServerMessage] | None:
        """Read frames in one go, if all of them are messages as most are; ``None`` if each needs a look of its own."""
        if frames and frames[0].find(_MESSAGE, 0, _HEAD) <= 0:  # an ack most likely, and as likely alone
            return None
        decode = _decode_group_message if _all_begin_alike(frames, _GROUP_MESSAGE) else _decode_message
        if decode is _decode_message and not all(frame.find(_MESSAGE, 0, _HEAD) > 0 for frame in frames):
            return None
        try:
            messages = list(map(decode, frames))
            for message in messages:
                # The two that need nothing more are judged here, for a call costs as much as all the rest.
                if message.data_type == "text":
                    if type(message.data) is not str:
                        return None
                elif message.data_type == "json":
                    if message.data is None:
                        return None
                elif not _is_complete(message):
                    return None
        except UNDECODABLE:
            return None
        return messages

    # The service's side

    def decode_upstream(self, frame: bytes) -> wire.Upstream:
        """Read a message from a client. Whether names are possible ones is the hub's to judge.

        Raises:
            ProtocolViolation: with close code 1007, for a frame that is not one of the messages that are known.
        """
        return read_strictly(frame)

    def encode_control(self, message: wire.Control) -> bytes:
        """Write a message to one client."""
        match message:
            case wire.Ack(ack_id, success, error):
                frame = _Outgoing(type="ack", ack_id=ack_id, success=success, error=error)
            case wire.Pong():
                frame = _Outgoing(type="pong")
            case wire.ConnectedMessage():
                frame = _Outgoing(
                    type="system",
                    event="connected",
                    user_id=message.user_id,
                    connection_id=message.connection_id,
                    reconnection_token=message.reconnection_token,
                )
            case wire.DisconnectedMessage(text):
                frame = _Outgoing(type="system", event="disconnected", message=text)
            case wire.StreamAck(stream_id, expected):
                frame = _Outgoing(type="streamAck", stream_id=stream_id, expected_sequence_id=expected)
            case wire.StreamNack(stream_id, expected, name, text):
                frame = _Outgoing(
                    type="streamNack", stream_id=stream_id, expected_sequence_id=expected, name=name, message=text
                )
            case wire.StreamClosed(stream_id, error):
                frame = _Outgoing(type="streamClosed", stream_id=stream_id, error=error)
            case _:
                payload = message.payload
                frame = _Outgoing(
                    type="invokeResponse",
                    invocation_id=message.invocation_id,
                    success=message.success,
                    error=message.error,
                    metadata=message.metadata,
                    data_type=None if payload is None else payload.data_type,
                    data=UNSET if payload is None else _written(payload),
                )
        return _encode(frame)

    def encode_data(self, message: wire.Numbered) -> bytes:
        """Write, once for all its recipients, a message without its sequence id."""
        if isinstance(message, wire.GroupState):
            kind = "groupStateSnapshot" if message.snapshot else "groupStateUpdate"
            return _encode(_Outgoing(type=kind, group=message.group, items=message.items))
        return _encode(
            _Outgoing(
                type="message",
                from_="server" if message.group is None else "group",
                group=message.group,
                from_user_id=UNSET if message.group is None else message.from_user_id,
                metadata=message.metadata,
                data_type=message.payload.data_type,
                data=_written(message.payload),
                stream=message.stream,
            )
        )

    def with_sequence_id(self, data_message: bytes, sequence_id: int) -> bytes:
        """Give the output of `encode_data` one recipient's sequence id, as its first field."""
        return b'{"sequenceId":%d,' % sequence_id + data_message[1:]


JSON = JsonCodec(subprotocol="json.webpubsub.azure.v1", reliable=False)
"""Messages without sequence ids; the session ends with its transport."""

RELIABLE_JSON = JsonCodec(subprotocol="json.reliable.webpubsub.azure.v1", reliable=True)
"""Messages with sequence ids; a lost transport can be replaced."""


def _group_send(message: wire.SendToGroup) -> bytes:
    payload = message.payload
    data_type = payload.data_type
    return _encode(
        _SendToGroup(
            message.group,
            message.ack_id,
            message.no_echo,
            message.ttl_seconds,
            message.metadata,
            data_type,
            str(payload.body, "utf-8") if data_type == "text" else _written(payload),
        )
    )


def _all_begin_alike(frames: list[bytes], text: bytes) -> bool:
    """Tell whether ``text`` stands near the beginning of all frames, at the same place. A burst's mostly do."""
    place = frames[0].find(text, 0, _HEAD) if frames else -1
    return place > 0 and set(map(itemgetter(slice(place, place + len(text))), frames)) == {text}


def _is_complete(message: GroupMessage | ServerMessage) -> bool:
    """Make the data of a message what its type says; tell if it was not what it should be, or perhaps not there.

    Raises:
        msgspec.ValidationError: what should be bytes is no base64.
    """
    match message.data_type:
        case "text":
            return type(message.data) is str
        case "json":
            return message.data is not None  # None may be a null, or that there was no data
        case "binary" | "protobuf":
            force_setattr(message, "data", msgspec.convert(message.data, bytes))
            return True
        case _:
            return False


def _written(payload: wire.Payload) -> str | bytes | Raw:
    """What msgspec writes as the ``data`` of ``payload``; bytes become base64."""
    match payload.data_type:
        case "json":
            return Raw(payload.body)
        case "text":
            return str(payload.body, "utf-8")
        case _:
            return payload.body
