"""Peers that do harm, by intent or not: each costs bounded memory, ends its own connection at most, slows nobody."""

from __future__ import annotations

from contextlib import AsyncExitStack
from itertools import count

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.emulator.peer import PLAIN, RELIABLE, open_peer, raw_peer, recovery_url, rejection
from tests.listener.peers import read_all, statuses
from trio_webpubsub.emulator import Emulator, HubLimits, Limits, ReceivedMessage, open_emulator
from trio_webpubsub.protocol.frame_writer import encode_frame

MASK = b"\x01\x02\x03\x04"


@pytest.mark.parametrize("subprotocol", [PLAIN, RELIABLE])
async def test_who_does_not_read_is_cut_and_the_others_get_everything(
    autojump_clock: MockClock, subprotocol: str
) -> None:
    limits = HubLimits(queued_bytes=200_000, unacknowledged_bytes=200_000)
    async with (
        open_emulator(in_memory=True, limits=limits) as emulator,
        open_peer(emulator, subprotocol=PLAIN, groups=["g"]) as reader,
        open_peer(emulator, subprotocol=subprotocol, groups=["g"]) as slow,
        open_peer(emulator) as sender,
    ):
        for number in range(100):
            text = f"{number} {'x' * 10_000}"
            await sender.ask(type="sendToGroup", group="g", dataType="text", data=text, ackId=number)
            assert (await reader.receive())["data"] == text
        assert emulator.groups("chat") == {"g": [reader.connection_id]}
        # It gets what was on its way, and no more.
        assert (await slow.closed())[0] == 1006


async def test_a_client_that_gives_no_sign_of_life_is_cut(autojump_clock: MockClock) -> None:
    limits = Limits(ping_interval=5)
    async with (
        open_emulator(in_memory=True, listener_limits=limits) as emulator,
        open_peer(emulator, subprotocol=PLAIN, groups=["silent"]) as silent,
        open_peer(emulator, subprotocol=PLAIN, groups=["lively"]) as lively,
    ):
        emulator.cut(silent.connection_id, "silence")
        await trio.sleep(60)
        assert emulator.groups("chat") == {"lively": [lively.connection_id]}
        assert await lively.ask(type="ping") == {"type": "pong"}


async def test_connections_over_the_limit_are_refused(autojump_clock: MockClock) -> None:
    async with (
        open_emulator(in_memory=True, listener_limits=Limits(connections=2)) as emulator,
        open_peer(emulator) as first,
        open_peer(emulator),
    ):
        assert await rejection(emulator, emulator.client_url("chat")) == 503
        emulator.cut(first.connection_id)
        await wait_all_tasks_blocked()
        async with open_peer(emulator):
            pass


async def test_connections_of_a_hub_over_its_limit_are_refused(autojump_clock: MockClock) -> None:
    async with open_emulator(in_memory=True, limits=HubLimits(connections=1)) as emulator, open_peer(emulator):
        assert await rejection(emulator, emulator.client_url("chat")) == 429
        async with open_peer(emulator, "other"):
            pass


async def test_a_token_brings_a_client_into_so_many_groups(autojump_clock: MockClock) -> None:
    async with open_emulator(in_memory=True, limits=HubLimits(groups=1)) as emulator:
        assert await rejection(emulator, emulator.client_url("chat", groups=["a", "b"])) == 400
        async with open_peer(emulator, groups=["a"]) as peer:
            refused = await peer.ask(type="joinGroup", group="b", ackId=1)
            assert refused["error"]["name"] == "BadRequest"


async def test_a_crowd_of_idle_connections_slows_nobody(autojump_clock: MockClock, emulator: Emulator) -> None:
    async with AsyncExitStack() as stack, open_peer(emulator) as peer:
        for part in (
            b"",
            b"G",
            b"GET / HTTP/1.1\r\nHost: h\r\n",
            b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nx",
        ) * 50:
            stream = await stack.enter_async_context(await emulator.connector("127.0.0.1", 1, None))
            await stream.send_all(part)
        began = trio.current_time()
        assert await peer.ask(type="ping") == {"type": "pong"}
        assert trio.current_time() == began
        await trio.sleep(100)
        assert len(emulator._listener._connections) == 1  # all others have come to their deadlines
        assert await peer.ask(type="ping") == {"type": "pong"}


async def test_half_a_frame_holds_up_nobody_else(autojump_clock: MockClock, emulator: Emulator) -> None:
    frame = encode_frame(b'{"type":"joinGroup","group":"g","ackId":1}' + b" " * 100_000, mask_key=MASK)
    async with (
        raw_peer(emulator, emulator.client_url("chat"), [PLAIN]) as slow,
        open_peer(emulator) as peer,
    ):
        await slow.receive()
        for position in range(0, 20_000, 1_000):
            await slow.stream.send_all(frame[position : position + 1_000])
            await trio.sleep(0.5)
            assert await peer.ask(type="ping") == {"type": "pong"}
        await slow.stream.send_all(frame[20_000:])
        assert (await slow.receive())["success"]


async def test_a_flood_of_requests_leaves_room_for_others(autojump_clock: MockClock, emulator: Emulator) -> None:
    flood = b"HEAD /api/health HTTP/1.1\r\nHost: h\r\n\r\n" * 2_000
    async with await emulator.connector("127.0.0.1", 1, None) as stream, open_peer(emulator) as peer:
        assert isinstance(stream, trio.abc.HalfCloseableStream)
        answers: list[bytes] = []

        async def read() -> None:
            answers.append(await read_all(stream))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            nursery.start_soon(stream.send_all, flood)
            assert await peer.ask(type="ping") == {"type": "pong"}
            assert answers == []  # it goes on
            await wait_all_tasks_blocked()
            await stream.send_eof()
        assert statuses(answers[0]) == [200] * 2_000


async def test_a_flood_of_messages_leaves_room_for_others(autojump_clock: MockClock) -> None:
    flood = encode_frame(b'{"type":"ping"}', mask_key=MASK) * 3_000
    async with (
        open_emulator(in_memory=True, kept_messages=10_000) as emulator,
        raw_peer(emulator, emulator.client_url("chat"), [PLAIN]) as flooding,
        open_peer(emulator) as peer,
    ):
        await flooding.stream.send_all(flood)
        assert await peer.ask(type="ping") == {"type": "pong"}
        senders = [each.connection_id for each in emulator.received() if isinstance(each, ReceivedMessage)]
        assert senders.index(peer.connection_id) < 1_000


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (encode_frame(b"nonsense", mask_key=MASK), 1007),
        (encode_frame(b'{"type":"unheard-of"}', mask_key=MASK), 1007),
        (encode_frame(b"\xff", mask_key=MASK), 1007),
        (encode_frame(b"x" * 1_048_577, mask_key=MASK)[:20], 1009),
        (encode_frame(b"{}"), 1002),  # not masked
        (b"\xf1\x80" + MASK, 1002),  # reserved bits
        (b"\x83\x80" + MASK, 1002),  # reserved opcode
    ],
)
async def test_malformed_frames_end_their_own_connection_with_a_code(
    autojump_clock: MockClock, emulator: Emulator, frame: bytes, code: int
) -> None:
    async with (
        raw_peer(emulator, emulator.client_url("chat"), [PLAIN]) as bad,
        open_peer(emulator, subprotocol=PLAIN) as peer,
        trio.open_nursery() as nursery,
    ):
        await bad.receive()
        nursery.start_soon(bad.stream.send_all, frame)
        assert (await bad.closed())[0] == code
        assert await peer.ask(type="ping") == {"type": "pong"}
        nursery.cancel_scope.cancel()


async def test_all_who_do_not_read_are_bounded_together(autojump_clock: MockClock) -> None:
    limits = HubLimits(queued_bytes=400_000, all_queued_bytes=500_000)
    async with (
        open_emulator(in_memory=True, limits=limits) as emulator,
        open_peer(emulator, subprotocol=PLAIN, groups=["some", "all"]) as greedy,
        open_peer(emulator, subprotocol=PLAIN, groups=["all"]) as slow,
        open_peer(emulator, subprotocol=PLAIN, groups=["all"]) as reader,
        open_peer(emulator) as sender,
    ):

        async def send(group: str, count: int) -> None:
            for _ in range(count):
                await sender.ask(type="sendToGroup", group=group, dataType="text", data="x" * 10_000, ackId=next(ids))
                if group == "all":
                    await reader.receive()

        ids = count(1)
        await send("some", 20)
        await send("all", 20)  # with what is on its way, that is some 330,000 bytes for one and 130,000 for the other
        assert len(emulator.groups("chat")["all"]) == 3
        await send("all", 10)
        assert emulator.groups("chat") == {"all": [slow.connection_id, reader.connection_id]}
        assert (await greedy.closed())[0] == 1006
        for _ in range(30):
            await slow.receive()  # and goes on


async def test_what_was_read_makes_room_for_others(autojump_clock: MockClock) -> None:
    limits = HubLimits(queued_bytes=400_000, all_queued_bytes=500_000)
    async with (
        open_emulator(in_memory=True, limits=limits) as emulator,
        open_peer(emulator, subprotocol=PLAIN, groups=["first"]) as first,
        open_peer(emulator, subprotocol=PLAIN, groups=["second"]) as second,
        open_peer(emulator) as sender,
    ):
        for group, peer in ("first", first), ("second", second), ("first", first):
            for _ in range(40):
                await sender.send(type="sendToGroup", group=group, dataType="text", data="x" * 10_000)
            await sender.ask(type="ping")
            for _ in range(40):
                await peer.receive()
        assert len(emulator.connections("chat")) == 3


async def test_nothing_is_left_of_a_crowd_that_came_was_cut_came_back_and_left(
    autojump_clock: MockClock, emulator: Emulator
) -> None:
    before = trio.lowlevel.current_statistics().tasks_living
    async with open_peer(emulator) as sender, AsyncExitStack() as stack:
        crowd = [await stack.enter_async_context(open_peer(emulator, groups=["g"])) for _ in range(60)]
        await sender.ask(type="sendToGroup", group="g", dataType="text", data="together", ackId=1)
        for peer in crowd:
            assert (await peer.receive())["data"] == "together"
        for number, peer in enumerate(crowd):
            emulator.cut(peer.connection_id, ("reset", "eof", "silence")[number % 3])
        await sender.ask(type="sendToGroup", group="g", dataType="text", data="apart", ackId=2)
        for number, old in enumerate(crowd):
            peer = await stack.enter_async_context(raw_peer(emulator, recovery_url(emulator, old)))
            assert (await peer.receive())["connectionId"] == old.connection_id
            if number % 2:
                assert (await peer.receive())["data"] == "together"  # it was not confirmed
                assert (await peer.receive())["data"] == "apart"
                await peer.websocket.aclose(1000)
    await trio.sleep(31)  # the window of those who left without a word
    assert emulator.connections("chat") == []
    assert emulator.groups("chat") == {}
    assert emulator._switchboard.links == {}
    assert len(emulator._listener._connections) == 0
    assert trio.lowlevel.current_statistics().tasks_living == before
