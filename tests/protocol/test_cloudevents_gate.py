"""The rules of a request's head: who may come in, and what the service is told when it asks."""

from __future__ import annotations

import pytest

from tests.protocol.event_requests import KEY, ORIGIN, SIGNATURE, header, headers
from trio_webpubsub.protocol.cloudevents import HttpAnswer, signatures
from trio_webpubsub.protocol.cloudevents_gate import (
    EventGate,
    EventHead,
    RequestRefused,
    UnknownEvent,
    bearer_token,
    header_text,
)

GATE = EventGate("chat", access_keys=[KEY], allowed_origins=[ORIGIN])


def refusal(gate: EventGate, method: str, content: dict[str, str]) -> tuple[int, str]:
    with pytest.raises(RequestRefused) as caught:
        gate.enter(method, content)
    return caught.value.answer.status, str(caught.value)


# Paths


@pytest.mark.parametrize(
    "path",
    [
        "/api/webpubsub/hubs/chat",
        "/api/webpubsub/hubs/chat/",
        "/API/WebPubSub/Hubs/Chat",
        "/api/webpubsub/hubs/chat/connect",
        "/api/webpubsub/hubs/chat/validate/x",
    ],
)
def test_events_come_in_at_the_path_and_below_in_any_case(path: str) -> None:
    assert GATE.covers(path)


@pytest.mark.parametrize("path", ["", "/", "/api/webpubsub/hubs/chatter", "/api/webpubsub/hubs", "/x/api"])
def test_other_paths_are_not_covered(path: str) -> None:
    assert not GATE.covers(path)


def test_a_path_of_ones_own() -> None:
    assert EventGate("Chat", path="/events/{hub}").covers("/events/chat/order")
    assert EventGate("chat", path="/").covers("/anything")
    assert EventGate("chat", path="/a b").covers("/a b/c")
    assert EventGate("chat", path="/.well-known/a.b/..c").covers("/.well-known/a.b/..c/d")


@pytest.mark.parametrize("path", ["events", "", "/events/{event}", "/a%20b", "/a?b", "/a#b", "/a\n", "/a/../b", "/."])
def test_a_path_that_cannot_be_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="path"):
        EventGate("chat", path=path)


# Validation


@pytest.mark.parametrize("method", ["OPTIONS", "GET"])
def test_the_service_may_validate_without_a_signature(method: str) -> None:
    answer = GATE.enter(method, {"webhook-request-origin": ORIGIN, "ce-awpsversion": "1.0"})
    assert answer == HttpAnswer(200, (("webhook-allowed-origin", ORIGIN), ("allow", "POST")))


def test_all_origins_are_allowed_by_default() -> None:
    answer = EventGate("chat").enter("OPTIONS", {"webhook-request-origin": "any.example"})
    assert isinstance(answer, HttpAnswer)
    assert header(answer, "webhook-allowed-origin") == ["*"]
    answer = EventGate("chat", allowed_origins=["*"]).enter("OPTIONS", {"webhook-request-origin": "any.example"})
    assert isinstance(answer, HttpAnswer)
    assert header(answer, "webhook-allowed-origin") == ["*"]


def test_of_several_origins_only_the_one_that_asks_is_told() -> None:
    gate = EventGate("chat", allowed_origins=["a.example", "https://B.example/", "wss://c.example:8443"])
    for origin in ("a.example", "b.example", "c.example:8443"):
        answer = gate.enter("OPTIONS", {"webhook-request-origin": origin})
        assert isinstance(answer, HttpAnswer)
        assert header(answer, "webhook-allowed-origin") == [origin]


def test_a_rate_is_granted_where_one_is_asked_for() -> None:
    answer = GATE.enter("OPTIONS", {"webhook-request-origin": ORIGIN, "webhook-request-rate": "120"})
    assert isinstance(answer, HttpAnswer)
    assert header(answer, "webhook-allowed-rate") == ["*"]


def test_validation_by_somebody_else_is_refused() -> None:
    assert refusal(GATE, "OPTIONS", {"webhook-request-origin": "evil.example"}) == (
        403,
        "the origin 'evil.example' is not allowed",
    )
    assert refusal(GATE, "OPTIONS", {}) == (400, "the header WebHook-Request-Origin is missing, or no host name")


@pytest.mark.parametrize(
    ("allowed", "origin", "is_allowed"),
    [
        ("foo.example", "foo.example", True),
        ("foo.example", "FOO.example:443", True),
        ("foo.example:443", "foo.example", True),
        ("foo.example:443", "foo.example:443", True),
        ("foo.example:443", "foo.example:444", False),
        ("foo.example", "foo.example.evil", False),
        ("foo.example", "evil.foo.example", False),
        ("foo.example", "foo.example, evil", False),
        ("[::1]:8080", "[::1]", True),
    ],
)
def test_an_origin_may_leave_out_the_port(allowed: str, origin: str, is_allowed: bool) -> None:
    gate = EventGate("chat", allowed_origins=[allowed])
    if is_allowed:
        assert isinstance(gate.enter("POST", headers(webhook_request_origin=origin)), EventHead)
    else:
        assert refusal(gate, "POST", headers(webhook_request_origin=origin))[0] == 403


def test_origins_that_cannot_be_are_refused() -> None:
    for origin in ("https://", "föö.example", "f\noo"):
        with pytest.raises(ValueError, match="is no origin"):
            EventGate("chat", allowed_origins=[origin])
    with pytest.raises(TypeError, match="allowed_origins takes several"):
        EventGate("chat", allowed_origins="foo.example")


# Events


def test_a_good_request_comes_in() -> None:
    content = headers()
    assert GATE.enter("POST", content) == EventHead("user", "order", content)


@pytest.mark.parametrize("method", ["GET", "PUT", "HEAD", "DELETE", "post"])
def test_events_come_by_post_only(method: str) -> None:
    with pytest.raises(RequestRefused) as caught:
        GATE.enter(method, headers(webhook_request_origin=None))
    assert caught.value.answer.status == 405
    assert header(caught.value.answer, "allow") == ["POST, OPTIONS"]


@pytest.mark.parametrize(
    ("changes", "status", "reason"),
    [
        ({"ce_specversion": None}, 400, "the header ce-specversion does not say 1.0"),
        ({"ce_specversion": "0.3"}, 400, "the header ce-specversion does not say 1.0"),
        ({"ce_awpsversion": None}, 400, "the header ce-awpsversion does not say 1."),
        ({"ce_awpsversion": "2.0"}, 400, "the header ce-awpsversion does not say 1."),
        ({"webhook_request_origin": None}, 400, "the header WebHook-Request-Origin is missing, or no host name"),
        (
            {"webhook_request_origin": f"{ORIGIN}\u212a"},
            400,
            "the header WebHook-Request-Origin is missing, or no host name",
        ),
        ({"webhook_request_origin": "evil"}, 403, "the origin 'evil' is not allowed"),
        ({"ce_connectionid": None}, 400, "the header ce-connectionId is missing"),
        ({"ce_signature": None}, 401, "it is not signed; connection 'conn-1'"),
        (
            {"ce_signature": "sha256=00"},
            401,
            "the signature fits none of the access keys; connection 'conn-1'",
        ),
        (
            {"ce_connectionid": "conn-2\n" + "x" * 99},
            401,
            f"the signature fits none of the access keys; connection 'conn-2\\n{'x' * 53}...'",
        ),
        ({"ce_hub": "other"}, 404, "it is for another hub: 'other'"),
        ({"ce_hub": None}, 404, "it is for another hub: ''"),
        ({"ce_type": None}, 400, "the header ce-type is missing"),
        ({"ce_type": "azure.webpubsub.user.", "ce_eventname": None}, 400, "the user event has no name"),
    ],
)
def test_what_is_wrong_is_refused_with_a_reason(changes: dict[str, str | None], status: int, reason: str) -> None:
    assert refusal(GATE, "POST", headers(**changes)) == (status, reason)


def test_the_answer_to_what_is_refused_has_no_details() -> None:
    with pytest.raises(RequestRefused) as caught:
        GATE.enter("POST", headers(ce_signature="sha256=00"))
    assert caught.value.answer == HttpAnswer(401, (("content-type", "text/plain; charset=utf-8"),), b"Unauthorized")


def test_the_hub_is_compared_without_case() -> None:
    assert isinstance(EventGate("Chat").enter("POST", headers(ce_hub="cHAT")), EventHead)


def test_either_of_two_keys_may_have_signed() -> None:
    gate = EventGate("chat", access_keys=["new", KEY])
    assert isinstance(gate.enter("POST", headers()), EventHead)
    assert isinstance(gate.enter("POST", headers(ce_signature=signatures(["new"], "conn-1"))), EventHead)
    assert isinstance(gate.enter("POST", headers(ce_signature=f"sha256=00, {SIGNATURE}")), EventHead)


def test_without_keys_nothing_has_to_be_signed() -> None:
    assert isinstance(EventGate("chat").enter("POST", headers(ce_signature=None)), EventHead)


def test_keys_that_cannot_be_are_refused() -> None:
    with pytest.raises(TypeError, match="access_keys takes several"):
        EventGate("chat", access_keys=KEY)
    with pytest.raises(ValueError, match="empty"):
        EventGate("chat", access_keys=[KEY, ""])
    with pytest.raises(ValueError, match="white space"):
        EventGate("chat", access_keys=[KEY, f"{KEY}\n"])
    with pytest.raises(ValueError, match="the key alone; this is a connection string"):
        EventGate("chat", access_keys=[f"Endpoint=https://example.com;AccessKey={KEY};"])


@pytest.mark.parametrize(
    ("type_", "kind"),
    [
        ("azure.webpubsub.sys.connect", "connect"),
        ("azure.webpubsub.sys.connected", "connected"),
        ("azure.webpubsub.sys.disconnected", "disconnected"),
        ("azure.webpubsub.gp.joined", "joined"),
        ("azure.webpubsub.gp.left", "left"),
        ("azure.webpubsub.user.message", "user"),
        ("Azure.WebPubSub.User.connect", "user"),
    ],
)
def test_the_kind_of_an_event_is_its_type(type_: str, kind: str) -> None:
    head = GATE.enter("POST", headers(type_))
    assert isinstance(head, EventHead)
    assert head.kind == kind


def test_a_user_event_without_a_name_of_its_own_is_called_by_its_type() -> None:
    head = GATE.enter("POST", headers("azure.webpubsub.user.a.b", ce_eventname=None))
    assert isinstance(head, EventHead)
    assert head.name == "a.b"


@pytest.mark.parametrize("type_", ["azure.webpubsub.sys.paused", "azure.webpubsub.new.x", "com.example.y"])
def test_an_unknown_kind_of_event_is_no_error(type_: str) -> None:
    assert GATE.enter("POST", headers(type_)) == UnknownEvent(repr(type_))


def test_a_header_is_utf_8_or_else_latin_1() -> None:
    assert header_text("größe 😀".encode()) == "größe 😀"
    assert header_text("größe".encode("latin-1")) == "größe"


@pytest.mark.parametrize(
    ("value", "token"),
    [("Bearer abc", "abc"), ("bearer  abc ", "abc"), ("Basic abc", None), ("Bearer ", None), (None, None)],
)
def test_the_token_of_a_managed_identity(value: str | None, token: str | None) -> None:
    assert bearer_token({} if value is None else {"authorization": value}) == token
