from __future__ import annotations

import pytest
import trio

from tests.service.peer import Peer


@pytest.fixture
def peer(nursery: trio.Nursery) -> Peer:
    """The other side."""
    return Peer(nursery)
