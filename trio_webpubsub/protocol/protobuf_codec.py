"""The protobuf subprotocols: one `UpstreamMessage` or `DownstreamMessage` of webpubsub.proto per WebSocket message.

Importing this module takes the ``protobuf`` extra, so whoever can do without it asks `subprotocols.codec_for`.

What a payload is follows from the field that it stands in. The service's documentation once said that JSON travels as
text; where it still does, it is read as the text that it is.

On the wire an absent value and an empty one are often the same. Read here are ``None`` for an empty user id, an empty
reason and metadata without entries; an empty name is left to whoever judges names. There is no sender's user id.

Source: the reference page of ``protobuf.reliable.webpubsub.azure.v1`` in the service's documentation, and the schema.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from . import wire
from .messages import StreamInfo

try:
    from .protobuf_downstream import read_downstream
    from .protobuf_upstream import read_upstream
    from .webpubsub_pb2 import DownstreamMessage, GroupStateItem, MessageData, UpstreamMessage
    from .webpubsub_pb2 import StreamInfo as StreamFields
except ImportError as _error:
    raise ImportError(
        "the protobuf subprotocols need the extra protobuf: python -m pip install 'trio-webpubsub[protobuf]'"
    ) from _error

# The byte that begins the sequence id, by the byte that begins the message it stands in.
_SEQUENCE_IDS = {
    message << 3 | 2: bytes([sequence_id << 3])
    for message, sequence_id in (
        (DownstreamMessage.DATA_MESSAGE_FIELD_NUMBER, DownstreamMessage.DataMessage.SEQUENCE_ID_FIELD_NUMBER),
        (
            DownstreamMessage.GROUP_STATE_UPDATE_MESSAGE_FIELD_NUMBER,
            DownstreamMessage.GroupStateUpdateMessage.SEQUENCE_ID_FIELD_NUMBER,
        ),
        (
            DownstreamMessage.GROUP_STATE_SNAPSHOT_MESSAGE_FIELD_NUMBER,
            DownstreamMessage.GroupStateSnapshotMessage.SEQUENCE_ID_FIELD_NUMBER,
        ),
    )
}


class ProtobufCodec(msgspec.Struct, frozen=True, kw_only=True):
    """The `Codec` of both protobuf subprotocols, which differ only in whether messages are given sequence ids."""

    subprotocol: str
    reliable: bool
    binary: bool = True

    # The client's side

    def encode_upstream(self, message: wire.Upstream) -> bytes:
        """Write a message to the service.

        Raises:
            ValueError: a name holds a lone surrogate, or an id has more than 64 bits.
        """
        match message:
            case wire.SendToGroup():
                frame = UpstreamMessage(
                    send_to_group_message=UpstreamMessage.SendToGroupMessage(
                        group=message.group,
                        ack_id=message.ack_id,
                        data=_written(message.payload),
                        no_echo=message.no_echo or None,
                        ttl_seconds=message.ttl_seconds,
                        metadata=message.metadata,
                    )
                )
            case wire.SendEvent():
                frame = UpstreamMessage(
                    event_message=UpstreamMessage.EventMessage(
                        event=message.event,
                        data=_written(message.payload),
                        ack_id=message.ack_id,
                        metadata=message.metadata,
                        stream=_stream_start(message.stream),
                    )
                )
            case wire.StreamData(stream_id, number, payload):
                frame = UpstreamMessage(
                    stream_data_message=UpstreamMessage.StreamDataMessage(
                        stream_id=stream_id,
                        stream_sequence_id=number,
                        data=None if payload is None else _written(payload),
                    )
                )
            case wire.SequenceAck(sequence_id):
                frame = UpstreamMessage(
                    sequence_ack_message=UpstreamMessage.SequenceAckMessage(sequence_id=sequence_id)
                )
            case wire.Ping():
                frame = UpstreamMessage(ping_message=UpstreamMessage.PingMessage())
            case wire.JoinGroup(group, ack_id):
                frame = UpstreamMessage(join_group_message=UpstreamMessage.JoinGroupMessage(group=group, ack_id=ack_id))
            case wire.LeaveGroup(group, ack_id):
                frame = UpstreamMessage(
                    leave_group_message=UpstreamMessage.LeaveGroupMessage(group=group, ack_id=ack_id)
                )
            case wire.Invoke():
                frame = UpstreamMessage(
                    invoke_event_message=UpstreamMessage.InvokeEventMessage(
                        event=message.event,
                        invocation_id=message.invocation_id,
                        data=None if message.payload is None else _written(message.payload),
                        metadata=message.metadata,
                        stream=_stream_start(message.stream),
                    )
                )
            case wire.CancelInvocation(invocation_id):
                frame = UpstreamMessage(
                    cancel_invocation_message=UpstreamMessage.CancelInvocationMessage(invocation_id=invocation_id)
                )
            case wire.OpenStream():
                frame = UpstreamMessage(
                    send_to_group_message=UpstreamMessage.SendToGroupMessage(
                        group=message.group, no_echo=message.no_echo or None, stream=_stream_start(message.stream)
                    )
                )
            case wire.StreamEnd(stream_id, error):
                frame = UpstreamMessage(
                    stream_end_message=UpstreamMessage.StreamEndMessage(
                        stream_id=stream_id,
                        error=None
                        if error is None
                        else UpstreamMessage.StreamEndMessage.StreamEndError(
                            message=error.message, user_error_code=error.user_error_code
                        ),
                    )
                )
            case wire.SetGroupState(group, state, ack_id):
                frame = UpstreamMessage(
                    set_group_state_message=UpstreamMessage.SetGroupStateMessage(
                        group=group, ack_id=ack_id, state=_state(state)
                    )
                )
            case wire.SubscribeGroupState(group, ack_id):
                frame = UpstreamMessage(
                    subscribe_group_state_message=UpstreamMessage.SubscribeGroupStateMessage(group=group, ack_id=ack_id)
                )
            case _:
                frame = UpstreamMessage(
                    unsubscribe_group_state_message=UpstreamMessage.UnsubscribeGroupStateMessage(
                        group=message.group, ack_id=message.ack_id
                    )
                )
        return frame.SerializeToString()

    def decode_downstream(self, frame: bytes) -> wire.Downstream:
        """Read a message from the service; a payload that cannot be decoded is a value of its message.

        Raises:
            UnreadableFrame: this is no protobuf message, holds a name that is not Unicode, or lacks what it cannot do
                without. A sequence id of zero is not readable either, as in the JSON subprotocols.
        """
        return read_downstream(frame)

    def decode_messages(self, frames: list[bytes]) -> None:
        """Give ``None``: nothing would be gained here by reading many in one step."""

    # The service's side

    def decode_upstream(self, frame: bytes) -> wire.Upstream:
        """Read a message from a client. Whether names are possible ones is the hub's to judge.

        Raises:
            ProtocolViolation: with close code 1007, for a frame that is not one of the messages that are known.
        """
        return read_upstream(frame)

    def encode_control(self, message: wire.Control) -> bytes:
        """Write a message to one client."""
        match message:
            case wire.Ack(ack_id, success, error):
                frame = DownstreamMessage(
                    ack_message=DownstreamMessage.AckMessage(
                        ack_id=ack_id,
                        success=success,
                        error=None
                        if error is None
                        else DownstreamMessage.AckMessage.ErrorMessage(name=error.name, message=error.message),
                    )
                )
            case wire.Pong():
                frame = DownstreamMessage(pong_message=DownstreamMessage.PongMessage())
            case wire.ConnectedMessage():
                frame = DownstreamMessage(
                    system_message=DownstreamMessage.SystemMessage(
                        connected_message=DownstreamMessage.SystemMessage.ConnectedMessage(
                            connection_id=message.connection_id,
                            user_id=message.user_id or "",
                            reconnection_token=message.reconnection_token,
                        )
                    )
                )
            case wire.DisconnectedMessage(reason):
                frame = DownstreamMessage(
                    system_message=DownstreamMessage.SystemMessage(
                        disconnected_message=DownstreamMessage.SystemMessage.DisconnectedMessage(reason=reason or "")
                    )
                )
            case wire.StreamAck(stream_id, expected):
                frame = DownstreamMessage(
                    stream_ack_message=DownstreamMessage.StreamAckMessage(
                        stream_id=stream_id, expected_sequence_id=expected
                    )
                )
            case wire.StreamNack(stream_id, expected, name, text):
                frame = DownstreamMessage(
                    stream_nack_message=DownstreamMessage.StreamNackMessage(
                        stream_id=stream_id, expected_sequence_id=expected, name=name, message=text
                    )
                )
            case wire.StreamClosed(stream_id, error):
                frame = DownstreamMessage(
                    stream_closed_message=DownstreamMessage.StreamClosedMessage(
                        stream_id=stream_id,
                        error=None
                        if error is None
                        else DownstreamMessage.StreamClosedMessage.ErrorMessage(name=error.name, message=error.message),
                    )
                )
            case _:
                error = message.error
                frame = DownstreamMessage(
                    invoke_response_message=DownstreamMessage.InvokeResponseMessage(
                        invocation_id=message.invocation_id,
                        success=message.success,
                        data=None if message.payload is None else _written(message.payload),
                        error=None
                        if error is None
                        else DownstreamMessage.InvokeResponseMessage.ErrorMessage(
                            name=error.name, message=error.message
                        ),
                        metadata=message.metadata,
                    )
                )
        return frame.SerializeToString()

    def encode_data(self, message: wire.Numbered) -> bytes:
        """Write, once for all its recipients, a message without its sequence id; a sender's user id has no field."""
        if isinstance(message, wire.GroupState):
            return _group_state(message).SerializeToString()
        return DownstreamMessage(
            data_message=DownstreamMessage.DataMessage(
                origin="server" if message.group is None else "group",
                group=message.group,
                data=_written(message.payload),
                metadata=message.metadata,
                stream=None if message.stream is None else _stream(message.stream),
            )
        ).SerializeToString()

    def with_sequence_id(self, data_message: bytes, sequence_id: int) -> bytes:
        """Give the output of `encode_data` one recipient's sequence id, as its last field.

        The frame is one field: its number, the length of the data message, the data message. So only the length has to
        be written anew. (Readers that follow the specification would also merge a second data message into the first
        one, but not all do.)
        """
        start = 2
        while data_message[start - 1] >= 0x80:  # all bytes of a length have the high bit, but the last
            start += 1
        field = _SEQUENCE_IDS[data_message[0]] + _varint(sequence_id)
        length = _varint(len(data_message) - start + len(field))
        return b"".join((data_message[:1], length, data_message[start:], field))


PROTOBUF = ProtobufCodec(subprotocol="protobuf.webpubsub.azure.v1", reliable=False)
"""Messages without sequence ids; the session ends with its transport."""

RELIABLE_PROTOBUF = ProtobufCodec(subprotocol="protobuf.reliable.webpubsub.azure.v1", reliable=True)
"""Messages with sequence ids; a lost transport can be replaced."""


def _varint(number: int) -> bytearray:
    """Write a number seven bits at a time, the lowest first; each byte but the last has its high bit set."""
    written = bytearray()
    while number >= 0x80:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    written.append(number)
    return written


def _written(payload: wire.Payload) -> MessageData:
    match payload.data_type:
        case "text":
            return MessageData(text_data=payload.body)
        case "json":
            return MessageData(json_data=payload.body)
        case "binary":
            return MessageData(binary_data=payload.body)
        case _:
            return MessageData(protobuf_data=payload.body)


def _stream_start(start: wire.StreamStart | None) -> UpstreamMessage.StreamStartInfo | None:
    if start is None:
        return None
    return UpstreamMessage.StreamStartInfo(stream_id=start.stream_id, idle_timeout_ms=start.idle_timeout_ms)


def _stream(stream: StreamInfo) -> StreamFields:
    error = stream.error
    return StreamFields(
        stream_id=stream.stream_id,
        stream_sequence_id=stream.stream_sequence_id,
        end_of_stream=stream.end_of_stream or None,
        error=None
        if error is None
        else StreamFields.ErrorMessage(
            name=error.name, message=error.message, user_error_code=error.user_error_code or ""
        ),
    )


def _state(state: Mapping[str, str] | None) -> GroupStateItem.GroupState | None:
    return None if state is None else GroupStateItem.GroupState(entries=state)


def _group_state(message: wire.GroupState) -> DownstreamMessage:
    items = [
        GroupStateItem(
            connection_id=item.connection_id,
            user_id=item.user_id,
            state=_state(item.state),
            updated_at=item.updated_at,
        )
        for item in message.items
    ]
    if message.snapshot:
        return DownstreamMessage(
            group_state_snapshot_message=DownstreamMessage.GroupStateSnapshotMessage(group=message.group, items=items)
        )
    return DownstreamMessage(
        group_state_update_message=DownstreamMessage.GroupStateUpdateMessage(group=message.group, items=items)
    )
