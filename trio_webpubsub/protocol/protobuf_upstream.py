"""Reads a protobuf message of a client, as strictly as the service does."""

from __future__ import annotations

from typing import TypeAlias

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import DecodeError

from . import wire
from .errors import ProtocolViolation
from .json_upstream import check_json
from .names import MAX_TTL_SECONDS
from .payloads import check_metadata
from .webpubsub_pb2 import UpstreamMessage

_INVALID_DATA = 1007

_UNREADABLE = (DecodeError, ValueError)
"""What the runtime raises: the second in pure Python, for text that is not UTF-8."""

_Sent: TypeAlias = (
    UpstreamMessage.SendToGroupMessage | UpstreamMessage.EventMessage | UpstreamMessage.InvokeEventMessage
)


def read_upstream(frame: bytes) -> wire.Upstream:
    """Read a frame of a client; see `Codec.decode_upstream`."""
    try:
        message = UpstreamMessage.FromString(frame)
    except _UNREADABLE:
        raise ProtocolViolation(_INVALID_DATA, "the frame cannot be read as a protobuf message") from None
    kind = message.WhichOneof("message")
    match kind:
        case "send_to_group_message":
            send = message.send_to_group_message
            if send.HasField("stream"):
                if send.HasField("data"):
                    raise ProtocolViolation(_INVALID_DATA, "what opens a stream has no data")
                start = _stream_start(send)
                return wire.OpenStream(group=send.group, stream=start, no_echo=send.no_echo)
            if send.ttl_seconds > MAX_TTL_SECONDS:
                raise ProtocolViolation(_INVALID_DATA, f"ttl_seconds is over {MAX_TTL_SECONDS}")
            return wire.SendToGroup(
                group=send.group,
                payload=_request_payload(send),
                ack_id=send.ack_id if send.HasField("ack_id") else None,
                no_echo=send.no_echo,
                ttl_seconds=send.ttl_seconds if send.HasField("ttl_seconds") else None,
                metadata=_request_metadata(send),
            )
        case "event_message":
            event = message.event_message
            return wire.SendEvent(
                event=event.event,
                payload=_request_payload(event),
                ack_id=event.ack_id if event.HasField("ack_id") else None,
                metadata=_request_metadata(event),
                stream=_stream_start(event) if event.HasField("stream") else None,
            )
        case "sequence_ack_message":
            return wire.SequenceAck(message.sequence_ack_message.sequence_id)
        case "ping_message":
            return wire.Ping()
        case "join_group_message":
            join = message.join_group_message
            return wire.JoinGroup(join.group, join.ack_id if join.HasField("ack_id") else None)
        case "leave_group_message":
            leave = message.leave_group_message
            return wire.LeaveGroup(leave.group, leave.ack_id if leave.HasField("ack_id") else None)
        case "invoke_event_message":
            invoke = message.invoke_event_message
            return wire.Invoke(
                invocation_id=invoke.invocation_id,
                event=invoke.event,
                payload=_request_payload(invoke) if invoke.HasField("data") else None,
                metadata=_request_metadata(invoke),
                stream=_stream_start(invoke) if invoke.HasField("stream") else None,
            )
        case "cancel_invocation_message":
            return wire.CancelInvocation(message.cancel_invocation_message.invocation_id)
        case "stream_data_message":
            return _stream_data(message.stream_data_message)
        case "stream_end_message":
            end = message.stream_end_message
            return wire.StreamEnd(end.stream_id, _end_error(end) if end.HasField("error") else None)
        case "set_group_state_message":
            state = message.set_group_state_message
            return wire.SetGroupState(
                state.group,
                dict(state.state.entries) if state.HasField("state") else None,
                state.ack_id if state.HasField("ack_id") else None,
            )
        case "subscribe_group_state_message":
            subscribe = message.subscribe_group_state_message
            return wire.SubscribeGroupState(subscribe.group, subscribe.ack_id if subscribe.HasField("ack_id") else None)
        case None:
            raise ProtocolViolation(_INVALID_DATA, "the frame holds no message of a known type")
        case _:
            unsubscribe = message.unsubscribe_group_state_message
            return wire.UnsubscribeGroupState(
                unsubscribe.group, unsubscribe.ack_id if unsubscribe.HasField("ack_id") else None
            )


def _request_payload(request: _Sent | UpstreamMessage.StreamDataMessage) -> wire.Payload:
    data = request.data
    kind = data.WhichOneof("data")
    if kind is None:
        excused = not isinstance(request, UpstreamMessage.StreamDataMessage) and (
            request.metadata or request.HasField("stream")
        )
        if data.ByteSize() == 0 and excused:
            return wire.Payload("text", b"")  # sent for its metadata, or to begin a stream
        raise ProtocolViolation(_INVALID_DATA, "data is missing, or of an unknown type")
    body: bytes = getattr(data, kind)
    try:
        if kind == "text_data":
            str(body, "utf-8")
        elif kind == "json_data":
            check_json(body)
        elif kind == "protobuf_data":
            AnyMessage.FromString(body)
    except _UNREADABLE:
        raise ProtocolViolation(_INVALID_DATA, f"{kind} is not what its name says") from None
    return wire.Payload(kind.removesuffix("_data"), body)


def _stream_start(request: _Sent) -> wire.StreamStart:
    start = request.stream
    return wire.StreamStart(start.stream_id, start.idle_timeout_ms if start.HasField("idle_timeout_ms") else None)


def _stream_data(data: UpstreamMessage.StreamDataMessage) -> wire.StreamData:
    """Read a fragment, which has a number and data, or neither."""
    if data.HasField("stream_sequence_id") != data.HasField("data"):
        raise ProtocolViolation(_INVALID_DATA, "a fragment has a number and data, or neither")
    if not data.HasField("data"):
        return wire.StreamData(data.stream_id)
    return wire.StreamData(data.stream_id, data.stream_sequence_id, _request_payload(data))


def _end_error(end: UpstreamMessage.StreamEndMessage) -> wire.StreamEndError:
    error = end.error
    return wire.StreamEndError(
        error.message if error.HasField("message") else None,
        error.user_error_code if error.HasField("user_error_code") else None,
    )


def _request_metadata(request: _Sent) -> dict[str, str] | None:
    if not request.metadata:
        return None
    metadata = dict(request.metadata)
    try:
        check_metadata(metadata)
    except ValueError as error:
        raise ProtocolViolation(_INVALID_DATA, str(error)) from None
    return metadata
