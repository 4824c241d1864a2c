"""How every part reaches its peer: one seam for plain connections, proxies, memory and faulty networks."""

from __future__ import annotations

import functools
import os
import ssl
from typing import Protocol

import trio

from .groups import leaves
from .tls_stream import TlsStream


class Connector(Protocol):
    """An async callable that gives a connected stream."""

    async def __call__(self, host: str, port: int, ssl_context: ssl.SSLContext | None, /) -> trio.abc.Stream:
        """Connect to ``host`` and ``port``, over TLS (handshake done, host name checked) if ``ssl_context`` is given.

        The context is not to be changed: other connections use it too.

        Raises:
            OSError: no connection could be made, TLS failures included (`ssl.SSLError` is an ``OSError``).

        Cancellation: nothing is left open.
        """
        ...


def default_ssl_context() -> ssl.SSLContext:
    """Give the context that trusts the system's certificates, for where the user gave none.

    All connections share it. Reading the certificates holds up all other tasks for some 20 ms, and they take most of a
    megabyte: far more than all the rest of a client.
    """
    paths = ssl.get_default_verify_paths()
    return _context_of(paths.cafile, paths.capath)


@functools.lru_cache(maxsize=1)
def _context_of(_cafile: str | None, _capath: str | None) -> ssl.SSLContext:
    return ssl.create_default_context()


async def connect_tcp(host: str, port: int, ssl_context: ssl.SSLContext | None, /) -> trio.abc.Stream:
    """The `Connector` for real networks."""
    stream = await trio.open_tcp_stream(host, port)
    return stream if ssl_context is None else await start_tls(stream, host, ssl_context)


def reason_of(error: OSError | trio.BrokenResourceError) -> str:
    """Say why there is no connection, in the system's words where trio groups what went wrong with each address."""
    cause = error.__cause__
    first = cause and next(leaves(cause))
    if first is not cause and isinstance(first, OSError) and first.errno:
        return os.strerror(first.errno)
    return (isinstance(error, OSError) and error.strerror) or str(error)


async def start_tls(stream: trio.abc.Stream, host: str, ssl_context: ssl.SSLContext) -> trio.abc.Stream:
    """Speak TLS over a connected stream: handshake done, the name of ``host`` checked.

    Raises:
        OSError: TLS failed; the stream is closed.

    Cancellation: the stream is closed.
    """
    try:
        secure = TlsStream(stream, ssl_context, host)  # which refuses a server's context
        # Done here, so that a bad certificate shows as what it is and not as a stream that broke.
        await secure.do_handshake()
    except trio.BrokenResourceError as error:
        await trio.aclose_forcefully(stream)
        if isinstance(error.__cause__, ssl.SSLError) and error.__cause__.reason == "WRONG_VERSION_NUMBER":
            # OpenSSL takes the answer of a server without TLS for another version of it.
            raise ConnectionError(f"what answers there does not speak TLS ({error.__cause__.reason})") from error
        if isinstance(error.__cause__, OSError):
            raise error.__cause__ from None
        raise ConnectionError("the connection broke during the TLS handshake") from error
    except BaseException:  # cancellation too: nobody else knows of this stream
        await trio.aclose_forcefully(stream)
        raise
    return secure
