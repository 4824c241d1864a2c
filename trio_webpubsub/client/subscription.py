"""The hand-over from the receive loop to the subscribers.

A *route* holds the buffer and is known to the router; a *subscription* is the user's thin handle on it. They are two,
so that a forgotten handle is really finalised: nothing of ours refers to it. Routes are a class of ours and no memory
channel, because a schedule point per message costs ten times all the rest.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from enum import Enum
from types import TracebackType
from typing import Any, Generic, Literal, Self, TypeAlias, TypeVar

import trio

from ..errors import SubscriptionOverflow
from ..protocol.messages import Connected, Disconnected, Gap, GroupMessage, Lifecycle, Recovered, ServerMessage, Stopped
from .statistics import SubscriptionStatistics

Overflow: TypeAlias = Literal["error", "drop_oldest", "drop_newest"]

MAX_BUFFERED_BYTES = 16 * 1024 * 1024
CROWDED = 1024
"""A route with more messages than this makes the receive loop pause politely."""

ITEMS_PER_SCHEDULE_POINT = 64

MAX_HELD_MESSAGES = 1000
MAX_HELD_BYTES = 1024 * 1024

M_co = TypeVar("M_co", covariant=True)
M = TypeVar("M")


class Route(Generic[M]):
    """A bounded buffer between the receive loop, which never waits, and any number of consuming tasks."""

    def __init__(
        self, *, buffer: int, overflow: Overflow, gaps: bool = False, max_bytes: float = MAX_BUFFERED_BYTES
    ) -> None:
        self._messages: deque[Any] = deque()  # of M, which includes Gap where the consumer asked for them
        self._sizes: deque[int] = deque()  # -1 for a gap
        self._count = 0  # of messages, gaps apart
        self._bytes = 0
        self._gaps = gaps
        self._max_messages = buffer
        self._max_bytes = max_bytes
        self._overflow: Overflow = overflow
        self._readers = trio.lowlevel.ParkingLot()
        self._credit = ITEMS_PER_SCHEDULE_POINT
        self._ended = False
        self._error: Callable[[], Exception | None] | None = None
        self.closed = False
        self.taken = 0
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._messages)

    def statistics(self) -> SubscriptionStatistics:
        """Say how it stands."""
        return SubscriptionStatistics(
            buffered=self._count, buffered_bytes=self._bytes, taken=self.taken, dropped=self.dropped
        )

    def deliver(self, message: M, size: int) -> None:
        """Take a message, or apply the overflow policy."""
        if self._ended:
            self.dropped += 1
            return
        if self._count >= self._max_messages or self._bytes + size > self._max_bytes:
            self._overflown(size)
            if self._count >= self._max_messages or self._bytes + size > self._max_bytes:
                return
        self._messages.append(message)
        self._sizes.append(size)
        self._count += 1
        self._bytes += size
        if self._readers:
            self._readers.unpark()

    def inherit(self, message: M, size: int) -> None:
        """Take a message that another process had not read, whatever the limits: it was within them there."""
        self._messages.append(message)
        self._sizes.append(size)
        self._count += 1
        self._bytes += size

    def gap(self, gap: Gap) -> None:
        """Messages are missing here: tell a consumer who asked for that. Gaps are never dropped, but merged."""
        if not self._gaps or self._ended:
            return
        if self._messages and isinstance(last := self._messages[-1], Gap):
            self._messages[-1] = last + gap
            return
        self._messages.append(gap)
        self._sizes.append(-1)
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
            gap = self._pop() + gap
        self._pop()
        if not self._gaps:
            return
        if self._messages and isinstance(self._messages[0], Gap):
            gap += self._pop()
        self._messages.appendleft(gap)
        self._sizes.appendleft(-1)

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
            return self._take()
        self._raise_if_ended()
        raise trio.WouldBlock

    def take_all(self) -> list[M]:
        """Take all that is there."""
        messages = list(self._messages)
        self.taken += len(messages)
        self._clear()
        return messages

    async def receive(self) -> M:
        """Take a message, waiting for it if need be."""
        if self._messages:
            self._credit -= 1
            if self._credit:
                await trio.lowlevel.checkpoint_if_cancelled()
            else:
                self._credit = ITEMS_PER_SCHEDULE_POINT
                await trio.lowlevel.checkpoint()
        elif self._ended:
            await trio.lowlevel.checkpoint()
        while not self._messages:  # other tasks may be taking from here too
            self._raise_if_ended()
            self._credit = ITEMS_PER_SCHEDULE_POINT
            await self._readers.park()
        return self._take()

    def _take(self) -> M:
        self.taken += 1
        message: M = self._pop()
        return message

    def _pop(self) -> Any:
        size = self._sizes.popleft()
        if size >= 0:
            self._bytes -= size
            self._count -= 1
        return self._messages.popleft()

    def _raise_if_ended(self) -> None:
        if self.closed:
            raise trio.ClosedResourceError
        if self._ended:
            raise (self._error and self._error()) or trio.EndOfChannel


class Feed(Enum):
    """What a route may take, one group's messages apart."""

    EVERY_GROUP = "every group"
    SERVER = "server"
    EVERYTHING = "everything"
    LIFECYCLE = "lifecycle"


Key: TypeAlias = str | Feed
"""What a route takes: the messages of a group of this name, or a feed."""


HELD = "held"
"""What tickets call messages that came before any subscription."""

_GROUP_PREFIX = "group "


def _name_of(key: Key) -> str:
    return key.value if isinstance(key, Feed) else _GROUP_PREFIX + key


def _key_of(name: str) -> Key:
    return name.removeprefix(_GROUP_PREFIX) if name.startswith(_GROUP_PREFIX) else Feed(name)


class Router:
    """Knows which routes there are, and gives each message to those that match."""

    def __init__(self) -> None:
        self._routes: dict[Key, list[Route[Any]]] = {}
        self._crowd: set[Route[Any]] = set()
        self._held: deque[tuple[GroupMessage | ServerMessage, int]] = deque()
        self._held_bytes = 0
        self._claimed: set[Key] = set()
        # Of a ticket: its first subscription of a kind succeeds to what the same one left in the other process.
        self._resumed = False
        self._inherited: dict[Key, list[tuple[Any, int]]] = {}
        self._gap_since_resume: Gap | None = None
        self._succeeded: set[Key] = set()
        self._present: Connected | Disconnected | Recovered | Stopped | None = None
        self.abandoned: deque[Callable[[], object]] = deque()
        """Releases subscriptions whose handle was forgotten. Filled by finalisers, which must do no more."""
        self.unrouted = 0

    def add(self, key: Key, route: Route[Any]) -> None:
        """Open a route. It gets at once what came before and nobody wanted, since its session began."""
        self._routes.setdefault(key, []).append(route)
        if key is Feed.LIFECYCLE:
            if self._present is not None:
                route.deliver(self._present, 0)
            return
        self._claimed.add(key)
        if key not in self._succeeded:
            self._succeeded.add(key)
            for message, size in self._inherited.pop(key, ()):
                route.inherit(message, size)
            if self._gap_since_resume is not None:
                route.gap(self._gap_since_resume)
        held, self._held = self._held, deque()
        for message, size in held:
            if key is Feed.EVERYTHING or key in self._keys(message):
                self._held_bytes -= size
                route.deliver(message, size)
            else:
                self._held.append((message, size))

    def take_unread(self) -> dict[str, list[Any]]:
        """Take, for a ticket, what nobody has read; of subscriptions alike, what the one furthest behind has not."""
        unread: dict[str, list[Any]] = {HELD: [message for message, _ in self._held]}
        for key, routes in self._routes.items():
            if key is not Feed.LIFECYCLE:
                unread[_name_of(key)] = max((route.take_all() for route in routes), key=len)
        self._held.clear()
        return unread

    def inherit(self, unread: dict[str, list[tuple[Any, int]]]) -> None:
        """Keep what a ticket brought, without a limit, for the first subscription of each kind."""
        self._resumed = True
        for name, messages in unread.items():
            if name == HELD:
                self._held.extend(messages)
                self._held_bytes += sum(size for _, size in messages)
            else:
                self._inherited[_key_of(name)] = messages

    def remove(self, key: Key, route: Route[Any]) -> bool:
        """Close a route for good; gives whether it was open here."""
        routes = self._routes.get(key, [])
        known = route in routes
        if known:
            routes.remove(route)
            if not routes:
                del self._routes[key]
            self._crowd.discard(route)
        route.close()
        return known

    def sweep(self) -> None:
        """Release what was forgotten."""
        while self.abandoned:
            self.abandoned.popleft()()

    def message(self, message: GroupMessage | ServerMessage, size: int) -> None:
        """Hand a message to every route that matches."""
        matched = False
        for key in (*self._keys(message), Feed.EVERYTHING):
            for route in self._routes.get(key, ()):
                matched = True
                route.deliver(message, size)
                if len(route) > CROWDED:
                    self._crowd.add(route)
        if not matched:
            self._hold(message, size)

    def lifecycle(self, value: Lifecycle) -> None:
        """Tell every watcher."""
        if isinstance(value, Connected):
            self._claimed.clear()
        if isinstance(value, Connected | Disconnected | Recovered | Stopped):
            self._present = value
        for route in self._routes.get(Feed.LIFECYCLE, ()):
            route.deliver(value, 0)

    def gap(self, gap: Gap) -> None:
        """Tell every route of messages that some are missing here."""
        if self._resumed:
            self._gap_since_resume = gap if self._gap_since_resume is None else self._gap_since_resume + gap
        for key, routes in self._routes.items():
            if key is not Feed.LIFECYCLE:
                for route in routes:
                    route.gap(gap)

    def end_group(self, group: str, error: Callable[[], Exception]) -> None:
        """End every route of one group."""
        for route in self._routes.get(group, ()):
            route.end(error)

    def end_all(self, error: Callable[[], Exception | None]) -> None:
        """End every route; watchers of the lifecycle end normally, they were told."""
        for key, routes in self._routes.items():
            for route in routes:
                route.end(None if key is Feed.LIFECYCLE else error)

    async def polite_pause(self) -> None:
        """Let the consumers of crowded routes catch up, as long as they keep taking.

        A consumer that took nothing in two scheduler passes is not waited for.
        """
        for route in list(self._crowd):
            standing = 0
            while len(route) > CROWDED and standing < 2:
                taken = route.taken
                await trio.lowlevel.checkpoint()
                standing = standing + 1 if route.taken == taken else 0
            if len(route) <= CROWDED:
                self._crowd.discard(route)

    @property
    def dropped(self) -> int:
        """Messages that did not fit into the routes there are."""
        return sum(route.dropped for routes in self._routes.values() for route in routes)

    @property
    def crowded(self) -> bool:
        """Whether `polite_pause` has anything to do."""
        return bool(self._crowd)

    def _keys(self, message: GroupMessage | ServerMessage) -> tuple[Key, ...]:
        return (message.group, Feed.EVERY_GROUP) if isinstance(message, GroupMessage) else (Feed.SERVER,)

    def _hold(self, message: GroupMessage | ServerMessage, size: int) -> None:
        """Keep what came before its first subscription; what comes after the last one is for nobody."""
        if Feed.EVERYTHING in self._claimed or not self._claimed.isdisjoint(self._keys(message)):
            self.unrouted += 1
            return
        self._held.append((message, size))
        self._held_bytes += size
        while len(self._held) > MAX_HELD_MESSAGES or self._held_bytes > MAX_HELD_BYTES:
            self._held_bytes -= self._held.popleft()[1]
            self.unrouted += 1


class Subscription(trio.abc.ReceiveChannel[M_co]):
    """Messages as they come: a `trio.abc.ReceiveChannel`.

    Get one from `Client.group_messages`, `Client.server_messages`, `Client.messages` or `Client.lifecycle`, and iterate
    over it. Several tasks may share one; each message then goes to one of them.

    It ends when the client's block ends (what is buffered first, then the iteration is over), with `ClientStopped` when
    the client gave up, with `SubscriptionOverflow` when its consumer was too slow, and with `GroupLost` when its group
    could not be joined again after a lost session: each after what is buffered.

    Back-pressure: a consumer that keeps taking is waited for. One that stands still never stops the client; what
    becomes of messages that do not fit is decided by the ``overflow`` given when the subscription was made.
    """

    def __init__(
        self,
        route: Route[M_co],
        *,
        enter: Callable[[], Awaitable[None]] | None,
        release: Callable[[], object],
        abandoned: deque[Callable[[], object]],
    ) -> None:
        self._route = route
        self._enter = enter
        self._entering = trio.Lock()
        self._release = release
        self._abandoned = abandoned

    async def receive(self) -> M_co:
        """Give the next message. The first call joins the group, if that has not happened yet.

        Raises:
            trio.EndOfChannel: the client's block has ended.
            trio.ClosedResourceError: the subscription was closed.
            SendFailed: the service refused the join; the subscription is closed.
            ClientStopped: the client gave up.
            SubscriptionOverflow: this consumer was too slow, and some messages did not fit.
            GroupLost: the group could not be joined again after a lost session.

        Cancellation: no message is lost; a join under way is undone and the subscription is closed. When a message is
        already there this checks for cancellation but takes a schedule point only once in 64 messages.
        """
        if self._enter is not None:
            await self._join()
        return await self._route.receive()

    def receive_nowait(self) -> M_co:
        """Give a message that is already there.

        Raises:
            trio.WouldBlock: there is none, or the group was not joined yet.
            Exception: as `receive` does.
        """
        return self._route.receive_nowait()

    def statistics(self) -> SubscriptionStatistics:
        """Say how this subscription stands."""
        return self._route.statistics()

    def batches(self) -> AsyncIterator[list[M_co]]:
        """Iterate over lists: everything that is there, at least one message each. Quicker for very many messages.

        Errors, cancellation and back-pressure as for `receive`.
        """
        return _Batches(self, self._route)

    def close(self) -> None:
        """End the subscription now; messages in its buffer are thrown away.

        The last subscription to a group leaves the group, unless it was also joined with `Client.join_group`. This does
        not wait for the service.
        """
        self._release()
        self._route.close()

    async def aclose(self) -> None:
        """Do what `close` does, and let other tasks run.

        Cancellation: it is closed all the same.
        """
        self.close()
        await trio.lowlevel.checkpoint()

    async def __aenter__(self) -> Self:
        """Join the group, if that is how this subscription gets its messages.

        Raises:
            SendFailed: the service refused the join.
            Exception: as `Client.join_group` does.

        Cancellation: the join is undone.
        """
        if self._enter is not None:
            await self._join()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    async def _join(self) -> None:
        async with self._entering:
            if self._enter is not None and not self._route.closed:
                await self._enter()
                self._enter = None

    def __del__(self) -> None:
        # Nobody can take from it any more. Finalisers run anywhere, so the receive loop does the rest on its next turn.
        if not self._route.closed:
            self._abandoned.append(self._release)


class _Batches(AsyncIterator[list[M]]):
    def __init__(self, subscription: Subscription[M], route: Route[M]) -> None:
        self._subscription = subscription
        self._route = route

    async def __anext__(self) -> list[M]:
        try:
            first = await self._subscription.receive()
        except trio.EndOfChannel:
            raise StopAsyncIteration from None
        return [first, *self._route.take_all()]
