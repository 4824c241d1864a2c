"""Spoiled bytes for everything that reads bytes without a connection: codecs, frames, tokens, answers of the REST API.

What comes out is a value or the one error that the reader promises, never anything else.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from random import Random

import pytest

from tests.fuzz.mutations import ROUNDS, spoiled
from trio_webpubsub.protocol import wire
from trio_webpubsub.protocol.claims import expires_at
from trio_webpubsub.protocol.codec import Codec
from trio_webpubsub.protocol.errors import InvalidToken, ProtocolViolation, UnreadableFrame
from trio_webpubsub.protocol.frame_reader import FrameReader
from trio_webpubsub.protocol.frame_writer import encode_close, encode_frame
from trio_webpubsub.protocol.json_codec import RELIABLE_JSON
from trio_webpubsub.protocol.messages import GroupMessage, ServerMessage
from trio_webpubsub.protocol.payloads import payload_of
from trio_webpubsub.protocol.protobuf_codec import RELIABLE_PROTOBUF
from trio_webpubsub.protocol.rest_answers import read_error, read_members, read_token
from trio_webpubsub.protocol.session import Session
from trio_webpubsub.protocol.session_values import SessionSettings
from trio_webpubsub.protocol.tokens import client_access_token, verify_token

CODECS: list[Codec] = [RELIABLE_JSON, RELIABLE_PROTOBUF]
PAYLOADS = [payload_of("tëxt"), payload_of({"a": [1, 2.5, None, "b"]}), payload_of(b"\x00\xff"), payload_of([])]
METADATA = {"kind": "a"}
KEY = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789ABCDEFGH"
AUDIENCE = "http://localhost/client/hubs/chat"
LIMIT = 100_000

UPSTREAM: list[wire.Upstream] = [
    wire.JoinGroup("g", 1),
    wire.LeaveGroup("g", 2),
    *(wire.SendToGroup(group="g", payload=each, ack_id=3, ttl_seconds=10, metadata=METADATA) for each in PAYLOADS),
    *(wire.SendEvent(event="e", payload=each, ack_id=4) for each in PAYLOADS),
    wire.Invoke(invocation_id="i", event="e", payload=PAYLOADS[1], metadata=METADATA),
    wire.CancelInvocation("i"),
    wire.SequenceAck(77),
    wire.Ping(),
]
CONTROL: list[wire.Control] = [
    wire.Ack(1, success=True),
    wire.Ack(2, success=False, error=wire.WireError("Forbidden", "no")),
    wire.Pong(),
    wire.ConnectedMessage(connection_id="c", user_id="u", reconnection_token="t"),
    wire.DisconnectedMessage("bye"),
    wire.InvokeResponse(invocation_id="i", success=True, payload=PAYLOADS[1]),
]


def downstream(codec: Codec) -> list[bytes]:
    """Give a frame of each kind that clients get."""
    data = [
        codec.with_sequence_id(codec.encode_data(message), number)
        for number, message in enumerate(
            [
                *(wire.DataMessage(payload=each, group="g", from_user_id="u", metadata=METADATA) for each in PAYLOADS),
                *(wire.DataMessage(payload=each) for each in PAYLOADS),
            ],
            1,
        )
    ]
    return [*data, *map(codec.encode_control, CONTROL)]


def rounds(samples: Sequence[bytes], try_it: Callable[[bytes], object], *expected: type[Exception]) -> None:
    """Read spoiled samples, twice spoiled every other time."""
    random = Random(0)
    for number in range(ROUNDS):
        data = spoiled(random.choice(samples), random)
        if number % 2:
            data = spoiled(data, random)
        with suppress(*expected):
            try_it(data)


@pytest.mark.parametrize("codec", CODECS, ids=["json", "protobuf"])
def test_what_clients_send(codec: Codec) -> None:
    rounds([codec.encode_upstream(each) for each in UPSTREAM], codec.decode_upstream, ProtocolViolation)


@pytest.mark.parametrize("codec", CODECS, ids=["json", "protobuf"])
def test_what_clients_get(codec: Codec) -> None:
    def decode(frame: bytes) -> None:
        message = codec.decode_downstream(frame)
        if isinstance(message, GroupMessage | ServerMessage) and message.data_error is not None:
            assert message.data is None
        repr(message)

    rounds(downstream(codec), decode, UnreadableFrame)


@pytest.mark.parametrize("codec", CODECS, ids=["json", "protobuf"])
def test_a_session_that_gets_anything(codec: Codec) -> None:
    def fresh() -> Session:
        session = Session(codec, SessionSettings(), retry_delays=lambda: iter(lambda: 0.5, None))
        session.transport_opened()
        session.receive([codec.encode_control(CONTROL[3])], 0)
        session.outgoing.join("g")
        return session

    session = fresh()

    def receive(frame: bytes) -> None:
        nonlocal session
        session.receive([frame, frame], 1.0)
        session.take_frames(1.0)
        if session.worthless or session.state != "connected":
            session = fresh()

    rounds(downstream(codec), receive)


@pytest.mark.parametrize("masked", [True, False])
def test_frames(masked: bool) -> None:
    key = b"abcd" if masked else None
    samples = [
        encode_frame(b"text", binary=False, mask_key=key) + encode_frame(b"\xff" * 200, binary=True, mask_key=key),
        encode_frame(b"x" * 70_000, binary=False, mask_key=key),
        b"".join(encode_frame("ö".encode(), binary=False, mask_key=key) for _ in range(5)),
        encode_close(1000, "bye", mask_key=key),
    ]

    def feed(data: bytes) -> None:
        reader = FrameReader(masked=masked, max_message_size=LIMIT)
        whole = len(data) // 2
        for piece in (data[:whole], data[whole:]):
            for message in reader.feed(piece):
                assert len(message) <= LIMIT
        reader.take_control()

    rounds(samples, feed)


def test_tokens() -> None:
    good = client_access_token(
        KEY, audience=AUDIENCE, now=1_000_000.0, lifetime=600.0, user_id="ann", roles=["r"], groups=["g"]
    )

    def verify(data: bytes) -> None:
        token = data.decode("latin-1")
        expires_at(token)
        verify_token(token, keys=[KEY], audiences=[AUDIENCE], now=1_000_001.0)
        # A signature may be padded, and its last character has two bits that mean nothing.
        assert token.rstrip("=")[:-1] == good[:-1], "a spoiled token was accepted"

    rounds([good.encode()], verify, InvalidToken)


def test_answers_of_the_rest_api() -> None:
    members = json.dumps({"value": [{"connectionId": "c", "userId": "u"}], "nextLink": "http://localhost/x?a=b"})
    error = json.dumps({"code": "Error", "message": "no", "target": "t", "details": [{"code": "a", "message": "b"}]})
    samples = [each.encode() for each in (members, json.dumps({"token": "t"}), error)]

    def read(data: bytes) -> None:
        read_error(400, {"content-type": "application/json"}, data)
        for reader in (read_members, read_token):
            with suppress(ValueError):
                reader(data)

    rounds(samples, read)
