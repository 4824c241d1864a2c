"""Operations that wait for the service's word: their ids, their order on the wire, and when to stop waiting.

An *operation* is a join, a leave, a send or an event with an ``ackId``. Within one session it keeps that id, however
often its frame has to be written: the service remembers the ids it has served (about a thousand of them) and answers
``Duplicate`` instead of running one again. That memory ends with the session, so an id never crosses into another one.

The *outbox* is what this transport has still to write: operations in the order of their ids, and between them *posts*,
frames that nobody waits for. It dies with its transport; the operations do not, and fill the next one's outbox.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterator
from typing import Literal, TypeAlias

import msgspec

from . import wire
from .codec import Codec
from .errors import MessageTooLarge
from .wire import Acknowledged


class Done(msgspec.Struct, frozen=True):
    """The service ran the operation."""

    duplicated: bool = False


class Refused(msgspec.Struct, frozen=True):
    """The service said no."""

    error: wire.WireError


class Unanswered(msgspec.Struct, frozen=True):
    """No ack came in time, though the link lives."""


class Unknown(msgspec.Struct, frozen=True):
    """The frame was written in a session that is gone, and no ack had come."""


class NeverSent(msgspec.Struct, frozen=True):
    """The client ended before the frame was written."""


class HandedOver(msgspec.Struct, frozen=True):
    """Another process goes on with it."""


Outcome: TypeAlias = Done | Refused | Unanswered | Unknown | NeverSent | HandedOver

_DONE = Done()
_FAILURES = (Refused, Unanswered)
_SMALL = (wire.JoinGroup, wire.LeaveGroup, wire.UnsubscribeGroupState)

FAILED_IDS_KEPT = 1000
"""Ids of failed operations under which a caller may go on trying: as many as the service remembers."""

MESSAGE_REFUSED = frozenset({1003, 1007, 1009})
"""Close codes with which the service answers a message that it cannot take."""

Purpose: TypeAlias = Literal["call", "explicit", "subscription", "internal"]
"""What an operation is for: a send; an explicit join or leave; a subscription's join; what nobody waits for."""


class Operation(msgspec.Struct, eq=False):
    """One acknowledged operation, from the call until its outcome."""

    message: Acknowledged
    retries: int
    """How often a failure that an ack tells may still be tried again."""
    repeat_in_new_session: bool
    """Whether to send it again where the loss of a session leaves open if it ran."""
    ack_id: int
    frame: bytes
    delays: Iterator[float] | None = None
    """Seconds to wait before each retry, from the first on."""
    purpose: Purpose = "call"
    writes: int = 0
    """How often the frame was written in this session."""
    written_at: float = -math.inf
    strikes: int = 0
    """How often the link was closed with one of `MESSAGE_REFUSED` when this was the next to be answered."""
    asked_again: bool = False
    """Whether a missing ack has been asked for by writing the frame once more."""
    outcome: Outcome | None = None
    wake: Callable[[], None] | None = None
    """Set by the shell: wakes the caller. The core never calls it."""

    def __repr__(self) -> str:  # as it stands in logs, behind the frame that was sent
        return f"<operation {self.ack_id}: {self.outcome}>"


class Notice(bytes):
    """A post that is not missed: whoever waits for an invocation hears of its end, and it needs no cancelling then."""


class PendingOperations:
    """All operations without an outcome, and the outbox of the present transport."""

    def __init__(
        self,
        codec: Codec,
        *,
        window: int,
        ack_timeout: float,
        max_message_size: int,
        retry_delays: Callable[[], Iterator[float]],
    ) -> None:
        self._codec = codec
        self._retry_delays = retry_delays
        self._window = window
        self._ack_timeout = ack_timeout
        self._max_message_size = max_message_size
        self._last_id = 0
        self._by_id: dict[int, Operation] = {}  # in the order of their ids, since a new id is always the largest
        self._failed: dict[int, type[Acknowledged]] = {}  # whose callers were told of a failure in this session
        self._outbox: list[Operation | bytes] = []
        self._in_flight: dict[int, Operation] = {}  # written to this transport; the longest unanswered first
        self._delayed: list[tuple[float, int, Operation]] = []  # a heap: when to retry, ack id, operation
        self.bytes: int = 0
        """Size of all frames of pending operations."""
        self.posted_bytes: int = 0
        """Size of the posts in the outbox."""

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[Operation]:
        return iter(self._by_id.values())

    @property
    def waiting(self) -> int:
        """Number of frames in the outbox."""
        return len(self._outbox)

    @property
    def idle(self) -> bool:
        """True when nothing is left to be written."""
        return not self._outbox and not self._delayed

    @property
    def deadline(self) -> float:
        """When `expire` has something to do: an ack is overdue, or a retry is due."""
        deadline = self._delayed[0][0] if self._delayed else math.inf
        for oldest in self._in_flight.values():
            return min(deadline, oldest.written_at + self._ack_timeout)
        return deadline

    def submit(
        self,
        message: Acknowledged,
        *,
        retries: int,
        repeat_in_new_session: bool = False,
        ack_id: int | None = None,
    ) -> Operation:
        """Take a new operation and queue it.

        Args:
            message: what to do.
            retries: how often a failure that an ack tells may be tried again.
            repeat_in_new_session: whether to send it again where the loss of a session leaves open if it ran.
            ack_id: the id of an operation of this session that failed, to go on trying under it.

        Raises:
            MessageTooLarge: its frame is larger than the service takes; nothing has changed.
            ValueError: no operation of this kind and session failed under ``ack_id``, or it is being tried again
                already; nothing has changed.
        """
        if ack_id is not None and (ack_id in self._by_id or self._failed.get(ack_id) is not type(message)):
            raise ValueError(f"no operation of this kind failed in this session with ack id {ack_id}")
        writes = 0 if ack_id is None else 1  # so that a Duplicate means that it ran
        new_id = self._last_id + 1 if ack_id is None else ack_id
        message = msgspec.structs.replace(message, ack_id=new_id)
        frame = self._codec.encode_upstream(message)
        size = len(frame)
        if size > self._max_message_size and not isinstance(message, _SMALL):  # what undoes a join may be larger
            raise MessageTooLarge(size, self._max_message_size)
        if ack_id is None:
            self._last_id = new_id
        operation = Operation(message, retries, repeat_in_new_session, new_id, frame, writes=writes)
        self._by_id[new_id] = operation
        self.bytes += size
        self._outbox.append(operation)
        return operation

    def encode(self, message: wire.Upstream) -> bytes:
        """Write a message, within the limit.

        Raises:
            MessageTooLarge: it is larger than the service takes.
        """
        frame = self._codec.encode_upstream(message)
        if len(frame) > self._max_message_size:
            raise MessageTooLarge(len(frame), self._max_message_size)
        return frame

    def post(self, frame: bytes) -> None:
        """Queue a frame that nobody waits for."""
        self.posted_bytes += len(frame)
        self._outbox.append(frame)

    def take_back(self, frame: bytes) -> bool:
        """Remove a frame that nobody waits for; false when it is on its way already."""
        try:
            self._outbox.remove(frame)
        except ValueError:
            return False
        self.posted_bytes -= len(frame)
        return True

    def take(self, now: float, budget: int) -> list[bytes]:
        """Give frames to write now, about ``budget`` bytes of them, as far as the window of unanswered ones allows."""
        frames: list[bytes] = []
        taken = 0
        for entry in self._outbox:
            if budget <= 0:
                break
            if isinstance(entry, bytes):
                self.posted_bytes -= len(entry)
                frame = entry
            elif entry.outcome is not None or entry.ack_id not in self._by_id:  # the caller went away
                taken += 1
                continue
            elif len(self._in_flight) >= self._window:
                break
            else:
                frame = entry.frame
                entry.writes += 1
                entry.written_at = now
                self._in_flight[entry.ack_id] = entry
            taken += 1
            frames.append(frame)
            budget -= len(frame)
        del self._outbox[:taken]
        return frames

    def acknowledge(self, ack: wire.Ack, now: float) -> Operation | None:
        """Take the service's word. Gives the operation if that is its outcome; nothing if it goes on, or is unknown."""
        operation = self._by_id.get(ack.ack_id)
        if operation is None or not operation.writes:
            return None
        self._in_flight.pop(ack.ack_id, None)
        if ack.success:
            return self._resolve(operation, _DONE)
        error = ack.error or wire.WireError()
        if error.name == "Duplicate":
            if operation.writes > 1:
                return self._resolve(operation, Done(duplicated=True))
            # Never written before, so somebody else used this id up: the operation has not run.
            self._renew(operation)
            self._outbox.append(operation)
            return None
        if error.name == "InternalServerError" and operation.retries > 0:
            operation.retries -= 1
            if operation.delays is None:
                operation.delays = self._retry_delays()
            heapq.heappush(self._delayed, (now + next(operation.delays), operation.ack_id, operation))
            return None
        return self._resolve(operation, Refused(error))

    def expire(self, now: float) -> list[Operation]:
        """Do what is due: retries go back into the outbox, overdue acks are asked for once, then given up."""
        while self._delayed and self._delayed[0][0] <= now:
            operation = heapq.heappop(self._delayed)[2]
            if operation.outcome is None:  # no second answer came meanwhile
                self._outbox.append(operation)
        resolved: list[Operation] = []
        for ack_id, operation in list(self._in_flight.items()):
            if operation.written_at + self._ack_timeout > now:
                break
            del self._in_flight[ack_id]
            # An event may still be running in its handler, which the same frame would start again.
            if operation.asked_again or isinstance(operation.message, wire.SendEvent):
                resolved.append(self._resolve(operation, Unanswered()))
            else:
                operation.asked_again = True
                self._outbox.append(operation)
        return resolved

    def withdraw(self, operation: Operation) -> None:
        """Forget an operation whose caller went away: not written if it was not yet, and never again."""
        if self._by_id.pop(operation.ack_id, None) is not None:
            self.bytes -= len(operation.frame)
            self._in_flight.pop(operation.ack_id, None)
            if self._delayed:  # nobody shall wait for this retry
                self._delayed = [each for each in self._delayed if each[2] is not operation]
                heapq.heapify(self._delayed)

    def never_retry(self, operation: Operation) -> None:
        """Let the next failure of an operation be its end; if one has come already, it is forgotten."""
        operation.retries = 0
        if any(each[2] is operation for each in self._delayed):
            self.withdraw(operation)

    @property
    def unanswered(self) -> bool:
        """Whether this transport carried operations to which no answer has come."""
        return bool(self._in_flight)

    def refused_with(self, code: int) -> Operation | None:
        """The service closed the transport with one of `MESSAGE_REFUSED`. Gives the operation that it will not take.

        Only while there are `unanswered` ones.

        The service answers in the order in which it reads, events apart, which wait for their handler. So the message
        that it stumbled over is the first unanswered one. The second time is proof: it would end every link there is.
        """
        in_order = sorted(self._in_flight.values(), key=lambda each: isinstance(each.message, wire.SendEvent))
        suspect = in_order[0]
        suspect.strikes += 1
        if suspect.strikes < 2:
            return None
        self._in_flight.pop(suspect.ack_id)
        return self._resolve(suspect, Refused(wire.WireError("MessageRefused", f"the service closed with {code}")))

    def transport_ended(self) -> int:
        """Throw the outbox away. Gives the number of posts lost with it of which nobody hears."""
        lost = sum(isinstance(entry, bytes) and not isinstance(entry, Notice) for entry in self._outbox)
        self._outbox.clear()
        self._in_flight.clear()
        self._delayed.clear()
        self.posted_bytes = 0
        return lost

    def refill(self) -> None:
        """Queue all that is pending, in the order of the ids: a new transport is ready."""
        self._outbox = list(self._by_id.values())

    def session_lost(self) -> list[Operation]:
        """Give the operations that end with the session. The others wait for the next one."""
        self._failed.clear()
        resolved: list[Operation] = []
        for operation in list(self._by_id.values()):
            match operation.message:
                case wire.JoinGroup() | wire.SetGroupState() | wire.SubscribeGroupState():
                    pass  # done anew in the next session, twice does no harm
                case wire.LeaveGroup() | wire.UnsubscribeGroupState():
                    resolved.append(self._resolve(operation, Done()))  # nobody is a member in a new session
                case _ if operation.writes and not operation.repeat_in_new_session:
                    resolved.append(self._resolve(operation, Unknown()))
                case _:
                    pass
        return resolved

    def new_session(self) -> None:
        """Give everything pending a new id and queue it, joins first: a message may be meant for those who joined."""
        for operation in sorted(self._by_id.values(), key=lambda each: not isinstance(each.message, wire.JoinGroup)):
            self._renew(operation)
        self.refill()

    @property
    def last_id(self) -> int:
        """The newest ack id."""
        return self._last_id

    def resume(self, last_id: int) -> None:
        """Go on after the ids of the process that had this session before: the service remembers them."""
        self._last_id = last_id

    def restore(self, operation: Operation) -> None:
        """Take over an operation of that process."""
        self._last_id = max(self._last_id, operation.ack_id)
        self._by_id[operation.ack_id] = operation
        self.bytes += len(operation.frame)

    def hand_over(self) -> list[Operation]:
        """Another process goes on with everything that is pending."""
        self.transport_ended()
        return [self._resolve(each, HandedOver()) for each in list(self._by_id.values())]

    def stop(self) -> list[Operation]:
        """Give all operations their last outcome."""
        self.transport_ended()
        return [self._resolve(each, Unknown() if each.writes else NeverSent()) for each in list(self._by_id.values())]

    def _resolve(self, operation: Operation, outcome: Outcome) -> Operation:
        del self._by_id[operation.ack_id]
        self.bytes -= len(operation.frame)
        operation.outcome = outcome
        if isinstance(outcome, _FAILURES):
            self._failed[operation.ack_id] = type(operation.message)
            if len(self._failed) > FAILED_IDS_KEPT:
                del self._failed[next(iter(self._failed))]
        elif self._failed:
            self._failed.pop(operation.ack_id, None)
        return operation

    def _renew(self, operation: Operation) -> None:
        """Give an operation a new id. The frame may grow by the id's digits, which the limit forgives."""
        del self._by_id[operation.ack_id]
        self.bytes -= len(operation.frame)
        self._last_id += 1
        operation.ack_id = self._last_id
        operation.message = msgspec.structs.replace(operation.message, ack_id=operation.ack_id)
        operation.frame = self._codec.encode_upstream(operation.message)
        operation.writes = 0
        operation.asked_again = False
        self._by_id[operation.ack_id] = operation
        self.bytes += len(operation.frame)
