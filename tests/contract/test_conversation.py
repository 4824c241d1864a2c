"""What clients and servers say to each other, which Azure and the emulator must understand alike."""

from __future__ import annotations

from typing import Any, get_args

import pytest
import trio

from trio_webpubsub import ConnectFailed, GroupMessage, SendFailed, ServerMessage, open_client
from trio_webpubsub.protocol.subprotocols import Subprotocol

from .conftest import Place

DATA: list[Any] = [{"text": "héllo \u0000 🙂"}, [1, 2.5, None, True], "text", "", b"\x00\xff", b"", 7, None]

pytestmark = pytest.mark.parametrize("subprotocol", get_args(Subprotocol))
LIMIT = 45.0


async def test_a_group_message_comes_as_it_was_sent(place: Place, subprotocol: Subprotocol) -> None:
    with trio.fail_after(LIMIT):
        async with (
            place.client(user_id="ann", subprotocol=subprotocol) as ann,
            place.client(user_id="ben", subprotocol=subprotocol) as ben,
            ben.group_messages(place.group) as messages,
        ):
            for data in DATA:
                await ann.send_to_group(place.group, data)
                message = await messages.receive()
                assert isinstance(message, GroupMessage)
                assert message.data_error is None
                assert (message.group, message.data) == (place.group, data)


async def test_everybody_hears_a_message_in_their_own_subprotocol(place: Place, subprotocol: Subprotocol) -> None:
    with trio.fail_after(LIMIT):
        async with (
            place.client(subprotocol="json.webpubsub.azure.v1") as json_client,
            place.client(subprotocol=subprotocol) as client,
            json_client.group_messages(place.group) as json_messages,
            client.group_messages(place.group) as messages,
        ):
            for data in DATA:
                await json_client.send_to_group(place.group, data)
                assert (await json_messages.receive()).data == (await messages.receive()).data == data


async def test_no_echo_leaves_out_the_sender_alone(place: Place, subprotocol: Subprotocol) -> None:
    with trio.fail_after(LIMIT):
        async with (
            place.client(subprotocol=subprotocol) as ann,
            place.client(subprotocol=subprotocol) as ben,
            ann.group_messages(place.group) as anns,
            ben.group_messages(place.group) as bens,
        ):
            await ann.send_to_group(place.group, "not for ann", no_echo=True)
            await ann.send_to_group(place.group, "for all")
            assert (await anns.receive()).data == "for all"
            assert [(await bens.receive()).data for _ in range(2)] == ["not for ann", "for all"]


async def test_servers_reach_connections_users_and_groups(place: Place, subprotocol: Subprotocol) -> None:
    user = f"user of {place.group}"
    with trio.fail_after(LIMIT):
        async with (
            place.client(user_id=user, groups=[place.group], subprotocol=subprotocol) as client,
            client.messages() as messages,
        ):
            assert client.connection_id is not None
            await place.service.send_to_connection(client.connection_id, {"to": "connection"})
            first = await messages.receive()
            await place.service.send_to_user(user, "to user")
            second = await messages.receive()
            await place.service.send_to_group(place.group, b"to group")
            third = await messages.receive()
            assert isinstance(first, ServerMessage)
            assert isinstance(second, ServerMessage)
            assert isinstance(third, GroupMessage)
            assert [each.data for each in (first, second, third)] == [{"to": "connection"}, "to user", b"to group"]


async def test_without_a_role_groups_are_forbidden(place: Place, subprotocol: Subprotocol) -> None:
    with trio.fail_after(LIMIT):
        async with place.client(roles=[], subprotocol=subprotocol) as client:
            with pytest.raises(SendFailed) as joining:
                await client.join_group(place.group)
            with pytest.raises(SendFailed) as sending:
                await client.send_to_group(place.group, "hi")
            assert joining.value.name == sending.value.name == "Forbidden"


async def test_a_role_for_one_group_allows_no_other(place: Place, subprotocol: Subprotocol) -> None:
    with trio.fail_after(LIMIT):
        role = f"webpubsub.joinLeaveGroup.{place.group}"
        async with place.client(roles=[role], subprotocol=subprotocol) as client:
            await client.join_group(place.group)
            with pytest.raises(SendFailed):
                await client.join_group(place.group + "-other")


async def test_who_left_a_group_hears_nothing_more_of_it(place: Place, subprotocol: Subprotocol) -> None:
    with trio.fail_after(LIMIT):
        async with (
            place.client(subprotocol=subprotocol) as client,
            client.messages() as messages,
        ):
            await client.join_group(place.group)
            await client.send_to_group(place.group, "in")
            assert (await messages.receive()).data == "in"
            await client.leave_group(place.group)
            await client.send_to_group(place.group, "out")
            assert client.connection_id is not None
            await place.service.send_to_connection(client.connection_id, "end")
            assert (await messages.receive()).data == "end"


async def test_a_token_with_another_key_is_refused(place: Place, subprotocol: Subprotocol) -> None:
    url = await place.service.client_access_url(user_id="mallory")
    head, _, signature = url.rpartition(".")
    forged = f"{head}.{signature[::-1]}"
    with trio.fail_after(LIMIT):
        with pytest.raises(ConnectFailed) as refused:
            async with open_client(forged, subprotocol=subprotocol):
                pass
        assert refused.value.status == 401
