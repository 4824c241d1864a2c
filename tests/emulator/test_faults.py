"""What can be broken in an emulator while it runs, besides the cuts that test_emulator.py shows."""

from __future__ import annotations

from contextlib import ExitStack
from itertools import count

import httpx
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.emulator.peer import PLAIN, Peer, open_peer, raw_peer, recovery_url, rejection
from trio_webpubsub.emulator import Cut, Emulator, open_emulator

# Cuts in the middle of something


@pytest.mark.parametrize("how", ["reset", "eof"])
async def test_a_connection_can_be_cut_within_a_message(
    autojump_clock: MockClock, emulator: Emulator, how: Cut
) -> None:
    async with open_peer(emulator, groups=["lobby"]) as peer, open_peer(emulator, groups=["lobby"]) as other:
        emulator.cut(peer.connection_id, how, after_bytes=10)
        await other.ask(type="sendToGroup", group="lobby", dataType="text", data="a" * 50)
        assert (await peer.closed())[0] == 1006
        assert await other.ask(type="ping") == {"type": "pong"}
        async with raw_peer(emulator, recovery_url(emulator, peer)) as again:
            assert (await again.receive())["event"] == "connected"
            assert (await again.receive())["data"] == "a" * 50


async def test_what_was_to_come_before_the_cut_comes(autojump_clock: MockClock, emulator: Emulator) -> None:
    async with open_peer(emulator) as peer:
        pong = len('{"type":"pong"}') + 2
        emulator.cut(peer.connection_id, "eof", after_bytes=2 * pong)
        assert await peer.ask(type="ping") == {"type": "pong"}
        assert await peer.ask(type="ping") == {"type": "pong"}
        assert (await peer.closed())[0] == 1006


async def test_after_some_bytes_a_connection_can_fall_silent(autojump_clock: MockClock, emulator: Emulator) -> None:
    async with open_peer(emulator) as peer:
        emulator.cut(peer.connection_id, "silence", after_bytes=5)
        await peer.send(type="ping")
        with trio.move_on_after(15) as scope:
            await peer.receive()
        assert scope.cancelled_caught


async def test_all_connections_can_be_cut_after_some_bytes(autojump_clock: MockClock, emulator: Emulator) -> None:
    async with open_peer(emulator, "a") as first, open_peer(emulator, "b") as second:
        emulator.cut_all("eof", after_bytes=1)
        await first.send(type="ping")
        assert (await first.closed())[0] == 1006
        await second.send(type="ping")
        assert (await second.closed())[0] == 1006


async def test_no_bytes_are_taken_back(autojump_clock: MockClock, emulator: Emulator) -> None:
    async with open_peer(emulator) as peer:
        with pytest.raises(ValueError, match="-1"):
            emulator.cut(peer.connection_id, after_bytes=-1)
        with pytest.raises(ValueError, match="-1"):
            emulator.cut_all(after_bytes=-1)


# Slow links


async def test_a_slow_link_takes_its_time(autojump_clock: MockClock, emulator: Emulator) -> None:
    async with open_peer(emulator, groups=["lobby"]) as slow, open_peer(emulator, groups=["lobby"]) as fast:
        with emulator.slow_links(100, slow.connection_id):
            began = trio.current_time()
            await fast.send(type="sendToGroup", group="lobby", dataType="text", data="a" * 1000)
            await fast.receive()
            assert trio.current_time() == began
            await slow.receive()
            assert 10 <= trio.current_time() - began < 13
        began = trio.current_time()
        await slow.ask(type="ping")
        await slow.ask(type="ping")
        assert trio.current_time() - began < 3


async def test_what_a_client_sends_is_slow_too(autojump_clock: MockClock, emulator: Emulator) -> None:
    async with open_peer(emulator) as peer:
        with emulator.slow_links(50, peer.connection_id):
            began = trio.current_time()
            await peer.ask(type="sendToGroup", group="lobby", dataType="text", data="a" * 500, ackId=1)
            assert trio.current_time() - began >= 10


async def test_all_links_can_be_slow_new_ones_and_http_included(autojump_clock: MockClock, emulator: Emulator) -> None:
    async with open_peer(emulator) as old, httpx.AsyncClient(transport=emulator.http_transport) as client:
        with emulator.slow_links(200):
            began = trio.current_time()
            async with open_peer(emulator) as new:
                await new.ask(type="ping")
            assert trio.current_time() - began > 1
            for action in (lambda: old.ask(type="ping"), lambda: client.head(f"{emulator.endpoint}/api/health")):
                began = trio.current_time()
                await action()
                await action()
                assert trio.current_time() - began > 0.1
        began = trio.current_time()
        async with open_peer(emulator):
            pass
        assert trio.current_time() == began


async def test_of_several_speeds_the_slowest_counts(autojump_clock: MockClock, emulator: Emulator) -> None:
    async with open_peer(emulator) as one, open_peer(emulator) as other:

        async def seconds(peer: Peer) -> float:
            began = trio.current_time()
            await peer.ask(type="sendToGroup", group="g", dataType="text", data="a" * 930, ackId=next(ids))
            return trio.current_time() - began

        ids = count(1)
        with ExitStack() as first, ExitStack() as second, ExitStack() as third:
            first.enter_context(emulator.slow_links(1_000))
            second.enter_context(emulator.slow_links(100, one.connection_id))
            third.enter_context(emulator.slow_links(500, one.connection_id))
            assert (await seconds(one) > 9, 1 <= await seconds(other) < 2) == (True, True)
            second.close()
            assert (2 <= await seconds(one) < 4, 1 <= await seconds(other) < 2) == (True, True)
            first.close()
            assert (2 <= await seconds(one) < 4, await seconds(other)) == (True, 0)
        assert await seconds(one) == 0


async def test_what_was_slow_goes_on_at_once(autojump_clock: MockClock, emulator: Emulator) -> None:
    async with open_peer(emulator) as peer:
        with emulator.slow_links(0.001):
            await peer.send(type="ping")
            await trio.sleep(1)  # all but one byte of it wait
        with emulator.slow_links(10):
            await trio.sleep(3)  # the answer is on its way
        began = trio.current_time()
        await peer.receive()
        assert trio.current_time() == began


@pytest.mark.parametrize("speed", [0, -1, float("nan")])
async def test_a_slow_link_lets_something_through(autojump_clock: MockClock, emulator: Emulator, speed: float) -> None:
    with pytest.raises(ValueError, match="bytes_per_second is"), emulator.slow_links(speed):
        pass


# Handshakes


@pytest.mark.parametrize("status", [None, 500])
async def test_handshakes_can_be_stalled(autojump_clock: MockClock, emulator: Emulator, status: int | None) -> None:
    async with open_peer(emulator) as peer, trio.open_nursery() as nursery:
        answered: list[int] = []

        async def connect() -> None:
            answered.append(await rejection(emulator, emulator.client_url("chat")))

        with emulator.stall_connections(status):
            nursery.start_soon(connect)
            await trio.sleep(100)
            assert answered == []
            assert await peer.ask(type="ping") == {"type": "pong"}
        await wait_all_tasks_blocked()
        assert answered == [status or 101]


@pytest.mark.parametrize("status", [101, 399, 600])
async def test_stalled_handshakes_end_with_a_status_that_refuses(
    autojump_clock: MockClock, emulator: Emulator, status: int
) -> None:
    with pytest.raises(ValueError, match=str(status)), emulator.stall_connections(status):
        pass


# Acks


async def test_acks_can_be_held(autojump_clock: MockClock, emulator: Emulator) -> None:
    async with open_peer(emulator) as peer, open_peer(emulator) as other:
        with emulator.hold_acks(peer.connection_id):
            await peer.send(type="joinGroup", group="a", ackId=1)
            await peer.send(type="joinGroup", group="b", ackId=2)
            assert await peer.ask(type="ping") == {"type": "pong"}
            assert emulator.groups("chat") == {"a": [peer.connection_id], "b": [peer.connection_id]}
            assert (await other.ask(type="joinGroup", group="a", ackId=1))["ackId"] == 1
        assert [(await peer.receive())["ackId"] for _ in range(2)] == [1, 2]
        assert (await peer.ask(type="joinGroup", group="a", ackId=3))["ackId"] == 3


async def test_acks_can_be_lost(autojump_clock: MockClock, emulator: Emulator) -> None:
    async with open_peer(emulator) as peer, open_peer(emulator) as other:
        with emulator.lose_acks():
            await peer.send(type="joinGroup", group="a", ackId=1)
            assert await peer.ask(type="ping") == {"type": "pong"}
            await other.send(type="joinGroup", group="a", ackId=1)
            assert await other.ask(type="ping") == {"type": "pong"}
        assert (await peer.ask(type="joinGroup", group="a", ackId=1))["error"]["name"] == "Duplicate"


async def test_acks_can_be_repeated(autojump_clock: MockClock, emulator: Emulator) -> None:
    async with open_peer(emulator) as peer:
        with emulator.repeat_acks():
            first = await peer.ask(type="joinGroup", group="a", ackId=1)
            assert await peer.receive() == first
            assert await peer.ask(type="ping") == {"type": "pong"}


async def test_held_acks_do_not_move_to_another_websocket(autojump_clock: MockClock, emulator: Emulator) -> None:
    async with open_peer(emulator) as peer:
        with emulator.hold_acks(peer.connection_id):
            await peer.send(type="joinGroup", group="a", ackId=1)
            await peer.ask(type="ping")
            emulator.cut(peer.connection_id)
            await wait_all_tasks_blocked()
            async with raw_peer(emulator, recovery_url(emulator, peer)) as again:
                assert (await again.receive())["event"] == "connected"
                await again.send(type="joinGroup", group="a", ackId=2)
                assert await again.ask(type="ping") == {"type": "pong"}
        assert (await peer.closed())[0] == 1006


async def test_acks_of_nobody_are_a_lookup_error(autojump_clock: MockClock, emulator: Emulator) -> None:
    for fault in (emulator.hold_acks, emulator.lose_acks, emulator.repeat_acks):
        with pytest.raises(LookupError, match="no-such-id"), fault("no-such-id"):
            pass


# The service's memory


async def test_all_sessions_can_be_forgotten(autojump_clock: MockClock, emulator: Emulator) -> None:
    async with open_peer(emulator, "a") as first, open_peer(emulator, "b", user_id="ann", groups=["g"]) as second:
        emulator.forget_all_sessions()
        assert (await first.closed())[0] == (await second.closed())[0] == 1006
        assert (emulator.connections("b"), emulator.groups("b"), emulator.users("b")) == ([], {}, {})
        async with raw_peer(emulator, recovery_url(emulator, first, "a")) as again:
            assert (await again.closed())[0] == 1008


@pytest.mark.parametrize("keep_state", [True, False])
async def test_a_restart_breaks_every_connection_off(
    autojump_clock: MockClock, emulator: Emulator, keep_state: bool
) -> None:
    async with (
        open_peer(emulator, groups=["g"]) as reliable,
        open_peer(emulator, subprotocol=PLAIN, groups=["g"]) as plain,
        await emulator.connector("127.0.0.1", 1, None) as idle,
    ):
        await wait_all_tasks_blocked()
        with emulator.refuse_connections(None):
            emulator.restart(keep_state=keep_state)
            with pytest.raises(trio.BrokenResourceError):
                await idle.receive_some()
            assert (await reliable.closed())[0] == (await plain.closed())[0] == 1006
        await wait_all_tasks_blocked()
        assert emulator.groups("chat") == ({"g": [reliable.connection_id]} if keep_state else {})
        async with raw_peer(emulator, recovery_url(emulator, reliable)) as again:
            if keep_state:
                assert (await again.receive())["event"] == "connected"
            else:
                assert (await again.closed())[0] == 1008
        async with open_peer(emulator):
            pass


async def test_over_tcp_a_restart_resets() -> None:
    async with open_emulator() as emulator, open_peer(emulator) as peer:
        emulator.restart()
        assert (await peer.closed())[0] == 1006
        async with raw_peer(emulator, recovery_url(emulator, peer)) as again:
            assert (await again.receive())["event"] == "connected"


async def test_over_tcp_a_connection_can_be_cut_within_a_message() -> None:
    async with open_emulator() as emulator, open_peer(emulator, groups=["g"]) as peer:
        emulator.cut(peer.connection_id, "eof", after_bytes=10)
        await peer.send(type="sendToGroup", group="g", dataType="text", data="a" * 50)
        assert (await peer.closed())[0] == 1006


async def test_over_tcp_a_link_can_be_slow() -> None:
    async with open_emulator() as emulator, open_peer(emulator) as peer:
        with emulator.slow_links(1):
            await peer.send(type="ping")
            with trio.move_on_after(0.1) as scope:
                await peer.receive()
            assert scope.cancelled_caught
        assert await peer.receive() == {"type": "pong"}
