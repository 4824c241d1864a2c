"""When new sessions are tried, when groups are joined again, and when to give up."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from typing import Any

import jwt
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_webpubsub import (
    ClientStopped,
    GroupLost,
    open_client,
)
from trio_webpubsub._shell.clock import wall_time

from .raw_service import URL, RawService, entered


async def test_without_rejoining_group_subscriptions_end(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector, auto_rejoin=False) as client:
        peer = await service.next()
        messages = await entered(peer, client.group_messages("g"))
        await peer.message(1, "last")
        await wait_all_tasks_blocked()
        await peer.websocket.aclose(1008)
        await service.next()
        assert (await messages.receive()).data == "last"
        with pytest.raises(GroupLost, match="auto_rejoin"):
            await messages.receive()
        messages.close()


async def test_reconnecting_can_be_switched_off(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector, reconnect=None) as client:
        peer = await service.next()
        await peer.websocket.aclose(1008)
        assert "switched off" in await client.wait_stopped()
        with pytest.raises(ClientStopped):
            await client.join_group("g")


async def test_an_exhausted_iterator_stops_the_client(autojump_clock: MockClock, service: RawService) -> None:
    def three_tries() -> Iterator[float]:
        yield from (1, 2, 3)

    async with open_client(
        URL, connector=service.connector, reconnect=three_tries, keep_alive_interval=math.inf
    ) as client:
        peer = await service.next()
        await trio.sleep(60)
        service.refuse = OSError("no route to host")
        start = trio.current_time()
        await peer.websocket.aclose(1008)
        assert "no route to host" in await client.wait_stopped()
        assert trio.current_time() - start == pytest.approx(6)
        assert service.dials == 5
        with pytest.raises(ClientStopped):
            await client.join_group("g")


@pytest.mark.parametrize("delays", [lambda: iter([5]), lambda: [5]])
async def test_a_session_that_did_not_last_takes_a_turn_first(
    autojump_clock: MockClock, service: RawService, delays: Callable[[], Iterable[float]]
) -> None:
    async with open_client(URL, connector=service.connector, reconnect=delays) as client:
        peer = await service.next()
        start = trio.current_time()
        await peer.websocket.aclose(1008)
        peer = await service.next()
        assert trio.current_time() - start == pytest.approx(5)
        await peer.websocket.aclose(1008)
        assert "no tries" in await client.wait_stopped()
        with pytest.raises(ClientStopped):
            await client.join_group("g")


async def test_one_warning_when_the_token_of_a_fixed_url_expires(
    autojump_clock: MockClock, service: RawService, caplog: pytest.LogCaptureFixture
) -> None:
    token = jwt.encode({"exp": int(wall_time()) + 60}, "a-key-that-is-long-enough-for-hs256")
    async with open_client(
        f"ws://localhost/client/hubs/chat?access_token={token}", connector=service.connector
    ) as client:
        peer = await service.next()
        assert client.token_expires_at == pytest.approx(wall_time() + 60, abs=1)
        with trio.move_on_after(200):
            while True:
                await peer.expect("ping")
                await peer.send(type="pong")
    warnings = [record for record in caplog.records if "expired" in record.getMessage()]
    assert len(warnings) == 1
    assert token not in caplog.text


async def test_one_warning_for_the_fixed_url_behind_a_ticket(
    autojump_clock: MockClock, service: RawService, caplog: pytest.LogCaptureFixture
) -> None:
    token = jwt.encode({"exp": int(wall_time()) - 60}, "a-key-that-is-long-enough-for-hs256")
    async with open_client(URL, connector=service.connector) as client:
        await service.next()
        ticket = await client.detach()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(service.recover)
        async with open_client(
            f"ws://localhost/client/hubs/chat?access_token={token}", connector=service.connector, resume=ticket
        ):
            await wait_all_tasks_blocked()
    assert [record.levelname for record in caplog.records if "expired" in record.getMessage()] == ["WARNING"]


# The user's reconnect policy


def broken_delays() -> Iterator[float]:
    raise ValueError("the user's own")
    yield 0.0


BAD_POLICIES: list[Any] = [
    lambda: iter([-1.0]),
    lambda: iter([math.nan]),
    lambda: iter(["soon"]),
    lambda: 5,
    broken_delays,
]


@pytest.mark.parametrize("policy", BAD_POLICIES)
async def test_a_broken_reconnect_policy_stops_the_client(
    autojump_clock: MockClock, service: RawService, policy: Any
) -> None:
    with pytest.raises(ClientStopped, match="the iterator of delays between tries"):
        async with open_client(URL, connector=service.connector, reconnect=policy) as client:
            peer = await service.next()
            await peer.websocket.aclose(1008)
            await client.wait_stopped()


async def gives_a_list() -> list[float]:
    return [1.0]


async def yields() -> AsyncGenerator[float]:  # noqa: ASYNC900  # which is the mistake
    yield 1.0


@pytest.mark.parametrize("policy", [[1.0, 2.0], gives_a_list, yields])
async def test_what_is_no_reconnect_policy_is_refused_at_once(
    autojump_clock: MockClock, service: RawService, policy: Any
) -> None:
    with pytest.raises(TypeError, match="reconnect is a callable"):
        async with open_client(URL, connector=service.connector, reconnect=policy):
            pytest.fail("it is not opened")
