"""A client in a thread that is not its own: it says so, and goes on where it lives."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import pytest
import trio

from trio_webpubsub import Client, open_client
from trio_webpubsub.emulator import open_emulator

WHY = r"a client is used in the thread that opened it; .* trio\.from_thread\.run"


@pytest.fixture
async def client() -> AsyncGenerator[Client]:
    """A client on the real clock, which a virtual one would outrun while a thread works."""
    async with (
        open_emulator(in_memory=True) as emulator,
        open_client(emulator.client_url("chat"), connector=emulator.connector) as client,
    ):
        yield client


async def enter(block: Any) -> None:
    async with block:
        pytest.fail("it is not opened")


CALLS: list[Callable[[Client], Awaitable[object]]] = [
    lambda it: it.join_group("lobby"),
    lambda it: it.send_to_group("lobby", "hi"),
    lambda it: it.send_to_group("lobby", "hi", ack=False),
    lambda it: it.send_event("e", "hi", ack=False),
    lambda it: it.invoke_event("e"),
    lambda it: it.set_group_state("lobby", {}),
    lambda it: it.wait_stopped(),
    lambda it: it.detach(),
    lambda it: it.messages().receive(),
    lambda it: enter(it.group_messages("lobby")),
    lambda it: enter(it.group_streams("lobby")),
    lambda it: enter(it.group_state("lobby")),
    lambda it: enter(it.open_stream("lobby")),
]


@pytest.mark.parametrize("call", CALLS, ids=range(len(CALLS)))
async def test_whatever_is_called_there_says_so(client: Client, call: Callable[[Client], Awaitable[object]]) -> None:
    async def there() -> None:
        await call(client)

    with pytest.raises(RuntimeError, match=WHY):
        await trio.to_thread.run_sync(trio.run, there)
    assert (await client.join_group("lobby")).duplicated is False


async def test_a_subscription_that_was_made_here_says_so_there(client: Client) -> None:
    async with client.group_messages("lobby") as messages:
        with pytest.raises(RuntimeError, match=WHY):
            await trio.to_thread.run_sync(trio.run, messages.receive)
        await client.send_to_group("lobby", "hi")
        assert (await messages.receive()).data == "hi"


async def test_what_the_error_says_works(client: Client) -> None:
    await trio.to_thread.run_sync(trio.from_thread.run, client.join_group, "lobby")
