"""The official WebSocket clients, and ours beside them, against the emulator: over http and over TLS."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio

from tests.interop.conftest import Opened
from tests.interop.official import KINDS, PLAIN, RELIABLE, Official, OpenOfficial, Refused
from trio_webpubsub import GroupMessage


@pytest.fixture(params=KINDS)
def open_official(request: pytest.FixtureRequest) -> OpenOfficial:
    """How one of them is opened."""
    kind: str = request.param
    return KINDS[kind]


@pytest.fixture
async def official(opened: Opened, open_official: OpenOfficial) -> AsyncIterator[Official]:
    """One that is connected as ann."""
    async with open_official(opened.emulator.client_url("chat", user_id="ann")) as official:
        yield official


def only(opened: Opened, user_id: str = "ann") -> str:
    """The connection id of a user who has one."""
    (connection_id,) = opened.emulator.users("chat")[user_id]
    return connection_id


async def test_it_connects(opened: Opened, official: Official) -> None:
    (connected,) = await official.happened.wait_for("connected")
    assert (connected["connection_id"], connected["user_id"]) == (only(opened), "ann")


@pytest.mark.parametrize("subprotocol", [RELIABLE, PLAIN])
async def test_payloads_of_each_type_come_as_they_went(
    opened: Opened, open_official: OpenOfficial, subprotocol: str
) -> None:
    sent = [
        ("text", "ü"),
        ("json", {"a": [1, None]}),
        ("json", "text"),
        ("binary", b"\x00\xff"),
        ("protobuf", b"\x0a\0"),
    ]
    url = opened.emulator.client_url("chat", user_id="ann")
    async with open_official(url, subprotocol=subprotocol) as official, opened.our_client(user_id="bob") as ours:
        await official.join("lobby")
        async with ours.group_messages("lobby") as messages:
            for data_type, data in sent:
                await official.send("lobby", data, data_type)
            got = [await messages.receive() for _ in sent]
            assert [(message.data_type, message.data) for message in got] == sent
            assert {message.from_user_id for message in got if isinstance(message, GroupMessage)} == {"ann"}
            echoes = await official.happened.wait_for("group-message", len(sent))
            assert {each["from_user_id"] for each in echoes} == {"ann"}
            for data_type, data in sent:
                await ours.send_to_group("lobby", data, data_type=data_type, no_echo=True)
            assert sorted(map(repr, await official.happened.data(2 * len(sent)))) == sorted(
                repr(data) for _, data in [*sent, *sent]
            )


async def test_no_echo(opened: Opened, official: Official) -> None:
    await official.join("lobby")
    await official.send("lobby", "not to me", no_echo=True)
    await official.send("lobby", "to me")
    assert await official.happened.data(1) == ["to me"]


async def test_without_acks(opened: Opened, official: Official) -> None:
    await official.join("lobby")
    await official.send("lobby", "hi", ack=False)
    assert await official.happened.data(1) == ["hi"]


async def test_leaving_a_group(opened: Opened, official: Official) -> None:
    await official.join("lobby")
    await official.join("hall")
    await official.leave("lobby")
    assert opened.emulator.groups("chat").keys() == {"hall"}


async def test_what_the_service_sends(opened: Opened, official: Official) -> None:
    async with opened.our_service() as service:
        await official.join("lobby")
        await service.send_to_all("all")
        await service.send_to_user("ann", {"to": "ann"})
        await service.send_to_connection(only(opened), b"\x01")
        await service.send_to_group("lobby", "group")
        assert sorted(map(repr, await official.happened.data(3, "server-message"))) == sorted(
            map(repr, ["all", {"to": "ann"}, b"\x01"])
        )
        assert await official.happened.data(1) == ["group"]


async def test_a_duplicate_is_done_once_and_no_error(opened: Opened, official: Official) -> None:
    await official.join("lobby")
    await official.send("lobby", "once", ack_id=77)
    await official.send("lobby", "once", ack_id=77)
    await official.send("lobby", "end")
    assert sorted(await official.happened.data(2)) == ["end", "once"]


async def test_what_is_forbidden_is_told(opened: Opened, open_official: OpenOfficial) -> None:
    url = opened.emulator.client_url("chat", user_id="ann", roles=[])
    async with open_official(url, retries=0) as official:
        with pytest.raises(Refused, match="Forbidden"):
            await official.join("lobby")
        async with opened.our_service() as service:
            await service.grant_permission("joinLeaveGroup", only(opened), target_name="lobby")
        await official.join("lobby")


async def test_events_are_answered(opened: Opened, official: Official) -> None:
    sent = [("text", "ü"), ("json", {"a": [1]}), ("binary", b"\x00\xff")]
    for data_type, data in sent:
        await official.send_event("echo", data, data_type)
    got = await official.happened.data(len(sent), "server-message")
    assert sorted(map(repr, got)) == sorted(repr(data) for _, data in sent)
    await official.send_event("quiet", "no reply")
    await official.send_event("echo", "no ack", ack=False)
    assert "no ack" in await official.happened.data(len(sent) + 1, "server-message")


async def test_events_that_fail_are_told(opened: Opened, open_official: OpenOfficial) -> None:
    async with open_official(opened.emulator.client_url("chat", user_id="ann"), retries=0) as official:
        with pytest.raises(Refused, match="InternalServerError"):
            await official.send_event("fail", "please")
        await official.send_event("echo", "still here")
        assert await official.happened.data(1, "server-message") == ["still here"]


async def test_an_event_is_handled_once_under_its_id(opened: Opened, official: Official) -> None:
    await official.send_event("echo", "once", ack_id=77)
    await official.send_event("echo", "once", ack_id=77)
    await official.send_event("echo", "end")
    assert sorted(await official.happened.data(2, "server-message")) == ["end", "once"]


async def test_after_a_cut_the_session_goes_on(opened: Opened, official: Official) -> None:
    async with opened.our_service() as service:
        await official.join("lobby")
        connection_id = only(opened)
        with opened.emulator.refuse_connections():
            opened.emulator.cut(connection_id, "eof")
            for number in range(20):
                await service.send_to_group("lobby", number)
        assert sorted(await official.happened.data(20)) == list(range(20))
        assert only(opened) == connection_id
        await official.send("lobby", "still here")
        assert "still here" in await official.happened.data(21)
        assert official.happened.of("disconnected") == []


async def test_after_a_lost_session_it_joins_its_groups_again(opened: Opened, official: Official) -> None:
    await official.join("lobby")
    first = only(opened)
    opened.emulator.forget_session(first)
    connected = await official.happened.wait_for("connected", 2)
    assert connected[1]["connection_id"] == only(opened) != first
    (disconnected,) = official.happened.of("disconnected")
    assert disconnected["connection_id"] == first
    await opened.until(lambda: "lobby" in opened.emulator.groups("chat"))
    await official.send("lobby", "hi")
    assert await official.happened.data(1) == ["hi"]


async def test_a_restart_with_and_without_state(opened: Opened, official: Official) -> None:
    await official.join("lobby")
    first = only(opened)
    with opened.emulator.refuse_connections():
        opened.emulator.restart()
        await opened.until(lambda: not opened.emulator.connections("chat")[0].attached)
    await opened.until(lambda: opened.emulator.connections("chat")[0].attached)
    await official.send("lobby", "one")
    assert only(opened) == first
    opened.emulator.restart(keep_state=False)
    await official.happened.wait_for("connected", 2)
    assert only(opened) != first


async def test_a_close_by_the_service_is_told(opened: Opened, open_official: OpenOfficial) -> None:
    url = opened.emulator.client_url("chat", user_id="ann")
    async with open_official(url, reconnect=False) as official, opened.our_service() as service:
        await service.close_connection(only(opened), reason="enough")
        (told,) = await official.happened.wait_for("disconnected")
        assert told["message"] == "Application server closed the connection. Reason: enough"


async def test_what_was_not_acknowledged_before_a_cut_is_asked_for_again(
    opened: Opened, open_official: OpenOfficial
) -> None:
    url = opened.emulator.client_url("chat", user_id="ann")
    async with open_official(
        url,
    ) as official:
        async with trio.open_nursery() as nursery:
            with opened.emulator.lose_acks():
                nursery.start_soon(official.join, "lobby")
                await opened.until(lambda: "lobby" in opened.emulator.groups("chat"))
            opened.emulator.cut(only(opened), "eof")
        await official.send("lobby", "hi")
        assert await official.happened.data(1) == ["hi"]
