"""What callers ask of the client, and the groups that they want to be in: the upstream half of a session.

The caller's side is `send`, `join`, `subscribe` and the like; the rest is for `session.Session`, which tells what
became of the transport and the session. Five machines work together here: `pending` keeps the operations with an ack
id, `membership` the wanted groups, `invocations` the events whose answer is waited for, `outgoing_streams` the streams
and `group_state` what this client tells groups about itself. What connects them are these rules:

* A group is wanted as soon as its join is queued; when the join ends without success, that wish ends as well.
* A join whose caller went away after it was written is undone by a leave.
* In a new session every wanted group is joined anew. A refused rejoin is told as `GroupRefused`, once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import msgspec

from . import wire
from .codec import Codec
from .group_state import GroupStates
from .invocations import Invocation, Invocations
from .membership import Membership
from .outgoing_streams import OutgoingStreams
from .pending import MESSAGE_REFUSED, Done, Notice, Operation, PendingOperations, Purpose, Refused
from .session_values import GroupRefused, Output, SessionSettings
from .ticket import PendingOperation, TicketContents
from .wire import Acknowledged

_SENDS = (wire.SendToGroup, wire.SendEvent)


class Outgoing:
    """All that waits to be written, or for an answer, and why."""

    def __init__(self, codec: Codec, settings: SessionSettings, *, retry_delays: Callable[[], Iterator[float]]) -> None:
        self._codec = codec
        self._settings = settings
        self.pending: PendingOperations = PendingOperations(
            codec,
            window=settings.max_in_flight,
            ack_timeout=settings.ack_timeout,
            max_message_size=settings.max_message_size,
            retry_delays=retry_delays,
        )
        """The operations without an outcome, and what waits to be written."""
        self._membership = Membership()
        self._invocations = Invocations(codec, response_timeout=settings.ack_timeout)
        self.streams: OutgoingStreams = OutgoingStreams(
            codec, ack_timeout=settings.ack_timeout, max_message_size=settings.max_message_size
        )
        """The streams to groups."""
        self.states: GroupStates = GroupStates(self._submit, self.pending.never_retry)
        """This client's states in groups, and those it watches."""

    # What callers ask for

    def send(
        self,
        message: wire.SendToGroup | wire.SendEvent,
        retries: int | None = None,
        repeat_in_new_session: bool = False,
        ack_id: int | None = None,
    ) -> Operation:
        """Queue an acknowledged send.

        Raises:
            MessageTooLarge: nothing was queued.
            ValueError: no operation of this session failed under ``ack_id``.
        """
        if retries is None and isinstance(message, wire.SendEvent):
            retries = 0  # an event whose handler failed would run it again: that is for the caller to decide
        return self.pending.submit(
            message,
            retries=self._settings.send_retries if retries is None else retries,
            repeat_in_new_session=repeat_in_new_session,
            ack_id=ack_id,
        )

    def post(self, message: wire.SendToGroup | wire.SendEvent) -> bool:
        """Queue a send that nobody waits for. Only while `session.Session.can_post`.

        Gives whether it is the first, so that nobody may have been told that there is something to write.

        Raises:
            MessageTooLarge: nothing was queued.
        """
        pending = self.pending
        first = not pending.posted_bytes
        pending.post(pending.encode(message))
        return first

    def invoke(self, message: wire.Invoke, now: float) -> Invocation:
        """Queue an invocation. Only while `session.Session.can_post`.

        Raises:
            MessageTooLarge: nothing was queued.
        """
        invocation = self._invocations.start(now)
        try:
            message = msgspec.structs.replace(message, invocation_id=invocation.invocation_id)
            invocation.frame = Notice(self.pending.encode(message))
        except BaseException:  # whatever the encoder finds wrong, nobody waits for an answer
            self._invocations.withdraw(invocation)
            raise
        self.pending.post(invocation.frame)
        return invocation

    def withdraw_invocation(self, invocation: Invocation) -> None:
        """The caller of an invocation went away: it is not written any more, or else the service is told once."""
        frame = self._invocations.withdraw(invocation)
        if frame is not None and not self.pending.take_back(invocation.frame):
            self.pending.post(Notice(frame))

    def join(self, group: str) -> Operation:
        """Queue a join that makes ``group`` wanted for as long as it is pending, and for good when it succeeds."""
        return self._join(group, "explicit")

    def leave(self, group: str) -> Operation:
        """End the explicit wish for ``group`` and queue its leave."""
        operation = self._submit(wire.LeaveGroup(group))
        wished = self._membership.forget(group)
        for each in self.pending:  # a join on its way is an older wish, whenever its ack comes
            if isinstance(each.message, wire.JoinGroup) and each.message.group == group and each.purpose == "explicit":
                each.purpose = "call"
                wished = True
        if wished:
            operation.purpose = "explicit"
        return operation

    def withdraw(self, operation: Operation) -> None:
        """The caller of an operation went away: it is not written any more; a written join is undone by a leave."""
        if operation.outcome is not None:
            return
        self.pending.withdraw(operation)
        self.states.withdrawn(operation)
        match operation.message:
            case wire.JoinGroup(group=group):
                self._membership.release(group, maybe_joined=operation.writes > 0)
            case wire.LeaveGroup(group=group) if operation.purpose == "explicit" and not operation.writes:
                self._membership.join(group)
            case _:
                pass

    def subscribe(self, group: str) -> Operation:
        """A subscription to ``group`` opens, which makes it wanted; gives its join, already queued."""
        operation = self._join(group, "subscription")
        self._membership.subscribe(group)
        return operation

    def unsubscribe(self, group: str, *, maybe_joined: bool) -> None:
        """A subscription to ``group`` ended; the last one leaves it, unless it was joined explicitly or never."""
        self._membership.unsubscribe(group, maybe_joined=maybe_joined)

    def is_subscribed(self, group: str) -> bool:
        """Whether an open subscription holds ``group``."""
        return self._membership.is_subscribed(group)

    # How much there is

    @property
    def idle(self) -> bool:
        """True when no frame waits to be written."""
        return self.pending.idle and self.streams.idle

    @property
    def leaving(self) -> bool:
        """Whether there are groups to leave, for which no frame waits yet."""
        return self._membership.leaving

    @property
    def deadline(self) -> float:
        """When `expire` has something to do."""
        return min(self.pending.deadline, self._invocations.deadline, self.streams.deadline)

    # What the session tells

    def take(self, now: float, budget: int) -> list[bytes]:
        """Give frames to write now, about ``budget`` bytes of them."""
        if self._membership.leaving:
            self._leave_unwanted()
        frames = self.pending.take(now, budget)
        if not self.streams.idle:
            frames += self.streams.take(now, budget - sum(map(len, frames)))
        return frames

    def acknowledge(self, ack: wire.Ack, now: float, outputs: list[Output]) -> float | None:
        """Take the service's word; gives the round trip in seconds if that decided an operation."""
        operation = self.pending.acknowledge(ack, now)
        if operation is None:
            return None
        if operation.purpose == "call" and isinstance(operation.message, _SENDS):
            outputs.append(operation)
        else:
            self._settle(operation, outputs)
        return now - operation.written_at

    def respond(self, response: wire.InvokeResponse, outputs: list[Output]) -> None:
        """Take the answer to an invocation."""
        if invocation := self._invocations.respond(response):
            outputs.append(invocation)

    def expire(self, now: float, outputs: list[Output]) -> None:
        """Time has passed: retries are due, overdue acks are asked for or given up, and so are responses."""
        self._settle_all(self.pending.expire(now), outputs)
        outputs += self.streams.expire(now)
        for invocation in self._invocations.expire(now):
            outputs.append(invocation)
            cancellation = self._codec.encode_upstream(wire.CancelInvocation(invocation.invocation_id))
            self.pending.post(Notice(cancellation))

    def transport_ended(self, code: int | None, outputs: list[Output]) -> int:
        """Throw away what was meant for the transport; gives the number of sends lost of which nobody hears.

        Args:
            code: the service's close code, if the service ended it.
            outputs: where the outcomes go.
        """
        if code in MESSAGE_REFUSED:
            if not self.pending.unanswered:
                outputs += self.streams.refused_with(code)
            elif (operation := self.pending.refused_with(code)) is not None:
                self._settle(operation, outputs)
        outputs += self._invocations.fail_all()
        self.streams.transport_ended()
        return self.pending.transport_ended()

    def session_recovered(self, now: float) -> None:
        """Queue all that is pending for the new transport."""
        self.pending.refill()
        self.streams.session_recovered(now)

    def session_lost(self, outputs: list[Output]) -> None:
        """Settle what cannot outlive the session."""
        self._settle_all(self.pending.session_lost(), outputs)
        outputs += self.streams.session_lost()

    def session_begun(self, outputs: list[Output], *, first: bool) -> None:
        """Queue all that is pending under new ids, and after the ``first`` session what makes it like the last one."""
        self._membership.new_session()
        if not first:
            self._rejoin(outputs)
            if self._settings.auto_rejoin:
                self.states.session_begun()
            else:
                outputs += self.states.give_up()
        self.pending.new_session()
        self.streams.session_begun()

    def stop(self) -> list[Output]:
        """Give everything its last outcome."""
        return [*self.pending.stop(), *self.streams.stop()]

    # The hand-over to another process

    def hand_over(self) -> tuple[list[PendingOperation], int, list[str], list[Output]]:
        """Give away what is pending, the newest ack id and the wanted groups; and what callers are told."""
        self._leave_unwanted()
        operations = [
            PendingOperation.of(
                each.message,
                ack_id=each.ack_id,
                written=each.writes > 0,
                retries=each.retries,
                repeat_in_new_session=each.repeat_in_new_session,
            )
            for each in self.pending
        ]
        told = [each for each in self.pending.hand_over() if each.purpose != "internal"]
        return operations, self.pending.last_id, self._membership.wanted(), [*told, *self.streams.stop()]

    def resume(self, contents: TicketContents) -> None:
        """Go on with what another process had pending; nobody here waits for it."""
        for group in contents.groups:
            self._membership.join(group)
        self.states.restore(contents.states)
        self.pending.resume(contents.last_ack_id)
        for each in contents.operations:
            operation = Operation(
                message=each.message,
                retries=each.retries,
                repeat_in_new_session=each.repeat_in_new_session,
                ack_id=each.ack_id,
                frame=self._codec.encode_upstream(each.message),
                purpose="internal",
                writes=int(each.written),
            )
            if isinstance(operation.message, wire.JoinGroup):
                self._membership.hold(operation.message.group)
            self.pending.restore(operation)

    # Inside

    def _submit(self, message: Acknowledged) -> Operation:
        return self.pending.submit(message, retries=self._settings.send_retries)

    def _forget_leaves(self, group: str) -> None:
        """A group is wanted again: a leave that the service failed to do must not be tried again behind the join."""
        for operation in list(self.pending):
            message = operation.message
            if isinstance(message, wire.LeaveGroup) and message.group == group and operation.purpose == "internal":
                self.pending.never_retry(operation)

    def _join(self, group: str, purpose: Purpose) -> Operation:
        if purpose != "internal":  # a rejoin finds no leaves: they ended with the session
            self._forget_leaves(group)
        operation = self._submit(wire.JoinGroup(group))
        operation.purpose = purpose
        self._membership.hold(group)
        return operation

    def _leave_unwanted(self) -> None:
        for group in self._membership.take_leaves():
            # Acknowledged, so that it is written again if this transport loses it.
            self._submit(wire.LeaveGroup(group)).purpose = "internal"

    def _rejoin(self, outputs: list[Output]) -> None:
        """Join every group that was wanted in the last session, or let it go, as the user decided."""
        joining = {each.message.group for each in self.pending if isinstance(each.message, wire.JoinGroup)}
        for group in self._membership.wanted():
            if group in joining:
                continue
            if self._settings.auto_rejoin:
                self._join(group, "internal")
            else:
                self._membership.forget(group)
                outputs.append(GroupRefused(group, None))

    def _settle_all(self, operations: Iterable[Operation], outputs: list[Output]) -> None:
        for operation in operations:
            self._settle(operation, outputs)

    def _settle(self, operation: Operation, outputs: list[Output]) -> None:
        """An operation has its outcome: let membership know, and whoever waits."""
        message, outcome = operation.message, operation.outcome
        if isinstance(message, wire.JoinGroup):
            if operation.purpose == "explicit" and isinstance(outcome, Done):
                self._membership.join(message.group)
            self._membership.release(message.group, maybe_joined=not isinstance(outcome, Refused))
            if operation.purpose == "internal" and not isinstance(outcome, Done):
                outputs.append(GroupRefused(message.group, operation))
        if (refused := self.states.settled(operation)) is not None:
            outputs.append(refused)
        if operation.purpose != "internal":
            outputs.append(operation)
