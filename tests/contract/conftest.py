"""The service that these tests talk to: the emulator on a loopback port, and Azure too where there is a resource.

Set ``AZURE_WEBPUBSUB_CONNECTION_STRING`` to run every test here against that resource as well, over the internet. The
tests use a hub of their own there (``AZURE_WEBPUBSUB_HUB``, by default ``trio_webpubsub_tests``), which needs no event
handler and no anonymous clients, and groups that nobody else can be in.
"""

from __future__ import annotations

import os
import ssl
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any, Literal

import pytest
import trio

from trio_webpubsub import Client, open_client
from trio_webpubsub._shell.connector import connect_tcp
from trio_webpubsub.emulator import open_emulator
from trio_webpubsub.listener.cuttable import CuttableStream
from trio_webpubsub.service import Service, open_service

AZURE = os.environ.get("AZURE_WEBPUBSUB_CONNECTION_STRING")
HUB = os.environ.get("AZURE_WEBPUBSUB_HUB", "trio_webpubsub_tests")
ROLES = ("webpubsub.joinLeaveGroup", "webpubsub.sendToGroup")


class Place:
    """A hub of the emulator or of Azure, and faults on the way to it."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.group = f"group-{uuid.uuid4().hex}"
        """A group that only this test knows."""
        self._links: list[CuttableStream] = []
        self._streams: list[trio.abc.Stream] = []

    def client(
        self, *, user_id: str | None = None, roles: Sequence[str] = ROLES, groups: Sequence[str] = (), **options: Any
    ) -> AbstractAsyncContextManager[Client]:
        """Give what `open_client` gives, for this hub."""

        async def url() -> str:
            return await self.service.client_access_url(user_id=user_id, roles=roles, groups=groups)

        return open_client(url, connector=self._connect, **options)

    async def _connect(self, host: str, port: int, ssl_context: ssl.SSLContext | None, /) -> trio.abc.Stream:
        stream = await connect_tcp(host, port, ssl_context)
        link = CuttableStream(stream)
        self._links.append(link)
        self._streams.append(stream)
        return link

    def cut_links(self, how: Literal["reset", "eof", "silence"]) -> None:
        """Cut all links of clients as a network does, seen from here."""
        for link in self._links:
            if how == "reset":
                link.reset()
            elif how == "eof":
                link.end()
            else:
                link.silence()
        self._links.clear()

    async def close_streams(self) -> None:
        """Close what a silenced link leaves open."""
        for stream in self._streams:
            await trio.aclose_forcefully(stream)


@pytest.fixture(params=["emulator", *(["azure"] if AZURE else [])])
async def place(request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    """A hub of each service there is."""
    async with AsyncExitStack() as stack:
        connection_string = AZURE
        if request.param == "emulator":
            connection_string = (await stack.enter_async_context(open_emulator())).connection_string
        assert connection_string is not None
        place = Place(await stack.enter_async_context(open_service(connection_string, HUB)))
        stack.push_async_callback(place.close_streams)
        yield place
