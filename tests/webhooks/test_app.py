"""The app around the handlers: who may come in, limits, replays, and ASGI."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from tests.webhooks.service import CONNECT, KEY, ORIGIN, PATH, USER_EVENT, send, user_event
from trio_webpubsub.protocol.cloudevents_service import EventRequest, EventSource, is_validated, write_validation
from trio_webpubsub.webhooks import Accept, HttpAnswer, InvalidToken, Reject, UserEvent, WebhookApp


async def echo(event: UserEvent) -> object:
    await trio.lowlevel.checkpoint()
    return event.data


def echoing(**options: Any) -> WebhookApp:
    everything: dict[str, Any] = {"access_keys": [KEY], "on_user_event": echo, **options}
    return WebhookApp("chat", **everything)


def changed(request: EventRequest, name: str, value: str | None) -> EventRequest:
    """Give a request with another value of one header, or without it."""
    headers = [(each, text) for each, text in request.headers if each.decode().lower() != name]
    if value is not None:
        headers.append((name.encode(), value.encode()))
    return EventRequest(request.method, tuple(headers), request.body)


# Who may come in


async def test_the_service_validates_the_address() -> None:
    app = echoing(allowed_origins=[ORIGIN], authenticate=reject_all)
    for method in ("OPTIONS", "GET"):
        response = await send(app, write_validation(ORIGIN, method=method), path=f"{PATH}validate")
        assert is_validated(response.status_code, response.headers.multi_items(), ORIGIN)
    response = await send(app, write_validation("evil.example"))
    assert response.status_code == 403
    assert not is_validated(200, response.headers.multi_items(), "evil.example")


@pytest.mark.parametrize(
    ("name", "value", "status", "reason"),
    [
        ("ce-signature", None, 401, "it is not signed"),
        ("ce-signature", "sha256=ab", 401, "the signature fits none of the access keys"),
        ("ce-connectionid", "conn-2", 401, "the signature fits none of the access keys"),
        ("webhook-request-origin", "evil.example", 403, "the origin 'evil.example' is not allowed"),
        ("webhook-request-origin", None, 400, "WebHook-Request-Origin is missing"),
        ("ce-hub", "other", 404, "it is for another hub"),
        ("ce-awpsversion", None, 400, "ce-awpsversion"),
        ("ce-type", None, 400, "ce-type is missing"),
    ],
)
async def test_what_is_refused_is_logged_in_one_line_without_secrets(
    name: str, value: str | None, status: int, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    response = await send(echoing(allowed_origins=[ORIGIN]), changed(USER_EVENT, name, value), token="hidden")
    assert response.status_code == status
    (record,) = caplog.records
    line = record.getMessage()
    assert reason in line
    assert f"refused a request with {status}" in line
    for secret in (KEY, "261f7f58", "hidden"):
        assert secret not in line
        assert secret not in response.text


async def test_a_path_of_somebody_else_is_not_found(caplog: pytest.LogCaptureFixture) -> None:
    assert (await send(echoing(), USER_EVENT, path="/elsewhere")).status_code == 404
    assert "no events come in at this path" in caplog.text


async def test_an_app_that_checks_nothing_says_so(caplog: pytest.LogCaptureFixture) -> None:
    app = WebhookApp("chat", on_user_event=echo)
    assert "whoever can reach the app can send events" in caplog.text
    assert (await send(app, changed(USER_EVENT, "ce-signature", None))).text == "hi"


async def test_an_unknown_kind_of_event_is_passed_over_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    app = echoing()
    for _ in range(3):
        assert (await send(app, changed(USER_EVENT, "ce-type", "azure.webpubsub.sys.new"))).status_code == 204
    assert [record.getMessage() for record in caplog.records] == [
        "chat: events of the unknown type 'azure.webpubsub.sys.new' are passed over"
    ]
    for number in range(200):
        await send(app, changed(USER_EVENT, "ce-type", f"azure.webpubsub.sys.new{number}"))
    assert len(caplog.records) == 100


async def reject_all(_: str) -> bool:
    await trio.lowlevel.checkpoint()
    return False


async def test_a_managed_identity_signs_in() -> None:
    async def authenticate(token: str) -> bool:
        await trio.lowlevel.checkpoint()
        if token == "bad":
            raise InvalidToken("the token has expired")
        return token == "good"

    app = WebhookApp("chat", authenticate=authenticate, on_user_event=echo)
    unsigned = changed(USER_EVENT, "ce-signature", None)
    assert (await send(app, unsigned, token="good")).text == "hi"
    for token in ("other", "bad", None):
        response = await send(app, unsigned, token=token)
        assert (response.status_code, response.headers["www-authenticate"]) == (401, "Bearer")


async def test_with_keys_both_the_signature_and_the_token_count() -> None:
    async def authenticate(token: str) -> bool:
        await trio.lowlevel.checkpoint()
        return token == "good"

    app = echoing(authenticate=authenticate)
    assert (await send(app, USER_EVENT, token="good")).status_code == 200
    assert (await send(app, USER_EVENT, token="bad")).status_code == 401
    assert (await send(app, changed(USER_EVENT, "ce-signature", None), token="good")).status_code == 401


async def test_a_token_that_cannot_be_checked_is_not_good(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(_: str) -> bool:
        await trio.lowlevel.checkpoint()
        raise ZeroDivisionError

    async def hang(_: str) -> bool:
        await trio.sleep_forever()
        return True

    assert (await send(echoing(authenticate=fail), USER_EVENT, token="t")).status_code == 500
    assert "ZeroDivisionError" in caplog.text
    assert "ExceptionGroup" not in caplog.text
    assert (await send(echoing(authenticate=hang), USER_EVENT, token="t")).status_code == 504


# Limits


async def test_a_body_that_is_too_large_is_not_read() -> None:
    app = echoing(max_body_size=10)
    assert (await send(app, user_event("x" * 10))).text == "x" * 10
    assert (await send(app, user_event("x" * 11))).status_code == 413


async def test_headers_that_are_too_large_are_refused(caplog: pytest.LogCaptureFixture) -> None:
    assert (await send(echoing(), changed(USER_EVENT, "x-large", "x" * 65_536))).status_code == 431
    assert [record.getMessage() for record in caplog.records] == [
        "refused a request with 431: its headers are larger than 65,536 bytes"
    ]


class Asgi:
    """An ASGI server of one connection, which the test plays."""

    def __init__(self, *messages: dict[str, Any], **scope: Any) -> None:
        self.scope = {
            "type": "http",
            "method": "POST",
            "path": PATH,
            "headers": [(name.lower(), value) for name, value in USER_EVENT.headers],
        } | scope
        self.messages = list(messages)
        self.sent: list[Any] = []

    async def receive(self) -> Any:
        if not self.messages:
            await trio.sleep_forever()
        await trio.lowlevel.checkpoint()
        return self.messages.pop(0)

    async def send(self, message: Any) -> None:
        await trio.lowlevel.checkpoint()
        self.sent.append(message)

    async def run(self, app: WebhookApp) -> int:
        await app(self.scope, self.receive, self.send)
        return int(self.sent[0]["status"])


def part(body: bytes, *, more: bool) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


async def test_a_body_may_come_in_parts() -> None:
    server = Asgi(part(b"a", more=True), {"type": "http.request", "more_body": True}, part(b"b", more=False))
    assert await server.run(echoing()) == 200
    assert server.sent[1] == {"type": "http.response.body", "body": b"ab"}
    assert (b"content-length", b"2") in server.sent[0]["headers"]


async def test_a_body_without_a_length_is_limited_too() -> None:
    server = Asgi(part(b"123456", more=True), part(b"123456", more=True))
    assert await server.run(echoing(max_body_size=10)) == 413


async def test_the_rest_of_a_refused_body_is_thrown_away() -> None:
    server = Asgi(part(b"x" * 11, more=True), part(b"x", more=True), part(b"x", more=False))
    assert await server.run(echoing(max_body_size=10)) == 413
    assert server.messages == []


async def test_a_refused_body_that_never_ends_is_left(autojump_clock: MockClock) -> None:
    large = part(b"x" * 1_000_000, more=True)
    server = Asgi(*[large] * 30)
    assert await server.run(echoing(max_body_size=10)) == 413
    assert len(server.messages) > 10
    assert await Asgi(part(b"x" * 11, more=True)).run(echoing(max_body_size=10)) == 413
    assert trio.current_time() >= 5


async def test_a_body_that_does_not_come_is_given_up(autojump_clock: MockClock) -> None:
    assert await Asgi(part(b"a", more=True)).run(echoing()) == 408
    assert trio.current_time() >= 30


async def test_a_peer_that_leaves_gets_no_answer() -> None:
    server = Asgi(part(b"a", more=True), {"type": "http.disconnect"})
    await echoing()(server.scope, server.receive, server.send)
    assert server.sent == []


# ASGI


@pytest.mark.parametrize(
    ("path", "root", "status"),
    [
        (PATH, "", 200),
        (f"/mounted{PATH}", "/mounted", 200),  # the whole path, as ASGI has it
        (PATH, "/mounted", 200),  # the rest of it, as some frameworks have it
        ("/", PATH, 200),
        ("/say", PATH, 200),
        ("/", "/mounted", 404),
        (f"/mounted{PATH}", "", 404),
    ],
)
async def test_the_app_may_be_mounted_anywhere(path: str, root: str, status: int) -> None:
    assert await Asgi(part(b"hi", more=False), path=path, root_path=root).run(echoing()) == status


async def test_a_header_in_several_lines_is_one() -> None:
    lines = [(name.lower(), value) for name, value in USER_EVENT.headers]
    server = Asgi(part(b"hi", more=False), headers=[(b"ce-signature", b"sha256=00"), *lines])
    assert await server.run(echoing()) == 200


async def test_the_lifespan_is_spoken() -> None:
    server = Asgi({"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}, type="lifespan")
    await echoing()(server.scope, server.receive, server.send)
    assert [message["type"] for message in server.sent] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


async def test_a_websocket_is_refused() -> None:
    server = Asgi({"type": "websocket.connect"}, type="websocket")
    await echoing()(server.scope, server.receive, server.send)
    assert server.sent == [{"type": "websocket.close", "code": 1000}]


async def test_no_other_connection_is_served() -> None:
    server = Asgi(type="telepathy")
    with pytest.raises(ValueError, match="telepathy"):
        await echoing()(server.scope, server.receive, server.send)


async def test_a_request_that_came_some_other_way() -> None:
    app = echoing(max_body_size=10)
    headers = {name.decode().title(): value.decode() for name, value in USER_EVENT.headers}
    assert await app.handle_request("POST", PATH, headers, b"hi") == HttpAnswer(
        200, (("content-type", "text/plain; charset=utf-8"),), b"hi"
    )
    assert (await app.handle_request("POST", PATH, headers, b"x" * 11)).status == 413


# Replays


class Counter:
    """A handler that counts, and does what it is told."""

    def __init__(self) -> None:
        self.calls = 0
        self.fails = False
        self.delay = 0.0

    async def __call__(self, _: object) -> Any:
        self.calls += 1
        await trio.sleep(self.delay)
        if self.fails:
            raise ZeroDivisionError
        return f"answer {self.calls}"


async def test_events_that_come_again_are_handled_again_by_default() -> None:
    counter = Counter()
    app = echoing(on_user_event=counter)
    assert [(await send(app, USER_EVENT)).text for _ in range(2)] == ["answer 1", "answer 2"]


async def test_an_event_that_comes_again_is_answered_as_before(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    counter = Counter()
    app = echoing(on_user_event=counter, remember_events=2)
    other = EventSource(origin=ORIGIN, hub="chat", connection_id="conn-2", keys=[KEY])
    assert [(await send(app, USER_EVENT)).text for _ in range(2)] == ["answer 1", "answer 1"]
    assert "came again" in caplog.text
    assert (await send(app, user_event(event_id=5))).text == "answer 2"
    assert (await send(app, user_event(source=other))).text == "answer 3"  # ids are unique within a connection only
    assert (await send(app, USER_EVENT)).text == "answer 4"  # forgotten: two were newer


async def test_an_event_without_an_id_is_not_remembered() -> None:
    counter = Counter()
    app = echoing(on_user_event=counter, remember_events=2)
    anonymous = changed(USER_EVENT, "ce-id", None)
    assert [(await send(app, anonymous)).text for _ in range(2)] == ["answer 1", "answer 2"]


async def test_a_failure_is_not_remembered() -> None:
    counter = Counter()
    app = echoing(on_user_event=counter, remember_events=2)
    counter.fails = True
    assert (await send(app, USER_EVENT)).status_code == 400
    counter.fails = False
    assert (await send(app, USER_EVENT)).text == "answer 2"


async def test_an_event_that_comes_again_while_it_is_handled_is_handled_once(autojump_clock: MockClock) -> None:
    counter = Counter()
    counter.delay = 5
    app = echoing(on_user_event=counter, remember_events=2)
    texts: list[str] = []

    async def ask() -> None:
        texts.append((await send(app, USER_EVENT)).text)

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(ask)
    assert texts == ["answer 1"] * 3


async def test_who_waits_for_a_cancelled_handler_runs_it(autojump_clock: MockClock) -> None:
    counter = Counter()
    counter.delay = 5
    app = echoing(on_user_event=counter, remember_events=2)
    texts: list[str] = []

    async def ask() -> None:
        texts.append((await send(app, USER_EVENT)).text)

    async def ask_and_leave() -> None:
        with trio.move_on_after(1):
            await ask()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask_and_leave)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(ask)
    assert texts == ["answer 2"]


async def test_what_is_remembered_has_a_limit_in_bytes() -> None:
    async def large(_: object) -> bytes:
        await trio.lowlevel.checkpoint()
        return b"x" * 9_000_000

    app = echoing(on_user_event=large, remember_events=100)
    for event_id in range(1, 4):
        await send(app, user_event(event_id=event_id))
    memory = app._replays
    assert memory is not None
    assert len(memory._answers) == 1
    assert memory._bytes == 9_000_000


async def test_an_mqtt_client_id_that_connects_again_is_no_replay() -> None:
    answers = [Accept(user_id="first"), Reject(403)]

    async def on_connect(_: object) -> Any:
        await trio.lowlevel.checkpoint()
        return answers.pop(0)

    app = echoing(on_connect=on_connect, remember_events=2)
    statuses: list[int] = []
    for physical in ("p-1", "p-2"):
        request = changed(changed(CONNECT, "ce-subprotocol", "mqtt"), "ce-physicalconnectionid", physical)
        statuses.append((await send(app, request)).status_code)
    assert statuses == [200, 403]


# Options


def test_options_that_cannot_be_are_refused() -> None:
    wrong: Any = "handler"
    with pytest.raises(ValueError, match="cannot be a hub name"):
        WebhookApp("a hub")
    with pytest.raises(ValueError, match="handler_timeout"):
        echoing(handler_timeout=0)
    with pytest.raises(ValueError, match="handler_timeout"):
        echoing(handler_timeout=float("nan"))
    with pytest.raises(ValueError, match="remember_events"):
        echoing(remember_events=-1)
    with pytest.raises(TypeError, match="on_connect is an async function, not 'str'"):
        echoing(on_connect=wrong)
    with pytest.raises(TypeError, match="access_keys"):
        WebhookApp("chat", access_keys=KEY)


def test_no_key_is_shown() -> None:
    assert repr(echoing()) == "<WebhookApp of hub 'chat'>"
