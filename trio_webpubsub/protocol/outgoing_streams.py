"""Streams that this client sends to groups: windows of numbered fragments (a preview of the service).

The theory
----------
A stream is opened by a ``sendToGroup`` without data, and is open when the service says so: it expects fragment 1. Then
fragments follow, numbered 1, 2, 3 ...; a ``streamAck`` says which number the service expects next and so confirms all
below it. What is not confirmed is kept, at most a *window*: 64 fragments or 1 MiB.

A ``streamNack`` says the same and asks for more: the service did not take a fragment, and takes none after it, so the
sender goes back to the one that is expected. The fragments that were on their way meanwhile bring a nack each, so after
going back the sender holds still for a moment, twice as long each time until something is confirmed; nacks that come
then change nothing. A fragment that the service has already does no harm, it is not published again.

What ends a stream has no number. So the end is written when everything has been confirmed: written earlier, it could
overtake a fragment that has to be sent again. Only who is in a *hurry* takes that risk.

A stream belongs to its session. After a recovery what is unconfirmed is written again, in order. The answers of the
service that the last transport lost are gone, though, for they have no sequence ids. So an opening, or an end, that was
written before and is now refused because the stream is there (``BadRequest``), or is not there any more
(``StreamNotFound``), has been carried out; unless the stream may have become idle meanwhile. With a session all of its
streams are lost.

A stream that this side gives up, or whose opening nobody waits for any more, gets a *farewell*: an end that is written
again after a recovery, until the service has answered. The service answers in order, so what it says before that is
still about the stream that was left, and not about another one of its name.

An acknowledgement outside of the window means that both sides have lost each other: the stream is given up, and the
service is told. When an answer is due and nothing has come on for the time of an ack, what is unanswered is written
again, since the link may have been dead for a while; the second time the stream is given up.

Sources: the client specification (``protocols/client/client-spec.md`` of Azure/azure-webpubsub), the reference of the
JSON subprotocols; the times of holding still are those of the official JavaScript client.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from . import wire
from .codec import Codec
from .errors import MessageTooLarge
from .outgoing_stream import SHORTEST_HOLD, Abandoned, Ended, Failed, Lost, OutgoingStream, StreamOutcome

LONGEST_HOLD = 5.0
"""Seconds to hold still after going back again and again."""

KEEP_ALIVE = 1 / 3
"""A stream without fragments shows that it lives after this part of its idle timeout."""

PROTOCOL_VIOLATION = "ProtocolViolation"


@dataclass(slots=True)
class _Farewell:
    """The end of a stream for which nobody waits any more."""

    frame: bytes
    opening_unanswered: bool
    """Whether the service has to answer the opening first."""


class OutgoingStreams:
    """All streams of one client."""

    def __init__(self, codec: Codec, *, ack_timeout: float, max_message_size: int) -> None:
        self._codec = codec
        self._ack_timeout = ack_timeout
        self._max_message_size = max_message_size
        self._streams: dict[str, OutgoingStream] = {}
        self._ready: dict[OutgoingStream, None] = {}  # with something to write, in the order of their turns
        self._farewells: dict[str, _Farewell] = {}  # by stream id, until the service has answered
        self._unsaid: list[bytes] = []  # those of them that are to be written
        self.deadline: float = math.inf
        """When `expire` is to be called; something is due then or later."""

    # What callers ask for

    def open(self, opening: wire.OpenStream, idle_timeout: float) -> OutgoingStream:
        """Begin a stream.

        Raises:
            MessageTooLarge: its name is too long.
            ValueError: a stream of this name is open.
        """
        stream_id = opening.stream.stream_id
        if stream_id in self._streams:
            raise ValueError(f"a stream with the id {stream_id!r} is open")
        self._encode(opening)
        stream = OutgoingStream(opening, keep_alive=idle_timeout * KEEP_ALIVE)
        self._streams[stream_id] = stream
        self._ready[stream] = None
        return stream

    def write(self, stream: OutgoingStream, payload: wire.Payload) -> None:
        """Add a fragment to the window. Only in state ``"open"``, and while it `has_room <OutgoingStream.has_room>`.

        Raises:
            MessageTooLarge: nothing was added.
        """
        frame = self._encode(wire.StreamData(stream.stream_id, stream.written + 1, payload))
        size = len(payload.body)
        stream.written += 1
        stream.fragments.append((frame, size))
        stream.size += size
        stream.unwritten += 1
        self._offer(stream)

    def check_end(self, stream: OutgoingStream, error: wire.StreamEndError) -> None:
        """Check that a stream can be ended with an error.

        Raises:
            MessageTooLarge: it cannot.
        """
        self._encode(wire.StreamEnd(stream.stream_id, error))

    def end(self, stream: OutgoingStream, error: wire.StreamEndError | None = None, *, hurry: bool = False) -> None:
        """End a stream after all of its fragments are confirmed, or in a ``hurry`` as soon as they are out.

        One that was not open yet is forgotten, and if it may be opening the service is told. As long as the end has not
        been written it may still get an error and a hurry. For an error of the user's `check_end` comes first.
        """
        if stream.state == "opening":
            if stream.opening_written:
                self._bid_farewell(stream, error)
            self._close(stream, Ended())
        elif stream.state == "open":
            stream.state = "ending"
            stream.control_due = True
        if stream.state == "ending" and not stream.end_written:
            stream.error = stream.error or error
            stream.hurried |= hurry
            self._offer(stream)

    def end_all(self, error: wire.StreamEndError) -> bool:
        """End every stream with an ``error``, in a hurry; tell whether there are any."""
        streams = list(self._streams.values())
        for stream in streams:
            self.end(stream, error, hurry=True)
        return bool(streams)

    def _encode(self, message: wire.StreamMessage) -> bytes:
        frame = self._codec.encode_upstream(message)
        if len(frame) > self._max_message_size:
            raise MessageTooLarge(len(frame), self._max_message_size)
        return frame

    # Writing

    @property
    def idle(self) -> bool:
        """True when nothing waits to be written."""
        return not self._ready and not self._unsaid

    def take(self, now: float, budget: int) -> list[bytes]:
        """Give frames to write now, about ``budget`` bytes of them; streams take turns."""
        frames, self._unsaid = self._unsaid, []
        for stream in list(self._ready):
            if budget <= 0:
                break
            if now >= stream.hold_until:
                del self._ready[stream]
                budget = self._take_from(stream, now, budget, frames)
                self._offer(stream)
        return frames

    def _take_from(self, stream: OutgoingStream, now: float, budget: int, frames: list[bytes]) -> int:
        """Give what one stream has to write, as far as the budget goes; gives what is left of that."""
        before = len(frames)
        if stream.state == "opening":
            frames.append(self._codec.encode_upstream(stream.opening))
            stream.control_due = False
            stream.opening_written += 1
        for frame, _ in list(stream.fragments)[len(stream.fragments) - stream.unwritten :]:
            if budget <= 0:
                break
            frames.append(frame)
            budget -= len(frame)
            stream.unwritten -= 1
        if stream.state == "ending" and not stream.unwritten and stream.end_due:
            frames.append(self._codec.encode_upstream(wire.StreamEnd(stream.stream_id, stream.error)))
            stream.control_due = False
            stream.end_written += 1
            stream.end_written_at = min(stream.end_written_at, now)
        if len(frames) == before:
            frames.append(self._codec.encode_upstream(wire.StreamData(stream.stream_id)))
        stream.keep_alive_due = False
        stream.written_at = now
        if stream.is_owed:
            stream.waiting_since = min(stream.waiting_since, now)
        self._watch(stream)
        return budget

    # What the service says

    def acknowledge(self, ack: wire.StreamAck, now: float) -> OutgoingStream | None:
        """Take an acknowledgement; gives the stream if that changed something."""
        return self._expected(ack.stream_id, ack.expected_sequence_id, now)

    def go_back(self, nack: wire.StreamNack, now: float) -> OutgoingStream | None:
        """Take a nack; gives the stream if that changed something for who waits."""
        changed = self._expected(nack.stream_id, nack.expected_sequence_id, now)
        stream = self._streams.get(nack.stream_id)
        if stream is not None and stream.fragments and now >= stream.hold_until:
            stream.unwritten = len(stream.fragments)
            stream.hold_until = now + stream.hold
            stream.hold = min(stream.hold * 2, LONGEST_HOLD)
            self._offer(stream)
            self.deadline = min(self.deadline, stream.hold_until)
        return changed

    def closed(self, message: wire.StreamClosed, now: float) -> OutgoingStream | None:
        """Take the end of a stream, or its refusal; gives the stream if that changed something."""
        error = message.error
        farewell = self._farewells.get(message.stream_id)
        if farewell is not None:
            if farewell.opening_unanswered and error is not None and error.name != "StreamNotFound":
                farewell.opening_unanswered = False
            else:
                del self._farewells[message.stream_id]
            return None
        stream = self._streams.get(message.stream_id)
        if stream is None:
            return None
        if stream.opening_written > 1 and error and error.name == "BadRequest":
            stream.opening_written -= 1
            return self._expected(stream.stream_id, 1, now) if stream.state == "opening" else None
        if error is None and not stream.end_written:
            error = wire.WireError("", "the service closed the stream without a reason")
        if error is None or (error.name == "StreamNotFound" and stream.has_ended(now)):
            self._close(stream, Ended())
        else:
            self._close(stream, Failed(error))
        return stream

    def _expected(self, stream_id: str, expected: int, now: float) -> OutgoingStream | None:
        if (farewell := self._farewells.get(stream_id)) is not None:
            farewell.opening_unanswered = False
            return None
        stream = self._streams.get(stream_id)
        if stream is None:
            return None
        confirmed = expected - stream.acknowledged - 1
        if not 0 <= confirmed <= len(stream.fragments):
            text = f"the service expects fragment {expected}, which is not in the window"
            return self._give_up(stream, wire.WireError(PROTOCOL_VIOLATION, text))
        if stream.state == "opening":
            stream.state = "open"
        elif not confirmed:
            return None
        for _ in range(confirmed):
            stream.size -= stream.fragments.popleft()[1]
        stream.acknowledged += confirmed
        stream.strikes = 0
        stream.asked_again = False
        stream.unwritten = min(stream.unwritten, len(stream.fragments))
        stream.hold = SHORTEST_HOLD
        stream.waiting_since = now if stream.is_owed else math.inf
        self._offer(stream)
        self._watch(stream)
        return stream

    # Time

    def expire(self, now: float) -> list[OutgoingStream]:
        """Time has passed: go on after holding still, show signs of life, give up. Gives those that were given up."""
        self.deadline = math.inf
        given_up: list[OutgoingStream] = []
        for stream in list(self._streams.values()):
            if stream.waiting_since + self._ack_timeout <= now:
                if stream.asked_again:
                    error = wire.WireError("Timeout", "the service did not answer in time")
                    given_up.append(self._give_up(stream, error))
                    continue
                self._start_over(stream)
                stream.asked_again = True
            if stream.state != "opening" and stream.written_at + stream.keep_alive <= now:
                stream.keep_alive_due = True
            self._offer(stream)
            self._watch(stream)
            if stream.hold_until > now:
                self.deadline = min(self.deadline, stream.hold_until)
        return given_up

    def _watch(self, stream: OutgoingStream) -> None:
        """Let the deadline be no later than what is due for ``stream``."""
        due = stream.waiting_since + self._ack_timeout
        if stream.state != "opening" and not stream.keep_alive_due:
            due = min(due, stream.written_at + stream.keep_alive)
        self.deadline = min(self.deadline, due)

    # The transport and the session

    def transport_ended(self) -> None:
        """Nothing is written any more, and no answer can come."""
        self._ready.clear()
        self._unsaid.clear()
        self.deadline = math.inf
        for stream in self._streams.values():  # no answer is due while there is no transport
            stream.waiting_since = math.inf

    def refused_with(self, code: int) -> list[OutgoingStream]:
        """The service closed the transport with ``code``, as if it could not take a message. Gives up what it proves.

        Which stream it was cannot be told, but the second time is proof: it would end every link there is.
        """
        refused: list[OutgoingStream] = []
        for stream in [each for each in self._streams.values() if each.is_owed]:
            stream.strikes += 1
            if stream.strikes > 1:
                self._close(stream, Failed(wire.WireError("MessageRefused", f"the service closed with {code}")))
                refused.append(stream)
        return refused

    def session_recovered(self, now: float) -> None:
        """Write all again that was not answered."""
        for farewell in self._farewells.values():
            farewell.opening_unanswered = False  # that answer is lost
            self._unsaid.append(farewell.frame)
        for stream in self._streams.values():
            self._start_over(stream)
            stream.asked_again = False
            self.deadline = now

    def session_lost(self) -> list[OutgoingStream]:
        """Give the streams that are lost; those whose opening was never written wait for the next session."""
        self._farewells.clear()
        self._unsaid.clear()
        lost = [stream for stream in self._streams.values() if stream.opening_written]
        for stream in lost:
            self._close(stream, Lost())
        return lost

    def session_begun(self) -> None:
        """Open what waits for a session."""
        for stream in self._streams.values():
            self._offer(stream)

    def stop(self) -> list[OutgoingStream]:
        """Give every stream its last outcome."""
        self.transport_ended()
        stopped = list(self._streams.values())
        for stream in stopped:
            self._close(stream, Abandoned())
        return stopped

    # Inside

    def _offer(self, stream: OutgoingStream) -> None:
        if stream.has_work:
            self._ready[stream] = None

    def _start_over(self, stream: OutgoingStream) -> None:
        """Write all again that was not answered."""
        stream.unwritten = len(stream.fragments)
        stream.control_due = True
        stream.waiting_since = math.inf
        stream.hold_until = -math.inf
        self._offer(stream)

    def _give_up(self, stream: OutgoingStream, error: wire.WireError) -> OutgoingStream:
        self._bid_farewell(stream, wire.StreamEndError(error.message, error.name))
        self._close(stream, Failed(error))
        return stream

    def _bid_farewell(self, stream: OutgoingStream, error: wire.StreamEndError | None) -> None:
        frame = self._codec.encode_upstream(wire.StreamEnd(stream.stream_id, error))
        self._farewells[stream.stream_id] = _Farewell(frame, opening_unanswered=stream.state == "opening")
        self._unsaid.append(frame)

    def _close(self, stream: OutgoingStream, outcome: StreamOutcome) -> None:
        del self._streams[stream.stream_id]
        self._ready.pop(stream, None)
        stream.state = "closed"
        stream.outcome = outcome
        stream.fragments.clear()
        stream.size = stream.unwritten = 0
