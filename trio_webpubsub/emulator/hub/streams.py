"""Streams that clients send to groups (a preview of the service).

A stream takes its fragments in order, by their numbers: one that was taken before is confirmed again and not published,
one from further on is refused, and so is told which is expected. Every fragment that is taken is a message to the
group. A stream ends with its sender's word, with its sender's connection, when nothing came for its idle timeout, or
when the sender may not send to the group any more; the members of the group are told in a last message.

What is sent for a stream does not wait for the answers to the sender's events.

Source: the client specification (``protocols/client/client-spec.md`` of Azure/azure-webpubsub) and the reference of the
JSON subprotocols. Neither says what becomes of a second stream of the same name: here the request for it is refused.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

from ...protocol import wire
from ...protocol.messages import StreamError, StreamInfo
from ...protocol.names import check_group
from .deliveries import Deliveries
from .effects import Effect, Send
from .lifetimes import Lifetimes
from .limits import HubLimits
from .registry import Connection

Effects: TypeAlias = list[Effect]

MAX_STREAM_ID = 1_024
"""Characters. The service publishes no limit; without one the ids of a connection's streams could take a gigabyte."""
_NOTHING = wire.Payload("text", b"")
"""What a message carries that only says that a stream has ended. Some clients drop one without any payload."""

_NOT_FOUND = wire.WireError("StreamNotFound", "There is no such stream.")
_FORBIDDEN = wire.WireError("Forbidden", "No role of this connection allows to send to the group.")
_IDLE = wire.WireError("IdleTimeout", "Nothing came for the stream's idle timeout.")
_GONE = wire.WireError("Cancelled", "The sender's connection has ended.")
_TRANSIENT = "TransientError"
_OUT_OF_ORDER = "InvalidSequenceId"


@dataclass(slots=True, eq=False)
class _Stream:
    id: str
    connection: Connection
    group: str
    no_echo: bool
    idle_timeout: float
    deadline: float
    expected: int = 1


class Streams:
    """All streams that are open in a hub."""

    def __init__(self, limits: HubLimits, lifetimes: Lifetimes, deliveries: Deliveries) -> None:
        self._default_idle_timeout = limits.stream_idle_timeout
        self._most = limits.streams
        self._lifetimes = lifetimes
        self._deliveries = deliveries
        self._streams: dict[str, dict[str, _Stream]] = {}  # by connection id and stream id
        self.refusals: int = 0
        """How many of the next fragments are refused for the moment, to try how clients take it."""
        self.next_deadline: float = math.inf
        """When `end_idle` is to be called. What is idle ends then or later, for every fragment puts that off."""

    def take(self, connection: Connection, message: wire.StreamMessage, now: float, effects: Effects) -> None:
        """Take what a client sent for a stream."""
        if isinstance(message, wire.OpenStream):
            self._open(connection, message, now, effects)
            return
        stream = self._streams.get(connection.id, {}).get(message.stream_id)
        if stream is None:
            _tell(connection, wire.StreamClosed(message.stream_id, _NOT_FOUND), effects)
        elif not connection.roles.allow("sendToGroup", stream.group):
            self._fail(stream, _FORBIDDEN, now, effects)
        elif isinstance(message, wire.StreamEnd):
            error = message.error
            if error is not None:
                self._last(stream, "UserError", error.message or "", now, effects, error.user_error_code)
            else:
                self._last(stream, None, "", now, effects)
            _tell(connection, wire.StreamClosed(stream.id), effects)
        else:
            stream.deadline = now + stream.idle_timeout
            if message.stream_sequence_id is not None and message.payload is not None:
                self._fragment(stream, message.stream_sequence_id, message.payload, now, effects)

    def _open(self, connection: Connection, request: wire.OpenStream, now: float, effects: Effects) -> None:
        streams = self._streams.get(connection.id, {})
        start = request.stream
        error: wire.WireError | None = None
        try:
            check_group(request.group)
            if not start.stream_id:
                raise ValueError("The stream has no id.")
            if len(start.stream_id) > MAX_STREAM_ID:
                raise ValueError(f"The id of a stream has at most {MAX_STREAM_ID:,} characters.")
            if start.idle_timeout_ms == 0:
                raise ValueError("The idle timeout of a stream is more than 0.")
            if start.stream_id in streams:
                raise ValueError("A stream with this id is open.")
            if len(streams) >= self._most:
                raise ValueError(f"A connection has at most {self._most:,} streams open.")
        except ValueError as reason:
            error = wire.WireError("BadRequest", str(reason))
        if error is None and not connection.roles.allow("sendToGroup", request.group):
            error = _FORBIDDEN
        if error is not None:
            _tell(connection, wire.StreamClosed(start.stream_id, error), effects)
            return
        timeout = start.idle_timeout_ms
        idle_timeout = self._default_idle_timeout if timeout is None else timeout / 1000
        stream = _Stream(start.stream_id, connection, request.group, request.no_echo, idle_timeout, now + idle_timeout)
        self._streams.setdefault(connection.id, {})[stream.id] = stream
        self.next_deadline = min(self.next_deadline, stream.deadline)
        _tell(connection, wire.StreamAck(stream.id, 1), effects)

    def _fragment(self, stream: _Stream, number: int, payload: wire.Payload, now: float, effects: Effects) -> None:
        if number > stream.expected:
            self._refuse(stream, _OUT_OF_ORDER, f"Fragment {stream.expected} is expected.", effects)
            return
        if number == stream.expected:
            if self.refusals:
                self.refusals -= 1
                self._refuse(stream, _TRANSIENT, "The fragment cannot be taken for the moment.", effects)
                return
            stream.expected += 1
            info = StreamInfo(stream_id=stream.id, stream_sequence_id=number)
            self._publish(stream, payload, info, now, effects)
        _tell(stream.connection, wire.StreamAck(stream.id, stream.expected), effects)

    def _refuse(self, stream: _Stream, name: str, text: str, effects: Effects) -> None:
        _tell(stream.connection, wire.StreamNack(stream.id, stream.expected, name, text), effects)

    # How streams end

    def fail(self, connection_id: str, stream_id: str, error: wire.WireError, now: float, effects: Effects) -> bool:
        """End a stream with an error, as if the service had to; tell whether it was there."""
        stream = self._streams.get(connection_id, {}).get(stream_id)
        if stream is not None:
            self._fail(stream, error, now, effects)
        return stream is not None

    def connection_ended(self, connection: Connection, now: float, effects: Effects) -> None:
        """End the streams of a connection that is gone."""
        for stream in list(self._streams.get(connection.id, {}).values()):
            self._last(stream, _GONE.name, _GONE.message, now, effects)

    def end_idle(self, now: float, effects: Effects) -> None:
        """End the streams that have been idle for too long."""
        if now < self.next_deadline:
            return
        self.next_deadline = math.inf
        for stream in [each for streams in self._streams.values() for each in streams.values()]:
            if stream.deadline <= now:
                self._fail(stream, _IDLE, now, effects)
            else:
                self.next_deadline = min(self.next_deadline, stream.deadline)

    def _fail(self, stream: _Stream, error: wire.WireError, now: float, effects: Effects) -> None:
        self._last(stream, error.name, error.message, now, effects)
        _tell(stream.connection, wire.StreamClosed(stream.id, error), effects)

    def _last(
        self,
        stream: _Stream,
        name: str | None,
        text: str,
        now: float,
        effects: Effects,
        user_error_code: str | None = None,
    ) -> None:
        """Strike a stream off, and tell the group."""
        streams = self._streams[stream.connection.id]
        del streams[stream.id]
        if not streams:
            del self._streams[stream.connection.id]
        info = StreamInfo(
            stream_id=stream.id,
            stream_sequence_id=stream.expected,
            end_of_stream=True,
            error=None if name is None else StreamError(name=name, message=text, user_error_code=user_error_code),
        )
        self._publish(stream, _NOTHING, info, now, effects)

    def _publish(self, stream: _Stream, payload: wire.Payload, info: StreamInfo, now: float, effects: Effects) -> None:
        sender = stream.connection
        message = wire.DataMessage(payload=payload, group=stream.group, from_user_id=sender.user_id, stream=info)
        excluded = {sender.id} if stream.no_echo else ()
        members = self._lifetimes.registry.select(group=stream.group, excluded=excluded)
        # Simple clients see payloads alone, and so nothing in what carries none.
        told = [member for member in members if not member.is_simple] if payload is _NOTHING else members
        self._deliveries.deliver(message, told, effects, now=now)


def _tell(connection: Connection, message: wire.Control, effects: Effects) -> None:
    # The answers of a stream are not kept for a client that is away: it sends again what was not confirmed.
    if connection.transport is not None:
        effects.append(Send(connection.transport, message))
