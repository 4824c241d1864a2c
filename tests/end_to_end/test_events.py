"""Events of our client, an emulator in memory, and an event handler in the same process."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from tests.emulator.handler import Event, Handler, answer, text_answer
from trio_webpubsub import ConnectFailed, InvocationFailed, SendFailed, open_client
from trio_webpubsub.emulator import Emulator, open_emulator
from trio_webpubsub.listener import Response
from trio_webpubsub.protocol.subprotocols import SUBPROTOCOLS, Subprotocol

RELIABLE: list[Subprotocol] = ["json.reliable.webpubsub.azure.v1", "protobuf.reliable.webpubsub.azure.v1"]


@pytest.mark.parametrize("subprotocol", SUBPROTOCOLS)
async def test_an_event_is_answered_and_an_invocation_gives_its_result(
    autojump_clock: MockClock, subprotocol: Subprotocol
) -> None:
    handler = Handler(
        {
            "greet": text_answer("hello", x_webpubsub_metadata_a="b"),
            "price.get": answer(b'{"price":12}', "application/json"),
        }
    )
    async with (
        open_emulator(in_memory=True, event_handlers=[handler]) as emulator,
        open_client(emulator.client_url("chat"), connector=emulator.connector, subprotocol=subprotocol) as client,
        client.server_messages() as messages,
    ):
        await client.send_event("greet", {"name": "ann"})
        message = await messages.receive()
        assert (message.data, message.metadata) == ("hello", {"a": "b"})
        result = await client.invoke_event("price.get", {"sku": "x"})
        assert (result.data, result.data_type) == ({"price": 12}, "json")
    assert handler.event("greet").body == b'{"name":"ann"}'
    assert handler.event("greet").headers["ce-subprotocol"] == subprotocol


async def test_a_handler_that_refuses_is_heard(autojump_clock: MockClock) -> None:
    handler = Handler({"*": Response(status=400), "connect": Response(status=204)})
    async with open_emulator(in_memory=True, event_handlers=[handler]) as emulator:
        async with open_client(emulator.client_url("chat"), connector=emulator.connector) as client:
            with pytest.raises(SendFailed) as refused:
                await client.send_event("e", "x")
            assert refused.value.name == "InternalServerError"
            with pytest.raises(InvocationFailed):
                await client.invoke_event("e", "x")
        handler.answers["connect"] = Response(status=403)
        with pytest.raises(ConnectFailed) as rejected:
            async with open_client(emulator.client_url("chat"), connector=emulator.connector):
                pass
        assert rejected.value.status == 403


@pytest.mark.parametrize("subprotocol", RELIABLE)
async def test_an_event_whose_handler_takes_longer_than_the_link_lasts_is_handled_once(
    autojump_clock: MockClock, subprotocol: Subprotocol
) -> None:
    async def slowly(_event: Event) -> Response:
        await trio.sleep(25)
        return text_answer("done")

    handler = Handler({"slow": slowly})
    async with (
        open_emulator(in_memory=True, event_handlers=[handler]) as emulator,
        open_client(emulator.client_url("chat"), connector=emulator.connector, subprotocol=subprotocol) as client,
        client.server_messages() as messages,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(client.send_event, "slow", "x")
        nursery.start_soon(cut_later, emulator, 5.0)
        message = await messages.receive()
        assert (message.data, trio.current_time()) == ("done", 25)
    assert handler.names.count("slow") == 1
    assert handler.names.count("connected") == 1


async def cut_later(emulator: Emulator, seconds: float) -> None:
    await trio.sleep(seconds)
    emulator.cut_all()


async def test_a_client_keeps_its_link_while_its_event_takes_a_minute(autojump_clock: MockClock) -> None:
    async def slowly(_event: Event) -> Response:
        await trio.sleep(60)
        return Response(status=204)

    handler = Handler({"slow": slowly})
    async with (
        open_emulator(in_memory=True, event_handlers=[handler]) as emulator,
        open_client(emulator.client_url("chat"), connector=emulator.connector, ack_timeout=90) as client,
    ):
        before = client.connection_id
        await client.send_event("slow", "x")
        assert (client.connection_id, trio.current_time()) == (before, 60)
        assert client.statistics().recoveries == 0
    assert handler.names.count("slow") == 1
