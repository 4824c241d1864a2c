"""Handing a session over: `Client.detach` and ``open_client(resume=...)``."""

from __future__ import annotations

import math
import ssl
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_webpubsub import ClientStopped, Connected, ConnectFailed, Gap, SessionTicket, open_client

from .raw_service import URL, RawService


async def detached(service: RawService) -> SessionTicket:
    """Live for a while, and leave a send without its ack and two messages unread."""
    async with (
        trio.open_nursery() as nursery,
        open_client(URL, connector=service.connector, keep_alive_interval=math.inf) as client,
    ):
        peer = await service.next()
        async with trio.open_nursery() as inner:
            inner.start_soon(peer.answer, "joinGroup")
            await client.join_group("g")

        async def send() -> None:
            with pytest.raises(ClientStopped, match="detached"):
                await client.send_to_group("g", "unanswered")

        nursery.start_soon(send)
        messages = client.group_messages("g", join=False)
        await peer.expect("sendToGroup")
        for number in range(1, 4):
            await peer.message(number, number)
        await peer.message(4, "for nobody yet", group=None)
        assert (await messages.receive()).sequence_id == 1
        await wait_all_tasks_blocked()
        ticket = await client.detach()
        assert client.state == "stopped"
        assert "detached" in await client.wait_stopped()
        with pytest.raises(trio.EndOfChannel):
            await messages.receive()
        with pytest.raises(trio.ClosedResourceError):
            await client.join_group("h")
        assert await peer.closed() == 1006  # no close frame, or the session would be over
    return ticket


async def test_another_process_goes_on(autojump_clock: MockClock, service: RawService) -> None:
    ticket = SessionTicket.from_bytes((await detached(service)).to_bytes())
    got: list[Any] = []
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def play() -> None:
            peer = await service.next()
            assert peer.query == {"awps_connection_id": "c-1", "awps_reconnection_token": "canary-token"}
            await peer.expect("ping")
            await peer.send(type="pong")
            again = await peer.expect("sendToGroup")
            assert (again["data"], again["ackId"]) == ("unanswered", 2)
            await peer.ack(again)
            await peer.message(4, "for nobody yet", group=None)
            await peer.message(5, 5)
            message = await peer.answer("sendToGroup")
            assert message["ackId"] == 3

        async with open_client("ws://localhost/client/hubs/chat", resume=ticket, connector=service.connector) as client:
            assert (client.connection_id, client.user_id) == ("c-1", "ann")
            async with client.group_messages("g", join=False) as messages, client.server_messages() as server:
                got = [(await messages.receive()).sequence_id for _ in range(3)]
                assert (await server.receive()).data == "for nobody yet"
            await client.send_to_group("g", "next")
    assert got == [2, 3, 5]


async def test_too_late_there_is_a_new_session_with_a_gap(autojump_clock: MockClock, service: RawService) -> None:
    ticket = await detached(service)
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def play() -> None:
            await (await service.next()).websocket.aclose(1008)
            peer = await service.next()
            assert (await peer.answer("joinGroup"))["group"] == "g"
            await peer.message(1, "new")

        async with open_client(URL, resume=ticket, connector=service.connector) as client:
            async with client.group_messages("g", join=False, gaps=True) as messages:
                got = [await messages.receive() for _ in range(4)]
            assert [each if isinstance(each, Gap) else each.sequence_id for each in got] == [
                2,
                3,
                Gap(session_lost=True),
                1,
            ]


async def test_a_ticket_is_used_once(autojump_clock: MockClock, service: RawService) -> None:
    ticket = await detached(service)
    service.refuse = OSError("no route to host")
    with pytest.raises(ConnectFailed):
        async with open_client(URL, resume=ticket, connector=service.connector, recovery_timeout=1):
            pytest.fail("nobody is there")
    with pytest.raises(ValueError, match="used once"):
        async with open_client(URL, resume=ticket, connector=service.connector):
            pytest.fail("the ticket was used")


def not_async() -> str:
    return URL


async def test_a_ticket_with_a_url_callable_that_is_not_async(autojump_clock: MockClock, service: RawService) -> None:
    ticket = await detached(service)
    url: Any = not_async
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def play() -> None:
            await (await service.next()).websocket.aclose(1008)

        with pytest.raises(ConnectFailed, match=r"functools\.partial"):
            async with open_client(url, resume=ticket, connector=service.connector):
                pytest.fail("there is no URL")


async def test_a_session_is_detached_once(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector) as client:
        await service.next()
        await client.detach()
        with pytest.raises(trio.ClosedResourceError, match="detached"):
            await client.detach()
    with pytest.raises(trio.ClosedResourceError, match="detached"):
        await client.detach()


async def test_a_session_without_a_link_can_be_detached(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()
        service.refuse = OSError("no route to host")
        peer.cut()
        await wait_all_tasks_blocked()
        assert client.state == "recovering"
        ticket = await client.detach()
    service.refuse = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(service.recover)
        async with open_client(URL, connector=service.connector, resume=ticket) as client:
            assert client.connection_id == "c-1"


async def test_a_lost_session_cannot_be_detached(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()
        service.refuse = OSError("no route to host")
        await peer.websocket.aclose(1008)
        await wait_all_tasks_blocked()
        assert client.state == "reconnecting"
        with pytest.raises(RuntimeError, match="while it lasts"):
            await client.detach()
        service.refuse = None
        await service.next()


async def test_what_was_sent_without_an_ack_is_written_before(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector) as client, trio.open_nursery() as nursery:
        peer = await service.next()
        for number in range(20):
            await client.send_to_group("g", f"{number} {'x' * 10_000}", ack=False)

        @nursery.start_soon
        async def read() -> None:
            for number in range(20):
                assert (await peer.expect("sendToGroup"))["data"].startswith(f"{number} ")

        await client.detach()
        assert client.statistics().sends_lost == 0


async def test_a_service_that_does_not_read_holds_nobody_up(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector) as client:
        await service.next()
        with trio.move_on_after(0.1):
            while True:
                await client.send_to_group("g", "x" * 10_000, ack=False)
        start = trio.current_time()
        await client.detach()
        assert trio.current_time() - start == pytest.approx(0.5)
        assert client.statistics().sends_lost > 0


async def test_cancelled_while_it_writes_nothing_has_happened(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector, keep_alive_interval=math.inf) as client:
        peer = await service.next()
        with trio.move_on_after(0.1):
            while True:
                await client.send_to_group("g", "x" * 10_000, ack=False)
        with trio.move_on_after(0.1) as scope:
            await client.detach()
        assert scope.cancelled_caught
        assert client.state == "connected"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.closed)
            await client.send_to_group("g", "still here", ack=False)
            nursery.cancel_scope.cancel()


async def test_what_is_not_asked_for_goes_on_to_the_next_process(
    autojump_clock: MockClock, service: RawService
) -> None:
    ticket = await detached(service)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(service.recover)
        async with open_client(URL, resume=ticket, connector=service.connector) as client:
            ticket = await client.detach()
        nursery.start_soon(service.recover)
        async with open_client(URL, resume=ticket, connector=service.connector) as client:
            messages = client.group_messages("g", join=False)
            assert [messages.receive_nowait().sequence_id for _ in range(2)] == [2, 3]
            assert client.server_messages().receive_nowait().data == "for nobody yet"
            with pytest.raises(trio.WouldBlock):
                messages.receive_nowait()


async def test_a_session_lost_on_the_way_is_told_to_the_last_process(
    autojump_clock: MockClock, service: RawService
) -> None:
    ticket = await detached(service)
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def refuse() -> None:
            await (await service.next()).websocket.aclose(1008)
            await (await service.next()).answer("joinGroup")

        async with open_client(URL, resume=ticket, connector=service.connector) as client:
            await wait_all_tasks_blocked()
            ticket = await client.detach()
        nursery.start_soon(service.recover)
        async with open_client(URL, resume=ticket, connector=service.connector) as client:
            messages = client.group_messages("g", join=False, gaps=True)
            got = [messages.receive_nowait() for _ in range(3)]
            assert [each if isinstance(each, Gap) else each.sequence_id for each in got] == [
                2,
                3,
                Gap(session_lost=True),
            ]


async def test_a_gap_is_for_those_who_asked_for_gaps(autojump_clock: MockClock, service: RawService) -> None:
    for gaps in (True, False):
        async with open_client(URL, connector=service.connector, keep_alive_interval=math.inf) as client:
            peer = await service.next()
            unread = client.group_messages(gaps=True)
            await peer.message(1, "one")
            await peer.websocket.send_message("{")
            await peer.message(2, "two")
            await wait_all_tasks_blocked()
            ticket = await client.detach()
            unread.close()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(service.recover)
            async with open_client(URL, resume=ticket, connector=service.connector) as client:
                messages: Any = client.group_messages(gaps=gaps)
                got = [messages.receive_nowait() for _ in range(3 if gaps else 2)]
                assert [isinstance(each, Gap) for each in got] == [False, *([True] if gaps else []), False]


async def test_a_buffer_is_no_limit_for_what_another_process_left(
    autojump_clock: MockClock, service: RawService
) -> None:
    ticket = await detached(service)
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def play() -> None:
            peer = await service.next()
            await peer.expect("ping")
            await peer.message(5, 5)

        async with (
            open_client(URL, resume=ticket, connector=service.connector) as client,
            client.group_messages("g", join=False, buffer=1) as messages,
        ):
            await wait_all_tasks_blocked()
            assert [(await messages.receive()).sequence_id for _ in range(3)] == [2, 3, 5]


async def test_a_ticket_sends_no_secret_in_the_clear(autojump_clock: MockClock, service: RawService) -> None:
    url = URL.replace("localhost", "example.org")
    async with open_client(url, connector=service.connector, allow_insecure=True) as client:
        await service.next()
        ticket = await client.detach()
    with pytest.raises(ValueError, match="allow_insecure"):
        async with open_client(URL, resume=ticket, connector=service.connector):
            pytest.fail("the token would travel in the clear")
    async with trio.open_nursery() as nursery:  # it was not used up
        nursery.start_soon(service.recover)
        async with open_client(URL, resume=ticket, connector=service.connector, allow_insecure=True) as client:
            assert client.connection_id == "c-1"


async def test_a_plain_session_cannot_be_detached(autojump_clock: MockClock, service: RawService) -> None:
    service.subprotocol = "json.webpubsub.azure.v1"
    async with open_client(URL, connector=service.connector, subprotocol="json.webpubsub.azure.v1") as client:
        with pytest.raises(RuntimeError, match="reliable"):
            await client.detach()


async def test_a_ticket_is_not_used_up_by_a_bad_option(autojump_clock: MockClock, service: RawService) -> None:
    ticket = await detached(service)
    with pytest.raises(ValueError, match="ack_timeout"):
        async with open_client(URL, resume=ticket, ack_timeout=0):
            pytest.fail("this option makes no sense")
    assert ticket.subprotocol == "json.reliable.webpubsub.azure.v1"


async def test_a_resumed_session_that_is_lost_later_is_followed_as_any_other(
    autojump_clock: MockClock, service: RawService
) -> None:
    async with open_client(URL, connector=service.connector) as client:
        await service.next()
        ticket = await client.detach()

    async def recover_and_refuse() -> None:
        peer = await service.next()
        await peer.expect("ping")
        await peer.send(type="pong")
        service.refuse = OSError("the test says no")
        await peer.websocket.aclose(1008)
        await trio.sleep(20)
        service.refuse = None

    with trio.fail_after(200):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(recover_and_refuse)
            async with open_client(URL, connector=service.connector, resume=ticket) as client:
                async for each in client.lifecycle():
                    if isinstance(each, Connected):
                        break
                assert client.connection_id == "c-2"


async def test_detaching_is_a_checkpoint_before_anything_happens(
    autojump_clock: MockClock, service: RawService
) -> None:
    async with open_client(URL, connector=service.connector) as client:
        with trio.CancelScope() as scope:
            scope.cancel()
            await client.detach()
        assert scope.cancelled_caught
        assert client.state == "connected"


async def test_a_recovery_under_way_is_given_up(autojump_clock: MockClock, service: RawService) -> None:
    """It would take the session away from whoever resumes it, as long as the old block lives."""

    async def slow_once_lost(host: str, port: int, ssl_context: ssl.SSLContext | None, /) -> trio.abc.Stream:
        await trio.sleep(3 if service.dials else 0)
        return await service.connector(host, port, ssl_context)

    async with open_client(URL, connector=slow_once_lost) as client:
        (await service.next()).cut()
        await wait_all_tasks_blocked()
        assert client.state == "recovering"
        await client.detach()
        await trio.sleep(10)
        assert service.dials == 1


async def test_what_overflowed_is_told_in_the_next_process(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()
        messages = client.group_messages("g", join=False, buffer=2)
        for number in range(1, 6):
            await peer.message(number)
        await wait_all_tasks_blocked()
        ticket = await client.detach()
        assert messages.statistics().dropped == 3

    async def play() -> None:
        await (await service.recover()).message(6)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(play)
        async with open_client(URL, connector=service.connector, resume=ticket) as client:
            messages_and_gaps = client.group_messages("g", join=False, gaps=True)
            got = [await messages_and_gaps.receive() for _ in range(4)]
    assert [each if isinstance(each, Gap) else each.sequence_id for each in got] == [1, 2, Gap(overflowed=3), 6]


async def test_a_gap_stands_behind_what_was_held_before_it(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector) as client:
        await (await service.next()).message(1, "old")
        await wait_all_tasks_blocked()
        ticket = await client.detach()

    async def play() -> None:
        await (await service.recover()).websocket.aclose(1008)
        await (await service.next()).message(1, "new")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(play)
        async with open_client(URL, connector=service.connector, resume=ticket) as client:
            await trio.sleep(5)
            others = client.group_messages("h", join=False, gaps=True)
            assert await others.receive() == Gap(session_lost=True)
            messages = client.group_messages("g", join=False, gaps=True)
            got = [await messages.receive() for _ in range(3)]
    assert [each if isinstance(each, Gap) else each.data for each in got] == ["old", Gap(session_lost=True), "new"]
