"""Sending without a task switch, which trio's streams do not offer."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import partial
from typing import TypeGuard

import trio

_SOCKETS_ARE_FILES = sys.platform != "win32"


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


def sender_of(stream: trio.abc.Stream) -> Callable[[bytes], int] | None:
    """Give what does the same for a stream that anybody may close meanwhile; ``None`` where nothing can."""
    return partial(_try_send, stream) if _is_file(stream) else None


def _is_file(stream: trio.abc.Stream) -> TypeGuard[trio.SocketStream]:
    return isinstance(stream, trio.SocketStream) and _SOCKETS_ARE_FILES


def _try_send(stream: trio.SocketStream, data: bytes) -> int:
    # Asked each time, since the number of a closed one may be somebody else's by now.
    return write_at_once(stream.socket.fileno(), data)
