"""What the service writes for each event, and what it makes of the answers."""

from __future__ import annotations

import json

import pytest

from tests.protocol.event_requests import KEY, ORIGIN, SIGNATURE
from trio_webpubsub.protocol.cloudevents import MAX_ANSWER_SIZE, signatures
from trio_webpubsub.protocol.cloudevents_service import (
    ConnectOverrides,
    EventReply,
    EventRequest,
    EventSource,
    HandlerFailure,
    event_url,
    is_validated,
    may_succeed_later,
    read_connect_answer,
    read_event_answer,
    read_notification_answer,
    write_connect,
    write_connected,
    write_disconnected,
    write_group_event,
    write_user_event,
    write_validation,
)
from trio_webpubsub.protocol.cloudevents_values import ClientCertificate
from trio_webpubsub.protocol.wire import Payload

SOURCE = EventSource(origin=ORIGIN, hub="chat", connection_id="conn-1", keys=[KEY])
TIME = 1_767_323_045.9
TEXT = ("Content-Type", "text/plain")


def headers_of(request: EventRequest) -> dict[str, str]:
    names = [name for name, _ in request.headers]
    assert len(names) == len(set(names))
    return {name.decode(): value.decode() for name, value in request.headers}


# Addresses


@pytest.mark.parametrize(
    ("template", "url"),
    [
        ("http://h/api", "http://h/api"),
        ("https://h:8443/{hub}/{event}?code=a%2Fb", "https://h:8443/chat%2F1/my%20event?code=a%2Fb"),
        ("HTTP://h/{Hub}-{EVENT}", "HTTP://h/chat%2F1-my%20event"),
        ("http://h?e={event}", "http://h?e=my%20event"),
    ],
)
def test_an_address_is_filled_in(template: str, url: str) -> None:
    assert event_url(template, hub="chat/1", event="my event") == url


@pytest.mark.parametrize(
    "template", ["http://{hub}.example/", "h/{hub}", "tunnel:///x", "http://h/{user}", "http:///x"]
)
def test_an_address_that_cannot_be_is_refused(template: str) -> None:
    with pytest.raises(ValueError, match="the address of an event handler"):
        event_url(template, hub="chat", event="x")


# Requests


def test_a_validation() -> None:
    headers = ((b"webhook-request-origin", ORIGIN.encode()), (b"ce-awpsversion", b"1.0"))
    assert write_validation(ORIGIN) == EventRequest("OPTIONS", headers)
    assert write_validation(ORIGIN, method="GET") == EventRequest("GET", headers)


def test_the_headers_of_an_event() -> None:
    request = write_connected(SOURCE, event_id=3, time=TIME)
    assert request.method == "POST"
    assert request.body == b"{}"
    assert headers_of(request) == {
        "content-type": "application/json; charset=utf-8",
        "webhook-request-origin": ORIGIN,
        "ce-specversion": "1.0",
        "ce-awpsversion": "1.0",
        "ce-type": "azure.webpubsub.sys.connected",
        "ce-source": "/hubs/chat/client/conn-1",
        "ce-id": "3",
        "ce-time": "2026-01-02T03:04:05Z",
        "ce-hub": "chat",
        "ce-connectionId": "conn-1",
        "ce-eventName": "connected",
        "ce-signature": SIGNATURE,
    }


def test_the_headers_that_not_every_event_has() -> None:
    source = EventSource(
        origin=ORIGIN,
        hub="chat",
        connection_id="conn-1",
        user_id="größe",
        subprotocol="json.webpubsub.azure.v1",
        state="abc",
        keys=[KEY, "second"],
    )
    headers = headers_of(write_disconnected(source, event_id=3, time=TIME))
    assert headers["ce-userId"] == "größe"
    assert headers["ce-subprotocol"] == "json.webpubsub.azure.v1"
    assert headers["ce-connectionState"] == "abc"
    assert headers["ce-signature"] == signatures([KEY, "second"], "conn-1")


def test_an_emptied_state_is_sent_and_no_state_is_not() -> None:
    emptied = EventSource(origin=ORIGIN, hub="chat", connection_id="conn-1", state="")
    assert headers_of(write_connected(emptied, event_id=1, time=TIME))["ce-connectionState"] == ""
    assert "ce-connectionState" not in headers_of(write_connected(SOURCE, event_id=1, time=TIME))


def test_without_keys_nothing_is_signed() -> None:
    source = EventSource(origin=ORIGIN, hub="chat", connection_id="conn-1")
    assert "ce-signature" not in headers_of(write_connected(source, event_id=1, time=TIME))


def test_keys_are_not_shown() -> None:
    assert repr(SOURCE) == "EventSource(hub='chat', connection_id='conn-1')"


@pytest.mark.parametrize("user_id", ["a\r\nce-hub: x", "a\x7f", "\x00"])
def test_what_no_header_holds_is_refused(user_id: str) -> None:
    source = EventSource(origin=ORIGIN, hub="chat", connection_id="conn-1", user_id=user_id)
    with pytest.raises(ValueError, match="control characters"):
        write_connected(source, event_id=1, time=TIME)


def test_a_connect_request() -> None:
    request = write_connect(
        SOURCE,
        time=TIME,
        claims={"sub": ["ann"]},
        query={"room": ["1"]},
        headers={"Host": ["h"]},
        subprotocols=["p"],
        client_certificates=[ClientCertificate(thumbprint="ab", content="PEM")],
    )
    headers = headers_of(request)
    assert (headers["ce-type"], headers["ce-eventName"], headers["ce-id"]) == (
        "azure.webpubsub.sys.connect",
        "connect",
        "0",
    )
    assert json.loads(request.body) == {
        "claims": {"sub": ["ann"]},
        "query": {"room": ["1"]},
        "headers": {"Host": ["h"]},
        "subprotocols": ["p"],
        "clientCertificates": [{"thumbprint": "ab", "content": "PEM"}],
    }


def test_a_disconnected_event_has_a_reason_or_null() -> None:
    assert write_disconnected(SOURCE, event_id=1, time=TIME, reason="gone").body == b'{"reason":"gone"}'
    assert write_disconnected(SOURCE, event_id=1, time=TIME).body == b'{"reason":null}'


def test_group_events() -> None:
    request = write_group_event(SOURCE, event_id=1, time=TIME, change="left", group="lobby")
    headers = headers_of(request)
    assert (headers["ce-type"], headers["ce-eventName"]) == ("azure.webpubsub.gp.left", "left")
    assert request.body == b'{"group":"lobby"}'


@pytest.mark.parametrize(
    ("payload", "content_type"),
    [
        (Payload("text", b"hi"), "text/plain; charset=utf-8"),
        (Payload("json", b"{}"), "application/json; charset=utf-8"),
        (Payload("binary", b"\xff"), "application/octet-stream"),
        (Payload("protobuf", b"\x0a"), "application/x-protobuf"),
    ],
)
def test_a_user_event_of_each_data_type(payload: Payload, content_type: str) -> None:
    request = write_user_event(SOURCE, event_id=1, time=TIME, event="my.order", payload=payload)
    headers = headers_of(request)
    assert (headers["content-type"], request.body) == (content_type, payload.body)
    assert (headers["ce-type"], headers["ce-eventName"]) == ("azure.webpubsub.user.my.order", "my.order")


def test_a_user_event_that_is_only_metadata() -> None:
    request = write_user_event(SOURCE, event_id=1, time=TIME, event="x", payload=None, metadata={"Key": "v"})
    assert request.body == b""
    assert headers_of(request)["x-webpubsub-metadata-key"] == "v"


# Answers


@pytest.mark.parametrize(
    ("status", "values", "good"),
    [
        (200, ["*"], True),
        (204, [ORIGIN.upper()], True),
        (200, ["a.example", ORIGIN], True),
        (200, [f"a.example, {ORIGIN}"], False),
        (200, ["a.example"], False),
        (200, [], False),
        (302, ["*"], False),
        (404, ["*"], False),
    ],
)
def test_a_validation_needs_success_and_a_line_for_the_origin(status: int, values: list[str], good: bool) -> None:
    assert is_validated(status, [("WebHook-Allowed-Origin", value) for value in values], ORIGIN) is good


@pytest.mark.parametrize(
    ("status", "again"), [(200, False), (302, False), (400, False), (408, True), (429, False), (500, True), (504, True)]
)
def test_some_failures_are_tried_again(status: int, again: bool) -> None:
    assert may_succeed_later(status) is again


def test_of_a_notification_only_the_success_counts() -> None:
    assert read_notification_answer(202) is None
    assert read_notification_answer(404) == HandlerFailure(
        kind="status", detail="the answer has the status 404", status=404
    )


@pytest.mark.parametrize(("status", "client_status"), [(401, 401), (404, 404), (302, 500), (500, 500), (503, 500)])
def test_a_refused_client_gets_the_handlers_own_refusal_only(status: int, client_status: int) -> None:
    failure = read_connect_answer(status, [], b'{"userId":"x"}')
    assert isinstance(failure, HandlerFailure)
    assert (failure.kind, failure.client_status) == ("status", client_status)


@pytest.mark.parametrize(
    ("body", "overrides"),
    [
        (b"", ConnectOverrides()),
        (b" null ", ConnectOverrides()),
        (b"{}", ConnectOverrides()),
        (b'{"userId":""}', ConnectOverrides(user_id="")),
        (b'{"USERID":"bob","Roles":[],"groups":[]}', ConnectOverrides(user_id="bob", roles=[])),
        (b'{"roles":null,"groups":null,"new":1}', ConnectOverrides()),
        (b'{"groups":["a"],"subprotocol":"p"}', ConnectOverrides(groups=["a"], subprotocol="p")),
    ],
)
def test_an_accepted_client(body: bytes, overrides: ConnectOverrides) -> None:
    assert read_connect_answer(200, [("content-type", "text/html")], body, offered=["p"]) == overrides


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b"\xff",
        b'{"userId":1}',
        b'{"roles":[null]}',
        b'{"groups":[""]}',
        b'{"subprotocol":"q"}',
        b'{"subprotocol":""}',
        b'{"x":' * 100_000,
    ],
)
def test_an_acceptance_that_cannot_be_is_a_failure(body: bytes) -> None:
    failure = read_connect_answer(200, [], body, offered=["p"])
    assert isinstance(failure, HandlerFailure)
    assert (failure.kind, failure.client_status) == ("body", 500)


@pytest.mark.parametrize(
    ("content_type", "payload"),
    [
        ("text/plain", Payload("text", b"x")),
        ("Application/JSON; charset=utf-8", Payload("json", b"1")),
        ("application/octet-stream", Payload("binary", b"x")),
        ("application/x-protobuf", Payload("protobuf", b"x")),
        (None, Payload("binary", b"x")),
    ],
)
def test_a_reply_is_what_its_content_type_says(content_type: str | None, payload: Payload) -> None:
    headers = [] if content_type is None else [("Content-Type", content_type)]
    assert read_event_answer(200, headers, payload.body) == EventReply(payload=payload)


@pytest.mark.parametrize("value", ["é", "x" * 1025])
def test_metadata_that_no_message_may_have_are_a_failure(value: str) -> None:
    failure = read_event_answer(200, [TEXT, ("x-webpubsub-metadata-a", value)], b"x")
    assert isinstance(failure, HandlerFailure)
    assert failure.kind == "metadata"


@pytest.mark.parametrize("data_type", ["text/plain", "application/json"])
def test_a_reply_in_another_charset_is_passed_on_in_utf_8(data_type: str) -> None:
    reply = read_event_answer(200, [("content-type", f"{data_type}; charset=UTF-16")], '"é"'.encode("utf-16"))
    assert isinstance(reply, EventReply)
    assert reply.payload is not None
    assert reply.payload.body == '"é"'.encode()


def test_an_empty_answer_is_no_reply_unless_it_has_metadata() -> None:
    assert read_event_answer(204, [], b"") == EventReply()
    assert read_event_answer(200, [TEXT], b"") == EventReply()
    assert read_event_answer(200, [("X-WebPubSub-Metadata-A", "1")], b"") == EventReply(
        payload=Payload("text", b""), metadata={"a": "1"}
    )


def test_the_last_metadata_counts_behind_its_last_comma() -> None:
    headers = [TEXT, ("x-webpubsub-metadata-a", "1"), ("X-WebPubSub-Metadata-A", "2, 3 ")]
    assert read_event_answer(200, headers, b"x") == EventReply(payload=Payload("text", b"x"), metadata={"a": "3"})


@pytest.mark.parametrize(
    ("headers", "state"),
    [([], None), ([("ce-connectionState", "")], ""), ([("CE-ConnectionState", "a"), ("ce-connectionstate", "b")], "b")],
)
def test_the_state_changes_where_an_answer_says_so(headers: list[tuple[str, str]], state: str | None) -> None:
    assert read_event_answer(200, headers, b"") == EventReply(state=state)
    assert read_connect_answer(200, headers, b"") == ConnectOverrides(state=state)


@pytest.mark.parametrize(
    ("status", "content_type", "body", "kind"),
    [
        (500, "text/plain", b"x", "status"),
        (300, "text/plain", b"x", "status"),
        (200, "text/html", b"x", "content type"),
        (200, "text/plain", b"x" * (MAX_ANSWER_SIZE + 1), "size"),
        (200, "text/plain", b"\xff", "body"),
        (200, "text/plain; charset=utf-16", b"x", "body"),
        (200, "text/plain; charset=klingon", b"x", "body"),
        (200, "application/json", b"{", "body"),
    ],
    ids=["refused", "redirected", "no message", "too large", "no UTF-8", "no UTF-16", "no charset", "no JSON"],
)
def test_a_failed_event(status: int, content_type: str, body: bytes, kind: str) -> None:
    failure = read_event_answer(status, [("content-type", content_type)], body)
    assert isinstance(failure, HandlerFailure)
    assert (failure.kind, failure.status) == (kind, status)
