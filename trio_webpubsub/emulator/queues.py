"""What waits for clients that read slowly or not at all, and how much of it there may be."""

from __future__ import annotations

from .links import Link


class Queues:
    """Cuts clients before what waits for them takes too much memory.

    Args:
        of_one: bytes that may wait for one client.
        of_all: bytes that may wait for all of them together; over that, whoever has the most is cut.
    """

    def __init__(self, *, of_one: int, of_all: int) -> None:
        self._of_one = of_one
        self._of_all = of_all
        # As it was when it was last noted. Most clients never have anything here, and nobody tells when they have read.
        self._waiting: dict[Link, int] = {}
        self._total = 0

    def note(self, link: Link, waiting: int) -> None:
        """Take note of how much waits for a client."""
        self._total += waiting - self._waiting.get(link, 0)
        self._waiting[link] = waiting
        if waiting > self._of_one:
            self._cut(link)
        elif self._total > self._of_all:
            self._count_anew()
            while self._total > self._of_all:
                self._cut(max(self._waiting, key=self._waiting.__getitem__))

    def forget(self, link: Link) -> None:
        """Take note that a client has gone."""
        self._total -= self._waiting.pop(link, 0)

    def _count_anew(self) -> None:
        now = {link: link.websocket.queued_bytes for link in self._waiting}
        self._waiting = {link: waiting for link, waiting in now.items() if waiting}
        self._total = sum(self._waiting.values())

    def _cut(self, link: Link) -> None:
        link.websocket.abort()
        self.forget(link)
