"""Streams and states of groups, everything as it is, in memory, under the faults of seeds."""

from __future__ import annotations

import pytest

from . import lanes

SEEDS = 120


@pytest.mark.timeout(900)  # real seconds, on a machine that may have other things to do
def test_fragments_arrive_once_and_in_order_under_the_faults_of_many_seeds() -> None:
    total = lanes.in_parallel([(lanes.streams_seed, range(SEEDS))])
    assert total.failures == []
    assert total.runs == SEEDS
