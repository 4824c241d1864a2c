"""What the service writes, the handler reads, and the other way round."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.protocol.strategies import json_values, payloads, texts
from trio_webpubsub.protocol import cloudevents_service as service
from trio_webpubsub.protocol.cloudevents_gate import EventGate, EventHead, header_text
from trio_webpubsub.protocol.cloudevents_handler import answer_connect, answer_event, read_event
from trio_webpubsub.protocol.cloudevents_values import (
    Accept,
    ClientCertificate,
    ConnectedEvent,
    ConnectRequest,
    DisconnectedEvent,
    Event,
    GroupEvent,
    Reply,
    UserEvent,
)
from trio_webpubsub.protocol.payloads import data_of, payload_of
from trio_webpubsub.protocol.wire import Payload

tokens = st.text("abcXYZ019._-", min_size=1, max_size=20)
visible = st.text(st.characters(codec="ascii", categories=["L", "N", "P", "S"]), max_size=20)
header_texts = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=20)
lists = st.dictionaries(texts, st.lists(texts, max_size=3), max_size=3)
keys = st.lists(texts.filter(lambda key: key and key == key.strip()), min_size=1, max_size=2)
metadata = st.dictionaries(tokens.map(str.lower), visible, max_size=3)

sources = st.builds(
    service.EventSource,
    origin=tokens,
    hub=st.just("chat"),
    connection_id=header_texts,
    user_id=st.none() | header_texts,
    subprotocol=st.none() | tokens,
    state=st.none() | visible,
    keys=keys,
)
times = st.integers(0, 2**33)
numbers = st.integers(1, 2**63)


def received(source: service.EventSource, request: service.EventRequest) -> Event:
    """Take a request in as the handler's side does."""
    gate = EventGate("CHAT", access_keys=[source.keys[-1]], allowed_origins=[source.origin])
    head = gate.enter(request.method, {name.decode().lower(): header_text(value) for name, value in request.headers})
    assert isinstance(head, EventHead)
    return read_event(head, request.body)


def check_common(source: service.EventSource, event: Event, number: int, time: int) -> None:
    assert (event.origin, event.hub, event.connection_id) == (source.origin, source.hub, source.connection_id)
    assert (event.user_id, event.subprotocol) == (source.user_id, source.subprotocol)
    assert (event.state.raw, event.event_id) == (source.state, str(number))
    assert event.time == datetime.fromtimestamp(time, UTC)


@given(sources, times, lists, lists, lists, st.lists(texts, max_size=3), st.lists(st.tuples(texts, texts), max_size=2))
def test_connect(
    source: service.EventSource,
    time: int,
    claims: Mapping[str, Sequence[str]],
    query: Mapping[str, Sequence[str]],
    headers: Mapping[str, Sequence[str]],
    subprotocols: Sequence[str],
    certificates: Sequence[tuple[str, str]],
) -> None:
    request = service.write_connect(
        source,
        time=time,
        claims=claims,
        query=query,
        headers=headers,
        subprotocols=subprotocols,
        client_certificates=[ClientCertificate(thumbprint=each, content=content) for each, content in certificates],
    )
    event = received(source, request)
    assert isinstance(event, ConnectRequest)
    check_common(source, event, 0, time)
    assert (event.claims, event.query, event.headers) == (claims, query, headers)
    assert event.subprotocols == subprotocols
    assert [(each.thumbprint, each.content) for each in event.client_certificates] == certificates


@given(sources, times, numbers, st.none() | texts, texts.filter(bool))
def test_notifications(source: service.EventSource, time: int, number: int, reason: str | None, group: str) -> None:
    connected = received(source, service.write_connected(source, event_id=number, time=time))
    assert isinstance(connected, ConnectedEvent)
    check_common(source, connected, number, time)
    ended = received(source, service.write_disconnected(source, event_id=number, time=time, reason=reason))
    assert isinstance(ended, DisconnectedEvent)
    assert ended.reason == (reason or "")
    joined = service.write_group_event(source, event_id=number, time=time, change="joined", group=group)
    event = received(source, joined)
    assert isinstance(event, GroupEvent)
    assert event.group == group


@given(sources, times, numbers, tokens, st.none() | payloads, metadata)
def test_user_events(
    source: service.EventSource,
    time: int,
    number: int,
    name: str,
    payload: Payload | None,
    attached: Mapping[str, str],
) -> None:
    request = service.write_user_event(
        source, event_id=number, time=time, event=name, payload=payload, metadata=attached
    )
    event = received(source, request)
    assert isinstance(event, UserEvent)
    check_common(source, event, number, time)
    assert (event.name, event.metadata) == (name, attached)
    if payload is not None:
        assert (event.data_type, event.data, event.data_error) == (payload.data_type, data_of(payload), None)
    else:
        assert event.data == ""


def accepting(source: service.EventSource, offered: Sequence[str]) -> ConnectRequest:
    request = service.write_connect(source, time=0, claims={}, query={}, headers={}, subprotocols=offered)
    event = received(source, request)
    assert isinstance(event, ConnectRequest)
    return event


@given(
    sources,
    st.none() | texts,
    st.none() | st.lists(texts.filter(bool), max_size=3),
    st.none() | st.lists(tokens, max_size=3),
    st.booleans(),
    st.dictionaries(texts, json_values, max_size=3),
)
def test_an_accepted_client(
    source: service.EventSource,
    user_id: str | None,
    roles: list[str] | None,
    groups: list[str] | None,
    chooses: bool,
    state: dict[str, Any],
) -> None:
    event = accepting(source, ["p", "q"])
    event.state.update(state)
    stored = event.state.change()
    accept = Accept(user_id=user_id, roles=roles, groups=groups, subprotocol="q" if chooses else None)
    answer = answer_connect(event, accept)
    assert service.read_connect_answer(
        answer.status, answer.headers, answer.body, offered=["p", "q"]
    ) == service.ConnectOverrides(
        user_id=user_id, roles=roles, groups=groups or None, subprotocol="q" if chooses else None, state=stored
    )


@given(sources, texts | st.binary() | json_values, metadata)
def test_a_reply(source: service.EventSource, data: Any, attached: dict[str, str]) -> None:
    request = service.write_user_event(source, event_id=1, time=0, event="x", payload=None)
    event = received(source, request)
    assert isinstance(event, UserEvent)
    event.state["data"] = str(data)
    attached = {key: value for key, value in attached.items() if "," not in value}  # which the service would cut
    answer = answer_event(event, Reply(data, metadata=attached))
    reply = service.read_event_answer(answer.status, answer.headers, answer.body)
    assert isinstance(reply, service.EventReply)
    assert (reply.metadata, reply.state) == (attached or None, event.state.change())
    if data is None or len(data_bytes := payload_of(data).body) == 0:
        assert reply.payload == (Payload("text", b"") if attached else None)
    else:
        assert reply.payload == Payload(payload_of(data).data_type, data_bytes)
