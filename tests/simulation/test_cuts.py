"""A scripted session with every type of message, cut at every boundary between frames, and in them."""

from __future__ import annotations

from collections import defaultdict
from itertools import chain
from typing import get_args

import pytest

from trio_webpubsub.protocol.subprotocols import Subprotocol

from . import cuts, lanes
from .scripts import Act

UPSTREAM = {"JoinGroup", "LeaveGroup", "SendToGroup", "SendEvent", "Invoke", "CancelInvocation", "SequenceAck", "Ping"}
DOWNSTREAM = {
    "Ack",
    "ConnectedMessage",
    "DisconnectedMessage",
    "GroupMessage",
    "InvokeResponse",
    "Pong",
    "ServerMessage",
}


@pytest.mark.parametrize("subprotocol", cuts.SUBPROTOCOLS)
def test_the_scripts_say_and_hear_everything(subprotocol: Subprotocol) -> None:
    kinds: defaultdict[str, set[str]] = defaultdict(set)
    for act in get_args(Act):
        for (_, direction), frames in cuts.played(subprotocol, act).frames.items():
            kinds[direction] |= {frame.kind for frame in frames}
    assert kinds["up"] >= UPSTREAM
    assert kinds["down"] >= DOWNSTREAM


@pytest.mark.timeout(900)  # real seconds, on a machine that may have other things to do
def test_a_cut_anywhere_costs_ten_seconds_at_most_and_nothing_else() -> None:
    cases = list(chain.from_iterable(map(cuts.cases, cuts.SUBPROTOCOLS)))
    total = lanes.in_parallel([(lanes.cut, cases)])
    assert total.failures == []
    assert total.runs == len(cases)
