"""Faults as values: plan what is to go wrong and when, by hand or from a seed, and let it happen."""

from __future__ import annotations

import random
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Literal, TypeAlias, assert_never, get_args

import trio

from ..emulator import Emulator
from ..protocol.arguments import check_choice, check_number, check_several, check_status, check_type
from ..protocol.names import check_count, check_hub, check_text
from .determinism import check_seed
from .network import SimulatedNetwork, check_close_code

FaultKind: TypeAlias = Literal[
    "latency",
    "jitter",
    "split",
    "trickle",
    "reset",
    "eof",
    "half_close_up",
    "half_close_down",
    "silence",
    "half_open",
    "partition",
    "partition_up",
    "partition_down",
    "unreachable",
    "blackhole",
    "close",
    "refuse",
    "stall",
    "restart",
    "restart_without_state",
    "forget_session",
    "hold_acks",
    "lose_acks",
    "repeat_acks",
    "stale_replay",
    "provider_raises",
    "provider_hangs",
    "provider_repeats",
]
"""What can go wrong: on the way (the first sixteen; ``"close"`` with a close code), at the handshake (``"refuse"`` with
an HTTP status), in the service, and in what gives the client its URLs (``"provider_repeats"`` gives an old URL again,
whose token may have expired)."""

FAULT_KINDS: tuple[FaultKind, ...] = get_args(FaultKind)
"""All of them."""

CLOSE_CODES = (1000, 1001, 1003, 1007, 1008, 1009, 1011, 1012, 1013, 4000, 4999)
HANDSHAKE_STATUSES = (400, 401, 403, 404, 429, 500, 502, 503, 504)

_HIT_LINKS: frozenset[FaultKind] = frozenset(
    ("reset", "eof", "half_close_up", "half_close_down", "silence", "half_open", "close")
)
"""What happens to links once, and so to no link that is made later."""
_LAST = 4.0
"""Seconds for which a fault of a random plan lasts, on average."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong.

    Raises:
        ValueError: there is no such kind, a time is below 0, or ``code`` is none for ``"close"`` or ``"refuse"``.
        TypeError: a time is no number, or ``code`` no whole one.
    """

    at: float
    """Seconds after `play` was called."""
    kind: FaultKind
    client: str | None = None
    """Whom it hits, by the name of its way through the network; ``None`` for all."""
    seconds: float = 0.0
    """How long it lasts, if it is of that kind."""
    code: int = 0
    """The close code of ``"close"``, or the HTTP status of ``"refuse"``."""

    def __post_init__(self) -> None:
        check_choice("kind", self.kind, FAULT_KINDS)
        if self.client is not None:
            check_text(self.client, "client")
        check_number("at", self.at, zero=True)
        check_number("seconds", self.seconds, zero=True)
        if self.kind == "close":
            check_close_code(self.code)
        elif self.kind == "refuse":
            check_status(self.code, "a handshake is refused")


def random_faults(
    seed: int,
    count: int,
    *,
    within: float,
    clients: Sequence[str],
    kinds: Sequence[FaultKind] = FAULT_KINDS,
) -> list[Fault]:
    """Plan faults of all kinds, in the order of time.

    Args:
        seed: decides about everything.
        count: how many.
        within: seconds in which all of them happen.
        clients: whom they may hit; one in four hits all.
        kinds: what may happen.

    Raises:
        ValueError: there are no clients or no kinds, no such kind, or a number below 0.
        TypeError: an argument is of the wrong type.
    """
    check_seed(seed)
    check_count("count", count)
    check_number("within", within, zero=True)
    for name, several in (("clients", clients), ("kinds", kinds)):
        if not check_several(name, several):
            raise ValueError(f"{name} is empty")
        check_type(name, several, Sequence, "a sequence, such as a list, since their order decides as well")
    for kind in kinds:
        check_choice("kinds", kind, FAULT_KINDS)
    chance = random.Random(f"faults of {seed}")
    faults: list[Fault] = []
    for _ in range(count):
        kind = chance.choice(kinds)
        client = None if chance.random() < 0.25 else chance.choice(clients)
        codes = {"close": CLOSE_CODES, "refuse": HANDSHAKE_STATUSES}.get(kind, (0,))
        faults.append(
            Fault(
                round(chance.uniform(0, within), 3),
                kind,
                client,
                round(chance.expovariate(1 / _LAST), 3),
                chance.choice(codes),
            )
        )
    return sorted(faults, key=lambda fault: fault.at)


async def play(faults: Iterable[Fault], network: SimulatedNetwork, emulator: Emulator, *, hub: str) -> None:
    """Let faults happen, each at its time; returns when the last one is over.

    Args:
        faults: what is to go wrong.
        network: the way to ``emulator``, through which all its clients go.
        emulator: the service.
        hub: the hub of the clients. Where the service has to know a client by the name of its way through the network,
            as for ``"forget_session"``, that is its user id.

    Raises:
        ValueError: no hub can be called that.
        TypeError: another argument is of the wrong type.

    Cancellation: what lasts ends at once.
    """
    check_hub(hub)
    check_type("network", network, SimulatedNetwork, "a SimulatedNetwork")
    check_type("emulator", emulator, Emulator, "an open Emulator")
    for fault in (planned := check_several("faults", faults)):
        check_type("a fault", fault, Fault, "a Fault")
    start = trio.current_time()
    async with trio.open_nursery() as nursery:
        for fault in sorted(planned, key=lambda fault: fault.at):
            await trio.sleep_until(start + fault.at)
            nursery.start_soon(_happen, fault, network, emulator, hub)


async def _happen(fault: Fault, network: SimulatedNetwork, emulator: Emulator, hub: str) -> None:
    with _inject(fault, network, emulator, hub):
        await trio.sleep(fault.seconds)


def _inject(fault: Fault, network: SimulatedNetwork, emulator: Emulator, hub: str) -> AbstractContextManager[object]:
    """Let a fault begin; those that last end with the block."""
    name = fault.client
    if fault.kind in _HIT_LINKS and name not in (None, *network.links):
        return nullcontext()  # its client may come later
    match fault.kind:
        case "latency":
            return network.disturb(name, latency=0.3)
        case "jitter":
            return network.disturb(name, jitter=0.5)
        case "split":
            return network.disturb(name, split=0.9)
        case "trickle":
            return network.disturb(name, bytes_per_second=500)
        case "reset" | "eof" | "silence" | "half_open":
            network.cut(fault.kind, name)
        case "half_close_up":
            network.cut("half_close", name, direction="up")
        case "half_close_down":
            network.cut("half_close", name, direction="down")
        case "partition":
            return network.partition(name)
        case "partition_up":
            return network.partition(name, "up")
        case "partition_down":
            return network.partition(name, "down")
        case "unreachable":
            return network.unreachable(name)
        case "blackhole":
            return network.blackhole(name)
        case "close":
            network.close(fault.code, "as planned", name)
        case "refuse":
            return emulator.refuse_connections(fault.code)
        case "stall":
            return emulator.stall_connections()
        case "restart" | "restart_without_state":
            emulator.restart(keep_state=fault.kind == "restart")
            return emulator.refuse_connections(None)
        case "forget_session":
            for connection_id in _connections(emulator, hub, name):
                emulator.forget_session(connection_id)
        case "hold_acks":
            return _for_each(emulator.hold_acks, emulator, hub, name)
        case "lose_acks":
            return _for_each(emulator.lose_acks, emulator, hub, name)
        case "repeat_acks":
            return _for_each(emulator.repeat_acks, emulator, hub, name)
        case "stale_replay":
            return _for_each(emulator.lose_sequence_acks, emulator, hub, name)
        case "provider_raises":
            return network.break_provider("raises", name)
        case "provider_hangs":
            return network.break_provider("hangs", name)
        case "provider_repeats":
            return network.break_provider("repeats", name)
        case _:
            assert_never(fault.kind)
    return nullcontext()


def _connections(emulator: Emulator, hub: str, name: str | None) -> Iterator[str]:
    for connection in emulator.connections(hub):
        if name in (None, connection.user_id):
            yield connection.connection_id


@contextmanager
def _for_each(
    fault: Callable[[str], AbstractContextManager[None]], emulator: Emulator, hub: str, name: str | None
) -> Generator[None]:
    with ExitStack() as stack:
        for connection_id in _connections(emulator, hub, name):
            stack.enter_context(fault(connection_id))
        yield
