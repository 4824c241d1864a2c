"""Streams that clients send to groups: openings, fragments, ends, and what the members hear."""

from __future__ import annotations

import math

import pytest

from trio_webpubsub.emulator.hub import Deliver, Effect, Hub, Send
from trio_webpubsub.emulator.hub.limits import HubLimits
from trio_webpubsub.emulator.hub.streams import MAX_STREAM_ID
from trio_webpubsub.protocol import wire
from trio_webpubsub.protocol.messages import StreamError, StreamInfo

from .driver import make_hub, open_connection, text

OPEN = wire.OpenStream(group="g", stream=wire.StreamStart("s"))


def new_hub(limits: HubLimits | None = None, *, reliable: bool = False) -> Hub:
    """A hub with a sender (1) and a member of its group (2)."""
    hub = make_hub(limits)
    open_connection(hub, 1, reliable=reliable, user_id="ann")
    open_connection(hub, 2, groups=["g"])
    return hub


def opened(hub: Hub, message: wire.OpenStream = OPEN, *, now: float = 0) -> None:
    assert said(hub.receive(1, message, now=now)) == [wire.StreamAck(message.stream.stream_id, 1)]


def fragment(number: int, data: str = "x") -> wire.StreamData:
    return wire.StreamData("s", number, text(data))


def said(effects: list[Effect], transport: int = 1) -> list[wire.Control]:
    """What a transport was told."""
    return [effect.message for effect in effects if isinstance(effect, Send) and effect.transport == transport]


def heard(effects: list[Effect], transport: int = 2) -> list[tuple[str, StreamInfo | None]]:
    """What a member heard, with what stands there of the stream."""
    return [
        (effect.message.payload.body.decode(), effect.message.stream)
        for effect in effects
        if isinstance(effect, Deliver) and isinstance(effect.message, wire.DataMessage)
        for recipient, _ in effect.recipients
        if recipient == transport
    ]


def closed(name: str | None = None) -> list[wire.Control]:
    return [wire.StreamClosed("s", None if name is None else wire.WireError(name, ANY))]


class _Any(str):
    """Equal to any text."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str)

    __hash__ = str.__hash__


ANY = _Any("any text")


def info(number: int) -> StreamInfo:
    return StreamInfo(stream_id="s", stream_sequence_id=number)


def last(number: int, name: str | None = None, message: str = "", code: str | None = None) -> StreamInfo:
    error = None if name is None else StreamError(name=name, message=message, user_error_code=code)
    return StreamInfo(stream_id="s", stream_sequence_id=number, end_of_stream=True, error=error)


def test_a_stream_from_its_opening_to_its_end() -> None:
    hub = new_hub()
    opened(hub)
    effects = hub.receive(1, fragment(1, "a"), now=0)
    assert [type(effect) for effect in effects] == [Deliver, Send]  # the members first
    assert (said(effects), heard(effects)) == ([wire.StreamAck("s", 2)], [("a", info(1))])
    deliver = effects[0]
    assert isinstance(deliver, Deliver)
    assert isinstance(deliver.message, wire.DataMessage)
    assert (deliver.message.group, deliver.message.from_user_id) == ("g", "ann")
    effects = hub.receive(1, wire.StreamEnd("s"), now=0)
    assert (said(effects), heard(effects)) == (closed(), [("", last(2))])
    opened(hub)


def test_a_member_hears_itself_unless_it_does_not_want_to() -> None:
    hub = make_hub()
    open_connection(hub, 1, groups=["g"])
    opened(hub)
    assert heard(hub.receive(1, fragment(1), now=0), 1) == [("x", info(1))]
    hub.receive(1, wire.StreamEnd("s"), now=0)
    opened(hub, wire.OpenStream(group="g", stream=wire.StreamStart("s"), no_echo=True))
    assert heard(hub.receive(1, fragment(1), now=0), 1) == []


def test_a_repeated_fragment_is_confirmed_and_not_published() -> None:
    hub = new_hub()
    opened(hub)
    hub.receive(1, fragment(1), now=0)
    effects = hub.receive(1, fragment(1), now=0)
    assert (said(effects), heard(effects)) == ([wire.StreamAck("s", 2)], [])


def test_a_fragment_from_further_on_is_refused_with_what_is_expected() -> None:
    hub = new_hub()
    opened(hub)
    effects = hub.receive(1, fragment(3), now=0)
    assert said(effects) == [wire.StreamNack("s", 1, "InvalidSequenceId", "Fragment 1 is expected.")]
    assert heard(effects) == []


def test_fragments_can_be_refused_for_the_moment() -> None:
    hub = new_hub()
    opened(hub)
    hub.streams.refusals = 1
    effects = hub.receive(1, fragment(1), now=0)
    assert said(effects) == [wire.StreamNack("s", 1, "TransientError", ANY)]
    assert said(hub.receive(1, fragment(2), now=0)) == [wire.StreamNack("s", 1, "InvalidSequenceId", ANY)]
    assert said(hub.receive(1, fragment(1), now=0)) == [wire.StreamAck("s", 2)]


@pytest.mark.parametrize("message", [fragment(1), wire.StreamData("s"), wire.StreamEnd("s")])
def test_there_is_nothing_without_an_opening(message: wire.StreamData | wire.StreamEnd) -> None:
    assert said(new_hub().receive(1, message, now=0)) == closed("StreamNotFound")


@pytest.mark.parametrize(
    "message",
    [
        wire.OpenStream(group="", stream=wire.StreamStart("s")),
        wire.OpenStream(group="g", stream=wire.StreamStart("s", 0)),
    ],
)
def test_bad_requests(message: wire.OpenStream) -> None:
    assert said(new_hub().receive(1, message, now=0)) == closed("BadRequest")


def test_a_stream_has_a_name() -> None:
    effects = new_hub().receive(1, wire.OpenStream(group="g", stream=wire.StreamStart("")), now=0)
    assert said(effects) == [wire.StreamClosed("", wire.WireError("BadRequest", "The stream has no id."))]


def test_the_name_of_a_stream_has_a_limit() -> None:
    longest, longer = "s" * MAX_STREAM_ID, "s" * (MAX_STREAM_ID + 1)
    hub = new_hub()
    effects = hub.receive(1, wire.OpenStream(group="g", stream=wire.StreamStart(longer)), now=0)
    error = wire.WireError("BadRequest", "The id of a stream has at most 1,024 characters.")
    assert said(effects) == [wire.StreamClosed(longer, error)]
    effects = hub.receive(1, wire.OpenStream(group="g", stream=wire.StreamStart(longest)), now=0)
    assert said(effects) == [wire.StreamAck(longest, 1)]


def test_a_second_stream_of_the_same_name_does_not_harm_the_first() -> None:
    hub = new_hub()
    opened(hub)
    hub.receive(1, fragment(1), now=0)
    assert said(hub.receive(1, OPEN, now=0)) == closed("BadRequest")
    assert said(hub.receive(1, fragment(2), now=0)) == [wire.StreamAck("s", 3)]


def test_names_are_the_senders_own() -> None:
    hub = new_hub()
    opened(hub)
    assert said(hub.receive(2, OPEN, now=0), 2) == [wire.StreamAck("s", 1)]


def test_sending_takes_a_role() -> None:
    hub = make_hub()
    open_connection(hub, 1, roles=["webpubsub.joinLeaveGroup"])
    assert said(hub.receive(1, OPEN, now=0)) == closed("Forbidden")


def test_a_role_that_is_taken_away_ends_the_stream() -> None:
    hub = new_hub()
    opened(hub)
    hub.receive(1, fragment(1), now=0)
    hub.registry.connections["c-1"].roles.revoke("sendToGroup", "g")
    effects = hub.receive(1, fragment(2), now=0)
    assert (said(effects), heard(effects)) == (closed("Forbidden"), [("", last(2, "Forbidden", ANY))])
    assert said(hub.receive(1, fragment(3), now=0)) == closed("StreamNotFound")


def test_a_sender_may_end_with_an_error() -> None:
    hub = new_hub()
    opened(hub)
    effects = hub.receive(1, wire.StreamEnd("s", wire.StreamEndError("why", "E")), now=0)
    assert (said(effects), heard(effects)) == (closed(), [("", last(1, "UserError", "why", "E"))])
    opened(hub)
    effects = hub.receive(1, wire.StreamEnd("s", wire.StreamEndError()), now=0)
    assert heard(effects) == [("", last(1, "UserError"))]


def test_the_service_may_end_a_stream() -> None:
    hub = new_hub()
    opened(hub)
    error = wire.WireError("InternalServerError", "why")
    assert hub.fail_stream("c-1", "t", error, now=0) is None
    assert hub.fail_stream("c-9", "s", error, now=0) is None
    effects = hub.fail_stream("c-1", "s", error, now=0)
    assert effects is not None
    assert (said(effects), heard(effects)) == (
        [wire.StreamClosed("s", error)],
        [("", last(1, "InternalServerError", "why"))],
    )


def test_an_idle_stream_ends() -> None:
    hub = new_hub()
    assert hub.next_deadline == math.inf
    opened(hub, wire.OpenStream(group="g", stream=wire.StreamStart("s", 10_000)))
    assert hub.next_deadline == 10
    hub.receive(1, fragment(1), now=5)
    assert hub.handle_timeout(10) == []
    hub.receive(1, wire.StreamData("s"), now=12)
    assert hub.next_deadline == 15  # a look in vain, which costs less than to find the first one every time
    assert hub.handle_timeout(15) == []
    assert hub.next_deadline == 22
    assert hub.handle_timeout(21.9) == []
    effects = hub.handle_timeout(22)
    assert (said(effects), heard(effects)) == (closed("IdleTimeout"), [("", last(2, "IdleTimeout", ANY))])
    assert hub.next_deadline == math.inf


def test_the_idle_timeout_is_five_minutes_unless_the_sender_chooses() -> None:
    hub = new_hub()
    opened(hub, now=7)
    assert hub.next_deadline == 307


def test_a_connection_has_only_so_many_streams_open() -> None:
    hub = new_hub(HubLimits(streams=2))
    opened(hub, wire.OpenStream(group="g", stream=wire.StreamStart("a")))
    opened(hub, wire.OpenStream(group="g", stream=wire.StreamStart("b")))
    assert said(hub.receive(1, OPEN, now=0)) == closed("BadRequest")
    hub.receive(1, wire.StreamEnd("a"), now=0)
    opened(hub)


def test_one_idle_stream_ends_and_another_goes_on() -> None:
    hub = new_hub()
    opened(hub, wire.OpenStream(group="g", stream=wire.StreamStart("t", 10_000)))
    opened(hub)
    hub.handle_timeout(10)
    assert said(hub.receive(1, fragment(1), now=10)) == [wire.StreamAck("s", 2)]


def test_a_sender_that_goes_away_for_good_ends_its_streams() -> None:
    hub = new_hub()
    opened(hub)
    hub.receive(1, fragment(1), now=0)
    assert heard(hub.transport_ended(1, code=None, now=1)) == [("", last(2, "Cancelled", ANY))]


def test_a_stream_survives_a_drop() -> None:
    hub = make_hub()
    token = open_connection(hub, 1, reliable=True)
    open_connection(hub, 2, groups=["g"])
    opened(hub)
    hub.receive(1, fragment(1), now=0)
    assert heard(hub.transport_ended(1, code=None, now=1)) == []
    hub.recover(3, "c-1", token, now=2)
    assert said(hub.receive(3, fragment(1), now=2), 3) == [wire.StreamAck("s", 2)]
    assert heard(hub.receive(3, fragment(2), now=2)) == [("x", info(2))]


def test_a_stream_whose_sender_does_not_come_back_ends() -> None:
    hub = new_hub(reliable=True)
    opened(hub)
    hub.transport_ended(1, code=None, now=0)
    assert heard(hub.handle_timeout(30)) == [("", last(1, "Cancelled", ANY))]


def test_a_stream_may_become_idle_while_its_sender_is_away() -> None:
    hub = new_hub(reliable=True)
    opened(hub, wire.OpenStream(group="g", stream=wire.StreamStart("s", 5_000)))
    hub.transport_ended(1, code=None, now=0)
    effects = hub.handle_timeout(5)
    assert (said(effects), heard(effects)) == ([], [("", last(1, "IdleTimeout", ANY))])


@pytest.mark.parametrize("how", ["close", "forget"])
def test_a_connection_that_is_ended_from_here_ends_its_streams(how: str) -> None:
    hub = new_hub(reliable=True)
    opened(hub)
    effects = hub.close_connection("c-1") if how == "close" else hub.forget_session("c-1")
    assert heard(effects) == [("", last(1, "Cancelled", ANY))]


def test_a_sender_may_lose_its_own_session_by_its_echo() -> None:
    hub = make_hub(HubLimits(unacknowledged_messages=1))
    open_connection(hub, 1, reliable=True, groups=["g"])
    open_connection(hub, 2, groups=["g"])
    opened(hub)
    hub.receive(1, fragment(1), now=0)
    effects = hub.receive(1, fragment(2), now=0)
    assert (said(effects), heard(effects)) == ([], [("x", info(2)), ("", last(3, "Cancelled", ANY))])


def test_simple_clients_hear_the_fragments_and_not_that_they_end() -> None:
    hub = make_hub()
    open_connection(hub, 1)
    open_connection(hub, 2, groups=["g"], simple=True)
    opened(hub)
    assert heard(hub.receive(1, fragment(1), now=0)) == [("x", info(1))]
    assert heard(hub.receive(1, wire.StreamEnd("s"), now=0)) == []
