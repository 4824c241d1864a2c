"""What a handler gets to see of each kind of event, and what the service gets as its answer."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from tests.protocol.event_requests import MQTT, ORIGIN, connect_request, content_of, event, header, user_event
from trio_webpubsub.protocol.cloudevents import MAX_ANSWER_SIZE, HttpAnswer
from trio_webpubsub.protocol.cloudevents_gate import RequestRefused
from trio_webpubsub.protocol.cloudevents_handler import answer_connect, answer_event, answer_rejection
from trio_webpubsub.protocol.cloudevents_mqtt import MqttConnect, MqttDisconnect, MqttMessage, MqttSession
from trio_webpubsub.protocol.cloudevents_values import (
    Accept,
    ClientCertificate,
    ConnectedEvent,
    ConnectRequest,
    DisconnectedEvent,
    GroupJoinedEvent,
    GroupLeftEvent,
    Reject,
    Reply,
)
from trio_webpubsub.protocol.errors import EventRejected, InvalidPayload

JSON = ("content-type", "application/json; charset=utf-8")
TEXT = ("content-type", "text/plain; charset=utf-8")
STATE = base64.b64encode(b'{"n":1}').decode()

CONNECT = {
    "claims": {"sub": ["ann"], "role": ["webpubsub.sendToGroup", "webpubsub.joinLeaveGroup"], "aud": "one"},
    "query": {"room": ["1", "2"], "empty": None},
    "headers": {"X-Forwarded-For": ["10.0.0.1"]},
    "subprotocols": ["json.webpubsub.azure.v1", "other"],
    "clientCertificates": [{"thumbprint": "ab12", "content": "-----BEGIN CERTIFICATE-----", "new": 1}],
    "new": {"of": ["tomorrow"]},
}


# What every event says


def test_the_attributes_of_an_event() -> None:
    read = user_event(ce_subprotocol="json.webpubsub.azure.v1", ce_connectionstate=STATE, ce_hub="Chat")
    assert (read.hub, read.connection_id, read.user_id, read.event_id) == ("Chat", "conn-1", "ann", "7")
    assert read.time == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert (read.origin, read.subprotocol, dict(read.state)) == (ORIGIN, "json.webpubsub.azure.v1", {"n": 1})
    assert read.request_headers["ce-source"] == "/hubs/chat/client/conn-1"
    assert read.mqtt is None


def test_what_is_absent_is_none() -> None:
    read = user_event(ce_userid="", ce_id=None, ce_time=None, ce_subprotocol="")
    assert (read.user_id, read.event_id, read.time, read.subprotocol) == (None, "", None, None)
    assert read.state.raw is None


def test_a_user_id_is_any_text() -> None:
    assert user_event(ce_userid="größe, 😀").user_id == "größe, 😀"


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2026-01-02T04:04:05+01:00", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026-01-02T03:04:05", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("yesterday", None),
        ("0001-01-01T00:00:00+23:00", None),
    ],
)
def test_a_time_that_cannot_be_read_is_no_error(text: str, time: datetime | None) -> None:
    assert user_event(ce_time=text).time == time


# Connect


def test_a_connect_request_says_all_of_the_client() -> None:
    request = connect_request(CONNECT)
    assert request.claims == {
        "sub": ["ann"],
        "role": ["webpubsub.sendToGroup", "webpubsub.joinLeaveGroup"],
        "aud": ["one"],
    }
    assert request.query == {"room": ["1", "2"], "empty": []}
    assert request.headers == {"X-Forwarded-For": ["10.0.0.1"]}
    assert request.subprotocols == ["json.webpubsub.azure.v1", "other"]
    assert request.client_certificates == [
        ClientCertificate(thumbprint="ab12", content="-----BEGIN CERTIFICATE-----"),
    ]


@pytest.mark.parametrize("content", [{}, dict.fromkeys(CONNECT)])
def test_a_connect_request_may_say_nothing(content: dict[str, Any]) -> None:
    request = connect_request(content)
    assert (request.claims, request.query, request.headers) == ({}, {}, {})
    assert (request.subprotocols, request.client_certificates) == ([], [])


def test_null_stands_for_nothing_said() -> None:
    for body in (b"null", b" null\n", b"", b"{}"):
        said_nothing = event("azure.webpubsub.sys.connect", body)
        assert isinstance(said_nothing, ConnectRequest)
        assert (said_nothing.claims, said_nothing.subprotocols) == ({}, [])
    request = connect_request({"clientCertificates": [{"thumbprint": "ab12", "content": None}]})
    assert request.client_certificates == [ClientCertificate(thumbprint="ab12")]
    properties = [{"name": "a", "value": None}]
    nothing = dict.fromkeys(("protocolVersion", "username", "password", "cleanStart"))
    mqtt = connect_request({"mqtt": {"userProperties": properties, **nothing}}, **MQTT).mqtt
    assert mqtt is not None
    assert (mqtt.protocol_version, mqtt.username, mqtt.clean_start) == (5, None, None)
    assert mqtt.user_properties == (("a", ""),)
    end = b'{"mqtt": {"initiatedByClient": null, "disconnectPacket": null}}'
    left = event("azure.webpubsub.sys.disconnected", end, **MQTT).mqtt
    assert isinstance(left, MqttDisconnect)
    assert (left.initiated_by_client, left.code, left.user_properties) == (False, None, ())


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        *((kind, body) for kind in ("sys.connect", "sys.disconnected", "gp.left") for body in (b"[]", b"{", b"\xff")),
        ("sys.connect", b'{"x":' * 100_000),
        ("sys.connect", b'{"claims": 1}'),
        ("sys.connect", b'{"subprotocols": [null]}'),
        ("sys.disconnected", b'{"reason": 1}'),
        ("gp.joined", b'{"group": []}'),
    ],
)
def test_a_body_that_is_something_else_is_refused(kind: str, body: bytes) -> None:
    with pytest.raises(RequestRefused, match="the body is not what the event has") as caught:
        event(f"azure.webpubsub.{kind}", body)
    assert caught.value.answer.status == 400


def test_what_a_client_says_of_itself_is_in_no_repr() -> None:
    request = connect_request(CONNECT, authorization="Bearer secret")
    assert repr(request) == "<ConnectRequest of connection 'conn-1' to hub 'chat'>"
    assert repr(user_event(b'"secret"')) == "<UserEvent 'order' of connection 'conn-1' to hub 'chat'>"


def test_no_reply_accepts_a_client_as_its_token_says() -> None:
    assert answer_connect(connect_request(), None) == HttpAnswer(204)
    assert answer_connect(connect_request(), Accept()) == HttpAnswer(204)


def test_accepting_a_client_with_changes() -> None:
    accept = Accept(user_id="bob", groups=["lobby"], roles=("webpubsub.sendToGroup",), subprotocol="other")
    answer = answer_connect(connect_request(CONNECT), accept)
    assert answer.status == 200
    assert content_of(answer) == {
        "userId": "bob",
        "groups": ["lobby"],
        "roles": ["webpubsub.sendToGroup"],
        "subprotocol": "other",
    }


def test_nobody_and_no_roles_are_changes_too() -> None:
    answer = answer_connect(connect_request(), Accept(user_id="", roles=[], groups=[]))
    assert content_of(answer) == {"userId": "", "roles": [], "groups": []}


def test_a_subprotocol_that_was_not_offered_cannot_be_chosen() -> None:
    with pytest.raises(ValueError, match="did not offer the subprotocol 'json'"):
        answer_connect(connect_request(CONNECT), Accept(subprotocol="json"))


def test_replies_that_cannot_be_are_refused_where_they_are_made() -> None:
    wrong: Any = 3
    for text in ("", "a\nb"):
        with pytest.raises(ValueError, match="cannot be a group name"):
            Accept(groups=[text])
    with pytest.raises(ValueError, match="a role cannot be empty"):
        Accept(roles=[""])
    with pytest.raises(ValueError, match="lone surrogate"):
        Accept(user_id="\ud800")
    properties: Any = {"a": "b"}
    with pytest.raises(TypeError, match="mqtt_user_properties are pairs"):
        Accept(mqtt_user_properties=properties)
    with pytest.raises(TypeError, match="groups takes several"):
        Accept(groups="lobby")
    with pytest.raises(TypeError, match="a subprotocol is a str, not int"):
        Accept(subprotocol=wrong)
    with pytest.raises(TypeError, match="value of an MQTT property"):
        Accept(mqtt_user_properties=[("a", wrong)])
    for status in (200, 302, 600):
        with pytest.raises(ValueError, match=f"not {status}"):
            Reject(status)
        with pytest.raises(ValueError, match=f"not {status}"):
            EventRejected(status)


def test_rejecting_a_client() -> None:
    assert answer_connect(connect_request(), Reject(403, "Not today.")) == HttpAnswer(403, (TEXT,), b"Not today.")
    assert answer_connect(connect_request(), Reject()).status == 401


def test_a_connect_handler_gives_nothing_else() -> None:
    wrong: Any = True
    with pytest.raises(TypeError, match="gives Accept, Reject or None, not bool"):
        answer_connect(connect_request(), wrong)


def test_the_state_of_a_new_connection_goes_with_every_way_to_accept() -> None:
    for accept in (None, Accept(), Accept(user_id="bob")):
        request = connect_request()
        request.state["n"] = 1
        assert header(answer_connect(request, accept), "ce-connectionstate") == [STATE]
    request = connect_request()
    request.state["n"] = 1
    assert header(answer_connect(request, Reject(403)), "ce-connectionstate") == []


# Notifications


def test_connected() -> None:
    read = event("azure.webpubsub.sys.connected", ce_connectionstate=STATE)
    assert isinstance(read, ConnectedEvent)
    assert read.state == {"n": 1}


@pytest.mark.parametrize(
    ("body", "reason"),
    [(b'{"reason":"gone"}', "gone"), (b'{"reason":""}', ""), (b'{"reason":null}', ""), (b"{}", ""), (b"", "")],
)
def test_disconnected_may_have_a_reason(body: bytes, reason: str) -> None:
    read = event("azure.webpubsub.sys.disconnected", body)
    assert isinstance(read, DisconnectedEvent)
    assert read.reason == reason


def test_group_events() -> None:
    joined = event("azure.webpubsub.gp.joined", b'{"group":"lobby","new":1}')
    left = event("azure.webpubsub.gp.left", b'{"group":"lobby"}')
    assert isinstance(joined, GroupJoinedEvent)
    assert isinstance(left, GroupLeftEvent)
    assert (joined.group, left.group) == ("lobby", "lobby")
    with pytest.raises(RequestRefused, match="names no group"):
        event("azure.webpubsub.gp.left", b"{}")


# User events


@pytest.mark.parametrize(
    ("content_type", "body", "data", "data_type"),
    [
        ("text/plain; charset=utf-8", "é".encode(), "é", "text"),
        ("TEXT/PLAIN", b"hi", "hi", "text"),
        ("application/json", b'{"a":[1]}', {"a": [1]}, "json"),
        ("Application/JSON; charset=utf-8", b'"hi"', "hi", "json"),
        ("application/octet-stream", b"\xff", b"\xff", "binary"),
        ("application/x-protobuf", b"\xff", b"\xff", "protobuf"),
        ("image/png", b"\xff", b"\xff", "binary"),
        (None, b"\xff", b"\xff", "binary"),
        ("application/json", b"", None, "json"),
    ],
)
def test_the_data_of_a_user_event(content_type: str | None, body: bytes, data: object, data_type: str) -> None:
    read = user_event(body, content_type=content_type)
    assert (read.name, read.data, read.data_type, read.data_error, read.raw) == ("order", data, data_type, None, None)
    assert read.content_type == (content_type or "")


def test_data_that_cannot_be_decoded_is_told_as_the_client_tells_it() -> None:
    read = user_event(b"{")
    assert (read.data, read.data_type, read.raw) == (None, "json", b"{")
    assert read.data_error is not None
    with pytest.raises(InvalidPayload, match="the json payload cannot be decoded"):
        read.decode_as(dict)


class Order(msgspec.Struct):
    number: int


def test_data_as_a_value_of_a_type() -> None:
    assert user_event(b'{"number":3}').decode_as(Order) == Order(3)
    with pytest.raises(InvalidPayload, match="number"):
        user_event(b"{}").decode_as(Order)


def test_metadata_comes_in_headers() -> None:
    read = user_event(x_webpubsub_metadata_trace="a, b", x_webpubsub_metadata_n="")
    assert read.metadata == {"trace": "a, b", "n": ""}
    assert user_event().metadata == {}


@pytest.mark.parametrize(
    ("value", "content_type", "body"),
    [
        ("é", "text/plain; charset=utf-8", "é".encode()),
        (b"\xff", "application/octet-stream", b"\xff"),
        (bytearray(b"ab"), "application/octet-stream", b"ab"),
        ({"a": [1]}, "application/json; charset=utf-8", b'{"a":[1]}'),
        (False, "application/json; charset=utf-8", b"false"),
        (Order(3), "application/json; charset=utf-8", b'{"number":3}'),
        (Reply("é"), "text/plain; charset=utf-8", "é".encode()),
        (Reply("é", data_type="json"), "application/json; charset=utf-8", '"é"'.encode()),
        (Reply(None, data_type="json"), "application/json; charset=utf-8", b"null"),
        (Reply(b"\x0a", data_type="protobuf"), "application/x-protobuf", b"\x0a"),
    ],
)
def test_a_reply_to_a_user_event(value: object, content_type: str, body: bytes) -> None:
    assert answer_event(user_event(), value) == HttpAnswer(200, (("content-type", content_type),), body)


def test_no_reply_to_a_user_event() -> None:
    assert answer_event(user_event(), None) == HttpAnswer(204)
    assert answer_event(user_event(), Reply()) == HttpAnswer(204)


def test_a_reply_with_metadata() -> None:
    answer = answer_event(user_event(), Reply("hi", metadata={"Trace": "1"}))
    assert answer.headers == (TEXT, ("x-webpubsub-metadata-trace", "1"))
    alone = answer_event(user_event(), Reply(metadata={"Trace": "1"}))
    assert alone == HttpAnswer(200, (TEXT, ("x-webpubsub-metadata-trace", "1")))


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (object(), TypeError),
        (float("nan"), ValueError),
        (Reply("x", data_type="binary"), TypeError),
        (Reply("x", metadata={"k": "a\nb"}), ValueError),
        (b"x" * (MAX_ANSWER_SIZE + 1), ValueError),
        (Accept(user_id="ann"), TypeError),
        (Reply(Reject(403)), TypeError),
    ],
    ids=["no JSON", "no number", "no bytes", "no header", "too large", "an accept", "a reject"],
)
def test_a_reply_that_cannot_be_sent(value: object, error: type[Exception]) -> None:
    with pytest.raises(error):
        answer_event(user_event(), value)


def test_the_state_goes_with_every_reply() -> None:
    for value in (None, "hi", Reply(metadata={"a": "b"})):
        read = user_event(ce_connectionstate=STATE)
        read.state["n"] = 2
        (text,) = header(answer_event(read, value), "ce-connectionstate")
        assert json.loads(base64.b64decode(text)) == {"n": 2}
    assert header(answer_event(user_event(ce_connectionstate=STATE), "hi"), "ce-connectionstate") == []


def test_the_state_as_a_text_of_ones_own() -> None:
    read = user_event(ce_connectionstate="mine")
    assert read.state.raw == "mine"
    read.state.raw = "ours"
    assert header(answer_event(read, None), "ce-connectionstate") == ["ours"]


def test_a_rejected_event() -> None:
    rejection = EventRejected(409, "Too late: é")
    assert (rejection.status, rejection.message, str(rejection)) == (409, "Too late: é", "Too late: é")
    assert answer_rejection(user_event(), rejection) == HttpAnswer(409, (TEXT,), "Too late: é".encode())
    assert answer_rejection(user_event(), EventRejected()).status == 400
    assert str(EventRejected()) == "refused with 400"
    assert answer_rejection(connect_request(), EventRejected(403, "no")).body == b"no"


# MQTT


def test_mqtt_is_told_by_the_subprotocol_and_the_physical_connection() -> None:
    session = MqttSession(physical_connection_id="p-1", session_id="s-1")
    assert event("azure.webpubsub.sys.connected", **MQTT).mqtt == session
    assert event("azure.webpubsub.sys.connected", **{**MQTT, "ce_subprotocol": "json.webpubsub.azure.v1"}).mqtt is None
    assert event("azure.webpubsub.sys.connected", **{**MQTT, "ce_physicalconnectionid": None}).mqtt is None


def test_an_mqtt_connect_request() -> None:
    properties = [{"name": "a", "value": "1"}, {"name": "a", "value": "2"}]
    content = {
        "protocolVersion": 4,
        "username": "ann",
        "password": base64.b64encode(b"secret").decode(),
        "cleanStart": True,
        "userProperties": properties,
        "new": 1,
    }
    request = connect_request({"mqtt": content}, **{**MQTT, "ce_sessionid": None})
    assert request.mqtt == MqttConnect(
        physical_connection_id="p-1",
        protocol_version=4,
        username="ann",
        password=b"secret",
        clean_start=True,
        user_properties=(("a", "1"), ("a", "2")),
    )
    assert connect_request({"mqtt": content}).mqtt is None
    bare = connect_request({}, **MQTT).mqtt
    assert bare == MqttConnect(physical_connection_id="p-1", session_id="s-1", protocol_version=5)


def test_accepting_an_mqtt_client_with_properties() -> None:
    accept = Accept(mqtt_user_properties=[("a", "1"), ("a", "2")])
    written = {"mqtt": {"userProperties": [{"name": "a", "value": "1"}, {"name": "a", "value": "2"}]}}
    assert content_of(answer_connect(connect_request({}, **MQTT), accept)) == written
    assert answer_connect(connect_request(), accept) == HttpAnswer(204)


@pytest.mark.parametrize(
    ("version", "reject", "status", "content"),
    [
        (5, Reject(401, "Who?"), 401, {"code": 0x87, "reason": "Who?"}),
        (4, Reject(500), 500, {"code": 3}),
        (
            5,
            Reject.with_mqtt_code(0x8A, "Out.", user_properties=[("a", "1")]),
            403,
            {"code": 0x8A, "reason": "Out.", "userProperties": [{"name": "a", "value": "1"}]},
        ),
        (4, Reject.with_mqtt_code(2), 400, {"code": 2}),
    ],
)
def test_rejecting_an_mqtt_client(version: int, reject: Reject, status: int, content: dict[str, Any]) -> None:
    answer = answer_connect(connect_request({"mqtt": {"protocolVersion": version}}, **MQTT), reject)
    assert answer.status == status
    assert content_of(answer) == {"mqtt": content}


def test_a_code_of_mqtt_means_nothing_to_other_clients() -> None:
    assert answer_connect(connect_request(), Reject.with_mqtt_code(0x8A, "Out.")) == HttpAnswer(403, (TEXT,), b"Out.")


@pytest.mark.parametrize(
    ("content", "code", "by_client", "properties"),
    [
        (
            {
                "initiatedByClient": True,
                "disconnectPacket": {"code": 4, "userProperties": [{"name": "a", "value": "1"}]},
            },
            4,
            True,
            (("a", "1"),),
        ),
        ({"initiatedByClient": False, "disconnectPacket": None}, None, False, ()),
        (None, None, False, ()),
    ],
)
def test_the_end_of_an_mqtt_session(
    content: object, code: int | None, by_client: bool, properties: tuple[tuple[str, str], ...]
) -> None:
    read = event("azure.webpubsub.sys.disconnected", json.dumps({"mqtt": content}).encode(), **MQTT)
    assert isinstance(read, DisconnectedEvent)
    assert read.mqtt == MqttDisconnect(
        physical_connection_id="p-1",
        session_id="s-1",
        initiated_by_client=by_client,
        code=code,
        user_properties=properties,
    )


def test_an_mqtt_message_and_its_reply_have_properties() -> None:
    read = user_event(mqtt_color="red", **MQTT)
    session = {"physical_connection_id": "p-1", "session_id": "s-1"}
    assert read.mqtt == MqttMessage(**session, user_properties=(("color", "red"),))
    answer = answer_event(read, Reply("hi", mqtt_user_properties={"Size": "9"}))
    assert header(answer, "mqtt-size") == ["9"]
    assert header(answer_event(user_event(), Reply("hi", mqtt_user_properties={"Size": "9"})), "mqtt-size") == []


@pytest.mark.parametrize(("name", "value"), [("a b", "x"), ("", "x"), ("a", "é"), ("a", "x\n"), ("a", " x")])
def test_a_property_that_no_header_holds_is_refused(name: str, value: str) -> None:
    with pytest.raises(ValueError, match="MQTT property"):
        answer_event(user_event(**MQTT), Reply("hi", mqtt_user_properties={name: value}))
