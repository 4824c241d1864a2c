"""HTTP on the listener, over memory and on the virtual clock: requests, deadlines, limits, and what is no request."""

from __future__ import annotations

import json
import logging
from typing import cast

import h11
import httpx
import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.listener.peers import Served, describe, read_all, read_answer, serving, statuses
from trio_webpubsub._shell.http import ConnectorTransport
from trio_webpubsub.listener import Limits, Request, Response

GET = b"GET /a/b%20c?x=1&y=%2F HTTP/1.1\r\nHost: h\r\n\r\n"
POST = b"POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello"


async def test_a_request_comes_as_it_was_sent() -> None:
    seen: list[Request] = []

    async def handle(request: Request) -> Response:
        await trio.lowlevel.checkpoint()
        seen.append(request)
        return Response(status=201, headers=[("X-Answer", "é"), ("Content-Length", "99")], body=b"done")

    async with serving(handle) as served:
        stream = await served.connect()
        await stream.send_all(
            b"PUT /a/%2e%2e/b?q=%20&q=? HTTP/1.1\r\nHost: h\r\nX-Name: caf\xe9\r\nX-Twice: 1\r\nx-twice: 2\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
        )
        answer = await stream.receive_some()
    assert answer == b"HTTP/1.1 201 Created\r\nx-answer: \xe9\r\ncontent-length: 4\r\n\r\ndone"
    (request,) = seen
    assert (request.method, request.path, request.query) == ("PUT", "/a/%2e%2e/b", "q=%20&q=?")
    assert request.headers["x-name"] == "café"
    assert request.headers["x-twice"] == "1, 2"
    assert request.body == b"abcde"
    assert "q=" not in repr(request)
    assert "caf" not in repr(request)


async def test_httpx_is_served_over_one_connection() -> None:
    async def handle(request: Request) -> Response:
        await trio.lowlevel.checkpoint()
        return Response(status=200, body=json.dumps([request.path, len(request.body)]).encode())

    async with (
        serving(handle) as served,
        httpx.AsyncClient(transport=ConnectorTransport(served.connector), base_url="http://h") as client,
    ):
        for size in (0, 10, 500_000):
            response = await client.post("/path", content=b"x" * size)
            assert response.json() == ["/path", size]
        response = await client.head("/path")
        assert (response.status_code, response.content) == (200, b"")
        assert response.headers["content-length"] == str(len('["/path", 0]'))
        assert len(served.listener._connections) == 1


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        ("http://h:80/p?q", "/p", "q"),
        ("HTTPS://h", "/", ""),
        ("http://h?q=1", "/", "q=1"),
        ("/p?u=http://x/y", "/p", "u=http://x/y"),
        ("//p", "//p", ""),
        ("*", "*", ""),
    ],
)
async def test_every_form_of_a_target(target: str, path: str, query: str) -> None:
    async with serving() as served:
        stream = await served.connect()
        await stream.send_all(b"OPTIONS " + target.encode() + b" HTTP/1.1\r\nHost: h\r\n\r\n")
        assert await read_answer(stream) == (200, f"OPTIONS {path} {query} 0".encode())


async def test_pipelined_requests_are_answered_in_order() -> None:
    async with serving() as served:
        stream = await served.connect()
        await stream.send_all((GET + POST) * 20 + GET[:-2] + b"Connection: close\r\n\r\n")
        answers = await read_all(stream)
    assert statuses(answers) == [200] * 41
    assert answers.count(b"GET /a/b%20c x=1&y=%2F 0") == 21
    assert answers.count(b"POST /p  5") == 20


async def test_a_request_that_came_by_any_split() -> None:
    async with serving() as served:
        for split in range(1, len(POST)):
            stream = await served.connect()
            await stream.send_all(POST[:split])
            await trio.testing.wait_all_tasks_blocked()
            await stream.send_all(POST[split:])
            assert await read_answer(stream) == (200, b"POST /p  5")
            stream.close()


async def test_a_connection_that_ends_within_a_request_ends_quietly(caplog: pytest.LogCaptureFixture) -> None:
    async with serving() as served:
        for split in range(len(POST)):
            for how in ("close", "abort"):
                stream = await served.connect()
                await stream.send_all(POST[:split])
                await trio.testing.wait_all_tasks_blocked()
                getattr(stream, how)()
        await trio.testing.wait_all_tasks_blocked()
        assert served.listener._connections == {}
    assert caplog.records == []


@pytest.mark.parametrize(
    ("request_head", "goes_on"),
    [
        (b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", True),
        (b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", False),
        (b"GET / HTTP/1.0\r\n\r\n", False),
    ],
)
async def test_keep_alive(request_head: bytes, goes_on: bool, autojump_clock: MockClock) -> None:
    async with serving() as served:
        stream = await served.connect()
        await stream.send_all(request_head)
        assert (await read_answer(stream))[0] == 200
        with trio.move_on_after(1) as scope:
            assert await stream.receive_some() == b""
        assert scope.cancelled_caught is goes_on


async def test_100_continue() -> None:
    async with serving() as served:
        stream = await served.connect()
        await stream.send_all(b"POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 100 ")
        await stream.send_all(b"hello")
        assert await read_answer(stream) == (200, b"POST /p  5")


@pytest.mark.parametrize("status", [204, 304])
async def test_answers_that_have_no_body(status: int) -> None:
    async def handle(request: Request) -> Response:
        await trio.lowlevel.checkpoint()
        return Response(status=status)

    async with serving(handle) as served:
        stream = await served.connect()
        await stream.send_all(GET)
        answer = await stream.receive_some()
        assert statuses(answer) == [status]
        assert b"content-length" not in answer.lower()
        await stream.send_all(GET)
        assert statuses(await stream.receive_some()) == [status]


# Deadlines


async def time_until_end(served: Served, *pieces: bytes, pause: float = 0) -> tuple[float, list[int]]:
    """Send the pieces with pauses between them; give how long the listener put up with it, and what it answered."""
    stream = await served.connect()
    started = trio.current_time()
    answers = bytearray()
    ended = trio.Event()

    async def read() -> None:
        while piece := await stream.receive_some():
            answers.extend(piece)
        ended.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        for piece in pieces:
            if not ended.is_set():
                await stream.send_all(piece)
                with trio.move_on_after(pause):
                    await ended.wait()
    return trio.current_time() - started, statuses(bytes(answers))


async def test_deadlines(autojump_clock: MockClock) -> None:
    limits = Limits(head_timeout=10, body_timeout=30, idle_timeout=60, close_timeout=2)
    async with serving(limits=limits) as served:
        assert await time_until_end(served) == (60, [])
        assert await time_until_end(served, GET) == (60, [200])
        # A byte each second keeps nobody's connection open.
        assert await time_until_end(served, *[b"G"] * 100, pause=1) == (10, [408])
        assert await time_until_end(served, *[bytes((byte,)) for byte in GET], pause=1) == (10, [408])
        assert await time_until_end(served, GET, GET[:5], pause=5) == (15, [200, 408])
        assert await time_until_end(served, GET + GET[:5]) == (10, [200, 408])
        assert await time_until_end(served, POST[:-1]) == (30, [408])
        assert await time_until_end(served, POST[:-5], *[b"."] * 4, pause=9) == (30, [408])


async def test_a_head_may_come_late_but_not_slowly(autojump_clock: MockClock) -> None:
    async with serving(limits=Limits(head_timeout=10, idle_timeout=60)) as served:
        stream = await served.connect()
        for _ in range(2):
            await trio.sleep(59)
            await stream.send_all(GET[:3])
            await trio.sleep(9)
            await stream.send_all(GET[3:])
            assert (await read_answer(stream))[0] == 200


async def test_a_peer_that_does_not_take_the_answer(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def handle(request: Request) -> Response:
        await trio.lowlevel.checkpoint()
        return Response(status=200, body=b"x" * 1_000_000)

    async with serving(handle, limits=Limits(send_timeout=30)) as served:
        stream = await served.connect()
        await stream.send_all(GET)
        await trio.sleep(29)
        assert len(served.listener._connections) == 1
        await trio.sleep(2)
        assert served.listener._connections == {}
        assert len(await read_all(stream)) < 200_000
    assert caplog.records == []


# Limits and what is no request


def padded(size: int) -> bytes:
    head = b"GET / HTTP/1.1\r\nHost: h\r\nX: \r\n\r\n"
    return head.replace(b"X: ", b"X: " + b"x" * (size - len(head)))


@pytest.mark.parametrize("pieces", [1 << 30, 1_000, 4_096])
async def test_the_head_has_a_limit(pieces: int, autojump_clock: MockClock) -> None:
    async with serving(limits=Limits(head_size=16_384)) as served:
        for head, expected in (
            (padded(16_384), 200),
            (padded(16_385), 431),
            (padded(60_000), 431),
            (GET + padded(16_384), 200),
            (GET + padded(16_385), 431),
            (b"x" * 20_000, 431),
        ):
            stream = await served.connect()
            for position in range(0, len(head), pieces):
                await stream.send_all(head[position : position + pieces])
                await trio.testing.wait_all_tasks_blocked()
            with trio.move_on_after(5):
                await stream.send_eof()
            assert statuses(await read_all(stream))[-1] == expected, (len(head), expected)


async def test_the_body_has_a_limit(autojump_clock: MockClock) -> None:
    head = b"POST / HTTP/1.1\r\nHost: h\r\n"
    async with serving(limits=Limits(body_size=1_000)) as served:
        for request, expected in (
            (head + b"Content-Length: 1000\r\n\r\n" + b"x" * 1_000, [200]),
            (head + b"Content-Length: 1001\r\n\r\n", [413]),
            (head + b"Content-Length: 1001\r\nExpect: 100-continue\r\n\r\n", [413]),
            (head + b"Transfer-Encoding: chunked\r\n\r\n" + (b"5\r\nhello\r\n" * 200) + b"0\r\n\r\n", [200]),
            (head + b"Transfer-Encoding: chunked\r\n\r\n" + (b"5\r\nhello\r\n" * 201), [413]),
        ):
            stream = await served.connect()
            await stream.send_all(request)
            await trio.testing.wait_all_tasks_blocked()
            with trio.move_on_after(5):
                assert statuses(await stream.receive_some()) == expected


async def test_who_is_refused_within_a_long_body_still_reads_the_answer(autojump_clock: MockClock) -> None:
    async with serving(limits=Limits(body_size=1_000)) as served:
        stream = await served.connect()
        await stream.send_all(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 500000\r\n\r\n" + b"x" * 500_000)
        assert statuses(await read_all(stream)) == [413]
        stream.close()


HEAD = b"POST / HTTP/1.1\r\nHost: h\r\n"
NO_REQUESTS = {
    "garbage": (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", 400),
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "two hosts": (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    "length and chunks": (HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "two lengths": (HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n", 400),
    "a signed length": (HEAD + b"Content-Length: +5\r\n\r\n", 400),
    "a negative length": (HEAD + b"Content-Length: -5\r\n\r\n", 400),
    "an empty length": (HEAD + b"Content-Length:\r\n\r\n", 400),
    "unknown coding": (HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n", 501),
    "chunks in HTTP/1.0": (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "a bad chunk": (HEAD + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n", 400),
    "a space before the colon": (HEAD + b"Content-Length : 5\r\n\r\n", 400),
    "a control character": (HEAD + b"X: a\x00b\r\n\r\n", 400),
    "a header name that is no ASCII": (HEAD + b"\xe9: 1\r\n\r\n", 400),
    "a target that is no ASCII": (b"GET /\xe9 HTTP/1.1\r\nHost: h\r\n\r\n", 400),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "CONNECT": (b"CONNECT h:1 HTTP/1.1\r\nHost: h\r\n\r\n", 501),
}


@pytest.mark.parametrize(("sent", "status"), NO_REQUESTS.values(), ids=NO_REQUESTS.keys())
async def test_what_is_no_request_is_refused_and_ends_the_connection(
    sent: bytes, status: int, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def never(request: Request) -> Response:
        await trio.lowlevel.checkpoint()
        raise AssertionError("this was handled")

    async with serving(never) as served:
        stream = await served.connect()
        await stream.send_all(sent + GET)
        answer = await read_all(stream)
    assert statuses(answer) == [status]
    assert b"connection: close" in answer.lower()
    assert caplog.records == []


@given(
    st.lists(
        st.one_of(
            st.binary(max_size=30),
            st.sampled_from(
                (
                    GET,
                    POST,
                    HEAD,
                    b"\r\n",
                    b"\n",
                    b"Content-Length: 3\r\n",
                    b"Upgrade: websocket\r\n",
                    b"\xff",
                    b"0\r\n\r\n",
                )
            ),
        ),
        max_size=8,
    )
)
def test_whatever_comes_the_connection_ends_and_nothing_escapes(pieces: list[bytes]) -> None:
    async def main() -> None:
        async with serving() as served:
            stream = await served.connect()
            await stream.send_all(b"".join(pieces))
            await stream.send_eof()
            answers = await read_all(stream)
            stream.close()
            await trio.testing.wait_all_tasks_blocked()
            assert served.listener._connections == {}
            client = h11.Connection(h11.CLIENT)
            if answers:
                client.send(h11.Request(method="GET", target="/", headers=[("Host", "h")]))
                client.receive_data(answers)
                assert isinstance(client.next_event(), h11.Response)

    # A handler that logged an error would have been a way out.
    logging.getLogger("trio_webpubsub").addFilter(_fail)
    try:
        trio.run(main, clock=MockClock(autojump_threshold=0))
    finally:
        logging.getLogger("trio_webpubsub").removeFilter(_fail)


def _fail(record: logging.LogRecord) -> bool:
    raise AssertionError(record.getMessage())


# Handlers that fail


@pytest.mark.parametrize(
    "response",
    [
        Response(status=200, headers=[("X", "a\r\nb")]),
        Response(status=200, headers=[("X", "日本")]),
        Response(status=200, headers=[("ü", "x")]),
        Response(status=99),
        Response(status=1_000),
        None,
    ],
)
async def test_a_handler_that_fails_is_answered_with_500(
    response: Response | None, caplog: pytest.LogCaptureFixture
) -> None:
    async def handle(request: Request) -> Response:
        if request.path == "/fine":
            return await describe(request)
        if response is None:
            raise LookupError("a bug")
        return response

    async with serving(handle) as served:
        other = await served.connect()
        stream = await served.connect()
        await stream.send_all(b"GET /bad?access_token=secret HTTP/1.1\r\nHost: h\r\nAuthorization: secret\r\n\r\n")
        assert await read_answer(stream) == (500, b"Internal Server Error")
        for connection in stream, other:
            await connection.send_all(b"GET /fine HTTP/1.1\r\nHost: h\r\n\r\n")
            assert (await read_answer(connection))[0] == 200
    (record,) = caplog.records
    assert record.levelname == "ERROR"
    assert "secret" not in caplog.text


async def test_a_handler_that_gives_no_response_ends_only_its_connection(caplog: pytest.LogCaptureFixture) -> None:
    async def handle(request: Request) -> Response:
        await trio.lowlevel.checkpoint()
        return cast(Response, None)

    async with serving(handle) as served:
        stream = await served.connect()
        await stream.send_all(GET)
        assert await read_all(stream) == b""
        assert (await served.connect()) is not None
    assert [record.levelname for record in caplog.records] == ["ERROR"]


async def test_where_a_response_ends_is_not_for_the_handler_to_say() -> None:
    async def handle(request: Request) -> Response:
        await trio.lowlevel.checkpoint()
        framing = [
            ("Content-Length", "99"),
            ("Transfer-Encoding", "chunked"),
            ("Connection", "close"),
            ("X-Kept", "a b"),
        ]
        return Response(status=200, headers=framing, body=b"four")

    async with serving(handle) as served:
        stream = await served.connect()
        for _ in range(2):
            await stream.send_all(GET)
            assert await stream.receive_some() == b"HTTP/1.1 200 OK\r\nx-kept: a b\r\ncontent-length: 4\r\n\r\nfour"


async def test_another_protocol_is_not_switched_to() -> None:
    async with serving() as served:
        stream = await served.connect()
        switch = b"GET /a HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
        await stream.send_all(switch + GET)
        assert [(await read_answer(stream))[0] for _ in range(2)] == [200, 200]


@pytest.mark.parametrize(
    ("requests", "expected"),
    [
        (b"HEAD /" + b"x" * 20_000 + b" HTTP/1.1\r\nHost: h\r\n\r\n", [431]),
        (b"HEAD / HTTP/1.1\r\nHost: h\r\nContent-Length: 9999999\r\n\r\n", [413]),
        (b"HEAD / HTTP/1.1\r\nHost: h\r\n\r\nnonsense\r\n\r\n", [200, 400]),
    ],
)
async def test_a_refusal_fits_the_method(
    requests: bytes, expected: list[int], autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving() as served:
        stream = await served.connect()
        await stream.send_all(requests)
        await stream.send_eof()
        answer = await read_all(stream)
        assert statuses(answer) == expected
        assert answer.endswith(b"\r\n\r\nBad Request" if expected[-1] == 400 else b"\r\n\r\n")
    assert caplog.records == []


async def test_only_so_many_connections_are_served_at_once(autojump_clock: MockClock) -> None:
    async with serving(limits=Limits(connections=2)) as served:
        first, second = await served.connect(), await served.connect()
        third = await served.connect()
        await third.send_all(GET)
        assert (await read_answer(third))[0] == 503
        fourth, fifth = await served.connect(), await served.connect()
        assert (await read_answer(fourth))[0] == 503
        assert await fifth.receive_some() == b""  # one more than there is room for refusals
        await third.aclose()
        await fourth.aclose()
        await first.send_all(GET)
        assert (await read_answer(first))[0] == 200
        await second.aclose()
        await wait_all_tasks_blocked()
        last = await served.connect()
        await last.send_all(GET)
        assert (await read_answer(last))[0] == 200


async def test_the_answer_to_a_body_that_is_too_large_can_be_chosen(autojump_clock: MockClock) -> None:
    chosen = Response(status=400, body=b"chosen")
    async with serving(limits=Limits(body_size=10), too_large=chosen) as served:
        for request in (
            b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 11\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nb\r\nxxxxxxxxxxx\r\n",
        ):
            stream = await served.connect()
            await stream.send_all(request)
            assert await read_answer(stream) == (400, b"chosen")
