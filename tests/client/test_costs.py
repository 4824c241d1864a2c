"""What the client costs, counted in what does not depend on the machine: task steps, timers, bytes, messages lost."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Generator
from contextlib import contextmanager

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from tests.client.raw_service import URL, Peer, RawService, raw_service
from trio_webpubsub import Client, open_client
from trio_webpubsub.protocol.frame_writer import encode_frame

LOAD = "load generator"


class Steps(trio.abc.Instrument):
    """Counts the steps of all tasks that are not the service's, and the moments at which there were any."""

    def __init__(self) -> None:
        self.count = 0
        self.moments: set[float] = set()

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if not _is_the_services(task):
            self.count += 1
            self.moments.add(trio.current_time())


def _is_the_services(task: trio.lowlevel.Task) -> bool:
    while not (task.name == LOAD or "RawService" in task.name):
        if task.parent_nursery is None:
            return False
        task = task.parent_nursery.parent_task
    return True


@contextmanager
def counting() -> Generator[Steps]:
    steps = Steps()
    trio.lowlevel.add_instrument(steps)
    try:
        yield steps
    finally:
        trio.lowlevel.remove_instrument(steps)


def message(number: int) -> bytes:
    """Give the frame with a message of 100 bytes, as the service writes it."""
    return encode_frame(
        b'{"sequenceId":%d,"type":"message","from":"group","fromUserId":"ann","group":"g","dataType":"text","data":"%b"}'
        % (number, b"x" * 100)
    )


async def send_messages(peer: Peer, count: int) -> None:
    for first in range(1, count + 1, 1_000):
        await peer.send_raw(b"".join(map(message, range(first, min(first + 1_000, count + 1)))))


async def acknowledge(peer: Peer, at_once: int) -> None:
    """Acknowledge what the client sends, so much together, as a service does for what came together."""
    while True:
        ids = [(await peer.expect("sendToGroup"))["ackId"] for _ in range(at_once)]
        await peer.send_raw(
            b"".join(encode_frame(b'{"type":"ack","ackId":%d,"success":true}' % ack_id) for ack_id in ids)
        )


async def answer_pings(peer: Peer) -> None:
    while True:
        await peer.expect("ping")
        await peer.send(type="pong")


async def connect(service: RawService, client: Client) -> Peer:
    assert client.connection_id is not None
    return await service.next()


async def test_receiving_takes_few_task_steps(autojump_clock: MockClock) -> None:
    count = 20_000
    async with raw_service() as service, open_client(URL, connector=service.connector) as client:
        peer = await connect(service, client)
        async with client.group_messages("g", join=False) as messages:
            with counting() as steps:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(send_messages, peer, count, name=LOAD)
                    for _ in range(count):
                        await messages.receive()
    assert steps.count * 1_000 / count <= 45


async def test_receiving_in_lists_takes_fewer(autojump_clock: MockClock) -> None:
    count = 20_000
    async with raw_service() as service, open_client(URL, connector=service.connector) as client:
        peer = await connect(service, client)
        async with client.group_messages("g", join=False) as messages:
            with counting() as steps:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(send_messages, peer, count, name=LOAD)
                    came = 0
                    async for batch in messages.batches():
                        came += len(batch)
                        if came == count:
                            break
    assert steps.count * 1_000 / count <= 20


async def test_sending_with_acks_takes_few_task_steps(autojump_clock: MockClock) -> None:
    tasks, each = 100, 20
    async with raw_service() as service, open_client(URL, connector=service.connector) as client:
        peer = await connect(service, client)

        async def send() -> None:
            for _ in range(each):
                await client.send_to_group("g", "x")

        async with trio.open_nursery() as load:
            load.start_soon(acknowledge, peer, tasks, name=LOAD)
            with counting() as steps:
                async with trio.open_nursery() as nursery:
                    for _ in range(tasks):
                        nursery.start_soon(send)
            load.cancel_scope.cancel()
    assert steps.count * 1_000 / (tasks * each) <= 1_200


async def test_an_idle_client_sleeps(autojump_clock: MockClock) -> None:
    async with raw_service() as service, open_client(URL, connector=service.connector) as client:
        peer = await connect(service, client)
        async with client.group_messages("g", join=False), trio.open_nursery() as load:
            load.start_soon(answer_pings, peer, name=LOAD)
            await trio.sleep(10)
            with counting() as steps:
                await trio.sleep(600)
            load.cancel_scope.cancel()
    assert len(steps.moments) / 10 <= 4


async def test_a_waiting_message_is_small(autojump_clock: MockClock) -> None:
    count = 5_000
    async with raw_service() as service, open_client(URL, connector=service.connector) as client:
        peer = await connect(service, client)
        async with client.group_messages("g", join=False) as messages:
            gc.collect()
            tracemalloc.start()
            before = tracemalloc.get_traced_memory()[0]
            await send_messages(peer, count)
            await trio.testing.wait_all_tasks_blocked()
            gc.collect()
            each = (tracemalloc.get_traced_memory()[0] - before) / count
            tracemalloc.stop()
            assert messages.statistics().buffered == count
    assert each <= 550


@pytest.mark.parametrize("busy", [False, True])
async def test_a_burst_overflows_no_consumer_that_keeps_moving(busy: bool, autojump_clock: MockClock) -> None:
    count = 200_000
    async with raw_service() as service, open_client(URL, connector=service.connector) as client:
        peer = await connect(service, client)
        async with client.group_messages("g", join=False) as messages, trio.open_nursery() as nursery:
            nursery.start_soon(send_messages, peer, count, name=LOAD)
            for number in range(1, count + 1):
                assert (await messages.receive()).sequence_id == number
                if busy:
                    await trio.lowlevel.checkpoint()
            assert messages.statistics().dropped == 0
