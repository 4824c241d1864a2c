"""The httpx transport over streams, against a server that does as it is told."""

from __future__ import annotations

import gc
import logging
import ssl
import warnings
from collections.abc import AsyncIterator, Generator
from contextlib import contextmanager, suppress
from typing import cast

import h11
import httpx
import pytest
import trio
import trio.testing

from tests.cancelling import CancelAt
from tests.http_server import Server, reply
from trio_webpubsub._shell.connector import connect_tcp
from trio_webpubsub._shell.http import ConnectorTransport
from trio_webpubsub._shell.memory import MemoryStream, memory_stream_pair

URL = "http://server/path"


async def accept(server: Server, stream: trio.abc.Stream, connection: h11.Connection, request: h11.Request) -> None:
    await stream.send_all(reply(connection, b"body of " + request.target))


@pytest.fixture
def server(nursery: trio.Nursery) -> Server:
    return Server(nursery, accept)


@contextmanager
def no_complaints_at_the_end() -> Generator[None]:
    """What is left to the garbage collector shows here, not in some later test."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
        gc.collect()
    assert [str(warning.message) for warning in caught] == []


async def test_request_and_response(server: Server, autojump_clock: trio.testing.MockClock) -> None:
    async with httpx.AsyncClient(transport=ConnectorTransport(server)) as client:
        response = await client.post("http://server:8080/a%2Fb/:send?x=%20", content=b"hello")
    assert (response.status_code, response.content) == (202, b"body of /a%2Fb/:send?x=%20")
    assert response.http_version == "HTTP/1.1"
    assert server.connects == [("server", 8080, False)]
    assert server.requests == [(0, b"/a%2Fb/:send?x=%20", b"hello")]


async def test_a_connection_is_used_again(server: Server, autojump_clock: trio.testing.MockClock) -> None:
    async with httpx.AsyncClient(transport=ConnectorTransport(server)) as client:
        for _ in range(3):
            await client.post(URL, content=b"x")
    assert [number for number, _, _ in server.requests] == [0, 0, 0]
    await trio.testing.wait_all_tasks_blocked()
    assert server.open == set()


async def test_requests_at_once_have_a_connection_each(server: Server, autojump_clock: trio.testing.MockClock) -> None:
    async with httpx.AsyncClient(transport=ConnectorTransport(server, max_connections=3)) as client:
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(client.get, URL)
        assert len(server.requests) == 10
        assert len(server.connects) == 3


async def test_every_origin_has_connections_of_its_own(server: Server, autojump_clock: trio.testing.MockClock) -> None:
    async with httpx.AsyncClient(transport=ConnectorTransport(server)) as client:
        for url in ("http://a/", "http://b/", "http://[::1]:8080/", "http://a/", "http://a:81/"):
            await client.get(url)
    assert server.connects == [("a", 80, False), ("b", 80, False), ("::1", 8080, False), ("a", 81, False)]
    assert [number for number, _, _ in server.requests] == [0, 1, 2, 0, 3]


async def test_idle_connections_make_room(server: Server, autojump_clock: trio.testing.MockClock) -> None:
    async with httpx.AsyncClient(transport=ConnectorTransport(server, max_connections=2)) as client:
        for url in ("http://a/", "http://b/", "http://c/"):
            await client.get(url)
        await trio.testing.wait_all_tasks_blocked()
        assert server.open == {1, 2}


async def test_tls_is_asked_for(server: Server, autojump_clock: trio.testing.MockClock) -> None:
    async with httpx.AsyncClient(transport=ConnectorTransport(server)) as client:
        await client.get("https://server/")
        await client.get("https://other/")
    assert server.connects == [("server", 443, True), ("other", 443, True)]


async def test_the_given_tls_context_is_used(nursery: trio.Nursery, autojump_clock: trio.testing.MockClock) -> None:
    context = ssl.create_default_context()
    seen: list[ssl.SSLContext | None] = []

    async def connector(host: str, port: int, ssl_context: ssl.SSLContext | None, /) -> trio.abc.Stream:
        seen.append(ssl_context)
        return await Server(nursery, accept)(host, port, ssl_context)

    async with httpx.AsyncClient(transport=ConnectorTransport(connector, ssl_context=context)) as client:
        await client.get("https://server/")
    assert seen == [context]


async def test_a_connection_idle_for_long_is_not_used_again(
    server: Server, autojump_clock: trio.testing.MockClock
) -> None:
    async with httpx.AsyncClient(transport=ConnectorTransport(server, keepalive=30)) as client:
        await client.get(URL)
        await trio.sleep(29.9)
        await client.get(URL)
        await trio.sleep(30)
        await client.get(URL)
        assert [number for number, _, _ in server.requests] == [0, 0, 1]
        await trio.testing.wait_all_tasks_blocked()
        assert server.open == {1}


@pytest.mark.parametrize("how", ["end", "reset", "surplus"])
async def test_a_connection_that_the_server_gave_up_is_replaced(
    server: Server, autojump_clock: trio.testing.MockClock, how: str
) -> None:
    async with httpx.AsyncClient(transport=ConnectorTransport(server)) as client:
        await client.post(URL, content=b"1")
        stream = server.streams[0]
        assert isinstance(stream, MemoryStream)
        if how == "end":
            stream.close()
        elif how == "reset":
            stream.abort()
        else:
            await stream.send_all(b"HTTP/1.1 408 Request Timeout\r\n\r\n")
        response = await client.post(URL, content=b"2")
    assert response.status_code == 202
    assert [(number, body) for number, _, body in server.requests] == [(0, b"1"), (1, b"2")]


async def test_a_response_that_says_close_ends_its_connection(
    server: Server, autojump_clock: trio.testing.MockClock
) -> None:
    async def answer(server: Server, stream: trio.abc.Stream, connection: h11.Connection, request: h11.Request) -> None:
        await stream.send_all(reply(connection, b"", ("connection", "close")))

    server.answer = answer
    async with httpx.AsyncClient(transport=ConnectorTransport(server)) as client:
        await client.get(URL)
        await client.get(URL)
    assert len(server.connects) == 2


@pytest.mark.parametrize("size", [10, 1_000_000])
async def test_a_body_left_unread_leaves_nothing_behind(
    server: Server, autojump_clock: trio.testing.MockClock, size: int
) -> None:
    async def answer(server: Server, stream: trio.abc.Stream, connection: h11.Connection, request: h11.Request) -> None:
        await stream.send_all(reply(connection, bytes(size)))

    server.answer = answer
    with no_complaints_at_the_end():
        # Without httpx's client, whose generators complain themselves when they are left.
        async with ConnectorTransport(server, max_connections=1) as transport:
            response = await transport.handle_async_request(httpx.Request("GET", URL))
            await response.aclose()
            response = await transport.handle_async_request(httpx.Request("GET", URL))
            assert isinstance(response.stream, httpx.AsyncByteStream)
            assert await anext(aiter(response.stream))
            await response.aclose()
            response = await transport.handle_async_request(httpx.Request("GET", URL))
            assert len(await response.aread()) == size
        await trio.testing.wait_all_tasks_blocked()
    assert server.open == set()
    # A small body came with the head, so that its connection is still good.
    assert len(server.connects) == (1 if size == 10 else 3)


async def test_a_response_can_be_closed_twice(server: Server, autojump_clock: trio.testing.MockClock) -> None:
    transport = ConnectorTransport(server, max_connections=1)
    async with transport:
        response = await transport.handle_async_request(httpx.Request("GET", URL))
        await response.aclose()
        assert isinstance(response.stream, httpx.AsyncByteStream)
        await response.stream.aclose()
        for _ in range(2):
            response = await transport.handle_async_request(httpx.Request("GET", URL))
            await response.aread()
    assert len(server.connects) == 1


@pytest.mark.parametrize(
    ("failure", "error"),
    [
        (OSError("refused"), httpx.ConnectError),
        (ssl.SSLCertVerificationError("bad certificate"), httpx.ConnectError),
        (trio.BrokenResourceError("broke"), httpx.ConnectError),
    ],
)
async def test_failing_to_connect(failure: Exception, error: type[Exception]) -> None:
    async def connector(host: str, port: int, ssl_context: ssl.SSLContext | None, /) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        raise failure

    async with httpx.AsyncClient(transport=ConnectorTransport(connector, max_connections=1)) as client:
        for _ in range(2):
            with pytest.raises(error) as caught:
                await client.get(URL)
            assert str(caught.value) == f"no connection to http://server:80: {failure}"
            assert caught.value.__cause__ is failure


async def test_connecting_has_a_limit(autojump_clock: trio.testing.MockClock) -> None:
    async def connector(host: str, port: int, ssl_context: ssl.SSLContext | None, /) -> trio.abc.Stream:
        await trio.sleep_forever()
        raise AssertionError

    async with httpx.AsyncClient(
        transport=ConnectorTransport(connector), timeout=httpx.Timeout(60, connect=7)
    ) as client:
        with pytest.raises(httpx.ConnectTimeout):
            await client.get(URL)
    assert trio.current_time() == 7


async def test_waiting_for_a_connection_has_a_limit(server: Server, autojump_clock: trio.testing.MockClock) -> None:
    timeout = httpx.Timeout(60, pool=7)
    async with httpx.AsyncClient(transport=ConnectorTransport(server, max_connections=1), timeout=timeout) as client:
        async with client.stream("GET", URL):
            with pytest.raises(httpx.PoolTimeout):
                await client.get(URL)
        assert (await client.get(URL)).status_code == 202


async def test_reading_has_a_limit(server: Server, autojump_clock: trio.testing.MockClock) -> None:
    async def answer(server: Server, stream: trio.abc.Stream, connection: h11.Connection, request: h11.Request) -> None:
        await trio.sleep_forever()

    server.answer = answer
    async with httpx.AsyncClient(transport=ConnectorTransport(server), timeout=httpx.Timeout(60, read=7)) as client:
        with pytest.raises(httpx.ReadTimeout):
            await client.get(URL)
    assert trio.current_time() == 7


async def test_writing_has_a_limit(autojump_clock: trio.testing.MockClock) -> None:
    async def connector(host: str, port: int, ssl_context: ssl.SSLContext | None, /) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        # No window and no reader at the other end: what is sent waits.
        return trio.testing.lockstep_stream_pair()[0]

    async with httpx.AsyncClient(transport=ConnectorTransport(connector), timeout=httpx.Timeout(60, write=7)) as client:
        with pytest.raises(httpx.WriteTimeout):
            await client.get(URL)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"", httpx.RemoteProtocolError),
        (b"HTTP/1.1 202 Acc", httpx.RemoteProtocolError),
        (b"SSH-2.0-OpenSSH\r\n\r\n", httpx.RemoteProtocolError),
        (b"HTTP/1.1 202 OK\r\ncontent-length: 5\r\n\r\nab", httpx.RemoteProtocolError),
        (b"HTTP/1.1 202 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", httpx.RemoteProtocolError),
        (b"HTTP/1.1 202 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n", httpx.RemoteProtocolError),
        (b"HTTP/1.1 202 OK\r\nx: " + b"y" * 200_000, httpx.RemoteProtocolError),
    ],
)
async def test_answers_that_are_none(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock, answer: bytes, error: type[Exception]
) -> None:
    async def peer(stream: trio.abc.Stream) -> None:
        async with stream:
            await stream.receive_some()
            with suppress(trio.BrokenResourceError):  # the client may have had enough
                await stream.send_all(answer)

    async def connector(host: str, port: int, ssl_context: ssl.SSLContext | None, /) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        ours, theirs = memory_stream_pair()
        nursery.start_soon(peer, theirs)
        return ours

    with no_complaints_at_the_end():
        async with httpx.AsyncClient(transport=ConnectorTransport(connector, max_connections=1)) as client:
            for _ in range(2):
                with pytest.raises(error):
                    await client.get(URL)


async def test_a_broken_connection_is_a_read_error(server: Server, autojump_clock: trio.testing.MockClock) -> None:
    async def connector(host: str, port: int, ssl_context: ssl.SSLContext | None, /) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        return Broken()

    async with httpx.AsyncClient(transport=ConnectorTransport(connector)) as client:
        with pytest.raises(httpx.ReadError, match="the connection broke"):
            await client.post(URL, content=b"x")


class Broken(trio.abc.Stream):
    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        raise trio.BrokenResourceError

    async def wait_send_all_might_not_block(self) -> None:
        raise AssertionError

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        raise trio.BrokenResourceError

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


async def test_an_answer_before_the_request_was_read_counts(autojump_clock: trio.testing.MockClock) -> None:
    class Hasty(Broken):
        async def receive_some(self, max_bytes: int | None = None) -> bytes:
            return b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n"

    async def connector(host: str, port: int, ssl_context: ssl.SSLContext | None, /) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        return Hasty()

    async with httpx.AsyncClient(transport=ConnectorTransport(connector)) as client:
        assert (await client.post(URL, content=b"x")).status_code == 413


async def test_a_server_that_goes_over_to_another_protocol(
    server: Server, autojump_clock: trio.testing.MockClock
) -> None:
    async def answer(server: Server, stream: trio.abc.Stream, connection: h11.Connection, request: h11.Request) -> None:
        await stream.send_all(b"HTTP/1.1 101 Go\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n")
        await trio.sleep_forever()

    server.answer = answer
    async with httpx.AsyncClient(transport=ConnectorTransport(server)) as client:
        with pytest.raises(httpx.RemoteProtocolError, match="another protocol"):
            await client.get(URL, headers={"connection": "upgrade", "upgrade": "x"})


async def test_a_request_that_is_none_is_not_sent(server: Server, autojump_clock: trio.testing.MockClock) -> None:
    request = httpx.Request("POST", URL, headers={"host": "h", "content-length": "7"}, stream=httpx.ByteStream(b"x"))
    async with ConnectorTransport(server, max_connections=1) as transport:
        with pytest.raises(httpx.LocalProtocolError):
            await transport.handle_async_request(request)
        response = await transport.handle_async_request(httpx.Request("GET", URL))
        await response.aread()
    assert len(server.requests) == 1


async def test_a_body_that_is_generated_is_finished_when_its_request_is_left(
    server: Server, autojump_clock: trio.testing.MockClock
) -> None:
    ended: list[str] = []

    class Generated(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:  # noqa: ASYNC900 - as httpx has them
            try:
                yield b"ab"
                await trio.sleep(10)
                yield b"cd"
            finally:
                ended.append("ended")

    headers = {"host": "server", "transfer-encoding": "chunked"}
    with no_complaints_at_the_end():
        async with ConnectorTransport(server) as transport:
            with trio.move_on_after(5):
                await transport.handle_async_request(httpx.Request("POST", URL, headers=headers, stream=Generated()))
            assert ended == ["ended"]
            response = await transport.handle_async_request(
                httpx.Request("POST", URL, headers=headers, stream=Generated())
            )
            await response.aread()
            with pytest.raises(httpx.StreamClosed):
                await anext(aiter(cast("httpx.AsyncByteStream", response.stream)))
    assert server.requests[-1][2] == b"abcd"


async def test_other_schemes_are_refused(server: Server) -> None:
    async with httpx.AsyncClient(transport=ConnectorTransport(server, max_connections=1)) as client:
        for _ in range(2):
            with pytest.raises(httpx.UnsupportedProtocol):
                await client.get("ws://server/")


async def test_a_closed_transport_refuses_requests(server: Server, autojump_clock: trio.testing.MockClock) -> None:
    transport = ConnectorTransport(server)
    await transport.aclose()
    await transport.aclose()
    for _ in range(2):
        with pytest.raises(trio.ClosedResourceError):
            await transport.handle_async_request(httpx.Request("GET", URL))
    assert server.connects == []


async def test_closing_leaves_running_requests_alone_and_keeps_nothing(
    server: Server, autojump_clock: trio.testing.MockClock
) -> None:
    transport = ConnectorTransport(server)
    response = await transport.handle_async_request(httpx.Request("GET", URL))
    await transport.aclose()
    assert await response.aread() == b"body of /path"
    await trio.testing.wait_all_tasks_blocked()
    assert server.open == set()


async def test_closing_while_cancelled_closes_all(server: Server, autojump_clock: trio.testing.MockClock) -> None:
    transport = ConnectorTransport(server)
    responses = [await transport.handle_async_request(httpx.Request("GET", URL)) for _ in range(3)]
    for response in responses:
        await response.aread()
    with trio.CancelScope() as scope:
        scope.cancel()
        await transport.aclose()
    await trio.testing.wait_all_tasks_blocked()
    assert server.open == set()


class Upload(httpx.AsyncByteStream):
    """A body that takes its time."""

    def __init__(self) -> None:
        self.parts = [b"ab", b"cd"]

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        await trio.lowlevel.checkpoint()
        if not self.parts:
            raise StopAsyncIteration
        return self.parts.pop(0)


@pytest.mark.parametrize("kept", [False, True], ids=["new connection", "kept connection"])
async def test_a_request_can_be_cancelled_anywhere(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock, kept: bool
) -> None:
    async def answer(server: Server, stream: trio.abc.Stream, connection: h11.Connection, request: h11.Request) -> None:
        wire = reply(connection, b"0123456789")
        for position in range(0, len(wire), 30):
            await trio.sleep(1)
            await stream.send_all(wire[position : position + 30])

    finished = False
    turn = 0
    with no_complaints_at_the_end():
        while not finished:
            turn += 1
            server = Server(nursery, answer)
            async with httpx.AsyncClient(
                transport=ConnectorTransport(server, max_connections=1), timeout=httpx.Timeout(100)
            ) as client:
                if kept:
                    await client.get(URL)
                with trio.CancelScope() as scope:
                    instrument = CancelAt(scope, turn)
                    trio.lowlevel.add_instrument(instrument)
                    try:
                        await client.send(
                            httpx.Request(
                                "POST", URL, stream=Upload(), headers={"host": "server", "content-length": "4"}
                            )
                        )
                    finally:
                        trio.lowlevel.remove_instrument(instrument)
                    finished = instrument.left > 0
                # Its one slot is free, and what is left in it is sound.
                with trio.fail_after(50):
                    response = await client.post(URL, content=b"after")
                assert response.content == b"0123456789"
                assert server.requests[-1][2] == b"after"
            await trio.testing.wait_all_tasks_blocked()
            assert server.open == set()
    assert turn > 10


async def test_nothing_secret_is_logged(
    server: Server, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    transport = ConnectorTransport(server)
    headers = {"authorization": "Bearer canary"}
    async with transport:
        response = await transport.handle_async_request(httpx.Request("GET", URL + "?q=canary", headers=headers))
        await response.aread()
    assert "canary" not in caplog.text


async def test_over_a_real_network(nursery: trio.Nursery) -> None:
    server = Server(nursery, accept)

    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    nursery.start_soon(trio.serve_listeners, server.serve, listeners)
    async with httpx.AsyncClient(transport=ConnectorTransport(connect_tcp)) as client:
        for body in (b"1", b"2"):
            response = await client.post(f"http://127.0.0.1:{port}/x", content=body)
            assert response.content == b"body of /x"
        await server.streams[0].aclose()
        await client.post(f"http://127.0.0.1:{port}/x", content=b"3")
    assert [(number, body) for number, _, body in server.requests] == [(0, b"1"), (0, b"2"), (1, b"3")]
    nursery.cancel_scope.cancel()
