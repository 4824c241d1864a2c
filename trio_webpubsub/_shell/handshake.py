"""Where a handshake ends and the frames begin, in what one side of a connection reads."""

from __future__ import annotations

import re

LONGEST_REFUSAL = 65_536
"""So much of the body of an answer that refuses the handshake is taken: trio-websocket would keep all of it."""

_END_OF_HEAD = re.compile(rb"\n\r?\n")
"""What h11 takes for the end of a head too: where the frames begin must not be a matter of opinion."""
_SWITCHES = re.compile(rb"HTTP/\d\.\d 101\b")
_STATUS = re.compile(rb"HTTP/\d\.\d (\d{3})\b")


def is_switch(head: bytes | bytearray) -> bool:
    """Whether a server's answer begins so that frames come behind its head."""
    return _SWITCHES.match(head) is not None


class Handshake:
    """Follows the head of a request, or of the answer to one, while it goes by to trio-websocket.

    Args:
        client: Whether it is an answer, and no request, that is read.
    """

    def __init__(self, *, client: bool) -> None:
        self.done: bool = False
        """The head went by, and frames come next."""
        self._client = client
        self._head = bytearray()
        self._refusal: int | None = None
        """Bytes of the body so far, if the answer is no 101."""

    def take(self, data: bytes) -> int:
        """Give how many of the bytes that came are the handshake's."""
        if self._refusal is not None:
            self._refusal += len(data)
            return len(data)
        before = len(self._head)
        self._head += data
        end = _END_OF_HEAD.search(self._head, max(0, before - 2))
        if end is None:
            return len(data)
        if self._client and not is_switch(self._head):
            self._refusal = 0
            return len(data)
        self.done = True
        return end.end() - before

    @property
    def refused_at_length(self) -> bool:
        """Whether the body of a refusal is longer than `LONGEST_REFUSAL`."""
        return self._refusal is not None and self._refusal > LONGEST_REFUSAL

    @property
    def status(self) -> str | None:
        """The status of the answer, if one has come."""
        status = _STATUS.match(self._head)
        return None if status is None else status[1].decode()
