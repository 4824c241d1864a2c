"""No token ever shows: a canary through every way in which a client can fail."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Awaitable, Callable, Iterator

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_webpubsub import open_client

from .raw_service import URL, RawService

Case = Callable[[RawService], Awaitable[None]]


async def live(service: RawService, url: str = URL) -> None:
    async with open_client(url, connector=service.connector, connect_timeout=2, recovery_timeout=2, reconnect=None):
        await trio.sleep(60)


async def refused(service: RawService) -> None:
    service.refuse = ConnectionRefusedError(111, "refused")
    await live(service)


async def tls_failure(service: RawService) -> None:
    service.refuse = ssl.SSLCertVerificationError(1, "certificate verify failed")
    await live(service, URL.replace("ws:", "wss:"))


async def rejected(service: RawService) -> None:
    service.reject = 401
    await live(service)


async def wrong_subprotocol(service: RawService) -> None:
    service.subprotocol = None
    await live(service)


async def mute(service: RawService) -> None:
    service.greet = False
    await live(service)


async def lost(service: RawService) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(live, service)
        await (await service.next()).websocket.aclose(1008, "bye")


async def not_recovered(service: RawService) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(live, service)
        peer = await service.next()
        service.refuse = OSError("no route to host")
        peer.cut()


async def recovery_rejected(service: RawService) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(live, service)
        peer = await service.next()
        service.reject = 403
        peer.cut()


async def poisoned(service: RawService) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(live, service)
        peer = await service.next()
        for _ in range(3):
            await peer.websocket.send_message('{"reconnectionToken":"canary')
        service.reject = 404


async def recovered_and_detached(service: RawService) -> None:
    async with open_client(URL, connector=service.connector, log_payloads=True) as client:
        peer = await service.next()
        await peer.connected("c-1", token="canary-newer")
        await wait_all_tasks_blocked()
        peer.cut()
        peer = await service.next()
        await peer.connected("c-1", token="canary-newest")
        await wait_all_tasks_blocked()
        raise LookupError(repr(client), repr(await client.detach()))


async def bad_url(service: RawService) -> None:
    await live(service, URL + "#canary")


async def insecure_url(service: RawService) -> None:
    await live(service, URL.replace("localhost", "example.org"))


CASES: list[Case] = [
    refused,
    tls_failure,
    rejected,
    wrong_subprotocol,
    mute,
    lost,
    not_recovered,
    recovery_rejected,
    poisoned,
    recovered_and_detached,
    bad_url,
    insecure_url,
]


@pytest.mark.parametrize("case", CASES)
async def test_no_token_shows(
    autojump_clock: MockClock, service: RawService, caplog: pytest.LogCaptureFixture, case: Case
) -> None:
    caplog.set_level(logging.DEBUG, "trio_webpubsub")
    caplog.set_level(logging.INFO)
    with pytest.raises(Exception, match=r"\S") as caught:
        await case(service)
    for error in errors_in(caught.value):
        assert "canary" not in f"{error} {error!r} {error.args} {getattr(error, '__notes__', '')}"
    assert "canary" not in caplog.text


def errors_in(error: BaseException) -> Iterator[BaseException]:
    """Give an exception, its causes and its parts."""
    yield error
    parts: tuple[BaseException, ...] = getattr(error, "exceptions", ())
    for below in (error.__cause__, error.__context__, *parts):
        if below is not None:
            yield from errors_in(below)
