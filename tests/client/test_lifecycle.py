"""Watching a connection: what watchers get first, last, and what they cost."""

from __future__ import annotations

import gc
import itertools
import tracemalloc
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_webpubsub import (
    ClientStopped,
    ConnectAttemptFailed,
    Connected,
    ConnectFailed,
    Disconnected,
    Recovered,
    Stopped,
    open_client,
)

from .raw_service import URL, RawService


async def test_a_watcher_first_gets_how_it_stands(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()
        connected = Connected(connection_id="c-1", user_id="ann", first=True)
        assert (client.state, client.lifecycle().receive_nowait()) == ("connected", connected)
        service.refuse = OSError("no route to host")
        await peer.send(type="system", event="disconnected", message="maintenance")
        await peer.websocket.aclose(1001, "going away")
        await wait_all_tasks_blocked()
        disconnected = Disconnected(connection_id="c-1", code=1001, reason="going away", message="maintenance")
        assert (client.state, client.lifecycle().receive_nowait()) == ("recovering", disconnected)
        service.refuse = None
        peer = await service.next()
        await peer.expect("ping")
        await peer.send(type="pong")
        await wait_all_tasks_blocked()
        assert (client.state, client.lifecycle().receive_nowait()) == ("connected", Recovered(connection_id="c-1"))
        await peer.websocket.aclose(1008)
        await service.next()
        await wait_all_tasks_blocked()
        connected = Connected(connection_id="c-2", user_id="ann", first=False)
        assert client.lifecycle().receive_nowait() == connected


async def test_a_watcher_of_a_client_that_gave_up_is_told(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector, reconnect=None) as client:
        peer = await service.next()
        await peer.websocket.aclose(1008)
        reason = await client.wait_stopped()
        assert [event async for event in client.lifecycle()] == [Stopped(reason=reason)]
        with pytest.raises(ClientStopped):
            await client.join_group("g")


async def test_a_watcher_after_the_block_is_told(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector) as client:
        pass
    assert [event async for event in client.lifecycle()] == [Stopped(reason="the block was left")]


async def test_what_came_early_can_be_read_after_the_end(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()
        await peer.message(1, "early", group=None)
        await wait_all_tasks_blocked()
    assert [message.data async for message in client.server_messages()] == ["early"]
    assert [message async for message in client.messages()] == []


async def test_after_the_end_no_group_is_joined(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector) as client:
        pass
    messages = client.group_messages("g")
    with pytest.raises(trio.EndOfChannel):
        messages.receive_nowait()
    with pytest.raises(trio.ClosedResourceError, match="the block was left"):
        await messages.receive()


async def test_values_cannot_be_changed() -> None:
    for value in (
        Connected(connection_id="c-1", first=True),
        Disconnected(connection_id="c-1", code=1006),
        Recovered(connection_id="c-1"),
        ConnectAttemptFailed(error=ConnectFailed("x"), next_delay=None),
        Stopped(reason="x"),
    ):
        changeable: Any = value
        with pytest.raises(AttributeError):
            changeable.connection_id = "another"


async def test_a_watcher_that_is_not_read_keeps_little(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector, reconnect=lambda: itertools.repeat(1.0)) as client:
        watcher = client.lifecycle()
        peer = await service.next()
        service.reject = 503
        await peer.websocket.aclose(1008)
        await trio.sleep(20)
        gc.collect()
        tracemalloc.start()
        try:
            before = watcher.statistics().buffered
            await trio.sleep(100)
            gc.collect()
            size, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        more = watcher.statistics().buffered - before
        assert more == 100
        assert size / more < 5_000
        await trio.sleep(1_000)
        assert watcher.statistics().buffered == 1_000
        assert isinstance(watcher.receive_nowait(), ConnectAttemptFailed)  # the oldest news are lost
        assert client.statistics().dropped == 0  # they were no messages
        service.reject = None
        await service.next()


async def test_a_forgotten_watcher_is_released(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()
        client.lifecycle()
        gc.collect()
        await peer.message(1)
        await wait_all_tasks_blocked()
        assert client._core.router._routes == {}
