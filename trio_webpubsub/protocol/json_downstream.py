"""Reads a JSON message of the service field by field, so that whatever is wrong costs only the field it stands in."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, TypeVar

import msgspec
from msgspec import Raw

from . import wire
from .envelope import scan
from .errors import UnreadableFrame
from .messages import GroupMessage, ServerMessage, StreamError, StreamInfo

T = TypeVar("T")

UNDECODABLE = (msgspec.DecodeError, ValueError, RecursionError)
"""What msgspec raises: the second for text that is not UTF-8, the third for brackets in brackets."""

_LARGEST_ID = 2**64 - 1

_Any = msgspec.json.Decoder()
_String = msgspec.json.Decoder(str)
_Base64 = msgspec.json.Decoder(bytes)
_Boolean = msgspec.json.Decoder(bool)
_Integer = msgspec.json.Decoder(int)
_Metadata = msgspec.json.Decoder(Mapping[str, str])
_Items = msgspec.json.Decoder(list[Raw])


def read_patiently(frame: bytes) -> wire.Downstream:
    """Read a frame of the service; see `Codec.decode_downstream`."""
    try:
        fields = scan(frame)
    except ValueError as error:
        raise UnreadableFrame(str(error)) from None
    kind = _value(fields, "type", _String)
    event = _value(fields, "event", _String) if kind == "system" else None
    match kind, event:
        case None, _:
            raise UnreadableFrame("the frame has no type")
        case "ack", _:
            ack_id = _required(fields, "ackId", _Integer)
            return wire.Ack(ack_id, _required(fields, "success", _Boolean), _wire_error(fields))
        case "pong", _:
            return wire.Pong()
        case "invokeResponse", _:
            return _invoke_response(fields)
        case "system", "connected":
            return wire.ConnectedMessage(
                connection_id=_required(fields, "connectionId", _String),
                user_id=_value(fields, "userId", _String) or None,
                reconnection_token=_value(fields, "reconnectionToken", _String),
            )
        case "system", "disconnected":
            return wire.DisconnectedMessage(_value(fields, "message", _String))
        case "streamAck", _:
            return wire.StreamAck(
                _required(fields, "streamId", _String), _required(fields, "expectedSequenceId", _Integer)
            )
        case "streamNack", _:
            return wire.StreamNack(
                _required(fields, "streamId", _String),
                _required(fields, "expectedSequenceId", _Integer),
                _value(fields, "name", _String) or "",
                _value(fields, "message", _String) or "",
            )
        case "streamClosed", _:
            return wire.StreamClosed(_required(fields, "streamId", _String), _wire_error(fields))
        case _:
            return _message(kind, fields)


def _message(
    kind: str, fields: dict[str, bytes]
) -> GroupMessage | ServerMessage | wire.GroupState | wire.UnknownMessage:
    """Read a message that may have a sequence id."""
    sequence_id: int | None = None
    if fields.get("sequenceId", b"null") != b"null":
        sequence_id = _value(fields, "sequenceId", _Integer)
        if sequence_id is None or not 1 <= sequence_id <= _LARGEST_ID:
            raise UnreadableFrame("sequenceId is not a positive 64-bit integer")
    sender = _value(fields, "from", _String) if kind == "message" else None
    group = _value(fields, "group", _String)
    metadata = _value(fields, "metadata", _Metadata)
    if sender == "group" and group is not None:
        return GroupMessage(
            group=group,
            from_user_id=_value(fields, "fromUserId", _String) or None,
            stream=_stream(fields),
            sequence_id=sequence_id,
            metadata=metadata,
            **_payload(fields),
        )
    if sender == "server":
        return ServerMessage(sequence_id=sequence_id, metadata=metadata, **_payload(fields))
    items = _value(fields, "items", _Items) if kind in ("groupStateSnapshot", "groupStateUpdate") else None
    if items is not None and group is not None:
        snapshot = kind == "groupStateSnapshot"
        return wire.GroupState(group=group, items=_state_items(items), snapshot=snapshot, sequence_id=sequence_id)
    return wire.UnknownMessage(type=kind, sequence_id=sequence_id)


def _state_items(raw_items: list[Raw]) -> list[wire.GroupStateItem]:
    """Read the items of a group's state; one that cannot be read costs no other."""
    items: list[wire.GroupStateItem] = []
    for raw in raw_items:
        with suppress(ValueError, UnreadableFrame):
            fields = scan(bytes(raw))
            items.append(
                wire.GroupStateItem(
                    connection_id=_required(fields, "connectionId", _String),
                    user_id=_value(fields, "userId", _String) or None,
                    state=_required(fields, "state", _Metadata) if fields.get("state", b"null") != b"null" else None,
                    updated_at=_value(fields, "updatedAt", _Integer) or 0,
                )
            )
    return items


def _stream(fields: dict[str, bytes]) -> StreamInfo | None:
    """Read what says which fragment of a stream this is; ``None`` if that is not to be known."""
    fields = _object(fields, "stream")
    stream_id, number = _value(fields, "streamId", _String), _value(fields, "streamSequenceId", _Integer)
    if stream_id is None or number is None:
        return None
    error: StreamError | None = None
    if fields.get("error", b"null") != b"null":  # that there is one counts, even where it cannot be read
        parts = _object(fields, "error")
        error = StreamError(
            name=_value(parts, "name", _String) or "",
            message=_value(parts, "message", _String) or "",
            user_error_code=_value(parts, "userErrorCode", _String),
        )
    end = _value(fields, "endOfStream", _Boolean) or False
    return StreamInfo(stream_id=stream_id, stream_sequence_id=number, end_of_stream=end, error=error)


def _payload(fields: dict[str, bytes]) -> dict[str, Any]:
    """Read what a message carries, as arguments for its class."""
    data_type = _value(fields, "dataType", _String) if "dataType" in fields else "json"
    raw = fields.get("data")
    if raw is None:
        # The last fragment of a stream may have none, and a message that was sent for its metadata.
        excused = "stream" in fields or "metadata" in fields
        return {"data_type": data_type or "", "data_error": None if excused else "the message has no data"}
    data: Any = None
    data_error: str | None = None
    try:
        match data_type:
            case "json":
                data = _Any.decode(raw)
            case "text":
                data = _String.decode(raw)
            case "binary" | "protobuf":
                data = _Base64.decode(raw)
            case None:
                data_error = "dataType is not a string"
            case _:
                data_error = f"the data type {data_type[:40]!r} is unknown"
    except UNDECODABLE as error:
        data_error = why_undecodable(data_type, error)
    if data_error is None:
        return {"data_type": data_type, "data": data}
    return {"data_type": data_type or "", "data_error": data_error, "raw": raw}


def why_undecodable(data_type: str | None, error: Exception) -> str:
    """Say what is wrong with the data of a message, after one of `UNDECODABLE`; the text quotes nothing of it."""
    match error:
        case msgspec.ValidationError():
            reason = str(error)
        case RecursionError():
            reason = "it is nested too deeply"
        case _:
            reason = "it is malformed, or text in it is not Unicode"
    return f"the {data_type} data cannot be decoded: {reason}"


def _invoke_response(fields: dict[str, bytes]) -> wire.InvokeResponse:
    success = _required(fields, "success", _Boolean)
    error = _wire_error(fields)
    payload: wire.Payload | None = None
    if "data" in fields:
        read = _payload(fields)
        match read:
            case {"data_error": reason}:  # has failed, or whoever asked would wait for ever
                success, error = False, wire.WireError("InvalidPayload", reason)
            case {"data_type": "json"}:
                payload = wire.Payload("json", fields["data"])
            case {"data_type": "text", "data": text}:
                payload = wire.Payload("text", text.encode())
            case _:
                payload = wire.Payload(read["data_type"], read["data"])
    return wire.InvokeResponse(
        invocation_id=_required(fields, "invocationId", _String),
        success=success,
        payload=payload,
        error=error,
        metadata=_value(fields, "metadata", _Metadata),
    )


def _wire_error(fields: dict[str, bytes]) -> wire.WireError | None:
    """Read ``error``, of which the name counts even where the message cannot be read."""
    if fields.get("error", b"null") == b"null":
        return None
    fields = _object(fields, "error")
    return wire.WireError(_value(fields, "name", _String) or "", _value(fields, "message", _String) or "")


def _object(fields: dict[str, bytes], name: str) -> dict[str, bytes]:
    """Give the fields of a field that is an object; there are none in anything else."""
    try:
        return scan(fields.get(name, b"null"))
    except ValueError:
        return {}


def _value(fields: dict[str, bytes], name: str, decoder: msgspec.json.Decoder[T]) -> T | None:
    """Decode one field; ``None`` where it is absent, ``null``, or something else than expected."""
    raw = fields.get(name, b"null")
    try:
        return None if raw == b"null" else decoder.decode(raw)
    except UNDECODABLE:
        return None


def _required(fields: dict[str, bytes], name: str, decoder: msgspec.json.Decoder[T]) -> T:
    value = _value(fields, name, decoder)
    if value is None:
        raise UnreadableFrame(f"{name} is missing, or not what it should be")
    return value
