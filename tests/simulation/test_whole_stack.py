"""Everything as it is, in memory: faults from seeds, and plans of faults that Hypothesis makes and shrinks."""

from __future__ import annotations

import shlex
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trio_webpubsub.testing import FAULT_KINDS, Fault
from trio_webpubsub.testing.faults import CLOSE_CODES, HANDSHAKE_STATUSES

from . import lanes, waits, whole_stack

SEEDS = 500
FAULTS = 2_500
KEPT = Path(__file__).with_name("kept_plans.jsonl")
"""Plans under which something was once wrong, with their seeds."""


class KeptPlan(msgspec.Struct):
    """A line of it."""

    seed: int
    why: str
    faults: list[Fault]


@pytest.mark.timeout(900)  # real seconds, on a machine that may have other things to do
def test_the_promise_holds_under_the_faults_of_many_seeds() -> None:
    planned = {fault.kind for seed in range(SEEDS) for fault in whole_stack.plan(seed)}
    assert planned == set(FAULT_KINDS)
    total = lanes.in_parallel([(lanes.whole_stack_seed, range(SEEDS))])
    assert total.failures == []
    assert total.runs == SEEDS
    assert total.faults >= FAULTS


CODES = {"close": CLOSE_CODES, "refuse": HANDSHAKE_STATUSES}


@st.composite
def faults(draw: st.DrawFn) -> Fault:
    """Make a fault of any kind."""
    kind = draw(st.sampled_from(FAULT_KINDS))
    return Fault(
        at=draw(st.integers(0, 250)) / 10,
        kind=kind,
        client=draw(st.sampled_from((None, *whole_stack.NAMES, "rest"))),
        seconds=draw(st.integers(0, 150)) / 10,
        code=draw(st.sampled_from(CODES.get(kind, (0,)))),
    )


@settings(max_examples=40)
@given(seed=st.integers(0, 1000), plan=st.lists(faults(), max_size=8))
def test_the_promise_holds_under_any_plan(seed: int, plan: list[Fault]) -> None:
    whole_stack.run(seed, plan)


@pytest.mark.parametrize("line", KEPT.read_text().splitlines())
def test_the_promise_holds_where_it_once_did_not(line: str) -> None:
    kept = msgspec.json.decode(line, type=KeptPlan)
    whole_stack.run(kept.seed, kept.faults)


def test_a_failing_run_says_how_to_see_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waits, "SLACK", -100.0)
    plan = [Fault(3.0, "reset", "ann")]
    with pytest.raises(whole_stack.Failed) as caught:
        whole_stack.run(7, plan)
    report = str(caught.value)
    assert report.startswith("seed 7: Broken(")
    assert f"    {plan[0]},\n" in report
    assert "last events in the network:\n    " in report
    assert "last events of the script:\n    " in report
    assert report.endswith(f"again: {whole_stack.command(7, plan)}")
    assert msgspec.json.decode(shlex.split(report.splitlines()[-1])[-1], type=list[Fault]) == plan


def test_the_plan_of_a_failing_run_is_shrunk() -> None:
    def run(seed: int, faults: list[Fault]) -> None:
        if any(fault.kind == "eof" for fault in faults):
            raise whole_stack.Failed

    plan = [Fault(1.0, "reset"), Fault(2.0, "eof"), Fault(3.0, "silence")]
    assert lanes.shrink(run, 7, plan) == [plan[1]]
