"""Messages that have to be read before they can be sent: files, and iterables of bytes."""

from __future__ import annotations

import io
from collections.abc import AsyncIterable, Iterable, Mapping
from typing import Any

import trio

from ..protocol.errors import MessageTooLarge
from ..protocol.names import MAX_MESSAGE_SIZE

_READ_AT_ONCE = 65_536


async def read_message(message: Any) -> Any:
    """Give what is to be sent: ``message`` itself, or what could be read from it, whole.

    The service wants to know a message's length beforehand, so nothing is streamed. A file in text mode becomes a
    ``str``; a file in binary mode and an iterable of bytes, sync or async, become ``bytes``.

    Raises:
        MessageTooLarge: there is more than 1 MiB to read.
        TypeError: an iterable gave something else than bytes.

    Cancellation: an unknown part was read.
    """
    match message:
        case io.TextIOBase():
            text = message.read(MAX_MESSAGE_SIZE + 1)
            if len(text) > MAX_MESSAGE_SIZE:
                raise MessageTooLarge(len(text), MAX_MESSAGE_SIZE)
            return text
        case io.IOBase():
            return await _joined(iter(lambda: message.read(_READ_AT_ONCE), b""))
        case _ if _is_iterated(message):
            return await _joined(message)
        case _:
            return message


_RECORDS = ("__dataclass_fields__", "__struct_fields__")
"""What dataclasses and structs have, which may give iterators too."""
_VALUES = (str, bytes, bytearray, memoryview, Mapping, list, tuple, set, frozenset)


def _is_iterated(message: object) -> bool:
    """Whether a message is what it gives when it is iterated over, and not a value of its own."""
    if (
        isinstance(message, _VALUES)
        or hasattr(message, "__dataclass_fields__")
        or hasattr(message, "__struct_fields__")
    ):
        return False
    return isinstance(message, AsyncIterable | Iterable)


async def _joined(parts: Iterable[Any] | AsyncIterable[Any]) -> bytes:
    body = bytearray()
    if isinstance(parts, AsyncIterable):
        async for part in parts:
            _add(body, part)
    else:
        for part in parts:
            _add(body, part)
            await trio.lowlevel.checkpoint()
    return bytes(body)


def _add(body: bytearray, part: object) -> None:
    if not isinstance(part, bytes | bytearray | memoryview):
        raise TypeError(f"a message that is iterated over gives bytes, not {type(part).__name__}")
    body += part
    if len(body) > MAX_MESSAGE_SIZE:
        raise MessageTooLarge(len(body), MAX_MESSAGE_SIZE)
