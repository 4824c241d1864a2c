"""Spoiled answers to the library's own clients, over HTTP and WebSocket: what comes of them is an error of ours."""

from __future__ import annotations

import base64
import hashlib
import re
import ssl
from collections.abc import Awaitable, Callable
from functools import partial
from random import Random
from typing import get_args

import trio
from trio.testing import MockClock

from tests.fuzz.corpus import kept
from tests.fuzz.mutations import JUNK, ROUNDS, spoiled
from tests.fuzz.targets import downstream
from trio_webpubsub import ClientStopped, ConnectFailed, open_client
from trio_webpubsub._shell.memory import memory_stream_pair
from trio_webpubsub.protocol.frame_writer import encode_close, encode_frame
from trio_webpubsub.protocol.subprotocols import Subprotocol, codec_for
from trio_webpubsub.service import Service, ServiceError, open_service

SHARE = ROUNDS // 20
SUBPROTOCOLS: tuple[Subprotocol, ...] = get_args(Subprotocol)
KEY = "canary-access-key" * 2
CONNECTION_STRING = f"Endpoint=http://localhost;AccessKey={KEY};Version=1.0;"
URL = "ws://localhost/client/hubs/chat?access_token=canary-token"
LONGEST_ERROR = 700
"""Characters: what a server says is not repeated in full."""

HTTP_ANSWERS = [
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 37\r\n\r\n"
    b'{"value": [{"connectionId": "c-1"}]}\n',
    b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n{"token":\r\n5\r\n"t"} \r\n0\r\n\r\n',
    b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\nx-ms-request-id: 7\r\n\r\n",
    b"HTTP/1.1 404 Not Found\r\nx-ms-error-code: Gone\r\nContent-Length: 2\r\n\r\n{}",
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: 30\r\n\r\n"
    b'{"code":"Bad","message":"no!"}',
    b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 3\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 307 Elsewhere\r\nLocation: https://evil.test/\r\nContent-Length: 0\r\n\r\n",
]
Call = Callable[[Service], Awaitable[object]]


async def _list(service: Service) -> None:
    async for _ in service.list_connections("lobby"):
        pass


CALLS: list[Call] = [
    _list,
    lambda service: service.send_to_all("hi"),
    lambda service: service.connection_exists("c-1"),
    lambda service: service.close_connection("c-1"),
    lambda service: service.add_connection_to_group("lobby", "c-1"),
    lambda service: service.has_permission("sendToGroup", "c-1", target_name="lobby"),
]


class Answering:
    """A connector to somebody who reads the head of a request, and answers it in two pieces; once."""

    def __init__(self, nursery: trio.Nursery, answer: Callable[[bytes], bytes], random: Random) -> None:
        self._nursery = nursery
        self._answer: Callable[[bytes], bytes] | None = answer
        self._random = random

    async def __call__(self, _host: str, _port: int, _context: ssl.SSLContext | None, /) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        answer, self._answer = self._answer, None
        if answer is None:
            raise ConnectionRefusedError
        ours, theirs = memory_stream_pair()
        self._nursery.start_soon(self._serve, theirs, answer)
        return ours

    async def _serve(self, stream: trio.abc.HalfCloseableStream, answer: Callable[[bytes], bytes]) -> None:
        head = b""
        async with stream:
            try:
                while b"\r\n\r\n" not in head and (data := await stream.receive_some()):
                    head += data
                said = answer(head)
                cut = self._random.randrange(len(said) + 1)
                await stream.send_all(said[:cut])
                await stream.send_all(said[cut:])
                await stream.send_eof()
                while await stream.receive_some():
                    pass
            except trio.BrokenResourceError:
                pass  # it went away


def check(error: Exception) -> str:
    """Check an error's text, and give what kind it is."""
    assert "canary" not in repr(error)
    assert len(str(error)) < LONGEST_ERROR
    return type(error).__name__


async def test_answers_over_http(autojump_clock: MockClock) -> None:
    random, seen = Random(1), set[str]()
    answers = [*HTTP_ANSWERS, *kept("http-answers")]

    async def ask(said: bytes, call: Call) -> None:
        async with trio.open_nursery() as nursery:
            connector = Answering(nursery, lambda _: said, random)
            with trio.fail_after(60):
                async with open_service(CONNECTION_STRING, "chat", connector=connector, retries=0) as service:
                    try:
                        await call(service)
                    except ServiceError as error:
                        seen.add(check(error))
                    else:
                        seen.add("done")
            nursery.cancel_scope.cancel()

    for answer in answers:
        for call in CALLS:
            await ask(answer, call)
    for _ in range(SHARE):
        said = spoiled(random.choice(answers), random)
        await ask(spoiled(said, random) if random.random() < 0.3 else said, random.choice(CALLS))
    assert seen >= {"done", "InvalidRequest", "OutcomeUnknown", "TargetNotFound", "Throttled"}


def handshake(head: bytes, subprotocol: Subprotocol) -> bytes:
    """Answer a client's handshake."""
    key = re.search(rb"(?i)sec-websocket-key: *(\S+)", head)
    assert key is not None
    accept = base64.b64encode(hashlib.sha1(key[1] + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    lines = [
        b"HTTP/1.1 101 Switching Protocols",
        b"Upgrade: websocket",
        b"Connection: Upgrade",
        b"Sec-WebSocket-Accept: " + accept,
        b"Sec-WebSocket-Protocol: " + subprotocol.encode(),
    ]
    return b"\r\n".join([*lines, b"", b""])


async def test_answers_over_websockets(autojump_clock: MockClock) -> None:
    random, seen = Random(2), set[str]()
    tails = kept("websocket-answers")

    def answer(subprotocol: Subprotocol, tail: bytes | None, head: bytes) -> bytes:
        codec = codec_for(subprotocol)
        opening = handshake(head, subprotocol)
        if tail is not None:
            return opening + tail
        payloads = downstream(codec)
        frames = [payloads[-3], *(random.choice(payloads) for _ in range(random.randrange(6)))]  # "connected" first
        frames = [spoiled(each, random) if random.random() < 0.2 else each for each in frames]
        said = [encode_frame(each, binary=codec.binary or not _is_text(each), mask_key=None) for each in frames]
        said.append(random.choice([b"", encode_close(1000, mask_key=None), encode_close(1008, "no", mask_key=None)]))
        if random.random() < 0.1:
            opening = spoiled(opening, random)
        rest = b"".join(said)
        return opening + (spoiled(rest, random) if random.random() < 0.4 else rest)

    async def connect(subprotocol: Subprotocol, tail: bytes | None) -> None:
        async with trio.open_nursery() as nursery:
            connector = Answering(nursery, partial(answer, subprotocol, tail), random)
            try:
                with trio.fail_after(120):
                    async with open_client(
                        URL,
                        subprotocol=subprotocol,
                        connector=connector,
                        reconnect=None,
                        recovery_timeout=1,
                        max_message_size=20_000,
                    ) as client:
                        async for message in client.messages(gaps=True):
                            seen.add(type(message).__name__)
            except (ConnectFailed, ClientStopped) as error:
                seen.add(check(error))
            nursery.cancel_scope.cancel()

    for tail in [*tails, *JUNK]:
        for subprotocol in SUBPROTOCOLS:
            await connect(subprotocol, tail)
    for _ in range(SHARE):
        await connect(random.choice(SUBPROTOCOLS), None)
    assert seen >= {"ConnectFailed", "ClientStopped", "GroupMessage", "ServerMessage", "Gap"}


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
