"""Which subscription gets which message."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeAlias

import trio

from ..protocol.messages import Connected, Disconnected, Gap, GroupMessage, Lifecycle, Recovered, ServerMessage, Stopped
from .route import Route

PATIENCE = 5
"""Scheduler passes in which the consumer of a crowded route has to take something, to be waited for."""

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


@dataclass(frozen=True, slots=True)
class Fragments:
    """What a route may take: the fragments of streams to a group, or to every group."""

    group: str | None


Key: TypeAlias = str | Fragments | Feed
"""What a route takes: the messages of a group of this name, fragments of streams apart; those fragments; or a feed."""


HELD = "held"
"""What tickets call messages that came before any subscription."""

_GROUP_PREFIX = "group "
_STREAMS_PREFIX = "streams "
_EVERY_STREAM = "every stream"


def _name_of(key: Key) -> str:
    match key:
        case Feed():
            return key.value
        case Fragments(None):
            return _EVERY_STREAM
        case Fragments(group):
            return f"{_STREAMS_PREFIX}{group}"
        case group:
            return _GROUP_PREFIX + group


def _key_of(name: str) -> Key:
    if name.startswith(_GROUP_PREFIX):
        return name.removeprefix(_GROUP_PREFIX)
    if name.startswith(_STREAMS_PREFIX):
        return Fragments(name.removeprefix(_STREAMS_PREFIX))
    return Fragments(None) if name == _EVERY_STREAM else Feed(name)


class _Keys(dict[str, Fragments]):
    """The keys of fragments by group, made once: they are compared for every fragment."""

    def __missing__(self, group: str) -> Fragments:
        if len(self) >= MAX_REMEMBERED_GROUPS:
            self.clear()
        key = self[group] = Fragments(group)
        return key


def _both(key: Key, also: Key | None) -> tuple[Key, ...]:
    return (key,) if also is None else (key, also)


class Router:
    """Knows which routes there are, and gives each message to those that match."""

    def __init__(self) -> None:
        self._routes: dict[Key, list[Route[Any]]] = {}
        self._fragments = _Keys()
        # A cache: what `_hand_over` looks up, by kind of message.
        self._targets: dict[str | Fragments | None, tuple[Route[Any], ...]] = {}
        self.crowd: set[Route[Any]] = set()
        """Routes with more than `Route.crowded_at`, on which the receive loop waits politely."""
        self._held: list[tuple[GroupMessage | ServerMessage | Gap, int]] = []  # begins with a message
        self._held_bytes = 0
        self._claimed: set[Key] = set()
        # Of a ticket: its first subscription of a kind succeeds to what the same one left in the other process.
        self._resumed = False
        self._inherited: dict[Key, list[tuple[Any, int]]] = {}
        self._gap_since_resume: Gap | None = None
        self._succeeded: dict[Key, None] = {}
        self._present: Connected | Disconnected | Recovered | Stopped | None = None
        self.abandoned: list[Callable[[], object]] = []
        """Releases subscriptions whose handle was forgotten. Filled by finalisers, which must do no more."""
        self.unrouted: int = 0
        self._dropped_before = 0
        """Messages that did not fit into routes that are gone."""
        self._end: Callable[[], Exception | None] | None = None

    def add(self, key: Key, route: Route[Any], also: Key | None = None) -> None:
        """Open a route, for one key or two. It gets at once what came before and nobody wanted, in its session."""
        keys = _both(key, also)
        self._targets.clear()
        for each in keys:
            self._routes.setdefault(each, []).append(route)
        if key is Feed.LIFECYCLE:
            if self._present is not None:
                route.deliver(self._present, 0)
        else:
            self._hand_over_what_waited(keys, route)
        if self._end is not None:
            route.end(None if key is Feed.LIFECYCLE else self._end)

    def _hand_over_what_waited(self, keys: Sequence[Key], route: Route[Any]) -> None:
        for key in keys:
            self._claimed.add(key if len(self._claimed) < MAX_REMEMBERED_GROUPS else Feed.EVERYTHING)
        unclaimed = [key for key in keys if key not in self._succeeded] if self._resumed else []
        had_any = bool(unclaimed)
        if had_any:
            self._succeeded.update(dict.fromkeys(unclaimed))
            for key in unclaimed:
                for message, size in self._inherited.pop(key, ()):
                    if isinstance(message, Gap):
                        route.gap(message)
                    else:
                        route.inherit(message, size)
            if self._gap_since_resume is not None:
                route.gap(self._gap_since_resume)
        held, self._held = self._held, []
        for message, size in held:
            if isinstance(message, Gap):
                if had_any:
                    route.gap(message)
                self._hold_gap(message)
            elif Feed.EVERYTHING in keys or not set(keys).isdisjoint(self._keys(message)):
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
        taken: set[Route[Any]] = set()  # some have two keys
        for key, routes in self._routes.items():
            if key is not Feed.LIFECYCLE:
                fresh = [route for route in routes if route not in taken]
                taken.update(fresh)
                unread[_name_of(key)] = max([[], *(route.hand_over() for route in fresh)], key=len)
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

    def remove(self, key: Key, route: Route[Any], also: Key | None = None) -> bool:
        """Close a route for good; gives whether it was open here."""
        known = False
        for each in _both(key, also):
            routes = self._routes.get(each, [])
            if route in routes:
                known = True
                routes.remove(route)
                if not routes:
                    del self._routes[each]
        if known:
            self._targets.clear()
            if key is not Feed.LIFECYCLE:
                self._dropped_before += route.dropped
            self.crowd.discard(route)
        route.close()
        return known

    def sweep(self) -> None:
        """Release what was forgotten."""
        while self.abandoned:
            self.abandoned.pop(0)()

    def messages(self, messages: Sequence[GroupMessage | ServerMessage], sizes: Sequence[int]) -> None:
        """Hand messages, at least one, to every route that matches; those in a row of one kind in one go."""
        fragments = self._fragments
        kinds = [
            (message.group if message.stream is None else fragments[message.group])
            if type(message) is GroupMessage
            else None
            for message in messages
        ]
        total = len(kinds)
        if kinds.count(kinds[0]) == total:
            self._hand_over(kinds[0], messages, sizes)
            return
        start = 0
        for end in range(1, total + 1):
            if end == total or kinds[end] != kinds[start]:
                self._hand_over(kinds[start], messages[start:end], sizes[start:end])
                start = end

    def _hand_over(
        self, kind: str | Fragments | None, messages: Sequence[GroupMessage | ServerMessage], sizes: Sequence[int]
    ) -> None:
        targets = self._targets.get(kind)
        if targets is None:
            if len(self._targets) >= MAX_REMEMBERED_GROUPS:
                self._targets.clear()
            keys = (*self._keys(messages[0]), Feed.EVERYTHING)
            targets = self._targets[kind] = tuple(route for key in keys for route in self._routes.get(key, ()))
        if not targets:
            for message, size in zip(messages, sizes, strict=True):
                self._hold(message, size)
        for route in targets:
            if route.deliver_all(messages, sizes) > route.crowded_at:
                self.crowd.add(route)

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
        for route in self._message_routes():
            route.gap(gap)

    def end_group(self, group: str, error: Callable[[], Exception]) -> None:
        """End every route of one group."""
        for key in (group, Fragments(group)):
            for route in self._routes.get(key, ()):
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
        for route in list(self.crowd):
            standing = 0
            while (waiting := len(route)) > route.crowded_at and standing < PATIENCE:
                await trio.lowlevel.checkpoint()
                standing = standing + 1 if len(route) == waiting else 0
            if len(route) <= route.crowded_at:
                self.crowd.discard(route)

    @property
    def dropped(self) -> int:
        """Messages that did not fit into their routes."""
        return self._dropped_before + sum(route.dropped for route in self._message_routes())

    @property
    def crowded(self) -> bool:
        """Whether `polite_pause` has anything to do."""
        return bool(self.crowd)

    def _message_routes(self) -> Iterable[Route[Any]]:
        """Give every route but the watchers', once: some have two keys."""
        routes = (route for key, routes in self._routes.items() if key is not Feed.LIFECYCLE for route in routes)
        return dict.fromkeys(routes)

    def _keys(self, message: GroupMessage | ServerMessage) -> tuple[Key, ...]:
        if isinstance(message, ServerMessage):
            return (Feed.SERVER,)
        if message.stream is not None:
            return (Fragments(message.group), Fragments(None))
        return (message.group, Feed.EVERY_GROUP)

    def _hold(self, message: GroupMessage | ServerMessage, size: int) -> None:
        """Keep what came before its first subscription; what comes after the last one is for nobody."""
        if Feed.EVERYTHING in self._claimed or not self._claimed.isdisjoint(self._keys(message)):
            self.unrouted += 1
            return
        self._held.append((message, size))
        self._held_bytes += size
        while len(self._held) > MAX_HELD_MESSAGES or self._held_bytes > MAX_HELD_BYTES:
            self._held_bytes -= self._held.pop(0)[1]
            self.unrouted += 1
            if self._held and isinstance(first := self._held[0][0], Gap):
                self._held.pop(0)
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
