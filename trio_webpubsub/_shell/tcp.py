"""Plain TCP in fewer steps than trio's stream takes: to send without waiting, and to receive without asking in vain."""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol, TypeAlias, TypeGuard, runtime_checkable

import trio

_SOCKETS_ARE_FILES = sys.platform != "win32"

Receive: TypeAlias = Callable[[int], Awaitable[bytes | bytearray]]
"""Does what a stream's ``receive_some`` does, given how many bytes are taken at most: raises the same, and loses
nothing when it is cancelled."""


def file_of(stream: trio.abc.Stream) -> int | None:
    """Give the file that a plain TCP connection is to the system, which `write_at_once` takes; ``None`` for others."""
    return stream.socket.fileno() if _is_file(stream) else None


def write_at_once(file: int, data: bytes) -> int:
    """Send as much of ``data`` as the network takes without waiting; give how many bytes that were.

    Trio's sockets never block, so that their files do not either. Nobody may be in the stream's ``send_all``.

    Raises:
        trio.BrokenResourceError: The connection broke, or is closed.
    """
    try:
        return os.write(file, data)
    except BlockingIOError:
        return 0
    except OSError as error:
        raise trio.BrokenResourceError("the connection broke") from error


@runtime_checkable
class SendsAtOnce(Protocol):
    """A stream of ours that can do the same."""

    def try_send(self, data: bytes) -> int:
        """Do what `write_at_once` does."""
        ...


def sender_of(stream: trio.abc.Stream) -> Callable[[bytes], int] | None:
    """Give what does the same for a stream that anybody may close meanwhile; ``None`` where nothing can."""
    if isinstance(stream, SendsAtOnce):
        return stream.try_send
    return partial(_try_send, stream) if _is_file(stream) else None


def receiver_of(stream: trio.abc.Stream) -> Receive:
    """Give what receives from a stream. Only one task may be in it, or in the stream's ``receive_some``.

    Trio asks the system for bytes before it waits for them. A link that is mostly silent has none then, and the
    failure costs as much as all the rest.
    """
    return partial(_receive_some, stream) if _is_file(stream) else stream.receive_some


def _is_file(stream: trio.abc.Stream) -> TypeGuard[trio.SocketStream]:
    return isinstance(stream, trio.SocketStream) and _SOCKETS_ARE_FILES


def _try_send(stream: trio.SocketStream, data: bytes) -> int:
    # Asked each time, since the number of a closed one may be somebody else's by now.
    return write_at_once(stream.socket.fileno(), data)


async def _receive_some(stream: trio.SocketStream, max_bytes: int) -> bytes:
    while True:
        file = stream.socket.fileno()
        if file < 0:
            raise trio.ClosedResourceError("this connection was closed")
        try:
            await trio.lowlevel.wait_readable(file)
            return os.read(stream.socket.fileno(), max_bytes)  # if it was closed since, the file may be another one
        except BlockingIOError:  # a reader may be woken for nothing
            continue
        except OSError as error:
            raise trio.BrokenResourceError("the connection broke") from error
