"""Streams that come from groups: which fragment belongs to which, and what is missing (a preview of the service).

The fragments of a stream are group messages that carry the stream's id and their own number, from 1. The last message
says that the stream has ended, and perhaps why; it may bring a fragment with it, and has the next number in any case.

Who joins late hears a stream from its middle; who loses a session may miss some of it, the end included. So numbers
that are not the next one are told as missing, a number that was there before is a repetition, and number 1 in the
middle of a stream is the beginning of another one with the same name. A stream of which nothing comes for too long is
given up.

Sources: the client specification (``protocols/client/client-spec.md`` of Azure/azure-webpubsub), by which a receiver
keeps streams apart by group and stream id, and reports gaps; the idle time is the official JavaScript client's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import msgspec

from .messages import GroupMessage, StreamError

MAX_REMEMBERED = 10_000
"""Streams that are remembered though they are passed over, so that memory stays bounded."""


@dataclass(slots=True, eq=False)
class IncomingStream:
    """One stream as it comes."""

    group: str
    stream_id: str
    from_user_id: str | None
    from_start: bool
    """Whether its first fragment was number 1."""
    expected: int
    """The number of its next fragment."""
    heard_at: float
    passed_over: bool = False
    """Whether nobody wants it."""


class Began(msgspec.Struct, frozen=True):
    """There is a new stream."""

    stream: IncomingStream


class Missing(msgspec.Struct, frozen=True):
    """So many fragments of it did not come."""

    stream: IncomingStream
    fragments: int


class Fragment(msgspec.Struct, frozen=True):
    """The message is its next fragment."""

    stream: IncomingStream


class Over(msgspec.Struct, frozen=True):
    """No more of it will come."""

    stream: IncomingStream
    error: StreamError | None


Event: TypeAlias = Began | Missing | Fragment | Over


class IncomingStreams:
    """The streams that one subscriber hears."""

    def __init__(self, *, idle_timeout: float, from_start: bool) -> None:
        """Start without streams.

        Args:
            idle_timeout: seconds after which a stream of which nothing comes is given up.
            from_start: pass over streams whose beginning was missed.
        """
        self._idle_timeout = idle_timeout
        self._from_start = from_start
        self._streams: dict[tuple[str, str], IncomingStream] = {}
        self._next_sweep = -math.inf

    def take(self, message: GroupMessage, now: float) -> list[Event]:
        """Take a message that belongs to a stream; gives what that means, in order."""
        info = message.stream
        if info is None:
            return []
        key = (message.group, info.stream_id)
        number = info.stream_sequence_id
        stream = self._streams.get(key)
        events: list[Event] = []
        if stream is not None and number == 1 < stream.expected:
            events.append(self._over(stream, StreamError(name="Superseded", message="another stream took its name")))
            stream = None
        if stream is None:
            if self._from_start and number != 1:
                return events
            events += self._give_up_idle(now)
            stream = IncomingStream(message.group, info.stream_id, message.from_user_id, number == 1, 1, now)
            self._streams[key] = stream
            events.append(Began(stream))
        stream.heard_at = now
        if number > stream.expected:
            events.append(Missing(stream, number - stream.expected))
            stream.expected = number
        if number == stream.expected and not (info.end_of_stream and _is_empty(message)):
            stream.expected += 1
            events.append(Fragment(stream))
        if info.end_of_stream:
            events.append(self._over(stream, info.error))
        return [] if stream.passed_over else events

    def take_all(self, messages: Sequence[GroupMessage], now: float) -> IncomingStream | None:
        """Take messages in one step, if they are the next fragments of one stream that somebody wants.

        ``None``, and nothing has changed, where each needs a look of its own.
        """
        infos = [message.stream for message in messages if message.stream is not None]
        stream = self._streams.get((messages[0].group, infos[0].stream_id))
        if stream is None or stream.passed_over:
            return None
        after = stream.expected + len(infos)
        numbers = [info.stream_sequence_id for info in infos if info.stream_id == stream.stream_id]
        if numbers != list(range(stream.expected, after)) or [1 for info in infos if info.end_of_stream]:
            return None
        stream.expected = after
        stream.heard_at = now
        return stream

    def pass_over(self, stream: IncomingStream) -> None:
        """Nobody wants this stream: its fragments are no news any more."""
        stream.passed_over = True
        if len(self._streams) > MAX_REMEMBERED:
            self._streams.pop((stream.group, stream.stream_id), None)

    def _over(self, stream: IncomingStream, error: StreamError | None) -> Over:
        del self._streams[stream.group, stream.stream_id]
        return Over(stream, error)

    def _give_up_idle(self, now: float) -> list[Event]:
        """Forget the streams that have been idle for too long. Looked for now and then, when others begin."""
        if now < self._next_sweep:
            return []
        self._next_sweep = now + self._idle_timeout / 4
        idle = [stream for stream in self._streams.values() if stream.heard_at + self._idle_timeout <= now]
        return [self._over(stream, idle_error(self._idle_timeout)) for stream in idle]


def idle_error(seconds: float) -> StreamError:
    """Say that nothing came for so many seconds."""
    return StreamError(name="IdleTimeout", message=f"nothing came for {seconds:g} seconds")


def _is_empty(message: GroupMessage) -> bool:
    """Whether the message carries nothing: a text without characters counts, for some subprotocols need a payload."""
    return message.data_error is None and message.data in (None, "", b"")
