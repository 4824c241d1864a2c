"""Calls, and whole clients, cancelled at every step of the program."""

from __future__ import annotations

import pytest

from . import cancellations


@pytest.mark.parametrize("case", cancellations.CASES, ids=lambda case: f"{case.what} {case.subprotocol}")
def test_cancelling_anywhere_harms_nothing(case: cancellations.Case) -> None:
    assert cancellations.run(case) > 50
