"""What connections tell groups about themselves, and who wants to hear it (a preview of the service).

A state belongs to a connection and a group, which it need not be in; it lives as long as the connection, over all its
transports. Subscribers are told of every change, their own ones included.

Source: the shared schema (Azure/azure-webpubsub, ``protocols/protobuf.webpubsub.azure.v1``) and what the official
JavaScript client's tests expect: a snapshot follows the acknowledgement, an item without a state is a removal, and the
times of one connection's states grow. The service's limits are not published.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from ...protocol import wire
from .deliveries import Deliveries
from .effects import Effect
from .registry import Connection

Effects: TypeAlias = list[Effect]


class GroupStates:
    """The states of a hub's connections."""

    def __init__(self, deliveries: Deliveries, *, epoch: float) -> None:
        """Start without states.

        Args:
            deliveries: sends messages.
            epoch: what makes of a hub's time the seconds since 1970.
        """
        self._deliveries = deliveries
        self._epoch = epoch
        self._states: dict[str, dict[str, wire.GroupStateItem]] = {}  # by group and connection id
        self._subscribers: dict[str, dict[str, Connection]] = {}  # by group and connection id
        self._newest: dict[str, int] = {}  # the time of each connection's newest state

    def set(
        self, connection: Connection, group: str, state: Mapping[str, str] | None, now: float, effects: Effects
    ) -> None:
        """Replace a connection's state in a group, or remove it."""
        states = self._states.setdefault(group, {})
        if state is None:
            if states.pop(connection.id, None) is None:
                self._forget(group)
                return
            self._forget(group)
        item = wire.GroupStateItem(
            connection_id=connection.id,
            user_id=connection.user_id,
            state=state,
            updated_at=self._time_for(connection, now),
        )
        if state is not None:
            states[connection.id] = item
        subscribers = list(self._subscribers.get(group, {}).values())
        message = wire.GroupState(group=group, items=[item], snapshot=False)
        self._deliveries.deliver(message, subscribers, effects, now=now)

    def subscribe(self, connection: Connection, group: str) -> None:
        """Tell a connection of every change from now on."""
        self._subscribers.setdefault(group, {})[connection.id] = connection

    def tell_all(self, connection: Connection, group: str, now: float, effects: Effects) -> None:
        """Send a connection all states of a group."""
        items = list(self._states.get(group, {}).values())
        message = wire.GroupState(group=group, items=items, snapshot=True)
        self._deliveries.deliver(message, [connection], effects, now=now)

    def unsubscribe(self, connection: Connection, group: str) -> None:
        """Tell a connection no more; nothing happens if it was not told."""
        subscribers = self._subscribers.get(group, {})
        subscribers.pop(connection.id, None)
        if not subscribers:
            self._subscribers.pop(group, None)

    def connection_ended(self, connection: Connection, now: float, effects: Effects) -> None:
        """Remove all of a connection that is gone, and tell the others."""
        for group in [group for group, subscribers in self._subscribers.items() if connection.id in subscribers]:
            self.unsubscribe(connection, group)
        for group in [group for group, states in self._states.items() if connection.id in states]:
            self.set(connection, group, None, now, effects)
        self._newest.pop(connection.id, None)

    def _forget(self, group: str) -> None:
        if not self._states[group]:
            del self._states[group]

    def _time_for(self, connection: Connection, now: float) -> int:
        """Give the time in milliseconds since 1970, later than that of the connection's last state."""
        time = max(round((self._epoch + now) * 1000), self._newest.get(connection.id, 0) + 1)
        self._newest[connection.id] = time
        return time
