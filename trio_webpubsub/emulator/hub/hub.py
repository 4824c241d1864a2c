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
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from ...protocol import wire
from ...protocol.names import check_event, check_group
from .effects import Abort, AskConnect, AskEvent, Close, Deliver, Effect, Reject, Send, Token, Transport, Upgrade
from .inputs import ConnectAnswer, ConnectRefused, ConnectRequest, EventAnswer, EventFailed
from .limits import HubLimits
from .registry import Connection, Registry
from .session import Session

Effects: TypeAlias = list[Effect]

MAX_CLOSE_REASON = 123
"""Bytes of text that a close frame can hold."""

_AckedRequest: TypeAlias = wire.JoinGroup | wire.LeaveGroup | wire.SendToGroup | wire.SendEvent


@dataclass(frozen=True, slots=True)
class _Event:
    """An event that was asked about and not answered yet."""

    connection: Connection
    ack_id: int | None


@dataclass(frozen=True, slots=True)
class _Invocation:
    """The same, where the client waits for the result. It ends with its transport, as clients give it up then."""

    connection: Connection
    transport: Transport
    id: str


class Hub:
    """One hub: its connections, users, groups and reliable sessions.

    Every method returns what is to be done, in order. Times are seconds on any clock that never goes back.
    """

    def __init__(self, limits: HubLimits, *, connected_after_recovery: bool = True) -> None:
        """Start without connections.

        Args:
            limits: what is kept, and for how long.
            connected_after_recovery: whether a recovered session gets ``connected`` once more, with a fresh
                reconnection token, before what it missed. The client specification allows both.
        """
        self.registry: Registry = Registry()
        """Who is connected; for looking only."""
        self.behind: set[str] = set()
        """Connected clients that have left half of what they may unconfirmed. Who has more for them should give them
        a moment, and strike off this list who was waited for in vain: a client comes back to it once it has caught up.
        """
        self._limits = limits
        self._connected_after_recovery = connected_after_recovery
        self._requested: dict[Transport, ConnectRequest] = {}
        self._accepted: dict[Transport, Connection] = {}
        self._attached: dict[Transport, Connection] = {}
        self._asked: dict[Token, _Event | _Invocation] = {}
        self._next_token = 1
        # When the windows of sessions without a transport end. All windows are equally long, so the first ends first.
        self._expiries: dict[str, float] = {}

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
            return Reject(transport, answer.status)
        self._accepted[transport] = Connection(
            request,
            user_id=request.user_id if answer.user_id is None else answer.user_id,
            roles=request.roles if answer.roles is None else answer.roles,
            groups=request.groups if answer.groups is None else answer.groups,
            limits=self._limits,
        )
        return Upgrade(transport, request.subprotocol)

    def transport_opened(self, transport: Transport) -> Effects:
        """The WebSocket that `Upgrade` asked for is open: from now on the connection exists."""
        connection = self._accepted.pop(transport, None)
        if connection is None:
            return []
        self.registry.add(connection)
        self._attach(connection, transport)
        return [self._connected(connection, transport)]

    def recover(self, transport: Transport, connection_id: str, reconnection_token: str, *, now: float) -> Effects:
        """A client wants its session back, over a WebSocket that is open already.

        A refusal closes it with 1008, never earlier: clients take no other sign for the end of a session. A transport
        that the connection still has is half-open at best, and is cut.
        """
        self.handle_timeout(now)
        connection = self.registry.connections.get(connection_id)
        if connection is None or connection.session is None or not connection.session.tokens.accept(reconnection_token):
            return [Close(transport, 1008, "The session cannot be recovered.")]
        effects: Effects = []
        if connection.transport is not None:
            effects.append(Abort(connection.transport))
            self._detach(connection, connection.transport)
        self._expiries.pop(connection_id, None)
        self._attach(connection, transport)
        if self._connected_after_recovery:
            effects.append(self._connected(connection, transport))
        for number, message in connection.session.unconfirmed.replay(now):
            effects.append(Deliver(message, [(transport, number)]))
        return effects

    # How they go

    def transport_ended(self, transport: Transport, *, code: int | None, now: float) -> None:
        """A WebSocket is gone, in whatever state it was.

        Args:
            transport: which.
            code: the code of the client's close frame, ``None`` if there was none. 1000 ends a reliable session.
            now: when.
        """
        self._requested.pop(transport, None)
        self._accepted.pop(transport, None)
        connection = self._attached.get(transport)
        if connection is None:
            return
        if connection.session is None or code == 1000:
            self._end(connection)
        else:
            self._detach(connection, transport)
            self._expiries[connection.id] = now + self._limits.recovery_window

    @property
    def next_deadline(self) -> float:
        """When `handle_timeout` is to be called; ``math.inf`` if nothing waits."""
        return next(iter(self._expiries.values()), math.inf)

    def handle_timeout(self, now: float) -> None:
        """End the sessions whose window has passed."""
        while self.next_deadline <= now:
            self._end(self.registry.connections[next(iter(self._expiries))])

    def close_connection(self, connection_id: str, *, code: int = 1000, reason: str = "") -> Effects:
        """Close a connection on purpose, its session included; nothing happens if there is none.

        The client is told the ``reason`` in a message, and in the close frame if it has room there.
        """
        connection = self.registry.connections.get(connection_id)
        if connection is None:
            return []
        transport = connection.transport
        self._end(connection)
        if transport is None:
            return []
        told = reason if len(reason.encode()) <= MAX_CLOSE_REASON else ""
        return [Send(transport, wire.DisconnectedMessage(reason or None)), Close(transport, code, told)]

    def forget_session(self, connection_id: str) -> Effects:
        """Lose a connection as if its server had crashed; nothing happens if there is none."""
        effects: Effects = []
        if connection := self.registry.connections.get(connection_id):
            self._lose(connection, effects)
        return effects

    # What clients send

    def receive(self, transport: Transport, message: wire.Upstream, *, now: float) -> Effects:
        """A client sent a message."""
        connection = self._attached.get(transport)
        if connection is None:
            return []
        match message:
            case wire.SequenceAck(sequence_id):
                if connection.session is not None:
                    self._confirm(connection.id, connection.session, sequence_id)
                return []
            case wire.Ping():
                return [Send(transport, wire.Pong())]
            case wire.Invoke():
                return [self._invoke(connection, transport, message)]
            case wire.CancelInvocation(invocation_id):
                token = connection.invocations.pop(invocation_id, None)
                if token is not None:
                    del self._asked[token]
                return []
            case _:
                return self._request(connection, message, now)

    def answer_event(self, token: Token, answer: EventAnswer) -> Effects:
        """Take the answer to `AskEvent`. It is dropped if whoever waited for it is gone."""
        asked = self._asked.pop(token, None)
        if asked is None:
            return []
        connection = asked.connection
        if isinstance(asked, _Invocation):
            del connection.invocations[asked.id]
            return [Send(asked.transport, _invoke_response(asked.id, answer))]
        effects: Effects = []
        if self.registry.connections.get(connection.id) is not connection:
            return effects
        if isinstance(answer, EventFailed):
            self._refuse(connection, asked.ack_id, answer.error, effects)
            return effects
        if answer.payload is not None:
            self._deliver(wire.DataMessage(payload=answer.payload, metadata=answer.metadata), [connection], effects)
        _acknowledge(connection, asked.ack_id, effects)
        return effects

    def _request(self, connection: Connection, request: _AckedRequest, now: float) -> Effects:
        effects: Effects = []
        ack_id = request.ack_id
        if ack_id is not None and not connection.ack_ids.remember(ack_id):
            duplicate = wire.WireError("Duplicate", f"Message with ack-id: {ack_id} has been processed")
            _acknowledge(connection, ack_id, effects, duplicate)
            return effects
        if error := self._refusal(connection, request):
            self._refuse(connection, ack_id, error, effects)
            return effects
        match request:
            case wire.SendEvent():
                effects.append(self._ask(_Event(connection, ack_id), request))
                return effects
            case wire.JoinGroup(group):
                self.registry.join(connection, group)
            case wire.LeaveGroup(group):
                self.registry.leave(connection, group)
            case _:
                message = wire.DataMessage(
                    payload=request.payload,
                    group=request.group,
                    from_user_id=connection.user_id,
                    metadata=request.metadata,
                )
                excluded = {connection.id} if request.no_echo else ()
                members = self.registry.select(group=request.group, excluded=excluded)
                expires = now + request.ttl_seconds if request.ttl_seconds else math.inf
                self._deliver(message, members, effects, expires)
        _acknowledge(connection, ack_id, effects)
        return effects

    def _refusal(self, connection: Connection, request: _AckedRequest) -> wire.WireError | None:
        """Tell why a request is not granted, if so."""
        try:
            if isinstance(request, wire.SendEvent):
                check_event(request.event)
                return None
            check_group(request.group)
        except ValueError as error:
            return wire.WireError("BadRequest", str(error))
        if isinstance(request, wire.SendToGroup):
            if request.ttl_seconds is not None and request.ttl_seconds > self._limits.ttl_seconds:
                return wire.WireError("BadRequest", f"A message lives at most {self._limits.ttl_seconds} seconds.")
            if not connection.roles.allow("sendToGroup", request.group):
                return wire.WireError("Forbidden", "No role of this connection allows to send to the group.")
        elif not connection.roles.allow("joinLeaveGroup", request.group):
            return wire.WireError("Forbidden", "No role of this connection allows to join or leave the group.")
        return None

    def _refuse(self, connection: Connection, ack_id: int | None, error: wire.WireError, effects: Effects) -> None:
        if ack_id is not None:
            connection.ack_ids.forget(ack_id)
            _acknowledge(connection, ack_id, effects, error)

    def _invoke(self, connection: Connection, transport: Transport, request: wire.Invoke) -> Effect:
        try:
            check_event(request.event)
            if request.invocation_id in connection.invocations:
                raise ValueError("an invocation with this id is still running")
        except ValueError as error:
            failure = EventFailed(wire.WireError("BadRequest", str(error)))
            return Send(transport, _invoke_response(request.invocation_id, failure))
        question = self._ask(_Invocation(connection, transport, request.invocation_id), request)
        connection.invocations[request.invocation_id] = question.token
        return question

    def _ask(self, asked: _Event | _Invocation, request: wire.SendEvent | wire.Invoke) -> AskEvent:
        token = self._next_token
        self._next_token += 1
        self._asked[token] = asked
        return AskEvent(
            token=token,
            connection_id=asked.connection.id,
            user_id=asked.connection.user_id,
            event=request.event,
            payload=request.payload,
            metadata=request.metadata,
            invocation_id=asked.id if isinstance(asked, _Invocation) else None,
        )

    # What servers send. A target that does not exist is no error: the message is dropped.

    def send_to(
        self,
        connections: Iterable[Connection],
        payload: wire.Payload,
        *,
        group: str | None = None,
        metadata: Mapping[str, str] | None = None,
        expires: float = math.inf,
    ) -> Effects:
        """Send to these connections.

        Args:
            connections: of this hub; `Registry.select` finds them.
            payload: what.
            group: set if it is sent to a group, which is told with it.
            metadata: told with it.
            expires: when it is of no use any more to a client that was away.
        """
        effects: Effects = []
        message = wire.DataMessage(payload=payload, group=group, metadata=metadata)
        self._deliver(message, connections, effects, expires)
        return effects

    # Shared by the above

    def _deliver(
        self,
        message: wire.DataMessage,
        connections: Iterable[Connection],
        effects: Effects,
        expires: float = math.inf,
    ) -> None:
        recipients: list[tuple[Transport, int | None]] = []
        overflown: list[Connection] = []
        for connection in connections:
            number: int | None = None
            if connection.session is not None:
                number = connection.session.unconfirmed.append(message, expires)
                if number is None:
                    overflown.append(connection)
                    continue
                if connection.session.unconfirmed.is_half_full and not connection.session.is_behind:
                    connection.session.is_behind = True
                    if connection.transport is not None:
                        self.behind.add(connection.id)
            if connection.transport is not None:
                recipients.append((connection.transport, number))
        if recipients:
            effects.append(Deliver(message, recipients))
        for connection in overflown:
            self._lose(connection, effects)

    def _confirm(self, connection_id: str, session: Session, sequence_id: int) -> None:
        session.unconfirmed.acknowledge(sequence_id)
        if session.is_behind and not session.unconfirmed.is_half_full:
            session.is_behind = False
            self.behind.discard(connection_id)

    def _connected(self, connection: Connection, transport: Transport) -> Send:
        token = None if connection.session is None else connection.session.tokens.issue()
        message = wire.ConnectedMessage(
            connection_id=connection.id, user_id=connection.user_id, reconnection_token=token
        )
        return Send(transport, message)

    def _attach(self, connection: Connection, transport: Transport) -> None:
        connection.transport = transport
        self._attached[transport] = connection
        if connection.session is not None and connection.session.is_behind:
            self.behind.add(connection.id)

    def _detach(self, connection: Connection, transport: Transport) -> None:
        del self._attached[transport]
        connection.transport = None
        self.behind.discard(connection.id)
        for token in connection.invocations.values():
            del self._asked[token]
        connection.invocations.clear()

    def _end(self, connection: Connection) -> None:
        self.registry.remove(connection)
        self._expiries.pop(connection.id, None)
        if connection.transport is not None:
            self._detach(connection, connection.transport)

    def _lose(self, connection: Connection, effects: Effects) -> None:
        if connection.transport is not None:
            effects.append(Abort(connection.transport))
        self._end(connection)


def _acknowledge(
    connection: Connection, ack_id: int | None, effects: Effects, error: wire.WireError | None = None
) -> None:
    # A connection may have lost its transport meanwhile, by its own echo even; acks are not kept for it.
    if ack_id is not None and connection.transport is not None:
        effects.append(Send(connection.transport, wire.Ack(ack_id, success=error is None, error=error)))


def _invoke_response(invocation_id: str, answer: EventAnswer) -> wire.InvokeResponse:
    if isinstance(answer, EventFailed):
        return wire.InvokeResponse(invocation_id=invocation_id, success=False, error=answer.error)
    return wire.InvokeResponse(
        invocation_id=invocation_id, success=True, payload=answer.payload, metadata=answer.metadata
    )
