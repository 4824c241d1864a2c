"""The client's state machine: what to send, what to deliver, and what to do when a transport ends.

The theory
----------
Three lifetimes lie within one another. A *transport* is one WebSocket. A *session* is one connection id at the service;
on a reliable subprotocol it survives its transport for a while (30 seconds and more), is *recovered* over the next one,
and then goes on as if nothing had happened. The *client* lives over any number of sessions.

**Downstream.** The service numbers the messages of a session 1, 2, 3 ... and keeps each until a ``sequenceAck``
confirms its number or a larger one. After a recovery it sends again what was not confirmed. So the client delivers a
message when its number is larger than any before, drops it otherwise, and confirms the largest number it has seen: at
most a second late, earlier when much has come. Together: every message once and in order, within a session.

**Upstream.** An operation keeps its ack id within a session, see `outgoing`; the service runs an id once. What is
pending when a transport ends is written again after the recovery. When the session is lost, so is the service's memory
of ids: an operation never written goes out in the next session under a new id, a written send is `Unknown`, and joins
are made anew for every wanted group (`membership`).

**Recovery.** A recovery that cannot work is no failed handshake: the socket opens and is then closed with 1008. So an
open socket proves nothing. The client sends a ``ping`` at once and writes nothing else until a first frame has come, of
any kind: that is the proof. A new session is proven by its ``connected``.

**An end.** Close code 1008, a subprotocol without recovery, or no reconnection token: the session is lost, a new one is
tried. Any other end of a transport, whatever the service said before: recover. Only the user's leaving stops the client
here; whether new sessions may be tried at all is the supervisor's affair.

How to use it
-------------
Every method that takes ``now`` (seconds on any steady clock) is told a fact and returns the *outputs* it leads to, in
order: messages to deliver, operations with an outcome, and lifecycle values. After each, `next_deadline` says when
`handle_timeout` is due; `take_frames` gives what to write; `step` says, without a transport, what to do next.

Sources: the client specification (``protocols/client/client-spec.md`` of Azure/azure-webpubsub) for recovery, 1008 and
sequence ids; the documentation's reliable-client how-to for acknowledgements; rule 11 of the design for what is passed
over.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from . import wire
from .codec import Codec
from .errors import UnreadableFrame
from .keep_alive import KeepAlive
from .messages import Connected, Disconnected, Gap, GroupMessage, Recovered, ServerMessage, Stopped
from .outgoing import Outgoing
from .sequence import SequenceTracker
from .session_values import Counts, Delivery, Output, Reconnect, Recover, SessionSettings, State, Step, Stop
from .ticket import SessionTicket, TicketContents, UnreadMessage

UNREADABLE_IN_A_ROW = 3
"""So many frames without a readable envelope, one after another, and the transport is not worth keeping."""

DETACHED = "the session was detached"

_DATA = (GroupMessage, ServerMessage)

POLICY_VIOLATION = 1008
"""The close code with which the service refuses a recovery."""


class Session:
    """The client's side of the protocol, from the first connect to the last close."""

    def __init__(self, codec: Codec, settings: SessionSettings, *, retry_delays: Callable[[], Iterator[float]]) -> None:
        self._codec = codec
        self._settings = settings
        self.outgoing: Outgoing = Outgoing(codec, settings, retry_delays=retry_delays)
        """What callers ask for."""
        self._sequence = SequenceTracker()
        self._keep_alive = KeepAlive(interval=settings.keep_alive_interval, answer_timeout=settings.keep_alive_timeout)
        self._ping_frame = codec.encode_upstream(wire.Ping())

        self.state: State = "connecting"
        self.connection_id: str | None = None
        self.user_id: str | None = None
        self._reconnection_token: str | None = None
        self._recovery: Recover | None = None
        self._poison: tuple[int, ...] = ()  # what made a transport of this session worthless

        # Of the present transport
        self._open = False
        self._proven = False
        self._sequence_ack_due = False
        self._unreadable_run: list[int] = []  # hashes of the frames
        self._goodbye: str | None = None

        self.counts: Counts = Counts()
        """For statistics; to be read only."""

    @property
    def binary(self) -> bool:
        """Whether frames travel as binary ones."""
        return self._codec.binary

    @property
    def ack_timeout(self) -> float:
        """Seconds to wait for what the service owes."""
        return self._settings.ack_timeout

    @property
    def can_post(self) -> bool:
        """Whether a transport is ready to take frames that nobody waits for."""
        return self._proven

    # The transport's life

    def transport_opened(self) -> None:
        """A WebSocket is open. It proves nothing yet."""
        self._open = True
        self._proven = False
        self._keep_alive.transport_opened(ping=self.state == "recovering")
        self._sequence_ack_due = False
        self._unreadable_run.clear()
        self._goodbye = None

    @property
    def proven(self) -> bool:
        """Whether the present transport carries a session."""
        return self._proven

    def receive(self, batch: list[bytes], now: float) -> list[Output]:
        """Take the data frames that came."""
        outputs: list[Output] = []
        if self.state == "stopped":
            return outputs  # what comes while the link is being closed begins nothing any more
        if self._recovery is not None and batch:
            self._recovery_answered(batch[0], self._recovery.connection_id, now, outputs)
        counts = self.counts
        messages = self._codec.decode_messages(batch)
        sizes = list(map(len, batch))
        counts.frames_received += len(batch)
        counts.bytes_received += sum(sizes)
        if messages is not None and self._sequence.note_all([each.sequence_id for each in messages], sum(sizes), now):
            self._unreadable_run.clear()
            counts.messages_received += len(messages)
            outputs.append(Delivery(messages, sizes))
        else:
            self._look_at_each(batch, now, outputs)
        return outputs

    def _look_at_each(self, batch: list[bytes], now: float, outputs: list[Output]) -> None:
        """Take frames among which there is more than messages in their usual form and order."""
        counts = self.counts
        decode = self._codec.decode_downstream
        note = self._sequence.note
        messages: list[GroupMessage | ServerMessage] = []
        sizes: list[int] = []
        for frame in batch:
            try:
                message = decode(frame)
            except UnreadableFrame:
                counts.unreadable += 1
                self._unreadable_run.append(hash(frame))
                outputs.append(Gap(unreadable=1))
                messages, sizes = [], []
                continue
            if self._unreadable_run:
                self._unreadable_run.clear()
            if not isinstance(message, _DATA):
                if isinstance(message, wire.Ack):  # of many senders nearly all, so they are spared a call
                    if (round_trip := self.outgoing.acknowledge(message, now, outputs)) is not None:
                        counts.last_round_trip = round_trip
                else:
                    self._control(message, len(frame), now, outputs)
                if messages:
                    messages, sizes = [], []
                continue
            sequence_id = message.sequence_id
            if sequence_id is not None and not note(sequence_id, len(frame), now):
                counts.repeated += 1
                continue
            counts.messages_received += 1
            if message.data_error is not None:
                counts.undecodable += 1
            if not messages:
                outputs.append(Delivery(messages, sizes))
            messages.append(message)
            sizes.append(len(frame))

    @property
    def worthless(self) -> bool:
        """True when the transport brings nothing readable any more and should be aborted."""
        return len(self._unreadable_run) >= UNREADABLE_IN_A_ROW

    def transport_ended(self, code: int, reason: str, now: float, *, violation: bool = False) -> list[Output]:
        """The WebSocket is gone.

        Args:
            code: the close code that came, 1006 if none.
            reason: what came with it.
            now: the time.
            violation: whether the service broke the protocol of WebSockets; then the code is what it was told.
        """
        outputs: list[Output] = []
        was_proven = self._proven
        self.counts.posts_lost += self.outgoing.transport_ended(None if violation else code, outputs)
        self._open = self._proven = False
        if self.state == "stopped":
            return outputs
        if was_proven:
            outputs.append(
                Disconnected(connection_id=self.connection_id, code=code, reason=reason, message=self._goodbye)
            )
        if self.state == "connected":
            if self._codec.reliable and self._reconnection_token and self.connection_id:
                self.state = "recovering"
                deadline = now + self._settings.recovery_timeout
                self._recovery = Recover(self.connection_id, self._reconnection_token, deadline)
            else:
                self._lose_session(outputs)
        if self.state == "recovering":
            poison: tuple[int, ...] = ()
            if violation:
                poison = (code, self._sequence.newest)
            elif self.worthless:
                poison = tuple(self._unreadable_run[:UNREADABLE_IN_A_ROW])
            # The service sends unconfirmed frames again: what cannot be read would come back for ever.
            if (code == POLICY_VIOLATION and not violation) or (poison and poison == self._poison):
                self._lose_session(outputs)
            elif poison:
                self._poison = poison
        return outputs

    def recovery_failed(self) -> list[Output]:
        """The session cannot be recovered: its time is over, or the service refused for good."""
        outputs: list[Output] = []
        if self.state == "recovering":
            self._lose_session(outputs)
        return outputs

    def stop(self, reason: str) -> list[Output]:
        """The client ends, now and for good."""
        if self.state == "stopped":
            return []
        self._open = self._proven = False
        self.state = "stopped"
        self.counts.connected_since = None
        outputs: list[Output] = []
        self.counts.posts_lost += self.outgoing.transport_ended(None, outputs)
        return [*self.outgoing.stop(), *outputs, Stopped(reason=reason)]

    @property
    def can_detach(self) -> bool:
        """Whether there is a session that another process could go on with."""
        return self.state in ("connected", "recovering") and bool(self._reconnection_token) and self._codec.reliable

    def detach(self, url: str, unread: dict[str, list[UnreadMessage]]) -> tuple[SessionTicket, list[Output]]:
        """End the client but not the session, and give what another process needs to go on. Only while `can_detach`."""
        outputs: list[Output] = []
        self.counts.posts_lost += self.outgoing.transport_ended(None, outputs)
        operations, last_ack_id, groups, told = self.outgoing.hand_over()
        contents = TicketContents(
            subprotocol=self._codec.subprotocol,
            url=url,
            connection_id=self.connection_id or "",
            user_id=self.user_id,
            reconnection_token=self._reconnection_token or "",
            newest_sequence_id=self._sequence.newest,
            last_ack_id=last_ack_id,
            operations=operations,
            groups=groups,
            states={group: dict(state) for group, state in self.outgoing.states.own.items()},
            unread=unread,
        )
        self._open = self._proven = False
        self.state = "stopped"
        self.counts.connected_since = None
        return SessionTicket(contents), [*told, *outputs, Stopped(reason=DETACHED)]

    def resume(self, contents: TicketContents, now: float) -> None:
        """Go on with the session of another process: recover it."""
        self.counts.sessions = 1
        self.connection_id = contents.connection_id
        self.user_id = contents.user_id
        self._reconnection_token = contents.reconnection_token
        self._sequence.newest = contents.newest_sequence_id
        self.state = "recovering"
        deadline = now + self._settings.recovery_timeout
        self._recovery = Recover(contents.connection_id, contents.reconnection_token, deadline)
        self.outgoing.resume(contents)

    @property
    def step(self) -> Step:
        """What to do while there is no transport."""
        if self.state == "stopped":
            return Stop()
        return self._recovery or Reconnect()

    # Writing

    def take_frames(self, now: float, budget: int = 65536) -> list[bytes]:
        """Give the frames to write now: about ``budget`` bytes, so that acks are read between two writes."""
        frames: list[bytes] = []
        if self._open and self._keep_alive.take_ping(now):
            frames.append(self._ping_frame)
        if self._proven:
            self._sequence_ack_due = False
            if (sequence_id := self._sequence.take(now)) is not None:
                frames.append(self._codec.encode_upstream(wire.SequenceAck(sequence_id)))
            frames += self.outgoing.take(now, budget)
        self.counts.frames_sent += len(frames)
        self.counts.bytes_sent += sum(map(len, frames))
        return frames

    @property
    def idle(self) -> bool:
        """True when nothing waits to be written."""
        if self._open and self._keep_alive.due:
            return False
        return self.outgoing.idle and not (self._proven and self.outgoing.leaving)

    # Time

    @property
    def next_deadline(self) -> float:
        """When `handle_timeout` and `take_frames` have something to do without anything having happened.

        Then the service should hear what has come, an ack or a response is overdue, or a retry is due.
        """
        if not self._proven:
            return math.inf
        deadline = self.outgoing.deadline
        return deadline if self._sequence_ack_due else min(deadline, self._sequence.due)

    def handle_timeout(self, now: float) -> list[Output]:
        """Time has passed: retries and a sequence ack are due, overdue acks are asked for or given up."""
        outputs: list[Output] = []
        if self._proven:
            self._sequence_ack_due = self._sequence.due <= now
            self.outgoing.expire(now, outputs)
        return outputs

    @property
    def pinged(self) -> bool:
        """Whether a silence made a ping due, to which no answer has been noticed yet."""
        return self._keep_alive.waiting

    @property
    def patience(self) -> float:
        """Seconds in which a living link shows that it lives."""
        return self._settings.keep_alive_interval + self._settings.keep_alive_timeout

    def keep_alive(self, last_received: float, now: float) -> float | None:
        """Say when to ask again, or ``None`` when the link is dead; see `KeepAlive.check`."""
        return self._keep_alive.check(last_received, now)

    # Inside

    def _control(
        self,
        message: wire.Control | wire.GroupState | wire.UnknownMessage,
        size: int,
        now: float,
        outputs: list[Output],
    ) -> None:
        """Take what is neither data nor an ack."""
        streams = self.outgoing.streams
        news: Output | None = None
        match message:
            case wire.ConnectedMessage():
                self._connected(message, now, outputs)
            case wire.DisconnectedMessage():
                self._goodbye = message.message or ""
            case wire.UnknownMessage():
                self.counts.unknown += 1
                if message.sequence_id is not None:
                    self._sequence.note(message.sequence_id, size, now)
            case wire.InvokeResponse():
                self.outgoing.respond(message, outputs)
            case wire.StreamAck():
                news = streams.acknowledge(message, now)
            case wire.StreamNack():
                news = streams.go_back(message, now)
            case wire.StreamClosed():
                news = streams.closed(message, now)
            case wire.GroupState():
                if message.sequence_id is None or self._sequence.note(message.sequence_id, size, now):
                    news = self.outgoing.states.take(message)
                else:
                    self.counts.repeated += 1
            case _:  # a pong
                if (round_trip := self._keep_alive.pong(now)) is not None:
                    self.counts.last_round_trip = round_trip
        if news is not None:
            outputs.append(news)

    def _connected(self, message: wire.ConnectedMessage, now: float, outputs: list[Output]) -> None:
        if message.connection_id != self.connection_id:
            if self.state == "connected":  # unheard of, but said clearly enough: what was sent belongs to the old one
                self.counts.posts_lost += self.outgoing.transport_ended(None, outputs)
                self._lose_session(outputs)
            self._begin_session(message, now, outputs)
        self._reconnection_token = message.reconnection_token or self._reconnection_token

    def _begin_session(self, message: wire.ConnectedMessage, now: float, outputs: list[Output]) -> None:
        self.counts.sessions += 1
        self.connection_id = message.connection_id
        self.user_id = message.user_id
        self.counts.connected_since = now
        self._poison = ()
        self.state = "connected"
        self._proven = True
        first = self.counts.sessions == 1
        outputs.append(Connected(connection_id=message.connection_id, user_id=message.user_id, first=first))
        if not first:
            outputs.append(Gap(session_lost=True))
        self.outgoing.session_begun(outputs, first=first)

    def _recovery_answered(self, frame: bytes, connection_id: str, now: float, outputs: list[Output]) -> None:
        """Take the first frame after a recovery: whatever it is, the session lives, unless it begins another."""
        try:
            message = self._codec.decode_downstream(frame)
        except UnreadableFrame:
            message = None
        if isinstance(message, wire.ConnectedMessage) and message.connection_id != connection_id:
            self._lose_session(outputs)
            return
        self._recovery = None
        self.counts.recoveries += 1
        if self.counts.connected_since is None:  # nobody knows when another process began this session
            self.counts.connected_since = now
        self._proven = True
        self.state = "connected"
        self._sequence.rearm(now)
        self.outgoing.session_recovered(now)
        outputs.append(Recovered(connection_id=connection_id))

    def _lose_session(self, outputs: list[Output]) -> None:
        self.state = "reconnecting"
        self._proven = False
        self.connection_id = None
        self.counts.connected_since = None
        self._reconnection_token = None
        self._recovery = None
        self._sequence.reset()
        self.outgoing.session_lost(outputs)
