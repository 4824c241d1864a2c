"""A user's call, or the whole of a client, cancelled at checkpoint k, for every k that there is."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, suppress
from typing import Literal, NamedTuple

import trio

from trio_webpubsub import Client, InvocationFailed, SendFailed, open_client
from trio_webpubsub.emulator import Emulator, open_emulator
from trio_webpubsub.protocol.subprotocols import Subprotocol
from trio_webpubsub.testing import SimulatedNetwork, cancel_at, simulate

from . import reports
from .model import Model

HUB = "chat"
LATENCY = 0.01
LAST_WORDS = 0.4
"""Seconds that a block which is being cancelled takes for its goodbye."""


class Case(NamedTuple):
    """What is cancelled, at every checkpoint in turn."""

    subprotocol: Subprotocol
    what: Literal["calls", "client"]
    seed: int = 0
    """Decides about the scheduler and the like, together with the checkpoint."""


class Failed(AssertionError):
    """A cancellation was noticed, with all that is needed to see it again."""


CASES = [
    Case(subprotocol, what)
    for subprotocol in (
        "json.reliable.webpubsub.azure.v1",
        "protobuf.reliable.webpubsub.azure.v1",
        "json.webpubsub.azure.v1",
    )
    for what in ("calls", "client")
]


def run(case: Case) -> int:
    """Cancel everywhere; gives how many places there were.

    Raises:
        Failed: it was noticed somewhere.
    """
    checkpoint = 1
    while not run_one(case, checkpoint):
        checkpoint += 1
    return checkpoint


def run_one(case: Case, checkpoint: int) -> bool:
    """Cancel at one checkpoint; gives whether the script was over before.

    Raises:
        Failed: it was noticed.
    """
    seed = case.seed + checkpoint
    network = SimulatedNetwork(seed, latency=LATENCY)
    models: list[Model] = []
    try:
        return simulate(_main, case, checkpoint, network, models, seed=seed)
    except reports.FINDINGS as error:
        plan = f"{case.what} over {case.subprotocol}, cancelled at checkpoint {checkpoint}"
        again = reports.command("cancelled", case, checkpoint=checkpoint)
        said = reports.report("a cancellation", error, plan=[plan], again=again, network=network, models=models)
        raise Failed(said) from reports.innermost(error)


async def _main(case: Case, checkpoint: int, network: SimulatedNetwork, models: list[Model]) -> bool:
    async with open_emulator(in_memory=True) as emulator:
        model = Model(emulator._switchboard.hubs.hub(HUB))
        models.append(model)
        with trio.fail_after(60):
            if case.what == "calls":
                async with _client(case.subprotocol, network, emulator) as client:
                    joined: list[bool] = []
                    finished = await cancel_at(checkpoint, _calls, client, joined, every_task=True)
                    await _check_link(client, emulator, model, joined=bool(joined))
            else:
                life = _whole_life, case.subprotocol, network, emulator, model
                finished = await cancel_at(checkpoint, *life, every_task=True)
        await trio.sleep(1)
        if left := [each for each in emulator.connections(HUB) if each.attached]:
            raise model.fail(f"checkpoint {checkpoint}: connections left behind: {left}")
    if network.links:
        raise model.fail(f"checkpoint {checkpoint}: links that nobody closed: {network.links}")
    model.check()
    return finished


def _client(
    subprotocol: Subprotocol, network: SimulatedNetwork, emulator: Emulator
) -> AbstractAsyncContextManager[Client]:
    return open_client(
        emulator.client_url(HUB, user_id="ann"), subprotocol=subprotocol, connector=network.connector(emulator, "ann")
    )


async def _calls(client: Client, joined: list[bool]) -> None:
    """Use everything that waits; ``joined`` is told when the first call has come back."""
    await client.join_group("a")
    joined.append(True)
    await client.send_to_group("a", {"n": 1})
    await client.send_to_group("a", b"2", ack=False, no_echo=True)
    for refused in (client.send_event, client.invoke_event):
        with suppress(SendFailed, InvocationFailed):
            await refused("nobody", "hears")
    async with client.group_messages("b") as messages, client.group_messages("b") as same:
        await client.send_to_group("b", "hello")
        assert (await messages.receive()).data == "hello"
        assert [message.data for message in await anext(same.batches())] == ["hello"]
    await client.leave_group("a")


async def _check_link(client: Client, emulator: Emulator, model: Model, *, joined: bool) -> None:
    """Check that nobody would know of the cancellation."""
    async with client.group_messages("check") as messages:
        await client.send_to_group("check", "still:here")
        model.succeeded("still:here")
        assert (await messages.receive()).data == "still:here"
    if joined:
        await client.leave_group("a")
    await trio.sleep(1)
    statistics = client.statistics()
    if statistics.pending_sends or statistics.recoveries or statistics.reconnects:
        raise model.fail(f"a cancelled call harmed the link: {statistics}")
    if groups := emulator.groups(HUB):
        raise model.fail(f"nobody should be in {groups}")


async def _whole_life(subprotocol: Subprotocol, network: SimulatedNetwork, emulator: Emulator, model: Model) -> None:
    """Open a client, and take leave of it even when cancelled."""
    async with _client(subprotocol, network, emulator) as client:
        try:
            async with client.group_messages("a"):
                await client.send_to_group("a", "one:1")
        finally:
            with trio.move_on_after(LAST_WORDS, shield=True) as scope:
                await client.send_to_group("a", "good:bye")
            if scope.cancelled_caught:
                raise model.fail("a goodbye was not heard")
            model.succeeded("good:bye")
