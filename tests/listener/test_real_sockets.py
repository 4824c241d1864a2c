"""The listener on real sockets, with TLS too: what memory cannot show. The clock is real here, and nothing sleeps."""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio
import trustme

from tests.listener.peers import describe, echo, read_all, read_answer, statuses
from tests.shell.side import Side
from trio_webpubsub._shell.connector import connect_tcp
from trio_webpubsub._shell.frame_stream import TransportEnded
from trio_webpubsub.listener import Limits, Listener, ServerWebSocket, WebSocketRequest

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(params=["tcp", "tls"])
def contexts(
    request: pytest.FixtureRequest, authority: trustme.CA
) -> tuple[ssl.SSLContext | None, ssl.SSLContext | None]:
    """Give the server's TLS context and the client's, or none of them."""
    if request.param == "tcp":
        return None, None
    return tls_contexts(authority)


def tls_contexts(authority: trustme.CA) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    with authority.issue_cert("localhost").private_key_and_cert_chain_pem.tempfile() as path:
        server.load_cert_chain(path)
    return server, ssl.create_default_context(cadata=authority.cert_pem.bytes().decode())


Contexts = tuple[ssl.SSLContext | None, ssl.SSLContext | None]


class Handler:
    """Echoes, and shows the WebSocket that it accepted."""

    def __init__(self) -> None:
        self.websocket: ServerWebSocket | None = None
        self.accepted = trio.Event()
        self.end: TransportEnded | None = None
        self.ended = trio.Event()

    async def __call__(self, request: WebSocketRequest) -> None:
        self.websocket = await request.accept(subprotocol="p")
        self.accepted.set()
        try:
            while True:
                for message in await self.websocket.receive_batch():
                    self.websocket.send(message)
        except TransportEnded as end:
            self.end = end
            raise
        finally:
            self.ended.set()


class Place:
    """A listener on a port of this machine, and connections to it that are closed in the end."""

    def __init__(self, listener: Listener, port: int, nursery: trio.Nursery, context: ssl.SSLContext | None) -> None:
        self.listener = listener
        self.port = port
        self.nursery = nursery
        self._context = context
        self._streams: list[trio.abc.Stream] = []

    async def connect(self) -> trio.abc.Stream:
        stream = await connect_tcp("localhost", self.port, self._context)
        self._streams.append(stream)
        return stream

    async def open_websocket(self) -> Side:
        client = Side(await self.connect(), client=True)
        await client.open(self.nursery)
        self.nursery.start_soon(client.write)
        return client

    async def close(self) -> None:
        for stream in self._streams:
            await trio.aclose_forcefully(stream)


@asynccontextmanager
async def listening(handler: Handler, contexts: Contexts, limits: Limits | None = None) -> AsyncGenerator[Place]:
    listener = Listener(describe, handler, limits=limits)
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            (port,) = await nursery.start(partial(listener.serve, 0, ssl_context=contexts[0]))
            place = Place(listener, port, nursery, contexts[1])
            yield place
            nursery.cancel_scope.cancel()
    await place.close()


async def test_http_and_websocket(contexts: Contexts) -> None:
    async with listening(Handler(), contexts) as place:
        stream = await place.connect()
        for _ in range(2):
            await stream.send_all(GET)
            assert await read_answer(stream) == (200, b"GET /  0")
        client = await place.open_websocket()
        for size in (1, 1_000, 90_000):
            client.stream.queue_frames([b"x" * size])
        while len(client.received) < 3:
            client.received += await client.stream.receive_batch()
        assert [len(message) for message in client.received] == [1, 1_000, 90_000]
        place.nursery.start_soon(client.receive)
        await place.listener.shutdown()
        await client.ended.wait()
        assert client.end is not None
        assert client.end.code == 1001
        assert await stream.receive_some() == b""
        with pytest.raises(OSError, match="all attempts to connect"):
            await place.connect()


@pytest.mark.parametrize("how", ["abort", "end"])
async def test_a_cut_is_seen_at_once(how: str, contexts: Contexts) -> None:
    handler = Handler()
    async with listening(handler, contexts) as place:
        stream = await place.connect()
        client = Side(stream, client=True)
        await client.open(place.nursery)
        await handler.accepted.wait()
        assert handler.websocket is not None
        handler.websocket.send(b"x" * 10_000_000)
        await trio.lowlevel.checkpoint()
        getattr(handler.websocket, how)()
        await handler.ended.wait()
        assert handler.end is not None
        assert handler.end.code == 1006
        if how == "abort":
            # What lies in the sockets' buffers may be read before the reset is.
            with pytest.raises(trio.BrokenResourceError):
                await read_all(stream)
        else:
            assert len(await read_all(stream)) < 10_000_000


async def test_what_is_called_after_the_end_does_nothing(contexts: Contexts) -> None:
    handler = Handler()
    async with listening(handler, contexts) as place:
        await place.open_websocket()
        await handler.accepted.wait()
    assert handler.websocket is not None
    handler.websocket.abort()
    handler.websocket.end()
    await handler.websocket.close()


async def test_who_sent_too_much_still_reads_why(contexts: Contexts) -> None:
    async with listening(Handler(), contexts, Limits(message_size=1_000, body_size=1_000)) as place:
        client = await place.open_websocket()
        client.stream.queue_frames([b"x" * 5_000_000])
        await client.receive()
        assert client.end is not None
        assert client.end.code == 1009

        stream = await place.connect()
        await stream.send_all(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5000000\r\n\r\n" + b"x" * 5_000_000)
        assert statuses(await read_all(stream)) == [413]


async def test_a_peer_that_does_not_read_holds_no_cancellation_up(contexts: Contexts) -> None:
    handler = Handler()
    async with listening(handler, contexts) as place:
        await place.open_websocket()
        await handler.accepted.wait()
        assert handler.websocket is not None
        handler.websocket.send(b"x" * 20_000_000)
        for _ in range(100):
            await trio.lowlevel.checkpoint()
        assert handler.websocket.queued_bytes > 10_000_000


async def test_over_plain_tcp_a_message_goes_out_at_once(contexts: Contexts) -> None:
    handler = Handler()
    async with listening(handler, contexts) as place:
        client = await place.open_websocket()
        place.nursery.start_soon(client.receive)
        await handler.accepted.wait()
        assert handler.websocket is not None
        handler.websocket.send(b"small")
        assert (handler.websocket.queued_bytes == 0) == (contexts[0] is None)
        # More than any network takes at once, and then some more that has to stay behind it.
        for number in range(100):
            handler.websocket.send(b"%d" % number * 50_000)
        await handler.websocket.close(4000)
        await client.ended.wait()
        assert client.end is not None
        assert client.end.code == 4000
        assert client.received == [b"small", *(b"%d" % number * 50_000 for number in range(100))]


async def test_a_peer_that_is_gone_is_noticed_by_who_sends(contexts: Contexts) -> None:
    handler = Handler()
    async with listening(handler, contexts) as place:
        stream = await place.connect()
        client = Side(stream, client=True)
        await client.open(place.nursery)
        await handler.accepted.wait()
        assert handler.websocket is not None
        await trio.aclose_forcefully(stream)
        while not handler.ended.is_set():
            handler.websocket.send(b"x" * 1_000)
            await trio.lowlevel.checkpoint()
        assert handler.end is not None
        assert handler.end.code == 1006


async def test_plain_bytes_on_a_tls_port_disturb_nobody(
    authority: trustme.CA, caplog: pytest.LogCaptureFixture
) -> None:
    async with listening(Handler(), tls_contexts(authority)) as place:
        plain = await connect_tcp("localhost", place.port, None)
        await plain.send_all(GET * 10)
        # TLS says in its own words what it thinks of it.
        assert statuses(await read_all(plain)) == []
        await plain.aclose()
        secure = await place.connect()
        await secure.send_all(GET)
        assert (await read_answer(secure))[0] == 200
    assert caplog.records == []


async def test_a_port_that_is_taken() -> None:
    async with listening(Handler(), (None, None)) as place:
        with pytest.raises(OSError, match="in use"):
            await Listener(describe, echo).serve(place.port)
