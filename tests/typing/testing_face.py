"""What type checkers see of the testing kit. Nothing here is run: mypy and pyright read it."""

from __future__ import annotations

from typing import assert_type

from trio_webpubsub import Connector, open_client
from trio_webpubsub.emulator import Emulator
from trio_webpubsub.testing import (
    FAULT_KINDS,
    Fault,
    FaultKind,
    SimulatedNetwork,
    cancel_at,
    play,
    random_faults,
    seeded,
    simulate,
)


async def main(number: int) -> str:
    return str(number)


def simulating() -> None:
    assert_type(simulate(main, 5, seed=1), str)
    assert_type(FAULT_KINDS, tuple[FaultKind, ...])
    simulate(main, 5)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    with seeded(1):
        pass
    seeded("1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def breaking(network: SimulatedNetwork, emulator: Emulator, url: str) -> None:
    async def provider() -> str:
        return url

    connector = network.connector(emulator, "ann")
    assert_type(connector, Connector)
    async with open_client(network.provider(provider, "ann"), connector=connector):
        with network.partition("ann", "up"), network.disturb(latency=1), network.break_provider("raises"):
            assert_type(network.cut("half_close", "ann", direction="up", after_bytes=5), int)
            assert_type(network.close(1008), int)
    assert_type(random_faults(1, 5, within=60, clients=["ann"]), list[Fault])
    await play([Fault(at=1, kind="reset")], network, emulator, hub="chat")
    assert_type(await cancel_at(1, main, 5, every_task=True), bool)
    SimulatedNetwork("1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    network.partition("ann", "sideways")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    network.cut("rst")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    network.provider(lambda: url)  # type: ignore[arg-type, return-value]  # pyright: ignore[reportArgumentType]
    network.connector(url)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Fault(at=1, kind="cut")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
