"""What either side writes the other side reads, and what the bytes look like."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_webpubsub.protocol import wire
from trio_webpubsub.protocol.codec import Codec
from trio_webpubsub.protocol.json_codec import JSON, RELIABLE_JSON
from trio_webpubsub.protocol.messages import GroupMessage, ServerMessage, StreamError, StreamInfo
from trio_webpubsub.protocol.payloads import payload_of

from .strategies import control, metadata, texts, typed_data, upstream

TEXT = wire.Payload("text", "hé".encode())
EMPTY_TEXT = wire.Payload("text", b"")
NUMBERS = wire.Payload("json", b"[1, 2]")
BYTES = wire.Payload("binary", b"\x00\xff")


def test_the_two_codecs() -> None:
    codecs: list[Codec] = [JSON, RELIABLE_JSON]
    assert [(codec.subprotocol, codec.reliable, codec.binary) for codec in codecs] == [
        ("json.webpubsub.azure.v1", False, False),
        ("json.reliable.webpubsub.azure.v1", True, False),
    ]


LAST = StreamInfo(
    stream_id="s",
    stream_sequence_id=2,
    end_of_stream=True,
    error=StreamError(name="UserError", message="why", user_error_code="E"),
)

UPSTREAM: list[tuple[wire.Upstream, str]] = [
    (wire.JoinGroup("g"), '{"type":"joinGroup","group":"g"}'),
    (wire.JoinGroup("g", 0), '{"type":"joinGroup","group":"g","ackId":0}'),
    (wire.LeaveGroup('"\u2028', 2), '{"type":"leaveGroup","group":"\\"\u2028","ackId":2}'),
    (
        wire.SendToGroup(group="g", payload=TEXT),
        '{"type":"sendToGroup","group":"g","dataType":"text","data":"hé"}',
    ),
    (
        wire.SendToGroup(
            group="g", payload=NUMBERS, ack_id=2**64 - 1, no_echo=True, ttl_seconds=0, metadata={"k": "v"}
        ),
        (
            '{"type":"sendToGroup","group":"g","ackId":18446744073709551615,"noEcho":true,"ttlSeconds":0,'
            '"metadata":{"k":"v"},"dataType":"json","data":[1, 2]}'
        ),
    ),
    (
        wire.SendToGroup(group="g", payload=wire.Payload("protobuf", b"\x01"), metadata={}),
        '{"type":"sendToGroup","group":"g","metadata":{},"dataType":"protobuf","data":"AQ=="}',
    ),
    (
        wire.SendEvent(event="e", payload=BYTES, ack_id=3, metadata={"k": "v"}),
        '{"type":"event","event":"e","ackId":3,"metadata":{"k":"v"},"dataType":"binary","data":"AP8="}',
    ),
    (
        wire.SendEvent(event="e", payload=EMPTY_TEXT),
        '{"type":"event","event":"e","dataType":"text","data":""}',
    ),
    (
        wire.Invoke(invocation_id="i", event="e"),
        '{"type":"invoke","target":"event","event":"e","invocationId":"i"}',
    ),
    (
        wire.Invoke(invocation_id="i", event="e", payload=NUMBERS, metadata={"k": "v"}),
        (
            '{"type":"invoke","target":"event","event":"e","invocationId":"i","metadata":{"k":"v"},'
            '"dataType":"json","data":[1, 2]}'
        ),
    ),
    (wire.CancelInvocation("i"), '{"type":"cancelInvocation","invocationId":"i"}'),
    (
        wire.SendEvent(event="e", payload=TEXT, stream=wire.StreamStart("s")),
        '{"type":"event","event":"e","dataType":"text","data":"hé","stream":{"streamId":"s"}}',
    ),
    (
        wire.Invoke(invocation_id="i", event="e", stream=wire.StreamStart("s", 7)),
        '{"type":"invoke","target":"event","event":"e","invocationId":"i","stream":{"streamId":"s","idleTimeoutMs":7}}',
    ),
    (
        wire.OpenStream(group="g", stream=wire.StreamStart("s", 60000), no_echo=True),
        '{"type":"sendToGroup","group":"g","noEcho":true,"stream":{"streamId":"s","idleTimeoutMs":60000}}',
    ),
    (
        wire.StreamData("s", 2**64 - 1, TEXT),
        '{"type":"streamData","streamId":"s","streamSequenceId":18446744073709551615,"dataType":"text","data":"hé"}',
    ),
    (wire.StreamData("s"), '{"type":"streamData","streamId":"s"}'),
    (wire.StreamEnd("s"), '{"type":"streamEnd","streamId":"s"}'),
    (wire.StreamEnd("s", wire.StreamEndError()), '{"type":"streamEnd","error":{},"streamId":"s"}'),
    (
        wire.StreamEnd("s", wire.StreamEndError("why", "E")),
        '{"type":"streamEnd","error":{"message":"why","userErrorCode":"E"},"streamId":"s"}',
    ),
    (
        wire.SetGroupState("g", {"status": "typing"}, 9),
        '{"type":"setGroupState","group":"g","ackId":9,"state":{"status":"typing"}}',
    ),
    (wire.SetGroupState("g"), '{"type":"setGroupState","group":"g"}'),
    (wire.SetGroupState("g", {}), '{"type":"setGroupState","group":"g","state":{}}'),
    (wire.SubscribeGroupState("g", 1), '{"type":"subscribeGroupState","group":"g","ackId":1}'),
    (wire.UnsubscribeGroupState("g", 2), '{"type":"unsubscribeGroupState","group":"g","ackId":2}'),
    (wire.SequenceAck(118), '{"type":"sequenceAck","sequenceId":118}'),
    (wire.Ping(), '{"type":"ping"}'),
]


@pytest.mark.parametrize(("message", "frame"), UPSTREAM)
def test_what_a_client_writes(message: wire.Upstream, frame: str) -> None:
    assert RELIABLE_JSON.encode_upstream(message) == frame.encode()
    assert RELIABLE_JSON.decode_upstream(frame.encode()) == message


CONTROL: list[tuple[wire.Control, str]] = [
    (wire.Ack(1, True), '{"type":"ack","ackId":1,"success":true}'),
    (
        wire.Ack(3, False, wire.WireError("Duplicate", "")),
        '{"type":"ack","ackId":3,"success":false,"error":{"name":"Duplicate","message":""}}',
    ),
    (wire.Pong(), '{"type":"pong"}'),
    (
        wire.ConnectedMessage(connection_id="c", user_id="ann", reconnection_token="t"),
        '{"type":"system","event":"connected","userId":"ann","connectionId":"c","reconnectionToken":"t"}',
    ),
    (
        wire.ConnectedMessage(connection_id="c"),
        '{"type":"system","event":"connected","userId":null,"connectionId":"c"}',
    ),
    (wire.DisconnectedMessage("bye"), '{"type":"system","event":"disconnected","message":"bye"}'),
    (wire.DisconnectedMessage(), '{"type":"system","event":"disconnected"}'),
    (
        wire.InvokeResponse(invocation_id="i", success=True, payload=NUMBERS, metadata={}),
        '{"type":"invokeResponse","invocationId":"i","success":true,"metadata":{},"dataType":"json","data":[1, 2]}',
    ),
    (
        wire.InvokeResponse(invocation_id="i", success=True, payload=TEXT),
        '{"type":"invokeResponse","invocationId":"i","success":true,"dataType":"text","data":"hé"}',
    ),
    (
        wire.InvokeResponse(invocation_id="i", success=True, payload=BYTES),
        '{"type":"invokeResponse","invocationId":"i","success":true,"dataType":"binary","data":"AP8="}',
    ),
    (
        wire.InvokeResponse(invocation_id="i", success=False, error=wire.WireError("Bad", "no")),
        '{"type":"invokeResponse","invocationId":"i","success":false,"error":{"name":"Bad","message":"no"}}',
    ),
    (
        wire.InvokeResponse(invocation_id="i", success=True),
        '{"type":"invokeResponse","invocationId":"i","success":true}',
    ),
    (wire.StreamAck("s", 3), '{"type":"streamAck","streamId":"s","expectedSequenceId":3}'),
    (
        wire.StreamNack("s", 3, "TransientError", "later"),
        '{"type":"streamNack","message":"later","streamId":"s","expectedSequenceId":3,"name":"TransientError"}',
    ),
    (wire.StreamClosed("s"), '{"type":"streamClosed","streamId":"s"}'),
    (
        wire.StreamClosed("s", wire.WireError("Forbidden", "no")),
        '{"type":"streamClosed","error":{"name":"Forbidden","message":"no"},"streamId":"s"}',
    ),
]


@pytest.mark.parametrize(("message", "frame"), CONTROL)
def test_what_the_service_writes_to_one_client(message: wire.Control, frame: str) -> None:
    assert RELIABLE_JSON.encode_control(message) == frame.encode()
    assert RELIABLE_JSON.decode_downstream(frame.encode()) == message


@pytest.mark.parametrize(
    ("message", "frame", "read"),
    [
        (
            wire.DataMessage(payload=TEXT, group="g", from_user_id="ann"),
            '{"type":"message","from":"group","group":"g","fromUserId":"ann","dataType":"text","data":"hé"}',
            GroupMessage(group="g", from_user_id="ann", data_type="text", data="hé"),
        ),
        (
            wire.DataMessage(payload=NUMBERS, group="g"),
            '{"type":"message","from":"group","group":"g","fromUserId":null,"dataType":"json","data":[1, 2]}',
            GroupMessage(group="g", data=[1, 2]),
        ),
        (
            wire.DataMessage(payload=BYTES, metadata={"k": "v"}),
            '{"type":"message","from":"server","metadata":{"k":"v"},"dataType":"binary","data":"AP8="}',
            ServerMessage(data_type="binary", data=b"\x00\xff", metadata={"k": "v"}),
        ),
        (
            wire.DataMessage(
                payload=TEXT, group="g", from_user_id="ann", stream=StreamInfo(stream_id="s", stream_sequence_id=1)
            ),
            (
                '{"type":"message","from":"group","group":"g","fromUserId":"ann","dataType":"text","data":"hé",'
                '"stream":{"streamId":"s","streamSequenceId":1}}'
            ),
            GroupMessage(
                group="g",
                from_user_id="ann",
                data_type="text",
                data="hé",
                stream=StreamInfo(stream_id="s", stream_sequence_id=1),
            ),
        ),
        (
            wire.DataMessage(payload=EMPTY_TEXT, group="g", stream=LAST),
            (
                '{"type":"message","from":"group","group":"g","fromUserId":null,"dataType":"text","data":"","stream":{'
                '"streamId":"s","streamSequenceId":2,"endOfStream":true,"error":{"name":"UserError","message":"why",'
                '"userErrorCode":"E"}}}'
            ),
            GroupMessage(group="g", data_type="text", data="", stream=LAST),
        ),
        (
            wire.GroupState(
                group="g",
                items=[
                    wire.GroupStateItem(connection_id="c", user_id="ann", state={"a": "b"}, updated_at=7),
                    wire.GroupStateItem(connection_id="d", updated_at=8),
                ],
                snapshot=True,
            ),
            (
                '{"type":"groupStateSnapshot","group":"g","items":[{"connectionId":"c","userId":"ann","state":{"a":"b"},'
                '"updatedAt":7},{"connectionId":"d","updatedAt":8}]}'
            ),
            None,
        ),
        (
            wire.GroupState(group="g", items=[], snapshot=False),
            '{"type":"groupStateUpdate","group":"g","items":[]}',
            None,
        ),
    ],
)
def test_what_the_service_writes_to_many(
    message: wire.Numbered, frame: str, read: GroupMessage | ServerMessage | None
) -> None:
    assert JSON.encode_data(message) == frame.encode()
    assert JSON.decode_downstream(frame.encode()) == (read or message)


def test_the_sequence_id_comes_first() -> None:
    frame = RELIABLE_JSON.encode_data(wire.DataMessage(payload=NUMBERS))
    expected = b'{"sequenceId":120,"type":"message","from":"server","dataType":"json","data":[1, 2]}'
    assert RELIABLE_JSON.with_sequence_id(frame, 120) == expected


def test_states_have_sequence_ids_too() -> None:
    message = wire.GroupState(group="g", items=[], snapshot=True)
    frame = RELIABLE_JSON.with_sequence_id(RELIABLE_JSON.encode_data(message), 120)
    assert RELIABLE_JSON.decode_downstream(frame) == msgspec.structs.replace(message, sequence_id=120)


def test_a_name_that_is_not_unicode_cannot_be_written() -> None:
    with pytest.raises(ValueError, match="surrogates not allowed"):
        JSON.encode_upstream(wire.JoinGroup("\ud800"))


@given(upstream)
def test_the_service_reads_what_a_client_writes(message: wire.Upstream) -> None:
    assert JSON.decode_upstream(JSON.encode_upstream(message)) == message


@given(control)
def test_a_client_reads_what_the_service_writes(message: wire.Control) -> None:
    assert JSON.decode_downstream(JSON.encode_control(message)) == message


@given(typed_data, st.none() | texts, st.none() | texts.filter(bool), metadata, st.none() | st.integers(1, 2**64 - 1))
def test_a_message_reaches_a_client_as_it_was_sent(
    data: tuple[object, str],
    group: str | None,
    user_id: str | None,
    metadata: dict[str, str] | None,
    sequence_id: int | None,
) -> None:
    frame = RELIABLE_JSON.encode_data(
        wire.DataMessage(payload=payload_of(*data), group=group, from_user_id=user_id, metadata=metadata)
    )
    if sequence_id is not None:
        frame = RELIABLE_JSON.with_sequence_id(frame, sequence_id)
    message = RELIABLE_JSON.decode_downstream(frame)
    if group is None:
        expected: wire.Downstream = ServerMessage(
            data=data[0], data_type=data[1], metadata=metadata, sequence_id=sequence_id
        )
    else:
        expected = GroupMessage(
            group=group,
            from_user_id=user_id,
            data=data[0],
            data_type=data[1],
            metadata=metadata,
            sequence_id=sequence_id,
        )
    assert message == expected


# Many frames at once


def frames_of(*messages: GroupMessage | ServerMessage) -> list[bytes]:
    """Frames that differ in everything that may differ, in the order of fields that the service uses."""
    return [
        b'{"sequenceId":%d,"type":"message","from":"%s"%s,"dataType":"%s","data":%s}'
        % (
            message.sequence_id or 1,
            b"group" if isinstance(message, GroupMessage) else b"server",
            b',"group":"%s"' % message.group.encode() if isinstance(message, GroupMessage) else b"",
            message.data_type.encode(),
            msgspec.json.encode(message.data),
        )
        for message in messages
    ]


USUAL = (
    GroupMessage(group="g", data="hé", data_type="text", sequence_id=1),
    ServerMessage(data={"type": "message"}, data_type="json", sequence_id=2),
    GroupMessage(group="h", data=b"\x00\xff", data_type="binary", sequence_id=3),
    ServerMessage(data=b"any", data_type="protobuf", sequence_id=4),
)


def test_usual_messages_are_read_in_one_step_as_each_is_by_itself() -> None:
    for usual in USUAL, USUAL * 5, USUAL[:1] * 5:
        frames = frames_of(*usual)
        assert RELIABLE_JSON.decode_messages(frames) == list(usual)
        assert [RELIABLE_JSON.decode_downstream(frame) for frame in frames] == list(usual)


@pytest.mark.parametrize(
    "frame",
    [
        b'{"type":"pong"}',
        b'{"type":"ack","ackId":1,"success":true}',
        b'{"sequenceId":9,"type":"message","from":"group","group":"g","dataType":"text","data":7}',
        b'{"sequenceId":9,"type":"message","from":"group","group":"g","dataType":"json"}',
        b'{"sequenceId":9,"type":"message","from":"group","group":"g","dataType":"json","data":null}',
        b'{"sequenceId":9,"type":"message","from":"group","group":"g","dataType":"binary","data":"?"}',
        b'{"sequenceId":9,"type":"message","from":"group","group":"g","dataType":"news","data":1}',
        b'{"sequenceId":0,"type":"message","from":"server","dataType":"text","data":"x"}',
        b'{"sequenceId":9,"type":"message","from":"server","dataType":"text","data":"x"',
        b'{"sequenceId":9,"type":"message","from":"server","dataType":"text","data":"\xff"}',
        b'{"sequenceId":9,"type":"message","from":"somebody","dataType":"text","data":"x"}',
        b"",
    ],
)
def test_one_frame_that_needs_a_look_of_its_own_has_all_looked_at(frame: bytes) -> None:
    few, many = frames_of(*USUAL), frames_of(*USUAL * 5)
    for frames in ([frame, *few], [*few, frame], [frame, *many], [*many, frame]):
        assert RELIABLE_JSON.decode_messages(frames) is None


def test_two_frames_that_are_one_message_together_are_no_messages() -> None:
    whole = b'{"sequenceId":9,"type":"message","from":"server","metadata":{"type":"message","from":"x"},"data":1}'
    cut = whole.index(b'{"type":"message","from":"x"')
    for others in [], frames_of(*USUAL * 5):
        assert RELIABLE_JSON.decode_messages([whole[:cut], whole[cut:], *others]) is None
