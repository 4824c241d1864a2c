"""Spoiled requests, handshakes and frames to an emulator: none harms anything but its own connection."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from random import Random
from urllib.parse import urlsplit

import pytest
import trio
from trio.testing import MockClock

from tests.emulator.peer import Peer, open_peer
from tests.fuzz.corpus import kept
from tests.fuzz.mutations import JUNK, ROUNDS, spoiled
from trio_webpubsub._shell.clock import wall_time
from trio_webpubsub.emulator import DEFAULT_ACCESS_KEY, Emulator, open_emulator
from trio_webpubsub.protocol import operations, wire
from trio_webpubsub.protocol.frame_reader import FrameReader
from trio_webpubsub.protocol.frame_writer import encode_close, encode_frame
from trio_webpubsub.protocol.operations import Operation
from trio_webpubsub.protocol.subprotocols import SUBPROTOCOLS, codec_for
from trio_webpubsub.protocol.tokens import request_token

SHARE = ROUNDS // 4
"""Each of the four kinds of input gets a part of the rounds."""
MASK = b"\x01\x02\x03\x04"
BATCH = 50
"""Rounds that run at once, between two looks at the witness."""

OPERATIONS = [
    operations.send_to_all("chat", {"a": "ü"}, excluded=["c-1"], filter="userId eq 'ann' and length(groups) gt 1"),
    operations.send_to_group("chat", "lobby", "text", message_ttl_seconds=10),
    operations.send_to_user("chat", "ann", b"\x00\xff"),
    operations.send_to_connection("chat", "c-1", None),
    operations.connection_exists("chat", "c-1"),
    operations.group_exists("chat", "lobby"),
    operations.user_exists("chat", "ann"),
    operations.close_connection("chat", "c-1", reason="r"),
    operations.close_all_connections("chat", excluded=["c-1"], reason="r r"),
    operations.close_group_connections("chat", "lobby"),
    operations.close_user_connections("chat", "ann"),
    operations.list_connections("chat", "lobby", limit=3, page_size=2),
    operations.add_connection_to_group("chat", "lobby", "c-1"),
    operations.remove_connection_from_group("chat", "lobby", "c-1"),
    operations.remove_connection_from_all_groups("chat", "c-1"),
    operations.add_user_to_group("chat", "lobby", "ann"),
    operations.remove_user_from_group("chat", "lobby", "ann"),
    operations.remove_user_from_all_groups("chat", "ann"),
    operations.add_connections_to_groups("chat", ["a", "b"], filter="userId in ('ann','bo') or 'g' in groups"),
    operations.remove_connections_from_groups("chat", ["a"], filter="not (startswith(userId,'x'))"),
    operations.grant_permission("chat", "sendToGroup", "c-1", target_name="g"),
    operations.revoke_permission("chat", "joinLeaveGroup", "c-1", target_name="g"),
    operations.has_permission("chat", "sendToGroup", "c-1", target_name="g"),
    operations.health(),
    operations.generate_client_token("chat", user_id="ann", roles=["r"], groups=["g"]),
]
STATUSES = {101, 200, 202, 204, 400, 401, 403, 404, 405, 408, 409, 413, 415, 426, 431, 501, 505}

MESSAGES: list[wire.Upstream] = [
    wire.JoinGroup("lobby", 1),
    wire.LeaveGroup("lobby", 2),
    wire.SendToGroup(group="lobby", payload=wire.Payload("json", b'{"a":[1,null]}'), ack_id=3, no_echo=True),
    wire.SendToGroup(group="lobby", payload=wire.Payload("binary", b"\x00\xff"), metadata={"a": "b"}, ttl_seconds=3),
    wire.SendEvent(event="order", payload=wire.Payload("text", "ü".encode()), ack_id=4),
    wire.Invoke(invocation_id="i", event="order", payload=wire.Payload("json", b"1")),
    wire.CancelInvocation("i"),
    wire.SequenceAck(1),
    wire.Ping(),
]
CODES = {1000, 1001, 1002, 1003, 1005, 1007, 1008, 1009, 1011, *range(3000, 5000)}
"""The last ones are the client's own, sent back."""


@pytest.fixture
async def emulator(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> AsyncGenerator[Emulator]:
    """An emulator that has to be as it was in the end: nobody left, no task, nothing that went wrong."""
    caplog.set_level(logging.ERROR)
    async with open_emulator(in_memory=True) as emulator:
        await trio.testing.wait_all_tasks_blocked()
        tasks = trio.lowlevel.current_statistics().tasks_living
        yield emulator
        await trio.sleep(100)  # sessions and silent connections have come to their end by then
        assert emulator.connections("chat") == []
        assert not emulator._listener._connections
        assert trio.lowlevel.current_statistics().tasks_living <= tasks
    assert [record.getMessage() for record in caplog.records] == []


@asynccontextmanager
async def open_witness(emulator: Emulator) -> AsyncGenerator[Peer]:
    """A client of another hub, who must not feel any of it."""
    async with open_peer(emulator, "other", groups=["g"]) as witness:
        yield witness
        await check(witness)


async def check(witness: Peer) -> None:
    with trio.fail_after(1):
        await witness.send(type="sendToGroup", group="g", dataType="text", data="hi")
        message = await witness.receive()
        assert message["data"] == "hi"
        await witness.send(type="sequenceAck", sequenceId=message["sequenceId"])


def request(operation: Operation, random: Random, change: Callable[[bytes], bytes]) -> bytes:
    """Write a request, with its parts changed and then signed, so that they are looked at."""
    target = change(operation.target().encode()).decode("latin-1")
    headers = [f"{name}: {value}".encode() for name, value in operation.headers]
    token = request_token(DEFAULT_ACCESS_KEY, url=f"http://127.0.0.1:1{target}", now=wall_time())
    body = change(operation.body or b"")
    head = [
        f"{operation.method} {target} HTTP/1.1".encode("latin-1"),
        b"Host: 127.0.0.1:1",
        f"Authorization: Bearer {token}".encode(),
        b"Content-Length: %d" % len(body),
        *(change(header) if random.random() < 0.1 else header for header in headers),
    ]
    return b"\r\n".join([*head, b"", body])


def handshake(emulator: Emulator, subprotocol: str, change: Callable[[bytes], bytes] = lambda part: part) -> bytes:
    """Write the head of a handshake, with its parts changed."""
    url = urlsplit(emulator.client_url("chat", user_id="ann", groups=["lobby"]))
    lines = [
        f"GET {url.path}?{url.query} HTTP/1.1",
        f"Host: {url.netloc}",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        f"Sec-WebSocket-Protocol: {subprotocol}",
    ]
    return b"\r\n".join([*(change(line.encode()) for line in lines), b"", b""])


async def exchange(emulator: Emulator, data: bytes, random: Random) -> bytes:
    """Send something in two pieces, and give all that comes back."""
    received = bytearray()
    async with await emulator.connector("127.0.0.1", 1, None) as stream:
        assert isinstance(stream, trio.abc.HalfCloseableStream)

        async def read() -> None:
            with suppress(trio.BrokenResourceError):
                while chunk := await stream.receive_some():
                    received.extend(chunk)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            cut = random.randrange(len(data) + 1)
            with suppress(trio.BrokenResourceError):
                await stream.send_all(data[:cut])
                await stream.send_all(data[cut:])
                await stream.send_eof()
    return bytes(received)


async def exchange_all(
    emulator: Emulator, random: Random, make: Callable[[], bytes], look: Callable[[bytes], None]
) -> None:
    """Exchange many, some at a time, beside a witness."""

    async def once() -> None:
        look(await exchange(emulator, make(), random))

    async with open_witness(emulator) as witness:
        for _ in range(SHARE // BATCH):
            with trio.fail_after(600):
                async with trio.open_nursery() as nursery:
                    for _ in range(BATCH):
                        nursery.start_soon(once)
            await check(witness)


def statuses(answer: bytes) -> Iterator[int]:
    for part in answer.split(b"HTTP/1.1 ")[1:]:
        yield int(part[:3])


def changer(random: Random, chance: float) -> Callable[[bytes], bytes]:
    return lambda part: spoiled(part, random) if random.random() < chance else part


async def test_what_is_kept(emulator: Emulator, autojump_clock: MockClock) -> None:
    random = Random(0)
    async with open_witness(emulator):
        for request in kept("http"):
            assert set(statuses(await exchange(emulator, request, random))) <= STATUSES
        for subprotocol in SUBPROTOCOLS:
            for frames in kept("websocket"):
                look_at_frames(await exchange(emulator, handshake(emulator, subprotocol) + frames, random))


async def test_requests_with_spoiled_parts(autojump_clock: MockClock, emulator: Emulator) -> None:
    random, seen = Random(1), set[int]()

    def look(answer: bytes) -> None:
        found = list(statuses(answer))
        assert set(found) <= STATUSES - {101}
        seen.update(found)

    def make() -> bytes:
        return request(random.choice(OPERATIONS), random, changer(random, 0.4))

    await exchange_all(emulator, random, make, look)
    assert seen >= {200, 202, 204, 400, 401, 404}


async def test_requests_and_handshakes_with_spoiled_bytes(autojump_clock: MockClock, emulator: Emulator) -> None:
    random, seen = Random(2), set[int]()

    def look(answer: bytes) -> None:
        found = list(statuses(answer))
        assert set(found) <= STATUSES
        seen.update(found)

    def make() -> bytes:
        choice = random.randrange(3)
        if choice == 0:
            return handshake(emulator, random.choice([*SUBPROTOCOLS, "x"]), changer(random, 0.15))
        data = request(random.choice(OPERATIONS), random, lambda part: part)
        for _ in range(random.randrange(1, 4)):
            data = spoiled(data, random)
        return data

    await exchange_all(emulator, random, make, look)
    assert seen >= {101, 400, 401}


def look_at_frames(answer: bytes) -> int | None:
    """Check that a WebSocket was opened, spoke well and, if so, was closed with a documented code; give that."""
    head, _, frames = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 ")
    reader = FrameReader(masked=False, max_message_size=100_000)
    reader.feed(frames)
    assert reader.violation is None
    if reader.close is None:
        return None
    assert reader.close.code in CODES
    return reader.close.code


async def test_messages_with_spoiled_contents(autojump_clock: MockClock, emulator: Emulator) -> None:
    random, seen = Random(3), set[int | None]()

    def make() -> bytes:
        subprotocol = random.choice([*SUBPROTOCOLS, "x"])
        codec = codec_for(subprotocol if subprotocol != "x" else random.choice(list(SUBPROTOCOLS)))
        frames = [handshake(emulator, subprotocol)]
        for _ in range(random.randrange(1, 6)):
            payload = changer(random, 0.4)(codec.encode_upstream(random.choice(MESSAGES)))
            binary = codec.binary != (random.random() < 0.05)
            with suppress(UnicodeDecodeError):
                payload = payload if binary else payload.decode().encode()
                frames.append(encode_frame(payload, binary=binary, mask_key=MASK))
        if random.random() < 0.5:
            frames.append(encode_close(1000, mask_key=MASK))
        return b"".join(frames)

    await exchange_all(emulator, random, make, lambda answer: seen.add(look_at_frames(answer)))
    assert seen >= {None, 1000, 1003, 1007, 1011}


async def test_frames_with_spoiled_bytes(autojump_clock: MockClock, emulator: Emulator) -> None:
    random, seen = Random(4), set[int | None]()

    def make() -> bytes:
        codec = codec_for(random.choice(list(SUBPROTOCOLS)))
        frames = b"".join(
            encode_frame(codec.encode_upstream(random.choice(MESSAGES)), binary=codec.binary, mask_key=MASK)
            for _ in range(random.randrange(1, 6))
        )
        frames += random.choice([b"", encode_close(1000, mask_key=MASK), encode_close(4000, "why", mask_key=MASK)])
        for _ in range(random.randrange(1, 4)):
            frames = spoiled(frames, random)
        if random.random() < 0.1:
            frames += random.choice(JUNK)
        return handshake(emulator, codec.subprotocol) + frames

    await exchange_all(emulator, random, make, lambda answer: seen.add(look_at_frames(answer)))
    assert seen >= {None, 1000, 1002, 1007}
