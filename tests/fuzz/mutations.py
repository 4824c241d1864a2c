"""Ways to spoil bytes, for every test in this directory. How many rounds each runs is in ``FUZZ_ROUNDS``."""

from __future__ import annotations

import os
from random import Random

ROUNDS = int(os.environ.get("FUZZ_ROUNDS", "5000"))
"""So many in every run of the tests; ``python -m nox -s fuzz`` sets more."""

JUNK = (
    b"",
    b"\x00",
    b"\xff\xfe",
    b"0",
    b"-1",
    b"1e999",
    b"9" * 400,
    b"null",
    b"{}",
    b"[]",
    b'"\\ud800"',
    b"[" * 5_000,
    b'{"a":' * 5_000,
    b"a, b,c",
    "größe 😀".encode(),
    b"x" * 5_000,
    b"%00%2f..",
    b"=?;charset=",
)


def spoiled(data: bytes, random: Random) -> bytes:
    """Give ``data`` with something changed: a byte, a piece gone or doubled, junk in it or in its place."""
    start = random.randrange(len(data) + 1)
    end = min(len(data), start + random.randrange(1, 20))
    match random.randrange(7):
        case 0:
            return data[:start] + bytes([random.randrange(256)]) + data[start + 1 :]
        case 1:
            return data[:start] + data[end:]
        case 2:
            return data[:end] + data[start:]
        case 3:
            return data[:start] + random.choice(JUNK) + data[start:]
        case 4:
            return random.choice(JUNK)
        case 5:
            return data[:start]
        case _:
            return data.swapcase()
