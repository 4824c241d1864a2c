"""The whole way of an event, to a webhook app and back: in memory on the virtual clock, and over real sockets."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from trio_webpubsub import Client, ConnectFailed, DataType, InvocationFailed, SendFailed, open_client
from trio_webpubsub.emulator import DEFAULT_ACCESS_KEY, Emulator, EventHandler, open_emulator
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
    serve_webhooks,
)


class Shop:
    """An application: lets members in, takes their orders, and notes who came and went."""

    def __init__(self, **options: Any) -> None:
        self.news: list[tuple[str, str | None]] = []
        self.left = trio.Event()
        self.event_ids: list[str] = []
        self.orders_seen: list[int] = []
        self.failures = 0
        self.app = WebhookApp(
            "shop",
            access_keys=["not this one", DEFAULT_ACCESS_KEY],
            on_connect=self.on_connect,
            on_user_event=self.on_user_event,
            on_connected=self.on_connected,
            on_disconnected=self.on_disconnected,
            on_group_joined=self.on_group,
            on_group_left=self.on_group,
            **options,
        )

    async def on_connect(self, request: ConnectRequest) -> Accept | Reject | None:
        await trio.lowlevel.checkpoint()
        match request.user_id:
            case "mallory":
                return Reject(403, "Not you.")
            case "crash":
                raise ZeroDivisionError
            case "guest":
                request.state["orders"] = 0
                return Accept(user_id="guest-1", groups=["guests"], roles=["webpubsub.joinLeaveGroup"])
            case _:
                request.state["orders"] = 0
                assert request.claims["sub"] == [request.user_id]
                assert request.subprotocols
                return None

    async def on_user_event(self, event: UserEvent) -> object:
        await trio.lowlevel.checkpoint()
        self.event_ids.append(event.event_id)
        match event.name:
            case "order":
                event.state["orders"] += 1
                return Reply({"order": event.state["orders"], "of": event.data}, metadata=event.metadata)
            case "echo":
                return event.data
            case "flaky":
                self.failures += 1
                if self.failures < 3:
                    raise ZeroDivisionError
                return "at last"
            case "slow":
                await trio.sleep_forever()
                return None
            case "quiet":
                return None
            case _:
                raise EventRejected(400, "There is no such event.")

    async def on_connected(self, event: ConnectedEvent) -> None:
        await trio.lowlevel.checkpoint()
        assert event.state == {"orders": 0}
        self.news.append(("connected", event.user_id))

    async def on_disconnected(self, event: DisconnectedEvent) -> None:
        await trio.lowlevel.checkpoint()
        self.orders_seen.append(event.state["orders"])
        self.news.append(("disconnected", event.user_id))
        self.left.set()

    async def on_group(self, event: GroupJoinedEvent | GroupLeftEvent) -> None:
        await trio.lowlevel.checkpoint()
        self.news.append((f"{type(event).__name__} {event.group}", event.user_id))


class Scene:
    """An emulator with a shop behind it, and clients for it."""

    def __init__(self, emulator: Emulator, shop: Shop) -> None:
        self.emulator = emulator
        self.shop = shop

    @asynccontextmanager
    async def client(self, user_id: str = "ann", **options: Any) -> AsyncGenerator[Client]:
        url = self.emulator.client_url("shop", user_id=user_id)
        async with open_client(url, connector=self.emulator.connector, **options) as client:
            yield client


@asynccontextmanager
async def in_memory(**options: Any) -> AsyncGenerator[Scene]:
    shop = Shop(**options)
    with trio.fail_after(10_000):
        async with open_emulator(in_memory=True, event_handlers=[shop.app]) as emulator:
            yield Scene(emulator, shop)


@asynccontextmanager
async def over_sockets(**options: Any) -> AsyncGenerator[Scene]:
    shop = Shop(allowed_origins=["127.0.0.1"], **options)
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            (port,) = await nursery.start(serve_webhooks, shop.app)
            url = f"http://127.0.0.1:{port}/api/webpubsub/hubs/{{hub}}/{{event}}"
            handler = EventHandler(url, group_events=["joined", "left"])
            async with open_emulator(event_handlers={"shop": [handler]}) as emulator:
                yield Scene(emulator, shop)
            nursery.cancel_scope.cancel()


@pytest.fixture(params=["in memory", "over sockets"])
def where(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def clock(where: str) -> MockClock | None:
    """A virtual clock where nothing is real; it counts for the tests that take it."""
    return MockClock(autojump_threshold=0) if where == "in memory" else None


@pytest.fixture
async def scene(where: str) -> AsyncGenerator[Scene]:
    """The same scene in both ways."""
    async with (in_memory if where == "in memory" else over_sockets)() as scene:
        yield scene


async def test_an_event_is_handled_and_its_reply_comes_before_its_ack(scene: Scene, clock: object) -> None:
    async with scene.client() as client, client.server_messages() as replies:
        for number in (1, 2, 3):
            await client.send_event("order", {"item": "tea"}, metadata={"Trace": str(number)})
            reply = replies.receive_nowait()
            assert reply.data == {"order": number, "of": {"item": "tea"}}
            assert reply.metadata == {"trace": str(number)}
    await scene.shop.left.wait()
    assert scene.shop.orders_seen == [3]
    # Ids are numbers within the connection; connected has one of them, which may be any.
    assert len(set(scene.shop.event_ids)) == 3


@pytest.mark.parametrize(
    ("data", "data_type"),
    [("größe", "text"), ({"a": [1, None]}, "json"), ("text", "json"), (b"\x00\xff", "binary")],
)
async def test_data_of_every_type_goes_there_and_back(
    scene: Scene, clock: object, data: Any, data_type: DataType
) -> None:
    async with scene.client() as client, client.server_messages() as replies:
        await client.send_event("echo", data, data_type=data_type)
        reply = replies.receive_nowait()
        assert reply.data == data


async def test_nothing_is_sent_where_the_handler_says_nothing(scene: Scene, clock: object) -> None:
    async with scene.client() as client, client.server_messages() as replies:
        await client.send_event("quiet", "hi")
        with pytest.raises(trio.WouldBlock):
            replies.receive_nowait()


async def test_a_client_is_changed_while_it_connects(scene: Scene, clock: object) -> None:
    async with scene.client("guest") as client:
        assert client.user_id == "guest-1"
        assert scene.emulator.groups("shop") == {"guests": [client.connection_id]}
        with pytest.raises(SendFailed, match="Forbidden"):
            await client.send_to_group("guests", "hi")


async def test_a_client_is_rejected(scene: Scene, clock: object) -> None:
    with pytest.raises(ConnectFailed) as caught:
        async with scene.client("mallory"):
            pass
    assert caught.value.status == 403
    assert scene.shop.news == []


async def test_a_rejected_event_fails_and_the_next_one_does_not(scene: Scene, clock: object) -> None:
    async with scene.client() as client, client.server_messages() as replies:
        with pytest.raises(SendFailed) as caught:
            await client.send_event(
                "refund",
                "tea",
            )
        assert caught.value.name == "InternalServerError"
        await client.send_event("echo", "still here")
        assert replies.receive_nowait().data == "still here"


async def test_an_invocation_gets_the_reply_as_its_result(scene: Scene, clock: object) -> None:
    async with scene.client() as client:
        result = await client.invoke_event("order", ["tea"])
        assert result.data == {"order": 1, "of": ["tea"]}
        with pytest.raises(InvocationFailed):
            await client.invoke_event("refund", "tea")


async def test_the_application_learns_who_came_and_went(scene: Scene, clock: object) -> None:
    async with scene.client() as client:
        await client.send_event("quiet", "hi")
    await scene.shop.left.wait()
    assert scene.shop.news == [("connected", "ann"), ("disconnected", "ann")]


async def test_the_application_learns_of_groups_where_it_asked_to() -> None:
    async with over_sockets() as scene:
        async with scene.client() as client:
            await client.join_group("lobby")
            await client.leave_group("lobby")
        await scene.shop.left.wait()
        groups = [(what, who) for what, who in scene.shop.news if what.startswith("Group")]
        assert groups == [("GroupJoinedEvent lobby", "ann"), ("GroupLeftEvent lobby", "ann")]


# With a clock of our own


async def test_a_failing_handler_is_asked_again_if_it_wants_to_be(autojump_clock: MockClock) -> None:
    async with in_memory(retry_on_error=True) as scene, scene.client() as client, client.server_messages() as replies:
        started = trio.current_time()
        await client.send_event("flaky", "hi")
        assert replies.receive_nowait().data == "at last"
        assert trio.current_time() - started == pytest.approx(4)  # the service waits for 1, then for 3 seconds
        assert len(scene.shop.event_ids) == 3
        assert len(set(scene.shop.event_ids)) == 1


async def test_a_failing_handler_is_not_asked_again_by_default(autojump_clock: MockClock) -> None:
    async with in_memory() as scene, scene.client() as client:
        with pytest.raises(SendFailed):
            await client.send_event("flaky", "hi")
        assert scene.shop.failures == 1


async def test_a_client_whose_connect_handler_fails_is_refused_after_all_tries(autojump_clock: MockClock) -> None:
    async with in_memory() as scene:
        started = trio.current_time()
        with pytest.raises(ConnectFailed) as caught:
            async with scene.client("crash", connect_timeout=60):
                pass
        assert caught.value.status == 500
        assert trio.current_time() - started == pytest.approx(9)


async def test_a_slow_handler_is_cancelled_and_the_event_fails(autojump_clock: MockClock) -> None:
    async with in_memory(handler_timeout=5) as scene, scene.client(ack_timeout=200) as client:
        with pytest.raises(SendFailed):
            await client.send_event("slow", "hi")


async def test_a_recovered_session_is_no_news(autojump_clock: MockClock) -> None:
    async with in_memory() as scene:
        async with scene.client() as client, client.server_messages() as replies:
            await client.send_event("order", 1)
            assert client.connection_id is not None
            scene.emulator.cut(client.connection_id)
            await client.send_event("order", 2)
            assert [(await replies.receive()).data["order"] for _ in range(2)] == [1, 2]
        await scene.shop.left.wait()
        assert [what for what, _ in scene.shop.news] == ["connected", "disconnected"]
        assert scene.shop.orders_seen == [2]
