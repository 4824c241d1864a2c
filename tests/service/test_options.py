"""What can be said about all calls or one: headers, logging, proxies, other HTTP clients, bodies, spans."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import h11
import httpx
import pytest
import trio
from trio.testing import MockClock

from tests.http_server import Server, reply
from trio_webpubsub._shell.http import ConnectorTransport
from trio_webpubsub.service import Service, ServiceError, open_service

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


# Versions and clients


async def test_another_version_of_the_api(autojump_clock: MockClock, peer: Peer) -> None:
    async with service_of(peer, api_version="2021-10-01") as service:
        await service.send_to_all("hi")
        await service.request("GET", "/api/hubs/chat/chat/rooms/7", params={"api-version": "2026-02-01-preview"})
    assert [request[1] for request in peer.requests] == [
        b"/api/hubs/chat/:send?api-version=2021-10-01",
        b"/api/hubs/chat/chat/rooms/7?api-version=2026-02-01-preview",
    ]


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
