"""What either side writes in protobuf the other side reads, what the bytes look like, and that JSON means the same."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_webpubsub.protocol import wire
from trio_webpubsub.protocol.codec import Codec
from trio_webpubsub.protocol.json_codec import RELIABLE_JSON
from trio_webpubsub.protocol.messages import GroupMessage, ServerMessage, StreamError, StreamInfo
from trio_webpubsub.protocol.payloads import payload_of
from trio_webpubsub.protocol.protobuf_codec import PROTOBUF, RELIABLE_PROTOBUF

from .protobuf_bytes import block, number
from .strategies import control, metadata, texts, typed_data, upstream

TEXT = wire.Payload("text", "hé".encode())
EMPTY_TEXT = wire.Payload("text", b"")
NUMBERS = wire.Payload("json", b"[1, 2]")
BYTES = wire.Payload("binary", b"\x00\xff")
ANY = wire.Payload("protobuf", block(1, "type.example/T") + block(2, b"\x08\x01"))


def test_the_two_codecs() -> None:
    codecs: list[Codec] = [PROTOBUF, RELIABLE_PROTOBUF]
    assert [(codec.subprotocol, codec.reliable, codec.binary) for codec in codecs] == [
        ("protobuf.webpubsub.azure.v1", False, True),
        ("protobuf.reliable.webpubsub.azure.v1", True, True),
    ]


LAST = StreamInfo(
    stream_id="s",
    stream_sequence_id=2,
    end_of_stream=True,
    error=StreamError(name="UserError", message="why", user_error_code="E"),
)
STATES = wire.GroupState(
    group="g",
    items=[
        wire.GroupStateItem(connection_id="c", user_id="ann", state={"a": "b"}, updated_at=7),
        wire.GroupStateItem(connection_id="d", updated_at=8),
    ],
    snapshot=True,
)
STATE = block(1, "c"), block(2, "ann"), block(3, block(1, block(1, "a"), block(2, "b"))), number(4, 7)

UPSTREAM: list[tuple[wire.Upstream, bytes]] = [
    (wire.JoinGroup("g"), block(6, block(1, "g"))),
    (wire.JoinGroup("g", 0), block(6, block(1, "g"), number(2, 0))),
    (wire.LeaveGroup("é", 2), block(7, block(1, "é"), number(2, 2))),
    (wire.SendToGroup(group="g", payload=TEXT), block(1, block(1, "g"), block(3, block(1, "hé")))),
    (
        wire.SendToGroup(
            group="g", payload=NUMBERS, ack_id=2**64 - 1, no_echo=True, ttl_seconds=300, metadata={"k": "v"}
        ),
        block(
            1,
            block(1, "g"),
            number(2, 2**64 - 1),
            block(3, block(4, "[1, 2]")),
            number(4, 1),
            number(5, 300),
            block(6, block(1, "k"), block(2, "v")),
        ),
    ),
    (
        wire.SendToGroup(group="g", payload=ANY, ttl_seconds=0),
        block(1, block(1, "g"), block(3, block(3, ANY.body)), number(5, 0)),
    ),
    (
        wire.SendEvent(event="e", payload=BYTES, ack_id=3, metadata={"k": "v"}),
        block(5, block(1, "e"), block(2, block(2, b"\x00\xff")), number(3, 3), block(4, block(1, "k"), block(2, "v"))),
    ),
    (wire.SendEvent(event="e", payload=EMPTY_TEXT), block(5, block(1, "e"), block(2, block(1, "")))),
    (wire.Invoke(invocation_id="i", event="e"), block(10, block(1, "e"), block(2, "i"))),
    (
        wire.Invoke(invocation_id="i", event="e", payload=NUMBERS, metadata={"k": "v"}),
        block(10, block(1, "e"), block(2, "i"), block(3, block(4, "[1, 2]")), block(4, block(1, "k"), block(2, "v"))),
    ),
    (wire.CancelInvocation("i"), block(11, block(1, "i"))),
    (
        wire.SendEvent(event="e", payload=EMPTY_TEXT, stream=wire.StreamStart("s")),
        block(5, block(1, "e"), block(2, block(1, "")), block(5, block(1, "s"))),
    ),
    (
        wire.OpenStream(group="g", stream=wire.StreamStart("s", 60_000), no_echo=True),
        block(1, block(1, "g"), number(4, 1), block(7, block(1, "s"), number(2, 60_000))),
    ),
    (wire.StreamData("s", 1, TEXT), block(13, block(1, "s"), number(2, 1), block(3, block(1, "hé")))),
    (wire.StreamData("s"), block(13, block(1, "s"))),
    (wire.StreamEnd("s"), block(14, block(1, "s"))),
    (
        wire.StreamEnd("s", wire.StreamEndError("why", "E")),
        block(14, block(1, "s"), block(2, block(1, "why"), block(2, "E"))),
    ),
    (
        wire.SetGroupState("g", {"k": "v"}, 9),
        block(15, block(1, "g"), number(2, 9), block(3, block(1, block(1, "k"), block(2, "v")))),
    ),
    (wire.SetGroupState("g", {}), block(15, block(1, "g"), block(3))),
    (wire.SetGroupState("g"), block(15, block(1, "g"))),
    (wire.SubscribeGroupState("g", 1), block(16, block(1, "g"), number(2, 1))),
    (wire.UnsubscribeGroupState("g", 2), block(17, block(1, "g"), number(2, 2))),
    (wire.SequenceAck(118), block(8, number(1, 118))),
    (wire.Ping(), block(9)),
]


@pytest.mark.parametrize(("message", "frame"), UPSTREAM)
def test_what_a_client_writes(message: wire.Upstream, frame: bytes) -> None:
    assert RELIABLE_PROTOBUF.encode_upstream(message) == frame
    assert RELIABLE_PROTOBUF.decode_upstream(frame) == message


CONTROL: list[tuple[wire.Control, bytes]] = [
    (wire.Ack(1, True), block(1, number(1, 1), number(2, 1))),
    (
        wire.Ack(3, False, wire.WireError("Duplicate", "again")),
        block(1, number(1, 3), block(3, block(1, "Duplicate"), block(2, "again"))),
    ),
    (wire.Ack(3, False, wire.WireError()), block(1, number(1, 3), block(3))),
    (wire.Pong(), block(4)),
    (
        wire.ConnectedMessage(connection_id="c", user_id="ann", reconnection_token="t"),
        block(3, block(1, block(1, "c"), block(2, "ann"), block(3, "t"))),
    ),
    (wire.ConnectedMessage(connection_id="c"), block(3, block(1, block(1, "c")))),
    (wire.DisconnectedMessage("bye"), block(3, block(2, block(2, "bye")))),
    (wire.DisconnectedMessage(), block(3, block(2))),
    (
        wire.InvokeResponse(invocation_id="i", success=True, payload=NUMBERS, metadata={"k": "v"}),
        block(5, block(1, "i"), number(2, 1), block(3, block(4, "[1, 2]")), block(5, block(1, "k"), block(2, "v"))),
    ),
    (
        wire.InvokeResponse(invocation_id="i", success=True, payload=EMPTY_TEXT),
        block(5, block(1, "i"), number(2, 1), block(3, block(1, ""))),
    ),
    (
        wire.InvokeResponse(invocation_id="i", success=False, error=wire.WireError("Bad", "no")),
        block(5, block(1, "i"), block(4, block(1, "Bad"), block(2, "no"))),
    ),
]


@pytest.mark.parametrize(("message", "frame"), CONTROL)
def test_what_the_service_writes_to_one_client(message: wire.Control, frame: bytes) -> None:
    assert RELIABLE_PROTOBUF.encode_control(message) == frame
    assert RELIABLE_PROTOBUF.decode_downstream(frame) == message


@pytest.mark.parametrize(
    ("message", "frame", "read"),
    [
        (
            wire.DataMessage(payload=TEXT, group="g", from_user_id="ann"),
            block(2, block(1, "group"), block(2, "g"), block(3, block(1, "hé"))),
            GroupMessage(group="g", data_type="text", data="hé"),
        ),
        (
            wire.DataMessage(payload=NUMBERS, group="g"),
            block(2, block(1, "group"), block(2, "g"), block(3, block(4, "[1, 2]"))),
            GroupMessage(group="g", data=[1, 2]),
        ),
        (
            wire.DataMessage(payload=BYTES, metadata={"k": "v"}),
            block(2, block(1, "server"), block(3, block(2, b"\x00\xff")), block(5, block(1, "k"), block(2, "v"))),
            ServerMessage(data_type="binary", data=b"\x00\xff", metadata={"k": "v"}),
        ),
        (
            wire.DataMessage(payload=ANY),
            block(2, block(1, "server"), block(3, block(3, ANY.body))),
            ServerMessage(data_type="protobuf", data=ANY.body),
        ),
        (
            wire.DataMessage(payload=TEXT, group="g", stream=StreamInfo(stream_id="s", stream_sequence_id=1)),
            block(2, block(1, "group"), block(2, "g"), block(3, block(1, "hé")), block(6, block(1, "s"), number(2, 1))),
            GroupMessage(
                group="g", data_type="text", data="hé", stream=StreamInfo(stream_id="s", stream_sequence_id=1)
            ),
        ),
        (
            wire.DataMessage(payload=EMPTY_TEXT, group="g", stream=LAST),
            block(
                2,
                block(1, "group"),
                block(2, "g"),
                block(3, block(1, "")),
                block(
                    6,
                    block(1, "s"),
                    number(2, 2),
                    number(3, 1),
                    block(4, block(1, "UserError"), block(2, "why"), block(3, "E")),
                ),
            ),
            GroupMessage(group="g", data_type="text", data="", stream=LAST),
        ),
        (STATES, block(10, block(1, "g"), block(2, *STATE), block(2, block(1, "d"), number(4, 8))), None),
        (
            wire.GroupState(group="g", items=STATES.items[:1], snapshot=False),
            block(9, block(1, "g"), block(2, *STATE)),
            None,
        ),
    ],
)
def test_what_the_service_writes_to_many(
    message: wire.Numbered, frame: bytes, read: GroupMessage | ServerMessage | None
) -> None:
    assert PROTOBUF.encode_data(message) == frame
    assert PROTOBUF.decode_downstream(frame) == (read or message)


@pytest.mark.parametrize("snapshot", [False, True])
def test_states_have_sequence_ids_too(snapshot: bool) -> None:
    message = msgspec.structs.replace(STATES, snapshot=snapshot)
    frame = RELIABLE_PROTOBUF.with_sequence_id(RELIABLE_PROTOBUF.encode_data(message), 300)
    assert RELIABLE_PROTOBUF.decode_downstream(frame) == msgspec.structs.replace(message, sequence_id=300)


# Sizes around those at which the length of the data message takes one byte more, with the sequence id or without.
@pytest.mark.parametrize("size", [0, *range(95, 125), *range(16_350, 16_384), 2_097_120, 2_097_130])
@pytest.mark.parametrize("sequence_id", [1, 127, 128, 2**64 - 1])
def test_the_sequence_id_comes_last(size: int, sequence_id: int) -> None:
    body = b"x" * size
    fields = block(1, "server"), block(3, block(2, body))
    frame = RELIABLE_PROTOBUF.encode_data(wire.DataMessage(payload=wire.Payload("binary", body)))
    assert frame == block(2, *fields)
    assert RELIABLE_PROTOBUF.with_sequence_id(frame, sequence_id) == block(2, *fields, number(4, sequence_id))


def test_a_name_that_is_not_unicode_cannot_be_written() -> None:
    with pytest.raises(ValueError, match=r"(?i)unicode|surrogate"):
        PROTOBUF.encode_upstream(wire.JoinGroup("\ud800"))


def test_an_id_that_is_too_large_cannot_be_written() -> None:
    with pytest.raises(ValueError, match="out of range"):
        PROTOBUF.encode_upstream(wire.JoinGroup("g", 2**64))


def as_read(message: Any) -> Any:
    """Give what a reader can know of a message, since protobuf does not tell what is empty from what is not there."""
    if isinstance(message, wire.DisconnectedMessage):
        return wire.DisconnectedMessage(message.message or None)
    if hasattr(message, "metadata"):
        return msgspec.structs.replace(message, metadata=message.metadata or None)
    return message


@given(upstream)
def test_the_service_reads_what_a_client_writes(message: wire.Upstream) -> None:
    read = PROTOBUF.decode_upstream(PROTOBUF.encode_upstream(message))
    assert read == as_read(message)
    assert read == as_read(RELIABLE_JSON.decode_upstream(RELIABLE_JSON.encode_upstream(message)))


@given(control)
def test_a_client_reads_what_the_service_writes(message: wire.Control) -> None:
    read = PROTOBUF.decode_downstream(PROTOBUF.encode_control(message))
    assert read == as_read(message)
    assert read == as_read(RELIABLE_JSON.decode_downstream(RELIABLE_JSON.encode_control(message)))


@given(typed_data, st.none() | texts, metadata, st.none() | st.integers(1, 2**64 - 1))
def test_a_message_reaches_a_client_as_it_was_sent(
    data: tuple[object, str], group: str | None, metadata: dict[str, str] | None, sequence_id: int | None
) -> None:
    sent = wire.DataMessage(payload=payload_of(*data), group=group, metadata=metadata)
    read: list[Any] = []
    for codec in (RELIABLE_PROTOBUF, RELIABLE_JSON):
        frame = codec.encode_data(sent)
        if sequence_id is not None:
            frame = codec.with_sequence_id(frame, sequence_id)
        read.append(as_read(codec.decode_downstream(frame)))
    message = read[0]
    assert message == read[1]
    assert (message.data, message.data_type, message.sequence_id) == (*data, sequence_id)
    assert getattr(message, "group", None) == group


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(sys.modules):
        if name.startswith("trio_webpubsub.protocol.protobuf_") or name.endswith(".webpubsub_pb2"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "google.protobuf", None)
    with pytest.raises(ImportError, match=r"python -m pip install 'trio-webpubsub\[protobuf\]'"):
        importlib.import_module("trio_webpubsub.protocol.protobuf_codec")
