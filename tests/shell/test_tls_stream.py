"""The client's side of TLS, side by side with trio's own stream, over streams in memory."""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import TypeAlias

import pytest
import trio
import trio.testing
import trustme

from trio_webpubsub._shell.tls_stream import TlsStream

HOST = "service.example"
AUTHORITY = trustme.CA()

Side: TypeAlias = "TlsStream | trio.SSLStream[trio.abc.Stream]"
Pair: TypeAlias = tuple[trio.abc.HalfCloseableStream, trio.abc.HalfCloseableStream]
MakeClient: TypeAlias = Callable[[trio.abc.Stream, str], Side]


def trusting() -> ssl.SSLContext:
    return ssl.create_default_context(cadata=AUTHORITY.cert_pem.bytes().decode())


def serving() -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    with AUTHORITY.issue_cert(HOST).private_key_and_cert_chain_pem.tempfile() as path:
        context.load_cert_chain(path)
    return context


SERVING = serving()


def ours(carrier: trio.abc.Stream, host: str = HOST) -> TlsStream:
    return TlsStream(carrier, trusting(), host)


def trios(carrier: trio.abc.Stream, host: str = HOST) -> trio.SSLStream[trio.abc.Stream]:
    return trio.SSLStream(carrier, trusting(), server_hostname=host, https_compatible=True)


both = pytest.mark.parametrize("make", [ours, trios])


async def connected(
    pair: Pair, make: MakeClient = ours, *, says_goodbye: bool = False
) -> tuple[Side, trio.SSLStream[trio.abc.Stream]]:
    """Give both sides after their handshake."""
    client = make(pair[0], HOST)
    server: trio.SSLStream[trio.abc.Stream]
    server = trio.SSLStream(pair[1], SERVING, server_side=True, https_compatible=not says_goodbye)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.do_handshake)
        nursery.start_soon(server.do_handshake)
    return client, server


@asynccontextmanager
async def talking(
    make: MakeClient, *, says_goodbye: bool = False
) -> AsyncGenerator[tuple[Side, trio.SSLStream[trio.abc.Stream], Pair]]:
    pair = trio.testing.memory_stream_pair()
    client, server = await connected(pair, make, says_goodbye=says_goodbye)
    try:
        yield client, server, pair
    finally:
        await trio.aclose_forcefully(client)
        await trio.aclose_forcefully(pair[1])


async def everything(client: Side) -> tuple[bytes, type[Exception] | None, type[BaseException | None]]:
    """Receive to the end; gives the bytes, the error if it is one, and the type of its cause."""
    came = b""
    try:
        while data := await client.receive_some():
            came += data
    except trio.BrokenResourceError as error:
        return came, type(error), type(error.__cause__)
    return came, None, type(None)


async def test_it_keeps_what_trio_asks_of_every_stream() -> None:
    async def make() -> tuple[Side, Side]:
        return await connected(trio.testing.memory_stream_pair())

    async def make_clogged() -> tuple[Side, Side]:
        return await connected(trio.testing.lockstep_stream_pair())

    await trio.testing.check_two_way_stream(make, make_clogged)


async def test_all_records_that_have_come_are_given_at_once() -> None:
    pieces = [b"a" * 10, b"b" * 16_384, b"c" * 50_000]
    async with talking(ours) as (client, server, _):
        for piece in pieces:
            await server.send_all(piece)
        assert await client.receive_some(100_000) == b"".join(pieces)


async def test_no_more_than_asked_for_is_given() -> None:
    async with talking(ours) as (client, server, _):
        await server.send_all(b"a" * 20_000)
        await server.send_all(b"b" * 20_000)
        assert await client.receive_some(5) == b"a" * 5
        assert await client.receive_some(30_000) == b"a" * 19_995 + b"b" * 10_005
        assert await client.receive_some() == b"b" * 9_995


@both
async def test_no_bytes_at_all_cannot_be_asked_for(make: MakeClient) -> None:
    async with talking(make) as (client, _, _):
        with pytest.raises(ValueError, match="max_bytes"):
            await client.receive_some(0)


@both
@pytest.mark.parametrize("size", [0, 1, 16_384, 16_385, 300_000])
async def test_a_piece_of_any_size_arrives(make: MakeClient, size: int) -> None:
    async with talking(make) as (client, server, pair), trio.open_nursery() as nursery:

        async def send() -> None:
            await client.send_all(b"x" * size)
            await client.aclose()

        nursery.start_soon(send)
        came = b""
        while data := await server.receive_some():
            came += data
        assert came == b"x" * size
        assert await pair[1].receive_some() == b""


@both
async def test_a_goodbye_is_an_end(make: MakeClient) -> None:
    async with talking(make, says_goodbye=True) as (client, server, _):
        await server.send_all(b"last words")
        await server.aclose()
        assert await everything(client) == (b"last words", None, type(None))
        assert await client.receive_some() == b""


@both
async def test_an_end_without_a_goodbye_is_one_too(make: MakeClient) -> None:
    async with talking(make) as (client, server, pair):
        await server.send_all(b"last words")
        await pair[1].aclose()
        assert await everything(client) == (b"last words", None, type(None))
        with pytest.raises(trio.BrokenResourceError):
            await client.send_all(b"are you there?")


@both
async def test_an_end_within_a_record_gives_what_came_whole(make: MakeClient) -> None:
    hidden = trio.testing.memory_stream_pair()
    theirs: Pair = trio.testing.memory_stream_pair()

    async with trio.open_nursery() as nursery:

        async def pass_on(source: trio.abc.ReceiveStream, sink: trio.abc.SendStream) -> None:
            while data := await source.receive_some():
                await sink.send_all(data)

        client = make(hidden[0], HOST)
        server: trio.SSLStream[trio.abc.Stream] = trio.SSLStream(theirs[0], SERVING, server_side=True)
        nursery.start_soon(pass_on, hidden[1], theirs[1])
        nursery.start_soon(client.do_handshake)
        nursery.start_soon(pass_on, theirs[1], hidden[1])
        await server.do_handshake()
        await server.send_all(b"whole")
        await trio.testing.wait_all_tasks_blocked()
        assert await client.receive_some() == b"whole"
        nursery.cancel_scope.cancel()
    await server.send_all(b"cut")
    await hidden[1].send_all((await theirs[1].receive_some())[:-1])
    await hidden[1].aclose()
    assert await everything(client) == (b"", None, type(None))


@both
async def test_what_came_before_garbage_is_given_first(make: MakeClient) -> None:
    async with talking(make) as (client, server, pair):
        await server.send_all(b"good")
        await pair[1].send_all(b"no record of this connection")
        assert await everything(client) == (b"good", trio.BrokenResourceError, ssl.SSLError)
        with pytest.raises(trio.BrokenResourceError):
            await client.receive_some()


@both
async def test_another_hosts_certificate_is_refused(make: MakeClient) -> None:
    pair = trio.testing.memory_stream_pair()
    client = make(pair[0], "elsewhere.example")
    server = trio.SSLStream(pair[1], SERVING, server_side=True)
    async with trio.open_nursery() as nursery:

        async def serve() -> None:
            with pytest.raises(trio.BrokenResourceError):
                await server.do_handshake()

        nursery.start_soon(serve)
        with pytest.raises(trio.BrokenResourceError) as raised:
            await client.do_handshake()
        assert isinstance(raised.value.__cause__, ssl.SSLCertVerificationError)
        await trio.aclose_forcefully(client)
    with pytest.raises(trio.ClosedResourceError):
        await client.send_all(b"x")


@both
async def test_a_cancelled_handshake_cannot_be_taken_up(make: MakeClient) -> None:
    client = make(trio.testing.memory_stream_pair()[0], HOST)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.do_handshake)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    with pytest.raises(trio.BrokenResourceError):
        await client.receive_some()


@both
async def test_a_cancelled_receive_loses_nothing(make: MakeClient) -> None:
    async with talking(make) as (client, server, _):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.receive_some)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        await server.send_all(b"all of it")
        assert await client.receive_some() == b"all of it"


@both
async def test_a_cancelled_send_is_the_last_one(make: MakeClient) -> None:
    client, _ = await connected(trio.testing.lockstep_stream_pair(), make)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.send_all, b"x")
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    with pytest.raises(trio.BrokenResourceError):
        await client.send_all(b"y")


async def test_sending_during_the_handshake_waits_for_it() -> None:
    pair = trio.testing.memory_stream_pair()
    client = ours(pair[0])
    server = trio.SSLStream(pair[1], SERVING, server_side=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.do_handshake)
        nursery.start_soon(client.send_all, b"early")
        await trio.testing.wait_all_tasks_blocked()
        assert await server.receive_some() == b"early"


@both
async def test_receiving_does_not_wait_for_what_another_task_sends(make: MakeClient) -> None:
    tries = 50  # the order of two tasks within a scheduler pass is drawn by lot
    to_server, from_client = trio.testing.memory_stream_one_way_pair()
    to_client, from_server = trio.testing.memory_stream_one_way_pair()
    pair = trio.StapledStream(to_server, from_server), trio.StapledStream(to_client, from_client)
    client, server = await connected(pair, make)
    await server.send_all(b"x" * 1_000 * tries)
    assert await client.receive_some(1) == b"x"
    for _ in range(tries):
        takes_more = trio.Event()
        to_server.send_all_hook = takes_more.wait
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send_all, b"slow")
            with trio.fail_after(1):
                for _ in range(10):
                    assert await client.receive_some(1) == b"x"
            takes_more.set()


@both
async def test_a_failed_send_takes_nothing_from_who_is_receiving(make: MakeClient) -> None:
    to_server, from_client = trio.testing.memory_stream_one_way_pair()
    to_client, from_server = trio.testing.memory_stream_one_way_pair()
    pair = trio.StapledStream(to_server, from_server), trio.StapledStream(to_client, from_client)
    client, server = await connected(pair, make)
    came = bytearray()

    async def receive() -> None:
        came.extend(await client.receive_some())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        await trio.testing.wait_all_tasks_blocked()
        await from_client.aclose()
        with pytest.raises(trio.BrokenResourceError):
            await client.send_all(b"x")
        await server.send_all(b"why it was closed")
    assert came == b"why it was closed"
