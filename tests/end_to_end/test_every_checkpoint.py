"""A user's calls cancelled at every scheduler pass of a script: the link must not notice."""

from __future__ import annotations

from typing import get_args

import pytest
import trio
from trio.testing import MockClock

from trio_webpubsub import Client, InvocationFailed, SendFailed, open_client
from trio_webpubsub.emulator import open_emulator
from trio_webpubsub.protocol.subprotocols import Subprotocol


async def script(client: Client) -> None:
    """Use everything that waits."""
    await client.join_group("a")
    await client.send_to_group("a", {"n": 1})
    await client.send_to_group("a", b"2", ack=False, no_echo=True)
    with pytest.raises(SendFailed):
        await client.send_event("nobody", "hears")
    with pytest.raises(InvocationFailed):
        await client.invoke_event("nobody", "answers")
    async with client.group_messages("b") as messages, client.group_messages("b") as same:
        await client.send_to_group("b", "hello")
        assert (await messages.receive()).data == "hello"
        assert [message.data for message in await anext(same.batches())] == ["hello"]
    await client.leave_group("a")


@pytest.mark.parametrize("subprotocol", get_args(Subprotocol))
async def test_cancelling_anywhere_never_harms_the_link(autojump_clock: MockClock, subprotocol: Subprotocol) -> None:
    async with open_emulator(in_memory=True) as emulator:
        url = emulator.client_url("chat", user_id="ann")
        finished = False
        passes = 0
        while not finished:
            passes += 1
            async with open_client(url, connector=emulator.connector, subprotocol=subprotocol) as client:
                async with trio.open_nursery() as nursery:

                    @nursery.start_soon
                    async def run() -> None:
                        nonlocal finished
                        await script(client)
                        finished = True

                    for _ in range(passes):
                        await trio.lowlevel.checkpoint()
                    nursery.cancel_scope.cancel()
                async with client.group_messages("check") as messages:
                    await client.send_to_group("check", passes)
                    assert (await messages.receive()).data == passes
                assert client.statistics().pending_sends == 0
                assert client.statistics().recoveries == client.statistics().reconnects == 0
        assert passes > 30
        await trio.testing.wait_all_tasks_blocked()
        assert emulator.connections("chat") == []
