"""Frames read: by hand for each rule, at every split, and against wsproto on generated and mutated streams."""

from __future__ import annotations

import tracemalloc
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage

from trio_webpubsub.protocol.frame_reader import BinaryMessage, CloseFrame, FrameReader
from trio_webpubsub.protocol.frame_writer import apply_mask, encode_close, encode_frame

KEY = b"\x9a\x01\xff\x37"
LIMIT = 70_000


def frame(first: int, payload: bytes = b"", *, key: bytes | None = None) -> bytes:
    """Write any frame, legal or not, in the shortest way."""
    legal = encode_frame(payload, mask_key=key)
    return bytes((first,)) + legal[1:]


@dataclass
class Outcome:
    """All that a reader said about a stream."""

    messages: list[bytes] = field(default_factory=list[bytes])
    kinds: list[bool] = field(default_factory=list[bool])
    """Of each message, whether it was binary."""
    close: tuple[int, str] | None = None
    failure: int | None = None


def read(stream: bytes, *, masked: bool = False, pieces: int = 1 << 30, limit: int = LIMIT) -> Outcome:
    reader = FrameReader(masked=masked, max_message_size=limit)
    outcome = Outcome()
    for position in range(0, len(stream), pieces):
        for message in reader.feed(stream[position : position + pieces]):
            outcome.messages.append(bytes(message))
            outcome.kinds.append(isinstance(message, BinaryMessage))
    outcome.close = reader.close
    outcome.failure = None if reader.violation is None else reader.violation.code
    return outcome


# Messages


def test_many_messages_come_out_of_one_buffer() -> None:
    stream = (
        encode_frame(b"one") + encode_frame(b"\x00\xff", binary=True) + encode_frame(b"") + encode_frame("ü".encode())
    )
    outcome = read(stream)
    assert outcome.messages == [b"one", b"\x00\xff", b"", "ü".encode()]
    assert outcome.kinds == [False, True, False, False]


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 1_023, 1_024, 65_535, 65_536, LIMIT])
def test_every_size_of_a_length(size: int, masked: bool) -> None:
    payload = b"abcdefg" * (size // 7) + b"x" * (size % 7)
    stream = encode_frame(payload, mask_key=KEY if masked else None) * 2
    for pieces in (1 << 30, 1_000, 1_024, 30_000):
        assert read(stream, masked=masked, pieces=pieces).messages == [payload, payload]


@pytest.mark.parametrize("key", [None, KEY])
def test_every_split_gives_the_same(key: bytes | None) -> None:
    stream = b"".join(
        (
            encode_frame(b"first", mask_key=key),
            frame(0x89, b"ping", key=key),
            frame(0x01, "frägm".encode()[:3], key=key),
            frame(0x8A, b"", key=key),
            frame(0x00, "frägm".encode()[3:], key=key),
            frame(0x80, b"", key=key),
            frame(0x02, b"", key=key),
            frame(0x80, b"\xff", key=key),
            encode_frame(b"z" * 130, mask_key=key),
            encode_close(4001, "bye", mask_key=key),
            encode_frame(b"never seen", mask_key=key),
        )
    )
    control = frame(0x89, b"ping", key=key) + frame(0x8A, b"", key=key) + encode_close(4001, "bye", mask_key=key)
    for split in range(len(stream) + 1):
        reader = FrameReader(masked=key is not None, max_message_size=LIMIT)
        messages = reader.feed(stream[:split]) + reader.feed(stream[split:])
        assert messages == [b"first", "frägm".encode(), b"\xff", b"z" * 130]
        assert [type(message) for message in messages] == [bytes, bytes, BinaryMessage, bytes]
        assert reader.close == CloseFrame(4001, "bye")
        assert reader.violation is None
        assert reader.take_control() == control
        assert reader.take_control() == b""


def test_byte_by_byte() -> None:
    stream = encode_frame(b"y" * 3_000) + frame(0x01, b"a") + frame(0x80, b"b") + encode_close(1000)
    assert read(stream, pieces=1) == Outcome([b"y" * 3_000, b"ab"], [False, False], (1000, ""))


def test_nothing_is_read_behind_a_close_frame() -> None:
    reader = FrameReader(masked=False, max_message_size=LIMIT)
    assert reader.feed(encode_frame(b"before") + encode_close(1001) + b"\xff\xff") == [b"before"]
    assert reader.feed(encode_frame(b"after") + b"\xff\xff") == []
    assert reader.close == CloseFrame(1001, "")
    assert reader.violation is None


def test_nothing_is_read_behind_a_violation() -> None:
    reader = FrameReader(masked=False, max_message_size=LIMIT)
    assert reader.feed(encode_frame(b"before") + b"\xff\xff") == [b"before"]
    assert reader.feed(encode_frame(b"after") + encode_close(1000)) == []
    assert reader.close is None
    assert reader.violation is not None
    assert reader.take_control() == b""


def test_a_close_frame_without_a_code_is_1005() -> None:
    assert read(frame(0x88)).close == (1005, "")


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 3000, 4999])
def test_codes_that_may_close(code: int) -> None:
    assert read(encode_close(code, "grüße")).close == (code, "grüße")


# Violations

ILLEGAL = {
    "reserved bit 1": frame(0xC1),
    "reserved bit 2": frame(0xA1),
    "reserved bit 3": frame(0x91),
    "reserved bit of a control frame": frame(0xC9),
    "unknown data opcode": frame(0x83),
    "unknown control opcode": frame(0x8B),
    "fragmented ping": frame(0x09),
    "fragmented close": frame(0x08),
    "ping of 126 bytes": frame(0x89, b"p" * 126),
    "continuation of nothing": frame(0x80),
    "continuation of nothing, not final": frame(0x00),
    "continuation after the message's end": frame(0x01) + frame(0x80) + frame(0x80),
    "text inside a text": frame(0x01) + frame(0x81),
    "binary inside a text": frame(0x01) + frame(0x82),
    "fragment inside a binary": frame(0x02) + frame(0x02),
    "two-byte length that fits in one": b"\x81\x7e\x00\x7d" + b"x" * 125,
    "eight-byte length that fits in two": b"\x81\x7f" + (65_535).to_bytes(8, "big"),
    "eight-byte length with its highest bit": b"\x81\x7f" + (1 << 63).to_bytes(8, "big"),
    "close with one byte": frame(0x88, b"\x03"),
    "close with code 0": encode_close(0),
    "close with code 999": encode_close(999),
    "close with code 1004": encode_close(1004),
    "close with code 1005": encode_close(1005),
    "close with code 1006": encode_close(1006),
    "close with code 1014": encode_close(1014),
    "close with code 1015": encode_close(1015),
    "close with code 2999": encode_close(2999),
    "close with code 5000": encode_close(5000),
}
NOT_TEXT = {
    "a lone continuation byte": frame(0x81, b"a\x80"),
    "a truncated character": frame(0x81, "é".encode()[:1]),
    "an encoded surrogate": frame(0x81, b"\xed\xa0\x80"),
    "beyond Unicode": frame(0x81, b"\xf4\x90\x80\x80"),
    "in a first fragment, told at once": frame(0x01, b"\xff"),
    "a character cut by the end of a fragmented message": frame(0x01, b"\xc3") + frame(0x80),
    "in a close frame's reason": frame(0x88, b"\x03\xe8\xff"),
}


@pytest.mark.parametrize("stream", ILLEGAL.values(), ids=ILLEGAL.keys())
def test_what_the_protocol_forbids_is_1002(stream: bytes) -> None:
    outcome = read(encode_frame(b"before") + stream)
    assert outcome == Outcome([b"before", *outcome.messages[1:]], outcome.kinds, None, 1002)


@pytest.mark.parametrize("stream", NOT_TEXT.values(), ids=NOT_TEXT.keys())
def test_text_that_is_not_utf_8_is_1007(stream: bytes) -> None:
    assert read(encode_frame(b"before") + stream) == Outcome([b"before"], [False], None, 1007)


def test_binary_messages_hold_anything() -> None:
    outcome = read(frame(0x82, b"\xff") + frame(0x02, b"\xc3") + frame(0x80, b"\x28"))
    assert outcome == Outcome([b"\xff", b"\xc3\x28"], [True, True])


def test_wrong_masking() -> None:
    assert read(encode_frame(b"x", mask_key=KEY)).failure == 1002
    assert read(encode_frame(b"x"), masked=True).failure == 1002
    assert read(frame(0x89, b"x", key=KEY)).failure == 1002


def test_an_illegal_frame_is_told_before_the_rest_of_it_came() -> None:
    assert read(b"\xc1\x05").failure == 1002
    assert read(b"\x89\x7e").failure == 1002
    assert read(b"\x81").failure is None


@pytest.mark.parametrize("first", [0x81, 0x82, 0x01])
def test_a_message_over_the_limit_is_1009_before_its_payload_came(first: int) -> None:
    head = frame(first, b"x" * 11)[:2]
    assert read(head, limit=10).failure == 1009
    assert read(head, limit=11).failure is None


def test_the_limit_counts_bytes_not_characters() -> None:
    four_bytes = "😀".encode()
    assert read(encode_frame(four_bytes * 2), limit=8).messages == [four_bytes * 2]
    assert read(encode_frame(four_bytes * 2), limit=7).failure == 1009


def test_the_limit_counts_all_fragments() -> None:
    fragments = frame(0x01, b"12345") + frame(0x89, b"a ping counts nothing") + frame(0x00, b"67")
    assert read(fragments + frame(0x80, b"890"), limit=10).messages == [b"1234567890"]
    assert read(fragments + frame(0x80, b"8901")[:2], limit=10).failure == 1009
    # Each message has the whole limit for itself.
    assert read((fragments + frame(0x80)) * 3, limit=7).messages == [b"1234567"] * 3


def test_a_huge_length_is_refused_without_waiting_for_it() -> None:
    assert read(b"\x81\x7f" + ((1 << 63) - 1).to_bytes(8, "big")).failure == 1009


def test_a_violation_holds_nothing_of_the_payload() -> None:
    reader = FrameReader(masked=False, max_message_size=LIMIT)
    reader.feed(frame(0x81, b"secret\xff"))
    violation = reader.violation
    assert violation is not None
    assert "secret" not in str(violation)
    assert violation.__traceback__ is None
    assert violation.__context__ is None


@pytest.mark.parametrize("unit", [b"\x00\x00", frame(0x00, b"x"), frame(0x00, b"xy")])
def test_endless_fragments_cost_no_more_than_their_payload(unit: bytes) -> None:
    reader = FrameReader(masked=False, max_message_size=LIMIT)
    reader.feed(frame(0x01))
    flood = unit * 10_000
    tracemalloc.start()
    try:
        reader.feed(flood)
        assert tracemalloc.get_traced_memory()[0] < 50_000
    finally:
        tracemalloc.stop()
    assert reader.violation is None


def test_a_message_in_tiny_pieces_costs_no_more_than_its_payload() -> None:
    reader = FrameReader(masked=False, max_message_size=LIMIT)
    stream = encode_frame(b"x" * 30_000)
    tracemalloc.start()
    try:
        for position in range(0, 30_000, 3):
            assert reader.feed(stream[position : position + 3]) == []
        assert tracemalloc.get_traced_memory()[0] < 60_000
    finally:
        tracemalloc.stop()
    assert reader.feed(stream[30_000:]) == [b"x" * 30_000]


# Against wsproto

SMALL_LIMIT = 600
PADDING = b"\0" * (SMALL_LIMIT + 20)
"""Completes any frame and then breaks the protocol, or goes on with empty fragments for ever: either way nothing that
one reader sees earlier than the other is left to see."""


def read_with_wsproto(stream: bytes, *, masked: bool) -> Outcome:
    connection = Connection(ConnectionType.SERVER if masked else ConnectionType.CLIENT)
    connection.receive_data(stream)
    outcome = Outcome()
    parts: list[bytes] = []
    for event in connection.events():
        match event:
            case TextMessage() | BytesMessage():
                parts.append(event.data.encode() if isinstance(event.data, str) else bytes(event.data))
                if event.message_finished:
                    outcome.messages.append(b"".join(parts))
                    outcome.kinds.append(isinstance(event, BytesMessage))
                    parts.clear()
            case CloseConnection() if connection.state.name == "REMOTE_CLOSING":
                outcome.close = (int(event.code), event.reason or "")
            case CloseConnection():
                outcome.failure = int(event.code)
            case _:
                assert isinstance(event, Ping | Pong)
    return outcome


payloads = st.one_of(st.binary(max_size=20), st.text(max_size=20).map(str.encode), st.just(b"x" * 126))
first_bytes = st.one_of(
    st.sampled_from((0x01, 0x00, 0x80, 0x81, 0x82, 0x02, 0x89, 0x8A)),
    st.integers(min_value=0, max_value=255).filter(lambda first: first & 0x0F != 0x08),
)
closes = st.builds(encode_close, st.integers(990, 5_010), st.text(max_size=5))
frames = st.one_of(st.builds(frame, first_bytes, payloads), st.builds(frame, st.just(0x88), payloads), closes)
mutations = st.lists(st.tuples(st.integers(min_value=0), st.integers(1, 255)), max_size=3)


@given(st.lists(frames, max_size=8), mutations, st.booleans(), st.integers(1, 60))
def test_wsproto_says_the_same(parts: list[bytes], changes: list[tuple[int, int]], masked: bool, pieces: int) -> None:
    """Mutations hit unmasked frames, so that they reach the text too; a mask is put over each whole frame before."""
    if masked:
        parts = [part[:1] + bytes((part[1] | 0x80,)) + part[2:] for part in parts]
        parts = [_mask_whole(part) for part in parts]
    stream = bytearray(b"".join(parts))
    for position, change in changes:
        if stream:
            stream[position % len(stream)] ^= change
    whole = bytes(stream) + PADDING
    expected = read_with_wsproto(whole, masked=masked)
    outcome = read(whole, masked=masked, limit=SMALL_LIMIT)
    if outcome.failure == 1009:
        # wsproto knows no limit, so it goes on where we stop.
        assert expected.messages[: len(outcome.messages)] == outcome.messages
    else:
        assert outcome == expected
    split = Outcome()
    reader = FrameReader(masked=masked, max_message_size=SMALL_LIMIT)
    for position in range(0, len(stream), pieces):
        split.messages += reader.feed(bytes(stream[position : position + pieces]))
    split.messages += reader.feed(PADDING)
    assert split.messages == outcome.messages
    assert (reader.violation and reader.violation.code) == outcome.failure


def _mask_whole(part: bytes) -> bytes:
    head = 2 + {126: 2, 127: 8}.get(part[1] & 0x7F, 0)
    return part[:head] + KEY + apply_mask(part[head:], KEY)
