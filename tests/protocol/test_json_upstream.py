"""What the service's side makes of frames from clients of any kind."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_webpubsub.protocol import wire
from trio_webpubsub.protocol.errors import ProtocolViolation
from trio_webpubsub.protocol.json_codec import JSON

decode = JSON.decode_upstream


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        ('{"type":"PING"}', wire.Ping()),
        (' {"more":[{}],"type":"ping","data":1} ', wire.Ping()),
        ('{"ackId":1,"group":"g","type":"JoinGroup"}', wire.JoinGroup("g", 1)),
        ('{"type":"leavegroup","group":"g","ackId":null}', wire.LeaveGroup("g")),
        ('{"type":"SEQUENCEACK","sequenceId":18446744073709551615}', wire.SequenceAck(2**64 - 1)),
        ('{"type":"CancelInvocation","invocationId":"i"}', wire.CancelInvocation("i")),
        (
            '{"type":"invoke","invocationId":"i","target":"Event","event":"e"}',
            wire.Invoke(invocation_id="i", event="e"),
        ),
        (
            '{"type":"event","event":"e","data":null}',
            wire.SendEvent(event="e", payload=wire.Payload("json", b"null")),
        ),
        (
            '{"type":"event","event":"e","data": {"a" : 1e400} }',
            wire.SendEvent(event="e", payload=wire.Payload("json", b'{"a" : 1e400}')),
        ),
        (
            '{"type":"event","event":"e","dataType":"TEXT","data":"\\u00e9\\ud83d\\ude00"}',
            wire.SendEvent(event="e", payload=wire.Payload("text", "é\U0001f600".encode())),
        ),
        (
            '{"type":"event","event":"e","dataType":"Binary","data":"AQ=="}',
            wire.SendEvent(event="e", payload=wire.Payload("binary", b"\x01")),
        ),
        (
            '{"type":"event","event":"e","dataType":"protobuf","data":""}',
            wire.SendEvent(event="e", payload=wire.Payload("protobuf", b"")),
        ),
        (
            '{"type":"event","event":"e","metadata":{"k":"v"}}',
            wire.SendEvent(event="e", payload=wire.Payload("text", b""), metadata={"k": "v"}),
        ),
        (
            '{"type":"sendToGroup","group":"g","noEcho":false,"ttlSeconds":300,"metadata":null,"data":"é"}',
            wire.SendToGroup(group="g", payload=wire.Payload("json", '"é"'.encode()), ttl_seconds=300),
        ),
    ],
)
def test_frames_that_are_accepted(frame: str, expected: wire.Upstream) -> None:
    assert decode(frame.encode()) == expected


def test_json_with_half_an_emoji_passes_as_the_service_lets_it_pass() -> None:
    frame = rb'{"type":"sendToGroup","group":"\u00e9\"","data":{"a":"\ud83d","\\ud83d":"\\\uDE00"},"ackId":3}'
    assert decode(frame) == wire.SendToGroup(
        group='é"', payload=wire.Payload("json", rb'{"a":"\ud83d","\\ud83d":"\\\uDE00"}'), ack_id=3
    )


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (b"", "cannot be read as a JSON object"),
        (b"hello", "cannot be read as a JSON object"),
        (b'{"type":"ping"', "cannot be read as a JSON object"),
        (b'{"type":"ping"}{}', "cannot be read as a JSON object"),
        (b'{"type":"ping",}', "cannot be read as a JSON object"),
        (b'\xef\xbb\xbf{"type":"ping"}', "cannot be read as a JSON object"),
        (b'{"type":"event","event":"e","data":[1,]}', "cannot be read as a JSON object"),
        (b'{"type":"event","event":"e","data":NaN}', "cannot be read as a JSON object"),
        (rb'{"type":"event","event":"e","data":["\ud800",]}', "cannot be read as a JSON object"),
        (rb'{"type":"joinGroup","group":"\ud800"}', "cannot be read as a JSON object"),
        (rb'{"type":"event","event":"\ud800","data":1}', "cannot be read as a JSON object"),
        (rb'{"type":"event","event":"e","dataType":"text","data":"\ud800"}', "data is not what it should be"),
        (b'{"type":"ping","x":"\xff"}', "the frame is not UTF-8"),
        (b'{"type":"event","event":"e","data":"\xff"}', "the frame is not UTF-8"),
        (b"[]", "Expected `object`, got `array`"),
        (b"null", "Expected `object`, got `null`"),
        (b"{}", "missing required field `type`"),
        (b'{"type":5}', "Expected `str`, got `int`"),
        (b'{"type":null}', "Expected `str`, got `null`"),
        (b'{"type":""}', "the type '' is unknown"),
        (b'{"type":"setGroup","group":"g"}', "the type 'setGroup' is unknown"),
        (b'{"type":"setGroupState"}', "group is missing"),
        (b'{"type":"setGroupState","group":"g","state":{"a":1}}', "got `int` - at `$.state"),
        (b'{"type":"subscribeGroupState"}', "group is missing"),
        (b'{"type":"unsubscribeGroupState"}', "group is missing"),
        (b'{"type":"streamData"}', "streamId is missing"),
        (b'{"type":"streamData","streamId":"s","data":1}', "streamSequenceId is missing"),
        (b'{"type":"streamData","streamId":"s","streamSequenceId":1}', "data is missing"),
        (
            b'{"type":"streamData","streamId":"s","streamSequenceId":18446744073709551616,"data":1}',
            "larger than 64 bits",
        ),
        (b'{"type":"streamEnd"}', "streamId is missing"),
        (b'{"type":"streamEnd","streamId":"s","error":{"userErrorCode":7}}', "got `int` - at `$.error.userErrorCode`"),
        (b'{"type":"%b"}' % (b"x" * 999), f"the type '{'x' * 40}' is unknown"),
        (b'{"type":"joinGroup"}', "group is missing"),
        (b'{"type":"joinGroup","group":null}', "group is missing"),
        (b'{"type":"joinGroup","group":5}', "got `int` - at `$.group`"),
        (b'{"type":"leaveGroup","ackId":1}', "group is missing"),
        (b'{"type":"joinGroup","group":"g","ackId":"1"}', "got `str` - at `$.ackId`"),
        (b'{"type":"joinGroup","group":"g","ackId":-1}', ">= 0 - at `$.ackId`"),
        (b'{"type":"joinGroup","group":"g","ackId":1.5}', "got `float` - at `$.ackId`"),
        (b'{"type":"joinGroup","group":"g","ackId":true}', "got `bool` - at `$.ackId`"),
        (b'{"type":"joinGroup","group":"g","ackId":18446744073709551616}', "an id is larger than 64 bits"),
        (b'{"type":"sequenceAck"}', "sequenceId is missing"),
        (b'{"type":"sequenceAck","sequenceId":"118"}', "got `str` - at `$.sequenceId`"),
        (b'{"type":"sequenceAck","sequenceId":18446744073709551616}', "an id is larger than 64 bits"),
        (b'{"type":"sendToGroup","data":1}', "group is missing"),
        (b'{"type":"sendToGroup","group":"g"}', "data is missing"),
        (b'{"type":"sendToGroup","stream":{"streamId":"s"}}', "group is missing"),
        (b'{"type":"sendToGroup","group":"g","stream":{}}', "missing required field `streamId`"),
        (b'{"type":"sendToGroup","group":"g","stream":{"streamId":"s","idleTimeoutMs":-1}}', ">= 0 - at `$.stream"),
        (b'{"type":"sendToGroup","group":"g","stream":{"streamId":"s"},"data":1}', "what opens a stream has no data"),
        (b'{"type":"sendToGroup","group":"g","data":1,"noEcho":1}', "got `int` - at `$.noEcho`"),
        (b'{"type":"sendToGroup","group":"g","data":1,"noEcho":null}', "got `null` - at `$.noEcho`"),
        (b'{"type":"sendToGroup","group":"g","data":1,"ttlSeconds":301}', "<= 300 - at `$.ttlSeconds`"),
        (b'{"type":"sendToGroup","group":"g","data":1,"ttlSeconds":-1}', ">= 0 - at `$.ttlSeconds`"),
        (b'{"type":"sendToGroup","group":"g","data":1,"metadata":[]}', "got `array` - at `$.metadata`"),
        (b'{"type":"sendToGroup","group":"g","data":1,"metadata":{"a":1}}', "got `int` - at `$.metadata"),
        (b'{"type":"sendToGroup","group":"g","data":1,"metadata":{"a b":""}}', "a metadata key is"),
        (b'{"type":"event","data":1}', "event is missing"),
        (b'{"type":"event","event":"e"}', "data is missing"),
        (b'{"type":"event","event":"e","dataType":null,"data":1}', "got `null` - at `$.dataType`"),
        (b'{"type":"event","event":"e","dataType":"xml","data":1}', "the dataType 'xml' is unknown"),
        (b'{"type":"event","event":"e","dataType":"text","data":1}', "not what it should be for dataType 'text'"),
        (b'{"type":"event","event":"e","dataType":"text","data":null}', "not what it should be for dataType 'text'"),
        (b'{"type":"event","event":"e","dataType":"binary","data":1}', "not what it should be for dataType 'binary'"),
        (b'{"type":"event","event":"e","dataType":"binary","data":"A"}', "not what it should be for dataType 'binary'"),
        (b'{"type":"event","event":"e","dataType":"protobuf","data":"!"}', "not what it should be"),
        (b'{"type":"invoke","event":"e","invocationId":"i"}', "target is missing"),
        (b'{"type":"invoke","event":"e","invocationId":"i","target":"group"}', "target is not 'event'"),
        (b'{"type":"invoke","invocationId":"i","target":"event"}', "event is missing"),
        (b'{"type":"invoke","event":"e","target":"event"}', "invocationId is missing"),
        (b'{"type":"invoke","event":"e","target":"event","invocationId":7}', "got `int` - at `$.invocationId`"),
        (b'{"type":"cancelInvocation"}', "invocationId is missing"),
        pytest.param(
            b'{"type":"event","event":"e","data":%b}' % (b"[" * 5_000_000 + b"]" * 5_000_000),
            "cannot be read as a JSON object",
            id="nested",
        ),
    ],
)
def test_frames_that_break_the_protocol(frame: bytes, reason: str) -> None:
    with pytest.raises(ProtocolViolation) as caught:
        decode(frame)
    assert caught.value.code == 1007
    assert reason in caught.value.reason
    assert len(caught.value.reason) < 500


FRAMES = [
    b'{"type":"joinGroup","group":"g","ackId":1}',
    b'{"type":"sendToGroup","group":"g","ackId":2,"noEcho":true,"metadata":{"k":"v"},"dataType":"text","data":"a"}',
    b'{"type":"sendToGroup","group":"g","ackId":2,"dataType":"binary","data":"AQID"}',
    rb'{"type":"event","event":"e","dataType":"json","data":{"a":["\ud83d\ude00"]}}',
    b'{"type":"invoke","invocationId":"i","target":"event","event":"e","data":1}',
    b'{"type":"sequenceAck","sequenceId":118}',
    b'{"type":"ping"}',
]


def survives(frame: bytes) -> None:
    with suppress(ProtocolViolation):
        decode(frame)


@given(st.binary())
def test_random_bytes_are_a_violation(frame: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        decode(frame)


pieces = st.one_of(
    st.binary(max_size=3),
    st.sampled_from([b'"', b"{", b"}", b"[", b"]", b",", b":", b"\\", b"null", b"-1", b"1e999", rb'"\ud800"', b"\xff"]),
)


@given(st.sampled_from(FRAMES), st.lists(st.tuples(st.floats(0, 1), st.integers(0, 9), pieces), max_size=4))
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
