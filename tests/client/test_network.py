"""Proxies, headers and TLS."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import AsyncGenerator
from functools import partial
from typing import Any

import pytest
import trio
import trio_websocket
import trustme
from trio.testing import MockClock

from trio_webpubsub import ConnectFailed, open_client
from trio_webpubsub._shell.memory import memory_stream_pair
from trio_webpubsub._shell.proxy import Proxy, ProxyConnector, connect_as_environment_says

from .raw_service import RELIABLE, URL, RawService

OPEN = b"HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n"


class ConnectProxy:
    """An HTTP proxy in memory, in front of a raw service."""

    def __init__(self, nursery: trio.Nursery, service: RawService, answer: bytes | None = OPEN) -> None:
        self._nursery = nursery
        self._service = service
        self._answer = answer
        self.requests: list[str] = []
        self.dialled: list[tuple[str, int, bool]] = []

    async def connector(self, host: str, port: int, ssl_context: ssl.SSLContext | None, /) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        self.dialled.append((host, port, ssl_context is not None))
        ours, theirs = memory_stream_pair()
        self._nursery.start_soon(self._serve, theirs)
        return ours

    async def _serve(self, stream: trio.abc.Stream) -> None:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += await stream.receive_some(1000)
        self.requests.append(head.decode())
        if self._answer is None:
            await trio.sleep_forever()
            return
        with contextlib.suppress(trio.BrokenResourceError):  # a client may have seen enough
            for position in range(len(self._answer)):
                await stream.send_all(self._answer[position : position + 1])
        if self._answer != OPEN:
            await stream.aclose()
            return
        behind = await self._service.connector("behind", 80, None)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pump, stream, behind)
            nursery.start_soon(pump, behind, stream)


async def pump(source: trio.abc.Stream, sink: trio.abc.Stream) -> None:
    with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        async for data in source:
            await sink.send_all(data)
    await sink.aclose()


async def test_a_proxy_is_gone_through(autojump_clock: MockClock, service: RawService, nursery: trio.Nursery) -> None:
    proxy = ConnectProxy(nursery, service)
    url = URL.replace("localhost", "example.org")
    address = "http://ann:p%40ss@proxy.test:3128"
    async with open_client(url, connector=proxy.connector, proxy=address, allow_insecure=True) as client:
        await service.next()
        assert client.state == "connected"
    assert proxy.dialled == [("proxy.test", 3128, False)]
    (request,) = proxy.requests
    assert request.startswith("CONNECT example.org:80 HTTP/1.1\r\nHost: example.org:80\r\n")
    assert "Proxy-Authorization: Basic YW5uOnBAc3M=\r\n" in request


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "refused with status 407"),
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", "refused with status 502"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "not HTTP"),
        (b"HTTP/1.1 2", "closed the connection"),
        (b"x" * 20_000, "not HTTP"),
        (None, "in time"),
    ],
)
async def test_a_proxy_that_does_not_help_is_told(
    autojump_clock: MockClock, service: RawService, nursery: trio.Nursery, answer: bytes | None, told: str
) -> None:
    proxy = ConnectProxy(nursery, service, answer)
    with pytest.raises(ConnectFailed, match=told) as caught:
        async with open_client(URL, connector=proxy.connector, proxy="http://canary:canary@proxy.test"):
            pytest.fail("there is no way through")
    assert "canary" not in str(caught.value)
    nursery.cancel_scope.cancel()


async def test_a_proxy_that_breaks_is_told(autojump_clock: MockClock) -> None:
    async def connector(*_: object) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        ours, theirs = memory_stream_pair()
        theirs.abort()
        return ours

    with pytest.raises(ConnectFailed, match="broke the connection"):
        async with open_client(URL, connector=connector, proxy="http://proxy.test"):
            pytest.fail("there is no way through")


async def test_a_proxy_that_cannot_be_reached_is_named(autojump_clock: MockClock) -> None:
    async def connector(*_: object) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        raise OSError(111, "Connection refused")

    told = "no connection to localhost:80: the proxy proxy.test:3128 cannot be reached: Connection refused"
    with pytest.raises(ConnectFailed, match=told):
        async with open_client(URL, connector=connector, proxy="http://proxy.test:3128"):
            pytest.fail("there is no way through")


@pytest.mark.parametrize(
    "url", ["", "socks5://canary@proxy.test", "http://canary@", "http://proxy.test:99999", "http://proxy.test/canary"]
)
def test_a_bad_proxy_url_is_named_and_not_shown(url: str) -> None:
    with pytest.raises(ValueError, match="proxy") as caught:
        Proxy.parse(url)
    assert "canary" not in str(caught.value)


def test_a_proxy_shows_no_password() -> None:
    assert "authorization" not in repr(Proxy.parse("http://ann:canary@proxy.test"))
    assert Proxy.parse("proxy.test:8080") == Proxy("proxy.test", 8080)


async def test_ipv6_targets_stand_in_brackets(autojump_clock: MockClock, service: RawService) -> None:
    async with trio.open_nursery() as nursery:
        proxy = ConnectProxy(nursery, service)
        stream = await ProxyConnector(Proxy("proxy.test", 80), proxy.connector)("::1", 443, None)
        await stream.aclose()
    assert proxy.requests[0].startswith("CONNECT [::1]:443 ")


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "all_proxy"])
async def test_the_environment_may_name_a_proxy(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)

    async def refuse(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 403 No\r\n\r\n")

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, refuse, 0, host="127.0.0.1"))
        port = listener.socket.getsockname()[1]
        monkeypatch.setenv(variable, f"http://127.0.0.1:{port}")
        with pytest.raises(OSError, match="refused with status 403"):
            await connect_as_environment_says("does-not-exist.invalid", 80, None)
        # This machine is reached directly, and so is what NO_PROXY names.
        await (await connect_as_environment_says("127.0.0.1", port, None)).aclose()
        monkeypatch.setenv("NO_PROXY", "does-not-exist.invalid")
        with pytest.raises(OSError, match=r"(?i)name|address|lookup"):
            await connect_as_environment_says("does-not-exist.invalid", 80, None)
        monkeypatch.delenv("NO_PROXY")
        monkeypatch.setenv(variable, "socks5://nothing")
        with pytest.raises(OSError, match="environment"):
            await connect_as_environment_says("does-not-exist.invalid", 80, None)
        monkeypatch.setenv("NO_PROXY", "does-not-exist.invalid:80")
        with pytest.raises(OSError, match=r"(?i)name|address|lookup"):
            await connect_as_environment_says("does-not-exist.invalid", 80, None)
        with pytest.raises(OSError, match="environment"):
            await connect_as_environment_says("does-not-exist.invalid", 81, None)
        nursery.cancel_scope.cancel()


def test_a_proxy_may_speak_tls_itself() -> None:
    assert Proxy.parse("https://proxy.test") == Proxy("proxy.test", 443, secure=True)


# Headers


async def test_headers_go_with_every_handshake(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector, headers={"X-Trace": "7"}) as client:
        peer = await service.next()
        for _ in range(2):
            headers = dict(peer.headers)
            assert headers[b"x-trace"] == b"7"
            assert headers[b"user-agent"].startswith(b"trio-webpubsub/")
            peer.cut()
            peer = await service.next()
        assert client.connection_id == "c-1"


async def test_the_user_agent_can_be_replaced(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector, user_agent="mine/1", headers=[("A", "b"), ("A", "c")]):
        headers = (await service.next()).headers
    assert (b"user-agent", b"mine/1") in headers
    assert [value for name, value in headers if name == b"a"] == [b"b", b"c"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"headers": {"Bad Name": "canary"}}, "Bad Name"),
        ({"headers": {"X": "canary\r\nY: 1"}}, "'X'"),
        ({"headers": {"X": "canary\u20ac"}}, "'X'"),
        ({"headers": {"Host": "canary"}}, "Host"),
        ({"headers": {"Sec-WebSocket-Key": "canary"}}, "Sec-WebSocket-Key"),
        ({"user_agent": "canary\n"}, "user_agent"),
        ({"proxy": "socks5://canary"}, "proxy"),
    ],
)
async def test_bad_network_options_are_named_and_not_shown(
    autojump_clock: MockClock, service: RawService, options: dict[str, Any], told: str
) -> None:
    with pytest.raises(ValueError, match=told) as caught:
        async with open_client(URL, connector=service.connector, **options):
            pytest.fail("this option makes no sense")
    assert "canary" not in str(caught.value)


# TLS, over real sockets


@contextlib.asynccontextmanager
async def tls_service(context: ssl.SSLContext) -> AsyncGenerator[str, None]:
    """Greet clients over TLS, and give the URL."""

    async def serve(stream: trio.abc.Stream) -> None:
        with contextlib.suppress(trio.BrokenResourceError, trio_websocket.ConnectionClosed):
            async with trio.open_nursery() as nursery:
                request = await trio_websocket.wrap_server_stream(nursery, stream)
                websocket = await request.accept(subprotocol=RELIABLE)
                await websocket.send_message('{"type":"system","event":"connected","connectionId":"c-1"}')
                await websocket.get_message()

    async def guarded(stream: trio.abc.Stream) -> None:
        try:
            await serve(stream)
        except* (trio.BrokenResourceError, trio_websocket.ConnectionClosed):
            pass

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_ssl_over_tcp, guarded, 0, context, host="127.0.0.1"))
        port = listener.transport_listener.socket.getsockname()[1]
        yield f"wss://localhost:{port}/client/hubs/chat?access_token=canary"
        nursery.cancel_scope.cancel()


def server_context(ca: trustme.CA, name: str = "localhost") -> ssl.SSLContext:
    return with_certificate(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ca, name)


def with_certificate(context: ssl.SSLContext, ca: trustme.CA, name: str) -> ssl.SSLContext:
    with ca.issue_cert(name).private_key_and_cert_chain_pem.tempfile() as path:
        context.load_cert_chain(path)
    return context


def trusting(ca: trustme.CA) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=ca.cert_pem.bytes().decode())


async def test_tls_with_a_context_of_the_users() -> None:
    ca = trustme.CA()
    async with tls_service(server_context(ca)) as url, open_client(url, ssl_context=trusting(ca)) as client:
        assert client.connection_id == "c-1"


async def test_an_untrusted_certificate_is_told() -> None:
    async with tls_service(server_context(trustme.CA())) as url:
        with pytest.raises(ConnectFailed, match="TLS with localhost failed"):
            async with open_client(url):
                pytest.fail("nobody trusts it")


async def test_a_certificate_of_another_host_is_told() -> None:
    ca = trustme.CA()
    async with tls_service(server_context(ca, "elsewhere.test")) as url:
        with pytest.raises(ConnectFailed, match=r"TLS with localhost failed: .*[Hh]ostname mismatch"):
            async with open_client(url, ssl_context=trusting(ca)):
                pytest.fail("it is somebody else")


async def test_a_client_certificate_can_be_given() -> None:
    ca = trustme.CA()
    server = server_context(ca)
    server.load_verify_locations(cadata=ca.cert_pem.bytes().decode())
    server.verify_mode = ssl.CERT_REQUIRED
    context = with_certificate(trusting(ca), ca, "ann@example.org")
    async with tls_service(server) as url, open_client(url, ssl_context=context) as client:
        assert client.state == "connected"


def refuse_certificate(listener: socket.socket, context: ssl.SSLContext) -> None:
    """Accept a connection as a blocking server does, which tells by an alert what it thinks of a certificate."""
    connection, _ = listener.accept()
    with connection, contextlib.suppress(OSError), context.wrap_socket(connection, server_side=True) as secure:
        while secure.recv(1000):
            pass


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("certificate", ["none", "of another authority"])
async def test_a_client_certificate_that_is_refused_is_told_at_once(version: ssl.TLSVersion, certificate: str) -> None:
    ca = trustme.CA()
    server = server_context(ca)
    server.load_verify_locations(cadata=ca.cert_pem.bytes().decode())
    server.verify_mode = ssl.CERT_REQUIRED
    context = trusting(ca)
    context.maximum_version = version
    if certificate != "none":
        with_certificate(context, trustme.CA(), "mallory@example.org")
    with socket.create_server(("127.0.0.1", 0)) as listener, trio.fail_after(5):
        url = f"wss://localhost:{listener.getsockname()[1]}/client/hubs/chat?access_token=canary"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, refuse_certificate, listener, server)
            with pytest.raises(ConnectFailed, match=r"TLS.*(ALERT|certificate)"):
                async with open_client(url, ssl_context=context, connect_timeout=60):
                    pytest.fail("the certificate was refused")


async def tunnel(stream: trio.abc.Stream, *, port: int) -> None:
    """Be a proxy for one connection, to which every name is this machine."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += await stream.receive_some(1000)
    assert head.startswith(b"CONNECT service.test:443 HTTP/1.1\r\n")
    behind = await trio.open_tcp_stream("127.0.0.1", port)
    await stream.send_all(OPEN)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pump, stream, behind)
        nursery.start_soon(pump, behind, stream)


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("named_by", ["option", "environment"])
async def test_tls_goes_through_a_proxy_to_the_service_itself(
    monkeypatch: pytest.MonkeyPatch, scheme: str, named_by: str
) -> None:
    ca = trustme.CA()
    async with tls_service(server_context(ca, "service.test")) as url, trio.open_nursery() as nursery:
        serve = partial(tunnel, port=int(url.split(":")[2].partition("/")[0]))
        if scheme == "http":
            (listener,) = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
            port = listener.socket.getsockname()[1]
        else:
            certificate = server_context(ca, "localhost")
            (secure,) = await nursery.start(partial(trio.serve_ssl_over_tcp, serve, 0, certificate, host="127.0.0.1"))
            port = secure.transport_listener.socket.getsockname()[1]
        proxy = f"{scheme}://localhost:{port}"
        with ca.cert_pem.tempfile() as trusted, trio.fail_after(10):
            monkeypatch.setenv("SSL_CERT_FILE", trusted)
            monkeypatch.delenv("NO_PROXY", raising=False)
            monkeypatch.delenv("no_proxy", raising=False)
            options: dict[str, Any] = {}
            if named_by == "option":
                options["proxy"] = proxy
            else:
                monkeypatch.setenv("HTTPS_PROXY", proxy)
            async with open_client("wss://service.test/client/hubs/chat", **options) as client:
                assert client.connection_id == "c-1"
        nursery.cancel_scope.cancel()
