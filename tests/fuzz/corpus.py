"""Inputs that are kept: one for each way in which a target takes or refuses what it reads, and all that ever escaped.

They stand in ``kept/TARGET.txt``, each a line with a literal of bytes. Every run of the tests begins with them, and
spoils them further. ``python -m tests.fuzz.corpus`` looks for new ways of the targets that need no connection, and
keeps an input for each; what went wrong is added by hand.
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path
from random import Random

from tests.fuzz.mutations import spoiled

DIRECTORY = Path(__file__).with_name("kept")
_LONGEST = 400
"""Bytes of an input that is kept; what is longer is as likely found again."""
_MOST = 60
"""Inputs of one target."""
_ROUNDS = 20_000


def kept(target: str) -> list[bytes]:
    """Give the inputs that are kept for a target."""
    path = DIRECTORY / f"{target}.txt"
    return [ast.literal_eval(line) for line in path.read_text().splitlines()]


def keep(target: str, inputs: list[bytes]) -> None:
    """Keep these inputs."""
    (DIRECTORY / f"{target}.txt").write_text("".join(f"{each!r}\n" for each in inputs))


def way(outcome: object) -> str:
    """Say what came of an input, without what differs from one input to the next."""
    text = f"{type(outcome).__name__} {outcome}" if isinstance(outcome, Exception) else str(outcome)
    return re.sub(r"""'[^']*'|"[^"]*"|\d+|0x[0-9a-f]+""", "_", text)[:100]


def main() -> int:
    """Look for new ways."""
    from tests.fuzz.targets import TARGETS  # which asks for what is kept

    for target in TARGETS:
        random = Random(0)
        read = target.reader()
        inputs = target.inputs()
        found = {way(target.outcome(read, each)): each for each in kept(target.name)}
        for _ in range(_ROUNDS):
            data = random.choice(inputs)
            for _ in range(random.randrange(1, 4)):
                data = spoiled(data, random)
            if len(data) <= _LONGEST and len(found) < _MOST:
                found.setdefault(way(target.outcome(read, data)), data)
        keep(target.name, list(found.values()))
        sys.stdout.write(f"{target.name}: {len(found)} inputs\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
