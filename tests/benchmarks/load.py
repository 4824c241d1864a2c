"""The other side of the clients' benchmarks: a service that does nothing but talk, in a process of its own.

What it does with a connection stands in the name of the hub, ``MODE_COUNT_SIZE``:

* ``receive``: after the first message of the client it sends COUNT messages of a group, as fast as they are taken.
* ``ack``: it acknowledges what the client sends, and answers its pings.
* ``count``: it sends one message when COUNT messages have come.

It parses no more than it must, and takes no notice of sequence acks, so that it is hardly ever what limits a client.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import multiprocessing
import re
import select
import socket
import ssl
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.connection import Connection

from trio_webpubsub.protocol.frame_writer import apply_mask

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_ACK_ID = re.compile(rb'"ackId":\s*(\d+)')
_CLOSE = b"\x88"
_PING = b'{"type":"ping"}'
_CHUNK = 256 * 1024
_KEPT = 64 * 1024 * 1024
"""Bytes of messages that are prepared before they are asked for."""


def frame(payload: bytes) -> bytes:
    """Make a text frame as a server sends it."""
    size = len(payload)
    if size < 126:
        return b"\x81" + bytes([size]) + payload
    if size < 65_536:
        return b"\x81\x7e" + size.to_bytes(2, "big") + payload
    return b"\x81\x7f" + size.to_bytes(8, "big") + payload


def messages(count: int, size: int) -> Iterator[bytes]:
    """Give the frames of COUNT messages of a group, in chunks."""
    rest = b',"type":"message","from":"group","fromUserId":"ann","group":"lobby","dataType":"text","data":"%s"}' % (
        b"x" * size
    )
    chunk: list[bytes] = []
    length = 0
    for number in range(1, count + 1):
        chunk.append(frame(b'{"sequenceId":%d%s' % (number, rest)))
        length += len(chunk[-1])
        if length >= _CHUNK:
            yield b"".join(chunk)
            chunk.clear()
            length = 0
    yield b"".join(chunk)


@functools.lru_cache(maxsize=4)
def prepared(count: int, size: int) -> list[bytes]:
    """Give the same, kept for the next client."""
    return list(messages(count, size))


class Link:
    """One client."""

    def __init__(self, connection: socket.socket, poll: select.epoll) -> None:
        self._connection = connection
        self._poll = poll
        self._received = bytearray()
        self._mode = ""
        self._count = self._size = self._came = 0
        self._prepared: Iterator[bytes] = iter(())
        self._chunks: Iterator[bytes] = iter(())
        self._unsent = b""
        self._waits = False

    def readable(self) -> bool:
        """Take what has come; gives whether there is more to come from this client."""
        try:
            data = self._connection.recv(_CHUNK)
            while isinstance(self._connection, ssl.SSLSocket) and self._connection.pending():
                data += self._connection.recv(_CHUNK)
        except (BlockingIOError, ssl.SSLWantReadError):
            return True
        except OSError:
            return False
        if not data:
            return False
        self._received += data
        if not self._mode:
            self._shake_hands()
        elif self._mode == "receive":
            if not self._came:
                self._came = 1
                self._chunks = self._prepared
                self.writable()
            elif data[:1] == _CLOSE:
                self._leave()
            self._received.clear()
        else:
            self._read()
        return True

    def writable(self) -> None:
        """Go on with what is to be sent."""
        try:
            while self._unsent or self._next():
                self._unsent = self._unsent[self._connection.send(self._unsent) :]
        except (BlockingIOError, ssl.SSLWantWriteError):
            self._wait(True)
        except OSError:  # the client is gone, as the next read tells
            self._chunks, self._unsent = iter(()), b""
        else:
            self._wait(False)

    def write(self, data: bytes) -> None:
        """Send this."""
        self._unsent += data
        self.writable()

    def close(self) -> None:
        """Forget the client."""
        self._poll.unregister(self._connection)
        self._connection.close()

    def _wait(self, waits: bool) -> None:
        if waits != self._waits:
            self._waits = waits
            self._poll.modify(self._connection, select.EPOLLIN | (select.EPOLLOUT if waits else 0))

    def _next(self) -> bool:
        self._unsent = next(self._chunks, b"")
        return bool(self._unsent)

    def _leave(self) -> None:
        self.write(_CLOSE + b"\x00")
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_WR)

    def _shake_hands(self) -> None:
        head, end, rest = bytes(self._received).partition(b"\r\n\r\n")
        if not end:
            return
        self._received = bytearray(rest)
        fields = {
            name.strip().lower(): value.strip()
            for name, _, value in (line.partition(b":") for line in head.split(b"\r\n")[1:])
        }
        path = head.split(b" ")[1].partition(b"?")[0].decode()
        self._mode, count, size = path.rpartition("/")[2].split("_")
        self._count, self._size = int(count), int(size)
        small = self._count * (self._size + 150) < _KEPT
        self._prepared = iter(prepared(self._count, self._size)) if small else messages(self._count, self._size)
        accept = base64.b64encode(hashlib.sha1(fields[b"sec-websocket-key"] + _GUID).digest())
        subprotocol = fields[b"sec-websocket-protocol"].split(b",")[0].strip()
        self.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: %s\r\nSec-WebSocket-Protocol: %s\r\n\r\n"
            % (accept, subprotocol)
            + frame(
                b'{"type":"system","event":"connected","userId":"ann","connectionId":"c-1","reconnectionToken":"secret"}'
            )
        )

    def _read(self) -> None:
        data = bytes(self._received)
        size = len(data)
        position = 0
        acks: list[bytes] = []
        while size - position >= 6:
            length = data[position + 1] & 0x7F
            start = position + 6
            if length == 126:
                length = int.from_bytes(data[position + 2 : position + 4], "big")
                start += 2
            elif length == 127:
                length = int.from_bytes(data[position + 2 : position + 10], "big")
                start += 8
            if start + length > size:
                break
            if data[position] == _CLOSE[0]:
                self._leave()
            position = start + length
            if self._mode == "count":
                self._came += 1
                if self._came == self._count:
                    self.write(b"".join(messages(1, 1)))
            else:
                # The ack id stands anywhere in the message, so all of it has to be unmasked.
                payload = apply_mask(data[start:position], data[start - 4 : start])
                if payload == _PING:
                    acks.append(frame(b'{"type":"pong"}'))
                elif match := _ACK_ID.search(payload):
                    acks.append(frame(b'{"type":"ack","ackId":%s,"success":true}' % match[1]))
        del self._received[:position]
        if acks:
            self.write(b"".join(acks))


def serve(ready: Connection, context: ssl.SSLContext | None, link: type[Link]) -> None:
    """Serve until the process is ended; the port goes to ``ready``."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=1_000)
    poll = select.epoll()
    poll.register(listener, select.EPOLLIN)
    links: dict[int, Link] = {}
    ready.send(listener.getsockname()[1])
    while True:
        for descriptor, event in poll.poll():
            if descriptor == listener.fileno():
                connection = listener.accept()[0]
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if context is not None:
                    connection = context.wrap_socket(connection, server_side=True)
                connection.setblocking(False)
                links[connection.fileno()] = link(connection, poll)
                poll.register(connection, select.EPOLLIN)
                continue
            if event & ~select.EPOLLOUT and not links[descriptor].readable():
                links.pop(descriptor).close()
            elif event & select.EPOLLOUT:
                links[descriptor].writable()


def start(certificate: str | None = None, link: type[Link] = Link) -> tuple[multiprocessing.Process, int]:
    """Start a process that serves, over TLS if there is a certificate (a PEM file); gives it and its port."""
    context: ssl.SSLContext | None = None
    ours, theirs = multiprocessing.Pipe()
    if certificate is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate)
    process = multiprocessing.get_context("fork").Process(target=serve, args=[theirs, context, link], daemon=True)
    process.start()
    return process, ours.recv()
