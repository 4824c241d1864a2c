"""Streams to groups: windows, acknowledgements, going back, recovery, and all the ways to end."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest

from trio_webpubsub.protocol import wire
from trio_webpubsub.protocol.errors import MessageTooLarge
from trio_webpubsub.protocol.json_codec import RELIABLE_JSON
from trio_webpubsub.protocol.outgoing_stream import (
    SHORTEST_HOLD,
    WINDOW_BYTES,
    WINDOW_FRAGMENTS,
    Abandoned,
    Ended,
    Failed,
    Lost,
    OutgoingStream,
)
from trio_webpubsub.protocol.outgoing_streams import LONGEST_HOLD, OutgoingStreams

BUDGET = 65536
ACK_TIMEOUT = 30.0
IDLE_TIMEOUT = 300.0


def new_streams(*, max_message_size: int = 2 * WINDOW_BYTES) -> OutgoingStreams:
    return OutgoingStreams(RELIABLE_JSON, ack_timeout=ACK_TIMEOUT, max_message_size=max_message_size)


def opening(stream_id: str = "s") -> wire.OpenStream:
    return wire.OpenStream(group="g", stream=wire.StreamStart(stream_id))


def text(data: str = "x") -> wire.Payload:
    return wire.Payload("text", data.encode())


def write(streams: OutgoingStreams, stream: OutgoingStream, *texts: str) -> None:
    for each in texts:
        assert stream.has_room(len(each))
        streams.write(stream, text(each))


def taken(streams: OutgoingStreams, now: float = 0, budget: int = BUDGET) -> list[dict[str, Any]]:
    return [msgspec.json.decode(frame) for frame in streams.take(now, budget)]


def shown(streams: OutgoingStreams, now: float = 0, budget: int = BUDGET) -> list[object]:
    """What is written, in short: the numbers of fragments, and the types of all else."""
    return [frame.get("streamSequenceId") or frame["type"] for frame in taken(streams, now, budget)]


def opened(streams: OutgoingStreams, stream_id: str = "s", *, now: float = 0) -> OutgoingStream:
    stream = streams.open(opening(stream_id), IDLE_TIMEOUT)
    assert [frame["stream"]["streamId"] for frame in taken(streams, now)] == [stream_id]
    assert streams.acknowledge(wire.StreamAck(stream_id, 1), now) is stream
    return stream


def test_a_stream_is_open_when_the_service_says_so() -> None:
    streams = new_streams()
    stream = streams.open(opening(), IDLE_TIMEOUT)
    assert (stream.stream_id, stream.state, streams.idle) == ("s", "opening", False)
    assert taken(streams) == [{"type": "sendToGroup", "group": "g", "stream": {"streamId": "s"}}]
    assert (streams.idle, taken(streams)) == (True, [])
    assert streams.acknowledge(wire.StreamAck("s", 1), 0) is stream
    assert stream.state == "open"


def test_a_refusal_is_the_outcome() -> None:
    streams = new_streams()
    stream = streams.open(opening(), IDLE_TIMEOUT)
    taken(streams)
    error = wire.WireError("Forbidden", "no")
    assert streams.closed(wire.StreamClosed("s", error), 0) is stream
    assert (stream.state, stream.outcome) == ("closed", Failed(error))
    assert streams.closed(wire.StreamClosed("s", error), 0) is None


def test_a_log_says_how_far_a_stream_has_come() -> None:
    streams = new_streams()
    stream = opened(streams)
    write(streams, stream, "a", "b")
    assert repr(stream) == "<stream s to group 'g': 0/2, open>"
    taken(streams)
    streams.transport_ended()
    streams.session_lost()
    assert repr(stream) == "<stream s to group 'g': 0/2, Lost()>"


def test_one_name_is_for_one_open_stream() -> None:
    streams = new_streams()
    stream = opened(streams)
    with pytest.raises(ValueError, match="'s' is open"):
        streams.open(opening(), IDLE_TIMEOUT)
    streams.end(stream)
    assert shown(streams) == ["streamEnd"]
    streams.closed(wire.StreamClosed("s"), 0)
    assert stream.outcome == Ended()
    assert opened(streams) is not stream


def test_fragments_count_up_and_acknowledgements_are_cumulative() -> None:
    streams = new_streams()
    stream = opened(streams)
    write(streams, stream, "a", "b", "c")
    assert taken(streams)[:1] == [
        {"type": "streamData", "streamId": "s", "streamSequenceId": 1, "dataType": "text", "data": "a"}
    ]
    assert streams.acknowledge(wire.StreamAck("s", 3), 0) is stream
    assert (stream.acknowledged, len(stream.fragments), stream.size) == (2, 1, 1)
    assert streams.acknowledge(wire.StreamAck("s", 3), 0) is None
    write(streams, stream, "d")
    assert shown(streams) == [4]
    assert streams.acknowledge(wire.StreamAck("s", 5), 0) is stream
    assert (stream.acknowledged, stream.size) == (4, 0)


def test_the_window_is_64_fragments() -> None:
    streams = new_streams()
    stream = opened(streams)
    write(streams, stream, *"x" * WINDOW_FRAGMENTS)
    assert not stream.has_room(0)
    assert len(taken(streams)) == WINDOW_FRAGMENTS
    assert not stream.has_room(0)
    streams.acknowledge(wire.StreamAck("s", 2), 0)
    assert stream.has_room(1)


def test_the_window_is_1_mib() -> None:
    streams = new_streams()
    stream = opened(streams)
    assert stream.has_room(WINDOW_BYTES + 1)  # nobody else is in the way
    write(streams, stream, "x" * (WINDOW_BYTES - 5))
    assert stream.has_room(5)
    assert not stream.has_room(6)


def test_a_fragment_that_is_too_large_changes_nothing() -> None:
    streams = new_streams(max_message_size=100)
    stream = opened(streams)
    with pytest.raises(MessageTooLarge):
        streams.write(stream, text("x" * 100))
    write(streams, stream, "a")
    assert shown(streams) == [1]


def test_names_and_errors_that_are_too_large_change_nothing() -> None:
    streams = new_streams(max_message_size=100)
    with pytest.raises(MessageTooLarge):
        streams.open(opening("x" * 100), IDLE_TIMEOUT)
    stream = opened(streams)
    with pytest.raises(MessageTooLarge):
        streams.check_end(stream, wire.StreamEndError("x" * 100))
    assert (stream.state, shown(streams)) == ("open", [])
    streams.end(stream, wire.StreamEndError("what this side says of its own accord" * 3))  # it is never in the way
    assert shown(streams) == ["streamEnd"]


def test_streams_take_turns() -> None:
    streams = new_streams()
    first, second = opened(streams, "1"), opened(streams, "2")
    write(streams, first, *"abcd")
    write(streams, second, *"abcd")
    turns = [[frame["streamId"] for frame in taken(streams, budget=100)] for _ in range(4)]
    assert turns == [["1", "1"], ["2", "2"], ["1", "1"], ["2", "2"]]


def test_a_nack_rewinds_after_a_moment() -> None:
    streams = new_streams()
    stream = opened(streams)
    write(streams, stream, *"abcd")
    assert shown(streams) == [1, 2, 3, 4]
    assert streams.go_back(wire.StreamNack("s", 2, "TransientError"), 0) is stream
    assert (stream.acknowledged, taken(streams)) == (1, [])
    assert streams.deadline == SHORTEST_HOLD
    assert streams.expire(SHORTEST_HOLD) == []
    assert shown(streams, SHORTEST_HOLD) == [2, 3, 4]


def test_the_nacks_of_what_was_on_its_way_change_nothing() -> None:
    streams = new_streams()
    stream = opened(streams)
    write(streams, stream, *"abc")
    taken(streams)
    streams.go_back(wire.StreamNack("s", 1, "TransientError"), 0)
    for _ in range(2):
        assert streams.go_back(wire.StreamNack("s", 1, "InvalidSequenceId"), 0.001) is None
    assert shown(streams, SHORTEST_HOLD) == [1, 2, 3]
    streams.go_back(wire.StreamNack("s", 1), 1)
    assert shown(streams, 1 + SHORTEST_HOLD) == []
    assert shown(streams, 1 + 2 * SHORTEST_HOLD) == [1, 2, 3]


def test_the_moment_doubles_up_to_a_limit_and_starts_anew_with_progress() -> None:
    streams = new_streams()
    stream = opened(streams)
    write(streams, stream, "a", "b")
    now = 0.0
    for _ in range(12):
        taken(streams, now)
        streams.go_back(wire.StreamNack("s", 1), now)
        now = stream.hold_until
    taken(streams, now)
    streams.go_back(wire.StreamNack("s", 1), now)
    assert stream.hold_until == now + LONGEST_HOLD
    streams.acknowledge(wire.StreamAck("s", 2), now)
    streams.go_back(wire.StreamNack("s", 2), now + LONGEST_HOLD)
    assert stream.hold_until == now + LONGEST_HOLD + SHORTEST_HOLD


def test_a_hold_is_not_forgotten_when_other_things_are_due_before() -> None:
    streams = new_streams()
    stream = opened(streams)
    write(streams, stream, "a")
    taken(streams)
    streams.go_back(wire.StreamNack("s", 1), 0)
    streams.expire(SHORTEST_HOLD / 2)
    assert streams.deadline == SHORTEST_HOLD


def test_a_stream_that_holds_still_stops_no_other() -> None:
    streams = new_streams()
    held, other = opened(streams, "1"), opened(streams, "2")
    write(streams, held, "a")
    taken(streams)
    streams.go_back(wire.StreamNack("1", 1), 0)
    write(streams, held, "b")
    write(streams, other, "c")
    assert [frame["data"] for frame in taken(streams)] == ["c"]
    assert [frame["data"] for frame in taken(streams, SHORTEST_HOLD)] == ["a", "b"]


def test_a_nack_with_nothing_to_send_again_is_passed_over() -> None:
    streams = new_streams()
    stream = opened(streams)
    assert streams.go_back(wire.StreamNack("s", 1), 0) is None
    assert streams.go_back(wire.StreamNack("elsewhere", 1), 0) is None
    write(streams, stream, "a")
    assert shown(streams) == [1]


@pytest.mark.parametrize("expected", [0, 1, 4, 2**64 - 1])
def test_an_acknowledgement_outside_of_the_window_ends_the_stream(expected: int) -> None:
    streams = new_streams()
    stream = opened(streams)
    write(streams, stream, "a")
    taken(streams)
    streams.acknowledge(wire.StreamAck("s", 2), 0)
    write(streams, stream, "b")
    assert streams.acknowledge(wire.StreamAck("s", expected), 0) is stream
    assert isinstance(stream.outcome, Failed)
    assert stream.outcome.error.name == "ProtocolViolation"
    (end,) = taken(streams)
    assert (end["type"], end["error"]["userErrorCode"]) == ("streamEnd", "ProtocolViolation")


def test_who_opens_at_another_fragment_than_the_first_is_left() -> None:
    streams = new_streams()
    stream = streams.open(opening(), IDLE_TIMEOUT)
    taken(streams)
    streams.acknowledge(wire.StreamAck("s", 2), 0)
    assert isinstance(stream.outcome, Failed)


REFUSED = wire.StreamClosed("s", wire.WireError("Forbidden"))
ANSWERS_TO_AN_OPENING_AND_A_FAREWELL: dict[str, list[wire.StreamAck | wire.StreamClosed]] = {
    "it was opened and ended": [wire.StreamAck("s", 1), wire.StreamClosed("s")],
    "it was refused": [REFUSED, wire.StreamClosed("s", wire.WireError("StreamNotFound"))],
    "the end alone is answered": [wire.StreamClosed("s", wire.WireError("StreamNotFound"))],
}


@pytest.mark.parametrize("answers", ANSWERS_TO_AN_OPENING_AND_A_FAREWELL.values(), ids=str)
def test_the_answers_to_a_stream_that_was_left_are_not_taken_for_those_to_another(
    answers: list[wire.StreamAck | wire.StreamClosed],
) -> None:
    streams = new_streams()
    gone = streams.open(opening(), IDLE_TIMEOUT)
    taken(streams)
    streams.end(gone)
    assert gone.outcome == Ended()
    stream = streams.open(opening(), IDLE_TIMEOUT)
    assert shown(streams) == ["streamEnd", "sendToGroup"]
    for answer in answers:
        if isinstance(answer, wire.StreamAck):
            assert streams.acknowledge(answer, 0) is None
        else:
            assert streams.closed(answer, 0) is None
        assert stream.state == "opening"
    streams.acknowledge(wire.StreamAck("s", 1), 0)
    assert stream.state == "open"
    streams.closed(wire.StreamClosed("s", wire.WireError("IdleTimeout")), 0)
    assert stream.outcome == Failed(wire.WireError("IdleTimeout"))


def test_the_acknowledgements_of_a_stream_that_was_given_up_are_not_taken_for_those_of_another() -> None:
    streams = new_streams()
    gone = opened(streams)
    write(streams, gone, "a")
    taken(streams)
    streams.acknowledge(wire.StreamAck("s", 0), 0)
    assert isinstance(gone.outcome, Failed)
    stream = streams.open(opening(), IDLE_TIMEOUT)
    assert shown(streams) == ["streamEnd", "sendToGroup"]
    streams.acknowledge(wire.StreamAck("s", 2), 0)
    streams.go_back(wire.StreamNack("s", 2), 0)
    streams.closed(wire.StreamClosed("s"), 0)
    assert stream.state == "opening"
    assert streams.acknowledge(wire.StreamAck("s", 1), 0) is stream


def test_what_is_said_of_unknown_streams_is_passed_over() -> None:
    streams = new_streams()
    assert streams.acknowledge(wire.StreamAck("x", 1), 0) is None
    assert streams.closed(wire.StreamClosed("x"), 0) is None


def test_an_end_waits_until_all_is_acknowledged() -> None:
    streams = new_streams()
    stream = opened(streams)
    write(streams, stream, "a", "b")
    streams.end(stream)
    assert shown(streams) == [1, 2]
    streams.go_back(wire.StreamNack("s", 2, "TransientError"), 0)
    assert shown(streams, 1) == [2]
    streams.acknowledge(wire.StreamAck("s", 3), 1)
    assert shown(streams, 1) == ["streamEnd"]
    assert streams.closed(wire.StreamClosed("s"), 1) is stream
    assert stream.outcome == Ended()


def test_an_end_in_a_hurry_waits_for_nothing() -> None:
    streams = new_streams()
    stream = opened(streams)
    write(streams, stream, "a", "b")
    streams.end(stream, wire.StreamEndError("why", "E"), hurry=True)
    frames = taken(streams)
    assert [frame.get("streamSequenceId") for frame in frames] == [1, 2, None]
    assert frames[-1] == {"type": "streamEnd", "error": {"message": "why", "userErrorCode": "E"}, "streamId": "s"}
    streams.closed(wire.StreamClosed("s"), 0)
    assert stream.outcome == Ended()


def test_an_end_may_become_one_with_an_error_until_it_is_written() -> None:
    streams = new_streams()
    stream = opened(streams)
    write(streams, stream, "a")
    streams.end(stream)
    assert shown(streams) == [1]
    streams.end(stream, wire.StreamEndError("why", "E"))
    assert shown(streams) == []
    streams.end(stream, hurry=True)
    assert shown(streams) == ["streamEnd"]
    streams.end(stream, wire.StreamEndError("another", "F"))
    assert (shown(streams), stream.error) == ([], wire.StreamEndError("why", "E"))


def test_the_first_error_of_an_end_counts() -> None:
    streams = new_streams()
    stream = opened(streams)
    streams.end(stream, wire.StreamEndError("why", "E"))
    streams.end(stream, wire.StreamEndError("the sender was cancelled", "Cancelled"))
    streams.end(stream)
    assert taken(streams)[-1]["error"] == {"message": "why", "userErrorCode": "E"}


def test_all_streams_may_be_ended_at_once() -> None:
    streams = new_streams()
    first, second = opened(streams), streams.open(opening("t"), IDLE_TIMEOUT)
    assert streams.end_all(wire.StreamEndError("why", "E"))
    assert (first.state, second.state) == ("ending", "closed")
    assert shown(streams) == ["streamEnd"]
    assert not new_streams().end_all(wire.StreamEndError())


def test_an_opening_that_was_not_written_is_taken_back_without_a_word() -> None:
    streams = new_streams()
    stream = streams.open(opening(), IDLE_TIMEOUT)
    streams.end(stream, wire.StreamEndError())
    assert (stream.state, streams.idle, taken(streams)) == ("closed", True, [])
    streams.end(stream)


def test_a_close_that_nobody_asked_for_is_a_failure() -> None:
    streams = new_streams()
    stream = opened(streams)
    streams.closed(wire.StreamClosed("s"), 0)
    assert isinstance(stream.outcome, Failed)
    assert "without a reason" in stream.outcome.error.message


def test_a_close_instead_of_the_end_that_was_asked_for_is_a_failure() -> None:
    streams = new_streams()
    stream = opened(streams)
    streams.end(stream)
    taken(streams)
    streams.closed(wire.StreamClosed("s", wire.WireError("StreamNotFound")), 0)
    assert stream.outcome == Failed(wire.WireError("StreamNotFound"))


def test_an_idle_stream_shows_that_it_lives() -> None:
    streams = new_streams()
    stream = opened(streams)
    write(streams, stream, "a")
    taken(streams, 10)
    streams.acknowledge(wire.StreamAck("s", 2), 10)
    assert streams.deadline <= 110
    streams.expire(streams.deadline)
    assert streams.deadline == 110
    assert taken(streams, 109) == []
    streams.expire(110)
    assert taken(streams, 110) == [{"type": "streamData", "streamId": "s"}]
    assert streams.deadline == 210
    streams.end(stream)
    taken(streams, 110)
    streams.expire(ACK_TIMEOUT + 109)
    assert streams.deadline == ACK_TIMEOUT + 110


def test_a_fragment_that_is_due_spares_the_sign_of_life() -> None:
    streams = new_streams()
    stream = opened(streams)
    streams.expire(100)
    write(streams, stream, "a")
    assert shown(streams, 100) == [1]
    assert shown(streams, 100) == []


def test_a_service_that_does_not_answer_is_asked_once_more_and_then_given_up() -> None:
    streams = new_streams()
    stream = opened(streams)
    write(streams, stream, "a", "b", "c")
    taken(streams, 10)
    streams.acknowledge(wire.StreamAck("s", 2), 20)
    assert streams.expire(49) == []
    assert shown(streams, 49) == []
    assert streams.expire(50) == []
    assert shown(streams, 50) == [2, 3]
    assert streams.deadline == 80
    assert streams.expire(80) == [stream]
    assert isinstance(stream.outcome, Failed)
    assert stream.outcome.error.name == "Timeout"
    assert shown(streams, 80) == ["streamEnd"]
    assert streams.deadline == math.inf


def test_progress_and_a_new_link_give_the_service_time_again() -> None:
    streams = new_streams()
    stream = opened(streams)
    write(streams, stream, "a", "b")
    taken(streams)
    streams.expire(30)
    taken(streams, 30)
    streams.acknowledge(wire.StreamAck("s", 2), 40)
    assert streams.expire(70) == []
    taken(streams, 70)
    streams.transport_ended()
    streams.session_recovered(99)
    taken(streams, 99)
    assert streams.expire(129) == []
    taken(streams, 129)
    assert streams.expire(159) == [stream]


def test_an_opening_without_an_answer_is_given_up() -> None:
    streams = new_streams()
    stream = streams.open(opening(), IDLE_TIMEOUT)
    taken(streams, 5)
    assert streams.deadline == 5 + ACK_TIMEOUT
    assert streams.expire(35) == []
    assert shown(streams, 35) == ["sendToGroup"]
    assert streams.expire(65) == [stream]


def test_a_stream_to_which_nothing_is_owed_is_not_given_up() -> None:
    streams = new_streams()
    stream = opened(streams)
    write(streams, stream, "a")
    taken(streams, 10)
    streams.acknowledge(wire.StreamAck("s", 2), 11)
    assert streams.expire(90) == []
    assert stream.state == "open"


def test_a_recovery_writes_again_what_was_not_acknowledged() -> None:
    streams = new_streams()
    stream = opened(streams)
    write(streams, stream, "a", "b", "c")
    taken(streams)
    streams.acknowledge(wire.StreamAck("s", 2), 0)
    streams.transport_ended()
    write(streams, stream, "d")
    assert (streams.expire(1_000), stream.state) == ([], "open")
    streams.session_recovered(1_000)
    assert streams.deadline == 1_000
    assert shown(streams, 1_000) == [2, 3, 4]
    streams.acknowledge(wire.StreamAck("s", 3), 1_000)  # of what the lost transport had carried
    streams.acknowledge(wire.StreamAck("s", 5), 1_000)
    assert stream.acknowledged == 4


def test_a_recovery_does_not_wait_for_a_hold_of_the_last_transport() -> None:
    streams = new_streams()
    stream = opened(streams)
    write(streams, stream, "a")
    taken(streams)
    stream.hold = LONGEST_HOLD
    streams.go_back(wire.StreamNack("s", 1), 0)
    streams.transport_ended()
    streams.session_recovered(1)
    assert shown(streams, 1) == [1]


def test_nothing_happens_in_a_recovery_without_streams() -> None:
    streams = new_streams()
    streams.session_recovered(5)
    assert (streams.deadline, streams.idle) == (math.inf, True)


@pytest.mark.parametrize("answer", [wire.StreamAck("s", 1), wire.StreamClosed("s", wire.WireError("BadRequest"))])
def test_an_opening_is_written_again_and_may_have_been_carried_out(answer: wire.StreamAck | wire.StreamClosed) -> None:
    streams = new_streams()
    stream = streams.open(opening(), IDLE_TIMEOUT)
    taken(streams)
    streams.transport_ended()
    streams.session_recovered(0)
    assert shown(streams) == ["sendToGroup"]
    if isinstance(answer, wire.StreamAck):
        assert streams.acknowledge(answer, 0) is stream
    else:
        assert streams.closed(answer, 0) is stream
    assert stream.state == "open"


def test_an_opening_that_was_asked_for_twice_has_two_answers() -> None:
    streams = new_streams()
    stream = streams.open(opening(), IDLE_TIMEOUT)
    taken(streams)
    assert streams.expire(ACK_TIMEOUT) == []
    assert shown(streams, ACK_TIMEOUT) == ["sendToGroup"]
    streams.acknowledge(wire.StreamAck("s", 1), ACK_TIMEOUT)
    assert streams.closed(wire.StreamClosed("s", wire.WireError("BadRequest")), ACK_TIMEOUT) is None
    assert stream.state == "open"
    streams.closed(wire.StreamClosed("s", wire.WireError("BadRequest")), ACK_TIMEOUT)
    assert stream.outcome == Failed(wire.WireError("BadRequest"))


@pytest.mark.parametrize("error", [None, wire.WireError("StreamNotFound")])
def test_an_end_is_written_again_and_may_have_been_carried_out(error: wire.WireError | None) -> None:
    streams = new_streams()
    stream = opened(streams)
    streams.end(stream)
    taken(streams)
    streams.transport_ended()
    streams.session_recovered(0)
    assert shown(streams) == ["streamEnd"]
    streams.closed(wire.StreamClosed("s", error), 0)
    assert stream.outcome == Ended()


def test_a_stream_that_may_have_become_idle_has_not_ended_as_was_wished() -> None:
    streams = new_streams()
    stream = opened(streams)
    streams.end(stream)
    taken(streams)
    streams.transport_ended()
    streams.session_recovered(IDLE_TIMEOUT)
    assert shown(streams, IDLE_TIMEOUT) == ["streamEnd"]
    streams.closed(wire.StreamClosed("s", wire.WireError("StreamNotFound")), IDLE_TIMEOUT)
    assert stream.outcome == Failed(wire.WireError("StreamNotFound"))


def test_an_end_may_be_found_carried_out_before_it_is_written_again() -> None:
    streams = new_streams()
    stream = opened(streams)
    write(streams, stream, "a", "b")
    streams.end(stream, wire.StreamEndError("why", "E"), hurry=True)
    assert shown(streams) == [1, 2, "streamEnd"]
    streams.transport_ended()
    streams.session_recovered(0)
    assert shown(streams, budget=1) == [1]
    streams.closed(wire.StreamClosed("s", wire.WireError("StreamNotFound")), 0)
    assert stream.outcome == Ended()


def test_progress_between_two_refusals_is_no_proof() -> None:
    streams = new_streams()
    stream, idle = opened(streams), opened(streams, "idle")
    write(streams, stream, "a", "b")
    for number in (1, 2):
        taken(streams)
        assert streams.refused_with(1007) == []
        streams.transport_ended()
        streams.session_recovered(0)
        taken(streams)
        streams.acknowledge(wire.StreamAck("s", number + 1), 0)
    assert (stream.state, idle.state) == ("open", "open")


def test_streams_are_lost_with_their_session() -> None:
    streams = new_streams()
    stream = opened(streams)
    write(streams, stream, "a", "b")
    taken(streams)
    streams.acknowledge(wire.StreamAck("s", 2), 0)
    streams.transport_ended()
    assert streams.session_lost() == [stream]
    assert (stream.outcome, stream.acknowledged) == (Lost(), 1)
    streams.session_begun()
    assert taken(streams) == []


def test_an_opening_that_was_never_written_goes_out_in_the_next_session() -> None:
    streams = new_streams()
    stream = streams.open(opening(), IDLE_TIMEOUT)
    streams.transport_ended()
    assert streams.session_lost() == []
    streams.session_begun()
    assert shown(streams) == ["sendToGroup"]
    assert stream.state == "opening"


def test_a_farewell_is_written_again_until_it_is_answered() -> None:
    streams = new_streams()
    stream = streams.open(opening(), IDLE_TIMEOUT)
    taken(streams)
    streams.end(stream)
    for _ in range(2):  # the first one is not written before the transport ends
        streams.transport_ended()
        assert streams.idle
        streams.session_recovered(0)
        assert shown(streams) == ["streamEnd"]
    streams.closed(wire.StreamClosed("s"), 0)
    streams.transport_ended()
    streams.session_recovered(0)
    assert taken(streams) == []


def test_farewells_are_not_for_another_session() -> None:
    streams = new_streams()
    stream = streams.open(opening(), IDLE_TIMEOUT)
    taken(streams)
    streams.transport_ended()
    streams.end(stream)  # while the link is down
    assert not streams.idle
    streams.session_lost()
    streams.session_begun()
    assert (streams.idle, taken(streams)) == (True, [])


def test_a_stop_is_the_end_of_all() -> None:
    streams = new_streams()
    stream = opened(streams)
    write(streams, stream, "a")
    assert streams.stop() == [stream]
    assert (stream.outcome, streams.idle, taken(streams)) == (Abandoned(), True, [])
