"""``doctor``: each thing that can be wrong, made wrong for real."""

from __future__ import annotations

import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trustme

from tests.cli.command import Ended, Output
from trio_webpubsub.cli.diagnosis import Finding, Wrong, examine
from trio_webpubsub.emulator import Emulator, open_emulator
from trio_webpubsub.listener import Listener, Request, Response, WebSocketRequest
from trio_webpubsub.webhooks import Accept, ConnectRequest, Reject, WebhookApp

Call = Callable[..., Awaitable[Ended]]

KEY = "a-key-that-nobody-may-see-0123456789"


def resource(endpoint: str) -> str:
    return f"Endpoint={endpoint};AccessKey={KEY};Version=1.0;"


async def wrong(call: Call, connection_string: str, *options: str) -> tuple[str, str]:
    """Let it examine a resource that is of no use; gives what is wrong, and the sentence about it."""
    ended = await call("doctor", "--connection-string", connection_string, *options)
    assert (ended.status, ended.err) == (1, "")
    assert KEY not in ended.out
    *good, last = ended.out.splitlines()
    assert all(line.startswith("ok ") for line in good)
    assert last.startswith("wrong ")
    return last[6:25].strip(), last[25:]


async def test_nothing_is_wrong(call: Call, emulator: Emulator) -> None:
    ended = await call("doctor")
    assert (ended.status, ended.err) == (0, "")
    subjects = [line[6:25].strip() for line in ended.out.splitlines() if line.startswith("ok ")]
    steps = ["connection string", "hub", "DNS", "port", "TLS", "service", "clock", "access key", "token", "protocol"]
    assert subjects == [*steps, "roles", "messages"]
    assert len(subjects) == len(ended.out.splitlines())
    assert emulator.groups("chat") == {}


async def test_nothing_is_wrong_over_tls(call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    authority, context = certificate("127.0.0.1")
    (tmp_path / "authority.pem").write_bytes(authority)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    async with open_emulator(ssl_context=context) as emulator:
        ended = await call("doctor", "--connection-string", emulator.connection_string)
    assert ended.status == 0
    assert "the certificate of 127.0.0.1 is good" in ended.out


# The connection string


@pytest.mark.parametrize(
    ("connection_string", "why"),
    [
        (KEY, "part 1 of the connection string is not of the form Key=Value"),
        (f"AccessKey={KEY}", "the connection string has no Endpoint"),
        ("Endpoint=https://example.com;AccessKey=", "the connection string has no AccessKey"),
        (f"Endpoint=wss://example.com;AccessKey={KEY}", "must start with https:// or http://"),
    ],
)
async def test_a_connection_string_that_cannot_be_read(call: Call, connection_string: str, why: str) -> None:
    subject, text = await wrong(call, connection_string)
    assert subject == "connection string"
    assert why in text


async def test_a_hub_that_cannot_be(call: Call) -> None:
    subject, text = await wrong(call, resource("https://example.com"), "--hub", "1x")
    assert subject == "hub"
    assert "'1x' cannot be a hub name" in text


async def test_an_endpoint_in_the_open(call: Call) -> None:
    subject, text = await wrong(call, resource("http://example.com"))
    assert subject == "endpoint"
    assert "--allow-insecure" in text


# The network


@asynccontextmanager
async def tcp_server(greeting: bytes) -> AsyncGenerator[int]:
    """A server that says this to everybody, and listens to nobody; gives its port."""

    async def greet(stream: trio.SocketStream) -> None:
        with suppress(trio.BrokenResourceError):
            await stream.send_all(greeting)
            async for _ in stream:
                pass

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, greet, 0, host="127.0.0.1"))
        yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


class Resolver(trio.abc.HostnameResolver):
    """A DNS that knows nobody, or does not answer."""

    def __init__(self, *, answers: bool) -> None:
        self._answers = answers

    async def getaddrinfo(self, *_: Any, **__: Any) -> Any:
        if not self._answers:
            await trio.sleep_forever()
        await trio.lowlevel.checkpoint()
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    async def getnameinfo(self, sockaddr: object, flags: int) -> Any:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        (True, "There is no address for no-such.example (Name or service not known): is the name right?"),
        (False, "Nobody said within 10 s what the address of no-such.example is."),
    ],
)
async def test_a_name_without_an_address(autojump_clock: Any, answers: bool, why: str) -> None:
    trio.socket.set_custom_hostname_resolver(Resolver(answers=answers))
    findings: list[Finding] = []
    with pytest.raises(Wrong) as caught:
        await examine(resource("https://no-such.example"), "chat", findings.append, allow_insecure=False)
    assert caught.value.finding == Finding("DNS", why, good=False)
    assert all(finding.good for finding in findings)


async def test_a_port_where_nobody_listens(call: Call) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    subject, text = await wrong(call, resource(f"http://127.0.0.1:{port}"))
    assert (subject, text.partition(":")[0]) == ("port", "Nothing listens at 127.0.0.1")


async def test_a_proxy_that_is_not_there(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    monkeypatch.setenv("HTTPS_PROXY", f"http://user:{KEY}@127.0.0.1:{port}")
    ended = await call("doctor", "--connection-string", resource("https://service.example"))
    assert f"ok    proxy              127.0.0.1:{port}, named by the environment\n" in ended.out
    assert f"wrong port               Nothing listens at 127.0.0.1:{port}" in ended.out
    assert KEY not in ended.out


async def test_a_proxy_that_refuses(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    async with tcp_server(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n") as port:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
        subject, text = await wrong(call, resource("https://service.example"))
    assert subject == "proxy"
    assert "refused with status 407" in text


async def test_a_proxy_that_cannot_be(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"socks5://{KEY}@127.0.0.1:1080")
    subject, _ = await wrong(call, resource("https://service.example"))
    assert subject == "proxy"


# TLS


def certificate(host: str, **options: Any) -> tuple[bytes, ssl.SSLContext]:
    """Make a certificate; gives its authority, and a server's context."""
    authority: Any = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(host, **options).configure_cert(context)
    return bytes(authority.cert_pem.bytes()), context


LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("host", "options", "trusted", "why"),
    [
        ("127.0.0.1", {}, False, "The certificate is not trusted: "),
        ("elsewhere.example", {}, True, "The certificate is for another host: "),
        ("127.0.0.1", {"not_after": LONG_AGO}, True, "certificate has expired; if it should, look at the clock"),
    ],
)
async def test_a_certificate_that_does_not_hold(
    call: Call,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    host: str,
    options: dict[str, Any],
    trusted: bool,
    why: str,
) -> None:
    authority, context = certificate(host, **options)
    (tmp_path / "authority.pem").write_bytes(authority)
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    async with open_emulator(ssl_context=context) as emulator:
        subject, text = await wrong(call, emulator.connection_string)
    assert subject == "TLS"
    assert why in text


async def test_https_where_http_is_spoken(call: Call, emulator: Emulator) -> None:
    subject, text = await wrong(call, emulator.connection_string.replace("http://", "https://"))
    assert subject == "TLS"
    assert "does not speak TLS with us" in text


async def test_http_where_https_is_spoken(call: Call) -> None:
    _, context = certificate("127.0.0.1")
    async with open_emulator(ssl_context=context) as emulator:
        subject, text = await wrong(call, emulator.connection_string.replace("https://", "http://"))
    assert subject == "service"
    assert text.endswith("If it speaks TLS, the endpoint starts with https://.")


# The service


@asynccontextmanager
async def http_server(health: int, others: int) -> AsyncGenerator[int]:
    """A server that answers with these statuses, and takes no WebSockets; gives its port."""

    async def handle(request: Request) -> Response:
        await trio.lowlevel.checkpoint()
        return Response(status=health if request.path == "/api/health" else others)

    async def no_websocket(request: WebSocketRequest) -> None:
        await request.reject(404)

    async with trio.open_nursery() as nursery:
        (port,) = await nursery.start(partial(Listener(handle, no_websocket).serve, 0))
        yield port
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("health", "others", "subject", "why"),
    [
        (404, 404, "service", "not as Azure Web PubSub does (HEAD /api/health: 404)"),
        (200, 200, "access key", "The answers are not those of Azure Web PubSub"),
        (200, 404, "protocol", "answered with 404"),
        (200, 500, "access key", "500"),
    ],
)
async def test_a_server_that_is_no_web_pubsub(call: Call, health: int, others: int, subject: str, why: str) -> None:
    async with http_server(health, others) as port:
        found, text = await wrong(call, resource(f"http://127.0.0.1:{port}"))
    assert found == subject
    assert why in text


@pytest.mark.parametrize("command", [["doctor"], ["send", "lobby", "hi", "--hub", "chat", "--rest"]])
async def test_what_a_server_says_has_no_power_over_a_terminal(call: Call, command: list[str]) -> None:
    async def answer(stream: trio.SocketStream) -> None:
        async with stream:
            status = b"200" if b"/api/health" in await stream.receive_some() else b"400"
            headers = b"x-ms-error-code: \x1b[2J\r\ncontent-length: 0\r\nconnection: close\r\n"
            await stream.send_all(b"HTTP/1.1 " + status + b" Said\r\n" + headers + b"\r\n")

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, answer, 0, host="127.0.0.1"))
        port = listener.socket.getsockname()[1]
        ended = await call(*command, "--connection-string", resource(f"http://127.0.0.1:{port}"))
        nursery.cancel_scope.cancel()
    assert r"400 \x1b[2J: " in ended.out + ended.err


async def test_a_server_that_speaks_no_http(call: Call) -> None:
    async with tcp_server(b"220 mail.example ESMTP\r\n\r\n") as port:
        subject, text = await wrong(call, resource(f"http://127.0.0.1:{port}"))
    assert subject == "service"
    assert "does not answer as an HTTP server does" in text


async def test_a_key_that_is_not_the_resources(call: Call, emulator: Emulator) -> None:
    subject, text = await wrong(call, resource(emulator.endpoint))
    assert subject == "access key"
    assert "The service does not accept the access key (401)" in text


SKEWED = """
import sys, time
real = time.time
time.time = lambda: real() + float(sys.argv[1])
from trio_webpubsub.cli.program import main
sys.exit(main(["emulator", "--port", "0"]))
"""


@asynccontextmanager
async def emulator_with_clock(skew: int) -> AsyncGenerator[str]:
    """An emulator in a process whose clock differs by so many seconds; gives the connection string."""
    program = [sys.executable, "-c", SKEWED, str(skew)]
    async with trio.open_nursery() as nursery:
        process: trio.Process = await nursery.start(
            partial(trio.run_process, program, stdout=subprocess.PIPE, check=False)
        )
        assert process.stdout is not None
        yield (await Output(process.stdout).line_with("Connection string: ")).partition(": ")[2]
        process.kill()


async def test_a_clock_that_is_behind(call: Call) -> None:
    async with emulator_with_clock(3600) as connection_string:
        ended = await call("doctor", "--connection-string", connection_string)
    assert ended.status == 1
    *_, clock, key = ended.out.splitlines()
    assert clock.startswith("wrong clock              The clock of this machine is 3,")
    assert "s behind the service's" in clock
    assert key == "wrong access key         The service refuses what the key signed, which may be due to the clock."


async def test_a_clock_that_is_ahead_is_wrong_even_if_all_else_works(call: Call) -> None:
    async with emulator_with_clock(-3600) as connection_string:
        ended = await call("doctor", "--connection-string", connection_string)
    assert ended.status == 1
    assert "s ahead of the service's" in ended.out
    assert ended.out.splitlines()[-1].startswith("ok    messages")


async def test_a_service_that_does_not_tell_the_time(call: Call) -> None:
    async with http_server(200, 401) as port:
        ended = await call("doctor", "--connection-string", resource(f"http://127.0.0.1:{port}"))
    assert "ok    clock              cannot be compared" in ended.out


# A client


@pytest.mark.parametrize(
    ("reply", "subject", "why"),
    [
        (Reject(401), "token", "its connect event handler may reject clients"),
        (Reject(403), "protocol", "its connect event handler may reject clients"),
        (Reject(418), "protocol", "418"),
        (Accept(roles=[]), "roles", "the hub's connect event handler changes the roles"),
    ],
)
async def test_an_event_handler_that_is_in_the_way(call: Call, reply: Accept | Reject, subject: str, why: str) -> None:
    async def connect(_: ConnectRequest) -> Accept | Reject:
        return reply

    async with open_emulator(event_handlers=[WebhookApp("doctor", on_connect=connect)]) as emulator:
        found, text = await wrong(call, emulator.connection_string)
    assert found == subject
    assert why in text


async def test_an_event_handler_that_makes_somebody_else_of_the_client(call: Call) -> None:
    async def connect(_: ConnectRequest) -> Accept:
        return Accept(user_id="zoe")

    async with open_emulator(event_handlers=[WebhookApp("doctor", on_connect=connect)]) as emulator:
        ended = await call("doctor", "--connection-string", emulator.connection_string)
    assert ended.status == 1
    assert "wrong user               The client is 'zoe' and not 'doctor'" in ended.out
    assert "ok    messages" in ended.out
