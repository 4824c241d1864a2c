"""Session and hub back to back: thousands of random histories."""

from __future__ import annotations

import pytest

from . import lanes

SEEDS = 20_000


@pytest.mark.timeout(900)  # real seconds, on a machine that may have other things to do
def test_the_promise_holds_in_random_histories() -> None:
    total = lanes.in_parallel([(lanes.core_seed, range(SEEDS))])
    assert total.failures == []
    assert total.runs == SEEDS
