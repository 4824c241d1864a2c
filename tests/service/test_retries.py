"""What is tried again, how often, and when; over a server that fails as told."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import h11
import pytest
import trio
from trio.testing import MockClock

from tests.http_server import Server, reply
from trio_webpubsub._shell.clock import wall_time
from trio_webpubsub.service import (
    AuthenticationFailed,
    OutcomeUnknown,
    Service,
    ServiceError,
    ServiceUnreachable,
    Throttled,
    open_service,
)
from trio_webpubsub.service.retries import read_retry_after

CONNECTION_STRING = "Endpoint=http://localhost:8080;AccessKey=key-key-key-key-key-key-key-key-key-key;"


class Peer(Server):
    """Gives the answers of a list, then 200; a status, a status and its Retry-After, or nothing but a cut."""

    def __init__(self, nursery: trio.Nursery) -> None:
        super().__init__(nursery, self.give_answer)
        self.answers: list[int | tuple[int, str] | None] = []
        self.times: list[float] = []

    async def give_answer(
        self, server: Server, stream: trio.abc.Stream, connection: h11.Connection, request: h11.Request
    ) -> None:
        self.times.append(trio.current_time())
        answer = self.answers.pop(0) if self.answers else 200
        match answer:
            case None:
                await stream.aclose()
            case int():
                await stream.send_all(reply(connection, b"", status=answer))
            case (status, retry_after):
                await stream.send_all(reply(connection, b"", ("retry-after", retry_after), status=status))


@pytest.fixture
def peer(nursery: trio.Nursery) -> Peer:
    return Peer(nursery)


@asynccontextmanager
async def service_of(peer: Any, **options: Any) -> AsyncGenerator[Service]:
    with trio.fail_after(10_000):
        async with open_service(CONNECTION_STRING, "chat", connector=peer, **options) as service:
            yield service


async def send(service: Service) -> None:
    await service.send_to_all("hi")


async def ask(service: Service) -> None:
    await service.user_exists("ann")


async def close(service: Service) -> None:
    await service.close_all_connections()


@pytest.mark.parametrize("answer", [408, 429, 500, 502, 503, 504, None])
@pytest.mark.parametrize("call", [ask, close])
async def test_what_may_be_repeated_is_tried_again(
    autojump_clock: MockClock, peer: Peer, call: Callable[[Service], Awaitable[None]], answer: int | None
) -> None:
    peer.answers = [answer] * 3
    async with service_of(peer) as service:
        await call(service)
    assert len(peer.times) == 4
    assert 0 < peer.times[-1] <= 0.5 + 1 + 2


@pytest.mark.parametrize("answer", [400, 403, 409, 413, 415, 501])
async def test_what_would_not_get_better_is_not(autojump_clock: MockClock, peer: Peer, answer: int) -> None:
    peer.answers = [answer]
    async with service_of(peer) as service:
        with pytest.raises(ServiceError) as failed:
            await ask(service)
    assert (len(peer.times), failed.value.tries) == (1, 1)


@pytest.mark.parametrize("answer", [408, 500, 502, 503, 504, None])
async def test_a_message_is_not_sent_again_when_it_may_have_gone_out(
    autojump_clock: MockClock, peer: Peer, answer: int | None
) -> None:
    peer.answers = [answer]
    async with service_of(peer) as service:
        with pytest.raises(ServiceError) as failed:
            await send(service)
    assert len(peer.times) == 1
    assert isinstance(failed.value, OutcomeUnknown) == (answer is None)


@pytest.mark.parametrize("answer", [500, None])
async def test_unless_the_caller_allowed_it(autojump_clock: MockClock, peer: Peer, answer: int | None) -> None:
    peer.answers = [answer, answer]
    async with service_of(peer, retry_sends=True) as service:
        await send(service)
    assert len(peer.times) == 3


@pytest.mark.parametrize("answer", [429, (429, "3"), (503, "3")])
async def test_a_refusal_that_says_that_nothing_was_done_is(
    autojump_clock: MockClock, peer: Peer, answer: int | tuple[int, str]
) -> None:
    peer.answers = [answer]
    async with service_of(peer) as service:
        await send(service)
    assert len(peer.times) == 2
    assert peer.times[1] >= (3 if isinstance(answer, tuple) else 0)


async def test_a_service_that_wants_to_be_left_alone_for_long_is(autojump_clock: MockClock, peer: Peer) -> None:
    peer.answers = [(429, "3600")]
    async with service_of(peer) as service:
        with pytest.raises(Throttled) as failed:
            await send(service)
    assert failed.value.retry_after == 3600
    assert trio.current_time() == 0


async def test_tries_come_to_an_end(autojump_clock: MockClock, peer: Peer) -> None:
    peer.answers = [503] * 10
    async with service_of(peer, retries=2) as service:
        with pytest.raises(ServiceError) as failed:
            await ask(service)
    assert (len(peer.times), failed.value.tries, failed.value.status_code) == (3, 3, 503)
    assert failed.value.__notes__ == ["It was tried 3 times."]


async def test_every_further_try_is_told_in_the_log(
    autojump_clock: MockClock, peer: Peer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "trio_webpubsub.service")
    peer.answers = [503, None]
    async with service_of(peer) as service:
        await ask(service)
    lines = [record.getMessage() for record in caplog.records if record.name == "trio_webpubsub.service"]
    tries = [line for line in lines if line.startswith("HEAD /api/hubs/chat/users/ann: ")]
    assert [line.partition(": ")[2].partition(",")[0] for line in tries] == ["503", "no answer", "200"]
    assert len({line.rpartition("request ")[2] for line in tries}) == 1  # one id for all tries of a call
    again = [line for line in lines if "trying again in" in line]
    assert [line.partition(" failed")[0] for line in again] == ["user_exists"] * 2


async def test_a_date_in_retry_after_is_waited_for(autojump_clock: MockClock, peer: Peer) -> None:
    peer.answers = [(429, format_datetime(datetime.fromtimestamp(wall_time() + 20, UTC), usegmt=True))]
    async with service_of(peer) as service:
        await send(service)
    assert 18 < peer.times[1] <= 20


async def test_a_401_that_comes_again_is_not_tried_again(autojump_clock: MockClock, peer: Peer) -> None:
    asked = 0

    async def token() -> str:
        nonlocal asked
        asked += 1
        return f"token-{asked}"

    peer.answers = [401] * 10
    async with open_service("http://localhost", "chat", credential=token, connector=peer) as service:
        with pytest.raises(AuthenticationFailed) as failed:
            await ask(service)
    assert (len(peer.times), asked, failed.value.tries) == (2, 2, 1)


async def test_where_no_connection_came_about_anything_is_tried_again(autojump_clock: MockClock) -> None:
    dials = 0

    async def refuse(*_: object) -> trio.abc.Stream:
        nonlocal dials
        dials += 1
        await trio.lowlevel.checkpoint()
        raise ConnectionRefusedError("nobody there")

    async with service_of(refuse) as service:
        with pytest.raises(ServiceUnreachable) as failed:
            await send(service)
    assert (dials, failed.value.tries) == (4, 4)


async def test_waiting_for_the_next_try_can_be_cancelled(autojump_clock: MockClock, peer: Peer) -> None:
    peer.answers = [(503, "20")]
    async with service_of(peer) as service:
        with trio.move_on_after(5) as scope:
            await ask(service)
    assert scope.cancelled_caught
    assert trio.current_time() == 5


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("", None),
        ("7", 7.0),
        (" 7 ", 7.0),
        ("soon", None),
        ("-1", None),
        ("9" * 400, None),
        ("Fri, 15 Jan 2027 08:00:10 GMT", 10.0),
        ("Fri, 15 Jan 2027 07:00:00 GMT", 0.0),
        ("Fri, 99 Jan 2027 07:00:00 GMT", None),
    ],
)
def test_how_retry_after_reads(value: str | None, seconds: float | None) -> None:
    assert read_retry_after(value, now=1_800_000_000.0) == seconds
