"""What can be sent as a message, and what it travels as."""

from __future__ import annotations

import array
import ctypes
import io
import math
import mmap
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
import trio
from trio.testing import MockClock

from tests.service.peer import Peer, service_of
from trio_webpubsub import MessageTooLarge

TEXT, JSON, BINARY = "text/plain", "application/json", "application/octet-stream"
LIMIT = 1024 * 1024


@dataclass
class Order:
    number: int

    def __iter__(self) -> Iterator[bytes]:
        raise AssertionError


class Struct(msgspec.Struct):
    number: int


class Pair(NamedTuple):
    a: int
    b: str


def parts() -> Iterator[bytes | bytearray]:
    yield b"ab"
    yield bytearray(b"c")


class AsyncParts:
    def __init__(self) -> None:
        self._left = [b"ab", memoryview(b"c")]

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        await trio.lowlevel.checkpoint()
        if not self._left:
            raise StopAsyncIteration
        return self._left.pop(0)


async def generated(*parts: Any) -> AsyncGenerator[Any]:  # noqa: ASYNC900 - such are what users pass
    for part in parts:
        await trio.lowlevel.checkpoint()
        yield part


@pytest.mark.parametrize(
    ("message", "content_type", "body"),
    [
        ("tëxt", TEXT, "tëxt".encode()),
        ("", TEXT, b""),
        (b"\xff", BINARY, b"\xff"),
        (b"", BINARY, b""),
        (bytearray(b"x"), BINARY, b"x"),
        (memoryview(b"xyz")[::2], BINARY, b"xz"),
        (array.array("H", [1, 2]), BINARY, array.array("H", [1, 2]).tobytes()),
        (io.BytesIO(b"\x00" * 100_000), BINARY, b"\x00" * 100_000),
        (io.StringIO("tëxt"), BINARY, "tëxt".encode()),
        (parts(), BINARY, b"abc"),
        (iter(()), BINARY, b""),
        (AsyncParts(), BINARY, b"abc"),
        (generated(b"ab", b"c"), BINARY, b"abc"),
        ([b"ab", bytearray(b"c")], BINARY, b"abc"),
        (deque([b"ab"]), BINARY, b"ab"),
        ({"a": (1, 2)}, JSON, b'{"a":[1,2]}'),
        ([], JSON, b"[]"),
        ([1, "a", None], JSON, b'[1,"a",null]'),
        (None, JSON, b"null"),
        (True, JSON, b"true"),
        (1.5, JSON, b"1.5"),
        (Order(7), JSON, b'{"number":7}'),
        (Struct(7), JSON, b'{"number":7}'),
        (Pair(1, "b"), JSON, b'[1,"b"]'),
    ],
)
async def test_the_type_of_a_message_decides_what_it_travels_as(
    autojump_clock: MockClock, peer: Peer, message: Any, content_type: str, body: bytes
) -> None:
    async with service_of(peer) as service:
        await service.send_to_all(message)
    assert peer.bodies == [body]
    assert peer.heads[0]["content-type"] == content_type
    assert peer.heads[0]["content-length"] == str(len(body))
    assert "transfer-encoding" not in peer.heads[0]


@pytest.mark.parametrize(
    ("message", "content_type", "sent_as", "body"),
    [
        ("hi", JSON, JSON, b'"hi"'),
        ({"a": 1}, JSON, JSON, b'{"a":1}'),
        ("hi", TEXT, TEXT, b"hi"),
        (b"{}", JSON, JSON, b"{}"),
        (b"hi", TEXT, TEXT, b"hi"),
        (io.StringIO("hi"), TEXT, TEXT, b"hi"),
        (io.BytesIO(b"[1]"), JSON, JSON, b"[1]"),
        (parts(), BINARY, BINARY, b"abc"),
        ("hü", "text/plain; charset=utf-8", "text/plain; charset=utf-8", "hü".encode()),
        ({}, 'Application/JSON;charset="UTF-8"', "application/json; charset=utf-8", b"{}"),
        (b"h\x00", "text/plain; charset=utf-16le", "text/plain; charset=utf-16le", b"h\x00"),
    ],
)
async def test_the_content_type_can_be_said(
    autojump_clock: MockClock, peer: Peer, message: Any, content_type: Any, sent_as: str, body: bytes
) -> None:
    async with service_of(peer) as service:
        await service.send_to_group("g", message, content_type=content_type)
    assert (peer.heads[0]["content-type"], peer.bodies[0]) == (sent_as, body)


def raising() -> Iterator[bytes]:
    yield b"a"
    raise LookupError("no more to be had")


@pytest.mark.parametrize(
    ("message", "options", "error"),
    [
        ("x" * (LIMIT + 1), {}, MessageTooLarge),
        (b"x" * (LIMIT + 1), {}, MessageTooLarge),
        (["x" * LIMIT], {}, MessageTooLarge),
        (array.array("Q", [0]) * LIMIT, {}, MessageTooLarge),
        (io.StringIO("é" * (LIMIT // 2 + 1)), {}, MessageTooLarge),
        (io.BytesIO(b"x" * (LIMIT + 1)), {}, MessageTooLarge),
        ((b"x" * 600_000 for _ in iter(int, 1)), {}, MessageTooLarge),
        (generated(*[b"x" * 600_000] * 9), {}, MessageTooLarge),
        (iter(["text"]), {}, TypeError),
        (generated(b"a", "text"), {}, TypeError),
        (range(3), {}, TypeError),
        (object(), {}, TypeError),
        ({1, 2, object()}, {}, TypeError),
        (raising(), {}, LookupError),
        (math.nan, {}, ValueError),
        ({"a": [math.inf]}, {}, ValueError),
        ("\ud800", {}, ValueError),
        ({"a": "\ud800"}, {}, ValueError),
        (io.StringIO("\ud800"), {}, ValueError),
        ({}, {"content_type": TEXT}, TypeError),
        (None, {"content_type": TEXT}, TypeError),
        ("text", {"content_type": BINARY}, TypeError),
        ({}, {"content_type": BINARY}, TypeError),
        ("text", {"content_type": "text/plain; charset=latin-1"}, ValueError),
        ("text", {"content_type": "text/html"}, ValueError),
        ("text", {"content_type": "text/plain\r\nx-evil: 1"}, ValueError),
        ("text", {"content_type": ""}, ValueError),
        ("text", {"content_type": 7}, TypeError),
        ("text", {"metadata": {"a": "b\r\nx-evil: 1"}}, ValueError),
        ("text", {"metadata": {"a": "only the last, part is read"}}, ValueError),
        ("text", {"metadata": {"a": " blanks "}}, ValueError),
        ("text", {"metadata": {"a b": "c"}}, ValueError),
        ("text", {"message_ttl_seconds": 301}, ValueError),
        ("text", {"message_ttl_seconds": 1.5}, TypeError),
        ("text", {"message_ttl_seconds": True}, TypeError),
        ("text", {"excluded": "one"}, TypeError),
        ("text", {"filter": " "}, ValueError),
        ("text", {"filter": ["userId eq 'a'"]}, TypeError),
    ],
)
async def test_nothing_wrong_is_sent(
    autojump_clock: MockClock, peer: Peer, message: Any, options: dict[str, Any], error: type[Exception]
) -> None:
    async with service_of(peer) as service:
        with pytest.raises(error):
            await service.send_to_all(message, **options)
    assert peer.connects == []


async def test_a_message_may_fill_the_limit(autojump_clock: MockClock, peer: Peer) -> None:
    async with service_of(peer) as service:
        await service.send_to_all(bytes(LIMIT))
        await service.send_to_all(io.BytesIO(bytes(LIMIT)))
    assert [len(body) for body in peer.bodies] == [LIMIT] * 2


async def test_files_and_memory_maps_are_sent(peer: Peer, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"what is\nin it")
    async with service_of(peer) as service:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            await service.send_to_all(mapped)
            await service.send_to_all(file)
        with path.open() as text:
            await service.send_to_all(text)
        async with await trio.open_file(path, "rb") as asynchronous:
            await service.send_to_all(asynchronous)
    assert peer.bodies == [b"what is\nin it"] * 4


async def test_an_array_of_objects_holds_no_bytes(autojump_clock: MockClock, peer: Peer) -> None:
    async with service_of(peer) as service:
        with pytest.raises(TypeError, match="holds Python objects"):
            await service.send_to_all((ctypes.py_object * 2)())
    assert peer.connects == []


async def test_a_call_with_a_wrong_name_reads_nothing(autojump_clock: MockClock, peer: Peer) -> None:
    file = io.BytesIO(b"still there")
    wrong: Any = {"exclude": ["c"]}
    async with service_of(peer) as service:
        with pytest.raises(TypeError, match="unexpected keyword argument 'exclude'"):
            await service.send_to_all(file, **wrong)
    assert file.read() == b"still there"


async def test_reading_a_message_can_be_cancelled(autojump_clock: MockClock, peer: Peer) -> None:
    closed = False

    async def slow() -> AsyncGenerator[bytes]:  # noqa: ASYNC900 - as above
        nonlocal closed
        try:
            while True:
                await trio.sleep(1)
                yield b"x"
        finally:
            closed = True

    async with service_of(peer) as service:
        with trio.move_on_after(5.5):
            await service.send_to_all(slow())
        with trio.move_on_after(0):
            await service.send_to_all(b"" for _ in iter(int, 1))
    assert trio.current_time() == 5.5
    assert closed
    assert peer.connects == []
