"""What the service's side makes of protobuf frames from clients of any kind."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_webpubsub.protocol import wire
from trio_webpubsub.protocol.errors import ProtocolViolation
from trio_webpubsub.protocol.json_codec import RELIABLE_JSON
from trio_webpubsub.protocol.messages import ServerMessage
from trio_webpubsub.protocol.protobuf_codec import PROTOBUF

from .protobuf_bytes import block, number
from .test_json_downstream import POISON

decode = PROTOBUF.decode_upstream

TEXT = block(1, "a")
METADATA = block(1, "k"), block(2, "v")


def event(data: bytes, *fields: bytes) -> bytes:
    return block(5, block(1, "e"), block(2, data), *fields)


def send_to_group(*fields: bytes) -> bytes:
    return block(1, block(1, "g"), block(3, TEXT), *fields)


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (block(9, block(7, "later")), wire.Ping()),
        (block(6), wire.JoinGroup("")),
        (block(8), wire.SequenceAck(0)),
        (block(8, number(1, 2**64 - 1)), wire.SequenceAck(2**64 - 1)),
        (block(6, block(1, "g")) + block(7, block(1, "h")), wire.LeaveGroup("h")),
        (send_to_group(), wire.SendToGroup(group="g", payload=wire.Payload("text", b"a"))),
        (event(block(4, " [1e400] ")), wire.SendEvent(event="e", payload=wire.Payload("json", b" [1e400] "))),
        (event(block(4, rb'"\ud800"')), wire.SendEvent(event="e", payload=wire.Payload("json", rb'"\ud800"'))),
        (event(block(2, b"\xff")), wire.SendEvent(event="e", payload=wire.Payload("binary", b"\xff"))),
        (event(block(3, b"")), wire.SendEvent(event="e", payload=wire.Payload("protobuf", b""))),
        (
            event(b"", block(4, *METADATA)),
            wire.SendEvent(event="e", payload=wire.Payload("text", b""), metadata={"k": "v"}),
        ),
        (
            block(5, block(1, "e"), block(4, *METADATA)),
            wire.SendEvent(event="e", payload=wire.Payload("text", b""), metadata={"k": "v"}),
        ),
        (block(10, block(1, "e")), wire.Invoke(invocation_id="", event="e")),
        (
            block(5, block(1, "e"), block(5, block(1, "s"))),
            wire.SendEvent(event="e", payload=wire.Payload("text", b""), stream=wire.StreamStart("s")),
        ),
        (
            block(10, block(1, "e"), block(5, block(1, "s"))),
            wire.Invoke(invocation_id="", event="e", stream=wire.StreamStart("s")),
        ),
        (
            block(1, block(1, "g"), number(4, 1), block(7, block(1, "s"), number(2, 60_000))),
            wire.OpenStream(group="g", stream=wire.StreamStart("s", 60_000), no_echo=True),
        ),
        (block(13, block(1, "s")), wire.StreamData("s")),
        (block(13, block(1, "s"), number(2, 1), block(3, TEXT)), wire.StreamData("s", 1, wire.Payload("text", b"a"))),
        (block(14, block(1, "s")), wire.StreamEnd("s")),
        (block(14, block(1, "s"), block(2)), wire.StreamEnd("s", wire.StreamEndError())),
        (block(14, block(1, "s"), block(2, block(2, "7"))), wire.StreamEnd("s", wire.StreamEndError(None, "7"))),
        (block(15, block(1, "g"), number(2, 1)), wire.SetGroupState("g", None, 1)),
        (block(15, block(1, "g"), block(3)), wire.SetGroupState("g", {})),
        (block(15, block(1, "g"), block(3, block(1, *METADATA))), wire.SetGroupState("g", {"k": "v"})),
        (block(16, block(1, "g"), number(2, 1)), wire.SubscribeGroupState("g", 1)),
        (block(17, block(1, "g")), wire.UnsubscribeGroupState("g")),
    ],
)
def test_frames_that_are_accepted(frame: bytes, expected: wire.Upstream) -> None:
    assert decode(frame) == expected


UNREADABLE = "the frame cannot be read as a protobuf message"


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (b"", "the frame holds no message of a known type"),
        (block(2, "unused"), "the frame holds no message of a known type"),
        (block(18, "later"), "the frame holds no message of a known type"),
        (number(9, 1), "the frame holds no message of a known type"),
        (b"hello", UNREADABLE),
        (b'{"type":"ping"}', UNREADABLE),
        (b"\x00\x00", UNREADABLE),
        (b"\x53" * 1_000, UNREADABLE),
        (block(6, block(1, b"\xff")), UNREADABLE),
        (block(6, b"\x0a\x05g"), UNREADABLE),
        (send_to_group(number(2, 2**70)), UNREADABLE),
        (block(13, block(1, "s"), number(2, 1)), "a fragment has a number and data, or neither"),
        (block(13, block(1, "s"), block(3, TEXT)), "a fragment has a number and data, or neither"),
        (block(13, block(1, "s"), number(2, 1), block(3, b"")), "data is missing"),
        (send_to_group(block(7, block(1, "s"))), "what opens a stream has no data"),
        (send_to_group(number(5, 301)), "ttl_seconds is over 300"),
        (send_to_group(block(6, block(1, "a b"))), "a metadata key is"),
        (send_to_group(block(6, block(1, "k"), block(2, "é"))), "the metadata value of"),
        (block(1, block(1, "g")), "data is missing"),
        (event(b""), "data is missing"),
        (block(5, block(1, "e")), "data is missing"),
        (block(10, block(1, "e"), block(3)), "data is missing"),
        (event(block(9, "later"), block(4, *METADATA)), "data is missing, or of an unknown type"),
        (event(block(1, b"\xff")), "text_data is not what its name says"),
        (event(block(1, "\ud800".encode(errors="surrogatepass"))), "text_data is not what its name says"),
        (event(block(3, b"no Any")), "protobuf_data is not what its name says"),
        (event(block(3, block(1, b"\xff"))), "protobuf_data is not what its name says"),
        (event(block(4, b"")), "json_data is not what its name says"),
        (event(block(4, '1,"x":2')), "json_data is not what its name says"),
        (event(block(4, b'"\xff"')), "json_data is not what its name says"),
        (event(block(4, "\ufeff1")), "json_data is not what its name says"),
        pytest.param(event(block(4, "[" * 5_000_000 + "]" * 5_000_000)), "json_data is not what", id="nested"),
    ],
)
def test_frames_that_break_the_protocol(frame: bytes, reason: str) -> None:
    with pytest.raises(ProtocolViolation) as caught:
        decode(frame)
    assert caught.value.code == 1007
    assert reason in caught.value.reason
    assert len(caught.value.reason) < 500


PASSED_ON = (
    "a lone surrogate",
    "a lone low surrogate",
    "a lone surrogate deep inside",
    "many digits",
    "a large exponent",
)


@pytest.mark.parametrize("raw", [POISON[name] for name in PASSED_ON], ids=PASSED_ON)
def test_json_that_many_cannot_decode_is_passed_on(raw: bytes) -> None:
    payload = wire.Payload("json", raw)
    assert decode(event(block(4, raw))) == wire.SendEvent(event="e", payload=payload)
    copied = RELIABLE_JSON.encode_data(wire.DataMessage(payload=payload, metadata={"k": "v"}))
    read = RELIABLE_JSON.decode_downstream(RELIABLE_JSON.with_sequence_id(copied, 7))
    assert isinstance(read, ServerMessage)
    assert (read.sequence_id, read.metadata, read.raw) == (7, {"k": "v"}, raw)


@pytest.mark.parametrize("name", ["not UTF-8", "a bad escape", "no JSON", "NaN"])
def test_what_is_no_json_is_not_passed_on(name: str) -> None:
    with pytest.raises(ProtocolViolation, match="json_data"):
        decode(event(block(4, POISON[name])))


FRAMES = [
    block(6, block(1, "g"), number(2, 1)),
    send_to_group(number(2, 2), number(4, 1), number(5, 30), block(6, *METADATA)),
    event(block(4, '{"a":[1]}'), number(3, 300)),
    event(block(3, block(1, "type.example/T"), block(2, b"\x08\x01"))),
    block(10, block(1, "e"), block(2, "i"), block(3, TEXT)),
    block(8, number(1, 118)),
    block(9),
]


def survives(frame: bytes) -> None:
    with suppress(ProtocolViolation):
        decode(frame)


@given(st.binary())
def test_random_bytes_are_a_violation_at_worst(frame: bytes) -> None:
    survives(frame)


@given(
    st.sampled_from(FRAMES), st.lists(st.tuples(st.floats(0, 1), st.integers(0, 9), st.binary(max_size=3)), max_size=4)
)
def test_damaged_frames_are_a_violation_at_worst(frame: bytes, damages: list[tuple[float, int, bytes]]) -> None:
    for place, length, piece in damages:
        start = round(place * len(frame))
        frame = frame[:start] + piece + frame[start + length :]
    survives(frame)


@pytest.mark.parametrize("frame", FRAMES)
def test_truncated_frames_are_a_violation(frame: bytes) -> None:
    for end in range(len(frame)):
        with pytest.raises(ProtocolViolation):
            decode(frame[:end])
