"""What is printed of a run that failed: all that is needed to understand it, and to see it again."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import msgspec

from trio_webpubsub._shell.groups import leaves
from trio_webpubsub.testing import SimulatedNetwork

from .model import Broken, Hangs

FINDINGS = (Exception, BaseExceptionGroup, Hangs)
"""Whatever comes out of a run, it is a broken promise."""
_NETWORK_EVENTS = 20


class Witness(Protocol):
    """What notes the events of a script."""

    @property
    def events(self) -> Iterable[str]:
        """The last of them."""
        ...


def report(
    name: str,
    error: BaseException,
    *,
    plan: Iterable[object],
    again: str,
    network: SimulatedNetwork | None = None,
    models: Sequence[Witness] = (),
) -> str:
    """Say all there is to say about a failed run.

    Args:
        name: which run it was.
        error: what came out of it.
        plan: the faults, or whatever else the run consisted of.
        again: the command that repeats it.
        network: where it happened.
        models: what noted the events of the script.
    """
    lines = [f"{name}: {innermost(error)!r}", "fault plan:", *(f"    {fault}," for fault in plan)]
    if network is not None:
        lines += ["last events in the network:", *(f"    {event}" for event in network.events(_NETWORK_EVENTS))]
    if models:
        lines += ["last events of the script:", *(f"    {event}" for model in models for event in model.events)]
    return "\n".join([*lines, f"again: {again}"])


def command(option: str, value: object, **plan: Any) -> str:
    """Give the command that repeats a run; what is not plain text stands in it as JSON."""
    words = [f"--{option}", _word(value)]
    for name, each in plan.items():
        words += [f"--{name}", _word(each)]
    return f"python -m tests.simulation {shlex.join(words)}"


def _word(value: object) -> str:
    return str(value) if isinstance(value, int) else msgspec.json.encode(value).decode()


def innermost(error: BaseException) -> BaseException:
    """Give the error that matters in a group, which is the checker's if there is one."""
    errors = list(leaves(error))
    return next((each for each in errors if isinstance(each, Broken)), errors[0])
