"""Gaps, rejoining, reconnect policies, invocations, going on after failures, statistics, logs."""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Iterator
from typing import Any

import jwt
import pytest
import trio
import trio_websocket
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_webpubsub import (
    ClientStopped,
    Gap,
    GroupLost,
    GroupMessage,
    InvocationFailed,
    InvocationTimeout,
    InvokeResult,
    MessageTooLarge,
    SendFailed,
    SendResult,
    Subscription,
    open_client,
)
from trio_webpubsub._shell.clock import wall_time

from .raw_service import URL, Peer, RawService


async def entered(peer: Peer, messages: Subscription[Any]) -> Subscription[Any]:
    """Enter a subscription that joins."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(peer.answer, "joinGroup")
        await messages.__aenter__()
    return messages


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


# Rejoining and reconnecting


async def test_without_rejoining_group_subscriptions_end(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector, auto_rejoin=False) as client:
        peer = await service.next()
        messages = await entered(peer, client.group_messages("g"))
        await peer.message(1, "last")
        await wait_all_tasks_blocked()
        await peer.websocket.aclose(1008)
        await service.next()
        assert (await messages.receive()).data == "last"
        with pytest.raises(GroupLost, match="auto_rejoin"):
            await messages.receive()
        messages.close()


async def test_reconnecting_can_be_switched_off(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector, reconnect=None) as client:
        peer = await service.next()
        await peer.websocket.aclose(1008)
        assert "switched off" in await client.wait_stopped()
        with pytest.raises(ClientStopped):
            await client.join_group("g")


async def test_an_exhausted_iterator_stops_the_client(autojump_clock: MockClock, service: RawService) -> None:
    def three_tries() -> Iterator[float]:
        yield from (1, 2, 3)

    async with open_client(
        URL, connector=service.connector, reconnect=three_tries, keep_alive_interval=math.inf
    ) as client:
        peer = await service.next()
        await trio.sleep(60)
        service.refuse = OSError("no route to host")
        start = trio.current_time()
        await peer.websocket.aclose(1008)
        assert "no route to host" in await client.wait_stopped()
        assert trio.current_time() - start == pytest.approx(6)
        assert service.dials == 5
        with pytest.raises(ClientStopped):
            await client.join_group("g")


async def test_a_session_that_did_not_last_takes_a_turn_first(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector, reconnect=lambda: iter([5])) as client:
        peer = await service.next()
        start = trio.current_time()
        await peer.websocket.aclose(1008)
        peer = await service.next()
        assert trio.current_time() - start == pytest.approx(5)
        await peer.websocket.aclose(1008)
        assert "no tries" in await client.wait_stopped()
        with pytest.raises(ClientStopped):
            await client.join_group("g")


async def test_one_warning_when_the_token_of_a_fixed_url_expires(
    autojump_clock: MockClock, service: RawService, caplog: pytest.LogCaptureFixture
) -> None:
    token = jwt.encode({"exp": int(wall_time()) + 60}, "a-key-that-is-long-enough-for-hs256")
    async with open_client(
        f"ws://localhost/client/hubs/chat?access_token={token}", connector=service.connector
    ) as client:
        peer = await service.next()
        assert client.token_expires_at == pytest.approx(wall_time() + 60, abs=1)
        with trio.move_on_after(200):
            while True:
                await peer.expect("ping")
                await peer.send(type="pong")
    warnings = [record for record in caplog.records if "expired" in record.getMessage()]
    assert len(warnings) == 1
    assert token not in caplog.text


# Invocations


async def test_an_invocation_gives_its_result(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()

        async def play() -> None:
            invoke = await peer.expect("invoke")
            assert (invoke["target"], invoke["event"], invoke["data"]) == ("event", "price", {"sku": "x"})
            await peer.send(
                type="invokeResponse",
                invocationId=invoke["invocationId"],
                success=True,
                dataType="json",
                data={"price": 12},
            )

        async with trio.open_nursery() as nursery:
            nursery.start_soon(play)
            assert await client.invoke_event("price", {"sku": "x"}) == InvokeResult(
                data={"price": 12}, data_type="json"
            )


async def test_a_refused_invocation_says_why(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()

        async def play() -> None:
            invoke = await peer.expect("invoke")
            await peer.send(
                type="invokeResponse",
                invocationId=invoke["invocationId"],
                success=False,
                error={"name": "NoSuchPrice", "message": "sorry"},
            )

        async with trio.open_nursery() as nursery:
            nursery.start_soon(play)
            with pytest.raises(InvocationFailed, match="NoSuchPrice: sorry"):
                await client.invoke_event("price")


async def test_an_invocation_is_failed_by_a_drop(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()

        async def play() -> None:
            await peer.expect("invoke")
            peer.cut()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(play)
            with pytest.raises(InvocationFailed, match="ConnectionLost"):
                await client.invoke_event("price")


async def test_an_invocation_has_a_deadline(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector, ack_timeout=3) as client:
        peer = await service.next()
        with pytest.raises(InvocationTimeout) as caught:
            await client.invoke_event("price")
        assert isinstance(caught.value, trio.TooSlowError)
        await peer.expect("invoke")
        await peer.expect("cancelInvocation")


async def test_a_cancelled_invocation_tells_the_service(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()
        with trio.move_on_after(1):
            await client.invoke_event("price")
        invoke = await peer.expect("invoke")
        assert (await peer.expect("cancelInvocation"))["invocationId"] == invoke["invocationId"]


async def test_an_invocation_ends_with_the_block(
    autojump_clock: MockClock, service: RawService, nursery: trio.Nursery
) -> None:
    async with open_client(URL, connector=service.connector) as client:
        await service.next()

        async def invoke() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await client.invoke_event("price")

        nursery.start_soon(invoke)
        await wait_all_tasks_blocked()


# Sends


async def test_options_travel(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def play() -> None:
                message = await peer.answer("sendToGroup")
                assert message["metadata"] == {"trace": "7"}
                assert message["ttlSeconds"] == 60
                assert message["noEcho"] is True
                assert (message["dataType"], message["data"]) == ("json", "hi")

            await client.send_to_group(
                "g", "hi", data_type="json", no_echo=True, metadata={"trace": "7"}, ttl_seconds=60
            )


async def test_bad_options_are_refused(autojump_clock: MockClock, service: RawService) -> None:
    without_ack: Any = {"ack": False, "ack_id": 3}
    async with open_client(URL, connector=service.connector) as client:
        with pytest.raises(ValueError, match="ttl_seconds"):
            await client.send_to_group("g", "hi", ttl_seconds=301)
        with pytest.raises(ValueError, match="metadata"):
            await client.send_to_group("g", "hi", metadata={"ü": "x"})
        with pytest.raises(ValueError, match="ack id 3"):
            await client.send_to_group("g", "hi", ack_id=3)
        with pytest.raises(ValueError, match="without an ack"):
            await client.send_to_group("g", "hi", **without_ack)


async def test_a_caller_may_go_on_after_a_failure(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def play() -> None:
                await peer.ack(await peer.expect("sendToGroup"), "InternalServerError")
                await peer.ack(await peer.expect("sendToGroup"), "Duplicate")

            with pytest.raises(SendFailed) as caught:
                await client.send_to_group("g", "hi", retries=0)
            result = await client.send_to_group("g", "hi", ack_id=caught.value.ack_id)
        assert result == SendResult(ack_id=caught.value.ack_id, duplicated=True)


async def test_a_failed_send_is_retried_with_the_same_id(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def play() -> None:
                first = await peer.expect("sendToGroup")
                for _ in range(3):
                    await peer.ack(first, "InternalServerError")
                    assert await peer.expect("sendToGroup") == first
                await peer.ack(first)

            await client.send_to_group("g", "hi", no_echo=True)


async def test_a_message_that_the_service_will_not_take_is_given_up(
    autojump_clock: MockClock, service: RawService
) -> None:
    async with open_client(URL, connector=service.connector) as client, client.messages() as messages:
        peer = await service.next()
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def play() -> None:
                nonlocal peer
                for _ in range(2):
                    await peer.expect("sendToGroup")
                    await peer.websocket.aclose(1007)
                    peer = await service.next()
                    await peer.expect("ping")
                    await peer.send(type="pong")

            with pytest.raises(SendFailed, match="MessageRefused"):
                await client.send_to_group("g", "bad")
        await peer.message(1, "we live")
        assert (await messages.receive()).data == "we live"


# Looking and logging


async def test_statistics_count(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()
        async with client.messages(buffer=1, overflow="drop_oldest") as messages:
            await peer.message(1)
            await peer.message(2)
            await peer.message(2)
            await peer.send(type="message", **{"from": "server"}, dataType="binary", data="!", sequenceId=3)
            await peer.send(type="news")
            await peer.websocket.send_message("{")
            await wait_all_tasks_blocked()
            assert messages.statistics().buffered == 1
            assert messages.statistics().dropped == 2
            peer.cut()
            peer = await service.next()
            await peer.expect("ping")
            await trio.sleep(0.25)
            await peer.send(type="pong")
            await wait_all_tasks_blocked()
            statistics = client.statistics()
        assert statistics.messages_received == 3
        assert statistics.frames_received == 8
        assert statistics.bytes_received > 100
        assert statistics.frames_sent == 2  # a ping, and the sequence ack after the recovery
        assert (statistics.repeated, statistics.dropped, statistics.undecodable) == (1, 2, 1)
        assert (statistics.unreadable, statistics.unknown) == (1, 1)
        assert (statistics.recoveries, statistics.reconnects) == (1, 0)
        assert statistics.last_round_trip == pytest.approx(0.25)
        assert statistics.connected_since is not None


async def test_batches_give_what_is_there(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()
        messages = client.messages()
        for number in range(1, 4):
            await peer.message(number, number)
        await wait_all_tasks_blocked()
        batches = messages.batches()
        first: list[Any] = await anext(batches)
        assert [message.sequence_id for message in first] == [1, 2, 3]
    assert [batch async for batch in batches] == []


async def test_payloads_are_logged_only_on_request_and_never_a_token(
    autojump_clock: MockClock, service: RawService, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "trio_webpubsub")
    for log_payloads in (False, True):
        caplog.clear()
        async with open_client(URL, connector=service.connector, log_payloads=log_payloads) as client:
            peer = await service.next()
            await peer.message(1, "incoming-text")
            await client.send_to_group("g", "outgoing-text", ack=False)
            await wait_all_tasks_blocked()
        assert ("incoming-text" in caplog.text) is log_payloads
        assert ("outgoing-text" in caplog.text) is log_payloads
        assert "canary" not in caplog.text


async def test_one_call_may_log_its_payload(
    autojump_clock: MockClock, service: RawService, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "trio_webpubsub")
    async with open_client(URL, connector=service.connector) as client:
        await client.send_to_group("g", "x" * 10_000, ack=False, log_payloads=True)
    assert "xxxx" in caplog.text
    assert "x" * 5000 not in caplog.text


async def test_a_typed_payload(autojump_clock: MockClock, service: RawService) -> None:
    message = GroupMessage(group="g", data={"a": 1})
    assert message.decode_as(dict[str, int]) == {"a": 1}


# Room for operations


async def test_what_nobody_waits_for_makes_room_too(autojump_clock: MockClock, service: RawService) -> None:
    async with (
        open_client(URL, connector=service.connector, max_pending_sends=1) as client,
        trio.open_nursery() as tasks,
    ):
        peer = await service.next()
        messages = await entered(peer, client.group_messages("g"))
        messages.close()
        leave = await peer.expect("leaveGroup")
        tasks.start_soon(client.send_to_group, "g", "waits for the leave")
        await wait_all_tasks_blocked()
        await peer.ack(leave)
        await peer.answer("sendToGroup")


async def test_room_that_one_caller_does_not_need_is_for_the_next(
    autojump_clock: MockClock, service: RawService
) -> None:
    async with (
        open_client(URL, connector=service.connector, max_pending_sends=1, max_message_size=500) as client,
        trio.open_nursery() as tasks,
    ):
        peer = await service.next()

        async def send_too_much() -> None:
            with pytest.raises(MessageTooLarge):
                await client.send_to_group("g", "x" * 500)

        tasks.start_soon(client.send_to_group, "g", "first")
        first = await peer.expect("sendToGroup")
        tasks.start_soon(send_too_much)
        await wait_all_tasks_blocked()
        tasks.start_soon(client.send_to_group, "g", "last")
        await wait_all_tasks_blocked()
        await peer.ack(first)
        assert (await peer.answer("sendToGroup"))["data"] == "last"


async def test_the_end_of_a_large_operation_makes_room_for_many(autojump_clock: MockClock, service: RawService) -> None:
    async with (
        open_client(URL, connector=service.connector, max_pending_bytes=1000) as client,
        trio.open_nursery() as tasks,
    ):
        peer = await service.next()
        tasks.start_soon(client.send_to_group, "g", "x" * 1000)
        large = await peer.expect("sendToGroup")
        for number in range(3):
            tasks.start_soon(client.send_to_group, "g", str(number))
        await wait_all_tasks_blocked()
        await peer.ack(large)
        for each in [await peer.expect("sendToGroup") for _ in range(3)]:
            await peer.ack(each)


async def test_a_subscription_that_opened_meanwhile_keeps_its_group(
    autojump_clock: MockClock, service: RawService
) -> None:
    async with (
        open_client(URL, connector=service.connector, max_pending_sends=1) as client,
        trio.open_nursery() as tasks,
    ):
        peer = await service.next()

        async def leave() -> None:
            with pytest.raises(RuntimeError, match="holds group"):
                await client.leave_group("g")

        messages = client.group_messages("g")
        tasks.start_soon(client.send_to_group, "g", "first")
        first = await peer.expect("sendToGroup")
        tasks.start_soon(messages.__aenter__)
        await wait_all_tasks_blocked()
        tasks.start_soon(leave)
        await wait_all_tasks_blocked()
        await peer.ack(first)
        await peer.answer("joinGroup")
        await wait_all_tasks_blocked()
        messages.close()


async def test_a_join_is_no_message_that_could_be_too_large(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector, max_message_size=1) as client:
        peer = await service.next()
        messages = await entered(peer, client.group_messages("g"))
        messages.close()
        await peer.answer("leaveGroup")


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


# The user's reconnect policy


def broken_delays() -> Iterator[float]:
    raise ValueError("the user's own")
    yield 0.0


BAD_POLICIES: list[Any] = [
    lambda: iter([-1.0]),
    lambda: iter([math.nan]),
    lambda: iter(["soon"]),
    lambda: 5,
    broken_delays,
]


@pytest.mark.parametrize("policy", BAD_POLICIES)
async def test_a_broken_reconnect_policy_stops_the_client(
    autojump_clock: MockClock, service: RawService, policy: Any
) -> None:
    with pytest.raises(ClientStopped, match="the iterator of delays between tries"):
        async with open_client(URL, connector=service.connector, reconnect=policy) as client:
            peer = await service.next()
            await peer.websocket.aclose(1008)
            await client.wait_stopped()


async def test_what_is_no_reconnect_policy_is_refused_at_once(autojump_clock: MockClock, service: RawService) -> None:
    policy: Any = [1.0, 2.0]
    with pytest.raises(TypeError, match="reconnect is a callable"):
        async with open_client(URL, connector=service.connector, reconnect=policy):
            pytest.fail("a list is no callable")
