"""What callers send and ask, and what becomes of it."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_webpubsub import (
    InvocationFailed,
    InvocationTimeout,
    InvokeResult,
    MessageTooLarge,
    SendFailed,
    SendResult,
    open_client,
)

from .raw_service import URL, RawService, entered

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


@pytest.mark.parametrize("retries", [None, 1])
async def test_a_failed_event_is_retried_only_if_its_caller_says_so(
    autojump_clock: MockClock, service: RawService, retries: int | None
) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def play() -> None:
                first = await peer.expect("event")
                await peer.ack(first, "InternalServerError")
                if retries is not None:
                    assert await peer.expect("event") == first
                    await peer.ack(first, "InternalServerError")

            with pytest.raises(SendFailed, match="InternalServerError"):
                await client.send_event("e", "hi", retries=retries)


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


# Room for operations


@pytest.mark.parametrize("limit", [{"max_pending_sends": 2}, {"max_pending_bytes": 100}], ids=str)
async def test_while_recovering_only_so_many_sends_are_kept(
    autojump_clock: MockClock, service: RawService, limit: dict[str, Any]
) -> None:
    async with (
        open_client(URL, connector=service.connector, **limit) as client,
        trio.open_nursery() as tasks,
    ):
        peer = await service.next()
        service.refuse = OSError("no route to host")
        peer.cut()
        await wait_all_tasks_blocked()
        assert client.state == "recovering"
        for number in range(2):
            tasks.start_soon(client.send_to_group, "g", str(number))
        await wait_all_tasks_blocked()
        with trio.move_on_after(1) as scope:  # a caller who will not wait
            await client.send_to_group("g", "impatient")
        assert scope.cancelled_caught
        tasks.start_soon(client.send_to_group, "g", "patient")
        await wait_all_tasks_blocked()
        assert client.statistics().pending_sends == 2
        service.refuse = None
        peer = await service.recover()
        assert sorted([(await peer.answer("sendToGroup"))["data"] for _ in range(3)]) == ["0", "1", "patient"]


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


async def test_an_id_may_be_used_again_after_a_cancelled_try(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector) as client, trio.open_nursery() as nursery:
        peer = await service.next()

        @nursery.start_soon
        async def play() -> None:
            await peer.ack(await peer.expect("sendToGroup"), "BadRequest")
            await peer.expect("sendToGroup")  # the try that is cancelled
            await peer.answer("sendToGroup")

        with pytest.raises(SendFailed) as caught:
            await client.send_to_group("g", "hi")
        ack_id = caught.value.ack_id
        with trio.move_on_after(1) as scope:
            await client.send_to_group("g", "hi", ack_id=ack_id)
        assert scope.cancelled_caught
        assert (await client.send_to_group("g", "hi", ack_id=ack_id)).ack_id == ack_id
        with pytest.raises(ValueError, match="ack id"):  # it is done
            await client.send_to_group("g", "hi", ack_id=ack_id)


async def test_an_id_ends_with_its_session(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector) as client, trio.open_nursery() as nursery:
        peer = await service.next()

        @nursery.start_soon
        async def play() -> None:
            await peer.ack(await peer.expect("sendToGroup"), "BadRequest")

        with pytest.raises(SendFailed) as caught:
            await client.send_to_group("g", "hi")
        service.refuse = OSError("the test says no")
        await peer.websocket.aclose(1008)
        await trio.sleep(1)
        assert client.state == "reconnecting"
        with trio.fail_after(1), pytest.raises(ValueError, match="ack id"):
            await client.send_to_group("g", "hi", ack_id=caught.value.ack_id)
