"""What is tried against attacks and is nobody else's test; docs/topics/security.rst lists them all."""

from __future__ import annotations

import gc
import logging
import re
import tracemalloc

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.client.raw_service import URL, raw_service
from tests.simulation import whole_stack
from trio_webpubsub import ConnectAttemptFailed, ConnectFailed, Lifecycle, Subscription, open_client
from trio_webpubsub.emulator import DEFAULT_ACCESS_KEY, HubLimits, open_emulator
from trio_webpubsub.testing import SimulatedNetwork

SECRETS = re.compile(rf"{DEFAULT_ACCESS_KEY}|eyJhbGciOi|reconnectionToken\W+\d|\b\d\.[0-9a-f]{{64}}")
"""The access key; the beginning of every token; reconnection tokens, by name and as they look."""


def test_no_secret_is_logged_whatever_goes_wrong(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    logging.disable(logging.NOTSET)
    for seed in range(10):
        whole_stack.run(seed)
    assert len(caplog.records) > 1000
    for record in caplog.records:
        assert SECRETS.search(f"{record.getMessage()} {record.exc_text}") is None, f"{record.name} logged a secret"


async def keep(news: Subscription[Lifecycle], where: list[Lifecycle]) -> None:
    async for one in news:
        where.append(one)  # noqa: PERF401 - all but the last would be lost when this is cancelled


async def test_deflate_is_offered_in_vain(autojump_clock: MockClock) -> None:
    async with open_emulator(in_memory=True) as emulator:
        path = emulator.client_url("chat").partition("127.0.0.1:1")[2]
        stream = await emulator.connector("127.0.0.1", 1, None)
        head = [
            f"GET {path} HTTP/1.1",
            "Host: 127.0.0.1:1",
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Protocol: json.webpubsub.azure.v1",
            "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
            "\r\n",
        ]
        await stream.send_all("\r\n".join(head).encode())
        answer = bytes(await stream.receive_some())
        await trio.aclose_forcefully(stream)
    assert answer.startswith(b"HTTP/1.1 101")
    assert b"extensions" not in answer.lower()


async def test_connections_that_are_gone_leave_nothing_behind(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)  # records are kept

    async def come_and_go(times: int) -> int:
        for _ in range(times):
            async with open_client(emulator.client_url("chat", groups=["g"]), connector=emulator.connector):
                pass
        await trio.sleep(100)
        gc.collect()
        return len(gc.get_objects())

    async with open_emulator(in_memory=True) as emulator:
        before = await come_and_go(100)
        assert await come_and_go(300) - before < 150  # less than one for every other connection


async def test_many_roles_make_a_token_that_is_not_looked_at(autojump_clock: MockClock) -> None:
    roles = [f"webpubsub.sendToGroup.group-{number}" for number in range(10_000)]
    async with open_emulator(in_memory=True) as emulator:
        url = emulator.client_url("chat", roles=roles)
        with pytest.raises(ConnectFailed) as caught:
            async with open_client(url, connector=emulator.connector):
                pass
        # The head of the request is too long already, before anybody could decode the token.
        assert caught.value.status == 431


async def test_a_redirect_of_the_handshake_is_not_followed(autojump_clock: MockClock) -> None:
    async with raw_service() as service:
        service.reject = 302
        with pytest.raises(ConnectFailed, match="302"):
            async with open_client(URL, connector=service.connector):
                pass
        assert service.dials == 1


async def test_a_new_session_does_not_go_into_the_open(autojump_clock: MockClock) -> None:
    urls = [URL, URL.replace("localhost", "example.org"), URL]
    news: list[Lifecycle] = []

    async def provider() -> str:
        return urls.pop(0)

    async with raw_service() as service, open_client(provider, connector=service.connector) as client:
        peer = await service.next()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(keep, client.lifecycle(), news)
            await wait_all_tasks_blocked()
            await peer.websocket.aclose(1008)
            await service.next()
            nursery.cancel_scope.cancel()
        (failed,) = [one for one in news if isinstance(one, ConnectAttemptFailed)]
        assert "in the clear" in str(failed.error)
        assert "canary" not in str(failed.error)
        assert service.dials == 2


async def test_a_client_that_confirms_nothing_costs_a_bounded_amount(autojump_clock: MockClock) -> None:
    network = SimulatedNetwork()
    limits = HubLimits(unacknowledged_messages=100)
    payload = "x" * 10_000
    async with open_emulator(in_memory=True, limits=limits, kept_messages=1) as emulator:

        async def url() -> str:
            return emulator.client_url("chat", groups=["g"])

        async with (
            open_client(url, connector=network.connector(emulator, "deaf")),
            open_client(emulator.client_url("chat"), connector=emulator.connector) as sender,
        ):
            with network.partition("deaf", "down"):
                tracemalloc.start()
                for _ in range(500):
                    await sender.send_to_group("g", payload)
                _, peak = tracemalloc.get_traced_memory()
                tracemalloc.stop()
            assert peak < 3 * 1024 * 1024  # all of it would be 5 MB, once in the session and once in the queue
