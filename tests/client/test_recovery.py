"""A link that is lost, and a session that goes on over the next one."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_webpubsub import (
    ConnectAttemptFailed,
    Connected,
    Disconnected,
    Gap,
    Lifecycle,
    Recovered,
    open_client,
)

from .raw_service import URL, RawService


async def test_a_quiet_session_is_recovered_by_the_answer_to_a_ping(
    autojump_clock: MockClock, service: RawService
) -> None:
    async with open_client(URL, connector=service.connector) as client, client.lifecycle() as lifecycle:
        peer = await service.next()
        peer.cut()
        await service.recover()
        told = [await lifecycle.receive() for _ in range(3)]
        assert told == [
            Connected(connection_id="c-1", user_id="ann", first=True),
            Disconnected(connection_id="c-1", code=1006),
            Recovered(connection_id="c-1"),
        ]


async def test_a_recovery_that_stays_mute_is_tried_again(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector) as client:
        (await service.next()).cut()
        start = trio.current_time()
        await service.next()  # opens, and says nothing
        await service.recover()
        assert 5 <= trio.current_time() - start < 6
        await wait_all_tasks_blocked()
        assert client.state == "connected"


async def test_a_recovery_is_tried_until_its_time_is_over(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector) as client, client.lifecycle() as lifecycle:
        peer = await service.next()
        start = trio.current_time()
        service.refuse = OSError("no route to host")
        peer.cut()
        attempts: list[Lifecycle] = []
        async for event in lifecycle:
            if isinstance(event, ConnectAttemptFailed):
                attempts.append(event)
                if client.state == "reconnecting":
                    break
        assert 30 <= trio.current_time() - start < 33  # what follows is delayed by up to a jittered half second, twice
        assert len(attempts) > 10
        service.refuse = None
        peer = await service.next()
        assert "awps_connection_id" not in peer.query


@pytest.mark.parametrize("status", [401, 404])
async def test_a_recovery_refused_by_status_is_followed_by_a_new_session(
    autojump_clock: MockClock, service: RawService, status: int
) -> None:
    async def url() -> str:
        return URL

    async with open_client(url, connector=service.connector) as client, client.lifecycle() as lifecycle:
        peer = await service.next()
        service.reject = status
        peer.cut()
        async for event in lifecycle:
            if isinstance(event, ConnectAttemptFailed):
                break
        assert client.state == "reconnecting"
        service.reject = None
        assert "awps_connection_id" not in (await service.next()).query


async def test_the_newest_reconnection_token_is_used(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector):
        peer = await service.next()
        await peer.connected("c-1", token="newer")
        await wait_all_tasks_blocked()
        peer.cut()
        assert (await service.next()).query["awps_reconnection_token"] == "newer"


async def test_the_recovery_keeps_path_prefix_and_other_parameters(
    autojump_clock: MockClock, service: RawService
) -> None:
    url = "ws://localhost/prefix/client/hubs/chat?a=1&access_token=canary&b=2"
    async with open_client(url, connector=service.connector):
        peer = await service.next()
        peer.cut()
        peer = await service.next()
        assert peer.path.startswith("/prefix/client/hubs/chat?")
        assert peer.query == {
            "a": "1",
            "b": "2",
            "awps_connection_id": "c-1",
            "awps_reconnection_token": "canary-token",
        }


async def test_many_drops_lose_repeat_and_reorder_nothing(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector) as client, client.messages() as messages:
        peer = await service.next()
        sent = 0
        for drop in range(20):
            for again in range(max(1, sent - 2), sent + 1):  # the service repeats what was not acknowledged
                await peer.message(again, again)
            for _ in range(drop % 4):
                sent += 1
                await peer.message(sent, sent)
            await wait_all_tasks_blocked()
            peer.cut()
            peer = await service.next()
            await peer.expect("ping")
        assert [(await messages.receive()).sequence_id for _ in range(sent)] == list(range(1, sent + 1))
        with pytest.raises(trio.WouldBlock):
            messages.receive_nowait()


async def test_a_service_that_closes_and_keeps_the_connection_open_is_left(
    autojump_clock: MockClock, service: RawService
) -> None:
    with trio.fail_after(100):
        async with open_client(URL, connector=service.connector) as client, client.lifecycle() as news:
            peer = await service.next()
            start = trio.current_time()
            peer.stream.silence()  # it takes no notice of the answer
            await peer.send_raw(b"\x88\x02" + (1001).to_bytes(2, "big"))
            peer = await service.recover()
            assert trio.current_time() - start < 5
            seen = [await news.receive() for _ in range(3)]
            assert [type(each) for each in seen] == [Connected, Disconnected, Recovered]
            assert isinstance(seen[1], Disconnected)
            assert seen[1].code == 1001


async def test_three_unreadable_frames_drop_the_link(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()
        for _ in range(3):
            await peer.websocket.send_message("{")
        await service.recover()
        await wait_all_tasks_blocked()
        assert client.state == "connected"


async def test_one_unreadable_frame_is_passed_over(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector) as client, client.messages() as messages:
        peer = await service.next()
        await peer.websocket.send_message("{")
        await peer.websocket.send_message('{"type":"message","from":"group","group":"g","dataType":"text","data":7}')
        await peer.message(1, "fine")
        assert (await messages.receive()).data_error is not None
        assert (await messages.receive()).data == "fine"


async def test_poison_in_a_message_harms_neither_the_link_nor_the_next_message(
    autojump_clock: MockClock, service: RawService
) -> None:
    poison = [
        r'{"type":"message","from":"server","dataType":"json","data":"\ud800","sequenceId":%d}',
        r'{"type":"message","from":"server","dataType":"text","data":"\ud800","sequenceId":%d}',
        '{"type":"message","from":"server","dataType":"json","data":' + "9" * 5_000 + ',"sequenceId":%d}',
        '{"type":"message","from":"server","dataType":"json","data":1e400,"sequenceId":%d}',
        '{"sequenceId":%d,"type":"message","from":"server","dataType":"json","data":'
        + "[" * 100_000
        + "]" * 100_000
        + "}",
        '{"type":"message","from":"server","dataType":"unheard-of","data":"x","sequenceId":%d}',
        '{"type":"unheard-of","sequenceId":%d}',
    ]
    with trio.fail_after(100):
        async with open_client(URL, connector=service.connector) as client, client.server_messages() as messages:
            peer = await service.next()
            for number, frame in enumerate(poison):
                await peer.websocket.send_message(frame % (2 * number + 1))
                await peer.message(2 * number + 2, "fine", group=None)
            got = [await messages.receive() for _ in range(2 * len(poison) - 1)]
            assert [each.data for each in got].count("fine") == len(poison)
            assert sum(each.data_error is not None for each in got) == len(poison) - 1
            assert (await peer.receive())["sequenceId"] == 2 * len(poison)
            assert client.statistics().recoveries == 0


@pytest.mark.parametrize("frame", [b"\x81\x02\xff\xff", b"\x82\x7f" + (2**40).to_bytes(8, "big"), b"\xf1\x00"])
async def test_a_violation_that_comes_again_after_a_recovery_ends_the_session(
    autojump_clock: MockClock, service: RawService, frame: bytes
) -> None:
    with trio.fail_after(100):
        async with (
            open_client(URL, connector=service.connector) as client,
            client.messages(gaps=True) as messages,
        ):
            peer = await service.next()
            await peer.stream.send_all(frame)
            peer = await service.recover()
            await peer.stream.send_all(frame)
            peer = await service.next()
            assert "awps_connection_id" not in peer.query
            await peer.message(1, "fine")
            assert await messages.receive() == Gap(session_lost=True)
            message = await messages.receive()
            assert not isinstance(message, Gap)
            assert message.data == "fine"
            assert client.statistics().recoveries == 1


async def test_unreadable_frames_that_come_again_after_a_recovery_end_the_session(
    autojump_clock: MockClock, service: RawService
) -> None:
    async with (
        open_client(URL, connector=service.connector) as client,
        client.messages(gaps=True) as messages,
    ):
        peer = await service.next()
        await peer.message(1, "fine")
        for _ in range(3):
            await peer.websocket.send_message("{")
        peer = await service.recover()
        for _ in range(3):
            await peer.websocket.send_message("{")
        peer = await service.next()
        assert "awps_connection_id" not in peer.query
        await peer.message(1, "fine again")
        got = [await messages.receive() for _ in range(3)]
        assert got[1] == Gap(unreadable=6, session_lost=True)
        assert [each.data for each in got if not isinstance(each, Gap)] == ["fine", "fine again"]
        assert client.statistics().recoveries == 1


async def test_late_frames_of_a_link_that_ended_are_ignored(autojump_clock: MockClock, service: RawService) -> None:
    late = b'{"type":"message","from":"group","group":"g","dataType":"text","data":"late","sequenceId":9}'
    async with open_client(URL, connector=service.connector) as client, client.messages() as messages:
        peer = await service.next()
        close = b"\x88\x02" + (1001).to_bytes(2, "big")
        await peer.send_raw(close + b"\x81" + bytes([len(late)]) + late)
        peer = await service.recover()
        await peer.message(1, "fine")
        assert (await messages.receive()).data == "fine"
        assert (await peer.expect("sequenceAck"))["sequenceId"] == 1


async def test_a_recovery_has_no_more_time_than_is_left(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector, recovery_timeout=7) as client:
        peer = await service.next()
        start = trio.current_time()
        peer.cut()
        await service.next()  # opens, and says nothing
        await service.next()  # again
        peer = await service.next()
        assert "awps_connection_id" not in peer.query
        assert trio.current_time() - start == pytest.approx(7, abs=0.5)
        assert client.statistics().recoveries == 0
