"""The kinds of simulated runs, and running many of them in parallel processes."""

from __future__ import annotations

import logging
import multiprocessing
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, count, islice
from typing import Any, TypeVar

from hypothesis import find, settings
from hypothesis import strategies as st

from . import cancellations, core, cuts, streams, whole_stack
from .model import Hangs
from .reports import FINDINGS, innermost

CHUNK = 10
"""Runs that a process does before it reports."""
MOST_FAILURES = 5
"""After so many it is time to look."""


@dataclass
class Summary:
    """What came of many runs."""

    runs: int = 0
    faults: int = 0
    virtual_seconds: float = 0.0
    failures: list[str] = field(default_factory=list[str])
    lanes: Counter[str] = field(default_factory=Counter[str])
    """How many runs of each kind there were."""
    microseconds: Counter[str] = field(default_factory=Counter[str])
    """Of a processor, that they took."""

    def __add__(self, other: Summary) -> Summary:
        return Summary(
            self.runs + other.runs,
            self.faults + other.faults,
            self.virtual_seconds + other.virtual_seconds,
            self.failures + other.failures,
            self.lanes + other.lanes,
            self.microseconds + other.microseconds,
        )

    @property
    def paces(self) -> str:
        """Say how many runs of each kind a processor does in a second."""
        return ", ".join(f"{runs / self.microseconds[kind] * 1e6:,.1f} {kind}s" for kind, runs in self.lanes.items())


LONGEST_RUN = 20.0
"""Seconds of a processor."""
PATIENCE = 6
"""How many times as long it may take on a machine that has other things to do."""

Lane = Callable[[Any], Summary]
"""Does one run, and never raises."""


def core_seed(seed: int) -> Summary:
    """Run session and hub back to back."""
    try:
        core.run(seed)
    except core.Failed as error:
        return Summary(1, failures=[str(error)])
    return Summary(1)


def whole_stack_seed(seed: int) -> Summary:
    """Run everything under the faults of a seed."""
    try:
        outcome = whole_stack.run(seed)
    except whole_stack.Failed as error:
        return Summary(1, failures=[str(error)])
    return Summary(1, outcome.faults, outcome.virtual_seconds)


def streams_seed(seed: int) -> Summary:
    """Run streams and states of groups under the faults of a seed."""
    try:
        outcome = streams.run(seed)
    except whole_stack.Failed as error:
        return Summary(1, failures=[str(error)])
    return Summary(1, outcome.faults, outcome.virtual_seconds)


def cut(case: cuts.Cut) -> Summary:
    """Play an act with one cut."""
    try:
        cuts.run(case)
    except cuts.Failed as error:
        return Summary(1, failures=[str(error)])
    return Summary(1, 1)


def cancellation(case: cancellations.Case) -> Summary:
    """Cancel something at every checkpoint."""
    try:
        return Summary(cancellations.run(case))
    except cancellations.Failed as error:
        return Summary(1, failures=[str(error)])


def in_parallel(
    lanes: Iterable[tuple[Lane, Iterable[Any]]],
    *,
    seconds: float = float("inf"),
    progress: Callable[[Summary, float], None] | None = None,
) -> Summary:
    """Do all runs of some lanes, in as many processes as there are processors.

    Args:
        lanes: what to run, each with its cases.
        seconds: begin no more runs after so long.
        progress: told now and then how it goes, and for how long it has gone on.
    """
    chunks = chain.from_iterable(_chunks(lane, cases) for lane, cases in lanes)
    workers = len(os.sched_getaffinity(0))
    total = Summary()
    start = time.monotonic()
    running: set[Future[Summary]] = set()
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_be_quiet) as pool:
        while True:
            if time.monotonic() - start < seconds and len(total.failures) < MOST_FAILURES:
                for lane, cases in islice(chunks, 2 * workers - len(running)):
                    running.add(pool.submit(_run_chunk, lane, cases))
            if not running:
                return total
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for each in done:
                total += each.result()
            if progress is not None:
                progress(total, time.monotonic() - start)


def until_it_fails(seconds: float) -> Summary:
    """Do runs of all lanes by turns, here, until one fails or the time of a processor is over."""
    core_seeds, whole_seeds, streams_seeds = count(), count(), count()
    try:
        all_cuts = list(chain.from_iterable(map(cuts.cases, cuts.SUBPROTOCOLS)))
    except FINDINGS as error:
        return Summary(1, failures=[f"the scripted acts fail without a cut: {innermost(error)!r}"])
    random.Random(0).shuffle(all_cuts)
    some_cuts = iter(all_cuts)
    cancelled = reversed(cancellations.CASES)  # whole clients first
    total = Summary()
    end = time.process_time() + seconds
    while not total.failures and time.process_time() < end:
        for lane, cases in (
            (cancellation, islice(cancelled, 1)),
            (core_seed, islice(core_seeds, 50)),
            (whole_stack_seed, islice(whole_seeds, 20)),
            (streams_seed, islice(streams_seeds, 5)),
            (cut, islice(some_cuts, 100)),
        ):
            total += _run_chunk(lane, cases)
            if total.failures:
                break
    return total


Step = TypeVar("Step")


def shrink(run: Callable[[int, list[Step]], object], seed: int, plan: Sequence[Step]) -> list[Step]:
    """Find few of the steps of a failing run under which it still fails.

    Args:
        run: makes a run of a seed and a plan: of the whole stack, or of the core.
        seed: which.
        plan: its faults, or its history.
    """

    def chosen(keep: list[bool]) -> list[Step]:
        return [step for step, kept in zip(plan, keep, strict=True) if kept]

    def fails(keep: list[bool]) -> bool:
        try:
            run(seed, chosen(keep))
        except (whole_stack.Failed, core.Failed):
            return True
        return False

    keep = find(
        st.lists(st.booleans(), min_size=len(plan), max_size=len(plan)),
        fails,
        settings=settings(max_examples=300, deadline=None, database=None, derandomize=True),
    )
    return chosen(keep)


def _chunks(lane: Lane, cases: Iterable[Any]) -> Iterator[tuple[Lane, list[Any]]]:
    iterator = iter(cases)
    while chunk := list(islice(iterator, CHUNK)):
        yield lane, chunk


def _run_chunk(lane: Lane, cases: Iterable[Any]) -> Summary:
    total = Summary()
    start = time.process_time()
    for case in cases:
        with _watched():
            total += lane(case)
        if total.failures:
            break
    kind = lane.__name__.replace("_", " ")
    total.lanes[kind] += total.runs
    total.microseconds[kind] += int((time.process_time() - start) * 1e6)
    return total


@contextmanager
def _watched() -> Generator[None]:
    """Interrupt a run that spins for ever, or waits for something that is not simulated."""

    def interrupt(*_: object) -> None:
        raise Hangs

    timers = (
        (signal.SIGPROF, signal.ITIMER_PROF, LONGEST_RUN),
        (signal.SIGALRM, signal.ITIMER_REAL, PATIENCE * LONGEST_RUN),
    )
    before = {kind: signal.signal(kind, interrupt) for kind, _, _ in timers}
    for _, timer, seconds in timers:
        signal.setitimer(timer, seconds)
    try:
        yield
    finally:
        for _, timer, _ in timers:
            signal.setitimer(timer, 0)
        for kind, handler in before.items():
            signal.signal(kind, handler)


def _be_quiet() -> None:
    """Log nothing: what a simulation has to say stands in its report."""
    logging.disable(logging.CRITICAL)
