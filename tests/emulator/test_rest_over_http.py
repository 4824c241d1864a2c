"""The service client and the emulator's REST API, with the real bytes of HTTP between them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio.testing

from trio_webpubsub._shell.connector import Connector, connect_tcp
from trio_webpubsub._shell.randomness import system_bytes
from trio_webpubsub.emulator.directory import Directory
from trio_webpubsub.emulator.hub import ConnectAccepted, ConnectRequest, Deliver, Effect, Hub, Hubs
from trio_webpubsub.emulator.hub.limits import HubLimits
from trio_webpubsub.emulator.rest import RestApi
from trio_webpubsub.listener import Listener, WebSocketRequest
from trio_webpubsub.protocol.wire import DataMessage, Numbered, Payload
from trio_webpubsub.service import AuthenticationFailed, InvalidRequest, Service, open_service

KEY = "primary-access-key-primary-access-key-primary-access-key"


class Delivered(list[Numbered]):
    """What the hubs sent out."""

    def perform(self, _hub: Hub, effects: Iterable[Effect]) -> None:
        self += [effect.message for effect in effects if isinstance(effect, Deliver)]


async def no_websocket(request: WebSocketRequest) -> None:
    await request.reject(404)


def listener_for(delivered: Delivered) -> Listener:
    """Serve hubs in which one connection can be reached in every way."""
    hubs = Hubs(HubLimits())
    hub = hubs.hub("chat")
    hub.connect(
        1,
        ConnectRequest(
            subprotocols=["json.webpubsub.azure.v1"],
            connection_id="c:1/2",
            user_id="o'neil+1@example.org",
            groups=["tenant/7 ~é+%"],
        ),
    )
    hub.answer_connect(1, ConnectAccepted())
    hub.transport_opened(1)
    rest = RestApi(hubs, delivered.perform, keys=[KEY], endpoint="http://x", directory=Directory(system_bytes))
    return Listener(rest.handle, no_websocket)


@asynccontextmanager
async def service_at(port: int, connector: Connector, key: str = KEY) -> AsyncGenerator[Service]:
    text = f"Endpoint=http://127.0.0.1:{port};AccessKey={key};Version=1.0;"
    async with open_service(text, "Chat", connector=connector) as service:
        yield service


async def send_everything(service: Service) -> None:
    await service.send_to_all("é", excluded=["a b"], message_ttl_seconds=300)
    await service.send_to_group("tenant/7 ~é+%", {"a": 1}, excluded=["c"])
    await service.send_to_user("o'neil+1@example.org", b"\xff\0")
    await service.send_to_connection("c:1/2", "", content_type="application/json")


EVERYTHING = [
    DataMessage(payload=Payload("text", "é".encode())),
    DataMessage(payload=Payload("json", b'{"a":1}'), group="tenant/7 ~é+%"),
    DataMessage(payload=Payload("binary", b"\xff\0")),
    DataMessage(payload=Payload("json", b'""')),
]


async def test_in_memory(autojump_clock: trio.testing.MockClock, nursery: trio.Nursery) -> None:
    delivered = Delivered()
    async with service_at(8080, listener_for(delivered).connector(nursery)) as service:
        await send_everything(service)
    assert delivered == EVERYTHING


async def test_over_a_real_network(nursery: trio.Nursery) -> None:
    delivered = Delivered()
    (port,) = await nursery.start(partial(listener_for(delivered).serve, 0))
    async with service_at(port, connect_tcp) as service:
        await send_everything(service)
    nursery.cancel_scope.cancel()
    assert delivered == EVERYTHING


async def test_refusals_come_back_as_errors(autojump_clock: trio.testing.MockClock, nursery: trio.Nursery) -> None:
    delivered = Delivered()
    connector = listener_for(delivered).connector(nursery)
    async with service_at(8080, connector, key="x" * 44) as service:
        with pytest.raises(AuthenticationFailed) as refused:
            await service.send_to_all("hi")
        assert refused.value.status_code == 401
    async with service_at(8080, connector) as service:
        with pytest.raises(InvalidRequest, match=r"character '[.]' is not valid at position 6") as invalid:
            await service.send_to_all("hi", filter="userid.x")
        assert (invalid.value.status_code, invalid.value.error_code) == (400, "Error.BadRequest")
        with pytest.raises(InvalidRequest):
            await service.request("POST", "/api/hubs/chat/:send", content=bytes(2_000_000))
        await service.send_to_all("hi")
    assert [message.payload.body for message in delivered if isinstance(message, DataMessage)] == [b"hi"]


async def test_a_service_stays_good_over_hours(autojump_clock: trio.testing.MockClock, nursery: trio.Nursery) -> None:
    delivered = Delivered()
    async with service_at(8080, listener_for(delivered).connector(nursery)) as service:
        for pause in (1, 29, 31, 59, 61, 250, 3600, 86_400):
            await service.send_to_all("hi")
            await trio.sleep(pause)
        await service.send_to_all("hi")
    assert len(delivered) == 9
