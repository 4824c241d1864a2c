"""One HTTP/1.1 connection, read and answered with h11: heads, bodies, and what is wrong with them."""

from __future__ import annotations

import re
from http import HTTPStatus

import h11
import trio

from .cuttable import CuttableStream
from .values import Limits, Request, Response

_RECEIVE_SIZE = 65_536
_ORIGIN = re.compile(r"https?://[^/?]*", re.IGNORECASE)
"""What stands before the path where a client names the whole URL (RFC 9112, section 3.2.2)."""
_WITHOUT_LENGTH = frozenset((204, 304))


class Refused(Exception):
    """What came is no request that anybody could handle; ``status`` is the answer to it."""

    def __init__(self, status: int, *headers: tuple[str, str]) -> None:
        super().__init__(f"answered with {status}")
        self.response: Response = Response(status=status, headers=headers, body=_phrase(status).encode())


class HttpConnection:
    """The HTTP side of one connection: one request after the other, each with its deadline."""

    def __init__(self, stream: CuttableStream, limits: Limits) -> None:
        self._stream = stream
        self._limits = limits
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=limits.head_size)
        self._received = 0
        """Bytes that h11 was given since the start of the current head."""
        self._idle: trio.CancelScope | None = None
        """Set while no byte of the next head has come."""
        self._method = ""
        self._stopping = False

    def stop(self) -> None:
        """Take no more requests: close at once when idle, else after the answer to the running one."""
        self._stopping = True
        if self._idle is not None:
            self._idle.cancel()

    async def receive_head(self) -> Request | None:
        """Give the next request, without its body; ``None`` when none comes.

        Raises:
            Refused: Something else came.
            trio.BrokenResourceError: The connection broke.

        Cancellation: The connection cannot be used any more.
        """
        if self._stopping:
            return None
        self._method = ""
        event: object = None
        begun = self._received > 0
        timeout = self._limits.head_timeout if begun else self._limits.idle_timeout
        with trio.move_on_after(timeout) as scope:
            if not begun:
                self._idle = scope
            while (event := self._next_event()) is h11.NEED_DATA:
                await self._receive()
                if not begun and self._received:
                    begun = True
                    self._idle = None
                    scope.deadline = trio.current_time() + self._limits.head_timeout
        self._idle = None
        if scope.cancelled_caught:
            if begun:
                raise Refused(408)
            return None
        if not isinstance(event, h11.Request):
            return None
        self._method = event.method.decode("ascii")
        if self._received - len(self._h11.trailing_data[0]) > self._limits.head_size:
            raise Refused(431)
        return self._read_head(event)

    async def receive_body(self) -> bytes:
        """Give the body of the request whose head came last.

        Raises:
            Refused: It is too large, too slow, or broken.
            trio.BrokenResourceError: The connection broke.

        Cancellation: The connection cannot be used any more.
        """
        body = bytearray()
        with trio.move_on_after(self._limits.body_timeout):
            while not self._add_to(body):
                if self._h11.they_are_waiting_for_100_continue:
                    go_on = self._h11.send(h11.InformationalResponse(status_code=100, headers=[]))
                    await self._send(go_on or b"")
                await self._receive()
            return bytes(body)
        raise Refused(408)

    async def respond(self, response: Response) -> bool:
        """Answer the request; say whether another one may follow on this connection.

        Raises:
            ValueError: ``response`` cannot be written; nothing was sent.
            trio.BrokenResourceError: It cannot be sent, or the peer did not take it in time.

        Cancellation: The connection cannot be used any more.
        """
        await self._respond(response, last=self._stopping)
        if self._h11.our_state is not h11.DONE or self._h11.their_state is not h11.DONE:
            return False
        self._h11.start_next_cycle()
        self._received = len(self._h11.trailing_data[0])
        return True

    async def refuse(self, response: Response) -> None:
        """Answer the request as the last one, if it can be answered at all.

        Raises:
            ValueError: ``response`` cannot be written; nothing was sent.
            trio.BrokenResourceError: It cannot be sent, or the peer did not take it in time.

        Cancellation: The connection cannot be used any more.
        """
        if self._h11.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            await self._respond(response, last=True)

    def take_rest(self) -> bytes:
        """Give the bytes that came behind the head of an upgrade."""
        return self._h11.trailing_data[0]

    def _next_event(self) -> object:
        try:
            return self._h11.next_event()
        except h11.RemoteProtocolError as error:
            raise Refused(error.error_status_hint) from None

    async def _receive(self) -> None:
        data = await self._stream.receive_some(_RECEIVE_SIZE)
        self._received += len(data)
        self._h11.receive_data(data)

    def _add_to(self, body: bytearray) -> bool:
        """Take what has come of a body; say whether that was all."""
        while isinstance(event := self._next_event(), h11.Data):
            body += event.data
            if len(body) > self._limits.body_size:
                raise Refused(413)
        return event is not h11.NEED_DATA

    def _read_head(self, event: h11.Request) -> Request:
        headers: dict[str, str] = {}
        for raw_name, raw_value in event.headers:
            name, value = raw_name.decode("ascii"), raw_value.decode("latin-1")
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        if event.http_version not in (b"1.0", b"1.1"):
            raise Refused(505)
        if event.method == b"CONNECT":
            raise Refused(501)
        # Two ideas of where a request ends are how one is smuggled past somebody (RFC 9112, sections 6.1 and 6.3).
        if "transfer-encoding" in headers and ("content-length" in headers or event.http_version == b"1.0"):
            raise Refused(400)
        if int(headers.get("content-length", 0)) > self._limits.body_size:
            raise Refused(413)
        target = event.target.decode("ascii")
        origin = _ORIGIN.match(target)
        path, _, query = target[origin.end() if origin else 0 :].partition("?")
        return Request(method=self._method, path=path or "/", query=query, headers=headers)

    async def _respond(self, response: Response, *, last: bool) -> None:
        has_length = response.status not in _WITHOUT_LENGTH
        headers = [(name.lower(), value) for name, value in response.headers if name.lower() != "content-length"]
        if has_length:
            headers.append(("content-length", str(len(response.body))))
        if last:
            headers.append(("connection", "close"))
        try:
            event = h11.Response(
                status_code=response.status,
                headers=[(name.encode("ascii"), value.encode("latin-1")) for name, value in headers],
                reason=_phrase(response.status),
            )
        except (h11.LocalProtocolError, UnicodeEncodeError):
            raise ValueError("the response's status, or one of its headers, cannot be written") from None
        parts = [self._h11.send(event)]
        if has_length and self._method != "HEAD":
            parts.append(self._h11.send(h11.Data(data=response.body)))
        parts.append(self._h11.send(h11.EndOfMessage()))
        await self._send(b"".join(part for part in parts if part))

    async def _send(self, data: bytes) -> None:
        with trio.move_on_after(self._limits.send_timeout) as scope:
            await self._stream.send_all(data)
        if scope.cancelled_caught:
            raise trio.BrokenResourceError("the peer did not take the response in time")


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
