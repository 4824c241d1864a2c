"""Reads a JSON message of a client, as strictly as the service does."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, TypeAlias, TypeVar

import msgspec
from msgspec import Raw

from . import wire
from .envelope import scan
from .errors import ProtocolViolation
from .names import MAX_TTL_SECONDS
from .payloads import check_metadata

T = TypeVar("T")

_INVALID_DATA = 1007
_LARGEST_ID = 2**64 - 1
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")

_Id: TypeAlias = Annotated[int, msgspec.Meta(ge=0)]


class _StreamStart(msgspec.Struct, kw_only=True, rename="camel"):
    stream_id: str
    idle_timeout_ms: Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)] | None = None


class _Request(msgspec.Struct, kw_only=True, rename="camel"):
    """Any message of a client, as the service's side reads it."""

    type: str
    group: str | None = None
    event: str | None = None
    target: str | None = None
    invocation_id: str | None = None
    sequence_id: _Id | None = None
    ack_id: _Id | None = None
    no_echo: bool = False
    ttl_seconds: Annotated[int, msgspec.Meta(ge=0, le=MAX_TTL_SECONDS)] | None = None
    metadata: Mapping[str, str] | None = None
    stream: _StreamStart | None = None
    stream_id: str | None = None
    stream_sequence_id: _Id | None = None
    error: wire.StreamEndError | None = None
    state: Mapping[str, str] | None = None
    data_type: str = "json"
    data: Raw = Raw()


_String = msgspec.json.Decoder(str)
_Base64 = msgspec.json.Decoder(bytes)
_RawJson = msgspec.json.Decoder(Raw)
_encode = msgspec.json.Encoder().encode
_decode_request = msgspec.json.Decoder(_Request).decode


def read_strictly(frame: bytes) -> wire.Upstream:
    """Read a frame of a client; see `Codec.decode_upstream`."""
    try:
        if not frame.isascii():
            str(frame, "utf-8")  # msgspec does not look into what it skips
        request = _decode_request(frame)
    except msgspec.ValidationError as error:
        raise ProtocolViolation(_INVALID_DATA, str(error)) from None
    except UnicodeDecodeError:
        raise ProtocolViolation(_INVALID_DATA, "the frame is not UTF-8") from None
    except (msgspec.DecodeError, RecursionError):
        request = _read_with_surrogates(frame)
    return _upstream_of(request)


def _read_with_surrogates(frame: bytes) -> _Request:
    """Read a frame that msgspec refused, and accept it if lone surrogates in its JSON data are all that is wrong."""
    try:
        fields = scan(frame)
        data = fields.pop("data", b"")
        check_json(data)
        request = _decode_request(b"{%b}" % b",".join(b"%b:%b" % (_encode(name), raw) for name, raw in fields.items()))
    except (msgspec.DecodeError, ValueError, RecursionError):
        raise ProtocolViolation(_INVALID_DATA, "the frame cannot be read as a JSON object") from None
    request.data = Raw(data)
    return request


def check_json(data: bytes) -> None:
    """Check that ``data`` is JSON, in which there may be lone surrogates.

    JavaScript writes them, as escapes, for a string that was cut in the middle of an emoji. The service passes JSON
    data on as it stands, and so they reach other clients, who have to cope.

    Raises:
        ValueError: it is not JSON, or not UTF-8. The text quotes nothing of it.
    """
    try:
        str(data, "utf-8")  # msgspec does not look into what it skips
        _RawJson.decode(_SURROGATE.sub(rb"\\u0000", data))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise ValueError("the data is not JSON") from None


def _upstream_of(request: _Request) -> wire.Upstream:
    for number in (request.ack_id, request.sequence_id, request.stream_sequence_id):
        if number is not None and number > _LARGEST_ID:
            raise ProtocolViolation(_INVALID_DATA, "an id is larger than 64 bits")
    if request.metadata is not None:
        try:
            check_metadata(request.metadata)
        except ValueError as error:
            raise ProtocolViolation(_INVALID_DATA, str(error)) from None
    match request.type.lower():
        case "sendtogroup" if request.stream is not None:
            if bytes(request.data):
                raise ProtocolViolation(_INVALID_DATA, "what opens a stream has no data")
            return wire.OpenStream(
                group=_present(request.group, "group"), stream=_stream_start(request.stream), no_echo=request.no_echo
            )
        case "sendtogroup":
            return wire.SendToGroup(
                group=_present(request.group, "group"),
                payload=_request_payload(request),
                ack_id=request.ack_id,
                no_echo=request.no_echo,
                ttl_seconds=request.ttl_seconds,
                metadata=request.metadata,
            )
        case "event":
            return wire.SendEvent(
                event=_present(request.event, "event"),
                payload=_request_payload(request),
                ack_id=request.ack_id,
                metadata=request.metadata,
                stream=None if request.stream is None else _stream_start(request.stream),
            )
        case "streamdata":
            return _stream_data(request)
        case "streamend":
            return wire.StreamEnd(_present(request.stream_id, "streamId"), request.error)
        case "setgroupstate":
            return wire.SetGroupState(_present(request.group, "group"), request.state, request.ack_id)
        case "subscribegroupstate":
            return wire.SubscribeGroupState(_present(request.group, "group"), request.ack_id)
        case "unsubscribegroupstate":
            return wire.UnsubscribeGroupState(_present(request.group, "group"), request.ack_id)
        case "sequenceack":
            return wire.SequenceAck(_present(request.sequence_id, "sequenceId"))
        case "ping":
            return wire.Ping()
        case "joingroup":
            return wire.JoinGroup(_present(request.group, "group"), request.ack_id)
        case "leavegroup":
            return wire.LeaveGroup(_present(request.group, "group"), request.ack_id)
        case "invoke":
            if _present(request.target, "target").lower() != "event":
                raise ProtocolViolation(_INVALID_DATA, "target is not 'event'")
            return wire.Invoke(
                invocation_id=_present(request.invocation_id, "invocationId"),
                event=_present(request.event, "event"),
                payload=_request_payload(request) if bytes(request.data) else None,
                metadata=request.metadata,
                stream=None if request.stream is None else _stream_start(request.stream),
            )
        case "cancelinvocation":
            return wire.CancelInvocation(_present(request.invocation_id, "invocationId"))
        case _:
            raise ProtocolViolation(_INVALID_DATA, f"the type {request.type[:40]!r} is unknown")


def _stream_start(start: _StreamStart) -> wire.StreamStart:
    return wire.StreamStart(start.stream_id, start.idle_timeout_ms)


def _stream_data(request: _Request) -> wire.StreamData:
    """Read a fragment, which has a number and data, or neither."""
    stream_id = _present(request.stream_id, "streamId")
    if request.stream_sequence_id is None and not bytes(request.data):
        return wire.StreamData(stream_id)
    number = _present(request.stream_sequence_id, "streamSequenceId")
    return wire.StreamData(stream_id, number, _request_payload(request))


def _present(value: T | None, name: str) -> T:
    if value is None:
        raise ProtocolViolation(_INVALID_DATA, f"{name} is missing")
    return value


def _request_payload(request: _Request) -> wire.Payload:
    raw = bytes(request.data)
    data_type = request.data_type.lower()
    if not raw and (request.metadata is not None or request.stream is not None):
        return wire.Payload("text", b"")  # sent for its metadata, or to begin a stream
    if not raw:
        raise ProtocolViolation(_INVALID_DATA, "data is missing")
    try:
        match data_type:
            case "json":
                return wire.Payload(data_type, raw)
            case "text":
                return wire.Payload(data_type, _String.decode(raw).encode())
            case "binary" | "protobuf":
                return wire.Payload(data_type, _Base64.decode(raw))
            case _:
                raise ProtocolViolation(_INVALID_DATA, f"the dataType {request.data_type[:40]!r} is unknown")
    except msgspec.DecodeError:
        raise ProtocolViolation(_INVALID_DATA, f"data is not what it should be for dataType {data_type!r}") from None
