"""The official WebSocket clients as callers of a webhook app: their events, its replies, refusals and ends."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio
from azure.messaging.webpubsubclient.models import OpenClientError

from tests.interop.conftest import LIMIT
from tests.interop.node_peer import NodeError
from tests.interop.official import KINDS, PLAIN, RELIABLE, OpenOfficial, Refused
from trio_webpubsub._shell.groups import leaves
from trio_webpubsub.emulator import DEFAULT_ACCESS_KEY, Emulator, HubLimits, open_emulator
from trio_webpubsub.webhooks import (
    Accept,
    ConnectRequest,
    DisconnectedEvent,
    EventRejected,
    Reject,
    Reply,
    UserEvent,
    WebhookApp,
)


class Handlers:
    """What the app does, and what it saw."""

    def __init__(self) -> None:
        self.rejected: list[str | None] = []
        self.states: list[object] = []
        self.left = trio.Event()
        self.app = WebhookApp(
            "chat",
            access_keys=[DEFAULT_ACCESS_KEY],
            on_connect=self.on_connect,
            on_user_event=self.on_user_event,
            on_disconnected=self.on_disconnected,
        )

    async def on_connect(self, request: ConnectRequest) -> Accept | Reject:
        await trio.lowlevel.checkpoint()
        if request.user_id == "mallory":
            self.rejected.append(request.user_id)
            return Reject(403)
        request.state["count"] = 0
        return Accept(user_id=f"{request.user_id}!", groups=["lobby"])

    async def on_user_event(self, event: UserEvent) -> Reply:
        await trio.lowlevel.checkpoint()
        if event.name == "refuse":
            raise EventRejected(409)
        event.state["count"] += 1
        return Reply(event.data, data_type=event.data_type)

    async def on_disconnected(self, event: DisconnectedEvent) -> None:
        await trio.lowlevel.checkpoint()
        self.states.append(dict(event.state))
        self.left.set()


@pytest.fixture
def handlers() -> Handlers:
    return Handlers()


@pytest.fixture
async def emulator(handlers: Handlers) -> AsyncIterator[Emulator]:
    with trio.fail_after(LIMIT):
        # The driver of the client for JavaScript is killed at the end, without taking leave.
        async with open_emulator(event_handlers=[handlers.app], limits=HubLimits(recovery_window=1)) as emulator:
            yield emulator


@pytest.mark.parametrize("subprotocol", [RELIABLE, PLAIN])
@pytest.mark.parametrize("open_official", KINDS.values(), ids=KINDS)
async def test_events_are_answered(
    emulator: Emulator, handlers: Handlers, open_official: OpenOfficial, subprotocol: str
) -> None:
    url = emulator.client_url("chat", user_id="ann")
    async with open_official(url, subprotocol=subprotocol) as official:
        assert list(emulator.users("chat")) == ["ann!"]
        assert list(emulator.groups("chat")) == ["lobby"]
        sent = [("text", "größe"), ("json", {"a": [1, None]}), ("binary", b"\x00\xff")]
        for data_type, data in sent:
            await official.send_event("echo", data, data_type)
        got = await official.happened.data(3, "server-message")
        assert sorted(map(repr, got)) == sorted(repr(data) for _, data in sent)
    await handlers.left.wait()
    assert handlers.states == [{"count": 3}]


@pytest.mark.parametrize("open_official", KINDS.values(), ids=KINDS)
async def test_a_refused_event_is_told(emulator: Emulator, open_official: OpenOfficial) -> None:
    url = emulator.client_url("chat", user_id="ann")
    async with open_official(url, retries=0) as official:
        with pytest.raises(Refused, match="InternalServerError"):
            await official.send_event("refuse", "hi")


@pytest.mark.parametrize("open_official", KINDS.values(), ids=KINDS)
async def test_a_rejected_client_gets_no_connection(
    emulator: Emulator, handlers: Handlers, open_official: OpenOfficial
) -> None:
    errors: list[BaseException] = []
    try:
        async with open_official(emulator.client_url("chat", user_id="mallory"), reconnect=False):
            pass
    except* (OpenClientError, NodeError) as group:
        errors.extend(leaves(group))
    (error,) = errors
    assert "403" in str(error)
    assert handlers.rejected == ["mallory"]
    assert emulator.connections("chat") == []
