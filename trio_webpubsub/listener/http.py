"""One HTTP/1.1 connection: heads, and bodies in chunks, are read with h11, which knows all that can be wrong with them.

What is simple is done here, since it takes h11 as long again: bodies that say how long they are, and answers, which are
complete when they begin. So h11 sees one side of one request, and a new one is made for the next.
"""

from __future__ import annotations

import re
from functools import lru_cache
from http import HTTPStatus

import h11
import trio

from .cuttable import CuttableStream
from .values import Limits, Request, Response

_RECEIVE_SIZE = 65_536
_ORIGIN = re.compile(r"https?://[^/?]*", re.IGNORECASE)
"""What stands before the path where a client names the whole URL (RFC 9112, section 3.2.2)."""
_CLOSE = re.compile(r"(?:^|,)\s*close\s*(?:,|$)", re.IGNORECASE)
"""In a Connection header: there will be no other request (RFC 9112, section 9.6)."""
_GO_ON = b"HTTP/1.1 100 Continue\r\n\r\n"
_WITHOUT_LENGTH = frozenset((204, 304))
_FRAMING = frozenset(("connection", "content-length", "transfer-encoding"))
"""Headers that say where a message or the connection ends, which is for us to say."""
_HEADER = re.compile(
    r"[!#$%&'*+\-.^_`|~0-9a-z]+: (?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?"
)
"""RFC 9110, sections 5.1 and 5.5."""


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
        self._h11: h11.Connection = self._reader()
        self._answered = False
        """Whether the current request was."""
        self._received = 0
        """Bytes that h11 was given since the start of the current head."""
        self._idle: trio.CancelScope | None = None
        """Set while no byte of the next head has come."""
        self._method = ""
        self._length = 0
        """Bytes in the body of the current request; -1 when it comes in chunks."""
        self._awaits_go_on = False
        """Whether the client waits for a word before it sends the body."""
        self._keeps_open = False
        """Whether the client may send another request after this one."""
        self._rest = b""
        """What came behind the current request, as soon as its end is known."""
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
        with trio.CancelScope(deadline=trio.current_time() + timeout) as scope:
            if not begun:
                self._idle = scope
            while not self._received or (event := self._next_event()) is h11.NEED_DATA:
                if not await self._receive() and not self._received:
                    break
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
        if self._length >= 0:
            self._rest = self._h11.trailing_data[0]
            if len(self._rest) >= self._length:  # it came with the head
                return self._cut(self._rest)
        with trio.move_on_after(self._limits.body_timeout):
            return await (self._receive_chunks() if self._length < 0 else self._receive_length())
        raise Refused(408)

    async def respond(self, response: Response) -> bool:
        """Answer the request; say whether another one may follow on this connection.

        Raises:
            ValueError: ``response`` cannot be written; nothing was sent.
            trio.BrokenResourceError: It cannot be sent, or the peer did not take it in time.

        Cancellation: The connection cannot be used any more.
        """
        last = self._stopping or not self._keeps_open
        await self._respond(response, last=last)
        if last:
            return False
        self._h11 = self._reader()
        if self._rest:
            self._h11.receive_data(self._rest)
        self._received = len(self._rest)
        self._rest = b""
        self._answered = False
        return True

    async def refuse(self, response: Response) -> None:
        """Answer the request as the last one, if it can be answered at all.

        Raises:
            ValueError: ``response`` cannot be written; nothing was sent.
            trio.BrokenResourceError: It cannot be sent, or the peer did not take it in time.

        Cancellation: The connection cannot be used any more.
        """
        if not self._answered:
            await self._respond(response, last=True)

    def take_rest(self) -> bytes:
        """Give the bytes that came behind the head of an upgrade. Nothing more is read here afterwards."""
        rest = self._h11.trailing_data[0]
        del self._h11  # which would stay for as long as the upgraded connection, with all that it has read
        return rest

    def _reader(self) -> h11.Connection:
        return h11.Connection(h11.SERVER, max_incomplete_event_size=self._limits.head_size)

    def _next_event(self) -> object:
        try:
            return self._h11.next_event()
        except h11.RemoteProtocolError as error:
            raise Refused(error.error_status_hint) from None

    async def _receive(self) -> bytes:
        data = await self._stream.receive_some(_RECEIVE_SIZE)
        self._received += len(data)
        self._h11.receive_data(data)
        return data

    async def _receive_length(self) -> bytes:
        """Receive a body whose length was told."""
        body = bytearray(self._rest)
        await self._let_go_on(bool(body))
        while len(body) < self._length:
            data = await self._stream.receive_some(_RECEIVE_SIZE)
            if not data:
                raise Refused(400)
            body += data
        return self._cut(bytes(body))

    async def _receive_chunks(self) -> bytes:
        """Receive a body whose end comes as a surprise."""
        body = bytearray()
        while not isinstance(event := self._next_event(), h11.EndOfMessage):
            if isinstance(event, h11.Data):
                body += event.data
                if len(body) > self._limits.body_size:
                    raise Refused(413)
            else:
                await self._let_go_on(bool(body))
                await self._receive()
        self._rest = self._h11.trailing_data[0]
        return bytes(body)

    async def _let_go_on(self, has_begun: bool) -> None:
        """Say that the body may come, to who waits for that and has not begun."""
        if self._awaits_go_on and not has_begun:
            await self._send(_GO_ON)
        self._awaits_go_on = False

    def _cut(self, data: bytes) -> bytes:
        """Give the body at the beginning of ``data``, and keep what is behind it."""
        self._rest = data[self._length :]
        return data[: self._length]

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
        self._length = -1 if "transfer-encoding" in headers else int(headers.get("content-length", 0))
        if self._length > self._limits.body_size:
            raise Refused(413)
        self._awaits_go_on = self._h11.they_are_waiting_for_100_continue
        self._keeps_open = event.http_version == b"1.1" and not _CLOSE.search(headers.get("connection", ""))
        target = event.target.decode("ascii")
        origin = _ORIGIN.match(target)
        path, _, query = target[origin.end() if origin else 0 :].partition("?")
        return Request(method=self._method, path=path or "/", query=query, headers=headers)

    async def _respond(self, response: Response, *, last: bool) -> None:
        lines = [_status_line(response.status)]
        for name, value in response.headers:
            if (name := name.lower()) not in _FRAMING:
                line = f"{name}: {value}"
                if not _HEADER.fullmatch(line):
                    raise ValueError(f"a header of the response cannot be written: {name!r}")
                lines.append(line)
        has_length = response.status not in _WITHOUT_LENGTH
        if has_length:
            lines.append(f"content-length: {len(response.body)}")
        if last:
            lines.append("connection: close")
        head = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"
        self._answered = True
        await self._send(head + response.body if has_length and self._method != "HEAD" else head)

    async def _send(self, data: bytes) -> None:
        sent = self._stream.try_send(data)
        if sent == len(data):
            return
        with trio.move_on_after(self._limits.send_timeout) as scope:
            await self._stream.send_all(data[sent:])
        if scope.cancelled_caught:
            raise trio.BrokenResourceError("the peer did not take the response in time")


@lru_cache(maxsize=100)
def _status_line(status: int) -> str:
    if not 200 <= status <= 999:
        raise ValueError(f"a response cannot have the status {status}")
    return f"HTTP/1.1 {status} {_phrase(status)}"


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
