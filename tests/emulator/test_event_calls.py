"""How event handlers are reached: over HTTP and in the process, validated first, and what happens when they fail."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from tests.emulator.handler import AGREED, Event, Handler, text_answer
from tests.emulator.peer import open_peer, rejection
from trio_webpubsub.emulator import EventHandler, HandlerLimits, open_emulator
from trio_webpubsub.listener import Listener, Response, WebSocketRequest

URL = "http://handler.example/events/{hub}?code=secret"


async def no_websockets(request: WebSocketRequest) -> None:
    await request.reject(404)


def listener_for(handler: Handler) -> Listener:
    return Listener(handler.handle, no_websockets)


async def ask(peer: Any, name: str = "e", ack_id: int = 1) -> dict[str, Any]:
    message: dict[str, Any] = await peer.ask(type="event", event=name, dataType="text", data="x", ackId=ack_id)
    return message


# Over HTTP


async def test_a_handler_behind_a_connector_is_called_over_http(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    handler = Handler({"e": text_answer("done")})
    async with (
        open_emulator(
            in_memory=True,
            event_handlers=[EventHandler(URL)],
            handler_connector=listener_for(handler).connector(nursery),
        ) as emulator,
        open_peer(emulator) as peer,
    ):
        assert (await ask(peer))["data"] == "done"
    event = handler.event("e")
    assert (event.path, event.query) == ("/events/chat", "code=secret")
    assert event.headers["host"] == "handler.example"
    assert event.headers["accept-encoding"] == "identity"
    assert handler.names == ["connect", "connected", "e", "disconnected"]


async def test_a_handler_on_a_port_is_called_over_real_sockets(nursery: trio.Nursery) -> None:
    handler = Handler({"message": text_answer("done")})
    (port,) = await nursery.start(listener_for(handler).serve, 0)
    url = f"http://127.0.0.1:{port}/{{hub}}/{{event}}"
    with trio.fail_after(10):
        async with (
            open_emulator(event_handlers={"chat": [EventHandler(url, system_events=["connect"])]}) as emulator,
            open_peer(emulator) as peer,
        ):
            assert (await ask(peer, "message"))["data"] == "done"
    assert [event.path for event in handler.received] == [
        "/chat/validate",
        "/chat/connect",
        "/chat/message",
    ]
    nursery.cancel_scope.cancel()


async def test_a_handler_that_cannot_be_reached_is_tried_again_then_the_event_has_failed(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    handler = Handler({"e": text_answer("done")})
    reach = listener_for(handler).connector(nursery)
    down_until = 3.0

    async def connect(host: str, port: int, ssl_context: ssl.SSLContext | None, /) -> trio.abc.Stream:
        if trio.current_time() < down_until:
            raise OSError("nobody is there")
        return await reach(host, port, ssl_context)

    async with (
        open_emulator(
            in_memory=True,
            event_handlers=[EventHandler(URL, system_events=())],
            handler_connector=connect,
        ) as emulator,
        open_peer(emulator) as peer,
    ):
        assert (await ask(peer))["data"] == "done"
        assert (await peer.receive())["success"]
        assert trio.current_time() == 4
        down_until = 100.0
        await trio.sleep(31)  # the connection that was kept for more requests is not used any more
        ack = await ask(peer, ack_id=2)
        assert ack["error"]["message"] == "The event handler gave no answer that is of use."
        assert trio.current_time() == 44


async def test_a_handler_that_breaks_off_in_its_answer_is_tried_again(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    answers = [b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", b"HTTP/1.1 204 No Content\r\n\r\n"]
    validated = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nwebhook-allowed-origin: 127.0.0.1\r\n\r\n"

    async def connect(_host: str, _port: int, _ssl_context: ssl.SSLContext | None, /) -> trio.abc.Stream:
        ours, theirs = trio.testing.memory_stream_pair()

        @nursery.start_soon
        async def _() -> None:
            head = await theirs.receive_some(65_536)
            await theirs.send_all(validated if head.startswith(b"OPTIONS") else answers.pop(0))
            await theirs.aclose()

        return ours

    async with (
        open_emulator(
            in_memory=True, event_handlers=[EventHandler(URL, system_events=())], handler_connector=connect
        ) as emulator,
        open_peer(emulator) as peer,
    ):
        assert (await ask(peer))["success"]
    assert answers == []


async def test_an_answer_without_end_is_cut_off(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    handler = Handler({"e": text_answer("x" * 1000)})
    async with (
        open_emulator(
            in_memory=True,
            event_handlers=[EventHandler(URL)],
            handler_connector=listener_for(handler).connector(nursery),
            handler_limits=HandlerLimits(answer_size=999),
        ) as emulator,
        open_peer(emulator) as peer,
    ):
        assert not (await ask(peer))["success"]
        handler.answers["e"] = text_answer("x" * 999)
        assert (await ask(peer))["data"] == "x" * 999
    assert handler.names.count("e") == 2


# Validation


async def test_a_handler_is_asked_before_its_first_event(autojump_clock: MockClock) -> None:
    handler = Handler()
    async with (
        open_emulator(
            in_memory=True, event_handlers=[EventHandler("http://localhost/{event}/{hub}", app=handler)]
        ) as emulator,
        open_peer(emulator),
    ):
        pass
    first = handler.received[0]
    assert (first.method, first.path, first.body) == ("OPTIONS", "/validate/chat", b"")
    assert (first.headers["webhook-request-origin"], first.headers["ce-awpsversion"]) == ("127.0.0.1", "1.0")
    assert [name for name in first.headers if name.startswith("ce-")] == ["ce-awpsversion"]
    assert [event.method for event in handler.received].count("OPTIONS") == 1


async def test_where_options_is_not_found_get_is_tried(autojump_clock: MockClock) -> None:
    async def validate(event: Event) -> Response:
        return Response(status=404) if event.method == "OPTIONS" else AGREED

    handler = Handler(validation=validate)
    async with open_emulator(in_memory=True, event_handlers=[handler]) as emulator, open_peer(emulator):
        pass
    assert [event.method for event in handler.received[:3]] == ["OPTIONS", "GET", "POST"]


@pytest.mark.parametrize("allowed", ["*", "127.0.0.1", "127.0.0.1:1"])
async def test_any_of_the_services_names_will_do(autojump_clock: MockClock, allowed: str) -> None:
    handler = Handler(
        validation=Response(
            status=200, headers=[("webhook-allowed-origin", "other"), ("WebHook-Allowed-Origin", allowed)]
        )
    )
    async with open_emulator(in_memory=True, event_handlers=[handler]) as emulator, open_peer(emulator):
        pass


@pytest.mark.parametrize(
    "response",
    [
        Response(status=200),
        Response(status=401, headers=[("webhook-allowed-origin", "*")]),
        Response(status=200, headers=[("webhook-allowed-origin", "other.example")]),
        Response(status=200, headers=[("webhook-allowed-origin", "127.0.0.1, other.example")]),
    ],
)
async def test_a_handler_that_does_not_agree_gets_no_events(
    autojump_clock: MockClock, response: Response, caplog: pytest.LogCaptureFixture
) -> None:
    handler = Handler(validation=response)
    with caplog.at_level(logging.WARNING):
        async with open_emulator(in_memory=True, event_handlers=[handler]) as emulator:
            assert await rejection(emulator, emulator.client_url("chat")) == 500
    assert handler.events == []
    assert "no events are sent to the event handler at http://localhost/api/webpubsub/hubs/chat/" in caplog.text


async def test_the_query_of_a_handler_stands_in_no_log(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    handler = Handler(validation=Response(status=400))
    with caplog.at_level(logging.DEBUG):
        async with open_emulator(in_memory=True, event_handlers=[EventHandler(URL, app=handler)]) as emulator:
            await rejection(emulator, emulator.client_url("chat"))
    assert "http://handler.example/events/chat" in caplog.text
    assert "secret" not in caplog.text


async def test_a_handler_that_did_not_agree_is_asked_again_after_a_growing_time(autojump_clock: MockClock) -> None:
    handler = Handler(validation=Response(status=400))
    async with open_emulator(in_memory=True, event_handlers=[handler]) as emulator:
        for _ in range(20):
            await rejection(emulator, emulator.client_url("chat"))
            await trio.sleep(0.5)
        assert [event.time for event in handler.received] == [0, 1, 3, 7]
        handler.validation = AGREED
        await trio.sleep(5)
        async with open_peer(emulator):
            pass


async def test_an_agreement_is_renewed_beside_the_events(autojump_clock: MockClock) -> None:
    async def slowly(_event: Event) -> Response:
        await trio.sleep(5)
        return Response(status=400) if trio.current_time() > 100 else AGREED

    handler = Handler(validation=slowly)
    async with (
        open_emulator(in_memory=True, event_handlers=[handler]) as emulator,
        open_peer(emulator) as peer,
    ):
        assert trio.current_time() == 5
        await trio.sleep(59)
        assert (await ask(peer, ack_id=1))["success"]
        await trio.sleep(1)
        for ack_id in 2, 3:
            assert (await ask(peer, ack_id=ack_id))["success"]
        assert trio.current_time() == 65
        assert [event.time for event in handler.received if event.method == "OPTIONS"] == [0, 65]
        await trio.sleep(70)
        assert (await ask(peer, ack_id=4))["success"]
        await trio.sleep(6)
        assert not (await ask(peer, ack_id=5))["success"]


async def test_a_handler_that_cannot_be_reached_gets_no_events(autojump_clock: MockClock) -> None:
    async def connect(_host: str, _port: int, _ssl_context: ssl.SSLContext | None, /) -> trio.abc.Stream:
        raise OSError("nobody is there")

    limits = HandlerLimits(retry_delays=[1])
    async with open_emulator(
        in_memory=True, event_handlers=[EventHandler(URL)], handler_connector=connect, handler_limits=limits
    ) as emulator:
        assert await rejection(emulator, emulator.client_url("chat")) == 500
        assert trio.current_time() == 1


async def test_a_handler_has_ten_seconds_to_agree(autojump_clock: MockClock) -> None:
    async def never(_event: Event) -> Response:
        await trio.sleep_forever()
        raise AssertionError

    handler = Handler(validation=never)
    async with open_emulator(in_memory=True, event_handlers=[handler]) as emulator:
        assert await rejection(emulator, emulator.client_url("chat")) == 500
        assert trio.current_time() == 10


async def test_clients_that_come_at_once_make_for_one_validation(autojump_clock: MockClock) -> None:
    async def slowly(_event: Event) -> Response:
        await trio.sleep(1)
        return AGREED

    handler = Handler(validation=slowly)

    async def come() -> None:
        async with open_peer(emulator):
            pass

    async with open_emulator(in_memory=True, event_handlers=[handler]) as emulator, trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(come)
    assert [event.method for event in handler.received].count("OPTIONS") == 1
    assert handler.names.count("connect") == 5


# Apps in the process

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


def only_http(respond: Callable[[Receive, Send], Awaitable[None]]) -> Callable[[Scope, Receive, Send], Awaitable[None]]:
    """An app that agrees to be called, and answers user events in its own way. It knows no lifespan."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        if scope["method"] == "OPTIONS":
            headers = [(b"webhook-allowed-origin", b"*")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": b""})
        elif any(value == b"e" for name, value in scope["headers"] if name == b"ce-eventname"):
            await respond(receive, send)
        else:
            await send({"type": "http.response.start", "status": 204})
            await send({"type": "http.response.body"})

    return app


async def raises(_receive: Receive, _send: Send) -> None:
    raise LookupError("a bug")


async def raises_in_its_answer(_receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": b"half", "more_body": True})
    raise LookupError("a bug")


async def says_nothing(_receive: Receive, _send: Send) -> None:
    return


async def has_no_head(_receive: Receive, send: Send) -> None:
    await send({"type": "http.response.body", "body": b"x"})


async def has_a_bad_status(_receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": "fine"})


async def has_a_bad_header(_receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [("name", "value")]})


async def has_a_bad_body(_receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": "text"})


FAILURES = [
    raises,
    raises_in_its_answer,
    says_nothing,
    has_no_head,
    has_a_bad_status,
    has_a_bad_header,
    has_a_bad_body,
]


@pytest.mark.parametrize("respond", FAILURES)
async def test_an_app_that_fails_is_tried_again_and_its_error_is_logged(
    autojump_clock: MockClock,
    caplog: pytest.LogCaptureFixture,
    respond: Callable[[Receive, Send], Awaitable[None]],
) -> None:
    async with (
        open_emulator(in_memory=True, event_handlers=[only_http(respond)]) as emulator,
        open_peer(emulator) as peer,
        open_peer(emulator) as other,
    ):
        ack = await ask(peer)
        assert (ack["success"], trio.current_time()) == (False, 9)
        assert await other.ask(type="ping") == {"type": "pong"}
    assert caplog.messages.count("an event handler's app failed") == (0 if respond is says_nothing else 4)
    assert f"the event e of '{peer.connection_id}' failed: " in caplog.text


async def test_an_app_may_answer_in_parts_and_go_on_afterwards(autojump_clock: MockClock) -> None:
    done: list[float] = []

    async def respond(receive: Receive, send: Send) -> None:
        assert (await receive())["body"] == b"x"
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": b"one ", "more_body": True})
        await send({"type": "http.response.body", "body": b"two"})
        assert (await receive())["type"] == "http.disconnect"
        await trio.sleep(3)
        done.append(trio.current_time())

    async with (
        open_emulator(in_memory=True, event_handlers=[only_http(respond)]) as emulator,
        open_peer(emulator) as peer,
    ):
        assert (await ask(peer))["data"] == "one two"
        assert trio.current_time() == 0
        await trio.sleep(4)
    assert done == [3]


async def test_an_app_that_answers_without_end_is_cut_off(autojump_clock: MockClock) -> None:
    async def respond(_receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200})
        for _ in range(100):
            await send({"type": "http.response.body", "body": b"x" * 100, "more_body": True})
        await send({"type": "http.response.body"})

    async with (
        open_emulator(
            in_memory=True, event_handlers=[only_http(respond)], handler_limits=HandlerLimits(answer_size=500)
        ) as emulator,
        open_peer(emulator) as peer,
    ):
        assert not (await ask(peer))["success"]


async def test_an_app_lives_as_long_as_the_emulator(autojump_clock: MockClock) -> None:
    handler = Handler()
    async with open_emulator(in_memory=True, event_handlers={"a": [handler], "b": [handler]}):
        assert handler.lifespan == ["lifespan.startup"]
    assert handler.lifespan == ["lifespan.startup", "lifespan.shutdown"]


async def test_an_app_that_cannot_start_says_why(autojump_clock: MockClock) -> None:
    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        assert (await receive())["type"] == "lifespan.startup"
        await send({"type": "lifespan.startup.failed", "message": "no database"})

    with pytest.raises(RuntimeError, match="no database"):
        async with open_emulator(in_memory=True, event_handlers=[app, Handler()]):
            pass


async def test_an_app_that_cannot_start_leaves_the_port_free() -> None:
    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "lifespan.startup.failed"})

    async with open_emulator() as emulator:
        port = int(emulator.endpoint.rpartition(":")[2])
    with pytest.raises(RuntimeError, match="cannot start") as caught:
        async with open_emulator(port=port, event_handlers=[app]):
            pass
    async with open_emulator(port=port):
        assert caught.tb is not None  # so that what it refers to is not closed by chance


async def test_an_app_may_fail_in_its_lifespan(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        raise LookupError("a bug")

    async with open_emulator(in_memory=True, event_handlers=[app]):
        pass
    assert "an event handler's app failed" in caplog.text


async def test_an_app_that_speaks_something_else_in_its_lifespan_is_left_alone(autojump_clock: MockClock) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200})

    async with open_emulator(in_memory=True, event_handlers=[app]):
        pass


async def test_an_app_that_does_not_shut_down_is_left_after_three_seconds(autojump_clock: MockClock) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "lifespan.startup.complete"})
        await trio.sleep_forever()

    async with open_emulator(in_memory=True, event_handlers=[app]):
        pass
    assert trio.current_time() == 3


async def test_opening_can_be_cancelled_while_an_app_starts(autojump_clock: MockClock) -> None:
    async def app(_scope: Scope, _receive: Receive, _send: Send) -> None:
        await trio.sleep_forever()

    with trio.move_on_after(1) as scope:
        async with open_emulator(in_memory=True, event_handlers=[app]):
            pass
    assert scope.cancelled_caught
    assert trio.current_time() == 1


async def test_the_emulator_can_be_left_while_a_handler_is_busy(autojump_clock: MockClock) -> None:
    async def never(_event: Event) -> Response:
        await trio.sleep_forever()
        raise AssertionError

    handler = Handler({"e": never, "connected": never})
    async with open_emulator(in_memory=True, event_handlers=[handler]) as emulator, open_peer(emulator) as peer:
        await peer.send(type="event", event="e", dataType="text", data="x")
        await trio.testing.wait_all_tasks_blocked()
    assert trio.current_time() == 3
