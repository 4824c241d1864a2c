"""The official event handler for Express behind the emulator, and the official client that invokes it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest
import trio

from tests.interop.conftest import HASTE, LIMIT
from tests.interop.node_peer import Node, NodeError, open_node
from trio_webpubsub import ConnectFailed, SendFailed, open_client
from trio_webpubsub.emulator import Emulator, EventHandler, open_emulator


@pytest.fixture
async def handler() -> AsyncIterator[tuple[Node, str]]:
    """A web server with the handler, and where it is."""
    with trio.fail_after(LIMIT):
        async with open_node() as node:
            opened = await node.do("openHandler", "chat", {"path": "/eventhandler"})
            yield node, f"http://127.0.0.1:{opened['port']}{opened['path']}"


@pytest.fixture
async def emulator(handler: tuple[Node, str]) -> AsyncIterator[Emulator]:
    """One whose events go there."""
    async with open_emulator(event_handlers={"chat": [EventHandler(handler[1])]}, handler_limits=HASTE) as emulator:
        yield emulator


async def test_it_says_who_may_connect_and_as_whom(handler: tuple[Node, str], emulator: Emulator) -> None:
    node, _ = handler
    async with open_client(f"{emulator.client_url('chat', user_id='ann', roles=[])}&colour=red") as client:
        assert (client.user_id, emulator.groups("chat")) == ("ann", {"welcome": [client.connection_id]})
        await client.send_to_group("welcome", "allowed")
        (asked,) = node.of("connect")
        assert (asked["user"], asked["query"]["colour"]) == ("ann", ["red"])
        assert await node.wait_for("handled-connected") == [client.connection_id]
    assert await node.wait_for("handled-disconnected") == [client.connection_id]
    async with open_client(emulator.client_url("chat")) as guest:
        assert guest.user_id == "guest"


async def test_it_refuses(emulator: Emulator) -> None:
    with pytest.raises(ConnectFailed) as refused:
        async with open_client(emulator.client_url("chat", user_id="mallory")):
            pass
    assert refused.value.status == 401


async def test_it_answers_events_and_keeps_state(handler: tuple[Node, str], emulator: Emulator) -> None:
    node, _ = handler
    sent = ["text ü", {"a": [1, "ü"]}, b"\x00\xff"]
    async with open_client(emulator.client_url("chat")) as client, client.server_messages() as messages:
        for data in sent:
            await client.send_event("echo", data)
            assert (await messages.receive()).data == data
        with pytest.raises(SendFailed):
            await client.send_event("fail", "please")
        await client.send_event("quiet", "no reply")
        await client.send_event("echo", "end")
        assert (await messages.receive()).data == "end"
    # The event that fails is tried again.
    assert [told["states"]["visits"] for told in node.of("userEvent")] == [1, 2, 3, 4, 4, 4, 4]


async def test_it_can_be_invoked(handler: tuple[Node, str], emulator: Emulator) -> None:
    async with open_node() as other:
        await other.do("openClient", emulator.client_url("chat"), {"protocol": "json.reliable.webpubsub.azure.v1"})
        for data, data_type in (("hi", "text"), ({"a": [1]}, "json"), (b"\x00\xff", "binary")):
            result = await other.do("invoke", "echo", data, data_type)
            assert (result["dataType"], result["data"]) == (data_type, data)
        with pytest.raises(NodeError):
            await other.do("invoke", "fail", "please", "text")
        assert (await other.do("invoke", "echo", "still here", "text"))["data"] == "still here"


async def test_ours_can_invoke_it_too(emulator: Emulator) -> None:
    async with open_client(emulator.client_url("chat")) as client:
        assert (await client.invoke_event("echo", {"a": 1})).data == {"a": 1}


async def test_events_of_simple_clients_reach_it(handler: tuple[Node, str], emulator: Emulator) -> None:
    url = emulator.client_url("chat")

    async def converse() -> list[object]:
        async with aiohttp.ClientSession() as session, session.ws_connect(url) as websocket:
            await websocket.send_str("hi")
            text = await websocket.receive(timeout=10)
            await websocket.send_bytes(b"\x00\xff")
            binary = await websocket.receive(timeout=10)
            return [text.data, binary.data]

    assert await trio.to_thread.run_sync(asyncio.run, converse()) == ["hi", b"\x00\xff"]
    assert [told["eventName"] for told in handler[0].of("userEvent")] == ["message", "message"]
