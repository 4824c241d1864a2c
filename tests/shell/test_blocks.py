"""Blocks that are used as what they are not: each mistake is told with what to write instead."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from typing import Any

import pytest

from trio_webpubsub import open_client
from trio_webpubsub._shell.blocks import block
from trio_webpubsub.emulator import Emulator, open_emulator, serve_emulator
from trio_webpubsub.service import open_service
from trio_webpubsub.webhooks import WebhookApp, serve_webhooks

CONNECTION_STRING = "Endpoint=http://localhost:1;AccessKey=key;"


@block("async with open_door(name) as door:")
@asynccontextmanager
async def open_door(name: str) -> AsyncGenerator[str]:
    """Open a door."""
    with suppress(KeyError):
        yield name


async def test_a_block_gives_its_value_and_sees_the_exception() -> None:
    async with open_door("front") as door:
        assert door == "front"
        raise KeyError


async def test_a_stack_enters_it() -> None:
    async with AsyncExitStack() as stack:
        assert await stack.enter_async_context(open_door("back")) == "back"


def test_it_is_documented_as_what_it_was() -> None:
    assert (open_door.__name__, open_door.__doc__) == ("open_door", "Open a door.")


OPENERS: list[Callable[[], Any]] = [
    partial(open_door, "front"),
    partial(open_client, "ws://localhost/client/hubs/chat"),
    partial(open_service, CONNECTION_STRING, "chat"),
    partial(open_emulator, in_memory=True),
]


@pytest.fixture(params=OPENERS, ids=lambda opener: opener.func.__name__)
def opened(request: pytest.FixtureRequest) -> Any:
    return request.param()


def test_with_without_async(opened: Any) -> None:
    with pytest.raises(TypeError, match=r"this takes `async with`, not `with`: async with open_\w+\("), opened:
        pytest.fail("it is not entered")


async def test_awaited(opened: Any) -> None:
    with pytest.raises(TypeError, match=r"this is a block and not awaited: async with open_\w+\("):
        await opened


async def test_used_without_a_block(opened: Any) -> None:
    with pytest.raises(AttributeError, match=r"there is no 'join_group' before the block: async with open_\w+\("):
        await opened.join_group("lobby")


async def test_entered_twice() -> None:
    door = open_door("front")
    async with door:
        pass
    with pytest.raises(RuntimeError, match="was entered before; make a new one: async with open_door"):
        async with door:
            pytest.fail("it is not entered")


def test_under_another_event_loop(opened: AbstractAsyncContextManager[object]) -> None:
    async def main() -> None:
        async with opened:
            pytest.fail("it is not entered")

    with pytest.raises(RuntimeError, match=r"under trio only: start the program with trio\.run"):
        asyncio.run(main())


@pytest.mark.parametrize("serve", [serve_emulator, partial(serve_webhooks, WebhookApp("chat", access_keys=["key"]))])
def test_serving_under_another_event_loop(serve: Callable[[], Any]) -> None:
    with pytest.raises(RuntimeError, match="under trio only"):
        asyncio.run(serve())


async def test_streams_and_states_are_blocks_too() -> None:
    async with (
        open_emulator(in_memory=True) as emulator,
        open_client(emulator.client_url("chat"), connector=emulator.connector) as client,
    ):
        assert isinstance(emulator, Emulator)
        stream: Any = client.open_stream("lobby")
        with pytest.raises(TypeError, match=r"async with client\.open_stream"), stream:
            pytest.fail("it is not entered")
        members: Any = client.group_state("lobby")
        with pytest.raises(AttributeError, match=r"async with client\.group_state"):
            members.changes()


async def test_what_is_iterated_over_is_neither_awaited_nor_for_a_plain_loop() -> None:
    async with (
        open_emulator(in_memory=True) as emulator,
        open_client(emulator.client_url("chat"), connector=emulator.connector) as client,
        open_service(emulator.connection_string, "chat", connector=emulator.connector) as service,
    ):
        results: list[tuple[Any, str]] = [
            (client.group_messages("lobby"), r"client\.group_messages\(group\)"),
            (client.group_streams("lobby"), r"client\.group_streams\(group\)"),
            (service.list_connections("lobby"), r"service\.list_connections\(group\)"),
        ]
        for result, origin in results:
            with pytest.raises(TypeError, match=rf"not awaited but iterated over: async for each in {origin}:$"):
                await result
            with pytest.raises(TypeError, match=rf"`async for`, not `for`: async for each in {origin}:$"):
                list(result)


async def test_a_subscription_takes_async_with() -> None:
    async with (
        open_emulator(in_memory=True) as emulator,
        open_client(emulator.client_url("chat"), connector=emulator.connector) as client,
    ):
        messages: Any = client.group_messages("lobby")
        with pytest.raises(TypeError, match=r"`async with`, not `with`: async with client\.group_messages"), messages:
            pytest.fail("it is not entered")
