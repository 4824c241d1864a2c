"""WebSockets on the listener, over memory and on the virtual clock: the upgrade, life, ends, faults and shutdown."""

from __future__ import annotations

import logging
import ssl

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from tests.listener.peers import UPGRADE, Served, describe, echo, read_all, read_answer, serving, statuses
from tests.shell.side import Side
from trio_webpubsub._shell.frame_stream import TransportEnded
from trio_webpubsub._shell.memory import MemoryStream, memory_stream_pair
from trio_webpubsub.listener import Limits, Request, Response, ServerWebSocket, WebSocketRequest
from trio_webpubsub.protocol.frame_reader import BinaryMessage
from trio_webpubsub.protocol.frame_writer import encode_close, encode_frame

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
KEY = b"1234"


def end_of(side: Side) -> tuple[int, str]:
    assert side.end is not None
    return side.end.code, side.end.reason


class Accepting:
    """A handler that accepts and keeps what it got, until the WebSocket ends."""

    def __init__(self) -> None:
        self.websockets: list[ServerWebSocket] = []
        self.received: list[bytes] = []
        self.ends: list[TransportEnded] = []

    @property
    def websocket(self) -> ServerWebSocket:
        (websocket,) = self.websockets
        return websocket

    async def __call__(self, request: WebSocketRequest) -> None:
        websocket = await request.accept(subprotocol="p")
        self.websockets.append(websocket)
        try:
            while True:
                self.received += await websocket.receive_batch()
        except TransportEnded as end:
            self.ends.append(end)
            raise


# The upgrade


async def test_http_and_websocket_share_a_connection_and_a_listener(autojump_clock: MockClock) -> None:
    requests: list[WebSocketRequest] = []

    async def handle(request: WebSocketRequest) -> None:
        requests.append(request)
        assert (request.path, request.query) == ("/client/hubs/chat", "access_token=secret")
        assert request.subprotocols == ("other", "p")
        assert request.headers["upgrade"] == "websocket"
        assert "secret" not in repr(request)
        await echo(request)

    async with serving(describe, handle) as served:
        stream = await served.connect()
        await stream.send_all(GET)
        assert (await read_answer(stream))[0] == 200
        await stream.send_all(UPGRADE + encode_frame(b"eager", mask_key=KEY))
        answer = await stream.receive_some()
        assert statuses(answer) == [101]
        assert b"sec-websocket-protocol: p\r\n" in answer.lower()
        assert await stream.receive_some() == encode_frame(b"eager")
        # Tokens do not stay for as long as the WebSocket.
        (request,) = requests
        assert (request.query, request.headers) == ("", {})


async def test_messages_both_ways(autojump_clock: MockClock) -> None:
    handler = Accepting()
    async with serving(describe, handler) as served:
        client = await served.open_websocket()
        assert handler.websocket.subprotocol == "p"
        client.stream.queue_frames([b"text"])
        client.stream.queue_frames([b"\xff"], binary=True)
        handler.websocket.send(b"down")
        handler.websocket.send(b"\xfe", binary=True)
        await trio.testing.wait_all_tasks_blocked()
        assert handler.received == [b"text", b"\xff"]
        assert client.received == [b"down", b"\xfe"]
        assert [type(message) for message in handler.received] == [bytes, BinaryMessage]
        assert handler.websocket.queued_bytes == 0


async def test_a_rejection_closes_the_connection(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    async def handle(request: WebSocketRequest) -> None:
        await request.reject(401, [("WWW-Authenticate", "Bearer")], b"no token")
        with pytest.raises(RuntimeError):
            await request.accept()
        with pytest.raises(RuntimeError):
            await request.reject(403)

    async with serving(describe, handle) as served:
        stream = await served.connect()
        await stream.send_all(UPGRADE)
        answer = await read_all(stream)
        assert answer == (
            b"HTTP/1.1 401 Unauthorized\r\nwww-authenticate: Bearer\r\ncontent-length: 8\r\nconnection: close\r\n\r\n"
            b"no token"
        )
    assert caplog.records == []


async def test_only_what_was_offered_can_be_accepted(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def handle(request: WebSocketRequest) -> None:
        with pytest.raises(ValueError, match="not offered"):
            await request.accept(subprotocol="mine")
        websocket = await request.accept()
        assert websocket.subprotocol is None
        with pytest.raises(RuntimeError):
            await request.accept()
        websocket.send(b"fine")

    async with serving(describe, handle) as served:
        stream = await served.connect()
        await stream.send_all(UPGRADE)
        answer = await stream.receive_some()
        assert statuses(answer) == [101]
        assert b"sec-websocket-protocol" not in answer.lower()
        assert (await stream.receive_some()).startswith(encode_frame(b"fine"))
    assert caplog.records == []


BAD_UPGRADES = {
    "no version": (UPGRADE.replace(b"Sec-WebSocket-Version: 13\r\n", b""), 426),
    "an old version": (UPGRADE.replace(b"13", b"8"), 426),
    "no key": (UPGRADE.replace(b"Sec-WebSocket-Key", b"X-Key"), 400),
    "a short key": (UPGRADE.replace(b"AAAA==", b"=="), 400),
    "a key that is no base64": (UPGRADE.replace(b"AAAA==", b"\xe9\xe9=="), 400),
    "two keys": (UPGRADE.replace(b"Upgrade: web", b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nUpgrade: web"), 400),
    "a body": (UPGRADE.replace(b"Host: h", b"Host: h\r\nContent-Length: 3"), 400),
    "chunks": (UPGRADE.replace(b"Host: h", b"Host: h\r\nTransfer-Encoding: chunked"), 400),
    "a subprotocol that is no token": (UPGRADE.replace(b"other, p", b"o\xe9, p"), 400),
    "a subprotocol with a space": (UPGRADE.replace(b"other, p", b"o p"), 400),
}
ORDINARY = {
    "not GET": UPGRADE.replace(b"GET", b"POST").replace(b"Host: h", b"Host: h\r\nContent-Length: 0"),
    "no upgrade in Connection": UPGRADE.replace(b"keep-alive, Upgrade", b"keep-alive"),
    "an upgrade to something else": UPGRADE.replace(b"Upgrade: websocket", b"Upgrade: h2c"),
}


@pytest.mark.parametrize(("head", "status"), BAD_UPGRADES.values(), ids=BAD_UPGRADES.keys())
async def test_an_upgrade_that_is_none_is_refused(
    head: bytes, status: int, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    handler = Accepting()
    async with serving(describe, handler) as served:
        stream = await served.connect()
        await stream.send_all(head)
        assert statuses(await read_all(stream)) == [status]
        assert handler.websockets == []
    assert caplog.records == []


@pytest.mark.parametrize("head", ORDINARY.values(), ids=ORDINARY.keys())
async def test_an_upgrade_that_does_not_concern_us_is_an_ordinary_request(head: bytes) -> None:
    async with serving() as served:
        stream = await served.connect()
        for _ in range(2):
            await stream.send_all(head)
            assert (await read_answer(stream))[0] == 200


async def test_headers_that_are_no_ascii_are_no_trouble(autojump_clock: MockClock) -> None:
    async with serving() as served:
        stream = await served.connect()
        await stream.send_all(UPGRADE.replace(b"Host: h", b"Host: \xe9.xn--\xff\r\nX-Odd: \xe9\xff"))
        assert statuses(await stream.receive_some()) == [101]


async def test_an_upgrade_split_anywhere_with_a_frame_behind_it(autojump_clock: MockClock) -> None:
    whole = UPGRADE + encode_frame(b"eager", mask_key=KEY)
    async with serving() as served:
        for split in range(1, len(whole), 3):
            stream = await served.connect()
            await stream.send_all(whole[:split])
            await trio.testing.wait_all_tasks_blocked()
            await stream.send_all(whole[split:])
            assert statuses(await stream.receive_some()) == [101]
            assert await stream.receive_some() == encode_frame(b"eager")
            stream.close()


async def test_a_client_that_leaves_before_it_is_accepted(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[TransportEnded] = []

    async def handle(request: WebSocketRequest) -> None:
        await trio.sleep(1)
        try:
            await (request.accept() if request.path == "/accept" else request.reject(401))
        except TransportEnded as end:
            seen.append(end)
            raise

    for path in (b"/accept", b"/reject"):
        async with serving(describe, handle) as served:
            stream = await served.connect()
            await stream.send_all(UPGRADE.replace(b"/client/hubs/chat", path))
            await trio.testing.wait_all_tasks_blocked()
            stream.abort()
            await trio.sleep(2)
            assert served.listener._connections == {}
    assert [end.code for end in seen] == [1006, 1006]
    assert caplog.records == []


# Ends


@pytest.mark.parametrize("code", [1000, 1001, 4321])
async def test_the_server_closes(code: int, autojump_clock: MockClock) -> None:
    handler = Accepting()
    async with serving(describe, handler) as served:
        client = await served.open_websocket()
        handler.websocket.send(b"last words")
        client.stream.queue_frames([b"on its way"])
        started = trio.current_time()
        await handler.websocket.close(code, "bye")
        await handler.websocket.close(1011, "too late")
        assert end_of(client) == (code, "bye")
        assert client.received == [b"last words"]
        assert trio.current_time() == started
        await trio.testing.wait_all_tasks_blocked()
        assert [end.code for end in handler.ends] == [code]
        assert served.listener._connections == {}
        handler.websocket.send(b"nobody minds")


@pytest.mark.parametrize("code", [1000, 4321])
async def test_the_client_closes(code: int, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    handler = Accepting()
    async with serving(describe, handler) as served:
        client = await served.open_websocket()
        client.stream.queue_frames([b"last words"])
        started = trio.current_time()
        await client.websocket.aclose(code, "bye")
        assert trio.current_time() == started
        await trio.testing.wait_all_tasks_blocked()
        assert handler.received == [b"last words"]
        assert [(end.code, end.reason) for end in handler.ends] == [(code, "bye")]
        assert end_of(client)[0] == code
        assert served.listener._connections == {}
    assert caplog.records == []


@pytest.mark.parametrize(("fails", "code"), [(False, 1000), (True, 1011)])
async def test_the_handlers_end_is_the_websockets(
    fails: bool, code: int, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def handle(request: WebSocketRequest) -> None:
        websocket = await request.accept(subprotocol="p")
        websocket.send(b"hi")
        if fails:
            raise LookupError("a bug")

    async with serving(describe, handle) as served:
        other = await served.connect()
        client = await served.open_websocket("/?access_token=secret")
        await client.ended.wait()
        assert client.received == [b"hi"]
        assert end_of(client) == (code, "")
        await other.send_all(GET)
        assert (await read_answer(other))[0] == 200
    assert len(caplog.records) == fails
    assert "secret" not in caplog.text


@pytest.mark.parametrize("fails", [False, True])
async def test_a_handler_that_gives_no_answer_is_500(
    fails: bool, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def handle(request: WebSocketRequest) -> None:
        await trio.lowlevel.checkpoint()
        if fails:
            raise LookupError("a bug")

    async with serving(describe, handle) as served:
        stream = await served.connect()
        await stream.send_all(UPGRADE)
        assert statuses(await read_all(stream)) == [500]
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "secret" not in caplog.text


async def test_a_client_that_answers_no_close_is_cut_off_after_two_seconds(autojump_clock: MockClock) -> None:
    handler = Accepting()
    async with serving(describe, handler) as served:
        stream = await open_raw(served)
        started = trio.current_time()
        await handler.websocket.close(4000)
        assert trio.current_time() - started == 2
        assert await read_all(stream) == encode_close(4000)
        assert [end.code for end in handler.ends] == [1006]


async def test_a_client_that_does_not_read_holds_no_close_up(autojump_clock: MockClock) -> None:
    handler = Accepting()
    async with serving(describe, handler) as served:
        await open_raw(served)
        handler.websocket.send(b"x" * 500_000)
        started = trio.current_time()
        await handler.websocket.close()
        assert trio.current_time() - started == 2
        await trio.testing.wait_all_tasks_blocked()
        assert served.listener._connections == {}


async def test_a_client_that_keeps_sending_is_still_closed_in_order(autojump_clock: MockClock) -> None:
    """Its close frame is behind all that it sent before it saw ours, and the handler reads no more."""

    async def handle(request: WebSocketRequest) -> None:
        websocket = await request.accept(subprotocol="p")
        await trio.sleep(1)
        await websocket.close(4000)

    async with serving(describe, handle) as served:
        client = await served.open_websocket()
        for _ in range(10):
            client.stream.queue_frames([b"x" * 50_000])
        await client.ended.wait()
        assert end_of(client)[0] == 4000
        assert trio.current_time() == 1


async def test_a_batch_that_was_being_read_is_given_though_the_websocket_is_closed(autojump_clock: MockClock) -> None:
    handler = Accepting()
    async with serving(describe, handler) as served:
        stream = await open_raw(served)
        served.nursery.start_soon(handler.websocket.close)
        await trio.testing.wait_all_tasks_blocked()
        await stream.send_all(encode_frame(b"first", mask_key=KEY))
        await trio.testing.wait_all_tasks_blocked()
        await stream.send_all(encode_frame(b"second", mask_key=KEY) + encode_close(1000, mask_key=KEY))
        await read_all(stream)
        assert handler.received == [b"first"]
        assert [end.code for end in handler.ends] == [1000]


async def test_a_violation_is_told_and_ends_it(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    handler = Accepting()
    async with serving(describe, handler, limits=Limits(message_size=1_000)) as served:
        stream = await open_raw(served)
        await stream.send_all(encode_frame(b"fine", mask_key=KEY) + encode_frame(b"x" * 300_000, mask_key=KEY)[:60_000])
        await trio.testing.wait_all_tasks_blocked()
        # What else it sends is read, and thrown away, so that no reset takes our close frame with it.
        await stream.send_all(b"x" * 240_000)
        told = await read_all(stream)
        assert (told[:1], told[2:4]) == (b"\x88", b"\x03\xf1")
        stream.close()
        await trio.testing.wait_all_tasks_blocked()
        assert handler.received == [b"fine"]
        assert [end.code for end in handler.ends] == [1009]
        assert served.listener._connections == {}
    assert caplog.records == []


async def test_who_reads_no_more_but_stays_is_cut_off(autojump_clock: MockClock) -> None:
    class Deaf(trio.abc.Stream):
        """Takes nothing more after the handshake, and gives nothing."""

        def __init__(self, head: bytes) -> None:
            self.head = head
            self.sent = b""

        async def send_all(self, data: bytes | bytearray | memoryview) -> None:
            await trio.lowlevel.checkpoint()
            if self.sent:
                raise trio.BrokenResourceError
            self.sent += data

        async def wait_send_all_might_not_block(self) -> None:
            await trio.lowlevel.checkpoint()

        async def receive_some(self, max_bytes: int | None = None) -> bytes:
            if not self.head:
                await trio.sleep_forever()
            await trio.lowlevel.checkpoint()
            head, self.head = self.head, b""
            return head

        async def aclose(self) -> None:
            await trio.lowlevel.checkpoint()

    handler = Accepting()
    async with serving(describe, handler) as served:
        served.nursery.start_soon(served.listener.handle, Deaf(UPGRADE))
        await trio.testing.wait_all_tasks_blocked()
        handler.websocket.send(b"x")
        await trio.sleep(1)
        assert handler.ends == []
        await trio.sleep(2)
        assert [end.code for end in handler.ends] == [1006]


async def open_raw(served: Served) -> MemoryStream:
    """Open a WebSocket whose client is bytes written by hand."""
    stream = await served.connect()
    await stream.send_all(UPGRADE)
    assert statuses(await stream.receive_some()) == [101]
    await trio.testing.wait_all_tasks_blocked()
    return stream


# Pings


async def test_pings_keep_an_idle_websocket_open(autojump_clock: MockClock) -> None:
    handler = Accepting()
    async with serving(describe, handler) as served:
        client = await served.open_websocket()
        for _ in range(10):
            await trio.sleep(30)
            assert trio.current_time() - client.stream.last_received <= 20
        assert client.end is None
        assert handler.ends == []


async def test_a_client_that_answers_no_ping_is_cut_off(autojump_clock: MockClock) -> None:
    handler = Accepting()
    async with serving(describe, handler) as served:
        stream = await open_raw(served)
        await trio.sleep(39)
        assert handler.ends == []
        await trio.sleep(2)
        assert [end.code for end in handler.ends] == [1006]
        with pytest.raises(trio.BrokenResourceError):
            await read_all(stream)


async def test_who_sends_something_else_than_pongs_is_alive(autojump_clock: MockClock) -> None:
    handler = Accepting()
    async with serving(describe, handler) as served:
        stream = await open_raw(served)
        for _ in range(20):
            await trio.sleep(15)
            await stream.send_all(encode_frame(b"x", mask_key=KEY))
        assert handler.ends == []


async def test_who_is_not_read_from_is_not_blamed_for_silence(autojump_clock: MockClock) -> None:
    async def handle(request: WebSocketRequest) -> None:
        websocket = await request.accept(subprotocol="p")
        await trio.sleep(300)
        websocket.send(b"still here")
        await websocket.receive_batch()

    async with serving(describe, handle) as served:
        client = await served.open_websocket()
        await trio.sleep(301)
        assert client.received == [b"still here"]
        assert client.end is None


# Faults


@pytest.mark.parametrize(("how", "client_reads"), [("abort", trio.BrokenResourceError), ("end", None)])
async def test_a_connection_is_cut(
    how: str, client_reads: type[Exception] | None, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    handler = Accepting()
    async with serving(describe, handler) as served:
        stream = await open_raw(served)
        handler.websocket.send(b"x" * 500_000)
        await trio.testing.wait_all_tasks_blocked()
        getattr(handler.websocket, how)()
        await trio.testing.wait_all_tasks_blocked()
        assert [end.code for end in handler.ends] == [1006]
        assert served.listener._connections == {}
        if client_reads is None:
            assert len(await read_all(stream)) == 65_536
        else:
            with pytest.raises(client_reads):
                await stream.receive_some()
        getattr(handler.websocket, how)()
        handler.websocket.send(b"nobody minds")
        await handler.websocket.close()
    assert caplog.records == []


async def test_a_silenced_connection_tells_the_client_nothing(autojump_clock: MockClock) -> None:
    handler = Accepting()
    async with serving(describe, handler) as served:
        stream = await open_raw(served)
        handler.websocket.silence()
        handler.websocket.send(b"swallowed")
        for _ in range(10):
            await stream.send_all(encode_frame(b"swallowed", mask_key=KEY) * 10_000)
        with trio.move_on_after(1_000) as scope:
            await stream.receive_some()
        assert scope.cancelled_caught
        # The pings got no answer, so this side gave up long ago; the client cannot know.
        assert handler.received == []
        assert [end.code for end in handler.ends] == [1006]
        await stream.send_all(b"still swallowed" * 100_000)
        await stream.aclose()
        await trio.testing.wait_all_tasks_blocked()
        assert served.listener._connections == {}


@pytest.mark.parametrize("then", ["abort", "end", "close"])
async def test_what_ends_a_silenced_connection_is_not_seen_by_the_client(then: str, autojump_clock: MockClock) -> None:
    handler = Accepting()
    async with serving(describe, handler) as served:
        stream = await open_raw(served)
        handler.websocket.silence()
        result = getattr(handler.websocket, then)()
        if result is not None:
            await result
        await trio.testing.wait_all_tasks_blocked()
        assert [end.code for end in handler.ends] == [1006]
        with trio.move_on_after(100) as scope:
            await stream.receive_some()
        assert scope.cancelled_caught


# Many at once, shutdown, cancellation


async def test_many_at_once_and_none_disturbs_another(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def handle(request: WebSocketRequest) -> None:
        if request.path == "/bug":
            raise LookupError("a bug")
        await echo(request)

    async with serving(describe, handle) as served:
        clients: list[Side] = []
        for number in range(100):
            clients.append(await served.open_websocket())
            bad = await served.connect()
            await bad.send_all([b"\xff\r\n\r\n", UPGRADE.replace(b"/client/hubs/chat", b"/bug")][number % 2])
            if number % 3 == 0:
                bad.abort()
        for number, client in enumerate(clients):
            for count in range(10):
                client.stream.queue_frames([b"%d %d" % (number, count)])
        await trio.testing.wait_all_tasks_blocked()
        for number, client in enumerate(clients):
            assert client.received == [b"%d %d" % (number, count) for count in range(10)]


async def test_shutdown(autojump_clock: MockClock) -> None:
    async def handle(request: Request) -> Response:
        await trio.sleep(3)
        return await describe(request)

    websockets = Accepting()
    async with serving(handle, websockets) as served:
        client = await served.open_websocket()
        idle, busy, begun = [await served.connect() for _ in range(3)]
        await busy.send_all(GET * 2)
        await begun.send_all(GET[:5])
        await trio.testing.wait_all_tasks_blocked()
        started = trio.current_time()
        served.nursery.start_soon(served.listener.shutdown, 60)
        assert await read_all(idle) == b""
        await client.ended.wait()
        assert end_of(client) == (1001, "")
        assert trio.current_time() == started
        answers = await read_all(busy)
        assert statuses(answers) == [200]
        assert b"connection: close" in answers
        assert trio.current_time() == started + 3
        for stream in idle, busy:
            stream.close()
        assert statuses(await read_all(begun)) == [408]
        begun.close()
        with pytest.raises(OSError, match="shut down"):
            await served.connect()
        await trio.testing.wait_all_tasks_blocked()
        assert served.listener._connections == {}


async def test_shutdown_is_bounded(autojump_clock: MockClock) -> None:
    async def never(request: Request) -> Response:
        await trio.sleep_forever()
        raise AssertionError

    async def accept(request: WebSocketRequest) -> None:
        websocket = await request.accept(subprotocol="p")
        if request.path == "/silent":
            websocket.silence()
        websocket.send(b"x" * 500_000)
        await trio.sleep_forever()

    async with serving(never, accept) as served:
        stream = await served.connect()
        await stream.send_all(GET)
        for path in (b"/stuck", b"/silent"):
            stuck = await served.connect()
            await stuck.send_all(UPGRADE.replace(b"/client/hubs/chat", path))
        await trio.testing.wait_all_tasks_blocked()
        started = trio.current_time()
        await served.listener.shutdown(grace=5)
        assert trio.current_time() == started + 5
        assert served.listener._connections == {}
        assert await read_all(stream) == b""


async def test_a_silenced_connection_does_not_hold_a_shutdown_up(autojump_clock: MockClock) -> None:
    handler = Accepting()
    async with serving(describe, handler) as served:
        stream = await open_raw(served)
        handler.websocket.silence()
        handler.websocket.abort()
        await trio.testing.wait_all_tasks_blocked()
        started = trio.current_time()
        await served.listener.shutdown(grace=5)
        assert trio.current_time() == started
        assert await read_all(stream) == b""


async def test_a_cancelled_shutdown_closes_everything(autojump_clock: MockClock) -> None:
    async def never(request: Request) -> Response:
        await trio.sleep_forever()
        raise AssertionError

    async with serving(never) as served:
        stream = await served.connect()
        await stream.send_all(GET)
        await trio.testing.wait_all_tasks_blocked()
        with trio.move_on_after(1):
            await served.listener.shutdown(grace=100)
        assert await read_all(stream) == b""
        assert trio.current_time() == 1


async def test_a_connection_that_comes_during_a_shutdown_is_closed() -> None:
    async with serving() as served:
        await served.listener.shutdown()
        near, far = trio.testing.memory_stream_pair()
        await served.listener.handle(far)
        assert await near.receive_some() == b""


async def test_cancelling_waits_for_nobody(autojump_clock: MockClock) -> None:
    async def large(request: Request) -> Response:
        await trio.lowlevel.checkpoint()
        return Response(status=200, body=b"x" * 1_000_000)

    async def accept(request: WebSocketRequest) -> None:
        websocket = await request.accept(subprotocol="p")
        websocket.send(b"x" * 1_000_000)
        await websocket.close()

    async with serving(large, accept) as served:
        streams = [await served.connect() for _ in range(4)]
        for stream, data in zip(streams, (b"", GET[:5], GET, UPGRADE), strict=True):
            await stream.send_all(data)
        await trio.testing.wait_all_tasks_blocked()
        assert len(served.listener._connections) == 4
        started = trio.current_time()
    assert trio.current_time() == started
    for stream in streams:
        await read_all(stream)
        with pytest.raises(trio.BrokenResourceError):
            await stream.send_all(b"x")


async def test_what_is_called_after_the_end_does_nothing(autojump_clock: MockClock) -> None:
    handler = Accepting()
    async with serving(describe, handler) as served:
        await open_raw(served)
        assert repr(handler.websocket) == "<ServerWebSocket open, 0 bytes queued>"
        (scope,) = served.listener._connections.values()
        scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        assert repr(handler.websocket) == "<ServerWebSocket closed, 0 bytes queued>"
        handler.websocket.send(b"late")
        handler.websocket.abort()
        handler.websocket.end()
        await handler.websocket.close()
        with pytest.raises(TransportEnded):
            await handler.websocket.receive_batch()


async def test_a_client_that_does_not_take_the_answer_to_its_handshake(autojump_clock: MockClock) -> None:
    seen: list[TransportEnded] = []

    async def handle(request: WebSocketRequest) -> None:
        try:
            await request.accept()
        except TransportEnded as end:
            seen.append(end)
            raise

    async with serving(describe, handle, limits=Limits(send_timeout=30)) as served:
        near, far = memory_stream_pair(window=10)
        served.nursery.start_soon(served.listener.handle, far)
        await near.send_all(UPGRADE)
        await trio.sleep(31)
        assert [end.code for end in seen] == [1006]
        assert served.listener._connections == {}


async def test_there_is_no_tls_in_memory() -> None:
    async with serving() as served:
        with pytest.raises(OSError, match="TLS"):
            await served.connector("h", 443, ssl.create_default_context())
