from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from functools import partial
from pathlib import Path

import pytest

from tests.cli import command
from trio_webpubsub import Client, open_client
from trio_webpubsub.emulator import Emulator, open_emulator

VARIABLES = ("AZURE_WEBPUBSUB_CONNECTION_STRING", "AZURE_WEBPUBSUB_HUB", "AZURE_WEBPUBSUB_ACCESS_KEY", "FORCE_COLOR")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that was meant for the commands of whoever runs the tests."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
async def emulator(environment: None, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Emulator]:
    """An emulator on a port, and in the environment, with the hub ``chat``."""
    async with open_emulator() as emulator:
        monkeypatch.setenv("AZURE_WEBPUBSUB_CONNECTION_STRING", emulator.connection_string)
        monkeypatch.setenv("AZURE_WEBPUBSUB_HUB", "chat")
        yield emulator


@pytest.fixture
def call(tmp_path: Path) -> Callable[..., Awaitable[command.Ended]]:
    """Run a command that ends by itself; ``given`` is its standard input."""
    return partial(command.call, tmp_path)


@pytest.fixture
async def client(emulator: Emulator) -> AsyncGenerator[Client]:
    """Somebody else in the hub."""
    async with open_client(emulator.client_url("chat", user_id="other")) as client:
        yield client
