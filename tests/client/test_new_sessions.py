"""A session that is lost, and the client that goes on in another one."""

from __future__ import annotations

import ssl

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_webpubsub import (
    AckTimeout,
    ClientStopped,
    ConnectAttemptFailed,
    Connected,
    ConnectFailed,
    Disconnected,
    GroupLost,
    RejoinFailed,
    SendFailed,
    open_client,
)

from .raw_service import URL, RawService


async def test_the_status_of_a_refusal_is_told(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector) as client, client.lifecycle() as news:
        peer = await service.next()
        service.reject = 401
        start = trio.current_time()
        await peer.websocket.aclose(1008)
        await client.wait_stopped()
        with pytest.raises(ClientStopped, match="401") as caught:
            await client.join_group("g")
        assert isinstance(caught.value.__cause__, ConnectFailed)
        assert caught.value.__cause__.status == 401
        (failed,) = [each async for each in news if isinstance(each, ConnectAttemptFailed)]
        assert failed.next_delay is None
        assert trio.current_time() - start < 1  # one jittered turn, for this session did not last


async def test_a_callable_is_asked_again_after_a_refusal(autojump_clock: MockClock, service: RawService) -> None:
    asked = 0

    async def url() -> str:
        nonlocal asked
        asked += 1
        service.reject = 401 if asked in (2, 3) else None  # tokens that were expired when they came
        return URL

    async with open_client(url, connector=service.connector) as client:
        await (await service.next()).websocket.aclose(1008)
        await service.next()
        await wait_all_tasks_blocked()
        assert asked == 4
        assert client.state == "connected"


async def test_the_whole_of_a_first_try_has_one_deadline(autojump_clock: MockClock, service: RawService) -> None:
    async def slow(host: str, port: int, ssl_context: ssl.SSLContext | None, /) -> trio.abc.Stream:
        await trio.sleep(3)
        return await service.connector(host, port, ssl_context)

    service.greet = False
    start = trio.current_time()
    with pytest.raises(ConnectFailed):
        async with open_client(URL, connector=slow, connect_timeout=5):
            pytest.fail("no session began")
    assert trio.current_time() - start == pytest.approx(5)


async def test_a_callable_is_asked_for_every_new_session(autojump_clock: MockClock, service: RawService) -> None:
    asked = 0

    async def url() -> str:
        nonlocal asked
        asked += 1
        return URL.replace("canary", f"token-{asked}")

    async with open_client(url, connector=service.connector):
        peer = await service.next()
        assert peer.query["access_token"] == "token-1-access-token"
        await peer.websocket.aclose(1008)
        peer = await service.next()
        assert peer.query["access_token"] == "token-2-access-token"


async def test_a_failing_callable_is_one_more_way_not_to_connect(
    autojump_clock: MockClock, service: RawService
) -> None:
    failures = [None, RuntimeError("secret-in-here"), None]

    async def url() -> str:
        if (failure := failures.pop(0)) is not None:
            raise failure
        return URL

    async with open_client(url, connector=service.connector) as client, client.lifecycle() as lifecycle:
        peer = await service.next()
        await peer.websocket.aclose(1008)
        async for event in lifecycle:
            if isinstance(event, ConnectAttemptFailed):
                assert "RuntimeError" in str(event.error)
                assert "secret" not in str(event.error)
                assert isinstance(event.error.__cause__, RuntimeError)
                break
        await service.next()


async def test_a_callables_own_deadline_is_not_told_as_ours(autojump_clock: MockClock, service: RawService) -> None:
    async def url() -> str:
        with trio.fail_after(1):
            await trio.sleep_forever()
        return URL

    with pytest.raises(ConnectFailed, match="the URL callable raised TooSlowError"):
        async with open_client(url, connector=service.connector):
            pytest.fail("there is no URL")


async def test_a_hanging_callable_has_a_deadline(autojump_clock: MockClock, service: RawService) -> None:
    with pytest.raises(ConnectFailed, match="within 10 s"):
        async with open_client(trio.sleep_forever, connector=service.connector):
            pytest.fail("there is no URL")


async def test_a_callable_that_hangs_later_is_a_failed_try(autojump_clock: MockClock, service: RawService) -> None:
    asked = 0

    async def url() -> str:
        nonlocal asked
        asked += 1
        if asked == 2:
            await trio.sleep_forever()
        return URL

    async with open_client(url, connector=service.connector, connect_timeout=3) as client, client.lifecycle() as news:
        await (await service.next()).websocket.aclose(1008)
        start = trio.current_time()
        await service.next()
        assert 3 <= trio.current_time() - start < 5
        told = [await news.receive() for _ in range(4)]
        assert [type(each) for each in told] == [Connected, Disconnected, ConnectAttemptFailed, Connected]
        assert isinstance(told[2], ConnectAttemptFailed)
        assert "within 3 s" in str(told[2].error)


async def test_a_flapping_service_is_not_hammered(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector):
        peer = await service.next()
        start = trio.current_time()
        for _ in range(20):
            await peer.websocket.aclose(1008)
            peer = await service.next()
        assert trio.current_time() - start > 10


async def test_a_link_that_drops_again_and_again_is_not_hammered(
    autojump_clock: MockClock, service: RawService
) -> None:
    async with open_client(URL, connector=service.connector):
        peer = await service.next()
        start = trio.current_time()
        peer.cut()
        for _ in range(20):
            peer = await service.recover()
            peer.cut()
        await service.next()
        assert trio.current_time() - start > 5


async def test_a_refused_rejoin_is_told_and_ends_its_subscriptions(
    autojump_clock: MockClock, service: RawService
) -> None:
    async with open_client(URL, connector=service.connector) as client, client.lifecycle() as lifecycle:
        peer = await service.next()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.answer, "joinGroup")
            messages = client.group_messages("g")
            await messages.__aenter__()
        await peer.websocket.aclose(1008)
        peer = await service.next()
        rejoin = await peer.expect("joinGroup")
        await peer.ack(rejoin, "Forbidden")
        with pytest.raises(GroupLost, match=r"Forbidden.*webpubsub\.joinLeaveGroup\.g.*join=False") as caught:
            await messages.receive()
        assert caught.value.group == "g"
        assert isinstance(caught.value.error, SendFailed)
        assert caught.value.error.ack_id == rejoin["ackId"]
        told = [await lifecycle.receive() for _ in range(4)]
        assert told[-1] == RejoinFailed(group="g", error=caught.value.error)
        messages.close()


async def test_an_unanswered_rejoin_is_asked_for_once_more_then_given_up(
    autojump_clock: MockClock, service: RawService
) -> None:
    async with open_client(URL, connector=service.connector, ack_timeout=5) as client:
        peer = await service.next()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.answer, "joinGroup")
            messages = client.group_messages("g")
            await messages.__aenter__()
        await peer.websocket.aclose(1008)
        await service.next()
        with pytest.raises(GroupLost) as caught:
            await messages.receive()
        assert isinstance(caught.value.error, AckTimeout)
        messages.close()


async def test_many_groups_are_joined_again_a_bounded_number_at_a_time(
    autojump_clock: MockClock, service: RawService
) -> None:
    groups = [f"g{number}" for number in range(700)]
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()
        async with trio.open_nursery() as nursery:
            for group in groups:
                nursery.start_soon(client.join_group, group)
            for _ in groups:
                await peer.answer("joinGroup")
        await peer.websocket.aclose(1008)
        peer = await service.next()
        joins = [await peer.expect("joinGroup") for _ in range(500)]
        with trio.move_on_after(5) as scope:
            await peer.receive()
        assert scope.cancelled_caught
        failed = joins[0]
        await peer.ack(failed, "InternalServerError")
        for join in joins[1:]:
            await peer.ack(join)
        joins[1:] = [await peer.answer("joinGroup") for _ in range(201)]
        assert failed in joins[1:]  # tried again, as any other operation
        await wait_all_tasks_blocked()
        assert client.statistics().pending_sends == 0


async def test_leaving_while_there_is_no_link_is_quick(autojump_clock: MockClock, service: RawService) -> None:
    start = trio.current_time()
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()
        service.refuse = OSError("no route to host")
        peer.cut()
        await wait_all_tasks_blocked()
        assert client.state == "recovering"
    assert trio.current_time() - start < 1
