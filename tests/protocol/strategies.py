"""What travels, for tests of the codecs: any message of either side."""

from __future__ import annotations

from google.protobuf.any_pb2 import Any as AnyMessage
from hypothesis import strategies as st

from trio_webpubsub.protocol import wire
from trio_webpubsub.protocol.payloads import payload_of

texts = st.text(st.characters(codec="utf-8"))
ids = st.integers(0, 2**64 - 1)
metadata = st.none() | st.dictionaries(
    st.text("!#$%&'*+-.^_`|~09AZaz", min_size=1, max_size=256),
    st.text(st.characters(codec="ascii"), max_size=99),
    max_size=9,
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
typed_data = st.one_of(
    st.tuples(texts, st.just("text")),
    st.tuples(json_values, st.just("json")),
    st.tuples(st.binary(), st.just("binary")),
    st.tuples(
        st.builds(AnyMessage, type_url=texts, value=st.binary()).map(AnyMessage.SerializeToString), st.just("protobuf")
    ),
)
payloads = typed_data.map(lambda pair: payload_of(*pair))

stream_starts = st.builds(wire.StreamStart, texts, st.none() | st.integers(0, 2**32 - 1))
states = st.dictionaries(texts, texts, max_size=3)

upstream = st.one_of(
    st.builds(wire.JoinGroup, texts, st.none() | ids),
    st.builds(wire.LeaveGroup, texts, st.none() | ids),
    st.builds(
        wire.SendToGroup,
        group=texts,
        payload=payloads,
        ack_id=st.none() | ids,
        no_echo=st.booleans(),
        ttl_seconds=st.none() | st.integers(0, 300),
        metadata=metadata,
    ),
    st.builds(
        wire.SendEvent,
        event=texts,
        payload=payloads,
        ack_id=st.none() | ids,
        metadata=metadata,
        stream=st.none() | stream_starts,
    ),
    st.builds(
        wire.Invoke,
        invocation_id=texts,
        event=texts,
        payload=st.none() | payloads,
        metadata=metadata,
        stream=st.none() | stream_starts,
    ),
    st.builds(wire.OpenStream, group=texts, stream=stream_starts, no_echo=st.booleans()),
    st.builds(wire.StreamData, texts, ids, payloads),
    st.builds(wire.StreamData, texts),
    st.builds(wire.StreamEnd, texts, st.none() | st.builds(wire.StreamEndError, st.none() | texts, st.none() | texts)),
    st.builds(wire.SetGroupState, texts, st.none() | states, st.none() | ids),
    st.builds(wire.SubscribeGroupState, texts, st.none() | ids),
    st.builds(wire.UnsubscribeGroupState, texts, st.none() | ids),
    st.builds(wire.CancelInvocation, texts),
    st.builds(wire.SequenceAck, ids),
    st.just(wire.Ping()),
)

errors = st.none() | st.builds(wire.WireError, texts, texts)
control = st.one_of(
    st.builds(wire.Ack, st.integers(0, 2**64 - 1), st.booleans(), errors),
    st.just(wire.Pong()),
    st.builds(
        wire.ConnectedMessage,
        connection_id=texts.filter(bool),
        user_id=st.none() | texts.filter(bool),
        reconnection_token=st.none() | texts,
    ),
    st.builds(wire.DisconnectedMessage, st.none() | texts),
    st.builds(wire.StreamAck, texts, ids),
    st.builds(wire.StreamNack, texts, ids, texts, texts),
    st.builds(wire.StreamClosed, texts, errors),
    st.builds(
        wire.InvokeResponse,
        invocation_id=texts,
        success=st.booleans(),
        payload=st.none() | payloads,
        error=errors,
        metadata=metadata,
    ),
)
