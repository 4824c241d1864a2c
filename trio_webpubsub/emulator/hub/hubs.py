"""All hubs of one service."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator

from .effects import Effect, Notice
from .hub import Hub
from .limits import HubLimits

_MANY = 1_000


class Hubs:
    """The hubs by name, upper and lower case alike. A hub comes into being when somebody entitled first asks for it."""

    def __init__(
        self,
        limits: HubLimits,
        *,
        connected_after_recovery: bool = True,
        drop_failed_events: bool = False,
        announced: Callable[[str], Collection[Notice]] | None = None,
        epoch: float = 0.0,
    ) -> None:
        """Start without hubs; the arguments are those of `Hub`, ``announced`` by its name in lower case."""
        self._limits = limits
        self._connected_after_recovery = connected_after_recovery
        self._drop_failed_events = drop_failed_events
        self._announced = announced
        self._epoch = epoch
        self._hubs: dict[str, Hub] = {}
        self._many = _MANY

    def hub(self, name: str, *, keep: bool = True) -> Hub:
        """Give the hub of this name.

        Args:
            name: what it is called.
            keep: ``False`` for whoever only looks, or has not shown a token: a hub that is not there yet is then empty
                and forgotten again, so that nobody can fill the memory with hubs.
        """
        name = name.lower()
        hub = self._hubs.get(name)
        if hub is None:
            hub = Hub(
                self._limits,
                name=name,
                connected_after_recovery=self._connected_after_recovery,
                drop_failed_events=self._drop_failed_events,
                announced=() if self._announced is None else self._announced(name),
                epoch=self._epoch,
            )
            if keep:
                self._forget_empty()
                self._hubs[name] = hub
        return hub

    def _forget_empty(self) -> None:
        """Forget the hubs that nobody is in, once they are many: who needs no token may name as many as it likes."""
        if len(self._hubs) >= self._many:
            self._hubs = {name: hub for name, hub in self._hubs.items() if not hub.is_empty}
            self._many = max(_MANY, 2 * len(self._hubs))

    def __iter__(self) -> Iterator[Hub]:
        return iter(self._hubs.values())

    @property
    def next_deadline(self) -> float:
        """When `handle_timeout` is to be called; ``math.inf`` if nothing waits."""
        return min((hub.next_deadline for hub in self), default=math.inf)

    def handle_timeout(self, now: float) -> list[tuple[Hub, list[Effect]]]:
        """Let every hub end what has waited too long; give what is to be done for each."""
        return [(hub, hub.handle_timeout(now)) for hub in self]
