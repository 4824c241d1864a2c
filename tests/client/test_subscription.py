"""The hand-over to subscribers: buffers, overflow, routing, ends, and the polite pause."""

from __future__ import annotations

import gc

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_webpubsub import (
    ClientStopped,
    Connected,
    Disconnected,
    Gap,
    GroupMessage,
    ServerMessage,
    SubscriptionOverflow,
)
from trio_webpubsub.client.route import CROWDED, Overflow, Route
from trio_webpubsub.client.router import MAX_HELD_MESSAGES, Feed, Fragments, Key, Router
from trio_webpubsub.client.subscription import Subscription


def route(buffer: int = 10, overflow: Overflow = "error") -> Route[int]:
    return Route(buffer=buffer, overflow=overflow, max_bytes=100)


def group_message(data: int, group: str = "g") -> GroupMessage:
    return GroupMessage(group=group, data=data)


async def drain(route: Route[int]) -> list[int]:
    taken: list[int] = []
    while True:
        try:
            taken.append(route.receive_nowait())
        except (trio.WouldBlock, trio.EndOfChannel):
            return taken


async def test_messages_come_in_order() -> None:
    channel = route()
    for number in range(5):
        channel.deliver(number, 1)
    assert [await channel.receive() for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(trio.WouldBlock):
        channel.receive_nowait()


async def test_a_waiting_task_gets_what_comes(autojump_clock: MockClock) -> None:
    channel = route()
    async with trio.open_nursery() as nursery:

        async def take() -> None:
            assert await channel.receive() == 7

        nursery.start_soon(take)
        await wait_all_tasks_blocked()
        channel.deliver(7, 1)


async def test_several_tasks_share_without_loss(autojump_clock: MockClock) -> None:
    channel = route(1000)
    taken: list[int] = []
    async with trio.open_nursery() as nursery:

        async def take() -> None:
            with pytest.raises(trio.EndOfChannel):
                while True:
                    taken.append(await channel.receive())

        for _ in range(3):
            nursery.start_soon(take)
        for number in range(50):
            channel.deliver(number, 1)
            if number % 7 == 0:
                await trio.lowlevel.checkpoint()
        channel.end()
    assert sorted(taken) == list(range(50))


async def test_cancelling_a_waiting_task_loses_nothing(autojump_clock: MockClock) -> None:
    channel = route()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(channel.receive)
        await wait_all_tasks_blocked()
        channel.deliver(1, 1)
        nursery.cancel_scope.cancel()
    channel.deliver(2, 1)
    # The first was handed to the task before it was cancelled, or is still here.
    assert await drain(channel) in ([1, 2], [2])


async def test_taking_what_is_there_checks_for_cancellation() -> None:
    channel = route()
    channel.deliver(1, 1)
    with trio.CancelScope() as scope:
        scope.cancel()
        await channel.receive()
    assert scope.cancelled_caught
    assert await channel.receive() == 1


async def test_taking_what_is_there_lets_others_run_now_and_then() -> None:
    channel = Route[int](buffer=1000, overflow="error")
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(count)
        for number in range(640):
            channel.deliver(number, 1)
        for _ in range(640):
            await channel.receive()
        nursery.cancel_scope.cancel()
    assert turns >= 8


async def test_overflow_ends_the_subscription_after_what_fitted() -> None:
    channel = route(2)
    for number in range(4):
        channel.deliver(number, 1)
    assert [await channel.receive(), await channel.receive()] == [0, 1]
    with pytest.raises(SubscriptionOverflow) as caught:
        await channel.receive()
    assert caught.value.dropped == 2


async def test_overflow_may_drop_the_oldest() -> None:
    channel = route(2, "drop_oldest")
    for number in range(4):
        channel.deliver(number, 1)
    assert await drain(channel) == [2, 3]
    assert channel.dropped == 2


async def test_overflow_may_drop_the_newest() -> None:
    channel = route(2, "drop_newest")
    for number in range(4):
        channel.deliver(number, 1)
    assert await drain(channel) == [0, 1]
    assert channel.dropped == 2


async def test_bytes_overflow_too() -> None:
    channel = route(10, "drop_oldest")
    for number in range(3):
        channel.deliver(number, 60)
    assert await drain(channel) == [2]


async def test_large_messages_push_out_as_many_as_it_takes() -> None:
    channel = route(10, "drop_oldest")
    for number in range(5):
        channel.deliver(number, 20)
    channel.deliver(5, 90)
    assert await drain(channel) == [5]
    assert channel.dropped == 5


async def test_a_message_larger_than_the_whole_buffer_is_dropped() -> None:
    channel = route(10, "drop_oldest")
    channel.deliver(1, 10)
    channel.deliver(2, 1000)
    channel.deliver(3, 10)
    assert await drain(channel) == [1, 3]


async def test_messages_that_fit_are_taken_in_one_go() -> None:
    channel = route(10)
    assert channel.deliver_all([1, 2, 3], [30, 30, 40]) == 3
    assert channel.statistics().buffered_bytes == 100
    assert await drain(channel) == [1, 2, 3]


@pytest.mark.parametrize(("overflow", "left"), [("error", [1, 2]), ("drop_oldest", [3, 4]), ("drop_newest", [1, 2])])
async def test_of_messages_that_do_not_all_fit_each_is_judged_by_itself(overflow: Overflow, left: list[int]) -> None:
    channel = route(2, overflow)
    assert channel.deliver_all([1, 2, 3, 4], [1, 1, 1, 1]) == 2
    assert channel.take_all() == left
    assert channel.dropped == 2


async def test_messages_that_come_together_wake_as_many_tasks(autojump_clock: MockClock) -> None:
    channel = route()
    taken: list[int] = []

    async def take() -> None:
        taken.append(await channel.receive())

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(take)
        await wait_all_tasks_blocked()
        channel.deliver_all([1, 2, 3], [1, 1, 1])
    assert sorted(taken) == [1, 2, 3]


def gapped(buffer: int, overflow: Overflow) -> Route[int | Gap]:
    return Route(buffer=buffer, overflow=overflow, gaps=True, max_bytes=100)


async def drain_gapped(route: Route[int | Gap]) -> list[int | Gap]:
    taken: list[int | Gap] = []
    while True:
        try:
            taken.append(route.receive_nowait())
        except (trio.WouldBlock, trio.EndOfChannel):
            return taken


async def test_dropping_the_oldest_leaves_a_gap_in_their_place() -> None:
    channel = gapped(2, "drop_oldest")
    for number in range(5):
        channel.deliver(number, 1)
    assert await drain_gapped(channel) == [Gap(overflowed=3), 3, 4]


async def test_dropping_the_newest_leaves_a_gap_in_their_place() -> None:
    channel = gapped(2, "drop_newest")
    for number in range(4):
        channel.deliver(number, 1)
    assert await drain_gapped(channel) == [0, 1, Gap(overflowed=2)]


async def test_neighbouring_gaps_are_one() -> None:
    channel = gapped(1, "drop_oldest")
    channel.deliver(0, 1)
    channel.gap(Gap(session_lost=True))
    channel.gap(Gap(unreadable=1))
    channel.deliver(1, 1)
    assert await drain_gapped(channel) == [Gap(session_lost=True, unreadable=1, overflowed=1), 1]


async def test_a_gap_wakes_a_waiting_task(autojump_clock: MockClock) -> None:
    channel = gapped(1, "error")
    async with trio.open_nursery() as nursery:

        async def take() -> None:
            assert await channel.receive() == Gap(session_lost=True)

        nursery.start_soon(take)
        await wait_all_tasks_blocked()
        channel.gap(Gap(session_lost=True))


async def test_an_ended_route_takes_no_gap() -> None:
    channel = gapped(1, "error")
    channel.end()
    channel.gap(Gap(session_lost=True))
    assert await drain_gapped(channel) == []


async def test_an_ended_route_is_drained_then_ends() -> None:
    channel = route()
    channel.deliver(1, 1)
    channel.end(lambda: ClientStopped("gone"))
    channel.end()  # the first end counts
    channel.deliver(2, 1)
    assert await channel.receive() == 1
    with pytest.raises(ClientStopped):
        await channel.receive()
    with pytest.raises(ClientStopped):
        channel.receive_nowait()


async def test_closing_wakes_waiting_tasks(autojump_clock: MockClock) -> None:
    channel = route()
    async with trio.open_nursery() as nursery:

        async def take() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await channel.receive()

        nursery.start_soon(take)
        await wait_all_tasks_blocked()
        channel.close()


# Routing


async def test_a_message_goes_to_every_route_that_matches() -> None:
    router = Router()
    keys: list[Key] = ["g", "g", Feed.EVERY_GROUP, Feed.EVERYTHING]
    routes = [Route[GroupMessage](buffer=10, overflow="error") for _ in keys]
    for key, each in zip(keys, routes, strict=True):
        router.add(key, each)
    others = [Route[GroupMessage](buffer=10, overflow="error") for _ in range(2)]
    router.add("other", others[0])
    router.add(Feed.SERVER, others[1])
    router.messages([group_message(1)], [1])
    assert [len(each) for each in routes] == [1, 1, 1, 1]
    assert [len(each) for each in others] == [0, 0]


async def test_messages_that_came_together_go_where_each_belongs() -> None:
    router = Router()
    keys: list[Key] = ["a", "b", Feed.SERVER, Feed.EVERYTHING]
    routes = [Route[GroupMessage | ServerMessage](buffer=10, overflow="error") for _ in keys]
    for key, each in zip(keys, routes, strict=True):
        router.add(key, each)
    for_a, for_b = [group_message(number, "a") for number in (1, 2, 5)], group_message(4, "b")
    router.messages([*for_a[:2], ServerMessage(data=3), for_b, for_a[2]], [1, 2, 3, 4, 5])
    assert [[message.data for message in each.take_all()] for each in routes] == [[1, 2, 5], [4], [3], [1, 2, 3, 4, 5]]


async def test_server_messages_go_to_their_routes() -> None:
    router = Router()
    server, everything, group = (Route[ServerMessage](buffer=10, overflow="error") for _ in range(3))
    router.add(Feed.SERVER, server)
    router.add(Feed.EVERYTHING, everything)
    router.add(Feed.EVERY_GROUP, group)
    router.messages([ServerMessage(data=1)], [1])
    assert (len(server), len(everything), len(group)) == (1, 1, 0)


async def test_a_route_for_messages_and_fragments_is_told_of_a_gap_once() -> None:
    router = Router()
    router.inherit({})
    router.gap(Gap(unreadable=1))
    both = Route[GroupMessage | Gap](buffer=10, overflow="error", gaps=True)
    router.add("g", both, Fragments("g"))
    router.messages([group_message(1)], [1])
    router.gap(Gap(unreadable=2))
    assert both.take_all() == [Gap(unreadable=1), group_message(1), Gap(unreadable=2)]


async def test_what_a_route_for_messages_and_fragments_leaves_is_handed_over_once() -> None:
    router = Router()
    router.add("g", Route[GroupMessage](buffer=1, overflow="error"), Fragments("g"))
    router.messages([group_message(1), group_message(2)], [1, 1])
    assert router.take_unread() == {"held": [], "group g": [group_message(1), Gap(overflowed=1)], "streams g": []}


async def test_what_a_route_for_messages_and_fragments_drops_counts_once() -> None:
    router = Router()
    both = Route[GroupMessage](buffer=1, overflow="drop_newest")
    router.add("g", both, Fragments("g"))
    router.messages([group_message(1), group_message(2)], [1, 1])
    assert router.dropped == 1
    assert router.remove("g", both, Fragments("g"))
    assert router.dropped == 1
    assert not router.remove("g", both, Fragments("g"))
    assert router.dropped == 1


async def test_what_came_before_any_subscription_is_handed_to_the_first() -> None:
    router = Router()
    router.messages([group_message(1, "a")], [1])
    router.messages([group_message(2, "b")], [1])
    router.messages([ServerMessage(data=3)], [1])
    first = Route[GroupMessage](buffer=10, overflow="error")
    router.add("a", first)
    assert first.receive_nowait().data == 1
    rest = Route[GroupMessage](buffer=10, overflow="error")
    router.add(Feed.EVERYTHING, rest)
    assert [rest.receive_nowait().data for _ in range(2)] == [2, 3]


async def test_what_comes_after_the_last_subscription_is_for_nobody() -> None:
    router = Router()
    gone = Route[GroupMessage](buffer=10, overflow="error")
    router.add("g", gone)
    assert router.remove("g", gone)
    assert not router.remove("g", gone)
    router.messages([group_message(1)], [1])
    assert router.unrouted == 1
    late = Route[GroupMessage](buffer=10, overflow="error")
    router.add("g", late)
    assert len(late) == 0


async def test_a_new_session_may_have_early_messages_again() -> None:
    router = Router()
    gone = Route[GroupMessage](buffer=10, overflow="error")
    router.add(Feed.EVERYTHING, gone)
    router.remove(Feed.EVERYTHING, gone)
    router.messages([group_message(1)], [1])
    router.lifecycle(Connected(connection_id="c-2", first=False))
    router.messages([group_message(2)], [1])
    late = Route[GroupMessage](buffer=10, overflow="error")
    router.add("g", late)
    assert late.receive_nowait().data == 2


async def test_early_messages_are_held_within_a_limit() -> None:
    router = Router()
    for number in range(MAX_HELD_MESSAGES + 5):
        router.messages([group_message(number)], [1])
    assert router.unrouted == 5
    late = Route[GroupMessage](buffer=10_000, overflow="error")
    router.add("g", late)
    assert late.receive_nowait().data == 5


async def test_early_bytes_are_held_within_a_limit() -> None:
    router = Router()
    router.messages([group_message(1)], [700_000])
    router.messages([group_message(2)], [700_000])
    late = Route[GroupMessage](buffer=10, overflow="error")
    router.add("g", late)
    assert late.receive_nowait().data == 2
    assert router.unrouted == 1


async def test_a_watcher_first_gets_how_it_stands() -> None:
    router = Router()
    nobody = Route[object](buffer=10, overflow="error")
    router.add(Feed.LIFECYCLE, nobody)
    assert len(nobody) == 0
    router.lifecycle(Connected(connection_id="c-1", first=True))
    router.lifecycle(Disconnected(connection_id="c-1", code=1006))
    watcher = Route[object](buffer=10, overflow="error")
    router.add(Feed.LIFECYCLE, watcher)
    assert watcher.receive_nowait() == Disconnected(connection_id="c-1", code=1006)


async def test_the_end_of_the_client_ends_all_and_tells_watchers_nothing_new() -> None:
    router = Router()
    group, watcher = Route[object](buffer=10, overflow="error"), Route[object](buffer=10, overflow="error")
    router.add("g", group)
    router.add(Feed.LIFECYCLE, watcher)
    router.end_all(lambda: ClientStopped("gone"))
    with pytest.raises(ClientStopped):
        group.receive_nowait()
    with pytest.raises(trio.EndOfChannel):
        watcher.receive_nowait()


# The polite pause


async def test_a_consumer_that_keeps_moving_is_waited_for() -> None:
    router = Router()
    channel = Route[GroupMessage](buffer=CROWDED * 2, overflow="error")
    router.add("g", channel)
    taken = 0

    async def consume() -> None:
        nonlocal taken
        while True:
            await channel.receive()
            taken += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(consume)
        for number in range(20_000):
            router.messages([group_message(number)], [1])
            if router.crowded:
                await router.polite_pause()
        assert channel.dropped == 0
        assert taken > 20_000 - CROWDED - 1
        nursery.cancel_scope.cancel()


async def test_a_consumer_that_stands_still_is_not_waited_for() -> None:
    router = Router()
    channel = Route[GroupMessage](buffer=CROWDED * 2, overflow="error")
    router.add("g", channel)
    for number in range(CROWDED + 1):
        router.messages([group_message(number)], [1])
    assert router.crowded
    await router.polite_pause()
    assert len(channel) == CROWDED + 1


async def test_a_closed_route_is_no_crowd() -> None:
    router = Router()
    channel = Route[GroupMessage](buffer=CROWDED * 2, overflow="error")
    router.add("g", channel)
    for number in range(CROWDED + 1):
        router.messages([group_message(number)], [1])
    router.remove("g", channel)
    assert not router.crowded


# The handle


async def test_a_forgotten_handle_is_released_by_the_next_sweep() -> None:
    router = Router()
    channel = Route[GroupMessage](buffer=10, overflow="error")
    router.add("g", channel)
    handle = Subscription(channel, enter=None, release=lambda: router.remove("g", channel), abandoned=router.abandoned)
    assert handle.receive_nowait is not None
    del handle
    gc.collect()
    assert len(router.abandoned) == 1
    router.sweep()
    assert channel.closed
    router.messages([group_message(1)], [1])
    assert router.unrouted == 1


async def test_a_closed_handle_leaves_nothing_to_sweep() -> None:
    router = Router()
    channel = Route[GroupMessage](buffer=10, overflow="error")
    router.add("g", channel)
    handle = Subscription(channel, enter=None, release=lambda: router.remove("g", channel), abandoned=router.abandoned)
    await handle.aclose()
    with pytest.raises(trio.ClosedResourceError):
        await handle.receive()
    del handle
    gc.collect()
    assert not router.abandoned


async def test_two_tasks_that_share_a_handle_enter_it_once() -> None:
    entered = 0
    channel = Route[int](buffer=10, overflow="error")

    async def enter() -> None:
        nonlocal entered
        entered += 1
        await trio.lowlevel.checkpoint()

    handle = Subscription(channel, enter=enter, release=channel.close, abandoned=Router().abandoned)
    channel.deliver(1, 1)
    channel.deliver(2, 1)
    taken: list[int] = []

    async def take() -> None:
        taken.append(await handle.receive())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(take)
        nursery.start_soon(take)
    assert sorted(taken) == [1, 2]
    assert entered == 1
    handle.close()
