"""The way into an emulator, over TCP, TLS or memory, and all that runs behind it."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from contextlib import AsyncExitStack

import trio

from .._shell.connector import Connector, start_tls
from .._shell.groups import leaves
from .._shell.memory import memory_stream_pair
from ..listener import Listener
from ..listener.cuttable import CuttableStream
from .asgi import CannotStart
from .faults import Gate
from .switchboard import Switchboard


class Doors:
    """Open for as long as an ``async with`` block lasts.

    The tasks are shielded from birth, and only `__aexit__` cancels them: a block that is being cancelled finds its
    service alive to its end. The nursery never sees what leaves the block, which so leaves as it is and not in an
    exception group.
    """

    def __init__(
        self,
        listener: Listener,
        switchboard: Switchboard,
        gate: Gate,
        *,
        sockets: Sequence[trio.SocketListener],
        ssl_context: ssl.SSLContext | None,
        close_timeout: float,
    ) -> None:
        self._listener = listener
        self._switchboard = switchboard
        self._gate = gate
        self._sockets = list(sockets)
        self._ssl_context = ssl_context
        self._close_timeout = close_timeout
        self._stack = AsyncExitStack()
        self._nursery: trio.Nursery | None = None
        self._scope = trio.CancelScope(shield=True)
        self._ready = trio.Event()
        self._failure: BaseException | None = None
        self._closed = trio.Event()

    async def __aenter__(self) -> None:
        nursery = await self._stack.enter_async_context(trio.open_nursery())
        nursery.start_soon(self._run)

    async def opened(self) -> None:
        """Wait until connections can come.

        Raises:
            RuntimeError: an event handler's app cannot start up.

        Cancellation: leave the block.
        """
        await self._ready.wait()
        if self._failure is not None:
            raise RuntimeError(str(self._failure)) from self._failure

    async def __aexit__(self, *_: object) -> None:
        try:
            with trio.CancelScope(shield=True):
                deadline = trio.current_time() + self._close_timeout
                with self._gate.refuse(None):
                    with trio.move_on_at(deadline):
                        self._switchboard.close_all(1001, "The emulator is closing.")
                        await self._listener.shutdown(self._close_timeout)
                    with trio.move_on_at(deadline):  # even if a client that does not go took all of the time
                        await self._switchboard.events.stop()
                self._scope.cancel()
                await self._closed.wait()
        finally:
            self._scope.cancel()  # whatever went wrong, such as a second Ctrl-C
            await self._stack.aclose()

    async def _run(self) -> None:
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    await self._switchboard.events.start(nursery)
                    self._nursery = nursery
                    nursery.start_soon(self._switchboard.expire)
                    if self._sockets:
                        nursery.start_soon(trio.serve_listeners, self._serve_tcp, self._sockets)
                    self._ready.set()
        except* CannotStart as group:
            self._failure = next(leaves(group))
        finally:
            for socket in self._sockets:  # which nobody served if an app cannot start up
                socket.socket.close()
            self._nursery = None
            self._ready.set()
            self._closed.set()

    def accept(self, stream: trio.abc.Stream) -> None:
        """Serve a connection that was made elsewhere.

        Raises:
            ConnectionRefusedError: connections are not taken.
        """
        if self._nursery is None or self._gate.is_shut:
            raise ConnectionRefusedError("the emulator takes no connections")
        self._nursery.start_soon(self._listener.handle, self._over_tls(stream))

    async def _serve_tcp(self, stream: trio.SocketStream) -> None:
        if self._gate.is_shut:
            CuttableStream(stream).reset()
        else:
            await self._listener.handle(self._over_tls(stream))

    def _over_tls(self, stream: trio.abc.Stream) -> trio.abc.Stream:
        if self._ssl_context is None:
            return stream
        # The handshake is done by the first read, under the time limit of that.
        return trio.SSLStream(stream, self._ssl_context, server_side=True, https_compatible=True)

    def memory_connector(self, endpoint_host: str, endpoint_port: int) -> Connector:
        """Make a connector to this emulator that knows no other host."""

        async def connect(host: str, port: int, ssl_context: ssl.SSLContext | None, /) -> trio.abc.Stream:
            await trio.lowlevel.checkpoint()
            if ssl_context is not None and self._ssl_context is None:
                raise ConnectionError("this emulator was given no ssl_context, so it does not speak TLS")
            if (host, port) != (endpoint_host, endpoint_port):
                raise ConnectionRefusedError(f"nobody listens at {host}:{port}")
            theirs, ours = memory_stream_pair()
            self.accept(ours)
            return theirs if ssl_context is None else await start_tls(theirs, host, ssl_context)

        return connect
