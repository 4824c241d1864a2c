"""No token and no key ever shows: a canary through every way in which a call can fail."""

from __future__ import annotations

import copy
import logging
import pickle
import re
import ssl
import traceback
from collections.abc import Iterator

import h11
import pytest
import trio
from trio.testing import MockClock

from tests.http_server import Answer, Server
from trio_webpubsub._shell.connector import Connector
from trio_webpubsub.service import Service, ServiceError, open_service

KEY = "canary-access-key-canary-access-key-canary-access-key"
SECRET = re.compile("canary|Y2FuYXJ5|eyJ")
"""The key, the same in base64, the beginning of every token."""


def saying(answer: bytes) -> Answer:
    async def say(server: Server, stream: trio.abc.Stream, connection: h11.Connection, request: h11.Request) -> None:
        await stream.send_all(answer)
        await stream.aclose()

    return say


async def hang(server: Server, stream: trio.abc.Stream, connection: h11.Connection, request: h11.Request) -> None:
    await trio.sleep_forever()


async def refuse(host: str, port: int, ssl_context: ssl.SSLContext | None, /) -> trio.abc.Stream:
    await trio.lowlevel.checkpoint()
    raise ConnectionRefusedError("nobody there")


FAULTS: dict[str, Answer | None] = {
    "refused": None,
    "cut": saying(b""),
    "hangs": hang,
    "no HTTP": saying(b"\xff\xff\r\n\r\n"),
    "half an answer": saying(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n1"),
    "401": saying(b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n"),
    "403": saying(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n"),
    "redirect": saying(b"HTTP/1.1 307 No\r\nLocation: http://localhost/x\r\nContent-Length: 0\r\n\r\n"),
    "500": saying(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"),
}


async def call(service: Service) -> ServiceError:
    with pytest.raises(ServiceError) as caught:
        await service.send_to_all("hi")
    return caught.value


def errors_in(error: BaseException) -> Iterator[BaseException]:
    """Give an exception, its causes and its parts."""
    yield error
    for below in (error.__cause__, error.__context__, *getattr(error, "exceptions", ())):
        if below is not None:
            yield from errors_in(below)


@pytest.mark.parametrize("key_or_token", ["key", "token"])
@pytest.mark.parametrize("fault", FAULTS)
async def test_nothing_shows(
    autojump_clock: MockClock,
    nursery: trio.Nursery,
    caplog: pytest.LogCaptureFixture,
    fault: str,
    key_or_token: str,
) -> None:
    async def credential() -> str:
        await trio.lowlevel.checkpoint()
        return "canary-token"

    caplog.set_level(logging.DEBUG)
    answer = FAULTS[fault]
    connector: Connector = refuse if answer is None else Server(nursery, answer)
    async with open_service(
        "http://localhost",
        "chat",
        credential=KEY if key_or_token == "key" else credential,
        connector=connector,
        request_timeout=5,
        retries=1,
        log_payloads=True,
    ) as service:
        found = await call(service)
        assert SECRET.search(f"{service!r} {vars(service)}") is None
    for error in (*errors_in(found), pickle.loads(pickle.dumps(found)), copy.copy(found)):
        told = f"{error} {error!r} {error.args} {vars(error)} {getattr(error, '__notes__', '')}"
        assert SECRET.search(told) is None
        for frame in traceback.TracebackException.from_exception(error, capture_locals=True).stack:
            if frame.filename != __file__:
                assert SECRET.search(str(frame.locals)) is None, frame
    assert SECRET.search(pickle.dumps(found).decode("latin-1")) is None
    assert SECRET.search(caplog.text) is None
