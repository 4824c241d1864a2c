r"""One hub of the service as a state machine: values in, effects out, no IO, no clock, no randomness.

The life of a connection, as the shell drives it::

    connect --> AskConnect --> answer_connect --> Upgrade --> transport_opened --> Send(connected)
                                              \-> Reject
    receive, receive ... transport_ended --> gone, or waiting for recover until its window is over

A *connection* is one connection id, a *transport* one WebSocket. A connection of a reliable subprotocol outlives its
transport: `Hub.recover` puts it on a new one, within the window. Until then messages for it are kept. A connection
leaves the hub when its client closed with 1000, its window passed, too much was kept for it, or somebody closed it; one
that is not reliable leaves with its transport.

News of a transport that no connection uses any more are passed over without a word, since they may always be under way.

Source: client specification (``protocols/client/client-spec.md`` in Azure/azure-webpubsub) and the reference pages of
the JSON subprotocols; what they leave open is modelled on the official emulator.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from typing import TypeAlias

from ...protocol import wire
from ...protocol.subprotocols import first_known
from .deliveries import Deliveries
from .effects import Abort, AskConnect, Close, Effect, Notice, Reject, Send, Token, Transport, Upgrade
from .group_states import GroupStates
from .inputs import ConnectAnswer, ConnectRefused, ConnectRequest, EventAnswer
from .lifetimes import CONNECTION_LOST, Lifetimes
from .limits import HubLimits
from .registry import Connection, Registry
from .requests import Requests
from .streams import Streams

Effects: TypeAlias = list[Effect]


class Hub:
    """One hub: its connections, users, groups and reliable sessions.

    Every method returns what is to be done, in order. Times are seconds on any clock that never goes back.
    """

    def __init__(
        self,
        limits: HubLimits,
        *,
        name: str = "",
        connected_after_recovery: bool = True,
        drop_failed_events: bool = False,
        announced: Collection[Notice] = (),
        epoch: float = 0.0,
    ) -> None:
        """Start without connections.

        Args:
            limits: what is kept, and for how long.
            name: what it is called, in lower case.
            connected_after_recovery: whether a recovered session gets ``connected`` once more, with a fresh
                reconnection token, before what it missed. The client specification allows both.
            drop_failed_events: whether a client whose event fails is dropped, as the service's documentation has it, or
                gets an ack that says so, as from the official emulator. A simple client is dropped in any case.
            announced: what comes out as `Notify`.
            epoch: what makes of its times the seconds since 1970, which it tells clients.
        """
        self.name = name
        self._limits = limits
        self._connected_after_recovery = connected_after_recovery
        self._requested: dict[Transport, ConnectRequest] = {}
        self._accepted: dict[Transport, Connection] = {}
        self._lifetimes = Lifetimes(limits, frozenset(announced))
        self._deliveries = Deliveries(self._lifetimes)
        self._states = GroupStates(limits, self._lifetimes, self._deliveries, epoch=epoch)
        self._requests = Requests(
            limits, self._lifetimes, self._deliveries, self._states, drop_failed_events=drop_failed_events
        )
        self._now = 0.0  # the last time that was told
        self.streams: Streams = Streams(limits, self._lifetimes, self._deliveries)
        """What clients stream to groups."""
        self.registry: Registry = self._lifetimes.registry
        """Who is connected; for looking only."""
        self.behind: set[str] = self._lifetimes.behind
        """Connected clients that have left half of what they may unconfirmed. Who has more for them should give them
        a moment, and strike off this list who was waited for in vain: a client comes back to it once it has caught up.
        """
        self.stalled: set[str] = self._lifetimes.stalled
        """Clients with so many requests behind an unanswered event that no more should be read from them."""

    @property
    def is_empty(self) -> bool:
        """Whether there is no connection, nor one about to come."""
        return not (self.registry.connections or self._requested or self._accepted)

    # How connections come

    def connect(self, transport: Transport, request: ConnectRequest) -> AskConnect:
        """A client wants a new connection; the question whether it may comes out."""
        self._requested[transport] = request
        return AskConnect(transport, request)

    def answer_connect(self, transport: Transport, answer: ConnectAnswer) -> Upgrade | Reject:
        """Take the answer to `AskConnect`. A client that is gone by now is rejected, whatever the answer."""
        request = self._requested.pop(transport, None)
        if request is None:
            return Reject(transport, 500)
        if isinstance(answer, ConnectRefused):
            return Reject(transport, answer.status, answer.reason)
        subprotocol = answer.subprotocol
        if subprotocol is None:
            subprotocol = first_known(request.subprotocols)
        elif subprotocol not in request.subprotocols:
            return Reject(transport, 500, "The event handler chose a subprotocol that the client does not offer.")
        limits = self._limits
        if len(self.registry.connections) + len(self._accepted) >= limits.connections:
            return Reject(transport, 429, f"The hub has {limits.connections:,} connections, and takes no more.")
        connection = Connection(
            request,
            subprotocol=subprotocol,
            user_id=(request.user_id if answer.user_id is None else answer.user_id) or None,
            roles=request.roles if answer.roles is None else answer.roles,
            groups=request.groups if answer.groups is None else answer.groups,
            limits=limits,
        )
        if len(connection.groups) > limits.groups:
            return Reject(transport, 400, f"A connection is in at most {limits.groups:,} groups.")
        self._accepted[transport] = connection
        return Upgrade(transport, subprotocol)

    def transport_opened(self, transport: Transport) -> Effects:
        """The WebSocket that `Upgrade` asked for is open: from now on the connection exists."""
        effects: Effects = []
        connection = self._accepted.pop(transport, None)
        if connection is not None:
            if not connection.is_simple:
                effects.append(_connected(connection, transport))
            self._lifetimes.begin(connection, transport, effects)
        return effects

    def recover(self, transport: Transport, connection_id: str, reconnection_token: str, *, now: float) -> Effects:
        """A client wants its session back, over a WebSocket that is open already.

        A refusal closes it with 1008, never earlier: clients take no other sign for the end of a session. A transport
        that the connection still has is half-open at best, and is cut.
        """
        effects = self.handle_timeout(now)
        connection = self.registry.connections.get(connection_id)
        if connection is None or connection.session is None or not connection.session.tokens.accept(reconnection_token):
            effects.append(Close(transport, 1008, "The session cannot be recovered."))
            return self._settled(effects)
        if connection.transport is not None:
            effects.append(Abort(connection.transport))
            self._lifetimes.detach(connection, connection.transport)
            self._requests.transport_ended(connection, now, effects)
        self._lifetimes.attach(connection, transport)
        if self._connected_after_recovery:
            effects.append(_connected(connection, transport))
        self._deliveries.replay(connection.session, transport, now, effects)
        return self._settled(effects)

    # How they go

    def transport_ended(self, transport: Transport, *, code: int | None, now: float) -> Effects:
        """A WebSocket is gone, in whatever state it was.

        What its client had sent before is still carried out, but for invocations.

        Args:
            transport: which.
            code: the code of the client's close frame, ``None`` if there was none. 1000 ends a reliable session.
            now: when.
        """
        effects: Effects = []
        self._requested.pop(transport, None)
        if (unopened := self._accepted.pop(transport, None)) is not None:
            self._lifetimes.notify("disconnected", unopened, effects, CONNECTION_LOST)
        connection = self._lifetimes.attached.get(transport)
        if connection is None:
            return effects
        self._now = now
        if connection.session is None or code == 1000:
            self._lifetimes.end(connection, CONNECTION_LOST if code is None else "", effects)
        else:
            self._lifetimes.wait_for_recovery(connection, transport, now)
        self._requests.transport_ended(connection, now, effects)
        return self._settled(effects)

    @property
    def next_deadline(self) -> float:
        """When `handle_timeout` is to be called; ``math.inf`` if nothing waits."""
        return min(self._lifetimes.next_deadline, self.streams.next_deadline)

    def handle_timeout(self, now: float) -> Effects:
        """End the sessions whose window has passed, and the streams that have been idle for too long."""
        effects: Effects = []
        self._now = now
        self._lifetimes.end_expired(now, effects)
        self.streams.end_idle(now, effects)
        return self._settled(effects)

    def close_connection(self, connection_id: str, *, code: int = 1000, reason: str = "") -> Effects:
        """Close a connection on purpose, its session included; nothing happens if there is none.

        The client is told the ``reason`` in a message, and in the close frame if the code is not 1000 and it has room.
        """
        effects: Effects = []
        if connection := self.registry.connections.get(connection_id):
            self._lifetimes.close(connection, code, reason, effects)
        return self._settled(effects)

    def forget_session(self, connection_id: str) -> Effects:
        """Lose a connection as if its server had crashed; nothing happens if there is none."""
        effects: Effects = []
        if connection := self.registry.connections.get(connection_id):
            self._lifetimes.lose(connection, CONNECTION_LOST, effects)
        return self._settled(effects)

    # What clients send

    def receive(self, transport: Transport, message: wire.Upstream, *, now: float) -> Effects:
        """A client sent a message."""
        connection = self._lifetimes.attached.get(transport)
        effects: Effects = []
        if connection is None:
            return effects
        self._now = now
        match message:
            case wire.SequenceAck(sequence_id):
                if connection.session is not None:
                    self._deliveries.confirm(connection.id, connection.session, sequence_id)
            case wire.Ping():
                effects.append(Send(transport, wire.Pong()))
            case wire.CancelInvocation(invocation_id):
                self._requests.cancel(connection, invocation_id, now, effects)
            case wire.OpenStream() | wire.StreamData() | wire.StreamEnd():
                self.streams.take(connection, message, now, effects)
            case _:
                self._requests.take(connection, message, now, effects)
        return self._settled(effects)

    def answer_event(self, token: Token, answer: EventAnswer, *, now: float) -> Effects:
        """Take the answer to `AskEvent`. It is dropped if whoever waited for it is gone."""
        effects: Effects = []
        self._now = now
        self._requests.answer(token, answer, now, effects)
        return self._settled(effects)

    # What servers do

    def send_to(
        self,
        connections: Iterable[Connection],
        payload: wire.Payload,
        *,
        now: float,
        group: str | None = None,
        metadata: Mapping[str, str] | None = None,
        expires: float = math.inf,
    ) -> Effects:
        """Send to these connections.

        Args:
            connections: of this hub; `Registry.select` finds them.
            payload: what.
            now: when.
            group: set if it is sent to a group, which is told with it.
            metadata: told with it.
            expires: when it is of no use any more to a client that was away.
        """
        effects: Effects = []
        self._now = now
        message = wire.DataMessage(payload=payload, group=group, metadata=metadata)
        self._deliveries.deliver(message, connections, effects, now=now, expires=expires)
        return self._settled(effects)

    def join(self, connections: Iterable[Connection], groups: Iterable[str]) -> Effects:
        """Make connections members of groups; nothing happens where they are.

        Raises:
            TooManyGroups: for one of them these are too many; nothing changed.
        """
        connections, groups = list(connections), list(groups)
        effects: Effects = []
        for connection in connections:
            self._lifetimes.check_room(connection, groups)
        for connection in connections:
            for group in groups:
                self._lifetimes.join(connection, group, effects)
        return self._settled(effects)

    def leave(self, connections: Iterable[Connection], groups: Iterable[str]) -> Effects:
        """End memberships; nothing happens where there are none."""
        effects: Effects = []
        for connection in connections:
            for group in groups:
                self._lifetimes.leave(connection, group, effects)
        return self._settled(effects)

    def fail_stream(self, connection_id: str, stream_id: str, error: wire.WireError, *, now: float) -> Effects | None:
        """End a stream with an error, as if the service had to; ``None`` if it is not there."""
        effects: Effects = []
        self._now = now
        return self._settled(effects) if self.streams.fail(connection_id, stream_id, error, now, effects) else None

    def _settled(self, effects: Effects) -> Effects:
        """Add what follows from the end of connections, which may end more of them."""
        departed = self._lifetimes.departed
        while departed:
            connection = departed.popleft()
            self.streams.connection_ended(connection, self._now, effects)
            self._states.connection_ended(connection, self._now, effects)
        return effects


def _connected(connection: Connection, transport: Transport) -> Send:
    token = None if connection.session is None else connection.session.tokens.issue()
    message = wire.ConnectedMessage(connection_id=connection.id, user_id=connection.user_id, reconnection_token=token)
    return Send(transport, message)
