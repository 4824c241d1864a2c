"""Connecting through HTTP proxies, by ``CONNECT`` (RFC 9110, section 9.3.6)."""

from __future__ import annotations

import base64
import ssl
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

import trio

from ..protocol.names import check_text
from ..protocol.urls import is_loopback
from .connector import Connector, connect_tcp, default_ssl_context, reason_of, start_tls

MAX_ANSWER = 16 * 1024
"""Bytes of the largest answer head that is read from a proxy."""


@dataclass(frozen=True)
class Proxy:
    """An HTTP proxy; its repr hides user and password."""

    host: str
    port: int
    authorization: str | None = field(default=None, repr=False)
    secure: bool = False
    """Whether TLS is spoken with the proxy itself."""

    @classmethod
    def parse(cls, url: str) -> Proxy:
        """Read ``http://[user:password@]host[:port]``, or the same with ``https://``.

        Raises:
            ValueError: it is something else; the text shows nothing of it.
            TypeError: it is not a ``str``.
        """
        check_text(url, "proxy")
        try:
            parts = urlsplit(url if "://" in url else f"http://{url}")
            host, port = parts.hostname, parts.port
        except ValueError:
            raise ValueError("the proxy's URL cannot be read") from None
        if parts.scheme not in ("http", "https"):
            raise ValueError(
                "the proxy's URL starts with http:// or https://; other kinds of proxies are not supported"
            )
        if not host or parts.path not in ("", "/") or parts.query or parts.fragment:
            raise ValueError("the proxy's URL is not of the form http://[user:password@]host[:port]")
        authorization = None
        if parts.username is not None:
            credentials = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            authorization = "Basic " + base64.b64encode(credentials.encode()).decode()
        secure = parts.scheme == "https"
        return cls(host, port or (443 if secure else 80), authorization, secure)


class ProxyConnector:
    """A `Connector` that goes through a proxy, which another connector reaches."""

    def __init__(self, proxy: Proxy, through: Connector) -> None:
        self._proxy = proxy
        self._through = through
        self._name = f"the proxy {proxy.host}:{proxy.port}"

    async def __call__(self, host: str, port: int, ssl_context: ssl.SSLContext | None, /) -> trio.abc.Stream:
        """Connect to ``host`` through the proxy; TLS is spoken with ``host``, so the proxy sees nothing of it.

        Raises:
            OSError: the proxy cannot be reached or refused, or TLS failed.

        Cancellation: nothing is left open.
        """
        proxy_context = default_ssl_context() if self._proxy.secure else None
        try:
            stream = await self._through(self._proxy.host, self._proxy.port, proxy_context)
        except OSError as error:
            raise OSError(f"{self._name} cannot be reached: {reason_of(error)}") from error
        try:
            await self._open_tunnel(stream, f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
        except BaseException:  # cancellation too: nobody else knows of this stream
            await trio.aclose_forcefully(stream)
            raise
        return stream if ssl_context is None else await start_tls(stream, host, ssl_context)

    def _request(self, target: str) -> bytes:
        lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
        if self._proxy.authorization is not None:
            lines.append(f"Proxy-Authorization: {self._proxy.authorization}")
        return "\r\n".join([*lines, "", ""]).encode("ascii")

    async def _open_tunnel(self, stream: trio.abc.Stream, target: str) -> None:
        head = b""
        try:
            await stream.send_all(self._request(target))
            # Nothing follows the head before we speak: a client opens every protocol that is tunnelled here.
            while not head.endswith(b"\r\n\r\n") and len(head) < MAX_ANSWER:
                data = await stream.receive_some(MAX_ANSWER)
                if not data:
                    raise ConnectionError(f"{self._name} closed the connection")
                head += data
        except trio.BrokenResourceError:
            raise ConnectionError(f"{self._name} broke the connection") from None
        words = head.split(b"\r\n", 1)[0].split(b" ", 2)
        if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():
            raise ConnectionError(f"{self._name} answered something that is not HTTP")
        if not words[1].startswith(b"2"):
            raise ConnectionError(f"{self._name} refused with status {words[1].decode()}")


async def connect_as_environment_says(host: str, port: int, ssl_context: ssl.SSLContext | None, /) -> trio.abc.Stream:
    """The `Connector` that goes through the proxy of the environment, if it names one for this host.

    The variables are the usual ones: ``HTTPS_PROXY`` with TLS, ``HTTP_PROXY`` without, ``ALL_PROXY`` for both, and
    ``NO_PROXY``. This machine is always reached directly.

    Raises:
        OSError: as `ProxyConnector` and `connect_tcp`; also when the variable holds no usable URL.

    Cancellation: nothing is left open.
    """
    url = environment_proxy(host, port, "http" if ssl_context is None else "https")
    if not url:
        return await connect_tcp(host, port, ssl_context)
    try:
        proxy = Proxy.parse(url)
    except ValueError as error:
        raise OSError(f"the environment's proxy is not usable: {error}") from None
    return await ProxyConnector(proxy, connect_tcp)(host, port, ssl_context)


def environment_proxy(host: str, port: int, scheme: str) -> str | None:
    """Give the URL of the proxy that the environment names for a host; ``None`` if it is reached directly."""
    if is_loopback(host):
        return None
    import urllib.request  # loads a good deal, so only when a connection leaves this machine

    proxies = urllib.request.getproxies()
    if urllib.request.proxy_bypass(host if ":" in host else f"{host}:{port}"):  # names in NO_PROXY may have a port
        return None
    return proxies.get(scheme) or proxies.get("all") or None
