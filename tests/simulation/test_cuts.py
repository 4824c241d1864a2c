"""A scripted session with every type of message, cut at every boundary between frames, and in them."""

from __future__ import annotations

from itertools import chain

import pytest

from trio_webpubsub.protocol.subprotocols import Subprotocol

from . import cuts, lanes

UPSTREAM = {"JoinGroup", "LeaveGroup", "SendToGroup", "SendEvent", "Invoke", "CancelInvocation", "SequenceAck", "Ping"}
DOWNSTREAM = {"Ack", "GroupMessage", "ServerMessage", "InvokeResponse", "Pong"}


@pytest.mark.parametrize("subprotocol", cuts.SUBPROTOCOLS)
def test_the_script_says_and_hears_everything(subprotocol: Subprotocol) -> None:
    frames = cuts.session(subprotocol).frames
    assert {frame.kind for frame in frames["up"]} >= UPSTREAM
    assert {frame.kind for frame in frames["down"]} >= DOWNSTREAM


@pytest.mark.timeout(900)  # real seconds, on a machine that may have other things to do
def test_a_cut_anywhere_costs_ten_seconds_at_most_and_nothing_else() -> None:
    cases = list(chain.from_iterable(map(cuts.cases, cuts.SUBPROTOCOLS)))
    total = lanes.in_parallel([(lanes.cut, cases)])
    assert total.failures == []
    assert total.runs == len(cases)
