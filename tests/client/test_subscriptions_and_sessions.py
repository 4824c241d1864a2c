"""Subscriptions beside a session that comes, goes and is followed by another: gaps, joins, leaves, what came early."""

from __future__ import annotations

import contextlib

import pytest
import trio
import trio_websocket
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_webpubsub import (
    Gap,
    SendFailed,
    open_client,
)

from .raw_service import URL, Peer, RawService, entered

# Gaps


async def test_a_lost_session_is_a_gap_at_the_exact_place(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()
        async with client.messages(gaps=True) as messages, client.messages() as plain:
            await peer.message(1, "old")
            await wait_all_tasks_blocked()
            await peer.websocket.aclose(1008)
            peer = await service.next()
            await peer.message(1, "new")
            got = [await messages.receive() for _ in range(3)]
            assert [each if isinstance(each, Gap) else each.data for each in got] == [
                "old",
                Gap(session_lost=True),
                "new",
            ]
            assert [(await plain.receive()).data for _ in range(2)] == ["old", "new"]


async def test_a_recovered_session_is_no_gap(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector) as client, client.messages(gaps=True) as messages:
        peer = await service.next()
        await peer.message(1, 1)
        peer.cut()
        peer = await service.next()
        await peer.message(1, 1)
        await peer.message(2, 2)
        got = [await messages.receive() for _ in range(2)]
        assert not any(isinstance(each, Gap) for each in got)


async def test_unreadable_frames_are_one_gap(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector) as client, client.messages(gaps=True) as messages:
        peer = await service.next()
        await peer.websocket.send_message("{")
        await peer.websocket.send_message("{")
        await peer.message(1, "fine")
        assert await messages.receive() == Gap(unreadable=2)


# Subscriptions at their edges


async def test_what_came_early_does_not_overflow_a_small_buffer(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()
        for number in range(1, 31):
            await peer.message(number, str(number), group=None)
        await wait_all_tasks_blocked()
        async with client.server_messages(buffer=10) as messages:
            await peer.message(31, "31", group=None)
            await wait_all_tasks_blocked()
            assert [(await messages.receive()).data for _ in range(31)] == [str(number) for number in range(1, 32)]


async def test_what_came_early_follows_the_policy_where_messages_may_be_dropped(
    autojump_clock: MockClock, service: RawService
) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()
        for number in range(1, 31):
            await peer.message(number, str(number), group=None)
        await wait_all_tasks_blocked()
        async with client.server_messages(buffer=2, overflow="drop_oldest", gaps=True) as messages:
            assert await messages.receive() == Gap(overflowed=28)
            assert messages.statistics().buffered == 2


async def test_dropped_messages_stay_counted(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()
        async with client.messages(buffer=1, overflow="drop_newest"), client.messages(buffer=3, overflow="drop_oldest"):
            for number in range(1, 11):
                await peer.message(number)
            await wait_all_tasks_blocked()
            assert client.statistics().dropped == 9 + 7
        assert client.statistics().dropped == 9 + 7


async def test_a_refused_join_is_not_followed_by_a_leave(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def refuse() -> None:
                await peer.ack(await peer.expect("joinGroup"), "Forbidden")

            messages = client.group_messages("g")
            with pytest.raises(SendFailed, match="Forbidden"):
                await messages.receive()
        with pytest.raises(trio.ClosedResourceError):
            await messages.receive()
        with trio.move_on_after(10) as scope:
            await peer.receive()
        assert scope.cancelled_caught  # a leave could end a membership that came from elsewhere


async def test_before_the_join_there_is_nothing_to_take(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()
        messages = client.group_messages("g")
        with pytest.raises(trio.WouldBlock):
            messages.receive_nowait()
        await entered(peer, messages)
        await peer.message(1, "hi")
        await wait_all_tasks_blocked()
        assert messages.receive_nowait().data == "hi"
        messages.close()
        with pytest.raises(trio.ClosedResourceError):
            messages.receive_nowait()


async def test_two_subscriptions_to_a_group_each_get_all_and_the_last_one_leaves(
    autojump_clock: MockClock, service: RawService
) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()
        first = await entered(peer, client.group_messages("g"))
        second = await entered(peer, client.group_messages("g"))
        await peer.message(1, "hi")
        assert (await first.receive()).data == (await second.receive()).data == "hi"
        first.close()
        with pytest.raises(RuntimeError, match="holds group"):
            await client.leave_group("g")
        with trio.move_on_after(10) as scope:
            await peer.expect("leaveGroup")
        assert scope.cancelled_caught
        second.close()
        await peer.answer("leaveGroup")


async def test_a_group_joined_explicitly_outlasts_its_subscriptions(
    autojump_clock: MockClock, service: RawService
) -> None:
    async with open_client(URL, connector=service.connector) as client, trio.open_nursery() as nursery:
        peer = await service.next()
        nursery.start_soon(peer.answer, "joinGroup")
        await client.join_group("g")
        (await entered(peer, client.group_messages("g"))).close()
        nursery.start_soon(peer.answer, "leaveGroup")
        await client.leave_group("g")
        with trio.move_on_after(10) as scope:
            await peer.receive()
        assert scope.cancelled_caught


async def test_leaving_the_block_sends_no_leaves(
    autojump_clock: MockClock, service: RawService, nursery: trio.Nursery
) -> None:
    heard: list[str] = []

    async def listen(peer: Peer) -> None:
        with contextlib.suppress(trio_websocket.ConnectionClosed):
            while True:
                heard.append((await peer.receive())["type"])

    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()
        messages = await entered(peer, client.group_messages("g"))
        nursery.start_soon(listen, peer)
    messages.close()
    assert heard == []


async def test_gaps_among_what_came_before_anybody_asked(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()
        await peer.message(1, "first")
        for _ in range(2):  # two in a row are one
            await peer.websocket.send_message("unreadable")
        await peer.message(2, "second")
        await wait_all_tasks_blocked()
        messages = client.messages(gaps=True)
        got = [await messages.receive() for _ in range(3)]
    assert [each if isinstance(each, Gap) else each.data for each in got] == ["first", Gap(unreadable=2), "second"]


async def test_a_gap_goes_with_what_was_held_before_it(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()
        await peer.message(1, "forgotten")
        await peer.websocket.send_message("unreadable")
        for number in range(2, 1002):
            await peer.message(number)
        await wait_all_tasks_blocked()
        messages = client.messages(gaps=True)
        assert client.statistics().unrouted == 1
        first = await messages.receive()
        assert not isinstance(first, Gap)
        assert first.sequence_id == 2
