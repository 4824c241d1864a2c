"""Hands changes of groups' states over to those who watch (a preview of the service)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from weakref import WeakKeyDictionary

import trio

from ..errors import GroupLost
from ..protocol.group_state import ObservedGroup
from ..protocol.messages import GroupStateChange, MemberState
from .route import Route


class StateWatchers:
    """Who waits for changes of groups' states."""

    def __init__(self) -> None:
        self._routes: dict[ObservedGroup, list[Route[GroupStateChange]]] = {}
        self._lost: WeakKeyDictionary[ObservedGroup, Callable[[], GroupLost]] = WeakKeyDictionary()
        self._end: Callable[[], Exception | None] | None = None
        self._changed = trio.lowlevel.ParkingLot()

    def open(self, observed: ObservedGroup, route: Route[GroupStateChange]) -> None:
        """Let a route have the changes of a group, after what is known now."""
        for change in _as_changes(observed.members):
            route.deliver(change, 0)
        self._routes.setdefault(observed, []).append(route)
        if (end := self._lost.get(observed, self._end)) is not None:
            route.end(end)

    def close(self, observed: ObservedGroup, route: Route[GroupStateChange]) -> None:
        """Close a route for good."""
        routes = self._routes.get(observed, [])
        if route in routes:
            routes.remove(route)
            if not routes:
                del self._routes[observed]
        route.close()

    def changed(self, observed: ObservedGroup, changes: list[GroupStateChange]) -> None:
        """Hand changes over."""
        for route in self._routes.get(observed, ()):
            for change in changes:
                route.deliver(change, 0)
        self._changed.unpark_all()

    def lost(self, observed: ObservedGroup, error: Callable[[], GroupLost]) -> None:
        """No more changes will come of a group."""
        self._lost[observed] = error
        for route in self._routes.get(observed, ()):
            route.end(error)
        self._changed.unpark_all()

    def end_all(self, error: Callable[[], Exception | None]) -> None:
        """No more changes will come."""
        self._end = error
        for routes in self._routes.values():
            for route in routes:
                route.end(error)
        self._changed.unpark_all()

    async def wait_complete(self, observed: ObservedGroup, still_there: Callable[[], None]) -> None:
        """Wait for the snapshot; ``still_there`` raises when the client has ended.

        Raises:
            GroupLost: none can come: the states cannot be watched any more.
        """
        while not observed.complete:
            still_there()
            if (lost := self._lost.get(observed)) is not None:
                raise lost()
            await self._changed.park()


def _as_changes(members: Mapping[str, MemberState]) -> Iterator[GroupStateChange]:
    for connection_id, member in members.items():
        yield GroupStateChange(
            connection_id=connection_id, user_id=member.user_id, state=member.state, updated_at=member.updated_at
        )
