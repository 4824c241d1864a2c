"""What a client makes of frames from a service that may be newer, older or broken."""

from __future__ import annotations

import json
import random
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_webpubsub.protocol import wire
from trio_webpubsub.protocol.errors import InvalidPayload, UnreadableFrame
from trio_webpubsub.protocol.json_codec import RELIABLE_JSON
from trio_webpubsub.protocol.messages import GroupMessage, ServerMessage, StreamError, StreamInfo

decode = RELIABLE_JSON.decode_downstream

POISON = {
    "a lone surrogate": rb'"\ud800"',
    "a lone low surrogate": rb'"\udc00 and more text behind it"',
    "a lone surrogate deep inside": rb'{"a":[{"\ud83d":1}]}',
    "nested arrays": b"[" * 100_000 + b"]" * 100_000,
    "nested objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "many digits": b"9" * 5_000,
    "a large exponent": b"1e400",
    "not UTF-8": b'"\xff"',
    "a bad escape": rb'"\x"',
    "no JSON": b"[1,,2]",
    "NaN": b"NaN",
}
poison = pytest.mark.parametrize("raw", POISON.values(), ids=POISON.keys())


@poison
@pytest.mark.parametrize(
    "frame",
    [
        b'{"type":"message","from":"group","group":"g","dataType":"json","data":%b,"sequenceId":7}',
        b'{"sequenceId":7,"type":"message","from":"group","group":"g","data":%b}',
        b' { "data" : %b , "from" : "group" , "sequenceId" : 7 , "type" : "message" , "group" : "g" } ',
    ],
)
def test_a_poisoned_payload_is_a_value_of_its_message(frame: bytes, raw: bytes) -> None:
    message = decode(frame % raw)
    assert isinstance(message, GroupMessage)
    assert (message.group, message.sequence_id, message.data, message.raw) == ("g", 7, None, raw)
    assert message.data_error is not None
    assert message.data_error.startswith("the json data cannot be decoded: ")
    with pytest.raises(InvalidPayload, match="cannot be decoded"):
        message.decode_as(object)


def test_nesting_of_any_depth() -> None:
    raw = b'{"a":[' * 100_000 + b"]}" * 100_000
    message = decode(b'{"sequenceId":7,"type":"message","from":"server","data":%b}' % raw)
    assert message == ServerMessage(
        sequence_id=7, data_error="the json data cannot be decoded: it is nested too deeply", raw=raw
    )


@poison
@pytest.mark.parametrize("data_type", ["text", "binary", "protobuf"])
def test_poison_in_any_kind_of_payload(data_type: str, raw: bytes) -> None:
    frame = b'{"sequenceId":7,"type":"message","from":"server","dataType":"%b","data":%b}' % (data_type.encode(), raw)
    message = decode(frame)
    assert isinstance(message, ServerMessage)
    assert (message.sequence_id, message.data_type, message.data, message.raw) == (7, data_type, None, raw)
    assert message.data_error is not None


@poison
@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (
            b'{"type":"message","from":"group","group":"g","data":1,"metadata":%b,"stream":%b,"fromUserId":%b,"sequenceId":7}',
            GroupMessage(group="g", data=1, sequence_id=7),
        ),
        (
            b'{"x":%b,"type":"message","from":"server","data":1,"metadata":%b,"sequenceId":7,"y":%b}',
            ServerMessage(data=1, sequence_id=7),
        ),
        (b'{"type":"ack","ackId":3,"success":true,"x":%b,"y":%b,"z":%b}', wire.Ack(3, True)),
        (
            b'{"type":"ack","ackId":3,"success":false,"error":{"name":"Duplicate","message":%b,"x":%b},"y":%b}',
            wire.Ack(3, False, wire.WireError("Duplicate")),
        ),
        (b'{"type":"pong","x":%b,"y":%b,"z":%b}', wire.Pong()),
        (
            b'{"type":"system","event":"connected","connectionId":"c","userId":%b,"reconnectionToken":%b,"x":%b}',
            wire.ConnectedMessage(connection_id="c"),
        ),
        (b'{"type":"system","event":"disconnected","message":%b,"x":%b,"y":%b}', wire.DisconnectedMessage()),
        (
            b'{"type":"groupStateUpdate","items":%b,"x":%b,"y":%b,"sequenceId":7}',
            wire.UnknownMessage(type="groupStateUpdate", sequence_id=7),
        ),
        (b'{"type":"streamAck","streamId":"s","expectedSequenceId":3,"x":%b,"y":%b,"z":%b}', wire.StreamAck("s", 3)),
        (
            b'{"type":"streamNack","streamId":"s","expectedSequenceId":3,"name":%b,"message":%b,"x":%b}',
            wire.StreamNack("s", 3),
        ),
        (
            b'{"type":"streamClosed","streamId":"s","error":{"name":"Forbidden","message":%b,"x":%b},"y":%b}',
            wire.StreamClosed("s", wire.WireError("Forbidden")),
        ),
        (
            b'{"type":"groupStateSnapshot","group":"g","x":%b,"items":[{"connectionId":"c","state":{}},7],"y":%b,"z":%b}',
            wire.GroupState(group="g", items=[wire.GroupStateItem(connection_id="c", state={})], snapshot=True),
        ),
        (
            b'{"type":"invokeResponse","invocationId":"i","success":true,"x":%b,"y":%b,"z":%b}',
            wire.InvokeResponse(invocation_id="i", success=True),
        ),
    ],
)
def test_poison_elsewhere_costs_only_its_field(frame: bytes, raw: bytes, expected: wire.Downstream) -> None:
    assert decode(frame % (raw, raw, raw)) == expected


@pytest.mark.parametrize(
    ("fields", "data_type", "error", "raw"),
    [
        ('"dataType":"text","data":5', "text", "the text data cannot be decoded: Expected `str`, got `int`", b"5"),
        ('"dataType":"text","data":null', "text", "the text data cannot be decoded: Expected `str`", b"null"),
        ('"dataType":"text","data":["a"]', "text", "the text data cannot be decoded: Expected `str`", b'["a"]'),
        ('"dataType":"binary","data":"a"', "binary", "the binary data cannot be decoded: Invalid base64", b'"a"'),
        ('"dataType":"binary","data":"AQ"', "binary", "the binary data cannot be decoded: Invalid base64", b'"AQ"'),
        ('"dataType":"binary","data":"AQ==\\n"', "binary", "the binary data cannot be decoded", b'"AQ==\\n"'),
        ('"dataType":"binary","data":"_-8="', "binary", "the binary data cannot be decoded", b'"_-8="'),
        ('"dataType":"binary","data":[1]', "binary", "the binary data cannot be decoded: Expected `bytes`", b"[1]"),
        ('"dataType":"protobuf","data":{}', "protobuf", "the protobuf data cannot be decoded", b"{}"),
        ('"dataType":"cbor","data":"AQ=="', "cbor", "the data type 'cbor' is unknown", b'"AQ=="'),
        ('"dataType":"","data":1', "", "the data type '' is unknown", b"1"),
        ('"dataType":5,"data":1', "", "dataType is not a string", b"1"),
        ('"dataType":null,"data":1', "", "dataType is not a string", b"1"),
        ('"dataType":"text"', "text", "the message has no data", None),
        ('"sequenceId":null', "json", "the message has no data", None),
    ],
)
def test_a_wrong_payload_is_a_value_of_its_message(fields: str, data_type: str, error: str, raw: bytes | None) -> None:
    message = decode(b'{"type":"message","from":"server",%b}' % fields.encode())
    assert isinstance(message, ServerMessage)
    assert (message.data_type, message.data, message.raw) == (data_type, None, raw)
    assert message.data_error is not None
    assert message.data_error.startswith(error)


def test_a_long_data_type_is_not_repeated_in_full() -> None:
    message = decode(b'{"type":"message","from":"server","dataType":"%b","data":1}' % (b"x" * 1000))
    assert isinstance(message, ServerMessage)
    assert message.data_error == f"the data type '{'x' * 40}' is unknown"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ('"dataType":"json","data":null', ServerMessage(data=None)),
        ('"data":false', ServerMessage(data=False)),
        ('"dataType":"text","data":""', ServerMessage(data_type="text", data="")),
        ('"dataType":"binary","data":""', ServerMessage(data_type="binary", data=b"")),
        ('"dataType":"protobuf","data":"AQ=="', ServerMessage(data_type="protobuf", data=b"\x01")),
        ('"dataType":"binary","data":"aGk\\/"', ServerMessage(data_type="binary", data=b"hi?")),
        ('"data":18446744073709551616', ServerMessage(data=2**64)),
        ('"dataType":"text","metadata":{}', ServerMessage(data_type="text", metadata={})),
        ('"metadata":{"a":1},"data":1', ServerMessage(data=1)),
        # Our own fields are nothing that a frame can set.
        ('"data":1,"raw":"AQ==","dataError":"x","data_error":"x","sequence_id":5', ServerMessage(data=1)),
    ],
)
def test_payloads_and_metadata(fields: str, expected: ServerMessage) -> None:
    assert decode(b'{"type":"message","from":"server",%b}' % fields.encode()) == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("", GroupMessage(group="g", data=1)),
        ('"fromUserId":null', GroupMessage(group="g", data=1)),
        ('"fromUserId":""', GroupMessage(group="g", data=1)),
        ('"fromUserId":5', GroupMessage(group="g", data=1)),
        ('"fromUserId":"ann"', GroupMessage(group="g", data=1, from_user_id="ann")),
        ('"stream":null', GroupMessage(group="g", data=1)),
        ('"stream":{"streamId":5}', GroupMessage(group="g", data=1)),
        (
            '"stream":{"streamId":"s","streamSequenceId":2}',
            GroupMessage(group="g", data=1, stream=StreamInfo(stream_id="s", stream_sequence_id=2)),
        ),
    ],
)
@pytest.mark.parametrize("kind", ['"type":"message","from":"group"', '"from":"group","type":"message"'])
def test_senders_and_streams(kind: str, fields: str, expected: GroupMessage) -> None:
    fields = ",".join(filter(None, ['"group":"g","data":1', fields]))
    assert decode(f"{{{kind},{fields}}}".encode()) == expected


STREAM_ENDS: list[tuple[str, bool, StreamError | None]] = [
    ("", False, None),
    ('"endOfStream":null,"error":null', False, None),
    ('"endOfStream":true,"error":null', True, None),
    ('"endOfStream":true,"error":{}', True, StreamError()),
    ('"endOfStream":true,"error":7', True, StreamError()),
    ('"endOfStream":true,"error":{"name":null,"message":null,"userErrorCode":null}', True, StreamError()),
    ('"endOfStream":true,"error":{"name":"E","message":5,"more":[]}', True, StreamError(name="E")),
    ('"endOfStream":"yes"', False, None),
]


@pytest.mark.parametrize(("fields", "end", "error"), STREAM_ENDS)
def test_what_is_odd_in_a_fragment_costs_only_its_field(fields: str, end: bool, error: StreamError | None) -> None:
    stream = ",".join(filter(None, ['"streamId":"s","streamSequenceId":2', fields]))
    frame = f'{{"type":"message","from":"group","group":"g","data":1,"stream":{{{stream}}}}}'
    info = StreamInfo(stream_id="s", stream_sequence_id=2, end_of_stream=end, error=error)
    assert decode(frame.encode()) == GroupMessage(group="g", data=1, stream=info)


ITEMS: list[tuple[str, wire.GroupStateItem | None]] = [
    ('"connectionId":"c"', wire.GroupStateItem(connection_id="c")),
    (
        '"connectionId":"c","userId":null,"state":null,"updatedAt":3',
        wire.GroupStateItem(connection_id="c", updated_at=3),
    ),
    ('"connectionId":"c","userId":"","state":{}', wire.GroupStateItem(connection_id="c", state={})),
    (
        '"connectionId":"c","userId":5,"state":{"a":"b"},"updatedAt":"2026"',
        wire.GroupStateItem(connection_id="c", state={"a": "b"}),
    ),
    ('"connectionId":"c","state":{"a":1}', None),
    ('"connectionId":7,"state":{}', None),
    ('"state":{}', None),
]


@pytest.mark.parametrize(("fields", "item"), ITEMS)
def test_what_is_odd_in_a_state_costs_only_its_field(fields: str, item: wire.GroupStateItem | None) -> None:
    frame = f'{{"type":"groupStateUpdate","group":"g","items":[{{{fields}}},{{"connectionId":"d"}}]}}'
    items = [*([] if item is None else [item]), wire.GroupStateItem(connection_id="d")]
    assert decode(frame.encode()) == wire.GroupState(group="g", items=items, snapshot=False)


def test_the_end_of_a_stream_needs_no_payload() -> None:
    frame = (
        b'{"type":"message","from":"group","group":"g","sequenceId":9,"stream":{"streamId":"s","streamSequenceId":4,'
        b'"endOfStream":true,"error":{"name":"UserError","message":"m","userErrorCode":"c","more":1}}}'
    )
    assert decode(frame) == GroupMessage(
        group="g",
        sequence_id=9,
        stream=StreamInfo(
            stream_id="s",
            stream_sequence_id=4,
            end_of_stream=True,
            error=StreamError(name="UserError", message="m", user_error_code="c"),
        ),
    )


@pytest.mark.parametrize("sequence_id", [1, 2**63 - 1, 2**63, 2**64 - 1])
@pytest.mark.parametrize(
    "frame",
    [
        b'{"sequenceId":%d,"type":"message","from":"server","data":1}',
        b'{"type":"message","from":"server","data":1,"sequenceId":%d}',
        b'{"data":1,"from":"server","sequenceId":%d,"type":"message"}',
    ],
)
def test_sequence_ids(frame: bytes, sequence_id: int) -> None:
    assert decode(frame % sequence_id) == ServerMessage(data=1, sequence_id=sequence_id)


@pytest.mark.parametrize(
    "sequence_id",
    [
        "0",
        "-1",
        "18446744073709551616",
        "1180591620717411303424",
        "true",
        '"7"',
        "1.5",
        "1.0",
        "1e400",
        "[7]",
        "{}",
        '""',
    ],
)
@pytest.mark.parametrize(
    "frame",
    [
        '{"sequenceId":%s,"type":"message","from":"server","data":1}',
        '{"type":"message","from":"group","group":"g","data":1,"sequenceId":%s}',
        '{"type":"message","from":"nobody","sequenceId":%s}',
        '{"type":"groupStateUpdate","sequenceId":%s}',
    ],
)
def test_a_message_whose_sequence_id_is_unknown_cannot_be_read(frame: str, sequence_id: str) -> None:
    with pytest.raises(UnreadableFrame, match=r"^sequenceId is not a positive 64-bit integer$"):
        decode((frame % sequence_id).encode())


def unknown(type: str, sequence_id: int | None = None) -> wire.UnknownMessage:
    return wire.UnknownMessage(type=type, sequence_id=sequence_id)


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (b'{"type":"weather","sequenceId":7,"group":5}', unknown("weather", 7)),
        (b'{"type":""}', unknown("")),
        (b'{"type":"PONG"}', unknown("PONG")),
        (b'{"type":"system","event":"maintenance","sequenceId":8}', unknown("system", 8)),
        (b'{"type":"system"}', unknown("system")),
        (b'{"type":"system","event":7}', unknown("system")),
        (b'{"type":"message","from":"stars","data":1,"sequenceId":9}', unknown("message", 9)),
        (b'{"type":"message","data":1,"sequenceId":9}', unknown("message", 9)),
        (b'{"type":"message","from":"group","data":1,"sequenceId":9}', unknown("message", 9)),
        (b'{"sequenceId":9,"type":"message","from":"group","group":5,"data":1}', unknown("message", 9)),
        (rb'{"type":"message","from":"group","group":"\ud800","data":1,"sequenceId":9}', unknown("message", 9)),
        # What stands in a payload never passes for the envelope.
        (b'{"data":{"type":"message","from":"group","group":"g"},"type":"x","from":"group"}', unknown("x")),
        (b'{"sequenceId":1,"x":{"y":1,"type":"message","from":"group"},"type":"x","group":"g"}', unknown("x", 1)),
    ],
)
def test_what_is_unknown_is_passed_over_but_its_sequence_id_counts(frame: bytes, expected: wire.UnknownMessage) -> None:
    assert decode(frame) == expected


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (b'{"ackId":3,"success":true,"type":"ack"}', wire.Ack(3, True)),
        (b'{"type":"ack","ackId":3,"success":true,"error":null}', wire.Ack(3, True)),
        (b'{"type":"ack","ackId":3,"success":false}', wire.Ack(3, False)),
        (b'{"type":"ack","ackId":3,"success":false,"error":{}}', wire.Ack(3, False, wire.WireError())),
        (b'{"type":"ack","ackId":3,"success":false,"error":"no"}', wire.Ack(3, False, wire.WireError())),
        (
            b'{"type":"ack","ackId":3,"success":false,"error":{"name":"NewKind","message":null,"more":[1]}}',
            wire.Ack(3, False, wire.WireError("NewKind")),
        ),
        (
            b'{"type":"system","event":"connected","userId":"","connectionId":"c"}',
            wire.ConnectedMessage(connection_id="c"),
        ),
        (b'{"type":"system","event":"disconnected","message":null}', wire.DisconnectedMessage()),
        (
            b'{"type":"invokeResponse","invocationId":"i","success":true,"data":null}',
            wire.InvokeResponse(invocation_id="i", success=True, payload=wire.Payload("json", b"null")),
        ),
        (
            b'{"type":"invokeResponse","invocationId":"i","success":true,"dataType":"text","data":5}',
            wire.InvokeResponse(
                invocation_id="i",
                success=False,
                error=wire.WireError("InvalidPayload", "the text data cannot be decoded: Expected `str`, got `int`"),
            ),
        ),
    ],
)
def test_control_messages(frame: bytes, expected: wire.Downstream) -> None:
    assert decode(frame) == expected


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (b"", "not a JSON object"),
        (b" ", "not a JSON object"),
        (b"null", "not a JSON object"),
        (b"[]", "not a JSON object"),
        (b"hello", "not a JSON object"),
        (b"\xff\xfe", "not a JSON object"),
        (b'\xef\xbb\xbf{"type":"pong"}', "not a JSON object"),
        ('{"type":"pong"}'.encode("utf-16"), "not a JSON object"),
        (b'{"type":"pong"', "not a JSON object"),
        (b'{"type":"pong"}{}', "something follows the object"),
        (b'{"type":"message","from":"server","data":1,"sequenceId":7', "not a JSON object"),
        (b'["type":"message","from":"server","data":1]', "not a JSON object"),
        (b'{"type":"message","from":"server","data":"}', "not a JSON object"),
        (b'{"sequenceId":7}', "the frame has no type"),
        (b"{}", "the frame has no type"),
        (b'{"type":5}', "the frame has no type"),
        (rb'{"type":"\ud800"}', "the frame has no type"),
        (b'{"type":"ack","success":true}', "ackId is missing"),
        (b'{"type":"ack","ackId":"3","success":true}', "ackId is missing, or not what it should be"),
        (b'{"type":"ack","ackId":3,"success":"true"}', "success is missing"),
        (b'{"type":"system","event":"connected","reconnectionToken":"secret"}', "connectionId is missing"),
        (b'{"type":"system","event":"connected","connectionId":5}', "connectionId is missing"),
        (b'{"type":"invokeResponse","invocationId":"i"}', "success is missing"),
        (b'{"type":"invokeResponse","success":true}', "invocationId is missing"),
    ],
)
def test_unreadable_frames(frame: bytes, reason: str) -> None:
    with pytest.raises(UnreadableFrame, match=f"^{reason}"):
        decode(frame)


@pytest.mark.parametrize(
    "frame",
    [
        b'{"type":"system","event":"connected","connectionId":"c","reconnectionToken":"topsecret\xff',
        b'{"type":"system","event":"connected","reconnectionToken":"topsecret\xff"}',
        b'{"type":"message","from":"server","sequenceId":0,"reconnectionToken":"topsecret","data":"\xff"}',
    ],
)
def test_an_unreadable_frame_leaks_nothing(frame: bytes) -> None:
    with pytest.raises(UnreadableFrame) as caught:
        decode(frame)
    error: BaseException | None = caught.value
    while error is not None:
        assert "topsecret" not in repr(error) + repr(vars(error)) + repr(getattr(error, "object", ""))
        error = error.__context__


def test_frames_may_come_as_a_kind_of_bytes() -> None:
    class Frame(bytes):
        pass

    message = decode(Frame(b'{"type":"message","from":"server","dataType":"text","data":5}'))
    assert isinstance(message, ServerMessage)
    assert message.raw == b"5"
    assert decode(Frame(b'{"type":"message","from":"server","data":5}')) == ServerMessage(data=5)


FRAMES = [
    b'{"sequenceId":7,"type":"message","from":"group","group":"g","fromUserId":"ann","dataType":"json","data":{"a":[1]}}',
    b'{"type":"message","from":"group","fromUserId":null,"group":"g","dataType":"text","data":"h\xc3\xa9","sequenceId":8}',
    b'{"sequenceId":7,"type":"message","from":"server","dataType":"binary","data":"AQIDBA==","metadata":{"k":"v"}}',
    b'{"type":"message","from":"group","group":"g","dataType":"text","data":"","stream":{"streamId":"s","streamSequenceId":1}}',
    b'{"type":"ack","ackId":3,"success":false,"error":{"name":"Forbidden","message":"no"}}',
    b'{"type":"ack","ackId":4,"success":true}',
    b'{"type":"system","event":"connected","userId":"ann","connectionId":"c","reconnectionToken":"t"}',
    b'{"type":"system","event":"disconnected","message":"bye"}',
    b'{"type":"pong"}',
    b'{"type":"invokeResponse","invocationId":"i","success":true,"dataType":"json","data":1}',
    b'{"type":"groupStateUpdate","group":"g","items":[],"sequenceId":3}',
]


@pytest.mark.parametrize("frame", FRAMES)
def test_any_order_of_fields_and_any_unknown_field_give_the_same_message(frame: bytes) -> None:
    expected = decode(frame)
    fields = list(json.loads(frame).items())
    for seed in range(20):
        random.Random(seed).shuffle(fields)
        assert decode(json.dumps(dict(fields), indent=seed % 3 or None).encode()) == expected
        assert decode(json.dumps({"more": [{}], **dict(fields), "x": 1e300}).encode()) == expected


def survives(frame: bytes) -> None:
    with suppress(UnreadableFrame):
        decode(frame)


@given(st.binary())
def test_random_bytes_are_unreadable_at_worst(frame: bytes) -> None:
    survives(frame)


pieces = st.one_of(
    st.binary(max_size=3),
    st.sampled_from([b'"', b"{", b"}", b"[", b"]", b",", b":", b"\\", b"null", b"-1", b"1e999", rb'"\ud800"', b"\xff"]),
)


@given(st.sampled_from(FRAMES), st.lists(st.tuples(st.floats(0, 1), st.integers(0, 9), pieces), max_size=4))
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
