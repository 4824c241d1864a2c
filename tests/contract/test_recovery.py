"""What survives when links break, which Azure and the emulator must keep alike."""

from __future__ import annotations

from typing import Literal

import pytest
import trio

from trio_webpubsub import Connected, Disconnected, Gap, Recovered, open_client
from trio_webpubsub.protocol.subprotocols import Subprotocol

from .conftest import Place

LIMIT = 45.0
RELIABLE: list[Subprotocol] = ["json.reliable.webpubsub.azure.v1", "protobuf.reliable.webpubsub.azure.v1"]
reliable = pytest.mark.parametrize("subprotocol", RELIABLE)


@reliable
@pytest.mark.parametrize("how", ["reset", "eof"])
async def test_nothing_is_lost_repeated_or_reordered_over_broken_links(
    place: Place, subprotocol: Subprotocol, how: Literal["reset", "eof"]
) -> None:
    with trio.fail_after(LIMIT):
        async with (
            place.client(subprotocol=subprotocol) as client,
            client.group_messages(place.group) as messages,
            trio.open_nursery() as nursery,
        ):

            @nursery.start_soon
            async def send() -> None:
                for number in range(60):
                    if number % 20 == 10:
                        place.cut_links(how)
                    await client.send_to_group(place.group, number)

            assert [(await messages.receive()).data for _ in range(60)] == list(range(60))
            assert client.statistics().recoveries == 3
            assert client.statistics().reconnects == 0


async def test_a_link_that_fell_silent_is_left_and_nothing_is_lost(place: Place) -> None:
    with trio.fail_after(LIMIT):
        async with (
            place.client(keep_alive_interval=0.5, keep_alive_timeout=1.0) as client,
            client.group_messages(place.group) as messages,
        ):
            connection_id = client.connection_id
            place.cut_links("silence")
            await place.service.send_to_group(place.group, "into the silence")
            assert (await messages.receive()).data == "into the silence"
            assert client.connection_id == connection_id


@reliable
async def test_what_was_said_meanwhile_comes_after_the_recovery(place: Place, subprotocol: Subprotocol) -> None:
    with trio.fail_after(LIMIT):
        async with (
            place.client(subprotocol=subprotocol) as client,
            client.group_messages(place.group) as messages,
            client.lifecycle() as news,
        ):
            assert isinstance(await news.receive(), Connected)
            place.cut_links("reset")
            for number in range(5):
                await place.service.send_to_group(place.group, number)
            assert isinstance(await news.receive(), Disconnected)
            assert isinstance(await news.receive(), Recovered)
            assert [(await messages.receive()).data for _ in range(5)] == list(range(5))


async def test_a_plain_client_gets_a_new_session_with_its_groups_and_a_gap(place: Place) -> None:
    with trio.fail_after(LIMIT):
        async with (
            place.client(subprotocol="json.webpubsub.azure.v1") as client,
            client.group_messages(place.group, gaps=True) as messages,
        ):
            connection_id = client.connection_id
            place.cut_links("reset")
            assert await messages.receive() == Gap(session_lost=True)
            await client.send_to_group(place.group, "again")
            message = await messages.receive()
            assert not isinstance(message, Gap)
            assert message.data == "again"
            assert client.connection_id != connection_id


@reliable
async def test_a_session_goes_on_in_another_client(place: Place, subprotocol: Subprotocol) -> None:
    with trio.fail_after(LIMIT):
        async with (
            place.client(subprotocol=subprotocol) as first,
            first.group_messages(place.group) as messages,
        ):
            connection_id = first.connection_id
            await first.send_to_group(place.group, "one")
            assert (await messages.receive()).data == "one"
            ticket = await first.detach()
        await place.service.send_to_group(place.group, "two")
        async with (
            open_client(await place.service.client_access_url(), resume=ticket) as second,
            second.group_messages(place.group, join=False) as messages,
        ):
            assert (await messages.receive()).data == "two"
            assert second.connection_id == connection_id
