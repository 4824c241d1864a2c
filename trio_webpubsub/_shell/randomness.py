"""Where random bytes come from, so that a test can make a run repeatable."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeAlias

ByteSource: TypeAlias = Callable[[int], bytes]
"""Gives as many random bytes as asked for."""


def system_bytes(count: int) -> bytes:
    """The operating system's random bytes, looked up anew each time so that a simulation can replace `os.urandom`."""
    return os.urandom(count)
