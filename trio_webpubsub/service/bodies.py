"""Messages that have to be read before they can be sent: files, and iterables of bytes."""

from __future__ import annotations

import io
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Mapping
from contextlib import AsyncExitStack, aclosing
from typing import Any, TypeGuard, cast

import trio

from ..protocol.errors import MessageTooLarge
from ..protocol.names import MAX_MESSAGE_SIZE

_READ_AT_ONCE = 65_536
_VALUES = (bytearray, memoryview, Mapping, list, tuple, set, frozenset)
"""What can be iterated over and still is a message by itself."""
_RECORDS = ("__dataclass_fields__", "__struct_fields__", "__attrs_attrs__")
"""What dataclasses, structs and attrs classes have, which may give iterators too."""


async def read_message(message: Any) -> object:
    """Give what is to be sent: ``message`` itself, or the ``bytes`` that could be read from it, whole.

    The service wants to know a message's length beforehand, so nothing is streamed. Read are files (of one in text
    mode the UTF-8), whatever has a buffer, and iterables of bytes, sync or async. A list that holds nothing but bytes
    is one; any other is a message by itself.

    Raises:
        MessageTooLarge: there is more than 1 MiB to read.
        TypeError: an iterable gave something else than bytes.

    Cancellation: an unknown part was read.
    """
    match message:
        case str() | bytes() | None:
            return message
        case io.TextIOBase():
            return await _joined(part.encode() for part in iter(lambda: message.read(_READ_AT_ONCE), ""))
        case io.IOBase():
            return await _joined(iter(lambda: message.read(_READ_AT_ONCE), b""))
        case [_, *_] if all(map(_is_bytes, cast("Iterable[Any]", message))):
            return await _joined(cast("Iterable[Any]", message))
        case _ if _is_value(message):
            return message
        case _ if (buffer := _buffer_of(message)) is not None:
            return buffer
        case _ if isinstance(message, AsyncIterable | Iterable):
            return await _joined(cast("Iterable[Any]", message))
        case _:
            return message


def _is_value(message: object) -> bool:
    return isinstance(message, _VALUES) or any(hasattr(message, mark) for mark in _RECORDS)


async def _joined(parts: Iterable[Any] | AsyncIterable[Any]) -> bytes:
    body = bytearray()
    if not isinstance(parts, AsyncIterable):
        for part in parts:
            _add(body, part)
            await trio.lowlevel.checkpoint()
        return bytes(body)
    async with AsyncExitStack() as stack:
        iterator = aiter(parts)
        if isinstance(iterator, AsyncGenerator):
            await stack.enter_async_context(aclosing(cast("AsyncGenerator[Any]", iterator)))
        async for part in iterator:
            _add(body, part)
    return bytes(body)


def _add(body: bytearray, part: object) -> None:
    if not _is_bytes(part):
        raise TypeError(f"a message that is iterated over gives bytes, not {type(part).__name__}")
    body += part
    if len(body) > MAX_MESSAGE_SIZE:
        raise MessageTooLarge(len(body), MAX_MESSAGE_SIZE)


def _is_bytes(value: object) -> TypeGuard[bytes | bytearray | memoryview]:
    return isinstance(value, bytes | bytearray | memoryview)


def _buffer_of(value: object) -> bytes | None:
    """Give what is in the buffer of an array, a memory map and their like, ``None`` if there is none."""
    try:
        view = memoryview(cast("bytes", value))
    except (TypeError, ValueError):
        return None
    if "O" in view.format:
        raise TypeError(f"{type(value).__name__} holds Python objects, which are no bytes")
    if view.nbytes > MAX_MESSAGE_SIZE:
        raise MessageTooLarge(view.nbytes, MAX_MESSAGE_SIZE)
    return view.tobytes()
