"""Everything that reads bytes without a connection: codecs, frames, tokens, answers of the REST API.

What comes out is a value or the one error that the reader promises, never anything else.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from tests.fuzz.corpus import kept
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

Reader = Callable[[bytes], object]


@dataclass(frozen=True)
class Target:
    """One of them."""

    name: str
    samples: Sequence[bytes]
    """Good inputs."""
    reader: Callable[[], Reader]
    """Makes what reads inputs, and says what it made of them."""
    error: type[Exception] | None = None
    """What it may raise."""

    def inputs(self) -> list[bytes]:
        """Give all there is to begin with."""
        return [*self.samples, *kept(self.name)]

    def outcome(self, read: Reader, data: bytes) -> object:
        """Read something, and give what came of it."""
        try:
            return read(data)
        except Exception as error:
            if self.error is None or not isinstance(error, self.error):
                raise
            return error


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
CONNECTED = wire.ConnectedMessage(connection_id="c", user_id="u", reconnection_token="t")
CONTROL: list[wire.Control] = [
    wire.Ack(1, success=True),
    wire.Ack(2, success=False, error=wire.WireError("Forbidden", "no")),
    wire.Pong(),
    CONNECTED,
    wire.DisconnectedMessage("bye"),
    wire.InvokeResponse(invocation_id="i", success=True, payload=PAYLOADS[1]),
]


def downstream(codec: Codec) -> list[bytes]:
    """Give a frame of each kind that clients get."""
    messages = [
        *(wire.DataMessage(payload=each, group="g", from_user_id="u", metadata=METADATA) for each in PAYLOADS),
        *(wire.DataMessage(payload=each) for each in PAYLOADS),
    ]
    data = [codec.with_sequence_id(codec.encode_data(each), number) for number, each in enumerate(messages, 1)]
    return [*data, *map(codec.encode_control, CONTROL)]


def _upstream(name: str, codec: Codec) -> Target:
    def read(frame: bytes) -> object:
        return type(codec.decode_upstream(frame)).__name__

    samples = [codec.encode_upstream(each) for each in UPSTREAM]
    return Target(f"upstream-{name}", samples, lambda: read, ProtocolViolation)


def _downstream(name: str, codec: Codec) -> Target:
    def read(frame: bytes) -> object:
        message = codec.decode_downstream(frame)
        repr(message)
        if isinstance(message, GroupMessage | ServerMessage) and message.data_error is not None:
            assert message.data is None
            return message.data_error
        return type(message).__name__

    return Target(f"downstream-{name}", downstream(codec), lambda: read, UnreadableFrame)


def _session(name: str, codec: Codec) -> Target:
    def fresh() -> Session:
        session = Session(codec, SessionSettings(), retry_delays=lambda: iter(lambda: 0.5, None))
        session.transport_opened()
        session.receive([codec.encode_control(CONNECTED)], 0)
        session.outgoing.join("g")
        return session

    def reader() -> Reader:
        session = fresh()

        def receive(frame: bytes) -> object:
            nonlocal session
            outputs = session.receive([frame, frame], 1.0)
            session.take_frames(1.0)
            told = [type(each).__name__ for each in outputs], session.state, session.worthless
            if session.worthless or session.state != "connected":
                session = fresh()
            return told

        return receive

    return Target(f"session-{name}", downstream(codec), reader)


def _frames(name: str, mask_key: bytes | None) -> Target:
    samples = [
        encode_frame(b"text", binary=False, mask_key=mask_key)
        + encode_frame(b"\xff" * 200, binary=True, mask_key=mask_key),
        encode_frame(b"x" * 70_000, binary=False, mask_key=mask_key),
        b"".join(encode_frame("ö".encode(), binary=False, mask_key=mask_key) for _ in range(5)),
        encode_close(1000, "bye", mask_key=mask_key),
    ]

    def feed(data: bytes) -> object:
        reader = FrameReader(masked=mask_key is not None, max_message_size=LIMIT)
        half = len(data) // 2
        messages = [message for piece in (data[:half], data[half:]) for message in reader.feed(piece)]
        assert all(len(message) <= LIMIT for message in messages)
        reader.take_control()
        return len(messages) > 0, reader.violation, reader.close is not None and reader.close.code

    return Target(f"frames-{name}", samples, lambda: feed)


def _tokens() -> Target:
    good = client_access_token(
        KEY, audience=AUDIENCE, now=1_000_000.0, lifetime=600.0, user_id="ann", roles=["r"], groups=["g"]
    )

    def verify(data: bytes) -> object:
        token = data.decode("latin-1")
        expires_at(token)
        verify_token(token, keys=[KEY], audiences=[AUDIENCE], now=1_000_001.0)
        # A signature may be padded, and its last character has two bits that mean nothing.
        assert token.rstrip("=")[:-1] == good[:-1], "a spoiled token was accepted"
        return "accepted"

    return Target("tokens", [good.encode()], lambda: verify, InvalidToken)


def _rest_answers() -> Target:
    members = json.dumps({"value": [{"connectionId": "c", "userId": "u"}], "nextLink": "http://localhost/x?a=b"})
    error = json.dumps({"code": "Error", "message": "no", "target": "t", "details": [{"code": "a", "message": "b"}]})
    samples = [each.encode() for each in (members, json.dumps({"token": "t"}), error)]

    def read(data: bytes) -> object:
        told: list[object] = [read_error(400, {"content-type": "application/json"}, data)]
        for reader in (read_members, read_token):
            with suppress(ValueError):
                told.append(type(reader(data)).__name__)
        return told

    return Target("rest-answers", samples, lambda: read)


_BOTH: dict[str, Codec] = {"json": RELIABLE_JSON, "protobuf": RELIABLE_PROTOBUF}
TARGETS = [
    *(make(name, codec) for make in (_upstream, _downstream, _session) for name, codec in _BOTH.items()),
    _frames("masked", b"abcd"),
    _frames("unmasked", None),
    _tokens(),
    _rest_answers(),
]
