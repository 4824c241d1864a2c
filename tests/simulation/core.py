"""Session and hub back to back under a random history: no IO, no clock, so that there is time for many seeds."""

from __future__ import annotations

import random
from collections.abc import Sequence

from trio_webpubsub.emulator.hub.limits import HubLimits
from trio_webpubsub.protocol.codec import Codec
from trio_webpubsub.protocol.json_codec import RELIABLE_JSON
from trio_webpubsub.protocol.protobuf_codec import RELIABLE_PROTOBUF

from . import reports
from .back_to_back import World

CODECS = (RELIABLE_JSON, RELIABLE_PROTOBUF)
ACTIONS = 60
_OFTEN = ("send", "write", "arrive_up", "arrive_down")
_SELDOM = ("cut", "cut_half", "dial", "withdraw", "forget", "wait", "duplicate_ack", "lose_ack")

Action = tuple[str, int, float]
"""What happens, to which client, and how much of it."""


class Failed(AssertionError):
    """A history in which the promise was broken, with all that is needed to see it again."""


def history(seed: int) -> list[Action]:
    """Give the random history of a seed."""
    chance = random.Random(seed)
    return [_action(chance) for _ in range(chance.randint(5, ACTIONS))]


def _action(chance: random.Random) -> Action:
    name = chance.choice(_OFTEN if chance.random() < 0.7 else _SELDOM)
    amount = chance.choice((0.5, 1, 10, 31)) if name == "wait" else chance.randint(1, 8)
    return name, chance.randrange(2), amount


def perform(world: World, action: Action) -> None:
    """Let one thing happen."""
    name, who, amount = action
    client = world.clients[who]
    match name:
        case "wait":
            world.wait(amount)
        case "arrive_up":
            world.arrive_up(client, int(amount))
        case "arrive_down":
            world.arrive_down(client, int(amount))
        case _:
            getattr(world, name)(client)


def run(seed: int, actions: Sequence[Action] | None = None) -> None:
    """Run one history and check the promise.

    Raises:
        Failed: it was broken.
    """
    actions = history(seed) if actions is None else actions
    try:
        _run(seed, actions)
    except reports.FINDINGS as error:
        own = {} if list(actions) == history(seed) else {"plan": actions}
        again = reports.command("core-seed", seed, **own)
        raise Failed(reports.report(f"core seed {seed}", error, plan=actions, again=again)) from error


def _run(seed: int, actions: Sequence[Action]) -> None:
    limits = HubLimits(unacknowledged_messages=3, ack_ids=20) if seed % 3 == 0 else HubLimits()
    world = World(CODECS[seed % 2], limits=limits)
    for action in actions:
        perform(world, action)
    world.settle()
    world.check()


def codec_of(seed: int) -> Codec:
    """Give the codec that a seed's history speaks."""
    return CODECS[seed % 2]
