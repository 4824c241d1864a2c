"""Streams and states of groups, everything as it is, in memory, under the faults of seeds."""

from __future__ import annotations

import pytest

from trio_webpubsub.protocol.subprotocols import Subprotocol

from . import lanes, stream_cancellations
from .streamer import PLAIN, RELIABLE

SEEDS = 60


@pytest.mark.timeout(900)  # real seconds, on a machine that may have other things to do
def test_fragments_arrive_once_and_in_order_under_the_faults_of_many_seeds() -> None:
    total = lanes.in_parallel([(lanes.streams_seed, range(SEEDS))])
    assert total.failures == []
    assert total.runs == SEEDS


@pytest.mark.parametrize("subprotocol", [RELIABLE[0], PLAIN[1]])
def test_a_cancellation_anywhere_leaves_nothing_behind(subprotocol: Subprotocol) -> None:
    assert stream_cancellations.run(subprotocol) > 100
