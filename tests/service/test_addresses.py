"""Where requests go: ports, reverse proxies, proxies, TLS; and that no token travels in the open."""

from __future__ import annotations

import base64
import ssl
from typing import Any

import httpx
import pytest
import trio
import trustme
from trio.testing import MockClock

from tests.http_server import Server
from tests.service.peer import KEY, Peer, service_of
from trio_webpubsub._shell.clock import wall_time
from trio_webpubsub._shell.memory import memory_stream_pair
from trio_webpubsub.protocol.tokens import verify_token
from trio_webpubsub.service import ServiceUnreachable, open_service


@pytest.mark.parametrize(
    ("endpoint", "rest", "connects_to", "audience"),
    [
        ("https://Resource.Example", "", ("resource.example", 443, True), "https://resource.example"),
        ("https://resource.example/", "Port=8443;", ("resource.example", 8443, True), "https://resource.example:8443"),
        ("http://localhost", "port=8081;", ("localhost", 8081, False), "http://localhost:8081"),
        ("http://localhost:1", "Port=8081;", ("localhost", 8081, False), "http://localhost:8081"),
        ("https://h:443", "", ("h", 443, True), "https://h"),
        ("http://[::1]:8080", "", ("::1", 8080, False), "http://[::1]:8080"),
        ("http://127.0.0.9", "", ("127.0.0.9", 80, False), "http://127.0.0.9"),
    ],
)
async def test_endpoints_and_ports(
    autojump_clock: MockClock,
    peer: Peer,
    endpoint: str,
    rest: str,
    connects_to: tuple[str, int, bool],
    audience: str,
) -> None:
    async with service_of(peer, f"Endpoint={endpoint};AccessKey={KEY};Version=1.0;{rest}") as service:
        await service.send_to_all("hi")
        assert (await service.client_access()).base_url == f"ws{audience.removeprefix('http')}/client/hubs/chat"
    assert peer.connects == [connects_to]
    assert peer.heads[0]["host"] == audience.partition("://")[2]
    url = f"{audience}/api/hubs/chat/:send?api-version=2024-12-01"
    assert verify_token(peer.heads[0]["authorization"][7:], keys=[KEY], audiences=[url], now=wall_time())


async def test_an_endpoint_alone_lacks_a_credential() -> None:
    with pytest.raises(ValueError, match="takes a credential"):
        async with open_service("https://resource.example", "chat"):
            pass


@pytest.mark.parametrize("port", ["0", "65536", "x", "-1", "\uff18\uff10"])
async def test_ports_that_are_none(port: str) -> None:
    with pytest.raises(ValueError, match="Port of the connection string"):
        async with open_service(f"Endpoint=https://h;AccessKey={KEY};Port={port}", "chat"):
            pass


@pytest.mark.parametrize("group", ["a/b", "a%2Fb", "a%", "ä ö", "日本", "a?b#c", "a&b=c", "+", "'", "...", "a;b", "\\"])
async def test_a_name_is_encoded_once_and_signed_as_it_travels(
    autojump_clock: MockClock, peer: Peer, group: str
) -> None:
    async with service_of(peer) as service:
        await service.send_to_group(group, "hi", filter=f"'{group}' in groups", excluded=[group])
    url = httpx.URL(f"https://h{peer.targets[0]}")
    assert peer.targets[0].count("/") == 6
    assert url.path == f"/api/hubs/chat/groups/{group}/:send"
    assert (url.params["filter"], url.params["excluded"]) == (f"'{group}' in groups", group)
    audience = f"https://resource.example{peer.targets[0]}"
    claims = verify_token(peer.heads[0]["authorization"][7:], keys=[KEY], audiences=[audience], now=wall_time())
    assert claims["aud"] == audience


async def test_a_url_that_would_be_too_long_is_refused(autojump_clock: MockClock, peer: Peer) -> None:
    async with service_of(peer) as service:
        with pytest.raises(ValueError, match="URL of the request is too long"):
            await service.send_to_all("hi", excluded=[f"connection-{number}" for number in range(5_000)])
    assert peer.connects == []


@pytest.mark.parametrize("address", ["https://Proxy.example:8443/prefix", "https://proxy.example:8443/prefix/"])
async def test_a_reverse_proxy_gets_the_requests_and_tokens_name_the_service(
    autojump_clock: MockClock, peer: Peer, address: str
) -> None:
    async with service_of(peer, reverse_proxy_endpoint=address) as service:
        await service.send_to_group("a/b", "hi")
        assert (await service.client_access_url()).startswith("wss://resource.example/client/hubs/chat?")
        assert service.endpoint == "https://resource.example"
    assert peer.connects == [("proxy.example", 8443, True)]
    assert peer.heads[0]["host"] == "proxy.example:8443"
    assert peer.targets == ["/prefix/api/hubs/chat/groups/a%2Fb/:send?api-version=2024-12-01"]
    url = "https://resource.example/api/hubs/chat/groups/a%2Fb/:send?api-version=2024-12-01"
    assert verify_token(peer.heads[0]["authorization"][7:], keys=[KEY], audiences=[url], now=wall_time())


@pytest.mark.parametrize(
    ("endpoint", "options"),
    [
        ("http://resource.example", {}),
        ("http://10.0.0.1:8080", {}),
        ("http://localhost.example", {}),
        ("https://resource.example", {"reverse_proxy_endpoint": "http://proxy.example"}),
        ("http://localhost:8080", {"proxy": "http://proxy.example"}),
    ],
)
async def test_no_token_travels_in_the_open(
    autojump_clock: MockClock, peer: Peer, endpoint: str, options: dict[str, Any]
) -> None:
    text = f"Endpoint={endpoint};AccessKey={KEY};"
    with pytest.raises(ValueError, match="in the open"):
        async with service_of(peer, text, **options):
            pass
    if "proxy" not in options:
        async with service_of(peer, text, allow_insecure=True, **options) as service:
            await service.send_to_all("hi")


async def test_behind_https_the_service_itself_may_speak_http(autojump_clock: MockClock, peer: Peer) -> None:
    text = f"Endpoint=http://resource.example;AccessKey={KEY};"
    async with service_of(peer, text, reverse_proxy_endpoint="https://proxy.example") as service:
        await service.send_to_all("hi")
    assert peer.connects == [("proxy.example", 443, True)]


@pytest.mark.parametrize(
    "options",
    [
        {"reverse_proxy_endpoint": "https://proxy.example?a=b"},
        {"reverse_proxy_endpoint": "ftp://proxy.example"},
        {"reverse_proxy_endpoint": "proxy.example"},
        {"reverse_proxy_endpoint": "https://user:canary@proxy.example"},
        {"proxy": "socks5://canary@proxy"},
        {"proxy": "http://"},
        {"retries": -1},
        {"max_connections": 0},
        {"user_agent": "a\nb"},
        {"api_version": ""},
        {"request_timeout": -1},
    ],
)
async def test_bad_options_are_refused(autojump_clock: MockClock, peer: Peer, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r".") as refused:
        async with service_of(peer, **options):
            pass
    assert "canary" not in str(refused.value)


class Forward:
    """A proxy in memory: reads one CONNECT, then leads to the server."""

    def __init__(self, nursery: trio.Nursery, server: Server, status: bytes = b"200 OK") -> None:
        self.nursery = nursery
        self.server = server
        self.status = status
        self.connects: list[tuple[str, int]] = []
        self.asked: list[bytes] = []

    async def __call__(self, host: str, port: int, ssl_context: ssl.SSLContext | None, /) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        assert ssl_context is None
        self.connects.append((host, port))
        ours, theirs = memory_stream_pair()
        self.nursery.start_soon(self.serve, theirs)
        return ours

    async def serve(self, stream: trio.abc.Stream) -> None:
        self.asked.append(bytes(await stream.receive_some()))
        await stream.send_all(b"HTTP/1.1 " + self.status + b"\r\n\r\n")
        if self.status.startswith(b"200"):
            await self.server.serve(stream)
        else:
            await stream.aclose()


async def test_a_proxy_is_asked_for_a_tunnel(autojump_clock: MockClock, peer: Peer) -> None:
    proxy = Forward(peer.nursery, peer)
    text = f"Endpoint=http://resource.example:81;AccessKey={KEY};"
    async with service_of(proxy, text, proxy="http://me:secret@proxy:3128", allow_insecure=True) as service:
        await service.send_to_all("hi")
        await service.send_to_all("hi")
    assert proxy.connects == [("proxy", 3128)]
    authorization = base64.b64encode(b"me:secret")
    assert proxy.asked[0].splitlines() == [
        b"CONNECT resource.example:81 HTTP/1.1",
        b"Host: resource.example:81",
        b"Proxy-Authorization: Basic " + authorization,
        b"",
    ]
    assert len(peer.bodies) == 2


async def test_a_proxy_that_refuses_means_that_nothing_was_sent(autojump_clock: MockClock, peer: Peer) -> None:
    proxy = Forward(peer.nursery, peer, b"407 Who are you?")
    async with service_of(proxy, proxy="http://me:canary@proxy", retries=1) as service:
        with pytest.raises(ServiceUnreachable, match="the proxy proxy:80 refused with status 407") as refused:
            await service.send_to_all("hi")
    assert refused.value.tries == 2
    assert "canary" not in str(refused.value)
    assert peer.bodies == []


async def test_tls_with_a_context_of_the_users(nursery: trio.Nursery) -> None:
    authority = trustme.CA()
    server_context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    with authority.issue_cert("localhost").private_key_and_cert_chain_pem.tempfile() as path:
        server_context.load_cert_chain(path)
    peer = Peer(nursery)

    async def serve(stream: trio.SocketStream) -> None:
        secure = trio.SSLStream(stream, server_context, server_side=True, https_compatible=True)
        try:
            await peer.serve(secure)
        except trio.BrokenResourceError:
            await trio.aclose_forcefully(secure)  # the certificate was not to the client's liking

    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    nursery.start_soon(trio.serve_listeners, serve, listeners)
    text = f"Endpoint=https://localhost:{listeners[0].socket.getsockname()[1]};AccessKey={KEY};"
    context = ssl.create_default_context(cadata=authority.cert_pem.bytes().decode())
    with trio.fail_after(30):
        async with open_service(text, "chat", ssl_context=context) as service:
            for _ in range(3):
                await service.send_to_all("hi")
        async with open_service(text, "chat", retries=0) as service:
            with pytest.raises(ServiceUnreachable, match="certificate verify failed"):
                await service.send_to_all("hi")
    assert peer.bodies == [b"hi"] * 3
    assert len(peer.streams) <= 2
    nursery.cancel_scope.cancel()
