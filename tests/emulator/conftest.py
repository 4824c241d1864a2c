from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest
from trio.testing import MockClock

from trio_webpubsub.emulator import Emulator, open_emulator


@pytest.fixture
async def emulator(autojump_clock: MockClock) -> AsyncGenerator[Emulator, None]:
    """An emulator in memory, on the virtual clock."""
    async with open_emulator(in_memory=True) as emulator:
        yield emulator
