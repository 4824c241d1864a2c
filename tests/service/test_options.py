"""What can be said about all calls or one: headers, logging, proxies, other HTTP clients, bodies, spans."""

from __future__ import annotations

import io
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import h11
import httpx
import pytest
import trio
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from trio.testing import MockClock

from tests.http_server import Server, reply
from trio_webpubsub import MessageTooLarge
from trio_webpubsub._shell.http import ConnectorTransport
from trio_webpubsub.protocol.tokens import verify_token
from trio_webpubsub.service import InvalidRequest, Service, ServiceError, open_service

KEY = "canary-key-canary-key-canary-key-canary-key"
CONNECTION_STRING = f"Endpoint=https://resource.example;AccessKey={KEY};"


class Peer(Server):
    """Answers all requests alike, and keeps their heads."""

    def __init__(self, nursery: trio.Nursery) -> None:
        super().__init__(nursery, self.give_answer)
        self.status = 202
        self.body = b""
        self.heads: list[dict[str, str]] = []

    async def give_answer(
        self, server: Server, stream: trio.abc.Stream, connection: h11.Connection, request: h11.Request
    ) -> None:
        self.heads.append({name.decode(): value.decode() for name, value in request.headers})
        await stream.send_all(reply(connection, self.body, status=self.status))


@pytest.fixture
def peer(nursery: trio.Nursery) -> Peer:
    return Peer(nursery)


@asynccontextmanager
async def service_of(peer: Peer, **options: Any) -> AsyncGenerator[Service]:
    with trio.fail_after(1_000):
        async with open_service(CONNECTION_STRING, "chat", connector=peer, **options) as service:
            yield service


# Bodies


@dataclass
class Order:
    number: int

    def __iter__(self) -> Iterator[bytes]:
        raise AssertionError


def parts() -> Iterator[bytes | bytearray]:
    yield b"ab"
    yield bytearray(b"c")


class AsyncParts:
    def __init__(self) -> None:
        self._left = [b"ab", memoryview(b"c")]

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        await trio.lowlevel.checkpoint()
        if not self._left:
            raise StopAsyncIteration
        return self._left.pop(0)


@pytest.mark.parametrize(
    ("message", "content_type", "body"),
    [
        (io.StringIO("tëxt"), "text/plain", "tëxt".encode()),
        (io.BytesIO(b"\x00" * 100_000), "application/octet-stream", b"\x00" * 100_000),
        (parts(), "application/octet-stream", b"abc"),
        (AsyncParts(), "application/octet-stream", b"abc"),
        (bytearray(b"x"), "application/octet-stream", b"x"),
        (memoryview(b"x"), "application/octet-stream", b"x"),
        (Order(7), "application/json", b'{"number":7}'),
        ([b"x"], "application/json", b'["eA=="]'),
        ({"a": (1, 2)}, "application/json", b'{"a":[1,2]}'),
        (None, "application/json", b"null"),
    ],
)
async def test_bodies_of_all_sorts(
    autojump_clock: MockClock, peer: Peer, message: Any, content_type: str, body: bytes
) -> None:
    async with service_of(peer) as service:
        await service.send_to_all(message)
    assert peer.requests[0][2] == body
    assert peer.heads[0]["content-type"] == content_type
    assert peer.heads[0]["content-length"] == str(len(body))


@pytest.mark.parametrize(
    ("message", "error"),
    [
        (io.StringIO("x" * (1024 * 1024 + 1)), MessageTooLarge),
        (io.BytesIO(b"x" * (1024 * 1024 + 1)), MessageTooLarge),
        ((b"x" * 600_000 for _ in range(2)), MessageTooLarge),
        (iter(["text"]), TypeError),
        (object(), TypeError),
    ],
)
async def test_bodies_that_are_not_sent(
    autojump_clock: MockClock, peer: Peer, message: Any, error: type[Exception]
) -> None:
    async with service_of(peer) as service:
        with pytest.raises(error):
            await service.send_to_all(message)
    assert peer.requests == []


# Headers, versions, addresses


async def test_headers_can_be_added_to_a_call(autojump_clock: MockClock, peer: Peer) -> None:
    async with service_of(peer, user_agent="my-program/1") as service:
        await service.send_to_all("hi", headers={"x-trace": "7"})
    assert peer.heads[0]["x-trace"] == "7"
    assert peer.heads[0]["user-agent"] == "my-program/1"


@pytest.mark.parametrize(
    "headers", [{"Authorization": "Bearer canary"}, {"host": "x"}, {"a b": "c"}, {"a": "canary\r\nb: c"}]
)
async def test_headers_that_are_not_for_callers(autojump_clock: MockClock, peer: Peer, headers: dict[str, str]) -> None:
    async with service_of(peer) as service:
        with pytest.raises(ValueError, match="header") as refused:
            await service.send_to_all("hi", headers=headers)
    assert "canary" not in str(refused.value)
    assert peer.requests == []


async def test_a_misspelt_argument_is_an_error(autojump_clock: MockClock, peer: Peer) -> None:
    wrong: Any = {"exclude": ["c"]}
    async with service_of(peer) as service:
        with pytest.raises(TypeError, match="exclude"):
            await service.send_to_all("hi", **wrong)
    assert peer.requests == []


async def test_another_version_of_the_api(autojump_clock: MockClock, peer: Peer) -> None:
    async with service_of(peer, api_version="2021-10-01") as service:
        await service.send_to_all("hi")
        await service.request("GET", "/api/hubs/chat/chat/rooms/7", params={"api-version": "2026-02-01-preview"})
    assert [request[1] for request in peer.requests] == [
        b"/api/hubs/chat/:send?api-version=2021-10-01",
        b"/api/hubs/chat/chat/rooms/7?api-version=2026-02-01-preview",
    ]


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "api"), ("GET", "/a b"), ("GET", "/a?b"), ("GET", "/a#b"), ("GET", "/a/../b"), ("G T", "/a")],
)
async def test_requests_that_cannot_be_made(autojump_clock: MockClock, peer: Peer, method: str, path: str) -> None:
    async with service_of(peer) as service:
        with pytest.raises(ValueError, match=r"path|method"):
            await service.request(method, path)
    assert peer.requests == []


async def test_a_reverse_proxy_gets_the_requests_and_tokens_name_the_service(
    autojump_clock: MockClock, peer: Peer
) -> None:
    async with service_of(peer, reverse_proxy_endpoint="https://Proxy.example:8443/prefix/") as service:
        await service.send_to_all("hi")
        assert (await service.client_access_url()).startswith("wss://resource.example/client/hubs/chat?")
    assert peer.connects == [("proxy.example", 8443, True)]
    assert peer.requests[0][1] == b"/prefix/api/hubs/chat/:send?api-version=2024-12-01"
    token = peer.heads[0]["authorization"].removeprefix("Bearer ")
    url = "https://resource.example/api/hubs/chat/:send?api-version=2024-12-01"
    assert verify_token(token, keys=[KEY], audiences=[url], now=0, leeway=0)


@pytest.mark.parametrize(
    "options",
    [
        {"reverse_proxy_endpoint": "http://proxy.example"},
        {"reverse_proxy_endpoint": "https://proxy.example?a=b"},
        {"reverse_proxy_endpoint": "ftp://proxy.example"},
        {"proxy": "socks5://canary@proxy"},
        {"retries": -1},
        {"max_connections": 0},
        {"user_agent": "a\nb"},
    ],
)
async def test_bad_options_are_refused(autojump_clock: MockClock, peer: Peer, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r".") as refused:
        async with service_of(peer, **options):
            pass
    assert "canary" not in str(refused.value)


async def test_an_http_client_of_the_users(autojump_clock: MockClock, peer: Peer) -> None:
    async with httpx.AsyncClient(
        transport=ConnectorTransport(peer), auth=("user", "password"), follow_redirects=True
    ) as client:
        async with open_service(CONNECTION_STRING, "chat", http_client=client) as service:
            await service.send_to_all("hi")
            peer.status = 307
            with pytest.raises(ServiceError, match="redirect"):
                await service.send_to_all("hi")
        assert not client.is_closed
    assert all(head["authorization"].startswith("Bearer ") for head in peer.heads)
    assert len(peer.heads) == 2


async def test_an_http_client_has_options_of_its_own(peer: Peer) -> None:
    async with httpx.AsyncClient() as client:
        with pytest.raises(ValueError, match="are for the http_client"):
            async with service_of(peer, http_client=client):
                pass


# Logging


@pytest.mark.parametrize("where", ["service", "call"])
async def test_payloads_are_logged_on_request_and_never_the_token(
    autojump_clock: MockClock, peer: Peer, caplog: pytest.LogCaptureFixture, where: str
) -> None:
    caplog.set_level(logging.DEBUG)
    peer.body = b"the answer"
    async with service_of(peer, log_payloads=where == "service") as service:
        if where == "call":
            await service.send_to_all("a secret of mine")
            assert "a secret of mine" not in caplog.text
            await service.send_to_all("the message", log_payloads=True)
        else:
            await service.send_to_all("the message")
        await service.send_to_all("x" * 10_000, log_payloads=True)
    assert "the message" in caplog.text
    assert "the answer" in caplog.text
    assert "x" * 4_096 + "'..." in caplog.text
    assert "x" * 4_097 not in caplog.text
    for head in peer.heads:
        assert head["authorization"].removeprefix("Bearer ") not in caplog.text
    assert KEY not in caplog.text


async def test_httpx_logs_no_token_either(
    autojump_clock: MockClock, peer: Peer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with (
        httpx.AsyncClient(transport=ConnectorTransport(peer)) as client,
        open_service(CONNECTION_STRING, "chat", http_client=client) as service,
    ):
        await service.send_to_all("hi")
    assert "httpx" in caplog.text
    assert peer.heads[0]["authorization"].removeprefix("Bearer ") not in caplog.text


# Spans


@pytest.fixture(scope="session")
def exporter() -> InMemorySpanExporter:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return exporter


async def test_every_try_is_a_span(autojump_clock: MockClock, peer: Peer, exporter: InMemorySpanExporter) -> None:
    exporter.clear()
    async with service_of(peer, retries=1) as service:
        await service.send_to_group("lobby", "hi")
        peer.status = 503
        with pytest.raises(ServiceError):
            await service.user_exists("ann")
        peer.status = 400
        with pytest.raises(InvalidRequest):
            await service.close_all_connections()
    sent, first, second, refused = exporter.get_finished_spans()
    assert sent.name == "send_to_group"
    assert dict(sent.attributes or {}) == {
        "http.request.method": "POST",
        "server.address": "resource.example",
        "server.port": 443,
        "url.full": "https://resource.example/api/hubs/chat/groups/lobby/:send",
        "messaging.system": "azure_webpubsub",
        "messaging.operation.name": "send_to_group",
        "messaging.operation.type": "send",
        "messaging.destination.name": "chat/groups/lobby",
        "messaging.message.body.size": 2,
        "http.response.status_code": 202,
    }
    assert (first.name, second.name) == ("user_exists", "user_exists")
    assert (second.attributes or {})["http.request.resend_count"] == 1
    assert (refused.attributes or {})["error.type"] == "InvalidRequest"
    assert not refused.status.is_ok
    assert sent.context is not None
    assert peer.heads[0]["traceparent"].split("-")[2] == f"{sent.context.span_id:016x}"


# Cancellation


async def test_a_call_cancelled_anywhere_leaves_the_service_sound(autojump_clock: MockClock, peer: Peer) -> None:
    finished = False
    passes = 0
    async with service_of(peer, max_connections=2) as service:
        while not finished:
            passes += 1
            async with trio.open_nursery() as nursery:

                @nursery.start_soon
                async def call() -> None:
                    nonlocal finished
                    await service.send_to_all("hi")
                    await service.user_exists("ann")
                    finished = True

                for _ in range(passes):
                    await trio.lowlevel.checkpoint()
                nursery.cancel_scope.cancel()
            async with trio.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(service.send_to_all, "still works")
    assert passes > 5
