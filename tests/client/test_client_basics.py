"""Connecting, joining, sending and receiving, against a service that the test plays."""

from __future__ import annotations

import gc
import logging
from functools import partial

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_webpubsub import (
    AckTimeout,
    ClientStopped,
    Connected,
    ConnectFailed,
    GroupMessage,
    MessageTooLarge,
    SendFailed,
    SendResult,
    ServerMessage,
    open_client,
)

from .raw_service import RELIABLE, URL, RawService


async def test_the_block_starts_when_the_session_begins(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()
        assert (client.state, client.connection_id, client.user_id) == ("connected", "c-1", "ann")
        assert peer.path == "/client/hubs/chat?access_token=canary-access-token"
        assert peer.websocket.subprotocol == RELIABLE
    assert client.state == "stopped"


async def test_leaving_closes_with_1000(autojump_clock: MockClock, service: RawService, nursery: trio.Nursery) -> None:
    codes: list[int] = []

    async def watch() -> None:
        peer = await service.next()
        codes.append(await peer.closed())

    nursery.start_soon(watch)
    async with open_client(URL, connector=service.connector):
        pass
    assert codes == [1000]


async def test_a_group_is_joined_on_entry_and_left_on_exit(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.answer, "joinGroup")
            messages = client.group_messages("g")
            await messages.__aenter__()
        await peer.message(1, "one")
        await peer.message(2, "two")
        first = await messages.receive()
        assert first == GroupMessage(group="g", data="one", data_type="text", sequence_id=1)
        assert (await messages.receive()).data == "two"
        messages.close()
        assert (await peer.receive())["type"] in ("sequenceAck", "leaveGroup")


async def test_the_short_form_joins_when_the_iteration_starts(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()

        async def play() -> None:
            await peer.answer("joinGroup")
            await peer.message(1)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(play)
            async for message in client.group_messages("g"):
                assert message.data == "hi"
                break


async def test_a_send_waits_for_its_ack(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.answer, "sendToGroup")
            result = await client.send_to_group("g", {"a": 1}, no_echo=True)
        assert result == SendResult(ack_id=1)


async def test_a_refused_send_says_why(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()

        async def play() -> None:
            await peer.ack(await peer.expect("joinGroup"), "Forbidden")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(play)
            with pytest.raises(SendFailed, match=r"webpubsub\.joinLeaveGroup\.g.*join=False") as caught:
                await client.join_group("g")
        assert (caught.value.ack_id, caught.value.name) == (1, "Forbidden")


async def test_server_messages_that_came_early_are_not_lost(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()
        await peer.message(1, "early", group=None)
        await wait_all_tasks_blocked()
        async with client.server_messages() as messages:
            assert await messages.receive() == ServerMessage(data="early", data_type="text", sequence_id=1)


async def test_a_drop_is_recovered_and_pending_sends_go_on(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()
        results: list[SendResult] = []

        async def send() -> None:
            results.append(await client.send_to_group("g", "hi"))

        async with trio.open_nursery() as nursery, client.messages() as messages:
            nursery.start_soon(send)
            sent = await peer.expect("sendToGroup")
            await peer.message(1, "one")
            assert (await messages.receive()).data == "one"
            peer.cut()
            peer = await service.next()
            assert peer.query == {"awps_connection_id": "c-1", "awps_reconnection_token": "canary-token"}
            await peer.expect("ping")
            await peer.message(1, "one")
            await peer.message(2, "two")
            again = await peer.expect("sendToGroup")
            assert again == sent
            await peer.ack(again)
            assert (await messages.receive()).data == "two"
        assert results == [SendResult(ack_id=1)]


async def test_a_lost_session_is_followed_by_a_new_one(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()
        async with client.lifecycle() as lifecycle:
            assert await lifecycle.receive() == Connected(connection_id="c-1", user_id="ann", first=True)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(peer.answer, "joinGroup")
                await client.join_group("g")
            await peer.websocket.aclose(1008)
            peer = await service.next()
            assert "awps_connection_id" not in peer.query
            assert (await peer.answer("joinGroup"))["group"] == "g"
            assert [type(await lifecycle.receive()).__name__ for _ in range(2)] == ["Disconnected", "Connected"]


async def test_refused_connections_fail_at_once(autojump_clock: MockClock, service: RawService) -> None:
    service.refuse = ConnectionRefusedError(111, "Connection refused")
    with pytest.raises(ConnectFailed, match="refused"):
        async with open_client(URL, connector=service.connector):
            pytest.fail("there is nobody")


async def test_a_rejected_handshake_tells_the_status(autojump_clock: MockClock, service: RawService) -> None:
    service.reject = 401
    with pytest.raises(ConnectFailed, match="401") as caught:
        async with open_client(URL, connector=service.connector):
            pytest.fail("the token is no good")
    assert caught.value.status == 401


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        (b"", "status 429"),
        (b"The unit\r\n has no room.\n", "status 429: The unit has no room."),
        (b"\x1b[31m\xffred", "status 429: ?[31m\ufffdred"),
        (b"x" * 10_000, f"status 429: {'x' * 200}"),
        (b"<html><title>429</title></html>", "status 429"),
    ],
)
async def test_a_rejected_handshake_tells_the_reason(
    autojump_clock: MockClock, service: RawService, reason: bytes, told: str
) -> None:
    service.reject, service.reason = 429, reason
    with pytest.raises(ConnectFailed) as caught:
        async with open_client(URL, connector=service.connector):
            pytest.fail("there is no room")
    assert str(caught.value) == f"the service refused the handshake with {told}"


async def test_a_service_that_never_answers_is_left_at_the_timeout(
    autojump_clock: MockClock, service: RawService
) -> None:
    service.greet = False
    start = trio.current_time()
    with pytest.raises(ConnectFailed):
        async with open_client(URL, connector=service.connector, connect_timeout=3):
            pytest.fail("no session began")
    assert trio.current_time() - start == pytest.approx(3)


async def test_a_client_that_gave_up_says_so_when_the_block_is_left(
    autojump_clock: MockClock, service: RawService
) -> None:
    async def live() -> None:
        async with open_client(URL, connector=service.connector) as client:
            peer = await service.next()
            service.reject = 401
            await peer.websocket.aclose(1008)
            async with client.lifecycle() as lifecycle:
                async for _ in lifecycle:
                    pass

    with pytest.raises(ClientStopped, match="401"):
        await live()


async def test_an_explicit_join_and_leave(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.answer, "joinGroup")
            assert await client.join_group("g") == SendResult(ack_id=1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.answer, "leaveGroup")
            assert await client.leave_group("g") == SendResult(ack_id=2)


async def test_an_event_that_nobody_handles(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()

        async def play() -> None:
            message = await peer.expect("event")
            assert (message["event"], message["dataType"], message["data"]) == ("order", "json", {"coffee": 1})
            await peer.ack(message, "InternalServerError")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(play)
            with pytest.raises(SendFailed) as caught:
                await client.send_event("order", {"coffee": 1})
        assert caught.value.name == "InternalServerError"
        assert caught.value.message == "the test says so"


async def test_a_forbidden_send_names_the_role(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()

        async def play() -> None:
            await peer.ack(await peer.expect("sendToGroup"), "Forbidden")
            await peer.ack(await peer.expect("event"), "Forbidden")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(play)
            with pytest.raises(SendFailed, match=r"webpubsub\.sendToGroup\.g\)"):
                await client.send_to_group("g", "hi")
            with pytest.raises(SendFailed, match=r"^Forbidden: the test says so$"):
                await client.send_event("e", "hi")


async def test_an_ack_that_never_comes_is_asked_for_once(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector, ack_timeout=5, keep_alive_interval=1000) as client:
        peer = await service.next()
        start = trio.current_time()
        with pytest.raises(AckTimeout) as caught:
            await client.send_to_group("g", "hi")
        assert trio.current_time() - start == pytest.approx(10)
        assert isinstance(caught.value, trio.TooSlowError)
        first, second = await peer.expect("sendToGroup"), await peer.expect("sendToGroup")
        assert first == second
        assert caught.value.ack_id == first["ackId"]


async def test_a_send_over_the_limit_is_refused_here(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector, max_message_size=100) as client:
        with pytest.raises(MessageTooLarge):
            await client.send_to_group("g", "x" * 100)
        with pytest.raises(MessageTooLarge):
            await client.send_to_group("g", "x" * 100, ack=False)
        assert client.state == "connected"


async def test_sends_without_an_ack_wait_for_a_link(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()
        peer.cut()
        await wait_all_tasks_blocked()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(client.send_to_group, "g", "late", ack=False))
            peer = await service.next()
            await peer.expect("ping")
            await peer.send(type="pong")
            message = await peer.expect("sendToGroup")
            assert message["data"] == "late"
            assert "ackId" not in message


async def test_sends_without_an_ack_wait_for_the_writer(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector, keep_alive_interval=1000) as client:
        peer = await service.next()
        sent = 0
        with trio.move_on_after(1) as scope:
            while True:
                await client.send_to_group("g", "x" * 10_000, ack=False)
                sent += 1
        assert scope.cancelled_caught
        assert 20 < sent < 100  # a quarter of a megabyte is queued, and what the link and trio-websocket hold
        for _ in range(sent):
            await peer.expect("sendToGroup")


async def test_sends_without_an_ack_let_others_run_now_and_then(
    autojump_clock: MockClock, service: RawService, nursery: trio.Nursery
) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()
        nursery.start_soon(peer.closed)
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                await trio.lowlevel.checkpoint()
                turns += 1

        async with trio.open_nursery() as inner:
            inner.start_soon(count)
            for number in range(640):
                await client.send_to_group("g", number, ack=False)
            inner.cancel_scope.cancel()
        assert turns >= 8


async def test_more_sends_than_may_be_pending_wait(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector, max_pending_sends=3) as client:
        peer = await service.next()
        async with trio.open_nursery() as nursery:
            for number in range(10):
                nursery.start_soon(client.send_to_group, "g", number)
            await wait_all_tasks_blocked()
            assert len(client._core.session.outgoing.pending) == 3
            for _ in range(10):
                await peer.answer("sendToGroup")


async def test_the_every_group_form_joins_nothing(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()
        async with client.group_messages() as every, client.group_messages("a", join=False) as only:
            await peer.message(1, "to a", group="a")
            await peer.message(2, "to b", group="b")
            assert [(await every.receive()).group for _ in range(2)] == ["a", "b"]
            assert (await only.receive()).data == "to a"


async def test_a_forgotten_subscription_leaves_its_group(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.answer, "joinGroup")
            messages = client.group_messages("g")
            await messages.__aenter__()
        del messages
        gc.collect()
        await peer.message(1)  # the receive loop's next turn
        assert (await peer.expect("leaveGroup"))["group"] == "g"


async def test_the_plain_subprotocol_cannot_recover(autojump_clock: MockClock, service: RawService) -> None:
    service.subprotocol = "json.webpubsub.azure.v1"
    async with open_client(URL, connector=service.connector, subprotocol="json.webpubsub.azure.v1") as client:
        peer = await service.next()
        async with client.messages() as messages:
            await peer.message(None, "no id")
            assert (await messages.receive()).sequence_id is None
        peer.cut()
        assert "awps_connection_id" not in (await service.next()).query


async def test_nothing_shows_the_token(
    autojump_clock: MockClock, service: RawService, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with open_client(URL, connector=service.connector) as client:
        (await service.next()).cut()
        await service.next()
        shown = repr(client)
    for text in (shown, caplog.text):
        assert "canary" not in text
