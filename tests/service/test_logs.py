"""Which version of the API is asked, whose HTTP client makes the requests, and what stands in the log."""

from __future__ import annotations

import logging
from typing import Any

import httpx
import pytest
import trio
from trio.testing import MockClock

from tests.service.peer import CONNECTION_STRING, KEY, Peer, said, service_of
from trio_webpubsub._shell.http import ConnectorTransport
from trio_webpubsub.service import InvalidRequest, ServiceError, ServiceUnreachable, open_service

# Versions and clients


async def test_another_version_of_the_api(autojump_clock: MockClock, peer: Peer) -> None:
    async with service_of(peer, api_version="2021-10-01") as service:
        await service.send_to_all("hi")
        await service.request("GET", "/api/hubs/chat/chat/rooms/7", params={"api-version": "2026-02-01-preview"})
    assert peer.targets == [
        "/api/hubs/chat/:send?api-version=2021-10-01",
        "/api/hubs/chat/chat/rooms/7?api-version=2026-02-01-preview",
    ]


async def test_an_http_client_of_the_users(autojump_clock: MockClock, peer: Peer) -> None:
    async with httpx.AsyncClient(
        transport=ConnectorTransport(peer), auth=("user", "password"), follow_redirects=True
    ) as client:
        async with open_service(CONNECTION_STRING, "chat", http_client=client) as service:
            await service.send_to_all("hi")
            peer.answers = [said(307)]
            with pytest.raises(ServiceError, match="redirect"):
                await service.send_to_all("hi")
        assert not client.is_closed
    assert all(head["authorization"].startswith("Bearer ") for head in peer.heads)
    assert len(peer.heads) == 2


@pytest.mark.parametrize("close", [False, True])
async def test_a_hook_of_an_http_client_may_read_or_close_what_came(peer: Peer, close: bool) -> None:
    async def hook(response: httpx.Response) -> None:
        await (response.aclose() if close else response.aread())

    async with (
        httpx.AsyncClient(transport=ConnectorTransport(peer), event_hooks={"response": [hook]}) as client,
        open_service(CONNECTION_STRING, "chat", http_client=client) as service,
    ):
        peer.answers = [said(200, b"read before")]
        answer = await service.request("POST", "/api/hubs/chat/:new")
    assert answer.body == (b"" if close else b"read before")


async def test_a_hook_of_an_http_client_may_raise_for_a_status(peer: Peer) -> None:
    async def hook(response: httpx.Response) -> None:
        await trio.lowlevel.checkpoint()
        response.raise_for_status()

    async with (
        httpx.AsyncClient(transport=ConnectorTransport(peer), event_hooks={"response": [hook]}) as client,
        open_service(CONNECTION_STRING, "chat", http_client=client) as service,
    ):
        peer.answers = [said(404), said(400, b"wrong", **{"x-ms-error-code": "Error.BadRequest"})]
        assert not await service.user_exists("ann")
        with pytest.raises(InvalidRequest, match=r"400 Error\.BadRequest"):
            await service.send_to_all("hi")
    assert len(peer.heads) == 2


async def test_a_timeout_of_an_http_client_is_not_told_as_ours(autojump_clock: MockClock) -> None:
    async with (
        httpx.AsyncClient(transport=_NeverConnects()) as client,
        open_service(CONNECTION_STRING, "chat", http_client=client, retries=0) as service,
    ):
        with pytest.raises(ServiceUnreachable, match=r"^ConnectTimeout \("):
            await service.send_to_all("hi")


class _NeverConnects(httpx.AsyncBaseTransport):
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await trio.lowlevel.checkpoint()
        raise httpx.ConnectTimeout("")  # as httpx's own transport does, without a text


async def test_an_http_client_has_options_of_its_own(peer: Peer) -> None:
    async with httpx.AsyncClient() as client:
        with pytest.raises(ValueError, match="are for the http_client"):
            async with service_of(peer, http_client=client):
                pass


async def test_an_http_client_is_one_of_httpx_for_async_code() -> None:
    wrong: Any = object()
    with pytest.raises(TypeError, match=r"an httpx\.AsyncClient or None; this is 'object'"):
        async with open_service(CONNECTION_STRING, "chat", http_client=wrong):
            pass


# Logging


@pytest.mark.parametrize("where", ["service", "call"])
async def test_payloads_are_logged_on_request_and_never_the_token(
    autojump_clock: MockClock, peer: Peer, caplog: pytest.LogCaptureFixture, where: str
) -> None:
    caplog.set_level(logging.DEBUG)
    peer.answers = [said(202, b"the answer")] * 3
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


@pytest.mark.parametrize("own", [False, True], ids=["client_access", "request"])
async def test_a_clients_token_is_not_logged_either(
    autojump_clock: MockClock, peer: Peer, caplog: pytest.LogCaptureFixture, own: bool
) -> None:
    async def token() -> str:
        return "canary-of-entra"

    caplog.set_level(logging.DEBUG)
    peer.answers = [said(200, b'{"token": "canary-of-a-client"}')]
    async with open_service(
        "https://resource.example", "chat", credential=token, connector=peer, log_payloads=True
    ) as service:
        if own:
            await service.request("POST", "/api/hubs/chat/:generateToken")
        else:
            assert (await service.client_access()).token == "canary-of-a-client"
    assert "answer: " in caplog.text
    assert "canary" not in caplog.text


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
