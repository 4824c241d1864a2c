"""What uses streams and states of groups, cancelled at checkpoint k, for every k that there is."""

from __future__ import annotations

import trio

from trio_webpubsub import Client, open_client
from trio_webpubsub.emulator import open_emulator
from trio_webpubsub.protocol.subprotocols import Subprotocol
from trio_webpubsub.testing import SimulatedNetwork, cancel_at, simulate

from .actor import HUB
from .stream_truth import STAGE, Ear, Truth
from .streamer import ROLES

LATENCY = 0.01
FRAGMENTS = 70
"""More than the window holds."""


def run(subprotocol: Subprotocol) -> int:
    """Cancel everywhere; gives how many places there were.

    Raises:
        AssertionError: it was noticed somewhere.
    """
    checkpoint = 1
    while not simulate(_main, subprotocol, checkpoint, seed=checkpoint):
        checkpoint += 1
    return checkpoint


async def _main(subprotocol: Subprotocol, checkpoint: int) -> bool:
    network = SimulatedNetwork(checkpoint, latency=LATENCY)
    async with open_emulator(in_memory=True) as emulator:
        truth = Truth(emulator._switchboard.hubs.hub(HUB))
        url = emulator.client_url(HUB, user_id="ann", roles=ROLES)
        with trio.fail_after(60):
            async with open_client(
                url, subprotocol=subprotocol, connector=network.connector(emulator, "ann")
            ) as client:
                finished = await cancel_at(checkpoint, _script, client, every_task=True)
                await trio.sleep(1)
                if truth.open_streams:
                    raise truth.fail(f"checkpoint {checkpoint}: nobody ends {truth.open_streams}")
                await _check_link(client, truth)
    truth.check()
    return finished


async def _script(client: Client) -> None:
    """Use everything that waits."""
    async with client.group_streams(STAGE) as streams:
        async with client.open_stream(STAGE, stream_id="first") as stream:
            for number in range(1, FRAGMENTS + 1):
                await stream.write(f"first:{number}")
            await stream.flush()
        async with client.open_stream(STAGE, stream_id="second") as stream:
            await stream.write("second:1")
            await stream.abort("E")
        async for each in streams:
            assert len([fragment async for fragment in each]) == FRAGMENTS
            break
    await client.set_group_state(STAGE, {"a": "b"})
    async with client.group_state(STAGE) as members, members.changes() as changes:
        assert (await changes.receive()).state == {"a": "b"}
    await client.clear_group_state(STAGE)


async def _check_link(client: Client, truth: Truth) -> None:
    """Check that nobody would know of the cancellation, and that the names of streams are free again."""
    ear = Ear(truth, "ann")
    async with client.group_streams(STAGE) as streams:
        async with client.open_stream(STAGE, stream_id="third") as stream:
            await stream.write("third:1")
        async for fragment in await streams.receive():
            ear.fragment(fragment)
    if ear.numbers != {"third": [1]}:
        raise truth.fail(f"heard {ear.numbers}")
    await client.set_group_state(STAGE, {"at": "last"})
    async with client.group_state(STAGE) as members:
        states = [member.state for member in members.values()]
    if states != [{"at": "last"}]:
        raise truth.fail(f"the states are {states}")
    await trio.sleep(1)  # what nobody waits for is done meanwhile
    statistics = client.statistics()
    if statistics.pending_sends or statistics.recoveries or statistics.reconnects:
        raise truth.fail(f"a cancelled call harmed the link: {statistics}")
    outgoing = client._core.session.outgoing
    if outgoing.streams._streams or outgoing.streams._farewells or not outgoing.idle:
        raise truth.fail("something of a cancelled stream is kept")
