"""What clients ask for, one after the other for each of them.

An event, and an invocation just so, is a question to whoever handles events. Until its answer, further requests of the
same connection wait, over a change of its transport as well; what is no request (confirmations, pings, the cancelling
of invocations) does not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

from ...protocol import wire
from ...protocol.names import check_event, check_group
from ...protocol.roles import Permission, StatePermission
from .deliveries import Deliveries
from .effects import AskEvent, Effect, Send, Token, Withdraw
from .group_states import GroupStates
from .inputs import EventAnswer, EventFailed
from .lifetimes import Lifetimes, TooManyGroups
from .limits import HubLimits
from .registry import Connection, Request

Effects: TypeAlias = list[Effect]

_OnStates: TypeAlias = wire.SetGroupState | wire.SubscribeGroupState | wire.UnsubscribeGroupState
_OfGroup: TypeAlias = wire.JoinGroup | wire.LeaveGroup | wire.SendToGroup | _OnStates

_POLICY_VIOLATION = 1008
_INTERNAL_ERROR = 1011


@dataclass(frozen=True, slots=True)
class _Event:
    """An event that was asked about and not answered yet."""

    connection: Connection
    ack_id: int | None


@dataclass(frozen=True, slots=True)
class _Invocation:
    """The same, where the client waits for the result. It ends with its transport, as clients give it up then."""

    connection: Connection
    id: str


class Requests:
    """Carries out what clients ask for."""

    def __init__(
        self,
        limits: HubLimits,
        lifetimes: Lifetimes,
        deliveries: Deliveries,
        states: GroupStates,
        *,
        drop_failed_events: bool,
    ) -> None:
        self._limits = limits
        self._lifetimes = lifetimes
        self._deliveries = deliveries
        self._states = states
        self._drop_failed_events = drop_failed_events
        self._asked: dict[Token, _Event | _Invocation] = {}
        self._next_token = 1

    # Requests, and the answers to the questions that come of them

    def take(self, connection: Connection, request: Request, now: float, effects: Effects) -> None:
        """Carry a request out, or let it wait for its turn. An ack id counts from its arrival."""
        if isinstance(request, wire.Invoke):
            if self._is_pending(connection, request.invocation_id):
                error = wire.WireError("BadRequest", "an invocation with this id is still running")
                _respond(connection, request.invocation_id, EventFailed(error), effects)
                return
        elif request.ack_id is not None and not connection.ack_ids.remember(request.ack_id):
            text = f"Message with ack-id: {request.ack_id} has been processed"
            _acknowledge(connection, request.ack_id, effects, wire.WireError("Duplicate", text))
            return
        if connection.question is None:
            self._carry_out(connection, request, now, effects)
        else:
            connection.waiting.append(request)
            self._note_stall(connection)

    def answer(self, token: Token, answer: EventAnswer, now: float, effects: Effects) -> None:
        """Take the answer to `AskEvent`, then what has waited for it. It is dropped if its connection is gone."""
        asked = self._asked.pop(token, None)
        if asked is None:
            return
        connection = asked.connection
        connection.question = None
        if self._lifetimes.is_there(connection):
            if isinstance(asked, _Invocation):
                _respond(connection, asked.id, answer, effects)
            elif isinstance(answer, EventFailed):
                self._fail(connection, asked.ack_id, answer.error, effects)
            else:
                if answer.payload is not None:
                    reply = wire.DataMessage(payload=answer.payload, metadata=answer.metadata)
                    self._deliveries.deliver(reply, [connection], effects, now=now)
                _acknowledge(connection, asked.ack_id, effects)
        self.advance(connection, now, effects)

    def cancel(self, connection: Connection, invocation_id: str, now: float, effects: Effects) -> None:
        """Forget an invocation, and go on; nothing happens if there is none."""
        self._drop_invocations(connection, effects, invocation_id)
        self.advance(connection, now, effects)

    def transport_ended(self, connection: Connection, now: float, effects: Effects) -> None:
        """Forget the invocations of a connection that lost its transport. Its other requests are still carried out."""
        self._drop_invocations(connection, effects)
        self.advance(connection, now, effects)

    def advance(self, connection: Connection, now: float, effects: Effects) -> None:
        """Carry out what waits, up to the next event."""
        while connection.question is None and connection.waiting:
            self._carry_out(connection, connection.waiting.popleft(), now, effects)
        self._note_stall(connection)
        self._lifetimes.bid_farewell(connection, effects)

    def _carry_out(self, connection: Connection, request: Request, now: float, effects: Effects) -> None:
        if isinstance(request, wire.Invoke):
            self._invoke(connection, request, effects)
            return
        if error := self._refusal(connection, request):
            self._refuse(connection, request.ack_id, error, effects)
            return
        match request:
            case wire.SendEvent():
                self._ask(_Event(connection, request.ack_id), request, effects)
                return
            case wire.JoinGroup(group):
                self._lifetimes.join(connection, group, effects)
            case wire.LeaveGroup(group):
                self._lifetimes.leave(connection, group, effects)
            case wire.SendToGroup():
                self._send(connection, request, now, effects)
            case _:
                self._on_states(connection, request, now, effects)
                return
        _acknowledge(connection, request.ack_id, effects)

    def _on_states(self, connection: Connection, request: _OnStates, now: float, effects: Effects) -> None:
        """Carry out what is about states in groups. A snapshot follows the word that there will be one."""
        there = self._lifetimes.is_there(connection)
        match request:
            case wire.SetGroupState(group, state) if there:
                self._states.set(connection, group, state, now, effects)
            case wire.SubscribeGroupState(group) if there:
                self._states.subscribe(connection, group)
            case _:
                self._states.unsubscribe(connection, request.group)
        _acknowledge(connection, request.ack_id, effects)
        if there and isinstance(request, wire.SubscribeGroupState):
            self._states.tell_all(connection, request.group, now, effects)

    def _send(self, connection: Connection, request: wire.SendToGroup, now: float, effects: Effects) -> None:
        message = wire.DataMessage(
            payload=request.payload,
            group=request.group,
            from_user_id=connection.user_id,
            metadata=request.metadata,
        )
        excluded = {connection.id} if request.no_echo else ()
        members = self._lifetimes.registry.select(group=request.group, excluded=excluded)
        expires = now + request.ttl_seconds if request.ttl_seconds else math.inf
        self._deliveries.deliver(message, members, effects, now=now, expires=expires)

    # Questions

    def _invoke(self, connection: Connection, request: wire.Invoke, effects: Effects) -> None:
        try:
            check_event(request.event)
        except ValueError as error:
            failure = EventFailed(wire.WireError("BadRequest", str(error)))
            _respond(connection, request.invocation_id, failure, effects)
            return
        self._ask(_Invocation(connection, request.invocation_id), request, effects)

    def _ask(self, asked: _Event | _Invocation, request: wire.SendEvent | wire.Invoke, effects: Effects) -> None:
        token = self._next_token
        self._next_token += 1
        self._asked[token] = asked
        asked.connection.question = token
        question = AskEvent(
            token=token,
            connection_id=asked.connection.id,
            user_id=asked.connection.user_id,
            subprotocol=asked.connection.subprotocol,
            event=request.event,
            payload=request.payload,
            metadata=request.metadata,
            invocation_id=asked.id if isinstance(asked, _Invocation) else None,
        )
        effects.append(question)

    def _is_pending(self, connection: Connection, invocation_id: str) -> bool:
        asked = None if connection.question is None else self._asked[connection.question]
        return (isinstance(asked, _Invocation) and asked.id == invocation_id) or any(
            isinstance(request, wire.Invoke) and request.invocation_id == invocation_id
            for request in connection.waiting
        )

    def _drop_invocations(self, connection: Connection, effects: Effects, invocation_id: str | None = None) -> None:
        """Forget one invocation, or all of a connection."""
        token = connection.question
        if token is not None:
            asked = self._asked[token]
            if isinstance(asked, _Invocation) and invocation_id in (None, asked.id):
                del self._asked[token]
                connection.question = None
                effects.append(Withdraw(token))
        for request in list(connection.waiting):
            if isinstance(request, wire.Invoke) and invocation_id in (None, request.invocation_id):
                connection.waiting.remove(request)

    def _note_stall(self, connection: Connection) -> None:
        size = sum(map(_size_of, connection.waiting))
        if len(connection.waiting) >= self._limits.waiting_requests or size >= self._limits.waiting_bytes:
            self._lifetimes.stalled.add(connection.id)
        else:
            self._lifetimes.stalled.discard(connection.id)

    # Refusals

    def _refusal(self, connection: Connection, request: wire.Acknowledged) -> wire.WireError | None:
        """Tell why a request is not granted, if so."""
        try:
            if isinstance(request, wire.SendEvent):
                check_event(request.event)
                return None
            check_group(request.group)
        except ValueError as error:
            return wire.WireError("BadRequest", str(error))
        if isinstance(request, wire.SendToGroup) and (request.ttl_seconds or 0) > self._limits.ttl_seconds:
            return wire.WireError("BadRequest", f"A message lives at most {self._limits.ttl_seconds} seconds.")
        role, purpose = _role_for(request)
        if not connection.roles.allow(role, request.group):
            return wire.WireError("Forbidden", f"No role of this connection allows to {purpose}.")
        try:
            if isinstance(request, wire.JoinGroup):
                self._lifetimes.check_room(connection, [request.group])
            elif isinstance(request, wire.SetGroupState | wire.SubscribeGroupState):
                self._states.check_room(connection, request)
        except (TooManyGroups, ValueError) as error:
            return wire.WireError("BadRequest", str(error))
        return None

    def _refuse(self, connection: Connection, ack_id: int | None, error: wire.WireError, effects: Effects) -> None:
        """Tell the client, which may repeat the request under its id. A simple client can be told in one way only."""
        if connection.is_simple:
            self._lifetimes.close(connection, _POLICY_VIOLATION, error.message, effects)
        elif ack_id is not None:
            connection.ack_ids.forget(ack_id)
            _acknowledge(connection, ack_id, effects, error)

    def _fail(self, connection: Connection, ack_id: int | None, error: wire.WireError, effects: Effects) -> None:
        if connection.is_simple or self._drop_failed_events:
            self._lifetimes.close(connection, _INTERNAL_ERROR, error.message, effects)
        else:
            self._refuse(connection, ack_id, error, effects)


def _acknowledge(
    connection: Connection, ack_id: int | None, effects: Effects, error: wire.WireError | None = None
) -> None:
    if ack_id is not None:
        _tell(connection, wire.Ack(ack_id, success=error is None, error=error), effects)


def _respond(connection: Connection, invocation_id: str, answer: EventAnswer, effects: Effects) -> None:
    if isinstance(answer, EventFailed):
        response = wire.InvokeResponse(invocation_id=invocation_id, success=False, error=answer.error)
    else:
        response = wire.InvokeResponse(
            invocation_id=invocation_id, success=True, payload=answer.payload, metadata=answer.metadata
        )
    _tell(connection, response, effects)


def _tell(connection: Connection, message: wire.Control, effects: Effects) -> None:
    # A connection may have lost its transport meanwhile, by its own echo even; this is not kept for it.
    if connection.transport is not None:
        effects.append(Send(connection.transport, message))


def _size_of(request: Request) -> int:
    """Say how much of what the client chose a request holds, in bytes of payload and characters of the rest."""
    match request:
        case wire.SendToGroup(group=name) | wire.SendEvent(event=name):
            pass
        case wire.Invoke():
            name = request.invocation_id + request.event
        case _:
            return len(request.group)
    metadata = request.metadata or {}
    payload = b"" if request.payload is None else request.payload.body
    return len(name) + len(payload) + sum(len(key) + len(value) for key, value in metadata.items())


def _role_for(request: _OfGroup) -> tuple[Permission | StatePermission, str]:
    """Give the role that a request takes, and what it is for."""
    match request:
        case wire.SendToGroup():
            return "sendToGroup", "send to the group"
        case wire.SetGroupState():
            return "setGroupState", "set a state in the group"
        case wire.SubscribeGroupState() | wire.UnsubscribeGroupState():
            return "getGroupState", "get the group's states"
        case _:  # a join or a leave
            return "joinLeaveGroup", "join or leave the group"
