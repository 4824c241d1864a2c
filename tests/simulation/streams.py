"""Streams and states of groups under faults, with everything as it is, in memory and on the virtual clock.

`run` is one run. Three clients stream to a group in which all of them are, are cancelled or fail in the middle, tell
the group states, and watch streams and states, while a plan of faults plays. What the hub publishes is the truth: it
has to be what was written, every fragment once and in order, and readers have to hear it so. Some time after the last
fault every stream that was left has ended, and everybody has the states that the hub has.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import partial

import trio

from trio_webpubsub.emulator import Emulator, HubLimits, open_emulator
from trio_webpubsub.testing import Fault, SimulatedNetwork, play, simulate

from . import reports
from .actor import HUB
from .stream_truth import Truth
from .streamer import PLAIN, RELIABLE, Streamer
from .whole_stack import LONGEST, NAMES, QUIET, SETTLED, TROUBLE, Failed, Outcome, plan


def run(seed: int, faults: Sequence[Fault] | None = None) -> Outcome:
    """Run one simulation.

    Raises:
        Failed: something was not as promised.
    """
    faults = plan(seed) if faults is None else faults
    chance = random.Random(f"network of {seed}")
    network = SimulatedNetwork(
        seed,
        latency=chance.choice((0.0, 0.001, 0.05, 0.2)),
        jitter=chance.choice((0.0, 0.1)),
        window=chance.choice((2_000, 65_536)),
    )
    truths: list[Truth] = []
    try:
        return simulate(_main, seed, faults, network, truths, seed=seed)
    except reports.FINDINGS as error:
        again = reports.command("streams-seed", seed)
        said = reports.report(
            f"streams of seed {seed}", error, plan=faults, again=again, network=network, models=truths
        )
        raise Failed(said) from reports.innermost(error)


async def _main(seed: int, faults: Sequence[Fault], network: SimulatedNetwork, truths: list[Truth]) -> Outcome:
    chance = random.Random(f"streams of {seed}")
    limits = HubLimits(recovery_window=chance.choice((6.0, 30.0)), unacknowledged_messages=chance.choice((100, 1_000)))
    again = chance.random() < 0.5
    async with open_emulator(in_memory=True, limits=limits, connected_after_recovery=again) as emulator:
        truth = Truth(emulator._switchboard.hubs.hub(HUB))
        truths.append(truth)
        async with AsyncExitStack() as stack:
            stack.enter_context(trio.fail_at(LONGEST))
            subprotocols = (*RELIABLE, chance.choice((*RELIABLE, *PLAIN)))
            slow = any(fault.kind == "trickle" for fault in faults)
            streamers = [
                Streamer(name, subprotocol, chance, truth, network, emulator, link_is_slow=slow)
                for name, subprotocol in zip(NAMES, subprotocols, strict=True)
            ]
            for streamer in streamers:
                await stack.enter_async_context(streamer.opened())
            async with trio.open_nursery() as nursery:
                nursery.start_soon(partial(play, faults, network, emulator, hub=HUB))
                nursery.start_soon(_refuse_fragments, emulator, chance)
                for streamer in streamers:
                    nursery.start_soon(streamer.act, TROUBLE)
            await _settle(streamers, truth)
            for streamer in streamers:
                await streamer.stream()
            await trio.sleep(QUIET)
            await _settle(streamers, truth)
    truth.check()
    return Outcome(
        digest=network.digest,
        faults=len(faults),
        virtual_seconds=trio.current_time(),
        messages=sum(truth.published.values()),
        sessions=sum(map(len, truth.sessions.values())),
        links=network.links_made,
    )


async def _refuse_fragments(emulator: Emulator, chance: random.Random) -> None:
    """Refuse fragments for the moment, now and then."""
    for _ in range(4):
        await trio.sleep(chance.uniform(0, TROUBLE / 2))
        emulator.refuse_fragments(HUB, chance.randint(1, 5))


async def _settle(streamers: Sequence[Streamer], truth: Truth) -> None:
    """Wait until all are well, and no stream is open."""
    with trio.move_on_after(SETTLED):
        while truth.open_streams or any(streamer.troubles() for streamer in streamers):
            truth.check()
            await trio.sleep(0.5)
        return
    troubles = [trouble for streamer in streamers for trouble in streamer.troubles()]
    raise truth.fail(f"{SETTLED} s after the last fault: {troubles}, open streams {truth.open_streams}")
