"""What handlers get, what their replies become, and what becomes of those that fail. On the virtual clock."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.webhooks.service import (
    CONNECT,
    CONNECTED,
    DISCONNECTED,
    JOINED,
    KEY,
    LEFT,
    SOURCE,
    USER_EVENT,
    send,
    user_event,
)
from trio_webpubsub.protocol.cloudevents_service import (
    ConnectOverrides,
    EventReply,
    EventRequest,
    EventSource,
    read_connect_answer,
    read_event_answer,
)
from trio_webpubsub.protocol.wire import Payload
from trio_webpubsub.webhooks import (
    Accept,
    ConnectedEvent,
    ConnectRequest,
    DisconnectedEvent,
    EventRejected,
    GroupJoinedEvent,
    GroupLeftEvent,
    Reject,
    Reply,
    UserEvent,
    WebhookApp,
)


class Seen:
    """Handlers that note what they get."""

    def __init__(self) -> None:
        self.events: list[object] = []

    async def __call__(self, event: object) -> None:
        await trio.lowlevel.checkpoint()
        self.events.append(event)


async def fail(_: object) -> Any:
    await trio.lowlevel.checkpoint()
    raise ZeroDivisionError("a secret of the handler")


async def hang(_: object) -> Any:
    await trio.sleep_forever()


def app_with(handler: Any, **options: Any) -> WebhookApp:
    """Make an app with one handler for everything."""
    names = ("connect", "user_event", "connected", "disconnected", "group_joined", "group_left")
    return WebhookApp("chat", access_keys=[KEY], **{f"on_{name}": handler for name in names}, **options)


ALL = [CONNECT, CONNECTED, DISCONNECTED, JOINED, LEFT, USER_EVENT]
KINDS = [ConnectRequest, ConnectedEvent, DisconnectedEvent, GroupJoinedEvent, GroupLeftEvent, UserEvent]


@pytest.mark.parametrize(("request_", "kind"), list(zip(ALL, KINDS, strict=True)))
async def test_every_event_comes_as_a_value_of_its_type(request_: EventRequest, kind: type) -> None:
    seen = Seen()
    response = await send(app_with(seen), request_)
    assert (response.status_code, response.content) == (204, b"")
    (event,) = seen.events
    assert type(event) is kind


@pytest.mark.parametrize("request_", ALL)
async def test_what_has_no_handler_is_answered_with_success(request_: EventRequest) -> None:
    app = WebhookApp("chat", access_keys=[KEY])
    assert (await send(app, request_)).status_code == 204


async def test_a_client_is_accepted_with_changes_and_state() -> None:
    async def on_connect(request: ConnectRequest) -> Accept:
        await trio.lowlevel.checkpoint()
        request.state["room"] = request.query["room"][0]
        return Accept(user_id=f"{request.claims['sub'][0]}!", groups=["lobby"], subprotocol="q")

    response = await send(WebhookApp("chat", access_keys=[KEY], on_connect=on_connect), CONNECT)
    overrides = read_connect_answer(
        response.status_code, response.headers.multi_items(), response.content, offered=["p", "q"]
    )
    assert isinstance(overrides, ConnectOverrides)
    assert (overrides.user_id, overrides.groups, overrides.subprotocol) == ("ann!", ["lobby"], "q")
    assert overrides.state is not None


async def test_a_client_is_rejected() -> None:
    async def on_connect(_: ConnectRequest) -> Reject:
        await trio.lowlevel.checkpoint()
        return Reject(403, "Not you.")

    response = await send(WebhookApp("chat", access_keys=[KEY], on_connect=on_connect), CONNECT)
    assert (response.status_code, response.text) == (403, "Not you.")


async def test_a_user_event_is_answered_and_its_state_kept() -> None:
    async def on_user_event(event: UserEvent) -> Reply:
        await trio.lowlevel.checkpoint()
        event.state["count"] = event.state.get("count", 0) + 1
        return Reply({"you": event.user_id, "count": event.state["count"]}, metadata={"trace": "1"})

    app = WebhookApp("chat", access_keys=[KEY], on_user_event=on_user_event)
    state = None
    for count in (1, 2, 3):
        source = EventSource(
            origin=SOURCE.origin, hub="chat", connection_id="conn-1", user_id="größe", keys=[KEY], state=state
        )
        response = await send(app, user_event(source=source))
        reply = read_event_answer(response.status_code, response.headers.multi_items(), response.content)
        assert isinstance(reply, EventReply)
        assert reply.payload == Payload("json", f'{{"you":"größe","count":{count}}}'.encode())
        assert reply.metadata == {"trace": "1"}
        state = reply.state


@pytest.mark.parametrize(
    ("request_", "status"),
    [(CONNECT, 500), (CONNECTED, 500), (DISCONNECTED, 500), (JOINED, 500), (LEFT, 500), (USER_EVENT, 400)],
)
async def test_a_handler_that_raises_is_told_without_details(
    request_: EventRequest, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    response = await send(app_with(fail), request_)
    assert response.status_code == status
    assert "secret" not in response.text
    (record,) = [each for each in caplog.records if each.levelno >= logging.ERROR]
    assert record.exc_info is not None
    assert "a secret of the handler" in caplog.text  # the traceback


async def test_a_failed_user_event_comes_again_if_that_is_asked_for() -> None:
    assert (await send(app_with(fail, retry_on_error=True), USER_EVENT)).status_code == 500


@pytest.mark.parametrize(("request_", "status"), [(CONNECT, 403), (CONNECTED, 403), (USER_EVENT, 403)])
async def test_a_handler_may_raise_a_rejection(
    request_: EventRequest, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    async def reject(_: object) -> Any:
        async with trio.open_nursery() as nursery:  # which makes a group of it
            nursery.start_soon(trio.lowlevel.checkpoint)
            raise EventRejected(403, "Read only.")

    response = await send(app_with(reject), request_)
    assert (response.status_code, response.text) == (status, "Read only.")
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.exc_info is None


async def test_a_rejection_beside_a_failure_is_a_failure() -> None:
    async def handler(_: object) -> None:
        await trio.lowlevel.checkpoint()
        raise ExceptionGroup("both", [EventRejected(403), ZeroDivisionError()])

    assert (await send(app_with(handler), USER_EVENT)).status_code == 400


async def test_data_of_another_type_refuses_the_event() -> None:
    async def on_user_event(event: UserEvent) -> int:
        await trio.lowlevel.checkpoint()
        return event.decode_as(int) + 1

    app = WebhookApp("chat", access_keys=[KEY], on_user_event=on_user_event, retry_on_error=True)
    assert (await send(app, user_event(41))).text == "42"
    response = await send(app, user_event("41"))
    assert (response.status_code, response.text) == (400, "Bad Request")


@pytest.mark.parametrize("value", [object(), "a\ud800", Reply("x", data_type="binary")])
async def test_a_reply_that_cannot_be_sent_is_a_failure(value: object, caplog: pytest.LogCaptureFixture) -> None:
    async def handler(_: object) -> object:
        await trio.lowlevel.checkpoint()
        return value

    assert (await send(app_with(handler), USER_EVENT)).status_code == 400
    assert (await send(app_with(handler), CONNECT)).status_code == 500
    assert len([message for message in caplog.messages if message.endswith("failed")]) == 2


async def test_a_handler_that_turns_out_not_to_be_async_is_told(caplog: pytest.LogCaptureFixture) -> None:
    handler: Callable[[object], str] = lambda _: "hi"  # noqa: E731  # a function would be told at once
    assert (await send(app_with(handler), USER_EVENT)).status_code == 400
    assert "a handler has to be async" in caplog.text


@pytest.mark.parametrize("request_", [CONNECT, CONNECTED, USER_EVENT])
async def test_a_handler_past_its_deadline_is_cancelled_and_told(
    request_: EventRequest, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    started = trio.current_time()
    response = await send(app_with(hang), request_)
    assert response.status_code == 504
    assert trio.current_time() - started == 30.0
    assert "longer than its deadline" in caplog.text


async def test_a_deadline_of_ones_own_and_none_at_all(autojump_clock: MockClock) -> None:
    started = trio.current_time()
    assert (await send(app_with(hang, handler_timeout=2.5), USER_EVENT)).status_code == 504
    assert trio.current_time() - started == 2.5
    with trio.move_on_after(10_000) as scope:
        await send(app_with(hang, handler_timeout=math.inf), USER_EVENT)
    assert scope.cancelled_caught


async def test_a_timeout_within_a_handler_is_its_own_failure() -> None:
    async def handler(_: object) -> None:
        with trio.fail_after(0):
            await trio.sleep_forever()

    assert (await send(app_with(handler), USER_EVENT)).status_code == 400


async def test_requests_do_not_touch_each_other(autojump_clock: MockClock) -> None:
    statuses: dict[str, int] = {}

    async def on_user_event(event: UserEvent) -> str:
        match event.data:
            case "fail":
                raise ZeroDivisionError
            case "hang":
                await trio.sleep_forever()
            case _:
                await trio.sleep(1)
        return "ok"

    app = WebhookApp("chat", access_keys=[KEY], on_user_event=on_user_event, handler_timeout=10)

    async def ask(data: str) -> None:
        statuses[data] = (await send(app, user_event(data))).status_code

    async with trio.open_nursery() as nursery:
        for data in ("fail", "hang", "a", "b"):
            nursery.start_soon(ask, data)
    assert statuses == {"fail": 400, "hang": 504, "a": 200, "b": 200}


async def test_a_cancelled_request_cancels_its_handler(autojump_clock: MockClock) -> None:
    ended: list[str] = []

    async def handler(_: object) -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.append("handler")

    with trio.move_on_after(1) as scope:
        await send(app_with(handler), USER_EVENT)
    assert scope.cancelled_caught
    assert ended == ["handler"]


async def test_an_invocation_is_an_event_whose_reply_is_the_response() -> None:
    async def on_user_event(event: UserEvent) -> object:
        await trio.lowlevel.checkpoint()
        return {"sum": sum(event.data)} if event.name == "add" else None

    app = WebhookApp("chat", access_keys=[KEY], on_user_event=on_user_event)
    assert (await send(app, user_event([1, 2], name="add"))).json() == {"sum": 3}
