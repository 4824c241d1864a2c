"""Clients beside a service in another process, which is suspended, killed and started again."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
import trio

from trio_webpubsub import Connected, Gap, Recovered, open_client
from trio_webpubsub.protocol.connection_string import ConnectionString
from trio_webpubsub.service import Service, open_service

ROLES = ["webpubsub.joinLeaveGroup", "webpubsub.sendToGroup"]
QUICK: dict[str, Any] = {"keep_alive_interval": 0.2, "keep_alive_timeout": 0.3, "connect_timeout": 1.0}
LIMIT = 40.0

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="processes cannot be suspended here")


@asynccontextmanager
async def emulator_process(port: int = 0) -> AsyncGenerator[tuple[trio.Process, str], None]:
    """Run an emulator in a process of its own; gives it and its connection string."""
    command = [sys.executable, "-m", "trio_webpubsub", "emulator", "--port", str(port)]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    process = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE, env=environment)
    assert process.stdout is not None
    try:
        printed = b""
        while not (found := re.search(rb"Connection string: (\S+)", printed)):
            chunk = await process.stdout.receive_some()
            assert chunk, "the emulator did not start"
            printed += chunk
        yield process, found[1].decode()
    finally:
        process.send_signal(signal.SIGCONT)
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
            await process.stdout.aclose()


def url_of(service: Service) -> Any:
    """Give the async callable that a client asks for a URL."""
    return partial(service.client_access_url, roles=ROLES)


async def test_a_suspended_service_is_noticed_and_nothing_is_lost_when_it_goes_on() -> None:
    with trio.fail_after(LIMIT):
        async with (
            emulator_process() as (process, connection_string),
            open_service(connection_string, "chat") as service,
            open_client(url_of(service), **QUICK) as client,
            client.group_messages("lobby") as messages,
            client.lifecycle() as news,
            trio.open_nursery() as nursery,
        ):
            assert isinstance(await news.receive(), Connected)
            await client.send_to_group("lobby", 0)
            process.send_signal(signal.SIGSTOP)
            for number in range(1, 5):
                nursery.start_soon(client.send_to_group, "lobby", number)
            while client.state != "recovering":
                await news.receive()
            process.send_signal(signal.SIGCONT)
            while not isinstance(await news.receive(), Recovered):
                pass
            # Tasks start in any order, so this is about what came, not about its order.
            assert sorted([(await messages.receive()).data for _ in range(5)]) == [0, 1, 2, 3, 4]


async def test_a_killed_service_is_a_lost_session_once_it_is_back() -> None:
    with trio.fail_after(LIMIT):
        async with emulator_process() as (process, connection_string):
            port = int(ConnectionString.parse(connection_string).endpoint.rpartition(":")[2])
            async with (
                open_service(connection_string, "chat") as service,
                open_client(url_of(service), **QUICK) as client,
                client.group_messages("lobby", gaps=True) as messages,
            ):
                first = client.connection_id
                process.kill()
                await process.wait()
                async with emulator_process(port):
                    assert await messages.receive() == Gap(session_lost=True)
                    await client.send_to_group("lobby", "a new beginning")
                    message = await messages.receive()
                    assert not isinstance(message, Gap)
                    assert message.data == "a new beginning"
                    assert client.connection_id != first
