"""Leaving the client's block while the service goes on as if nothing were."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from trio_webpubsub import open_client
from trio_webpubsub.emulator import Limits, open_emulator
from trio_webpubsub.testing import SimulatedNetwork


@pytest.mark.parametrize("tenths", range(20))
async def test_a_ping_that_comes_after_our_close_harms_nobody(autojump_clock: MockClock, tenths: int) -> None:
    network = SimulatedNetwork(latency=0.3)
    async with open_emulator(in_memory=True, listener_limits=Limits(ping_interval=1)) as emulator:
        url = emulator.client_url("chat")
        async with open_client(url, connector=network.connector(emulator)) as client, client.group_messages("g"):
            await trio.sleep(2 + tenths / 10)
        await trio.sleep(1)
        assert emulator.connections("chat") == []
    assert network.links == []
