"""An emulator over TLS, on a port and in memory."""

from __future__ import annotations

import ssl
import sys
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from trio_webpubsub import ConnectFailed, Recovered, open_client
from trio_webpubsub.emulator import SelfMadeCertificate, open_emulator
from trio_webpubsub.service import ServiceUnreachable, open_service

CERTIFICATE = SelfMadeCertificate("emulator.example")


async def converse(*, in_memory: bool, host: str = "127.0.0.1") -> None:
    async with open_emulator(in_memory=in_memory, host=host, ssl_context=CERTIFICATE.server_context) as emulator:
        assert emulator.endpoint.startswith(f"https://{host}:")
        assert f"Endpoint=https://{host}:" in emulator.connection_string
        async with (
            open_service(
                emulator.connection_string,
                "chat",
                connector=emulator.connector,
                ssl_context=CERTIFICATE.client_context,
            ) as service,
            open_client(
                await service.client_access_url(user_id="ann", groups=["g"]),
                connector=emulator.connector,
                ssl_context=CERTIFICATE.client_context,
            ) as client,
            client.messages() as messages,
        ):
            await service.send_to_group("g", "hi")
            assert (await messages.receive()).data == "hi"
            members = [member async for member in service.list_connections("g", page_size=1)]
            assert [member.user_id for member in members] == ["ann"]


async def test_on_a_port() -> None:
    with trio.fail_after(20):
        await converse(in_memory=False)
        await converse(in_memory=False, host="localhost")


async def test_in_memory(autojump_clock: MockClock) -> None:
    await converse(in_memory=True)


async def test_pages_lead_to_https(autojump_clock: MockClock) -> None:
    async with open_emulator(in_memory=True, ssl_context=CERTIFICATE.server_context) as emulator:
        url = emulator.client_url("chat", groups=["g"])
        assert url.startswith("wss://")
        connector, context = emulator.connector, CERTIFICATE.client_context
        async with (
            open_client(url, connector=connector, ssl_context=context),
            open_client(url, connector=connector, ssl_context=context),
            open_service(emulator.connection_string, "chat", connector=connector, ssl_context=context) as service,
        ):
            assert len([member async for member in service.list_connections("g", page_size=1)]) == 2


async def test_a_token_that_was_asked_for_is_good_for_https(autojump_clock: MockClock) -> None:
    async with open_emulator(in_memory=True, ssl_context=CERTIFICATE.server_context) as emulator:
        connector, context = emulator.connector, CERTIFICATE.client_context
        async with (
            open_service(
                emulator.endpoint,
                "chat",
                credential=emulator.credential(),
                connector=connector,
                ssl_context=context,
            ) as service,
            open_client(
                await service.client_access_url(user_id="ann"), connector=connector, ssl_context=context
            ) as client,
        ):
            assert client.user_id == "ann"


async def test_who_does_not_trust_the_certificate_does_not_connect() -> None:
    async with open_emulator(ssl_context=CERTIFICATE.server_context) as emulator:
        with pytest.raises(ConnectFailed, match="certificate"):
            async with open_client(emulator.client_url("chat")):
                pass
        async with open_service(emulator.connection_string, "chat", retries=0) as service:
            with pytest.raises(ServiceUnreachable, match="certificate"):
                await service.send_to_all("hi")


async def test_plain_http_on_a_tls_port_ends_its_own_connection_only() -> None:
    async with open_emulator(ssl_context=CERTIFICATE.server_context) as emulator:
        stream = await trio.open_tcp_stream("127.0.0.1", int(emulator.endpoint.rpartition(":")[2]))
        async with stream:
            await stream.send_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            with trio.fail_after(10):
                assert not (await stream.receive_some()).startswith(b"HTTP")
        async with open_client(emulator.client_url("chat"), ssl_context=CERTIFICATE.client_context):
            pass


async def test_a_cut_is_felt_below_tls() -> None:
    async with (
        open_emulator(ssl_context=CERTIFICATE.server_context) as emulator,
        open_client(emulator.client_url("chat"), ssl_context=CERTIFICATE.client_context) as client,
        client.lifecycle() as lifecycle,
    ):
        emulator.cut(client.connection_id or "")
        with trio.fail_after(20):
            while not isinstance(await lifecycle.receive(), Recovered):
                pass


async def test_the_authority_can_be_given_to_others(tmp_path: Path) -> None:
    file = tmp_path / "authority.pem"
    file.write_bytes(CERTIFICATE.authority_pem)
    context = ssl.create_default_context(cafile=str(file))
    async with (
        open_emulator(ssl_context=CERTIFICATE.server_context) as emulator,
        open_client(emulator.client_url("chat"), ssl_context=context),
    ):
        pass


def test_without_the_extra_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trustme", None)
    with pytest.raises(ImportError, match=r"python -m pip install 'trio-webpubsub\[tls\]'"):
        SelfMadeCertificate()
