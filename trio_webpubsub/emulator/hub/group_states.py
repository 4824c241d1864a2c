"""What connections tell groups about themselves, and who wants to hear it (a preview of the service).

A state belongs to a connection and a group, which it need not be in; it lives as long as the connection, over all its
transports. Subscribers are told of every change, their own ones included.

Source: the shared schema (Azure/azure-webpubsub, ``protocols/protobuf.webpubsub.azure.v1``) and what the official
JavaScript client's tests expect: a snapshot follows the acknowledgement, an item without a state is a removal, and the
times of one connection's states grow. The service's limits are not published.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias, TypeVar

from ...protocol import wire
from .deliveries import Deliveries
from .effects import Effect
from .lifetimes import Lifetimes
from .limits import HubLimits
from .registry import Connection

Effects: TypeAlias = list[Effect]
V = TypeVar("V")


@dataclass(slots=True)
class _Share:
    """What a connection has part in."""

    sizes: dict[str, int] = field(default_factory=dict[str, int])
    """Bytes of its states, by group."""
    watched: dict[str, None] = field(default_factory=dict[str, None])
    """The groups whose states it is told of, in order."""
    newest: int = 0
    """The time of its newest state."""


class GroupStates:
    """The states of a hub's connections."""

    def __init__(self, limits: HubLimits, lifetimes: Lifetimes, deliveries: Deliveries, *, epoch: float) -> None:
        """Start without states.

        Args:
            limits: how many states there may be, and how large.
            lifetimes: knows who is there.
            deliveries: sends messages.
            epoch: what makes of a hub's time the seconds since 1970.
        """
        self._limits = limits
        self._lifetimes = lifetimes
        self._deliveries = deliveries
        self._epoch = epoch
        self._states: dict[str, dict[str, wire.GroupStateItem]] = {}  # by group and connection id
        self._subscribers: dict[str, dict[str, Connection]] = {}  # by group and connection id
        self._shares: dict[str, _Share] = {}  # by connection id

    def check_room(self, connection: Connection, request: wire.SetGroupState | wire.SubscribeGroupState) -> None:
        """Check that a connection may have one more state, or watch one more group.

        Raises:
            ValueError: these are too many, or too large.
        """
        limits, share, group = self._limits, self._shares.get(connection.id, _Share()), request.group
        if isinstance(request, wire.SubscribeGroupState):
            if len(share.watched.keys() | {group}) > limits.states:
                raise ValueError(f"A connection watches the states of at most {limits.states:,} groups.")
        elif request.state is not None:
            sizes = share.sizes | {group: _size_of(request.state)}
            if len(sizes) > limits.states:
                raise ValueError(f"A connection has states in at most {limits.states:,} groups.")
            if sum(sizes.values()) > limits.state_bytes:
                raise ValueError(f"The states of a connection have at most {limits.state_bytes:,} bytes.")

    def set(
        self, connection: Connection, group: str, state: Mapping[str, str] | None, now: float, effects: Effects
    ) -> None:
        """Replace a connection's state in a group, or remove it."""
        share = self._shares.setdefault(connection.id, _Share())
        if state is None and group not in share.sizes:
            return
        share.newest = max(round((self._epoch + now) * 1000), share.newest + 1)  # in milliseconds since 1970, growing
        item = wire.GroupStateItem(
            connection_id=connection.id, user_id=connection.user_id, state=state, updated_at=share.newest
        )
        if state is not None:
            share.sizes[group] = _size_of(state)
            self._states.setdefault(group, {})[connection.id] = item
        else:
            del share.sizes[group]
            _strike(self._states, group, connection.id)
        # What was told just before may have been too much for one of them, which is still listed here.
        subscribers = filter(self._lifetimes.is_there, list(self._subscribers.get(group, {}).values()))
        message = wire.GroupState(group=group, items=[item], snapshot=False)
        self._deliveries.deliver(message, subscribers, effects, now=now)

    def subscribe(self, connection: Connection, group: str) -> None:
        """Tell a connection of every change from now on."""
        self._subscribers.setdefault(group, {})[connection.id] = connection
        self._shares.setdefault(connection.id, _Share()).watched[group] = None

    def tell_all(self, connection: Connection, group: str, now: float, effects: Effects) -> None:
        """Send a connection all states of a group."""
        items = list(self._states.get(group, {}).values())
        message = wire.GroupState(group=group, items=items, snapshot=True)
        self._deliveries.deliver(message, [connection], effects, now=now)

    def unsubscribe(self, connection: Connection, group: str) -> None:
        """Tell a connection no more; nothing happens if it was not told."""
        share = self._shares.get(connection.id, _Share())
        if group in share.watched:
            del share.watched[group]
            _strike(self._subscribers, group, connection.id)

    def connection_ended(self, connection: Connection, now: float, effects: Effects) -> None:
        """Remove all of a connection that is gone, and tell the others."""
        share = self._shares.get(connection.id, _Share())
        for group in list(share.watched):
            self.unsubscribe(connection, group)
        for group in list(share.sizes):
            self.set(connection, group, None, now, effects)
        self._shares.pop(connection.id, None)


def _size_of(state: Mapping[str, str]) -> int:
    return sum(len(name.encode()) + len(value.encode()) for name, value in state.items())


def _strike(table: dict[str, dict[str, V]], group: str, connection_id: str) -> None:
    """Remove an entry, and what held it if that is empty now."""
    del table[group][connection_id]
    if not table[group]:
        del table[group]
