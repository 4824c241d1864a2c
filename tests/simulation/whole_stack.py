"""Clients, emulator, REST and network as they are, in memory and on the virtual clock, with faults from a seed.

`run` is one run. Three clients join, send, listen, cancel and come and go between groups while a plan of faults plays;
the model checks everything that they see. Some time after the last fault all has to be as if nothing had been: that is
checked too. The script starts after the first ``connected``, since before it a client has nothing to lose.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial

import trio

from trio_webpubsub.emulator import Emulator, HubLimits, open_emulator
from trio_webpubsub.protocol.subprotocols import Subprotocol
from trio_webpubsub.service import Service, ServiceError, open_service
from trio_webpubsub.testing import FAULT_KINDS, Fault, SimulatedNetwork, play, random_faults, simulate

from . import reports
from .actor import HUB, ROOM, Actor
from .handlers import LIMITS as HANDLER_LIMITS
from .handlers import ApplicationServer
from .model import Model
from .waits import Waits

NAMES = ("ann", "bob", "cat")
RELIABLE: tuple[Subprotocol, ...] = ("json.reliable.webpubsub.azure.v1", "protobuf.reliable.webpubsub.azure.v1")

FAULTS = 5
"""In each run, at least."""
HURTS_WHO_CONNECTS = ("refuse", "stall", "blackhole", "provider_raises", "provider_hangs", "provider_repeats")
ENDS_LINKS = ("reset", "eof", "half_open", "close", "forget_session", "restart")
AFTERSHOCK = 0.4
"""How often something happens to a link that has just been made anew."""
TROUBLE = 25.0
"""Virtual seconds in which faults begin."""
SETTLED = 90.0
"""Virtual seconds after the last fault in which all must be well again: the longest pause between two tries (30), a
dead link noticed (30), a connect and a URL that took too long (10 each), and the ack of what was written last."""
LONGEST = 600.0
"""Virtual seconds for all of it: a run that spins for ever ends here."""
PROMPT = 45.0
"""Virtual seconds for a send when all seems well: a link may be dead, and that not be noticed yet (30)."""
QUIET = 2.0
DEAD_AT_THE_END = 0.35
"""How often the link of the client that leaves last is dead then."""
REQUESTS = 12
REQUEST_TIMEOUT = 5.0
RETRIES = 2
RETRY_PAUSE = 8.0
"""Virtual seconds, at most, before a request is sent again."""
TASKS_OF_A_CLIENT = ("supervisor", "receive loop", "keep-alive")
TASKS_WITH_WORK = ("writer", "sequence-ack ticker")
"""What a link has from when there is something to do for them."""


@dataclass(frozen=True)
class Outcome:
    """What there is to say about a run that kept the promise."""

    digest: str
    """Equal for equal runs."""
    faults: int
    virtual_seconds: float
    messages: int
    sessions: int
    links: int


class Failed(AssertionError):
    """A run in which the promise was broken, with all that is needed to see it again."""


def plan(seed: int, count: int = FAULTS) -> list[Fault]:
    """Give the faults of a seed.

    What hurts only who connects just then comes with a reason to connect, and who connects again may be hit again.
    """
    clients = (*NAMES, "rest", "app")
    # One kind for each seed by turns, so that none is left to chance alone.
    turn = FAULT_KINDS[seed % len(FAULT_KINDS)]
    faults = [
        *random_faults(seed, 2, within=TROUBLE, clients=clients, kinds=[turn]),
        *random_faults(seed + 1, count - 2, within=TROUBLE, clients=clients),
    ]
    chance = random.Random(f"reasons of {seed}")
    reasons = [
        Fault(fault.at + 0.05, chance.choice(("reset", "forget_session")), fault.client)
        for fault in faults
        if fault.kind in HURTS_WHO_CONNECTS
    ]
    aftershocks = [
        Fault(
            fault.at + chance.uniform(0.05, 1.5),
            chance.choice(("silence", "reset", "close")),
            fault.client,
            code=1011,
        )
        for fault in [*faults, *reasons]
        if fault.kind in ENDS_LINKS and chance.random() < AFTERSHOCK
    ]
    return sorted([*faults, *reasons, *aftershocks], key=lambda fault: fault.at)


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
    models: list[Model] = []
    try:
        return simulate(_main, seed, faults, network, models, seed=seed)
    except reports.FINDINGS as error:
        again = command(seed, faults)
        said = reports.report(f"seed {seed}", error, plan=faults, again=again, network=network, models=models)
        raise Failed(said) from reports.innermost(error)


def command(seed: int, faults: Sequence[Fault]) -> str:
    """Give the command that repeats a run."""
    return reports.command("seed", seed) if list(faults) == plan(seed) else reports.command("seed", seed, plan=faults)


async def _main(seed: int, faults: Sequence[Fault], network: SimulatedNetwork, models: list[Model]) -> Outcome:
    chance = random.Random(f"script of {seed}")
    limits = HubLimits(recovery_window=chance.choice((6.0, 30.0)), unacknowledged_messages=chance.choice((25, 1_000)))
    again = chance.random() < 0.5
    async with trio.open_nursery() as nursery:
        server = ApplicationServer(HUB, chance, nursery, in_process=chance.random() < 0.5)
        async with open_emulator(
            in_memory=True,
            limits=limits,
            connected_after_recovery=again,
            event_handlers=[server.handler],
            handler_connector=network.connector(server, "app"),
            handler_limits=HANDLER_LIMITS,
        ) as emulator:
            model = Model(emulator._switchboard.hubs.hub(HUB))
            models.append(model)
            server.watch(model)
            await _live(seed, faults, network, emulator, model, server)
        server.check(model.sessions)
    if network.links:
        raise model.fail(f"links that nobody closed: {network.links}")
    model.check()
    return Outcome(
        digest=network.digest + model.digest,
        faults=len(faults),
        virtual_seconds=trio.current_time(),
        messages=sum(map(len, model.numbered.values())),
        sessions=sum(map(len, model.sessions.values())),
        links=network.links_made,
    )


async def _live(
    seed: int,
    faults: Sequence[Fault],
    network: SimulatedNetwork,
    emulator: Emulator,
    model: Model,
    server: ApplicationServer,
) -> None:
    """Let clients live through the faults, while everything is watched."""
    chance = random.Random(f"clients of {seed}")
    waits = Waits(model, emulator._switchboard.hubs.hub(HUB), network, handler_timeout=HANDLER_LIMITS.timeout)
    actors = [
        Actor(name, subprotocol, chance, model, network, emulator, server, waits)
        for name, subprotocol in zip(NAMES, (*RELIABLE, chance.choice(RELIABLE)), strict=True)
    ]
    rest = network.connector(emulator, "rest")
    with trio.fail_at(LONGEST):
        async with (
            trio.open_nursery() as watching,
            open_service(
                emulator.connection_string, HUB, connector=rest, request_timeout=REQUEST_TIMEOUT, retries=RETRIES
            ) as service,
        ):
            async with AsyncExitStack() as stack:
                for actor in actors:
                    await stack.enter_async_context(actor.opened())
                watching.start_soon(waits.watch, actors)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(partial(play, faults, network, emulator, hub=HUB))
                    nursery.start_soon(_serve, service, chance, model, waits)
                    for actor in actors:
                        nursery.start_soon(actor.act, TROUBLE)
                await _settle(actors, model)
                for actor in actors:
                    with trio.fail_after(PROMPT):
                        await actor.send()
                await trio.sleep(QUIET)
                await _settle(actors, model)
                _check_at_rest(actors, model, network)
                newest = {actor.client.connection_id for actor in actors}
                if chance.random() < DEAD_AT_THE_END:  # leaving takes its time then, but not for ever
                    network.cut("silence", actors[0].name)
                    newest.discard(actors[0].client.connection_id)
            await trio.sleep(QUIET)
            watching.cancel_scope.cancel()
    if left := [each for each in emulator.connections(HUB) if each.connection_id in newest]:
        raise model.fail(f"left behind by clients that ended normally: {left}")


async def _serve(service: Service, chance: random.Random, model: Model, waits: Waits) -> None:
    """Send over REST now and then."""
    for number in range(REQUESTS):
        await trio.sleep(chance.uniform(0, 2 * TROUBLE / REQUESTS))
        text = f"service:{number}"
        send = chance.choice(
            (service.send_to_all, partial(service.send_to_group, ROOM), partial(service.send_to_user, NAMES[0]))
        )
        try:
            longest = (RETRIES + 1) * REQUEST_TIMEOUT + RETRIES * RETRY_PAUSE
            with trio.move_on_after(chance.choice((2.0, LONGEST))) as scope, waits.at_most(longest, text):
                await send(text)
        except ServiceError as error:
            model.note(f"{text}: {error!r}")
            continue
        if not scope.cancelled_caught:
            model.succeeded(text)


async def _settle(actors: Sequence[Actor], model: Model) -> None:
    """Wait until all are well."""
    with trio.move_on_after(SETTLED):
        while not all(actor.is_settled for actor in actors):  # noqa: ASYNC110 - there is no event for all of that
            await trio.sleep(0.5)
        return
    for actor in actors:
        actor.check()
    raise model.fail(f"not well {SETTLED} s after the last fault")


def _check_at_rest(actors: Sequence[Actor], model: Model, network: SimulatedNetwork) -> None:
    """Check that a quiet system is what it would be without all that happened."""
    model.check_at_rest()
    for actor in actors:
        actor.check()
    tasks = Counter(task.name.rpartition(" ")[0] for task in _tasks_below(trio.lowlevel.current_root_task()))
    for kind in TASKS_OF_A_CLIENT:
        if tasks[kind] != len(actors):
            raise model.fail(f"{tasks[kind]} tasks are called {kind!r}, for {len(actors)} clients")
    for kind in TASKS_WITH_WORK:
        if tasks[kind] > len(actors):
            raise model.fail(f"{tasks[kind]} tasks are called {kind!r}, for {len(actors)} clients")
    open_links = Counter(link.name for link in network._links if not link.client_end._closed)
    for actor in actors:
        if open_links[actor.name] != 1:
            raise model.fail(f"{actor.name} has {open_links[actor.name]} links open")


def _tasks_below(task: trio.lowlevel.Task | None) -> Iterator[trio.lowlevel.Task]:
    if task is not None:
        yield task
        for nursery in task.child_nurseries:
            for child in nursery.child_tasks:
                yield from _tasks_below(child)
