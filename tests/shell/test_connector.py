"""Connecting over real sockets on this machine."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio
import trustme

from trio_webpubsub._shell.connector import connect_tcp, default_ssl_context, reason_of

Serve = Callable[[trio.SocketStream], Awaitable[None]]


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


async def listen(nursery: trio.Nursery, serve: Serve) -> int:
    """Serve connections in the nursery, and give the port."""
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    nursery.start_soon(trio.serve_listeners, serve, listeners)
    port: int = listeners[0].socket.getsockname()[1]
    return port


def echo_over_tls(authority: trustme.CA, host_name: str) -> Serve:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    with authority.issue_cert(host_name).private_key_and_cert_chain_pem.tempfile() as path:
        context.load_cert_chain(path)

    async def serve(stream: trio.SocketStream) -> None:
        secure = trio.SSLStream(stream, context, server_side=True)
        try:
            await secure.send_all(await secure.receive_some())
        except trio.BrokenResourceError:
            await trio.aclose_forcefully(stream)

    return serve


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=authority.cert_pem.bytes().decode())


async def echo(stream: trio.SocketStream) -> None:
    await stream.send_all(await stream.receive_some())


async def hang_up(stream: trio.SocketStream) -> None:
    await stream.receive_some()
    await stream.aclose()


async def talk_to(port: int, ssl_context: ssl.SSLContext | None) -> bytes | bytearray:
    stream = await connect_tcp("127.0.0.1", port, ssl_context)
    try:
        await stream.send_all(b"hello")
        return await stream.receive_some()
    finally:
        await trio.aclose_forcefully(stream)


async def test_a_plain_connection(nursery: trio.Nursery) -> None:
    assert await talk_to(await listen(nursery, echo), None) == b"hello"


async def test_a_connection_over_tls(nursery: trio.Nursery, authority: trustme.CA) -> None:
    port = await listen(nursery, echo_over_tls(authority, "127.0.0.1"))
    assert await talk_to(port, trusting(authority)) == b"hello"


async def test_nobody_listens() -> None:
    listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
    port: int = listener.socket.getsockname()[1]
    await listener.aclose()
    with pytest.raises(OSError, match=r"127\.0\.0\.1"):
        await connect_tcp("127.0.0.1", port, None)


async def test_an_unknown_authority_is_told(nursery: trio.Nursery, authority: trustme.CA) -> None:
    port = await listen(nursery, echo_over_tls(authority, "127.0.0.1"))
    with pytest.raises(ssl.SSLCertVerificationError):
        await connect_tcp("127.0.0.1", port, ssl.create_default_context())


async def test_another_host_s_certificate_is_told(nursery: trio.Nursery, authority: trustme.CA) -> None:
    port = await listen(nursery, echo_over_tls(authority, "elsewhere.example"))
    with pytest.raises(ssl.SSLCertVerificationError):
        await connect_tcp("127.0.0.1", port, trusting(authority))


async def test_a_server_that_hangs_up_in_the_handshake(nursery: trio.Nursery, authority: trustme.CA) -> None:
    port = await listen(nursery, hang_up)
    with pytest.raises(OSError):  # noqa: PT011  # each system has its own words
        await connect_tcp("127.0.0.1", port, trusting(authority))


async def test_a_server_that_speaks_no_tls(nursery: trio.Nursery, authority: trustme.CA) -> None:
    port = await listen(nursery, echo)
    with pytest.raises(ssl.SSLError):
        await connect_tcp("127.0.0.1", port, trusting(authority))


async def test_a_web_server_without_tls_is_told(nursery: trio.Nursery, authority: trustme.CA) -> None:
    async def refuse(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    port = await listen(nursery, refuse)
    with pytest.raises(ConnectionError, match="does not speak TLS"):
        await connect_tcp("127.0.0.1", port, trusting(authority))


async def test_a_cancelled_handshake_leaves_nothing_open(nursery: trio.Nursery, authority: trustme.CA) -> None:
    begun, ended = trio.Event(), trio.Event()

    async def never_answer(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        begun.set()
        while await stream.receive_some():
            pass
        ended.set()

    port = await listen(nursery, never_answer)
    async with trio.open_nursery() as inner:
        inner.start_soon(connect_tcp, "127.0.0.1", port, trusting(authority))
        await begun.wait()
        inner.cancel_scope.cancel()
    await ended.wait()


async def test_why_nobody_could_be_reached_is_told_in_the_words_of_the_system() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(OSError, match="all attempts") as caught:
        await connect_tcp("127.0.0.1", port, None)
    assert reason_of(caught.value) == "Connection refused"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(113, "No route to host"), "No route to host"),
        (OSError("the proxy refused"), "the proxy refused"),
        (trio.BrokenResourceError("it broke"), "it broke"),
    ],
)
def test_other_errors_speak_for_themselves(error: OSError | trio.BrokenResourceError, reason: str) -> None:
    assert reason_of(error) == reason
    error.__cause__ = ExceptionGroup("", [ValueError(1)])
    assert reason_of(error) == reason


async def test_a_context_for_servers_leaves_nothing_open(nursery: trio.Nursery) -> None:
    ended = trio.Event()

    async def wait_for_the_end(stream: trio.SocketStream) -> None:
        assert await stream.receive_some() == b""
        ended.set()

    port = await listen(nursery, wait_for_the_end)
    with pytest.raises(ssl.SSLError):
        await connect_tcp("127.0.0.1", port, ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    await ended.wait()


def test_the_systems_certificates_are_read_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, authority: trustme.CA
) -> None:
    systems = default_ssl_context()
    assert default_ssl_context() is systems
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    others = default_ssl_context()
    assert others.get_ca_certs(binary_form=True) != systems.get_ca_certs(binary_form=True)
    assert others.verify_mode is ssl.CERT_REQUIRED
    assert others.check_hostname
