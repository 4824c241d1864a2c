"""Statistics, batches and logs."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_webpubsub import (
    GroupMessage,
    InvokeResult,
    open_client,
)
from trio_webpubsub.client.connection import shown

from .raw_service import URL, RawService


async def test_statistics_count(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()
        async with client.messages(buffer=1, overflow="drop_oldest") as messages:
            await peer.message(1)
            await peer.message(2)
            await peer.message(2)
            await peer.send(type="message", **{"from": "server"}, dataType="binary", data="!", sequenceId=3)
            await peer.send(type="news")
            await peer.websocket.send_message("{")
            await wait_all_tasks_blocked()
            assert messages.statistics().buffered == 1
            assert messages.statistics().dropped == 2
            peer.cut()
            peer = await service.next()
            await peer.expect("ping")
            await trio.sleep(0.25)
            await peer.send(type="pong")
            await wait_all_tasks_blocked()
            statistics = client.statistics()
        assert statistics.messages_received == 3
        assert statistics.frames_received == 8
        assert statistics.bytes_received > 100
        assert statistics.frames_sent == 2  # a ping, and the sequence ack after the recovery
        assert (statistics.repeated, statistics.dropped, statistics.undecodable) == (1, 2, 1)
        assert (statistics.unreadable, statistics.unknown) == (1, 1)
        assert (statistics.recoveries, statistics.reconnects) == (1, 0)
        assert statistics.last_round_trip == pytest.approx(0.25)
        assert statistics.connected_since is not None


async def test_batches_give_what_is_there(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()
        messages = client.messages()
        for number in range(1, 4):
            await peer.message(number, number)
        await wait_all_tasks_blocked()
        batches = messages.batches()
        first: list[Any] = await anext(batches)
        assert [message.sequence_id for message in first] == [1, 2, 3]
    assert [batch async for batch in batches] == []


async def test_payloads_are_logged_only_on_request_and_never_a_token(
    autojump_clock: MockClock, service: RawService, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "trio_webpubsub")
    for log_payloads in (False, True):
        caplog.clear()
        async with open_client(URL, connector=service.connector, log_payloads=log_payloads) as client:
            peer = await service.next()
            await peer.message(1, "incoming-text")
            await client.send_to_group("g", "outgoing-text", ack=False)
            await wait_all_tasks_blocked()
        assert ("incoming-text" in caplog.text) is log_payloads
        assert ("outgoing-text" in caplog.text) is log_payloads
        assert "canary" not in caplog.text


async def test_answers_are_logged_as_what_the_service_said(
    autojump_clock: MockClock, service: RawService, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "trio_webpubsub")
    async with (
        open_client(URL, connector=service.connector, log_payloads=True) as client,
        trio.open_nursery() as nursery,
    ):
        peer = await service.next()

        @nursery.start_soon
        async def answer() -> None:
            await peer.send(type="ack", ackId=(await peer.expect("sendToGroup"))["ackId"], success=True)
            invocation_id = (await peer.expect("invoke"))["invocationId"]
            await peer.send(type="invokeResponse", invocationId=invocation_id, success=True)

        await client.send_to_group("g", "x")
        await client.invoke_event("price")
    assert "received <operation 1: Done(duplicated=False)>" in caplog.messages
    assert any(each.startswith("received <invocation 1: InvokeResponse(") for each in caplog.messages)


async def test_one_call_may_log_its_payload(
    autojump_clock: MockClock, service: RawService, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "trio_webpubsub")
    async with open_client(URL, connector=service.connector) as client:
        await client.send_to_group("g", "x" * 10_000, ack=False, log_payloads=True)
    assert "xxxx" in caplog.text
    assert "x" * 5000 not in caplog.text


async def test_one_question_may_be_logged_with_its_answer(
    autojump_clock: MockClock, service: RawService, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "trio_webpubsub")
    async with open_client(URL, connector=service.connector) as client, trio.open_nursery() as nursery:
        peer = await service.next()

        @nursery.start_soon
        async def answer() -> None:
            for _ in range(2):
                invocation_id = (await peer.expect("invoke"))["invocationId"]
                await peer.send(type="invokeResponse", invocationId=invocation_id, success=True, metadata={"a": "seen"})

        assert await client.invoke_event("price", "asked") == InvokeResult(metadata={"a": "seen"})
        assert "asked" not in caplog.text
        await client.invoke_event("price", "asked", log_payloads=True)
        assert "asked" in caplog.text
        assert "seen" in caplog.text


def test_what_cannot_be_shown_is_logged_all_the_same() -> None:
    data: list[Any] = []
    for _ in range(100_000):
        data = [data]
    assert shown(GroupMessage(group="g", data=data)) == "<GroupMessage that is nested too deeply to be shown>"


async def test_a_typed_payload(autojump_clock: MockClock, service: RawService) -> None:
    message = GroupMessage(group="g", data={"a": 1})
    assert message.decode_as(dict[str, int]) == {"a": 1}


async def test_since_when_a_session_lives(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector) as client:
        await service.next()
        assert client.statistics().connected_since == 0
        ticket = await client.detach()
        assert client.statistics().connected_since is None
    await trio.sleep(7)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(service.recover)
        async with open_client(URL, connector=service.connector, resume=ticket) as client:
            assert client.statistics().connected_since == 7
    assert client.statistics().connected_since is None
