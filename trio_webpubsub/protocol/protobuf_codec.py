"""The protobuf subprotocols: one `UpstreamMessage` or `DownstreamMessage` of webpubsub.proto per WebSocket message.

Importing this module takes the ``protobuf`` extra, so whoever can do without it asks `subprotocols.codec_for`.

What a payload is follows from the field that it stands in. The service's documentation once said that JSON travels as
text; where it still does, it is read as the text that it is.

On the wire an absent value and an empty one are often the same. Read here are ``None`` for an empty user id, an empty
reason and metadata without entries; an empty name is left to whoever judges names. There is no sender's user id.

Source: the reference page of ``protobuf.reliable.webpubsub.azure.v1`` in the service's documentation, and the schema.
"""

from __future__ import annotations

import msgspec

from . import wire

try:
    from .protobuf_downstream import read_downstream
    from .protobuf_upstream import read_upstream
    from .webpubsub_pb2 import DownstreamMessage, MessageData, UpstreamMessage
except ImportError as _error:
    raise ImportError("the protobuf subprotocols need an extra: pip install trio-webpubsub[protobuf]") from _error

# The bytes that begin a field: the data message in its frame, and the sequence id in the data message.
_DATA_MESSAGE = bytes([DownstreamMessage.DATA_MESSAGE_FIELD_NUMBER << 3 | 2])
_SEQUENCE_ID = bytes([DownstreamMessage.DataMessage.SEQUENCE_ID_FIELD_NUMBER << 3])


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
                    )
                )
            case _:
                frame = UpstreamMessage(
                    cancel_invocation_message=UpstreamMessage.CancelInvocationMessage(
                        invocation_id=message.invocation_id
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

    def encode_data(self, message: wire.DataMessage) -> bytes:
        """Write, once for all its recipients, a message without its sequence id; a sender's user id has no field."""
        return DownstreamMessage(
            data_message=DownstreamMessage.DataMessage(
                origin="server" if message.group is None else "group",
                group=message.group,
                data=_written(message.payload),
                metadata=message.metadata,
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
        field = _SEQUENCE_ID + _varint(sequence_id)
        length = _varint(len(data_message) - start + len(field))
        return b"".join((_DATA_MESSAGE, length, data_message[start:], field))


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
