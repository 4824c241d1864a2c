"""Reads a protobuf message of the service."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import msgspec
from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet

from . import wire
from .errors import UnreadableFrame
from .json_downstream import UNDECODABLE, why_undecodable
from .messages import GroupMessage, ServerMessage, StreamError, StreamInfo
from .webpubsub_pb2 import DownstreamMessage, MessageData
from .webpubsub_pb2 import StreamInfo as StreamFields

_decode_json = msgspec.json.Decoder().decode


def read_downstream(frame: bytes) -> wire.Downstream:
    """Read a frame of the service; see `Codec.decode_downstream`."""
    message: DownstreamMessage | None = None
    with suppress(DecodeError, ValueError):  # the second by the runtime in pure Python, for text that is not UTF-8
        message = DownstreamMessage.FromString(frame)
    if message is None:  # raised out here, so that it does not lead to an error that remembers what stood there
        raise UnreadableFrame("the frame cannot be read as a protobuf message")
    kind = message.WhichOneof("message")
    match kind:
        case "data_message":
            return _message(message.data_message)
        case "ack_message":
            ack = message.ack_message
            return wire.Ack(ack.ack_id, ack.success, _wire_error(ack))
        case "pong_message":
            return wire.Pong()
        case "system_message":
            return _system_message(message.system_message)
        case "invoke_response_message":
            return _invoke_response(message.invoke_response_message)
        case "group_state_update_message":
            return _group_state(message.group_state_update_message, snapshot=False)
        case "group_state_snapshot_message":
            return _group_state(message.group_state_snapshot_message, snapshot=True)
        case "stream_ack_message":
            stream_ack = message.stream_ack_message
            return wire.StreamAck(stream_ack.stream_id, stream_ack.expected_sequence_id)
        case "stream_nack_message":
            nack = message.stream_nack_message
            return wire.StreamNack(nack.stream_id, nack.expected_sequence_id, nack.name, nack.message)
        case "stream_closed_message":
            closed = message.stream_closed_message
            return wire.StreamClosed(closed.stream_id, _wire_error(closed))
        case _:
            # The schema has nothing else at the top, so whatever is there came with a later version of it.
            later = UnknownFieldSet(message)
            if len(later) == 0:
                raise UnreadableFrame("the frame is empty")
            return wire.UnknownMessage(type=f"field {later[0].field_number}")


def _message(message: DownstreamMessage.DataMessage) -> GroupMessage | ServerMessage | wire.UnknownMessage:
    sequence_id = _sequence_id(message)
    metadata = dict(message.metadata) or None
    stream = _stream(message.stream) if message.HasField("stream") else None
    # The last fragment of a stream may have no data, and a message that was sent for its metadata.
    payload = _payload(message.data, may_be_absent=bool(metadata or stream))
    if message.origin == "group" and message.HasField("group"):
        return GroupMessage(group=message.group, stream=stream, sequence_id=sequence_id, metadata=metadata, **payload)
    if message.origin == "server":
        return ServerMessage(sequence_id=sequence_id, metadata=metadata, **payload)
    return wire.UnknownMessage(type="message", sequence_id=sequence_id)


def _sequence_id(
    message: DownstreamMessage.DataMessage
    | DownstreamMessage.GroupStateUpdateMessage
    | DownstreamMessage.GroupStateSnapshotMessage,
) -> int | None:
    if not message.HasField("sequence_id"):
        return None
    if message.sequence_id == 0:
        raise UnreadableFrame("sequence_id is not positive")
    return message.sequence_id


def _group_state(
    message: DownstreamMessage.GroupStateUpdateMessage | DownstreamMessage.GroupStateSnapshotMessage, *, snapshot: bool
) -> wire.GroupState:
    items = [
        wire.GroupStateItem(
            connection_id=item.connection_id,
            user_id=item.user_id or None,
            state=dict(item.state.entries) if item.HasField("state") else None,
            updated_at=item.updated_at,
        )
        for item in message.items
    ]
    return wire.GroupState(group=message.group, items=items, snapshot=snapshot, sequence_id=_sequence_id(message))


def _stream(stream: StreamFields) -> StreamInfo:
    error = stream.error
    return StreamInfo(
        stream_id=stream.stream_id,
        stream_sequence_id=stream.stream_sequence_id,
        end_of_stream=stream.end_of_stream,
        error=StreamError(name=error.name, message=error.message, user_error_code=error.user_error_code or None)
        if stream.HasField("error")
        else None,
    )


def _payload(payload: MessageData, *, may_be_absent: bool = False) -> dict[str, Any]:
    """Read what a message carries, as arguments for its class."""
    kind = payload.WhichOneof("data")
    if kind is None:
        later = payload.SerializeToString()
        if later:
            return {"data_type": "", "data_error": "the data type is unknown", "raw": later}
        return {"data_error": None if may_be_absent else "the message has no data"}
    data_type = kind.removesuffix("_data")
    raw: bytes = getattr(payload, kind)
    try:
        match data_type:
            case "text":
                return {"data_type": data_type, "data": str(raw, "utf-8")}
            case "json":
                return {"data_type": data_type, "data": _decode_json(raw)}
            case _:
                return {"data_type": data_type, "data": raw}
    except UNDECODABLE as error:
        return {"data_type": data_type, "data_error": why_undecodable(data_type, error), "raw": raw}


def _system_message(message: DownstreamMessage.SystemMessage) -> wire.Downstream:
    match message.WhichOneof("message"):
        case "connected_message":
            connected = message.connected_message
            if not connected.connection_id:
                raise UnreadableFrame("connection_id is missing")
            return wire.ConnectedMessage(
                connection_id=connected.connection_id,
                user_id=connected.user_id or None,
                reconnection_token=connected.reconnection_token if connected.HasField("reconnection_token") else None,
            )
        case "disconnected_message":
            return wire.DisconnectedMessage(message.disconnected_message.reason or None)
        case _:
            return wire.UnknownMessage(type="system")


def _invoke_response(response: DownstreamMessage.InvokeResponseMessage) -> wire.InvokeResponse:
    success, error = response.success, _wire_error(response)
    payload: wire.Payload | None = None
    if response.HasField("data"):
        match _payload(response.data):
            case {"data_error": reason}:  # has failed, or whoever asked would wait for ever
                success, error = False, wire.WireError("InvalidPayload", reason)
            case read:
                data_type: str = read["data_type"]
                payload = wire.Payload(data_type, getattr(response.data, f"{data_type}_data"))
    return wire.InvokeResponse(
        invocation_id=response.invocation_id,
        success=success,
        payload=payload,
        error=error,
        metadata=dict(response.metadata) or None,
    )


def _wire_error(
    message: DownstreamMessage.AckMessage
    | DownstreamMessage.InvokeResponseMessage
    | DownstreamMessage.StreamClosedMessage,
) -> wire.WireError | None:
    return wire.WireError(message.error.name, message.error.message) if message.HasField("error") else None
