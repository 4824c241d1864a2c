"""What a client makes of protobuf frames from a service that may be newer, older or broken."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_webpubsub.protocol import wire
from trio_webpubsub.protocol.errors import UnreadableFrame
from trio_webpubsub.protocol.json_codec import RELIABLE_JSON
from trio_webpubsub.protocol.messages import GroupMessage, ServerMessage, StreamError, StreamInfo
from trio_webpubsub.protocol.protobuf_codec import RELIABLE_PROTOBUF

from .protobuf_bytes import block, number
from .test_json_downstream import POISON

decode = RELIABLE_PROTOBUF.decode_downstream

METADATA = block(5, block(1, "k"), block(2, "v"))
STREAM = block(6, block(1, "s"), number(2, 3))


def group_message(*fields: bytes) -> bytes:
    return block(2, block(1, "group"), block(2, "g"), *fields)


def server_message(*fields: bytes) -> bytes:
    return block(2, block(1, "server"), *fields)


@pytest.mark.parametrize("raw", POISON.values(), ids=POISON.keys())
def test_poisoned_json_is_a_value_of_its_message(raw: bytes) -> None:
    message = decode(server_message(block(3, block(4, raw)), number(4, 7)))
    assert message == RELIABLE_JSON.decode_downstream(
        b'{"sequenceId":7,"type":"message","from":"server","data":%b}' % raw
    )
    assert isinstance(message, ServerMessage)
    assert (message.sequence_id, message.data, message.raw) == (7, None, raw)
    assert message.data_error is not None


def test_text_that_is_not_unicode_is_a_value_of_its_message() -> None:
    assert decode(group_message(block(3, block(1, b"a\xff")), number(4, 7))) == GroupMessage(
        group="g",
        sequence_id=7,
        data_type="text",
        data_error="the text data cannot be decoded: it is malformed, or text in it is not Unicode",
        raw=b"a\xff",
    )


@pytest.mark.parametrize(
    ("data", "data_type", "expected"),
    [
        (block(1, ""), "text", ""),
        (block(1, '{"a":1}'), "text", '{"a":1}'),
        (block(2, b""), "binary", b""),
        (block(3, b""), "protobuf", b""),
        (block(3, b"no Any \xff"), "protobuf", b"no Any \xff"),
        (block(4, " null "), "json", None),
        (block(1, "a") + block(4, "1"), "json", 1),
    ],
)
def test_the_field_decides_what_a_payload_is(data: bytes, data_type: str, expected: object) -> None:
    assert decode(group_message(block(3, data))) == GroupMessage(group="g", data_type=data_type, data=expected)


@pytest.mark.parametrize("fields", [b"", block(3)])
def test_a_message_without_data(fields: bytes) -> None:
    absent = "the message has no data"
    assert decode(server_message(fields, number(4, 7))) == ServerMessage(sequence_id=7, data_error=absent)
    assert decode(server_message(fields, METADATA)) == ServerMessage(metadata={"k": "v"})
    stream = StreamInfo(stream_id="s", stream_sequence_id=3)
    assert decode(group_message(fields, STREAM)) == GroupMessage(group="g", stream=stream)


def test_a_payload_of_a_later_kind() -> None:
    later = block(9, "later")
    assert decode(server_message(block(3, later), METADATA, number(4, 7))) == ServerMessage(
        sequence_id=7, metadata={"k": "v"}, data_type="", data_error="the data type is unknown", raw=later
    )


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        (b"", None),
        (block(4), StreamError()),
        (
            block(4, block(1, "UserError"), block(2, "no"), block(3, "7")),
            StreamError(name="UserError", message="no", user_error_code="7"),
        ),
    ],
)
def test_the_end_of_a_stream(fields: bytes, error: StreamError | None) -> None:
    message = decode(group_message(block(6, block(1, "s"), number(2, 4), number(3, 1), fields)))
    stream = StreamInfo(stream_id="s", stream_sequence_id=4, end_of_stream=True, error=error)
    assert message == GroupMessage(group="g", stream=stream)


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (block(6, block(1, "s"), number(2, 1)), wire.StreamAck("s", 1)),
        (block(7, block(1, "s"), block(2, "TransientError")), wire.StreamNack("s", 0, "TransientError")),
        (block(8, block(1, "s"), block(2, block(1, "Forbidden"))), wire.StreamClosed("s", wire.WireError("Forbidden"))),
        (
            block(9, block(1, "g"), block(2, block(1, "c"), number(4, 5)), number(3, 7)),
            wire.GroupState(
                group="g",
                items=[wire.GroupStateItem(connection_id="c", updated_at=5)],
                snapshot=False,
                sequence_id=7,
            ),
        ),
        (block(9, block(1, "g")), wire.GroupState(group="g", items=[], snapshot=False)),
        (
            block(10, block(1, "g"), block(2, block(3, block(1, block(1, "k"), block(2, "v")))), number(3, 2**64 - 1)),
            wire.GroupState(
                group="g",
                items=[wire.GroupStateItem(connection_id="", state={"k": "v"})],
                snapshot=True,
                sequence_id=2**64 - 1,
            ),
        ),
        (block(11, "later"), wire.UnknownMessage(type="field 11")),
        (number(2, 5), wire.UnknownMessage(type="field 2")),
        (block(3), wire.UnknownMessage(type="system")),
        (block(3, block(3, "later")), wire.UnknownMessage(type="system")),
        (block(2, block(1, "moon"), block(2, "g"), number(4, 7)), wire.UnknownMessage(type="message", sequence_id=7)),
        (block(2, block(1, "group"), number(4, 7)), wire.UnknownMessage(type="message", sequence_id=7)),
        (block(2), wire.UnknownMessage(type="message")),
        (block(1), wire.Ack(0, False)),
        (block(1, number(1, 2**64 - 1), block(9, "later")), wire.Ack(2**64 - 1, False)),
        (block(1, number(1, 1)) + block(4, block(9, "later")), wire.Pong()),
        (
            server_message(block(3, block(1, "a"))) + block(2, number(4, 7)),
            ServerMessage(sequence_id=7, data_type="text", data="a"),
        ),
        (group_message(block(3, block(1, "a")), number(99, 1)), GroupMessage(group="g", data_type="text", data="a")),
    ],
)
def test_what_is_new_is_passed_over(frame: bytes, expected: wire.Downstream) -> None:
    assert decode(frame) == expected


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "the message has no data"),
        (block(9, "later"), "the data type is unknown"),
        (block(1, b"\xff"), "the text data cannot be decoded: it is malformed, or text in it is not Unicode"),
        (block(4, "NaN"), "the json data cannot be decoded: it is malformed, or text in it is not Unicode"),
    ],
)
def test_an_answer_that_cannot_be_decoded_has_failed(data: bytes, reason: str) -> None:
    answer = decode(block(5, block(1, "i"), number(2, 1), block(3, data)))
    assert answer == wire.InvokeResponse(
        invocation_id="i", success=False, error=wire.WireError("InvalidPayload", reason)
    )


UNREADABLE = "^the frame cannot be read as a protobuf message$"


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (b"", "^the frame is empty$"),
        (b"hello", UNREADABLE),
        (b'{"type":"pong"}', UNREADABLE),
        (b"\x12", UNREADABLE),
        (b"\x12\x80", UNREADABLE),
        (b"\x12\x05\x0a", UNREADABLE),
        (b"\x00\x00", UNREADABLE),
        (b"\x53" * 1_000, UNREADABLE),
        (server_message(block(3, b"\x0a\x05a")), UNREADABLE),
        (group_message(block(3, block(1, "a")), block(5, block(1, "k"), block(2, b"\xff"))), UNREADABLE),
        (block(2, block(1, "group"), block(2, b"\xff"), block(3, block(1, "a"))), UNREADABLE),
        (server_message(block(3, block(1, "a")), number(4, 0)), "^sequence_id is not positive$"),
        (block(9, number(3, 0)), "^sequence_id is not positive$"),
        (block(10, number(3, 0)), "^sequence_id is not positive$"),
        (block(3, block(1, block(3, "secret"))), "^connection_id is missing$"),
    ],
)
def test_unreadable_frames(frame: bytes, reason: str) -> None:
    with pytest.raises(UnreadableFrame, match=reason):
        decode(frame)


@pytest.mark.parametrize(
    "frame",
    [
        block(3, block(1, block(1, "c"), block(3, b"topsecret\xff"))),
        block(3, block(1, block(1, b"\xff"), block(3, "topsecret"))),
        block(3, block(1, block(3, "topsecret"))),
        block(3, block(1, block(1, "c"), block(3, "topsecret")))[:-1],
    ],
)
def test_an_unreadable_frame_leaks_nothing(frame: bytes) -> None:
    with pytest.raises(UnreadableFrame) as caught:
        decode(frame)
    error: BaseException | None = caught.value
    while error is not None:
        assert "topsecret" not in repr(error) + repr(vars(error)) + repr(getattr(error, "object", ""))
        error = error.__context__


FRAMES = [
    group_message(block(3, block(4, '{"a":[1]}')), number(4, 7)),
    group_message(block(3, block(1, "hé")), number(4, 300), STREAM, METADATA),
    server_message(block(3, block(2, b"\x00\xff")), METADATA),
    block(1, number(1, 3), block(3, block(1, "Forbidden"), block(2, "no"))),
    block(3, block(1, block(1, "c"), block(2, "ann"), block(3, "t"))),
    block(3, block(2, block(2, "bye"))),
    block(4),
    block(5, block(1, "i"), number(2, 1), block(3, block(4, "1"))),
    block(9, block(1, "g"), block(2, block(1, "c")), number(3, 3)),
]


def survives(frame: bytes) -> None:
    with suppress(UnreadableFrame):
        decode(frame)


@given(st.binary())
def test_random_bytes_are_unreadable_at_worst(frame: bytes) -> None:
    survives(frame)


@given(
    st.sampled_from(FRAMES), st.lists(st.tuples(st.floats(0, 1), st.integers(0, 9), st.binary(max_size=3)), max_size=4)
)
def test_damaged_frames_are_unreadable_at_worst(frame: bytes, damages: list[tuple[float, int, bytes]]) -> None:
    for place, length, piece in damages:
        start = round(place * len(frame))
        frame = frame[:start] + piece + frame[start + length :]
    survives(frame)


@pytest.mark.parametrize("frame", FRAMES)
def test_truncated_frames_are_unreadable(frame: bytes) -> None:
    for end in range(len(frame)):
        with pytest.raises(UnreadableFrame):
            decode(frame[:end])


def test_frames_may_come_as_a_kind_of_bytes() -> None:
    class Frame(bytes):
        pass

    message = decode(Frame(server_message(block(3, block(2, b"a")))))
    assert message == ServerMessage(data_type="binary", data=b"a")
