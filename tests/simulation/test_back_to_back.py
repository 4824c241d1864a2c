"""Session and hub without any IO: a few scripted histories, and many that Hypothesis finds."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trio_webpubsub.emulator.hub.limits import HubLimits
from trio_webpubsub.protocol.codec import Codec
from trio_webpubsub.protocol.json_codec import RELIABLE_JSON
from trio_webpubsub.protocol.pending import Done, Unknown
from trio_webpubsub.protocol.protobuf_codec import RELIABLE_PROTOBUF

from .back_to_back import World

pytestmark = pytest.mark.parametrize("codec", [RELIABLE_JSON, RELIABLE_PROTOBUF], ids=["json", "protobuf"])

CLIENT = st.integers(0, 1)
ACTION = st.one_of(
    st.tuples(st.sampled_from(["send", "write", "cut", "cut_half", "dial", "withdraw", "forget"]), CLIENT, st.just(0)),
    st.tuples(st.sampled_from(["send", "write"]), CLIENT, st.just(0)),
    st.tuples(st.sampled_from(["arrive_up", "arrive_down"]), CLIENT, st.integers(1, 8)),
    st.tuples(st.just("wait"), CLIENT, st.sampled_from([0.5, 1, 10, 31])),
)


def perform(world: World, name: str, who: int, amount: float) -> None:
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


@settings(max_examples=300, deadline=None)
@given(actions=st.lists(ACTION, max_size=80))
def test_the_promise_holds_in_every_history(codec: Codec, actions: list[tuple[str, int, float]]) -> None:
    world = World(codec)
    for action in actions:
        perform(world, *action)
    world.settle()
    world.check()


@settings(max_examples=100, deadline=None)
@given(actions=st.lists(ACTION, max_size=60))
def test_the_promise_holds_where_the_service_keeps_little(codec: Codec, actions: list[tuple[str, int, float]]) -> None:
    world = World(codec, limits=HubLimits(unacknowledged_messages=3, ack_ids=20))
    for action in actions:
        perform(world, *action)
    world.settle()
    world.check()


def test_a_conversation_without_faults(codec: Codec) -> None:
    world = World(codec)
    ann, bob = world.clients
    for _ in range(10):
        world.send(ann)
        world.send(bob)
    world.settle()
    world.check()
    assert len(ann.heard) == 20
    assert ann.heard == bob.heard


def test_a_cut_in_the_middle_loses_nothing(codec: Codec) -> None:
    world = World(codec)
    ann, bob = world.clients
    world.send(ann)
    world.settle()
    world.cut(bob)
    for _ in range(5):
        world.send(ann)
    world.write(ann)
    world.arrive_up(ann, 10)
    world.send(bob)
    world.settle()
    world.check()
    assert len(bob.heard) == 7
    assert len(bob.connection_ids) == 1


def test_a_send_whose_ack_is_lost_is_not_executed_again(codec: Codec) -> None:
    world = World(codec)
    ann, bob = world.clients
    world.send(ann)
    world.write(ann)
    world.arrive_up(ann, 10)
    world.cut(ann)
    world.settle()
    world.check()
    (operation,) = ann.operations.values()
    assert operation.outcome == Done(duplicated=True)
    assert len(bob.heard) == 1


def test_a_half_open_link_is_taken_over(codec: Codec) -> None:
    world = World(codec)
    ann, bob = world.clients
    world.cut_half(bob)
    world.send(ann)
    world.settle()
    world.check()
    assert len(bob.heard) == 1
    assert len(bob.connection_ids) == 1


def test_a_lost_session_leaves_unknown_what_was_under_way(codec: Codec) -> None:
    world = World(codec)
    ann, bob = world.clients
    world.send(ann)
    world.write(ann)
    world.forget(ann)
    world.send(ann)
    world.settle()
    world.check()
    first, second = ann.operations.values()
    assert first.outcome == Unknown()
    assert second.outcome == Done()
    assert bob.heard == [next(reversed(ann.operations))]
    assert len(ann.connection_ids) == 2


def test_after_half_a_minute_the_session_is_gone(codec: Codec) -> None:
    world = World(codec)
    ann, bob = world.clients
    world.cut(bob)
    world.wait(31)
    world.send(ann)
    world.settle()
    world.check()
    assert len(bob.connection_ids) == 2
