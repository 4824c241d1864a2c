"""Handing a session over: `Client.detach` and ``open_client(resume=...)``."""

from __future__ import annotations

import math
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
