"""Events of clients and their handlers: apps in this process, on the virtual clock."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from tests.emulator.handler import NO_CONTENT, Event, Handler, answer, text_answer
from tests.emulator.peer import PLAIN, RELIABLE, open_peer, raw_peer, recovery_url, rejection
from trio_webpubsub.emulator import Emulator, EventHandler, HandlerLimits, open_emulator
from trio_webpubsub.listener import Response
from trio_webpubsub.protocol.messages import ServerMessage
from trio_webpubsub.protocol.protobuf_codec import PROTOBUF
from trio_webpubsub.protocol.wire import Payload, SendEvent
from trio_webpubsub.service import open_service

URL = "http://localhost/events/{hub}/{event}"


@asynccontextmanager
async def emulator_with(handler: Handler, **options: Any) -> AsyncGenerator[Emulator, None]:
    """An emulator in memory whose handler gets every event of every hub."""
    async with open_emulator(in_memory=True, event_handlers=[handler], **options) as emulator:
        yield emulator


async def settled() -> None:
    await trio.testing.wait_all_tasks_blocked()


def slow(seconds: float, response: Response = NO_CONTENT) -> Any:
    async def answer_slowly(_event: Event) -> Response:
        await trio.sleep(seconds)
        return response

    return answer_slowly


# User events


async def test_an_event_reaches_its_handler_with_all_that_belongs_to_it(autojump_clock: MockClock) -> None:
    handler = Handler()
    async with (
        open_emulator(
            in_memory=True,
            event_handlers={"chat": [EventHandler(URL, app=handler)]},
            access_key="first-" * 8,
            secondary_key="second-" * 8,
        ) as emulator,
        open_peer(emulator, "Chat", user_id="änn") as peer,
    ):
        ack = await peer.ask(
            type="event", event="order.placed", dataType="json", data={"id": 42}, metadata={"Trace-Id": "a b"}, ackId=7
        )
        assert ack == {"type": "ack", "ackId": 7, "success": True}
    event = handler.event("order.placed")
    assert (event.method, event.path) == ("POST", "/events/chat/order.placed")
    assert json.loads(event.body) == {"id": 42}
    signatures = [
        hmac.new(key, peer.connection_id.encode(), hashlib.sha256).hexdigest()
        for key in (b"first-" * 8, b"second-" * 8)
    ]
    expected = {
        "content-type": "application/json; charset=utf-8",
        "webhook-request-origin": "127.0.0.1",
        "ce-specversion": "1.0",
        "ce-awpsversion": "1.0",
        "ce-type": "azure.webpubsub.user.order.placed",
        "ce-source": f"/hubs/chat/client/{peer.connection_id}",
        "ce-hub": "chat",
        "ce-connectionid": peer.connection_id,
        "ce-eventname": "order.placed",
        "ce-userid": "änn",
        "ce-subprotocol": RELIABLE,
        "ce-signature": ",".join(f"sha256={signature}" for signature in signatures),
        "x-webpubsub-metadata-trace-id": "a b",
    }
    assert {name: event.headers[name] for name in expected} == expected
    assert "ce-connectionstate" not in event.headers


@pytest.mark.parametrize(
    ("data_type", "data", "content_type", "body"),
    [
        ("text", "hé", "text/plain; charset=utf-8", "hé".encode()),
        ("json", None, "application/json; charset=utf-8", b"null"),
        ("binary", "AAH/", "application/octet-stream", b"\x00\x01\xff"),
        ("protobuf", "CgNhYmM=", "application/x-protobuf", b"\n\x03abc"),
    ],
)
async def test_each_data_type_has_its_content_type(
    autojump_clock: MockClock, data_type: str, data: object, content_type: str, body: bytes
) -> None:
    handler = Handler()
    async with emulator_with(handler) as emulator, open_peer(emulator) as peer:
        assert (await peer.ask(type="event", event="e", dataType=data_type, data=data, ackId=1))["success"]
    event = handler.event("e")
    assert (event.headers["content-type"], event.body) == (content_type, body)


async def test_an_event_of_metadata_alone_has_an_empty_body(autojump_clock: MockClock) -> None:
    handler = Handler()
    async with emulator_with(handler) as emulator, open_peer(emulator) as peer:
        assert (await peer.ask(type="event", event="e", metadata={"a": "b"}, ackId=1))["success"]
    assert (handler.event("e").body, handler.event("e").headers["x-webpubsub-metadata-a"]) == (b"", "b")


REPLIES = [
    (text_answer("hé"), ("text", "hé"), "hé"),
    (answer(b' {"a": 1} ', "Application/JSON; charset=utf-8"), ("json", {"a": 1}), ' {"a": 1} '),
    (answer(b"\x00\xff", "application/octet-stream"), ("binary", "AP8="), b"\x00\xff"),
    (answer(b"\n\x03abc", "application/x-protobuf"), ("protobuf", "CgNhYmM="), b"\n\x03abc"),
    (Response(status=200, body=b"bare"), ("binary", "YmFyZQ=="), b"bare"),
]


@pytest.mark.parametrize(("response", "as_json", "bare"), REPLIES)
async def test_the_answer_is_a_message_before_the_ack_or_a_bare_frame(
    autojump_clock: MockClock, response: Response, as_json: tuple[str, object], bare: str | bytes
) -> None:
    handler = Handler({"e": response, "message": response})
    async with (
        emulator_with(handler) as emulator,
        open_peer(emulator) as peer,
        raw_peer(emulator, emulator.client_url("chat"), []) as simple,
    ):
        message = await peer.ask(type="event", event="e", dataType="text", data="x", ackId=1)
        assert (message["from"], message["dataType"], message["data"]) == ("server", *as_json)
        assert message["sequenceId"] == 1
        assert (await peer.receive())["success"]
        await simple.websocket.send_message("x")
        assert await simple.websocket.get_message() == bare


async def test_a_protobuf_client_has_its_events_handled_too(autojump_clock: MockClock) -> None:
    handler = Handler({"e": text_answer("done")})
    async with (
        emulator_with(handler) as emulator,
        raw_peer(emulator, emulator.client_url("chat"), [PROTOBUF.subprotocol]) as peer,
    ):
        await peer.websocket.get_message()
        send = SendEvent(event="e", payload=Payload("protobuf", b"\n\x03abc"), ack_id=1)
        await peer.websocket.send_message(PROTOBUF.encode_upstream(send))
        frame = await peer.websocket.get_message()
        assert isinstance(frame, bytes)
        reply = PROTOBUF.decode_downstream(frame)
        assert isinstance(reply, ServerMessage)
        assert reply.data == "done"
    assert handler.event("e").headers["ce-subprotocol"] == PROTOBUF.subprotocol


@pytest.mark.parametrize("response", [NO_CONTENT, Response(status=200), Response(status=299)])
async def test_an_empty_answer_is_no_message(autojump_clock: MockClock, response: Response) -> None:
    handler = Handler({"*": response})
    async with (
        emulator_with(handler) as emulator,
        open_peer(emulator) as peer,
        raw_peer(emulator, emulator.client_url("chat"), []) as simple,
    ):
        assert (await peer.ask(type="event", event="e", dataType="text", data="x", ackId=1))["type"] == "ack"
        await simple.websocket.send_message("x")
        await settled()
        handler.answers["message"] = text_answer("second")
        await simple.websocket.send_message("y")
        assert await simple.websocket.get_message() == "second"


async def test_metadata_of_the_answer_come_with_its_message(autojump_clock: MockClock) -> None:
    handler = Handler({"*": Response(status=204, headers=[("X-WebPubSub-Metadata-Trace", "1, 2")])})
    async with (
        emulator_with(handler) as emulator,
        open_peer(emulator) as peer,
        raw_peer(emulator, emulator.client_url("chat"), []) as simple,
    ):
        message = await peer.ask(type="event", event="e", dataType="text", data="x")
        assert (message["metadata"], message["dataType"], message["data"]) == ({"trace": "2"}, "text", "")
        await simple.websocket.send_message("x")
        assert await simple.websocket.get_message() == ""


@pytest.mark.parametrize(
    "response",
    [
        Response(status=400, body=b"secret"),
        Response(status=302, headers=[("location", "/")]),
        answer(b"x", "image/png"),
        answer(b"\xff", "text/plain"),
        answer(b"{", "application/json"),
        answer(b"x", "text/plain; charset=klingon"),
    ],
)
async def test_an_answer_of_no_use_fails_the_event_and_the_same_id_may_be_tried_again(
    autojump_clock: MockClock, response: Response
) -> None:
    handler = Handler({"e": response, "message": response})
    async with (
        emulator_with(handler) as emulator,
        open_peer(emulator) as peer,
        raw_peer(emulator, emulator.client_url("chat"), []) as simple,
    ):
        ack = await peer.ask(type="event", event="e", dataType="text", data="x", ackId=1)
        assert (ack["success"], ack["error"]["name"]) == (False, "InternalServerError")
        assert "secret" not in json.dumps(ack)
        handler.answers["e"] = NO_CONTENT
        assert (await peer.ask(type="event", event="e", dataType="text", data="x", ackId=1))["success"]
        assert (await peer.ask(type="event", event="e", dataType="text", data="x", ackId=1))["error"][
            "name"
        ] == "Duplicate"
        await simple.websocket.send_message("x")
        assert (await simple.closed())[0] == 1011
    assert handler.names.count("e") == 2


async def test_without_an_ack_id_a_failed_event_is_silent(autojump_clock: MockClock) -> None:
    handler = Handler({"e": Response(status=400)})
    async with emulator_with(handler) as emulator, open_peer(emulator) as peer:
        await peer.send(type="event", event="e", dataType="text", data="x")
        assert await peer.ask(type="ping") == {"type": "pong"}
        await settled()
        assert await peer.ask(type="ping") == {"type": "pong"}


async def test_a_failed_event_drops_the_client_where_that_is_wanted(autojump_clock: MockClock) -> None:
    handler = Handler({"e": Response(status=400)})
    async with (
        emulator_with(handler, drop_failed_events=True) as emulator,
        open_peer(emulator) as peer,
    ):
        disconnected = await peer.ask(type="event", event="e", dataType="text", data="x")
        assert (disconnected["type"], disconnected["event"]) == ("system", "disconnected")
        assert (await peer.closed())[0] == 1011
        async with raw_peer(emulator, recovery_url(emulator, peer)) as again:
            assert (await again.closed())[0] == 1008


async def test_the_text_of_a_utf_16_answer_reaches_the_client(autojump_clock: MockClock) -> None:
    handler = Handler({"e": answer("hé".encode("utf-16"), "text/plain; charset=utf-16")})
    async with emulator_with(handler) as emulator, open_peer(emulator) as peer:
        assert (await peer.ask(type="event", event="e", dataType="text", data="x"))["data"] == "hé"


async def test_metadata_that_cannot_stand_in_a_header_fail_the_event(autojump_clock: MockClock) -> None:
    handler = Handler()
    async with emulator_with(handler) as emulator, open_peer(emulator) as peer:
        ack = await peer.ask(type="event", event="e", dataType="text", data="x", metadata={"a": "b\n"}, ackId=1)
        assert ack["error"]["name"] == "InternalServerError"
    assert "e" not in handler.names


async def test_event_ids_count_within_a_connection(autojump_clock: MockClock) -> None:
    handler = Handler()
    async with emulator_with(handler) as emulator, open_peer(emulator) as first, open_peer(emulator) as second:
        for peer in first, second:
            await settled()
            for name in "ab":
                await peer.ask(type="event", event=name, dataType="text", data="x", ackId=ord(name))
    for peer in first, second:
        events = [event for event in handler.events if event.headers["ce-connectionid"] == peer.connection_id]
        assert [(event.name, event.id) for event in events] == [
            ("connect", 0),
            ("connected", 1),
            ("a", 2),
            ("b", 3),
            ("disconnected", 4),
        ]


async def test_events_of_one_connection_come_one_after_another_and_hold_up_nobody_else(
    autojump_clock: MockClock,
) -> None:
    handler = Handler({"slow": slow(10)})
    async with emulator_with(handler) as emulator, open_peer(emulator) as ann, open_peer(emulator) as bob:
        for ack_id in 1, 2:
            await ann.send(type="event", event="slow", dataType="text", data="x", ackId=ack_id)
        await ann.send(type="joinGroup", group="lobby", ackId=3)
        assert (await bob.ask(type="event", event="quick", dataType="text", data="x", ackId=1))["success"]
        assert trio.current_time() == 0
        assert await ann.ask(type="ping") == {"type": "pong"}
        times = [((await ann.receive())["ackId"], trio.current_time()) for _ in range(3)]
        assert times == [(1, 10), (2, 20), (3, 20)]


async def test_a_client_whose_event_takes_long_is_not_read_without_end(autojump_clock: MockClock) -> None:
    handler = Handler({"slow": slow(10)})
    async with emulator_with(handler) as emulator, open_peer(emulator) as peer:
        await peer.send(type="event", event="slow", dataType="text", data="x", ackId=1)
        big = "x" * 500_000
        with trio.move_on_after(5) as scope:
            for ack_id in range(2, 100):
                await peer.send(type="sendToGroup", group="lobby", dataType="text", data=big, ackId=ack_id)
        assert scope.cancelled_caught
    # What had been taken is carried out all the same, and nothing hangs.


# Retries and times


@pytest.mark.parametrize("status", [408, 500, 503])
async def test_an_event_is_tried_again_after_1_3_and_5_seconds(autojump_clock: MockClock, status: int) -> None:
    handler = Handler({"e": Response(status=status)})
    async with emulator_with(handler) as emulator, open_peer(emulator) as peer:
        ack = await peer.ask(type="event", event="e", dataType="text", data="x", ackId=1)
        assert ack["success"] is False
    tries = [event for event in handler.events if event.name == "e"]
    assert [event.time for event in tries] == [0, 1, 4, 9]
    assert len({event.id for event in tries}) == 1


@pytest.mark.parametrize("status", [400, 404, 429])
async def test_no_other_status_is_tried_again(autojump_clock: MockClock, status: int) -> None:
    handler = Handler({"e": Response(status=status)})
    async with emulator_with(handler) as emulator, open_peer(emulator) as peer:
        await peer.ask(type="event", event="e", dataType="text", data="x", ackId=1)
    assert handler.names.count("e") == 1


async def test_a_try_that_succeeds_is_the_answer(autojump_clock: MockClock) -> None:
    async def recover(event: Event) -> Response:
        return Response(status=503) if event.time < 4 else text_answer("at last")

    handler = Handler({"e": recover})
    async with emulator_with(handler) as emulator, open_peer(emulator) as peer:
        assert (await peer.ask(type="event", event="e", dataType="text", data="x", ackId=1))["data"] == "at last"
        assert trio.current_time() == 4


async def test_a_handler_has_100_seconds_and_is_not_asked_again(autojump_clock: MockClock) -> None:
    handler = Handler({"e": slow(101)})
    async with emulator_with(handler) as emulator, open_peer(emulator) as peer:
        ack = await peer.ask(type="event", event="e", dataType="text", data="x", ackId=1)
        assert (ack["success"], trio.current_time()) == (False, 100)
    assert handler.names.count("e") == 1


async def test_retries_and_times_can_be_chosen(autojump_clock: MockClock) -> None:
    handler = Handler({"e": Response(status=500), "slow": slow(3)})
    limits = HandlerLimits(retry_delays=[0.5], timeout=2, answer_size=3)
    async with emulator_with(handler, handler_limits=limits) as emulator, open_peer(emulator) as peer:
        await peer.ask(type="event", event="e", dataType="text", data="x", ackId=1)
        assert (handler.names.count("e"), trio.current_time()) == (2, 0.5)
        await peer.ask(type="event", event="slow", dataType="text", data="x", ackId=2)
        assert trio.current_time() == 2.5
        handler.answers["*"] = text_answer("long")
        assert not (await peer.ask(type="event", event="f", dataType="text", data="x", ackId=3))["success"]
        handler.answers["*"] = text_answer("not")
        assert (await peer.ask(type="event", event="f", dataType="text", data="x", ackId=4))["data"] == "not"


# Connection state and cookies


async def test_the_state_of_a_connection_is_what_blocking_events_make_of_it(autojump_clock: MockClock) -> None:
    handler = Handler(
        {
            "connect": Response(status=204, headers=[("ce-connectionState", "one")]),
            "two": Response(status=204, headers=[("CE-ConnectionState", "x"), ("ce-connectionstate", "two")]),
            "none": Response(status=204, headers=[("ce-connectionState", "")]),
            "connected": Response(status=204, headers=[("ce-connectionState", "not counted")]),
        }
    )
    async with emulator_with(handler) as emulator, open_peer(emulator) as peer:
        for ack_id, name in enumerate(["a", "two", "b", "none", "c"], 1):
            await peer.ask(type="event", event=name, dataType="text", data="x", ackId=ack_id)
    states = {event.name: event.headers.get("ce-connectionstate") for event in handler.events}
    assert (states["connect"], states["connected"], states["a"]) == (None, "one", "one")
    assert (states["two"], states["b"], states["none"], states["c"]) == ("one", "two", "two", "")
    assert states["disconnected"] == ""


async def test_a_state_that_is_too_long_fails_the_event(autojump_clock: MockClock) -> None:
    handler = Handler({"e": Response(status=204, headers=[("ce-connectionState", "x" * 16_385)])})
    async with emulator_with(handler) as emulator, open_peer(emulator) as peer:
        assert not (await peer.ask(type="event", event="e", dataType="text", data="x", ackId=1))["success"]


async def test_cookies_come_back_on_later_events_of_the_same_connection(autojump_clock: MockClock) -> None:
    handler = Handler(
        {
            "connect": Response(status=204, headers=[("set-cookie", "node=7; Path=/; HttpOnly")]),
            "more": Response(status=204, headers=[("set-cookie", "a=b"), ("set-cookie", "node=8; Path=/")]),
            "bad": Response(status=400, headers=[("set-cookie", "node=9; Path=/")]),
        }
    )
    async with emulator_with(handler) as emulator, open_peer(emulator) as peer:
        for ack_id, name in enumerate(["more", "bad", "last"], 1):
            await peer.ask(type="event", event=name, dataType="text", data="x", ackId=ack_id)
        handler.answers["connect"] = NO_CONTENT
        async with open_peer(emulator):
            pass
    assert "cookie" not in handler.events[0].headers
    assert handler.event("more").headers["cookie"] == "node=7"
    assert set(handler.event("last").headers["cookie"].split("; ")) == {"a=b", "node=8"}
    assert all("cookie" not in event.headers for event in handler.events if event.name == "connect")


# connect


async def test_connect_tells_who_wants_to_connect(autojump_clock: MockClock) -> None:
    handler = Handler()
    async with emulator_with(handler) as emulator:
        url = emulator.client_url("Chat", user_id="ann", roles=["a", "b"], groups=["lobby"]) + "&x=1&x=2&y="
        async with raw_peer(emulator, url, ["soap", PLAIN], [(b"X-Test", b"yes"), (b"Cookie", b"c=d")]) as peer:
            await peer.receive()
    event = handler.event("connect")
    assert event.headers["ce-type"] == "azure.webpubsub.sys.connect"
    assert (event.headers["ce-id"], event.headers["ce-userid"]) == ("0", "ann")
    assert "ce-subprotocol" not in event.headers
    body = json.loads(event.body)
    assert body["claims"]["sub"] == ["ann"]
    assert body["claims"]["role"] == ["a", "b"]
    assert body["claims"]["webpubsub.group"] == ["lobby"]
    assert all(isinstance(value, str) for values in body["claims"].values() for value in values)
    assert body["query"] == {"x": ["1", "2"], "y": [""]}
    assert (body["headers"]["x-test"], body["headers"]["cookie"]) == (["yes"], ["c=d"])
    assert body["subprotocols"] == ["soap", PLAIN]
    assert body["clientCertificates"] == []
    token = url.partition("access_token=")[2].partition("&")[0]
    assert token not in event.body.decode()


async def test_connect_does_not_tell_the_token_in_the_header(autojump_clock: MockClock) -> None:
    handler = Handler()
    async with emulator_with(handler) as emulator:
        url, _, token = emulator.client_url("chat").partition("?access_token=")
        async with raw_peer(emulator, url, headers=[(b"Authorization", f"Bearer {token}".encode())]) as peer:
            await peer.receive()
    assert token not in handler.event("connect").body.decode()


async def test_connect_may_replace_who_the_client_is(autojump_clock: MockClock) -> None:
    body = {
        "userId": "bob",
        "roles": ["webpubsub.joinLeaveGroup.hall"],
        "groups": ["attic"],
        "subprotocol": PLAIN,
    }
    handler = Handler({"connect": answer(json.dumps(body).encode(), "application/json")})
    async with emulator_with(handler) as emulator:
        url = emulator.client_url("chat", user_id="ann", groups=["lobby"])
        async with raw_peer(emulator, url, [RELIABLE, PLAIN]) as peer:
            assert (await peer.receive())["userId"] == "bob"
            assert peer.websocket.subprotocol == PLAIN
            assert (await peer.ask(type="joinGroup", group="hall", ackId=1))["success"]
            assert not (await peer.ask(type="joinGroup", group="lobby", ackId=2))["success"]
            assert set(emulator.groups("chat")) == {"attic", "hall"}
            assert set(emulator.users("chat")) == {"bob"}
            await settled()
    assert handler.event("connected").headers["ce-userid"] == "bob"
    assert handler.event("connected").headers["ce-subprotocol"] == PLAIN


async def test_connect_may_choose_a_name_that_is_none_of_the_services(autojump_clock: MockClock) -> None:
    handler = Handler({"connect": answer(b'{"subprotocol": "soap"}', "application/json"), "message": text_answer("hi")})
    async with (
        emulator_with(handler) as emulator,
        raw_peer(emulator, emulator.client_url("chat"), [PLAIN, "soap"]) as peer,
    ):
        assert peer.websocket.subprotocol == "soap"
        await peer.websocket.send_message("hello")
        assert await peer.websocket.get_message() == "hi"
    assert handler.event("message").headers["ce-subprotocol"] == "soap"


@pytest.mark.parametrize(
    "response",
    [NO_CONTENT, Response(status=200), answer(b"null", "application/json"), answer(b"{}", "application/json")],
)
async def test_connect_may_leave_it_to_the_token(autojump_clock: MockClock, response: Response) -> None:
    handler = Handler({"connect": response})
    async with emulator_with(handler) as emulator, open_peer(emulator, user_id="ann", groups=["lobby"]) as peer:
        assert peer.connected["userId"] == "ann"
        assert set(emulator.groups("chat")) == {"lobby"}


@pytest.mark.parametrize(
    ("response", "status"),
    [
        (Response(status=401, body=b"go away"), 401),
        (Response(status=403), 403),
        (Response(status=429), 429),
        (Response(status=302), 500),
        (Response(status=503), 500),
        (answer(b"[]", "application/json"), 500),
        (answer(b'{"groups": [" "]}', "application/json"), 500),
        (answer(b'{"subprotocol": "soap"}', "application/json"), 500),
    ],
)
async def test_connect_may_refuse(autojump_clock: MockClock, response: Response, status: int) -> None:
    handler = Handler({"connect": response})
    async with emulator_with(handler) as emulator:
        assert await rejection(emulator, emulator.client_url("chat")) == status
        await settled()
        assert emulator.connections("chat") == []
    assert set(handler.names) == {"connect"}


async def test_a_client_waits_for_the_answer_to_connect_and_the_others_do_not(autojump_clock: MockClock) -> None:
    handler = Handler({"connect": slow(5)})
    async with emulator_with(handler) as emulator, open_peer(emulator) as peer:
        assert trio.current_time() == 5
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def _() -> None:
                async with open_peer(emulator):
                    pass

            await settled()
            assert await peer.ask(type="ping") == {"type": "pong"}
            assert trio.current_time() == 5


async def test_anonymous_clients_may_be_given_a_user(autojump_clock: MockClock) -> None:
    handler = Handler({"connect": answer(b'{"userId": "guest-1"}', "application/json")})
    async with (
        emulator_with(handler, anonymous_hubs=["chat"]) as emulator,
        raw_peer(emulator, f"{emulator.endpoint}/client/hubs/chat") as peer,
    ):
        assert (await peer.receive())["userId"] == "guest-1"
    assert json.loads(handler.event("connect").body)["claims"] == {}


# connected, disconnected, joined, left


async def test_the_life_of_a_connection_is_told(autojump_clock: MockClock) -> None:
    handler = Handler()
    async with (
        emulator_with(handler) as emulator,
        open_service(emulator.connection_string, hub="chat", connector=emulator.connector) as chat,
    ):
        async with open_peer(emulator, groups=["lobby"]) as peer:
            await peer.ask(type="joinGroup", group="hall", ackId=1)
            await chat.add_connection_to_group("attic", peer.connection_id)
            await chat.remove_connection_from_group("lobby", peer.connection_id)
            await settled()
            await chat.close_connection(peer.connection_id, reason="enough")
            await settled()
        told = [(event.name, json.loads(event.body)) for event in handler.events[1:]]
        assert told == [
            ("connected", {}),
            ("joined", {"group": "lobby"}),
            ("joined", {"group": "hall"}),
            ("joined", {"group": "attic"}),
            ("left", {"group": "lobby"}),
            ("left", {"group": "hall"}),
            ("left", {"group": "attic"}),
            ("disconnected", {"reason": "Application server closed the connection. Reason: enough"}),
        ]
        assert [event.id for event in handler.events] == list(range(9))
    assert handler.event("connected").headers["ce-type"] == "azure.webpubsub.sys.connected"
    assert handler.events[2].headers["ce-type"] == "azure.webpubsub.gp.joined"


async def test_a_reliable_session_is_told_at_its_real_start_and_end(autojump_clock: MockClock) -> None:
    handler = Handler({"connect": Response(status=204, headers=[("ce-connectionState", "kept")])})
    async with emulator_with(handler) as emulator, open_peer(emulator) as first:
        await trio.aclose_forcefully(first.stream)
        await trio.sleep(20)
        async with raw_peer(emulator, recovery_url(emulator, first)) as second:
            await second.receive()
            await second.ask(type="event", event="e", dataType="text", data="x", ackId=1)
        await trio.sleep(29)
        assert handler.names == ["connect", "connected", "e"]
        await trio.sleep(2)
        assert handler.names == ["connect", "connected", "e", "disconnected"]
    assert handler.event("e").headers["ce-connectionstate"] == "kept"


async def test_notices_hold_up_nothing_and_are_tried_again(autojump_clock: MockClock) -> None:
    handler = Handler({"connected": Response(status=500)})
    async with emulator_with(handler) as emulator, open_peer(emulator) as peer:
        assert (await peer.ask(type="event", event="e", dataType="text", data="x", ackId=1))["success"]
        assert trio.current_time() == 0
        await trio.sleep(10)
    assert handler.names.count("connected") == 4
    assert handler.names[-1] == "disconnected"


async def test_of_too_many_notices_the_last_one_is_told(autojump_clock: MockClock) -> None:
    handler = Handler({"connected": slow(1)})
    async with emulator_with(handler, handler_limits=HandlerLimits(waiting_notices=2)) as emulator:
        async with open_peer(emulator) as peer:
            for ack_id, group in enumerate("abcd", 1):
                await peer.ask(type="joinGroup", group=group, ackId=ack_id)
        await trio.sleep(40)
    assert [name for name in handler.names if name != "left"] == [
        "connect",
        "connected",
        "joined",
        "joined",
        "disconnected",
    ]


async def test_the_end_of_the_emulator_is_told(autojump_clock: MockClock) -> None:
    handler = Handler()
    async with emulator_with(handler) as emulator, open_peer(emulator):
        await trio.sleep(1)
        # A session that waits for its client ends too.
    event = handler.event("disconnected")
    assert json.loads(event.body) == {"reason": "The emulator is closing."}
    assert handler.lifespan == ["lifespan.startup", "lifespan.shutdown"]


# Invocations


async def test_an_invocation_gets_the_answer_of_the_handler(autojump_clock: MockClock) -> None:
    handler = Handler({"price.get": answer(b'{"price": 12}', "application/json", x_webpubsub_metadata_a="b")})
    async with emulator_with(handler) as emulator, open_peer(emulator) as peer:
        response = await peer.ask(
            type="invoke", invocationId="i-1", target="event", event="price.get", dataType="json", data={"sku": "x"}
        )
        assert response == {
            "type": "invokeResponse",
            "invocationId": "i-1",
            "success": True,
            "metadata": {"a": "b"},
            "dataType": "json",
            "data": {"price": 12},
        }
    assert handler.event("price.get").headers["ce-type"] == "azure.webpubsub.user.price.get"


async def test_an_invocation_that_fails_says_so(autojump_clock: MockClock) -> None:
    handler = Handler({"e": Response(status=400)})
    async with emulator_with(handler) as emulator, open_peer(emulator) as peer:
        response = await peer.ask(type="invoke", invocationId="i-1", target="event", event="e")
        assert (response["success"], response["error"]["name"]) == (False, "InternalServerError")


async def test_a_cancelled_invocation_cancels_its_handler(autojump_clock: MockClock) -> None:
    cancelled: list[str] = []

    async def wait(event: Event) -> Response:
        try:
            await trio.sleep_forever()
        finally:
            cancelled.append(event.name)

    handler = Handler({"e": wait})
    async with emulator_with(handler) as emulator, open_peer(emulator) as peer:
        await peer.send(type="invoke", invocationId="i-1", target="event", event="e")
        await settled()
        await peer.send(type="cancelInvocation", invocationId="i-1")
        await settled()
        assert cancelled == ["e"]
        assert await peer.ask(type="ping") == {"type": "pong"}


# Which handler gets what


async def test_the_first_handler_that_takes_an_event_gets_it(autojump_clock: MockClock) -> None:
    first, second = Handler(), Handler()
    handlers = {
        "CHAT": [
            EventHandler(URL, user_events="A, b", system_events=["connected"], app=first),
            EventHandler(URL, user_events="*", system_events=(), group_events=["joined"], app=second),
        ],
        "other": [EventHandler(URL, user_events="", system_events=(), app=first)],
    }
    async with open_emulator(in_memory=True, event_handlers=handlers) as emulator:
        async with open_peer(emulator) as peer:
            for ack_id, name in enumerate(["a", "B", "c"], 1):
                assert (await peer.ask(type="event", event=name, dataType="text", data="x", ackId=ack_id))["success"]
            await peer.ask(type="joinGroup", group="lobby", ackId=9)
            await settled()
        for hub in "other", "third":
            async with open_peer(emulator, hub) as peer:
                ack = await peer.ask(type="event", event="a", dataType="text", data="x", ackId=1)
                assert not ack["success"]
    assert first.names == ["connected", "a", "B"]
    assert second.names == ["c", "joined"]


async def test_hubs_without_handlers_of_their_own_have_the_default_ones(autojump_clock: MockClock) -> None:
    own, default = Handler(), Handler()
    handlers = {"chat": [own], "_default": [default]}
    async with open_emulator(in_memory=True, event_handlers=handlers) as emulator:
        for hub in "chat", "other":
            async with open_peer(emulator, hub) as peer:
                await peer.ask(type="event", event="e", dataType="text", data="x", ackId=1)
    assert {event.headers["ce-hub"] for event in own.events} == {"chat"}
    assert {event.headers["ce-hub"] for event in default.events} == {"other"}


@pytest.mark.parametrize(
    "limits",
    [{"timeout": 0}, {"retry_delays": [-1]}, {"validation_timeout": -1}, {"answer_size": -1}, {"waiting_notices": -1}],
)
def test_limits_that_cannot_be_are_refused(limits: dict[str, Any]) -> None:
    (name,) = limits
    with pytest.raises(ValueError, match=name):
        HandlerLimits(**limits)


@pytest.mark.parametrize(
    "settings",
    [
        {"url_template": "ftp://localhost/"},
        {"url_template": "http://{hub}.localhost/"},
        {"url_template": "http://localhost/{connection}"},
        {"url_template": "http://localhost:99999/"},
        {"url_template": "http://1.2.3.400/"},
        {"url_template": "tunnel:///events"},
        {"url_template": URL, "user_events": "a, not an event"},
        {"url_template": URL, "user_events": ",,"},
        {"url_template": URL, "user_events": " "},
        {"url_template": URL, "system_events": ["closed"]},
        {"url_template": URL, "system_events": "connect"},
        {"url_template": URL, "group_events": ["connect"]},
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"event handler|URL|event name|these events|no names"):
        EventHandler(**settings)


async def test_the_name_of_a_hub_is_checked(autojump_clock: MockClock) -> None:
    with pytest.raises(ValueError, match="hub name"):
        async with open_emulator(in_memory=True, event_handlers={"1": [Handler()]}):
            pass
