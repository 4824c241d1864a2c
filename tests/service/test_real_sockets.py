"""Over real sockets: faults of every kind each end in the right error, and no connection is left over."""

from __future__ import annotations

import socket
import struct
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import httpx
import pytest
import trio

from tests.service.peer import KEY, Peer, said
from trio_webpubsub.service import OutcomeUnknown, Service, ServiceError, ServiceUnreachable, open_service

LIMIT = 30.0


class Listening:
    """A peer on a port, which knows how many of its connections are open."""

    def __init__(self, peer: Peer, port: int) -> None:
        self.peer = peer
        self.text = f"Endpoint=http://127.0.0.1:{port};AccessKey={KEY};"

    async def all_closed(self) -> None:
        with trio.fail_after(LIMIT):
            while self.peer.open:  # noqa: ASYNC110 - the peer's tasks end when the network says so
                await trio.sleep(0.01)


@asynccontextmanager
async def listening(peer: Peer) -> AsyncGenerator[Listening]:
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        await nursery.start(trio.serve_listeners, peer.serve, listeners)
        yield Listening(peer, listeners[0].socket.getsockname()[1])
        nursery.cancel_scope.cancel()


FAULTS: dict[str, bytes] = {
    "closed without a word": b"",
    "half a head": b"HTTP/1.1 20",
    "another protocol": b"SSH-2.0-OpenSSH_9.6\r\n",
    "zeros": bytes(1000),
    "half a body": b"HTTP/1.1 202 Accepted\r\ncontent-length: 9\r\n\r\nhalf",
    "two lengths": b"HTTP/1.1 202 Accepted\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
    "broken chunks": b"HTTP/1.1 202 Accepted\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n",
    "an endless head": b"HTTP/1.1 202 Accepted\r\nx: " + b"y" * 300_000,
    "another protocol after all": b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
    "an endless welcome": b"HTTP/1.1 100 Continue\r\n\r\n" * 1000,
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_garbage_is_an_unknown_outcome_and_leaves_nothing_open(nursery: trio.Nursery, fault: str) -> None:
    with trio.fail_after(LIMIT):
        peer = Peer(nursery)
        async with listening(peer) as place:
            async with open_service(place.text, "chat", max_connections=1) as service:
                peer.answers = [FAULTS[fault]]
                with pytest.raises(OutcomeUnknown) as failed:
                    await service.send_to_all("hi")
                assert failed.value.tries == 1
                await service.send_to_all("after")
                peer.answers = [FAULTS[fault]] * 2
                await service.close_all_connections()  # may be repeated, so it was
            await place.all_closed()
    assert len(peer.bodies) == 5


@pytest.mark.parametrize("when", ["at once", "before the answer", "within the answer"])
async def test_resets(nursery: trio.Nursery, when: str) -> None:
    async def serve(stream: trio.SocketStream) -> None:
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if when != "at once":
            await stream.receive_some()
        if when == "within the answer":
            await stream.send_all(b"HTTP/1.1 202 Accepted\r\ncontent-length: 9\r\n\r\nhalf")
            await trio.sleep(0.05)  # else the reset overtakes it, which no test could tell from the case before
        stream.socket.close()

    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    nursery.start_soon(trio.serve_listeners, serve, listeners)
    text = f"Endpoint=http://127.0.0.1:{listeners[0].socket.getsockname()[1]};AccessKey={KEY};"
    with trio.fail_after(LIMIT):
        async with open_service(text, "chat") as service:
            for _ in range(5):
                with pytest.raises(OutcomeUnknown):
                    await service.send_to_all("x" * 1_000_000 if when == "at once" else "hi")
    nursery.cancel_scope.cancel()


async def test_connections_that_the_server_gave_up_meanwhile_are_replaced(nursery: trio.Nursery) -> None:
    with trio.fail_after(LIMIT):
        peer = Peer(nursery)
        async with listening(peer) as place:
            async with open_service(place.text, "chat") as service:
                for _ in range(3):
                    await service.send_to_all("hi")
                    await peer.streams[-1].aclose()
                    await place.all_closed()
            await place.all_closed()
    assert [connection for connection, _, _ in peer.requests] == [0, 1, 2]


async def test_answers_that_end_the_connection(nursery: trio.Nursery) -> None:
    with trio.fail_after(LIMIT):
        peer = Peer(nursery)
        peer.answers = [said(202, connection="close"), said(400, connection="close")]
        async with listening(peer) as place:
            async with open_service(place.text, "chat") as service:
                await service.send_to_all("hi")
                with pytest.raises(ServiceError):
                    await service.send_to_all("hi")
                await service.send_to_all("hi")
            await place.all_closed()
    assert [connection for connection, _, _ in peer.requests] == [0, 1, 2]


async def test_nobody_listens(nursery: trio.Nursery) -> None:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    await listeners[0].aclose()
    async with open_service(f"Endpoint=http://127.0.0.1:{port};AccessKey={KEY};", "chat", retries=1) as service:
        with pytest.raises(ServiceUnreachable, match=r"no connection to http://127\.0\.0\.1:") as failed:
            await service.send_to_all("hi")
    assert failed.value.tries == 2


async def test_a_thousand_calls_at_once_share_few_connections(nursery: trio.Nursery) -> None:
    with trio.fail_after(2 * LIMIT):
        peer = Peer(nursery)
        async with listening(peer) as place:
            async with open_service(place.text, "chat", max_connections=10) as service:
                async with trio.open_nursery() as callers:
                    for number in range(1_000):
                        callers.start_soon(service.send_to_group, f"g{number % 7}", {"n": number})
                assert len(peer.open) <= 10
            await place.all_closed()
    assert len(set(peer.bodies)) == len(peer.bodies) == 1_000
    assert len(peer.streams) == 10


async def test_calls_that_are_cancelled_leave_nothing_open(nursery: trio.Nursery) -> None:
    with trio.fail_after(LIMIT):
        peer = Peer(nursery)
        async with listening(peer) as place:
            async with open_service(place.text, "chat", max_connections=5) as service:
                for seconds in (0, 0.001, 0.002, 0.004, 0.008):
                    with trio.move_on_after(seconds):
                        async with trio.open_nursery() as callers:
                            for _ in range(20):
                                callers.start_soon(service.send_to_all, "hi")
                await service.send_to_all("after")
                assert len(peer.open) <= 20
            await place.all_closed()
    assert peer.bodies[-1] == b"after"


async def test_the_users_own_http_client(nursery: trio.Nursery) -> None:
    with trio.fail_after(LIMIT):
        peer = Peer(nursery)
        async with listening(peer) as place:
            async with httpx.AsyncClient(headers={"x-of": "the client"}) as client:
                async with open_service(place.text, "chat", http_client=client) as service:
                    await service.send_to_all("hi", filter="userId eq 'a b'")
                    peer.answers = [said(307, location="http://elsewhere.example/")]
                    with pytest.raises(ServiceError, match="redirect"):
                        await service.send_to_all("hi")
                    # What it may have sent is not sent again: nobody knows how far it got.
                    peer.answers = [None, None]
                    with pytest.raises(OutcomeUnknown):
                        await service.send_to_all("hi")
                    assert len(peer.bodies) == 3
                    peer.answers.clear()
                    async with trio.open_nursery() as callers:
                        for _ in range(20):
                            callers.start_soon(service.send_to_all, "many")
                with pytest.raises(trio.ClosedResourceError):
                    await service.send_to_all("late")
                assert not client.is_closed
                assert (await client.get(f"{service.endpoint}/")).status_code == 202
            await place.all_closed()


async def use(service: Service) -> None:
    await service.send_to_all("hi")


async def test_a_closed_service_makes_no_more_calls(nursery: trio.Nursery) -> None:
    with trio.fail_after(LIMIT):
        peer = Peer(nursery)
        async with listening(peer) as place:
            async with open_service(place.text, "chat") as service:
                await service.send_to_all("hi")
            for call in (use, Service.client_access, Service.health):
                with pytest.raises(trio.ClosedResourceError):
                    await call(service)
            await place.all_closed()
    assert len(peer.bodies) == 1
