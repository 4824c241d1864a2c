"""Fixtures of the client's tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio
import trio.testing

from trio_webpubsub.emulator import Emulator, open_emulator

from .raw_service import RawService, raw_service


@pytest.fixture
async def emulator(autojump_clock: trio.testing.MockClock) -> AsyncIterator[Emulator]:
    """An emulator in memory on the virtual clock."""
    async with open_emulator(in_memory=True) as emulator:
        yield emulator


@pytest.fixture
async def service(autojump_clock: trio.testing.MockClock) -> AsyncIterator[RawService]:
    """A raw service on the virtual clock."""
    async with raw_service() as service:
        yield service
