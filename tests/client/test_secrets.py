"""No token ever shows: a canary through every way in which a client can fail."""

from __future__ import annotations

import logging
import re
import ssl
import traceback
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_webpubsub import SessionTicket, open_client
from trio_webpubsub._shell.memory import memory_stream_pair

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


async def rejected_with_the_token_repeated(service: RawService) -> None:
    service.reject, service.reason = 403, f"{URL} is not accepted".encode()
    await live(service)


async def recovery_rejected_with_the_token_repeated(service: RawService) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(live, service)
        peer = await service.next()
        await peer.connected("c-1", token="canary/newer")
        await wait_all_tasks_blocked()
        service.reject, service.reason = 403, b"canary/newer and canary%2Fnewer are not accepted"
        peer.cut()


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


async def told_too_late(service: RawService) -> None:
    async def url() -> str:
        return URL if service.dials == 0 else next(urls)

    urls = iter(["ws://example.org/client/hubs/chat?access_token=canary", "http://canary", "canary\n", URL + "#canary"])
    async with open_client(url, connector=service.connector, reconnect=lambda: iter([0.0, 0.0, 0.0, 0.0])) as client:
        await (await service.next()).websocket.aclose(1008)
        await client.wait_stopped()


async def nonsense_for_an_answer(service: RawService) -> None:
    async def connector(*_: object) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        ours, theirs = memory_stream_pair()
        await theirs.send_all(b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: \xff\r\n\r\n")
        return ours

    async with open_client(URL, connector=connector):
        pytest.fail("no session began")


async def no_answer(service: RawService) -> None:
    async def connector(*_: object) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        return memory_stream_pair()[0]

    async with open_client(URL, connector=connector):
        pytest.fail("no session began")


async def proxy_refuses(service: RawService) -> None:
    async def connector(*_: object) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        ours, theirs = memory_stream_pair()
        await theirs.send_all(b"HTTP/1.1 407 Authenticate yourself\r\n\r\n")
        return ours

    async with open_client(URL, connector=connector, proxy="http://canary:canary@proxy.test"):
        pytest.fail("there is no way through")


async def bad_header(service: RawService) -> None:
    async with open_client(URL, connector=service.connector, headers={"Authorization": "Bearer canary\n"}):
        pytest.fail("no header can hold a line feed")


async def silence(service: RawService) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(live, service)
        peer = await service.next()
        service.reject = 400
        peer.stream.silence()


async def resumed_in_vain(service: RawService) -> None:
    async with open_client(URL, connector=service.connector) as client:
        await service.next()
        ticket = await client.detach()
    service.reject = 401
    async with open_client(URL, connector=service.connector, resume=ticket):
        pytest.fail("no session goes on")


async def no_ticket(service: RawService) -> None:
    await trio.lowlevel.checkpoint()
    SessionTicket.from_bytes(b'{"reconnection_token": "canary"}')


async def defect(service: RawService) -> None:
    async with open_client(URL, connector=service.connector, log_payloads=True) as client:
        peer = await service.next()
        session: Any = client._core.session
        session.receive = None
        await peer.connected("c-1", token="canary-newer")
        await trio.sleep_forever()


CASES: list[Case] = [
    refused,
    tls_failure,
    rejected,
    rejected_with_the_token_repeated,
    recovery_rejected_with_the_token_repeated,
    wrong_subprotocol,
    mute,
    lost,
    not_recovered,
    recovery_rejected,
    poisoned,
    recovered_and_detached,
    bad_url,
    insecure_url,
    told_too_late,
    nonsense_for_an_answer,
    no_answer,
    proxy_refuses,
    bad_header,
    silence,
    resumed_in_vain,
    no_ticket,
    defect,
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
        assert "canary" not in f"{error} {error!r} {error.args} {vars(error)} {getattr(error, '__notes__', '')}"
        for frame in traceback.TracebackException.from_exception(error, capture_locals=True).stack:
            if SHOWN.search(frame.filename) and frame.name not in GIVEN:
                assert not re.search("canary|Y2FuYXJ5", str(frame.locals)), frame  # the second is its base64
    assert "canary" not in caplog.text


SHOWN = re.compile(r"trio_webpubsub/(?!protocol/(urls|names)\.py)|trio_websocket|wsproto|h11")
"""Whose frames show no secret when somebody prints them with their variables, as tools that report errors do."""
GIVEN = {
    "open_client",
    "make",
    "__init__",
    "parse",
    "get",
    "checked_headers",
    "handshake_headers",
    "from_bytes",
    "_receive",
    "_pass_on",
}
"""Functions that have a secret as plain text, where that text is what is wrong; one has the frames that came."""


async def test_what_can_be_looked_at_shows_no_token(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector) as client:
        await service.next()
        core = client._core
        for each in (client, core, core._supervisor, core._supervisor.urls, core._supervisor.connection):
            assert "canary" not in f"{each!r} {vars(each)}"
        assert "canary" not in f"{core.session!r} {core.session.step!r}"
        ticket = await client.detach()
        assert "canary" not in f"{ticket!r} {vars(ticket)} {ticket.url}"


def errors_in(error: BaseException) -> Iterator[BaseException]:
    """Give an exception, its causes and its parts."""
    yield error
    parts: tuple[BaseException, ...] = getattr(error, "exceptions", ())
    for below in (error.__cause__, error.__context__, *parts):
        if below is not None:
            yield from errors_in(below)
