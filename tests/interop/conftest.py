"""Tests with real peers: ``python -m nox -s interop`` installs the official packages and runs them.

Without those packages nothing here is collected; those for JavaScript are there where node is.
"""

from __future__ import annotations

import gc
import os
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, MutableMapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import trio

from trio_webpubsub import Client, open_client
from trio_webpubsub.emulator import Emulator, EventHandler, HandlerLimits, SelfMadeCertificate, open_emulator
from trio_webpubsub.service import Service, open_service

if find_spec("azure") is None:
    collect_ignore_glob = ["test_*.py"]
elif not os.environ.get("TRIO_WEBPUBSUB_NODE_MODULES"):
    collect_ignore_glob = ["test_javascript_*.py"]

LIMIT = 50.0

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put up with what the official packages leave behind: sessions, sockets and threads that nobody ended."""
    for item in items:
        if item.path.is_relative_to(HERE):
            for warning in (
                "ResourceWarning",
                "pytest.PytestUnraisableExceptionWarning",
                "pytest.PytestUnhandledThreadExceptionWarning",
            ):
                item.add_marker(pytest.mark.filterwarnings(f"ignore::{warning}"))


@dataclass
class Opened:
    """An emulator on a port, and how ours get there."""

    emulator: Emulator
    ssl_context: ssl.SSLContext | None
    authority: Path | None
    """Whom to trust, in a file, if TLS is spoken."""

    def our_client(self, **claims: Any) -> AbstractAsyncContextManager[Client]:
        return open_client(self.emulator.client_url("chat", **claims), ssl_context=self.ssl_context)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Look again and again: what happens in the emulator sets nothing off here."""
        while not condition():  # noqa: ASYNC110 - there is no event
            await trio.sleep(0.01)

    def our_service(self) -> AbstractAsyncContextManager[Service]:
        return open_service(self.emulator.connection_string, "chat", ssl_context=self.ssl_context)


async def answer_events(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
    """Handle events, as an ASGI app: ``fail`` without success, ``quiet`` without a reply, all others with an echo."""
    if scope["type"] != "http":
        return
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    headers = dict(scope["headers"])
    event = headers.get(b"ce-eventname")
    status, answer = {b"fail": (500, b""), b"quiet": (204, b"")}.get(event, (200, body))
    told = [(b"webhook-allowed-origin", b"*"), (b"content-type", headers.get(b"content-type", b"text/plain"))]
    await send({"type": "http.response.start", "status": status, "headers": told})
    await send({"type": "http.response.body", "body": answer})


HASTE = HandlerLimits(retry_delays=[0.01])
HANDLER = EventHandler("http://localhost/{event}", system_events=[], app=answer_events)


@pytest.fixture(autouse=True)
def _collected() -> Iterator[None]:
    """See to it that what is left behind is noticed here, where it is put up with."""
    yield
    gc.collect()


@pytest.fixture(scope="session")
def certificate() -> SelfMadeCertificate:
    """One for all tests: the official clients remember whom they trust."""
    return SelfMadeCertificate()


@pytest.fixture(params=["http", "https"])
async def opened(
    request: pytest.FixtureRequest,
    certificate: SelfMadeCertificate,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Opened]:
    """An emulator on a port, over http and over TLS, which the official packages trust as well."""
    with trio.fail_after(LIMIT):
        if request.param == "http":
            async with open_emulator(event_handlers=[HANDLER], handler_limits=HASTE) as emulator:
                yield Opened(emulator, None, None)
        else:
            authority = trust(certificate, tmp_path_factory.mktemp("authority"), monkeypatch)
            async with open_emulator(
                ssl_context=certificate.server_context, event_handlers=[HANDLER], handler_limits=HASTE
            ) as emulator:
                yield Opened(emulator, certificate.client_context, authority)


def trust(certificate: SelfMadeCertificate, directory: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let every peer trust the emulator's certificate, each in its own way."""
    import aiohttp.connector

    authority = directory / "authority.pem"
    authority.write_bytes(certificate.authority_pem)
    for variable in ("REQUESTS_CA_BUNDLE", "WEBSOCKET_CLIENT_CA_BUNDLE", "SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS"):
        monkeypatch.setenv(variable, str(authority))
    # aiohttp has made its context when it was imported, and the official client leaves it no other.
    context: Any = vars(aiohttp.connector)["_SSL_CONTEXT_VERIFIED"]
    context.load_verify_locations(cadata=certificate.authority_pem.decode())
    return authority
