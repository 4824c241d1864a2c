"""``python -m tests.simulation``: repeat a run, or do as many new ones as there is time for."""

from __future__ import annotations

import argparse
import logging
import random
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain, count, islice
from typing import Any

import msgspec

from trio_webpubsub.testing import Fault

from . import cancellations, core, cuts, lanes, reports, whole_stack


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line says; gives the exit status, 1 for a broken promise."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, help="repeat the run of the whole stack with this seed")
    parser.add_argument("--core-seed", type=int, help="repeat the run of session and hub with this seed")
    parser.add_argument("--streams-seed", type=int, help="repeat the run of streams and states with this seed")
    parser.add_argument("--plan", help="its faults or its history, as JSON; by default what follows from the seed")
    parser.add_argument(
        "--shrink", action="store_true", help="if it fails, look for a smaller plan under which it does"
    )
    parser.add_argument("--cut", help="repeat an act with this cut, as JSON")
    parser.add_argument("--cancelled", help="repeat this script, as JSON, cancelled at --checkpoint")
    parser.add_argument("--checkpoint", type=int, default=1)
    parser.add_argument("--hours", type=float, help="run fresh seeds, and every byte of the script, for so long")
    parser.add_argument("--first-seed", type=int, help="where the fresh seeds begin; by default anywhere")
    parser.add_argument("--until-it-fails", type=float, metavar="SECONDS", help="run all lanes here, for so long")
    options = parser.parse_args(arguments)
    logging.disable(logging.CRITICAL)
    if options.core_seed is not None:
        history = (
            core.history(options.core_seed)
            if options.plan is None
            else msgspec.json.decode(options.plan, type=list[core.Action])
        )
        return _repeat(core.run, "core-seed", options.core_seed, history, shrink=options.shrink)
    if options.streams_seed is not None:
        return _told(lanes.streams_seed(options.streams_seed))
    if options.seed is not None:
        faults = (
            whole_stack.plan(options.seed)
            if options.plan is None
            else msgspec.json.decode(options.plan, type=list[Fault])
        )
        return _repeat(whole_stack.run, "seed", options.seed, faults, shrink=options.shrink)
    if options.cut is not None:
        return _again(partial(cuts.run, msgspec.json.decode(options.cut, type=cuts.Cut)))
    if options.cancelled is not None:
        case = msgspec.json.decode(options.cancelled, type=cancellations.Case)
        return _again(partial(cancellations.run_one, case, options.checkpoint))
    if options.until_it_fails is not None:
        return _told(lanes.until_it_fails(options.until_it_fails))
    first = random.SystemRandom().randrange(1 << 40) if options.first_seed is None else options.first_seed
    return _run_for(options.hours or 0.01, first)


def _again(run: Callable[[], object]) -> int:
    """Run something that failed once more."""
    try:
        print(run())
    except (whole_stack.Failed, core.Failed, cuts.Failed, cancellations.Failed) as failed:
        print(failed)
        return 1
    return 0


def _repeat(
    run: Callable[[int, list[lanes.Step]], object], option: str, seed: int, plan: list[lanes.Step], *, shrink: bool
) -> int:
    status = _again(partial(run, seed, plan))
    if status and shrink:
        print(f"as little as this: {reports.command(option, seed, plan=lanes.shrink(run, seed, plan))}")
    return status


def _run_for(hours: float, first_seed: int) -> int:
    print(f"fresh seeds from {first_seed}")
    total = lanes.in_parallel(_by_turns(first_seed), seconds=hours * 3600, progress=_progress)
    print()
    return _told(total)


def _by_turns(first_seed: int) -> Iterator[tuple[lanes.Lane, Iterable[Any]]]:
    """Give all lanes by turns: without end, but for the bytes of the script, of which there are only so many."""
    core_seeds, whole_seeds, streams_seeds = count(first_seed), count(first_seed), count(first_seed)
    cancelled = (each._replace(seed=seed) for seed in count(first_seed) for each in cancellations.CASES)
    cut_cases = chain.from_iterable(cuts.cases(each, every_byte=True) for each in cuts.SUBPROTOCOLS)
    for turn in count():
        yield lanes.whole_stack_seed, list(islice(whole_seeds, lanes.CHUNK))
        yield lanes.core_seed, list(islice(core_seeds, 10 * lanes.CHUNK))
        yield lanes.streams_seed, list(islice(streams_seeds, lanes.CHUNK))
        yield lanes.cut, list(islice(cut_cases, 4 * lanes.CHUNK))
        if turn % 10 == 0:
            yield lanes.cancellation, [next(cancelled)]


def _progress(total: lanes.Summary, seconds: float) -> None:
    print(
        f"\r{seconds:,.0f} s: {total.runs:,} runs, {total.faults:,} faults, {len(total.failures)} failed",
        end="",
        flush=True,
    )


def _told(total: lanes.Summary) -> int:
    for failure in total.failures:
        print(failure, end="\n\n")
    print(
        f"{total.runs:,} runs with {total.faults:,} faults in {total.virtual_seconds / 3600:,.1f} simulated hours: "
        f"{len(total.failures)} failed; a processor does {total.paces} in a second"
    )
    return 1 if total.failures else 0


if __name__ == "__main__":
    sys.exit(main())
