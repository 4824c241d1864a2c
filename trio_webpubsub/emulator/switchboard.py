"""Connects the hubs to their WebSockets: does what a hub wants done, and answers what it asks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from itertools import count
from typing import TypeAlias

import trio

from .._shell.clock import wall_time
from ..protocol.wire import Ack, Control, OpenStream, SequenceAck, Upstream, WireError
from .dispatcher import EventDispatcher
from .hub import (
    UNHANDLED,
    Abort,
    AskEvent,
    Close,
    Deliver,
    Effect,
    EventAnswer,
    Hub,
    Hubs,
    Notify,
    Send,
    Token,
    Transport,
    Withdraw,
)
from .hub.limits import HubLimits
from .links import Link
from .queues import Queues
from .record import Record

_TURN = 10_000
"""Messages to clients after which the others get a turn, when one client sends a lot at once."""
_TAKEN = 50
"""As how many of those a message from a client counts: it takes about as long."""

SendNow: TypeAlias = Callable[[], None]
"""Sends what there is to send to one client."""
AckFault: TypeAlias = Callable[[Hub, Transport, SendNow], bool]
"""Is given every ack that is about to be sent; True says that it sees to it, whatever that is."""


class Switchboard:
    """All hubs, and all links under the transport numbers that the hubs know them by."""

    def __init__(
        self,
        limits: HubLimits,
        events: EventDispatcher,
        record: Record,
        *,
        connected_after_recovery: bool,
        drop_failed_events: bool,
    ) -> None:
        self.limits = limits
        self.record = record
        """What was received."""
        self.ack_faults: list[AckFault] = []
        """The youngest is asked first."""
        self.unheard: list[str | None] = []
        """The connections whose sequence-acks are passed over; ``None`` for all."""
        self.hubs: Hubs = Hubs(
            limits,
            connected_after_recovery=connected_after_recovery,
            drop_failed_events=drop_failed_events,
            announced=events.announced,
            epoch=wall_time() - trio.current_time(),
        )
        self.events = events
        """Who handles events."""
        self.links: dict[Transport, Link] = {}
        """A transport is here before its hub hears that it is open, and until its hub hears that it has ended."""
        self._queues = Queues(of_one=limits.queued_bytes, of_all=limits.all_queued_bytes)
        self._numbers = count(1)
        self._held: list[Link] = []
        """Those for whom something is queued that nobody sends before the next `push`."""
        self._holding = False
        self._turn = 0
        """Messages to clients, and what counts as such, since the last `push`."""
        self._deadline_moved = trio.Event()
        self._one_confirmed = trio.lowlevel.ParkingLot()
        self.one_answered: trio.lowlevel.ParkingLot = trio.lowlevel.ParkingLot()
        """Where those who read from clients wait for the answer to any event."""

    def receive(self, hub: Hub, transport: Transport, connection_id: str, message: Upstream) -> None:
        """Pass on what a client sent, and do what comes of it."""
        was_behind = connection_id in hub.behind
        self._turn += _TAKEN
        self._note(hub, connection_id, message)
        if self.unheard and isinstance(message, SequenceAck) and not {None, connection_id}.isdisjoint(self.unheard):
            return
        self.perform(hub, hub.receive(transport, message, now=trio.current_time()))
        if was_behind and isinstance(message, SequenceAck):
            self._one_confirmed.unpark_all()
        elif isinstance(message, OpenStream):
            self._deadline_moved.set()

    def hold(self) -> None:
        """Let what is for clients wait for the next `push`.

        A client may send many messages at once, each of which is for many: so all that is for one goes out together.
        """
        self._holding = True

    def push(self) -> None:
        """Send what waits for clients, as far as the network takes it at once."""
        self._holding = False
        self._turn = 0
        held, self._held = self._held, []
        for link in held:
            if waiting := link.push():
                self._queues.note(link, waiting)

    @property
    def turn_is_over(self) -> bool:
        """Whether so much was done that others should get a turn."""
        return self._turn >= _TURN

    def perform(self, hub: Hub, effects: Iterable[Effect]) -> None:
        """Do what ``hub`` wants done. Nothing here waits, or fails for one client because of another."""
        for effect in effects:
            match effect:
                case Deliver():
                    self._deliver(effect)
                case Send(transport, message):
                    link = self.links[transport]
                    if not (self.ack_faults and isinstance(message, Ack) and self._fails(hub, transport, message)):
                        self._tell(link, message)
                case Close(transport, code, reason):
                    self.links[transport].close(code, reason)
                case Abort(transport):
                    self.links[transport].websocket.abort()
                    self.one_answered.unpark_all()  # nobody will answer this one
                case AskEvent():
                    answer = partial(self._answer, hub, effect.token)
                    if not self.events.ask(hub, effect, answer):
                        answer(UNHANDLED)
                case Withdraw(token):
                    self.events.withdraw(hub, token)
                case Notify():
                    self.events.notify(effect)

    def _answer(self, hub: Hub, token: Token, answer: EventAnswer) -> None:
        self.perform(hub, hub.answer_event(token, answer, now=trio.current_time()))
        self.one_answered.unpark_all()

    def _fails(self, hub: Hub, transport: Transport, ack: Ack) -> bool:
        send = partial(self._tell, self.links[transport], ack)
        return any(fault(hub, transport, send) for fault in reversed(self.ack_faults))

    def _note(self, hub: Hub, connection_id: str, message: Upstream) -> None:
        connection = hub.registry.connections.get(connection_id)
        if connection is not None:
            self.record.message(trio.current_time(), hub.name, connection, message)

    def _deliver(self, effect: Deliver) -> None:
        links, send = self.links, self._send_now if not self._holding else self._hold
        written: dict[str, bytes] = {}
        frames: dict[tuple[str, int | None], bytes] = {}
        # Sessions that were told equally much get the very same frame, and it is mostly the one before.
        language, number, frame = "", None, b""
        for transport, sequence_id in effect.recipients:
            link = links[transport]
            if sequence_id != number or link.language is not language or not frame:
                language, number = link.language, sequence_id
                if language not in written:
                    written[language] = link.write(effect.message)
                if (language, number) not in frames:
                    frames[language, number] = link.data_frame(written[language], number)
                frame = frames[language, number]
            send(link, frame)
        self._turn += len(effect.recipients)

    def _tell(self, link: Link, message: Control) -> None:
        if frame := link.control_frame(message):
            self._send(link, frame)

    def _send(self, link: Link, frame: bytes) -> None:
        if self._holding:
            self._hold(link, frame)
        else:
            self._send_now(link, frame)

    def _send_now(self, link: Link, frame: bytes) -> None:
        if waiting := link.send(frame):
            self._queues.note(link, waiting)

    def _hold(self, link: Link, frame: bytes) -> None:
        if link.hold(frame) == len(frame):  # it is the first
            self._held.append(link)

    def next_transport(self) -> Transport:
        """Give a number for one more WebSocket."""
        return next(self._numbers)

    def end_transport(self, hub: Hub, transport: Transport, code: int | None) -> None:
        """Strike a WebSocket off; ``code`` is that of its client's close frame, if one came."""
        if (link := self.links.pop(transport, None)) is not None:
            self._queues.forget(link)
        self.perform(hub, hub.transport_ended(transport, code=code, now=trio.current_time()))
        self._deadline_moved.set()
        self._one_confirmed.unpark_all()

    def link_of(self, connection_id: str) -> Link | None:
        """Give the WebSocket of a connection of any hub, if it has one."""
        for hub in self.hubs:
            if connection := hub.registry.connections.get(connection_id):
                return None if connection.transport is None else self.links[connection.transport]
        return None

    def forget_session(self, connection_id: str) -> bool:
        """Lose a connection of any hub; tell whether there was one."""
        for hub in self.hubs:
            if connection_id in hub.registry.connections:
                self.perform(hub, hub.forget_session(connection_id))
                return True
        return False

    def fail_stream(self, connection_id: str, stream_id: str, error: WireError) -> bool:
        """End a stream of a connection of any hub; tell whether it was there."""
        for hub in self.hubs:
            effects = hub.fail_stream(connection_id, stream_id, error, now=trio.current_time())
            if effects is not None:
                self.perform(hub, effects)
                return True
        return False

    def close_all(self, code: int, reason: str) -> None:
        """Close every connection on purpose, and end every session."""
        for hub in self.hubs:
            for connection_id in list(hub.registry.connections):
                self.perform(hub, hub.close_connection(connection_id, code=code, reason=reason))

    async def let_others_catch_up(self, hub: Hub, sender: str) -> None:
        """Hold the messages of one client back for a moment, while others have a lot to confirm.

        Otherwise a few that send a lot at once would end the sessions of all who listen, who never got their turn. The
        sender itself is not waited for, since what it confirms is behind what else it sent.
        """
        slow = hub.behind - {sender}
        if slow:
            with trio.move_on_after(self.limits.catch_up_time) as scope:
                await self._one_confirmed.park()
            if scope.cancelled_caught:
                hub.behind -= slow

    async def expire(self) -> None:
        """End sessions whose clients did not come back in time, and idle streams; runs until it is cancelled."""
        while True:
            self._deadline_moved = trio.Event()
            # Not sleep_until: it works with the time that is left, and rounding may wake it a moment too early.
            with trio.move_on_at(self.hubs.next_deadline):
                await self._deadline_moved.wait()
            for hub, effects in self.hubs.handle_timeout(trio.current_time()):
                self.perform(hub, effects)
