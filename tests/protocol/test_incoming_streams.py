"""Streams from groups: what each message of a stream means."""

from __future__ import annotations

from typing import Any

import pytest

from trio_webpubsub.protocol.incoming_streams import (
    MAX_REMEMBERED,
    Began,
    Event,
    Fragment,
    IncomingStreams,
    Missing,
    Over,
)
from trio_webpubsub.protocol.messages import GroupMessage, StreamError, StreamInfo

IDLE_TIMEOUT = 300.0


def new_streams(*, from_start: bool = False) -> IncomingStreams:
    return IncomingStreams(idle_timeout=IDLE_TIMEOUT, from_start=from_start)


def message(
    number: int,
    *,
    stream_id: str = "s",
    group: str = "g",
    end: bool = False,
    error: StreamError | None = None,
    data: Any = "x",
    data_error: str | None = None,
) -> GroupMessage:
    info = StreamInfo(stream_id=stream_id, stream_sequence_id=number, end_of_stream=end, error=error)
    return GroupMessage(
        group=group, from_user_id="ann", data=data, data_type="text", data_error=data_error, stream=info
    )


def shown(events: list[Event]) -> list[object]:
    """Events in short, without the stream that they are about."""
    short: list[object] = []
    for event in events:
        match event:
            case Began(stream):
                short.append(f"began {stream.group} {stream.stream_id}")
            case Missing(fragments=fragments):
                short.append(fragments)
            case Fragment():
                short.append("fragment")
            case Over(error=error):
                short.append("end" if error is None else error.name)
    return short


def test_a_stream_from_its_start_to_its_end() -> None:
    streams = new_streams()
    events = streams.take(message(1), 0)
    assert shown(events) == ["began g s", "fragment"]
    stream = events[0].stream
    assert (stream.from_start, stream.from_user_id) == (True, "ann")
    assert shown(streams.take(message(2), 0)) == ["fragment"]
    assert shown(streams.take(message(3, end=True, data=""), 0)) == ["end"]
    assert shown(streams.take(message(1), 0)) == ["began g s", "fragment"]


@pytest.mark.parametrize("empty", [None, "", b""])
def test_an_end_without_data_is_no_fragment(empty: object) -> None:
    streams = new_streams()
    streams.take(message(1), 0)
    assert shown(streams.take(message(2, end=True, data=empty), 0)) == ["end"]


@pytest.mark.parametrize(
    "last",
    [message(2, end=True), message(2, end=True, data=0), message(2, end=True, data=None, data_error="it is broken")],
)
def test_an_end_may_bring_a_fragment(last: GroupMessage) -> None:
    streams = new_streams()
    streams.take(message(1), 0)
    assert shown(streams.take(last, 0)) == ["fragment", "end"]


def test_an_empty_fragment_in_the_middle_is_one() -> None:
    streams = new_streams()
    streams.take(message(1), 0)
    assert shown(streams.take(message(2, data=""), 0)) == ["fragment"]


def test_an_early_end_has_its_reason() -> None:
    streams = new_streams()
    streams.take(message(1), 0)
    (over,) = streams.take(message(2, end=True, data=None, error=StreamError(name="UserError", message="why")), 0)
    assert isinstance(over, Over)
    assert over.error == StreamError(name="UserError", message="why")


def test_streams_are_apart_by_group_and_id() -> None:
    streams = new_streams()
    streams.take(message(1), 0)
    assert shown(streams.take(message(1, group="h"), 0)) == ["began h s", "fragment"]
    assert shown(streams.take(message(1, stream_id="t"), 0)) == ["began g t", "fragment"]
    assert shown(streams.take(message(2), 0)) == ["fragment"]


def test_gaps_are_told_before_what_follows_them() -> None:
    streams = new_streams()
    streams.take(message(1), 0)
    assert shown(streams.take(message(4), 0)) == [2, "fragment"]
    assert shown(streams.take(message(5), 0)) == ["fragment"]
    assert shown(streams.take(message(9, end=True, data=""), 0)) == [3, "end"]


def test_repetitions_are_passed_over() -> None:
    streams = new_streams()
    for number in (1, 2, 3):
        streams.take(message(number), 0)
    assert streams.take(message(2), 0) == []
    assert streams.take(message(3), 0) == []


def test_a_late_joiner_is_told_what_it_missed() -> None:
    streams = new_streams()
    events = streams.take(message(7), 0)
    assert shown(events) == ["began g s", 6, "fragment"]
    assert not events[0].stream.from_start


def test_who_wants_streams_from_the_start_hears_no_other() -> None:
    streams = new_streams(from_start=True)
    assert streams.take(message(7), 0) == []
    assert streams.take(message(8, end=True), 0) == []
    assert shown(streams.take(message(1), 0)) == ["began g s", "fragment"]
    assert shown(streams.take(message(3), 0)) == [1, "fragment"]


@pytest.mark.parametrize("from_start", [False, True])
def test_another_stream_may_take_the_name_of_one_whose_end_was_missed(from_start: bool) -> None:
    streams = new_streams(from_start=from_start)
    old = streams.take(message(1), 0)[0].stream
    events = streams.take(message(1), 0)
    assert shown(events) == ["Superseded", "began g s", "fragment"]
    assert events[0].stream is old
    assert events[1].stream is not old


def test_an_idle_stream_is_forgotten_when_others_begin() -> None:
    streams = new_streams()
    idle = streams.take(message(1), 0)[0].stream
    streams.take(message(1, stream_id="busy"), 0)
    streams.take(message(2, stream_id="busy"), IDLE_TIMEOUT - 1)
    events = streams.take(message(1, stream_id="new"), IDLE_TIMEOUT)
    assert shown(events) == ["IdleTimeout", "began g new", "fragment"]
    assert events[0].stream is idle
    assert shown(streams.take(message(1, stream_id="next"), IDLE_TIMEOUT)) == ["began g next", "fragment"]
    assert shown(streams.take(message(2), IDLE_TIMEOUT)) == ["began g s", 1, "fragment"]


def test_a_stream_that_nobody_wants_is_no_news() -> None:
    streams = new_streams()
    streams.pass_over(streams.take(message(1), 0)[0].stream)
    assert streams.take(message(2), 0) == []
    assert streams.take(message(3, end=True), 0) == []
    assert shown(streams.take(message(1), 0)) == ["began g s", "fragment"]


def test_only_so_many_are_remembered() -> None:
    streams = new_streams()
    for number in range(MAX_REMEMBERED + 1):
        streams.pass_over(streams.take(message(1, stream_id=str(number)), 0)[0].stream)
    assert streams.take(message(2, stream_id="0"), 0) == []
    assert shown(streams.take(message(2, stream_id=str(MAX_REMEMBERED)), 0)) == [
        f"began g {MAX_REMEMBERED}",
        1,
        "fragment",
    ]


def test_other_messages_mean_nothing_here() -> None:
    assert new_streams().take(GroupMessage(group="g"), 0) == []


def test_the_next_fragments_of_one_stream_are_taken_in_one_step() -> None:
    streams = new_streams()
    stream = streams.take(message(1), 0)[0].stream
    assert streams.take_all([message(2), message(3)], 7) is stream
    assert (stream.expected, stream.heard_at) == (4, 7)
    assert shown(streams.take(message(4), 8)) == ["fragment"]


@pytest.mark.parametrize(
    "messages",
    [
        [message(1, stream_id="new")],
        [message(2), message(3, stream_id="t")],
        [message(2), message(4)],
        [message(1), message(2)],
        [message(2), message(3, end=True)],
    ],
)
def test_others_need_a_look_each(messages: list[GroupMessage]) -> None:
    streams = new_streams()
    stream = streams.take(message(1), 0)[0].stream
    assert streams.take_all(messages, 7) is None
    assert (stream.expected, stream.heard_at) == (2, 0)


def test_fragments_that_nobody_wants_are_not_taken_in_one_step() -> None:
    streams = new_streams()
    streams.pass_over(streams.take(message(1), 0)[0].stream)
    assert streams.take_all([message(2)], 0) is None
