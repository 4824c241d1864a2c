"""Mistakes in tests: told, where they would make a test that tests nothing."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.case_names import shown
from trio_webpubsub.emulator import Emulator, open_emulator
from trio_webpubsub.testing import Fault, SimulatedNetwork, cancel_at, play, random_faults, seeded, simulate

NETWORKS: list[dict[str, Any]] = [
    *({"latency": value} for value in (-1, "1", math.nan)),
    *({"jitter": value} for value in (-1, "1")),
    *({"split": value} for value in (-1, 2, "1")),
    *({"bytes_per_second": value} for value in (0, "1")),
    *({"window": value} for value in (0, 1.5, None)),
]


@pytest.mark.parametrize("options", NETWORKS, ids=shown)
def test_a_network_that_cannot_be_is_told(options: dict[str, Any]) -> None:
    (name,) = options
    with pytest.raises((TypeError, ValueError), match=name):
        SimulatedNetwork(1, **options)


@pytest.mark.parametrize("seed", [None, "1", 1.5, True])
def test_a_seed_is_a_whole_number(seed: Any) -> None:
    for use in (
        lambda: SimulatedNetwork(seed),
        lambda: simulate(trio.sleep, 0, seed=seed),
        lambda: seeded(seed).__enter__(),
        lambda: random_faults(seed, 1, within=1, clients=["ann"]),
    ):
        with pytest.raises(TypeError, match=f"a seed is a whole number, not '{type(seed).__name__}'"):
            use()


Call = Callable[[Any], object]

CALLS: list[tuple[str, Call]] = [
    ("server is an open Emulator, not 'NoneType'", lambda it: it.connector(None)),
    ("server is an open Emulator, not 'type'", lambda it: it.connector(Emulator)),
    ("provider is an async function, not 'str'", lambda it: it.provider("ws://localhost")),
    ("provider is called without arguments", lambda it: it.provider(trio.sleep)),
    ("latency is -1", lambda it: it.disturb(latency=-1)),
    ("bytes_per_second is 0", lambda it: it.disturb(bytes_per_second=0)),
    ("direction is 'sideways', which is none of", lambda it: it.partition(direction="sideways")),
    ("how is 'breaks', which is none of", lambda it: it.break_provider("breaks")),
    ("how is 'rst', which is none of", lambda it: it.cut("rst")),
    ("direction is 'both', which is none of", lambda it: it.cut(direction="both")),
    ("after_bytes is a whole number", lambda it: it.cut(after_bytes="1")),
    ("code is a whole number", lambda it: it.close("1000")),
    ("1006 is no close code", lambda it: it.close(1006)),
    ("a reason is a str", lambda it: it.close(1001, None)),
    ("newest is 0", lambda it: list(it.events(0))),
    ("a name is a str, not int", lambda it: it.provider(nothing, 5)),
    ("a name is a str, not list", lambda it: it.cut(name=["ann"])),
    ("a name is a str, not list", lambda it: it.disturb(["ann"])),
    ("a name is a str, not list", lambda it: it.partition(["ann"])),
    ("a name is a str, not list", lambda it: it.unreachable(["ann"])),
    ("a name is a str, not list", lambda it: it.blackhole(["ann"])),
    ("a name is a str, not list", lambda it: it.break_provider("raises", ["ann"])),
    ("name is 'bob', for which no connector was made: there are none so far", lambda it: it.cut(name="bob")),
    ("name is 'bob', for which no connector was made", lambda it: it.close(1001, name="bob")),
]


@pytest.mark.parametrize(("why", "call"), CALLS, ids=range(len(CALLS)))
async def test_a_wrong_argument_is_named(autojump_clock: MockClock, why: str, call: Call) -> None:
    network = SimulatedNetwork(1)
    with pytest.raises((TypeError, ValueError), match=why):
        made = call(network)
        if isinstance(made, AbstractContextManager):
            with made:
                pytest.fail("no such fault begins")


async def test_the_names_that_there_are_are_told(autojump_clock: MockClock) -> None:
    network = SimulatedNetwork(1)
    async with open_emulator(in_memory=True) as emulator:
        for name in ("ann", "eve"):
            network.connector(emulator, name)
    with network.partition("bob"), pytest.raises(ValueError, match=r"name is 'bob', .*: there are 'ann', 'eve'$"):
        network.cut("eof", "bob")


async def nothing() -> None: ...


@pytest.mark.parametrize("checkpoint", [0, -1, "1", 1.5, None])
async def test_checkpoints_are_counted_from_one(checkpoint: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="checkpoint is"):
        await cancel_at(checkpoint, nothing)


async def test_what_is_cancelled_is_not_called_yet() -> None:
    wrong: Any = nothing()
    with pytest.raises(TypeError, match=r"call is an async function; .* called already"):
        await cancel_at(1, wrong)
    with pytest.raises(TypeError, match=r"call is called \(int\), which this one does not take"):
        await cancel_at(1, nothing, 5)


def test_what_is_simulated_is_not_called_yet() -> None:
    wrong: Any = nothing()
    with pytest.raises(TypeError, match=r"main is an async function; .* called already"):
        simulate(wrong, seed=1)


FAULT: Callable[..., object] = partial(Fault, at=1, kind="reset")
PLAN: Callable[..., object] = partial(random_faults, seed=1, count=3, within=10, clients=["ann"])

FAULTS: list[tuple[str, dict[str, Any]]] = [
    ("kind is 'cut', which is none of", {"kind": "cut"}),
    ("at is -1", {"at": -1}),
    ("seconds is a number", {"seconds": "1"}),
    ("at is too large", {"at": 10**400}),
    ("a client is a str, not list", {"client": ["ann"]}),
    ("0 is no close code that is sent", {"kind": "close"}),
    ("code is a whole number", {"kind": "close", "code": "1001"}),
    ("a handshake is refused with a status from 400 to 599, not 0", {"kind": "refuse"}),
]


@pytest.mark.parametrize(("why", "wrong"), FAULTS, ids=shown)
def test_a_fault_that_cannot_be_is_told(why: str, wrong: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError), match=why):
        FAULT(**wrong)


PLANS: list[tuple[str, dict[str, Any]]] = [
    ("count is -1", {"count": -1}),
    ("within is a number", {"within": None}),
    ("clients takes several", {"clients": "ann"}),
    ("clients is empty", {"clients": []}),
    ("clients is a sequence", {"clients": {"ann"}}),
    ("within is too large", {"within": 10**400}),
    ("kinds is empty", {"kinds": []}),
    ("kinds is 'cut', which is none of", {"kinds": ["cut"]}),
]


@pytest.mark.parametrize(("why", "wrong"), PLANS, ids=shown)
def test_a_plan_that_cannot_be_is_told(why: str, wrong: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError), match=why):
        PLAN(**wrong)


PLAYS: list[tuple[str, dict[str, Any]]] = [
    ("be a hub name", {"hub": "a b"}),
    ("network is a SimulatedNetwork", {"network": None}),
    ("emulator is an open Emulator", {"emulator": open_emulator}),
    ("faults takes several", {"faults": None}),
    ("a fault is a Fault; this is 'str'", {"faults": ["reset"]}),
]


@pytest.mark.parametrize(("why", "wrong"), PLAYS, ids=shown)
async def test_what_cannot_be_played_is_told(autojump_clock: MockClock, why: str, wrong: dict[str, Any]) -> None:
    async with open_emulator(in_memory=True) as emulator:
        right: dict[str, Any] = {"faults": [], "network": SimulatedNetwork(1), "emulator": emulator, "hub": "chat"}
        with pytest.raises((TypeError, ValueError), match=why):
            await play(**{**right, **wrong})
