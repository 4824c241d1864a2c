"""Which acknowledged requests a connection has already made."""

from __future__ import annotations


class AckMemory:
    """The last ack ids of one connection, first in, first out.

    An id counts from its arrival, so that a request repeated while the first one still runs is a duplicate as well.
    A request that failed is forgotten, so that it may be repeated under the same id.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._ids: dict[int, None] = {}

    def remember(self, ack_id: int) -> bool:
        """Note an id that arrived.

        Returns:
            Whether it is new; False says that the request is a duplicate.
        """
        if ack_id in self._ids:
            return False
        self._ids[ack_id] = None
        if len(self._ids) > self._size:
            del self._ids[next(iter(self._ids))]
        return True

    def forget(self, ack_id: int) -> None:
        """Let the id be used again: its request failed."""
        self._ids.pop(ack_id, None)
