"""Names of parametrised cases."""

from __future__ import annotations

import re


def shown(value: object) -> str:
    """Show a value, without where in memory it stands: cases have the same names in each process."""
    return re.sub(r" at 0x[0-9a-f]+", "", str(value))
