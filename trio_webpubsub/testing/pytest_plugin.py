"""Fixtures for pytest with pytest-trio.

To be had with ``pytest_plugins = ["trio_webpubsub.testing.pytest_plugin"]`` in the ``conftest.py`` of a project.

Nothing is active but the fixtures that a test asks for. They need a virtual clock: pytest-trio's fixture
``autojump_clock``, which every test has to ask for itself. All that is left to chance follows from the fixture
``webpubsub_seed``: override it, or give it many values with ``@pytest.mark.parametrize("webpubsub_seed", range(20))``.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from ..client.client import Client
from ..client.opening import open_client
from ..emulator import Emulator, open_emulator
from ..service import Service, open_service
from .determinism import seeded
from .factories import HUB, OpenClient, OpenService
from .network import SimulatedNetwork


@pytest.fixture
def webpubsub_seed() -> int:
    """Decides about everything that is left to chance: scheduler, ids, jitter, delays."""
    return 0


@pytest.fixture
async def webpubsub_network(autojump_clock: MockClock, webpubsub_seed: int) -> AsyncGenerator[SimulatedNetwork]:
    """A perfect network, and the handles to make it a bad one.

    Raises:
        RuntimeError: the test runs on the real clock, since it did not ask for ``autojump_clock`` itself, which is the
            only way that pytest-trio knows.
    """
    if trio.lowlevel.current_clock() is not autojump_clock:
        raise RuntimeError("ask for the fixture autojump_clock in the test itself, so that it runs on a virtual clock")
    with seeded(webpubsub_seed):
        yield SimulatedNetwork(webpubsub_seed)


@pytest.fixture
async def webpubsub_emulator(webpubsub_network: SimulatedNetwork) -> AsyncGenerator[Emulator]:  # noqa: ARG001
    """An emulator in memory. It asks for the network since that makes the ids follow from the seed."""
    async with open_emulator(in_memory=True) as emulator:
        yield emulator


@pytest.fixture
def webpubsub_client(webpubsub_network: SimulatedNetwork, webpubsub_emulator: Emulator) -> OpenClient:
    """Opens clients that reach the emulator through the network; each new session gets a new token."""

    def open_one(user_id: str = "client", *, hub: str = HUB, **options: Any) -> AbstractAsyncContextManager[Client]:
        async def url() -> str:
            return webpubsub_emulator.client_url(hub, user_id=user_id)

        options.setdefault("connector", webpubsub_network.connector(webpubsub_emulator, user_id))
        return open_client(webpubsub_network.provider(url, user_id), **options)

    return open_one


@pytest.fixture
def webpubsub_service(webpubsub_network: SimulatedNetwork, webpubsub_emulator: Emulator) -> OpenService:
    """Opens service clients that reach the emulator through the network."""

    def open_one(*, hub: str = HUB, **options: Any) -> AbstractAsyncContextManager[Service]:
        options.setdefault("connector", webpubsub_network.connector(webpubsub_emulator, "service"))
        return open_service(webpubsub_emulator.connection_string, hub, **options)

    return open_one
