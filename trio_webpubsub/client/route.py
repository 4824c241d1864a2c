"""The buffer between the receive loop and one subscription's consumers.

A class of ours and no memory channel, because a schedule point per message costs ten times all the rest.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Generic, Literal, TypeAlias, TypeVar

import trio
from trio.lowlevel import checkpoint, checkpoint_if_cancelled  # by themselves, for the sake of `Route.receive`

from ..errors import SubscriptionOverflow
from ..protocol.messages import Gap
from .own_thread import OwnThread
from .statistics import SubscriptionStatistics

Overflow: TypeAlias = Literal["error", "drop_oldest", "drop_newest"]

MAX_BUFFERED_BYTES = 16 * 1024 * 1024
ITEMS_PER_SCHEDULE_POINT = 64

CROWDED = 1024
"""A route with more messages than this makes the receive loop pause politely."""

_GAP = -1
"""Stands for the size of a gap."""

M = TypeVar("M")


class Route(Generic[M]):
    """A bounded buffer between the receive loop, which never waits, and any number of consuming tasks."""

    def __init__(
        self, *, buffer: int, overflow: Overflow, gaps: bool = False, max_bytes: float = MAX_BUFFERED_BYTES
    ) -> None:
        self._messages: deque[Any] = deque()  # of M, which includes Gap where the consumer asked for them
        self._sizes: deque[int] = deque()  # _GAP for a gap; some in front may be of messages that were taken
        self._count = 0  # of messages, gaps apart
        self._bytes = 0
        self._gaps = gaps
        self._max_messages = buffer
        self._max_bytes = max_bytes
        self._overflow: Overflow = overflow
        self._readers = trio.lowlevel.ParkingLot()
        self._thread = OwnThread()
        self._credit = ITEMS_PER_SCHEDULE_POINT
        self._ended = False
        self._error: Callable[[], Exception | None] | None = None
        self.crowded_at: int = CROWDED
        """With more messages than this the receive loop pauses politely."""
        self.closed: bool = False
        self.dropped: int = 0
        self._taken = 0

    def __len__(self) -> int:
        return len(self._messages)

    def statistics(self) -> SubscriptionStatistics:
        """Say how it stands."""
        self._settle()
        return SubscriptionStatistics(
            buffered=self._count, buffered_bytes=self._bytes, taken=self._taken, dropped=self.dropped
        )

    def deliver(self, message: M, size: int) -> int:
        """Take a message, or apply the overflow policy; gives how many wait now."""
        if self._ended:
            self.dropped += 1
            return 0
        self._settle()
        if self._count >= self._max_messages or self._bytes + size > self._max_bytes:
            self._overflown(size)
            if self._count >= self._max_messages or self._bytes + size > self._max_bytes:
                return self._count
        self._messages.append(message)
        self._sizes.append(size)
        self._count += 1
        self._bytes += size
        if self._readers:
            self._readers.unpark()
        return self._count

    def deliver_all(self, messages: Sequence[M], sizes: Sequence[int]) -> int:
        """Do what `deliver` does with each of some messages, in one step where all of them fit."""
        size = sum(sizes)
        self._settle()
        if self._ended or self._count + len(messages) > self._max_messages or self._bytes + size > self._max_bytes:
            return max(map(self.deliver, messages, sizes))
        self._messages.extend(messages)
        self._sizes.extend(sizes)
        self._count += len(messages)
        self._bytes += size
        if self._readers:
            self._readers.unpark(count=len(messages))
        return self._count

    def inherit(self, message: M, size: int) -> None:
        """Take a message that came before its consumer could take anything.

        Where a message too many is an error the limits grow by it: it came too early, the consumer was not too slow.
        """
        if self._overflow == "error":
            self._max_messages += 1
            self._max_bytes += size
        self.deliver(message, size)

    def gap(self, gap: Gap) -> None:
        """Messages are missing here: tell a consumer who asked for that. Gaps are never dropped, but merged."""
        if not self._gaps or self._ended:
            return
        if self._messages and isinstance(last := self._messages[-1], Gap):
            self._messages[-1] = last + gap
            return
        self._messages.append(gap)
        self._sizes.append(_GAP)
        if self._readers:
            self._readers.unpark()

    def _clear(self) -> None:
        self._messages.clear()
        self._sizes.clear()
        self._bytes = self._count = 0

    def _overflown(self, size: int) -> None:
        """Apply the overflow policy to a message that does not fit: make room for it, or count it as dropped."""
        match self._overflow:
            case "error":
                self.dropped += 1
                self.end(lambda: SubscriptionOverflow(self.dropped))
            case "drop_oldest" if size <= self._max_bytes:
                while self._count >= self._max_messages or self._bytes + size > self._max_bytes:
                    self._drop_oldest()
            case _:
                self.dropped += 1
                self.gap(Gap(overflowed=1))

    def _drop_oldest(self) -> None:
        self.dropped += 1
        gap = Gap(overflowed=1)
        if isinstance(self._messages[0], Gap):
            gap = self._pop_settled() + gap
        self._pop_settled()
        if not self._gaps:
            return
        if self._messages and isinstance(self._messages[0], Gap):
            gap += self._pop_settled()
        self._messages.appendleft(gap)
        self._sizes.appendleft(_GAP)

    def end(self, error: Callable[[], Exception | None] | None = None) -> None:
        """No more messages will come: what is buffered can still be taken, then comes ``error`` or the normal end."""
        if not self._ended:
            self._ended = True
            self._error = error
            self._readers.unpark_all()

    def close(self) -> None:
        """The user closed the subscription: what is buffered is thrown away."""
        self.closed = self._ended = True
        self._clear()
        self._readers.unpark_all()

    def receive_nowait(self) -> M:
        """Take a message that is there."""
        if self._messages:
            message: M = self._messages.popleft()
            return message
        self._raise_if_ended()
        raise trio.WouldBlock

    def take_all(self) -> list[M]:
        """Take all that is there."""
        self._settle()
        messages = list(self._messages)
        self._taken += self._count
        self._clear()
        return messages

    def hand_over(self) -> list[Any]:
        """Take all that is there, for a ticket. What overflowed is told: the end that would tell it stays behind."""
        lost = [Gap(overflowed=self.dropped)] if self._overflow == "error" and self.dropped else []
        return [*self.take_all(), *lost]

    async def receive(self, end: type[Exception] = trio.EndOfChannel) -> M:
        """Take a message, waiting for it if need be; ``end`` is what to raise at a normal end."""
        messages = self._messages
        if messages:
            self._credit -= 1
            if self._credit:
                await checkpoint_if_cancelled()
            else:
                self._credit = ITEMS_PER_SCHEDULE_POINT
                await checkpoint()
        elif self._ended:
            await checkpoint()
        while not messages:  # other tasks may be taking from here too
            self._raise_if_ended(end)
            self._credit = ITEMS_PER_SCHEDULE_POINT
            await self._wait()
        message: M = messages.popleft()
        return message

    async def _wait(self) -> None:
        """Wait until something may have come."""
        self._thread.check()
        await self._readers.park()

    def _settle(self) -> None:
        """Count off what was taken. Taking only pops, for there every step costs once per message."""
        if behind := len(self._sizes) - len(self._messages):
            next_size = self._sizes.popleft
            sizes = [next_size() for _ in range(behind)]
            gaps = sizes.count(_GAP)
            self._bytes -= sum(sizes) - gaps * _GAP
            self._count -= behind - gaps
            self._taken += behind - gaps

    def _pop_settled(self) -> Any:
        size = self._sizes.popleft()
        if size != _GAP:
            self._bytes -= size
            self._count -= 1
        return self._messages.popleft()

    def raise_if_closed(self) -> None:
        """Raise what every use of a closed subscription does."""
        if self.closed:
            raise trio.ClosedResourceError("it was closed, by the end of its block or by close()")

    def _raise_if_ended(self, end: type[Exception] = trio.EndOfChannel) -> None:
        self.raise_if_closed()
        if self._ended:
            raise (self._error and self._error()) or end
