"""The other side of the streams' benchmark: a service that does nothing but streams, in a process of its own.

What it does with a connection stands in the name of the hub, ``MODE_COUNT_SIZE``:

* ``write``: it opens the stream ``s``, acknowledges what has come once for each time it reads, and when COUNT fragments
  and the end have come it closes the stream and sends one message.
* ``read``: after the first message of the client it sends COUNT fragments and the end of a stream.

Like the one of the messages' benchmark it parses no more than it must, and is never what limits a client.
"""

from __future__ import annotations

import functools
import multiprocessing
from collections.abc import Iterator

import load

_CHUNK = 256 * 1024


def fragments(count: int, size: int) -> Iterator[bytes]:
    """Give the frames of a stream of COUNT fragments, in chunks."""
    data = b"x" * size
    form = (
        b'{"sequenceId":%d,"type":"message","from":"group","group":"lobby","fromUserId":"ann","dataType":"text",'
        b'"data":"%b","stream":{"streamId":"s","streamSequenceId":%d%b}}'
    )
    chunk: list[bytes] = []
    length = 0
    for number in range(1, count + 2):
        last = number > count
        chunk.append(
            load.frame(form % (number, b"" if last else data, number, b',"endOfStream":true' if last else b""))
        )
        length += len(chunk[-1])
        if length >= _CHUNK:
            yield b"".join(chunk)
            chunk.clear()
            length = 0
    yield b"".join(chunk)


@functools.lru_cache(maxsize=1)
def prepared(count: int, size: int) -> list[bytes]:
    """Give the same, made before it is asked for and kept for the next client."""
    return list(fragments(count, size))


class StreamLink(load.Link):
    """One client."""

    def _shake_hands(self) -> None:
        super()._shake_hands()
        if self._mode == "read":
            self._mode = "receive"
            self._prepared = iter(prepared(self._count, self._size))

    def _read(self) -> None:
        """Count the frames, which are the opening, the fragments and the end; what stands in them is known."""
        data = bytes(self._received)
        size = len(data)
        position = 0
        before = self._came
        while size - position >= 6:
            length = data[position + 1] & 0x7F
            start = position + 6
            if length == 126:
                length = int.from_bytes(data[position + 2 : position + 4], "big")
                start += 2
            if start + length > size:
                break
            if data[position] == 0x88:
                self._leave()
            position = start + length
            self._came += 1
        del self._received[:position]
        if self._came == self._count + 2 > before:
            closed = load.frame(b'{"type":"streamClosed","streamId":"s"}')
            self.write(closed + b"".join(load.messages(1, 1)))
        elif self._came > before:
            self.write(load.frame(b'{"type":"streamAck","streamId":"s","expectedSequenceId":%d}' % self._came))


def start() -> tuple[multiprocessing.Process, int]:
    """Start a process that serves; gives it and its port."""
    return load.start(link=StreamLink)
