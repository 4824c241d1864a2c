"""Many calls at once: turns, the end of the block while calls run, cancellation at every step."""

from __future__ import annotations

import h11
import pytest
import trio
from trio.testing import MockClock

from tests.cancelling import CancelAt
from tests.http_server import Server, reply
from tests.service.peer import Peer, said, service_of
from trio_webpubsub.service import OutcomeUnknown, Service, ServiceError


async def slow(server: Server, stream: trio.abc.Stream, connection: h11.Connection, request: h11.Request) -> None:
    await trio.sleep(20)
    await stream.send_all(reply(connection))


async def test_waiting_for_a_turn_is_not_part_of_a_tries_time(autojump_clock: MockClock, peer: Peer) -> None:
    peer.answer = slow
    async with service_of(peer, max_connections=2, request_timeout=25) as service, trio.open_nursery() as callers:
        for _ in range(10):
            callers.start_soon(service.send_to_all, "hi")
    assert trio.current_time() == 100
    assert len(peer.connects) == 2


async def test_a_call_that_waits_for_its_turn_can_be_cancelled_and_sent_nothing(
    autojump_clock: MockClock, peer: Peer
) -> None:
    peer.answer = slow
    async with service_of(peer, max_connections=1) as service:
        async with trio.open_nursery() as callers:
            callers.start_soon(service.send_to_all, "first")
            await trio.sleep(1)
            with trio.move_on_after(5) as scope:
                await service.send_to_all("waits")
        assert scope.cancelled_caught
        await service.send_to_all("last")
    assert [body for _, _, body in peer.requests] == [b"first", b"last"]


async def test_the_block_may_end_while_calls_run(autojump_clock: MockClock, peer: Peer) -> None:
    peer.answer = slow
    ended: list[str] = []

    async def call(service: Service, message: str) -> None:
        try:
            await service.send_to_all(message)
            ended.append(f"{message} done")
        except trio.ClosedResourceError:
            ended.append(f"{message} refused")

    async with trio.open_nursery() as callers:
        async with service_of(peer, max_connections=1) as service:
            callers.start_soon(call, service, "running")  # noqa: ASYNC111 - this is what the test is about
            await trio.sleep(1)
            callers.start_soon(call, service, "waiting")  # noqa: ASYNC111 - as above
            await trio.sleep(1)
        assert trio.current_time() == 2  # nobody was waited for
        await call(service, "late")
    assert ended == ["late refused", "running done", "waiting refused"]
    assert [body for _, _, body in peer.requests] == [b"running"]
    await trio.testing.wait_all_tasks_blocked()
    assert peer.open == set()


async def test_a_call_between_two_tries_notices_that_the_block_has_ended(autojump_clock: MockClock, peer: Peer) -> None:
    peer.answers = [said(503, retry_after="20")]
    async with trio.open_nursery() as callers:

        async def call(service: Service) -> None:
            with pytest.raises(trio.ClosedResourceError):
                await service.user_exists("ann")

        async with service_of(peer) as service:
            callers.start_soon(call, service)  # noqa: ASYNC111 - this is what the test is about
            await trio.sleep(1)
    assert len(peer.heads) == 1


async def test_a_block_that_is_cancelled_closes_all(autojump_clock: MockClock, peer: Peer) -> None:
    with trio.CancelScope() as scope:
        async with service_of(peer) as service:
            await service.send_to_all("hi")
            scope.cancel()
            await service.send_to_all("not sent")
    await trio.testing.wait_all_tasks_blocked()
    assert peer.open == set()
    assert peer.bodies == [b"hi"]


async def script(service: Service) -> None:
    """Use all that waits: a new connection, a kept one, an error, a retry, pages."""
    await service.send_to_all({"n": 1})
    assert not await service.user_exists("ann")
    with pytest.raises(ServiceError):
        await service.send_to_all(iter([b"a", b"b"]))
    await service.close_all_connections()
    assert [each.connection_id async for each in service.list_connections("g")] == ["a", "b"]


@pytest.mark.parametrize("connections", [1, 3])
async def test_cancelling_anywhere_leaves_the_service_sound(
    autojump_clock: MockClock, peer: Peer, connections: int
) -> None:
    finished = False
    passes = 0
    async with service_of(peer, max_connections=connections) as service:
        while not finished:
            passes += 1
            peer.answers = [
                said(),
                said(404),
                said(400, b"x" * 100_000),
                said(503, retry_after="0"),
                said(204),
                said(200, b'{"value": [{"connectionId": "a"}], "nextLink": "https://h/?continuationToken=1"}'),
                said(200, b'{"value": [{"connectionId": "b"}]}'),
            ]
            with trio.CancelScope() as scope:
                instrument = CancelAt(scope, passes)
                trio.lowlevel.add_instrument(instrument)
                try:
                    await script(service)
                finally:
                    trio.lowlevel.remove_instrument(instrument)
                finished = instrument.left > 0
            peer.answers = []
            with trio.fail_after(100):
                async with trio.open_nursery() as callers:
                    for _ in range(connections + 1):
                        callers.start_soon(service.send_to_all, "still works")
            assert len(peer.open) <= connections
    assert passes > 20
    await trio.testing.wait_all_tasks_blocked()
    assert peer.open == set()


async def test_an_answer_that_nobody_asked_for_is_not_taken_for_the_next_one(
    autojump_clock: MockClock, peer: Peer
) -> None:
    peer.answers = [lambda connection: said()(connection) + b"HTTP/1.1 400 Bad\r\ncontent-length: 0\r\n\r\n"]
    async with service_of(peer) as service:
        await service.send_to_all("1")
        await service.send_to_all("2")
    assert [connection for connection, _, _ in peer.requests] == [0, 1]


async def test_a_hint_before_the_answer_is_passed_over(autojump_clock: MockClock, peer: Peer) -> None:
    peer.answers = [lambda connection: b"HTTP/1.1 103 Early Hints\r\n\r\n" + said()(connection)]
    async with service_of(peer) as service:
        await service.send_to_all("1")


async def test_a_body_that_comes_too_slowly(autojump_clock: MockClock, peer: Peer) -> None:
    async def drop_by_drop(
        server: Server, stream: trio.abc.Stream, connection: h11.Connection, request: h11.Request
    ) -> None:
        for byte in reply(connection, b"x" * 100):
            await trio.sleep(1)
            await stream.send_all(bytes([byte]))

    peer.answer = drop_by_drop
    async with service_of(peer, request_timeout=60) as service:
        with pytest.raises(OutcomeUnknown, match="no answer within 60 s"):
            await service.send_to_all("hi")
    await trio.testing.wait_all_tasks_blocked()
    assert peer.open == set()
