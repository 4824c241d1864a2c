"""Which subscription gets which message."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any, TypeAlias

import trio

from ..protocol.messages import Connected, Disconnected, Gap, GroupMessage, Lifecycle, Recovered, ServerMessage, Stopped
from .route import Route

CROWDED = 1024
"""A route with more messages than this makes the receive loop pause politely."""
PATIENCE = 5
"""Scheduler passes in which the consumer of such a route has to take something, to be waited for."""

MAX_HELD_MESSAGES = 1000
MAX_HELD_BYTES = 1024 * 1024
MAX_REMEMBERED_GROUPS = 10_000
"""Names of groups that are remembered beyond their subscriptions, so that memory stays bounded."""


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
        self._targets: dict[str | None, tuple[Route[Any], ...]] = {}  # a cache: what `_hand_over` looks up, by group
        self._crowd: set[Route[Any]] = set()
        self._held: deque[tuple[GroupMessage | ServerMessage | Gap, int]] = deque()  # begins with a message
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
        self.unrouted: int = 0
        self._dropped_before = 0
        """Messages that did not fit into routes that are gone."""
        self._end: Callable[[], Exception | None] | None = None

    def add(self, key: Key, route: Route[Any]) -> None:
        """Open a route. It gets at once what came before and nobody wanted, since its session began."""
        self._routes.setdefault(key, []).append(route)
        self._targets.clear()
        if key is Feed.LIFECYCLE:
            if self._present is not None:
                route.deliver(self._present, 0)
        else:
            self._hand_over_what_waited(key, route)
        if self._end is not None:
            route.end(None if key is Feed.LIFECYCLE else self._end)

    def _hand_over_what_waited(self, key: Key, route: Route[Any]) -> None:
        self._claimed.add(key if len(self._claimed) < MAX_REMEMBERED_GROUPS else Feed.EVERYTHING)
        had_any = self._resumed and key not in self._succeeded
        if had_any:
            self._succeeded.add(key)
            for message, size in self._inherited.pop(key, ()):
                if isinstance(message, Gap):
                    route.gap(message)
                else:
                    route.inherit(message, size)
            if self._gap_since_resume is not None:
                route.gap(self._gap_since_resume)
        held, self._held = self._held, deque()
        for message, size in held:
            if isinstance(message, Gap):
                if had_any:
                    route.gap(message)
                self._hold_gap(message)
            elif key is Feed.EVERYTHING or key in self._keys(message):
                self._held_bytes -= size
                route.inherit(message, size)
                had_any = True
            else:
                self._held.append((message, size))

    def take_unread(self) -> dict[str, list[Any]]:
        """Take, for a ticket, what nobody has read; of subscriptions alike, what the one furthest behind has not."""
        unread: dict[str, list[Any]] = {HELD: [message for message, _ in self._held]}
        gap = [] if self._gap_since_resume is None else [self._gap_since_resume]
        for key, left in self._inherited.items():  # from a process before this one, and nobody has asked for it yet
            unread[_name_of(key)] = [*(message for message, _ in left), *gap]
        for key, routes in self._routes.items():
            if key is not Feed.LIFECYCLE:
                unread[_name_of(key)] = max((route.hand_over() for route in routes), key=len)
        self._held.clear()
        self._inherited.clear()
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
            self._targets.clear()
            if key is not Feed.LIFECYCLE:
                self._dropped_before += route.dropped
            if not routes:
                del self._routes[key]
            self._crowd.discard(route)
        route.close()
        return known

    def sweep(self) -> None:
        """Release what was forgotten."""
        while self.abandoned:
            self.abandoned.popleft()()

    def messages(self, messages: Sequence[GroupMessage | ServerMessage], sizes: Sequence[int]) -> None:
        """Hand messages, at least one, to every route that matches; those in a row of one group in one go."""
        groups = [message.group if type(message) is GroupMessage else None for message in messages]
        total = len(groups)
        if groups.count(groups[0]) == total:
            self._hand_over(groups[0], messages, sizes)
            return
        start = 0
        for end in range(1, total + 1):
            if end == total or groups[end] != groups[start]:
                self._hand_over(groups[start], messages[start:end], sizes[start:end])
                start = end

    def _hand_over(
        self, group: str | None, messages: Sequence[GroupMessage | ServerMessage], sizes: Sequence[int]
    ) -> None:
        targets = self._targets.get(group)
        if targets is None:
            if len(self._targets) >= MAX_REMEMBERED_GROUPS:
                self._targets.clear()
            keys = (*self._keys(messages[0]), Feed.EVERYTHING)
            targets = self._targets[group] = tuple(route for key in keys for route in self._routes.get(key, ()))
        if not targets:
            for message, size in zip(messages, sizes, strict=True):
                self._hold(message, size)
        for route in targets:
            if route.deliver_all(messages, sizes) > CROWDED:
                self._crowd.add(route)

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
        self._hold_gap(gap)
        for key, routes in self._routes.items():
            if key is not Feed.LIFECYCLE:
                for route in routes:
                    route.gap(gap)

    def end_group(self, group: str, error: Callable[[], Exception]) -> None:
        """End every route of one group."""
        for route in self._routes.get(group, ()):
            route.end(error)

    def end_all(self, error: Callable[[], Exception | None]) -> None:
        """End every route, those to come as well; watchers of the lifecycle end normally, they were told."""
        self._end = error
        for key, routes in self._routes.items():
            for route in routes:
                route.end(None if key is Feed.LIFECYCLE else error)

    async def polite_pause(self) -> None:
        """Let the consumers of crowded routes catch up, as long as they keep taking.

        A consumer that took nothing in a few scheduler passes is not waited for. Who awaits something for each message
        misses a pass at least now and then, at the schedule points of receiving itself for instance.
        """
        for route in list(self._crowd):
            standing = 0
            while (waiting := len(route)) > CROWDED and standing < PATIENCE:
                await trio.lowlevel.checkpoint()
                standing = standing + 1 if len(route) == waiting else 0
            if len(route) <= CROWDED:
                self._crowd.discard(route)

    @property
    def dropped(self) -> int:
        """Messages that did not fit into their routes."""
        present = sum(
            route.dropped for key, routes in self._routes.items() if key is not Feed.LIFECYCLE for route in routes
        )
        return self._dropped_before + present

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
            if self._held and isinstance(first := self._held[0][0], Gap):
                self._held.popleft()
                self._remember_gap(first)

    def _hold_gap(self, gap: Gap) -> None:
        """Keep the place of a gap among what is held; in front of all of it there is no place to keep."""
        if not self._held:
            self._remember_gap(gap)
        elif isinstance(last := self._held[-1][0], Gap):
            self._held[-1] = (last + gap, 0)
        else:
            self._held.append((gap, 0))

    def _remember_gap(self, gap: Gap) -> None:
        """What came before it is gone, or is in a ticket."""
        if self._resumed:
            self._gap_since_resume = gap if self._gap_since_resume is None else self._gap_since_resume + gap
