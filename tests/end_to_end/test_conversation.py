"""Clients, the service and an emulator in memory: what users see when links break and sessions are lost."""

from __future__ import annotations

import random

import pytest
import trio
from trio.testing import MockClock

from trio_webpubsub import (
    Client,
    ConnectAttemptFailed,
    Connected,
    ConnectFailed,
    Disconnected,
    Gap,
    GroupMessage,
    Recovered,
    SessionTicket,
    open_client,
)
from trio_webpubsub.emulator import Emulator, open_emulator
from trio_webpubsub.protocol.subprotocols import Subprotocol
from trio_webpubsub.service import open_service

RELIABLE: list[Subprotocol] = ["json.reliable.webpubsub.azure.v1", "protobuf.reliable.webpubsub.azure.v1"]
reliable = pytest.mark.parametrize("subprotocol", RELIABLE)


async def cut_now_and_then(emulator: Emulator, client: Client, seed: int) -> None:
    """Cut the link of a client again and again, each time in another way."""
    chance = random.Random(seed)
    while True:
        await trio.sleep(chance.uniform(0.0, 2.0))
        if any(each.attached for each in emulator.connections("chat") if each.connection_id == client.connection_id):
            emulator.cut(client.connection_id or "", chance.choice(["reset", "eof", "silence"]))


@reliable
@pytest.mark.parametrize("seed", range(3))
async def test_thousands_of_messages_survive_any_cuts(
    autojump_clock: MockClock, subprotocol: Subprotocol, seed: int
) -> None:
    number = 3_000
    with trio.fail_after(2_000):
        async with (
            open_emulator(in_memory=True) as emulator,
            open_client(emulator.client_url("chat"), connector=emulator.connector, subprotocol=subprotocol) as client,
            client.group_messages("lobby", gaps=True) as messages,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(cut_now_and_then, emulator, client, seed)

            @nursery.start_soon
            async def send() -> None:
                for each in range(number):
                    await client.send_to_group("lobby", each)
                    if each % 10 == 0:
                        await trio.sleep(0.1)

            for expected in range(number):
                message = await messages.receive()
                assert isinstance(message, GroupMessage)
                assert message.data == expected
            assert client.statistics().recoveries > 10
            assert client.statistics().reconnects == 0
            nursery.cancel_scope.cancel()


@reliable
async def test_what_servers_send_survives_any_cuts(autojump_clock: MockClock, subprotocol: Subprotocol) -> None:
    with trio.fail_after(2_000):
        async with (
            open_emulator(in_memory=True) as emulator,
            open_service(emulator.connection_string, "chat", connector=emulator.connector) as service,
            open_client(emulator.client_url("chat"), connector=emulator.connector, subprotocol=subprotocol) as client,
            client.server_messages(gaps=True) as messages,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(cut_now_and_then, emulator, client, 7)

            @nursery.start_soon
            async def send() -> None:
                for each in range(500):
                    await service.send_to_all(each)
                    await trio.sleep(0.05)

            for expected in range(500):
                message = await messages.receive()
                assert not isinstance(message, Gap)
                assert message.data == expected
            assert client.statistics().reconnects == 0
            nursery.cancel_scope.cancel()


@reliable
async def test_a_forgotten_session_is_told_and_its_groups_are_joined_again(
    autojump_clock: MockClock, subprotocol: Subprotocol
) -> None:
    with trio.fail_after(100):
        async with (
            open_emulator(in_memory=True) as emulator,
            open_client(emulator.client_url("chat"), connector=emulator.connector, subprotocol=subprotocol) as client,
            client.lifecycle() as news,
            client.group_messages("lobby", gaps=True) as messages,
        ):
            await client.join_group("kept")
            first = client.connection_id or ""
            await client.send_to_group("lobby", "before")
            emulator.forget_session(first)
            kinds = [type(await news.receive()) for _ in range(4)]
            assert kinds == [Connected, Disconnected, ConnectAttemptFailed, Connected]
            await client.send_to_group("lobby", "after")
            got = [await messages.receive() for _ in range(3)]
            assert got[1] == Gap(session_lost=True)
            assert [each.data for each in got if isinstance(each, GroupMessage)] == ["before", "after"]
            assert client.connection_id != first
            assert emulator.groups("chat") == {"kept": [client.connection_id], "lobby": [client.connection_id]}


async def test_a_long_outage_is_waited_for(autojump_clock: MockClock) -> None:
    with trio.fail_after(3_600):
        async with (
            open_emulator(in_memory=True) as emulator,
            open_client(emulator.client_url("chat"), connector=emulator.connector) as client,
            client.group_messages("lobby", gaps=True) as messages,
        ):
            with emulator.refuse_connections():
                emulator.cut_all()
                await trio.sleep(20 * 60)
                assert client.state == "reconnecting"
            await client.send_to_group("lobby", "back")
            assert await messages.receive() == Gap(session_lost=True)
            message = await messages.receive()
            assert isinstance(message, GroupMessage)
            assert message.data == "back"


async def test_a_short_outage_is_recovered(autojump_clock: MockClock) -> None:
    with trio.fail_after(100):
        async with (
            open_emulator(in_memory=True) as emulator,
            open_client(emulator.client_url("chat"), connector=emulator.connector) as client,
            client.lifecycle() as news,
        ):
            with emulator.refuse_connections(None):
                emulator.cut_all("eof")
                await trio.sleep(15)
                assert client.state == "recovering"
            async for each in news:
                if isinstance(each, Recovered):
                    break
            assert client.statistics().reconnects == 0


async def test_refused_from_the_start(autojump_clock: MockClock) -> None:
    with trio.fail_after(100):
        async with open_emulator(in_memory=True) as emulator:
            with emulator.refuse_connections(503), pytest.raises(ConnectFailed) as refused:
                async with open_client(emulator.client_url("chat"), connector=emulator.connector):
                    pass
            assert refused.value.status == 503


async def test_a_hundred_clients_talk_to_each_other(autojump_clock: MockClock) -> None:
    heard = [0] * 100

    async def chat(emulator: Emulator, index: int, ready: trio.Event, everybody: trio.Event) -> None:
        async with (
            open_client(emulator.client_url("chat"), connector=emulator.connector) as client,
            client.group_messages("lobby") as messages,
        ):
            ready.set()
            await everybody.wait()
            await client.send_to_group("lobby", index)
            seen: set[object] = set()
            while len(seen) < 100:
                seen.add((await messages.receive()).data)
            heard[index] = len(seen)

    with trio.fail_after(100):
        async with open_emulator(in_memory=True) as emulator, trio.open_nursery() as nursery:
            everybody = trio.Event()
            for index in range(100):
                ready = trio.Event()
                nursery.start_soon(chat, emulator, index, ready, everybody)
                await ready.wait()
            everybody.set()
    assert heard == [100] * 100


async def test_detaching_is_not_half_done_wherever_it_is_cancelled(autojump_clock: MockClock) -> None:
    """Either there is a ticket, with which another client goes on, or the session is this client's until its end."""
    outcomes: list[bool] = []
    with trio.fail_after(1_000):
        async with open_emulator(in_memory=True) as emulator:
            for passes in range(12):
                ticket: SessionTicket | None = None
                url = emulator.client_url("chat")
                with trio.CancelScope() as scope:
                    async with open_client(url, connector=emulator.connector) as client:
                        await client.join_group("lobby")
                        connection_id = client.connection_id
                        async with trio.open_nursery() as nursery:

                            @nursery.start_soon
                            async def detach() -> None:
                                nonlocal ticket
                                ticket = await client.detach()

                            for _ in range(passes):
                                await trio.lowlevel.checkpoint()
                            scope.cancel()
                outcomes.append(ticket is not None)
                if ticket is None:
                    assert emulator.connections("chat") == []
                else:
                    async with open_client(url, resume=ticket, connector=emulator.connector) as successor:
                        await successor.send_to_group("lobby", "hi")
                        assert successor.connection_id == connection_id
                        async with successor.group_messages("lobby", join=False) as messages:
                            assert (await messages.receive()).data == "hi"
    assert outcomes[-1]


async def resume(emulator: Emulator, ticket: SessionTicket, opened: list[bool]) -> None:
    async with open_client(emulator.client_url("chat"), resume=ticket, connector=emulator.connector):
        opened[-1] = True


@reliable
async def test_resuming_may_be_cancelled_anywhere(autojump_clock: MockClock, subprotocol: Subprotocol) -> None:
    opened: list[bool] = []
    with trio.fail_after(1_000):
        async with open_emulator(in_memory=True) as emulator:
            url = emulator.client_url("chat")
            for passes in range(0, 60, 3):
                async with open_client(url, connector=emulator.connector, subprotocol=subprotocol) as client:
                    ticket = await client.detach()
                opened.append(False)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(resume, emulator, ticket, opened)
                    for _ in range(passes):
                        await trio.lowlevel.checkpoint()
                    nursery.cancel_scope.cancel()
            await trio.sleep(60)
            assert emulator.connections("chat") == []
    assert not opened[0]
    assert opened[-1]
