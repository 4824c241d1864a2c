"""Cancelling, and leaving the block in every way."""

from __future__ import annotations

import gc

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_webpubsub import (
    ClientStopped,
    ConnectFailed,
    DeliveryUnknown,
    InternalError,
    open_client,
)
from trio_webpubsub.client.core import AT_ONCE

from .raw_service import URL, Peer, RawService


class Oops(Exception):
    pass


async def test_the_blocks_exception_comes_out_as_it_is(autojump_clock: MockClock, service: RawService) -> None:
    error = Oops()
    with pytest.raises(Oops) as caught:
        async with open_client(URL, connector=service.connector):
            raise error
    assert caught.value is error
    assert caught.value.__context__ is None


async def test_the_blocks_own_exception_group_comes_out_as_it_is(
    autojump_clock: MockClock, service: RawService
) -> None:
    group = ExceptionGroup("the user's", [Oops(), ValueError()])
    with pytest.raises(ExceptionGroup) as caught:
        async with open_client(URL, connector=service.connector):
            raise group
    assert caught.value is group


async def test_a_block_left_by_an_exception_closes_within_half_a_second(
    autojump_clock: MockClock, service: RawService
) -> None:
    start = trio.current_time()
    with pytest.raises(Oops):
        async with open_client(URL, connector=service.connector):
            peer = await service.next()
            peer.stream.silence()
            raise Oops
    assert trio.current_time() - start <= 0.5


async def test_a_block_left_normally_closes_within_its_timeout(autojump_clock: MockClock, service: RawService) -> None:
    start = trio.current_time()
    async with open_client(URL, connector=service.connector, close_timeout=2):
        peer = await service.next()
        peer.stream.silence()
    assert trio.current_time() - start <= 2


async def test_cancelling_the_block_ends_it(autojump_clock: MockClock, service: RawService) -> None:
    with trio.move_on_after(1) as scope:
        async with open_client(URL, connector=service.connector):
            await trio.sleep_forever()
    assert scope.cancelled_caught


async def test_a_shielded_goodbye_still_has_a_writer(
    autojump_clock: MockClock, service: RawService, nursery: trio.Nursery
) -> None:
    said: list[object] = []

    async def play() -> None:
        peer = await service.next()
        said.append((await peer.answer("sendToGroup"))["data"])

    nursery.start_soon(play)
    with trio.move_on_after(1):
        async with open_client(URL, connector=service.connector) as client:
            try:
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True):
                    await client.send_to_group("g", "bye")
    assert said == ["bye"]


async def test_an_outer_cancel_in_the_tick_of_connected_does_not_hang(
    autojump_clock: MockClock, service: RawService
) -> None:
    service.greet = False
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:

            async def live() -> None:
                async with open_client(URL, connector=service.connector):
                    await trio.sleep_forever()

            nursery.start_soon(live)
            peer = await service.next()
            await peer.connected()
            scope.cancel()
    assert scope.cancelled_caught


@pytest.mark.parametrize("checkpoints", range(12))
async def test_cancelling_the_opening_anywhere_leaves_nothing(
    autojump_clock: MockClock, service: RawService, checkpoints: int
) -> None:
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:

            async def live() -> None:
                async with open_client(URL, connector=service.connector):
                    await trio.sleep_forever()

            nursery.start_soon(live)
            for _ in range(checkpoints):
                await trio.lowlevel.checkpoint()
            scope.cancel()
    assert scope.cancelled_caught


async def test_a_send_cancelled_after_the_write_is_not_repeated(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()
        with trio.move_on_after(1) as scope:
            await client.send_to_group("g", "once")
        assert scope.cancelled_caught
        await peer.expect("sendToGroup")
        peer.cut()
        peer = await service.next()
        await peer.expect("ping")
        await peer.send(type="pong")
        await wait_all_tasks_blocked()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.answer, "sendToGroup")
            await client.send_to_group("g", "another")


async def test_a_send_cancelled_before_the_write_never_goes_out(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()
        with trio.CancelScope() as scope:
            scope.cancel()
            await client.send_to_group("g", "never")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.answer, "sendToGroup")
            await client.send_to_group("g", "another")


async def test_of_many_at_once_who_was_cancelled_before_sends_nothing(
    autojump_clock: MockClock, service: RawService
) -> None:
    async with open_client(URL, connector=service.connector) as client, trio.open_nursery() as nursery:
        peer = await service.next()

        async def send_cancelled() -> None:
            with trio.CancelScope() as scope:
                scope.cancel()
                await client.send_to_group("g", "unwanted")

        nursery.start_soon(client.send_to_group, "g", "first")
        await peer.answer("sendToGroup")
        nursery.start_soon(client.send_to_group, "g", "second")
        message = await peer.expect("sendToGroup")
        async with trio.open_nursery() as cancelled:
            for _ in range(2 * AT_ONCE):
                cancelled.start_soon(send_cancelled)
        await peer.ack(message)
        nursery.start_soon(client.send_to_group, "g", "third")
        assert (await peer.answer("sendToGroup"))["data"] == "third"


async def test_who_is_cancelled_when_there_is_room_leaves_it_to_the_next(
    autojump_clock: MockClock, service: RawService
) -> None:
    async with open_client(URL, connector=service.connector, max_pending_sends=1) as client:
        peer = await service.next()
        unwanted = trio.CancelScope()

        async def send_first() -> None:
            await client.send_to_group("g", "first")
            unwanted.cancel()

        async def send_unwanted() -> None:
            with unwanted:
                await client.send_to_group("g", "unwanted")

        for _ in range(10):  # trio runs the two that are woken together in any order
            unwanted = trio.CancelScope()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(send_first)
                first = await peer.expect("sendToGroup")
                nursery.start_soon(send_unwanted)
                await wait_all_tasks_blocked()
                nursery.start_soon(client.send_to_group, "g", "last")
                await wait_all_tasks_blocked()
                await peer.ack(first)
                while (message := await peer.expect("sendToGroup"))["data"] != "last":
                    pass
                await peer.ack(message)


async def test_a_cancelled_join_is_undone(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()
        with trio.move_on_after(1):
            await client.join_group("g")
        assert (await peer.expect("joinGroup"))["group"] == "g"
        assert (await peer.expect("leaveGroup"))["group"] == "g"


async def test_a_cancelled_entry_into_a_subscription_is_undone(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()
        with trio.move_on_after(1):
            async with client.group_messages("g"):
                pytest.fail("no ack ever came")
        await peer.expect("joinGroup")
        await peer.expect("leaveGroup")


async def test_operations_of_other_tasks_end_with_the_block(autojump_clock: MockClock, service: RawService) -> None:
    async with trio.open_nursery() as nursery:
        async with open_client(URL, connector=service.connector, max_pending_sends=1) as client:

            async def send() -> None:
                with pytest.raises(DeliveryUnknown):
                    await client.send_to_group("g", "hi")

            async def wait_for_room() -> None:
                with pytest.raises(trio.ClosedResourceError):
                    await client.send_to_group("g", "hi")

            nursery.start_soon(send)
            await wait_all_tasks_blocked()
            nursery.start_soon(wait_for_room)
            await wait_all_tasks_blocked()
        with pytest.raises(trio.ClosedResourceError):
            await client.join_group("g")
        with pytest.raises(trio.ClosedResourceError):
            await client.send_to_group("g", "hi", ack=False)


async def test_subscriptions_are_drained_and_end_with_the_block(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()
        messages = client.server_messages()
        await peer.message(1, "last words", group=None)
        await wait_all_tasks_blocked()
    assert [message.data async for message in messages] == ["last words"]
    assert [message async for message in client.server_messages()] == []


async def test_what_is_queued_is_written_before_the_close(
    autojump_clock: MockClock, service: RawService, nursery: trio.Nursery
) -> None:
    said: list[object] = []

    async def play() -> None:
        peer = await service.next()
        said.extend([(await peer.expect("sendToGroup"))["data"] for _ in range(100)])
        assert await peer.closed() == 1000

    nursery.start_soon(play)
    async with open_client(URL, connector=service.connector) as client:
        for number in range(100):
            await client.send_to_group("g", number, ack=False)
    assert said == list(range(100))


async def test_a_defect_in_the_background_cancels_the_block(
    autojump_clock: MockClock, service: RawService, monkeypatch: pytest.MonkeyPatch
) -> None:
    def defective(*args: object) -> None:
        raise KeyError("a planted defect")

    with pytest.raises(InternalError) as caught:
        async with open_client(URL, connector=service.connector) as client:
            peer = await service.next()
            monkeypatch.setattr(client._core.session, "receive", defective)
            await peer.message(1)
            await trio.sleep_forever()
    assert caught.value.__cause__ is not None


async def test_a_defect_hides_no_exception_of_the_block(
    autojump_clock: MockClock, service: RawService, monkeypatch: pytest.MonkeyPatch
) -> None:
    def defective(*args: object) -> None:
        raise KeyError("a planted defect")

    with pytest.raises(InternalError) as caught:
        async with open_client(URL, connector=service.connector) as client:
            peer = await service.next()
            monkeypatch.setattr(client._core.session, "receive", defective)
            await peer.message(1)
            try:
                await trio.sleep_forever()
            finally:
                raise Oops
    assert caught.value.__notes__ == ["The block itself raised Oops()."]


async def test_an_interrupt_in_the_background_comes_out_as_it_is(
    autojump_clock: MockClock, service: RawService, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*args: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        async with open_client(URL, connector=service.connector) as client:
            peer = await service.next()
            monkeypatch.setattr(client._core.session, "receive", interrupted)
            await peer.message(1)
            await trio.sleep_forever()


async def test_an_interrupt_in_the_block_comes_out_as_it_is(autojump_clock: MockClock, service: RawService) -> None:
    with pytest.raises(KeyboardInterrupt):
        async with open_client(URL, connector=service.connector):
            raise KeyboardInterrupt


async def test_after_giving_up_every_call_says_so(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()
        messages = client.server_messages()
        await peer.message(1, "last words", group=None)
        await wait_all_tasks_blocked()
        service.reject = 403
        await peer.websocket.aclose(1008)
        assert (await messages.receive()).data == "last words"
        with pytest.raises(ClientStopped, match="403"):
            await messages.receive()
        with pytest.raises(ClientStopped, match="403"):
            await client.send_to_group("g", "hi")
        # Leaving the block normally now says nothing more: it was told.


async def test_a_failure_to_connect_is_raised_and_not_its_consequences(
    autojump_clock: MockClock, service: RawService
) -> None:
    service.subprotocol = None
    with pytest.raises(ConnectFailed, match="subprotocol"):
        async with open_client(URL, connector=service.connector):
            pytest.fail("no session can begin")


async def test_a_retry_that_nobody_waits_for_delays_no_leaving(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send_to_group, "g", "hi")
            await peer.ack(await peer.expect("sendToGroup"), "InternalServerError")
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        start = trio.current_time()
    assert trio.current_time() == start


async def fail_after(seconds: float, error: Exception) -> None:
    await trio.sleep(seconds)
    raise error


async def test_a_retry_that_somebody_waits_for_is_written_before_the_close(
    autojump_clock: MockClock, service: RawService
) -> None:
    async with trio.open_nursery() as nursery, open_client(URL, connector=service.connector) as client:
        peer = await service.next()

        async def send() -> None:
            with pytest.raises(DeliveryUnknown):  # leaving does not wait for acks
                await client.send_to_group("g", "x")

        async def serve() -> None:
            await peer.expect("sendToGroup")
            assert await peer.closed() == 1000

        nursery.start_soon(send)
        await peer.ack(await peer.expect("sendToGroup"), "InternalServerError")
        await wait_all_tasks_blocked()
        nursery.start_soon(serve)


async def test_a_retry_that_is_cancelled_while_the_block_is_left_delays_it_no_more(
    autojump_clock: MockClock, service: RawService
) -> None:
    caller = trio.CancelScope()
    async with trio.open_nursery() as nursery:
        async with open_client(URL, connector=service.connector) as client:
            peer = await service.next()

            async def send() -> None:
                with caller:
                    await client.send_to_group("g", "x")

            async def cancel() -> None:
                await wait_all_tasks_blocked()
                caller.cancel()
                await peer.closed()

            nursery.start_soon(send)
            await peer.ack(await peer.expect("sendToGroup"), "InternalServerError")
            await wait_all_tasks_blocked()
            nursery.start_soon(cancel)
            start = trio.current_time()
        assert trio.current_time() == start


async def test_a_nursery_inside_the_block_keeps_its_own_group(autojump_clock: MockClock, service: RawService) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        async with open_client(URL, connector=service.connector), trio.open_nursery() as inner:
            inner.start_soon(fail_after, 1, Oops())
            await trio.sleep_forever()
    assert [type(each) for each in caught.value.exceptions] == [Oops]


async def test_a_nursery_around_the_block_ends_it(autojump_clock: MockClock, service: RawService) -> None:
    codes: list[int] = []

    async def watch(peer: Peer) -> None:
        with trio.CancelScope(shield=True):
            codes.append(await peer.closed())

    with pytest.raises(ExceptionGroup) as caught:
        async with trio.open_nursery() as outer:

            @outer.start_soon
            async def live() -> None:
                async with open_client(URL, connector=service.connector):
                    peer = await service.next()
                    outer.start_soon(fail_after, 1, Oops())
                    outer.start_soon(watch, peer)
                    await trio.sleep_forever()

    assert [type(each) for each in caught.value.exceptions] == [Oops]
    assert codes == [1000]


async def test_blocks_in_blocks_end_one_after_the_other(
    autojump_clock: MockClock, service: RawService, nursery: trio.Nursery
) -> None:
    codes: list[int] = []

    async def watch() -> None:
        codes.append(await (await service.next()).closed())

    for _ in range(2):
        nursery.start_soon(watch)
    with pytest.raises(Oops):
        async with (
            open_client(URL, connector=service.connector) as first,
            open_client(URL, connector=service.connector) as second,
        ):
            assert (first.connection_id, second.connection_id) == ("c-1", "c-2")
            raise Oops
    assert codes == [1000, 1000]


async def test_a_client_that_gave_up_raises_no_group(autojump_clock: MockClock, service: RawService) -> None:
    with pytest.raises(ClientStopped):
        async with open_client(URL, connector=service.connector, reconnect=None) as client:
            await (await service.next()).websocket.aclose(1008)
            await client.join_group("g")


async def test_an_iteration_left_by_cancellation_leaves_its_group(
    autojump_clock: MockClock, service: RawService
) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def iterate() -> None:
                async for _ in client.group_messages("g"):
                    pass

            await peer.answer("joinGroup")
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        gc.collect()
        await peer.send(type="pong")  # the receive loop's next turn
        assert (await peer.expect("leaveGroup"))["group"] == "g"
