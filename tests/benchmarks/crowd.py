"""The other side of the emulator's benchmark: a crowd of clients and callers that cost next to nothing.

They look at no byte that they need not look at: how many messages have come is told by how many bytes have come.
"""

from __future__ import annotations

import base64
import os
import re
import select
import socket
import struct
import time
from collections.abc import Sequence
from itertools import accumulate

from trio_webpubsub.emulator.emulator import DEFAULT_ACCESS_KEY
from trio_webpubsub.protocol.frame_reader import FrameReader
from trio_webpubsub.protocol.tokens import client_access_token, request_token

HOST = "127.0.0.1"
HUB = "bench"
GROUP = "everybody"
ACK_EVERY = 100
"""Messages of a reliable session that are confirmed together; the official clients confirm once a second."""
_PATIENCE = 20.0
_BUFFER = bytearray(1 << 20)
_NO_MASK = bytes(4)


def text_frame(payload: bytes) -> bytes:
    """Make a client's text frame, under a mask that changes nothing."""
    size = len(payload)
    head = bytes([0x81, 0x80 | size]) if size < 126 else struct.pack(">BBH", 0x81, 0xFE, size)
    return head + _NO_MASK + payload


class Crowd:
    """Members of one group, on one subprotocol. The first of them sends to the others and to itself.

    Args:
        port: of the service.
        size: how many.
        subprotocol: plain or reliable JSON.
    """

    def __init__(self, port: int, size: int, subprotocol: str) -> None:
        self.reliable = "reliable" in subprotocol
        self._poll = select.epoll()
        self._received = 0
        self._members: dict[int, _Member] = {}
        token = client_access_token(
            DEFAULT_ACCESS_KEY,
            audience=f"http://{HOST}:{port}/client/hubs/{HUB}",
            now=time.time(),
            lifetime=3600,
            roles=["webpubsub.sendToGroup"],
            groups=[GROUP],
        )
        target = f"/client/hubs/{HUB}?access_token={token}"
        start = time.perf_counter()
        for _ in range(size):
            member = _Member(_open_websocket(port, target, subprotocol))
            self._members[member.socket.fileno()] = member
            self._poll.register(member.socket, select.EPOLLIN)
        self.connects_a_second: float = size / (time.perf_counter() - start)
        self._speaker = next(iter(self._members.values())).socket
        self._speaker.setblocking(True)

    def close(self) -> None:
        """Leave without a word."""
        for member in self._members.values():
            member.socket.close()
        self._poll.close()

    def broadcast(self, messages: int, size: int, in_flight: int) -> float:
        """Send to everybody; gives deliveries a second.

        Args:
            messages: how many.
            size: bytes of text in each.
            in_flight: how many are sent before the first of them has come to all.
        """
        payload = b'{"type":"sendToGroup","group":"%s","dataType":"text","data":"%s"}' % (GROUP.encode(), b"x" * size)
        frame = text_frame(payload)
        sizes = self._sizes(frame, messages)
        ends = list(accumulate(sizes, initial=0))
        total = ends[-1] * len(self._members)
        for member in self._members.values():
            member.received = member.confirmed = 0
        self._received = sent = 0
        begin = time.perf_counter()
        while self._received < total:
            # On the average all have got so many; the last of them cannot be far behind.
            everywhere = self._received // len(self._members) // sizes[0]
            if due := min(messages, everywhere + in_flight) - sent:
                self._speaker.sendall(frame * due)
                sent += due
            self._take(ends)
        return messages * len(self._members) / (time.perf_counter() - begin)

    def _sizes(self, frame: bytes, messages: int) -> list[int]:
        """Find out how long each message is on its way back, by sending one."""
        self._received = 0
        for member in self._members.values():
            member.received = 0
        self._speaker.sendall(frame)
        some = next(iter(self._members.values()))
        while not some.received or self._received < len(self._members) * some.received:
            self._take()
        if not self.reliable:
            return [some.received] * messages
        # The id of the one that came is known from its length: every session counts from 1.
        for member in self._members.values():
            member.newest += 1
            if member.newest % ACK_EVERY == 0:
                member.confirm()
        first = some.newest
        return [some.received + len(str(first + 1 + n)) - len(str(first)) for n in range(messages)]

    def _take(self, ends: Sequence[int] = ()) -> None:
        ready = self._poll.poll(_PATIENCE)
        if not ready:
            raise TimeoutError("the service has fallen silent")
        for descriptor, _ in ready:
            member = self._members[descriptor]
            count = member.socket.recv_into(_BUFFER)
            if not count:
                raise ConnectionError("the service has closed a connection")
            member.received += count
            self._received += count
            if self.reliable and ends:
                while member.confirmed + 1 < len(ends) and ends[member.confirmed + 1] <= member.received:
                    member.confirmed += 1
                    member.newest += 1
                    if member.newest % ACK_EVERY == 0:
                        member.confirm()


class _Member:
    """One client."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.received = 0
        self.confirmed = 0
        """Messages of the running broadcast that were counted."""
        self.newest = 0
        """The sequence id of the last message."""

    def confirm(self) -> None:
        self.socket.send(text_frame(b'{"type":"sequenceAck","sequenceId":%d}' % self.newest))


def _open_websocket(port: int, target: str, subprotocol: str) -> socket.socket:
    connection = socket.create_connection((HOST, port), _PATIENCE)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    key = base64.b64encode(os.urandom(16)).decode()
    request = (
        f"GET {target} HTTP/1.1\r\nHost: {HOST}:{port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Protocol: {subprotocol}\r\n\r\n"
    )
    connection.sendall(request.encode())
    head = b""
    while b"\r\n\r\n" not in head:
        head += _received(connection)
    head, _, rest = head.partition(b"\r\n\r\n")
    if b" 101 " not in head:
        raise ConnectionError(head.decode())
    reader = FrameReader(masked=False, max_message_size=1 << 20)
    messages = reader.feed(rest)
    while not messages:  # "connected"
        messages = reader.feed(_received(connection))
    return connection


def _received(connection: socket.socket) -> bytes:
    data = connection.recv(65_536)
    if not data:
        raise ConnectionError("the service has closed a connection")
    return data


def call(port: int, requests: int, at_once: int) -> float:
    """Send messages to a group that has no members over the REST API; gives requests a second.

    Every connection has one request under way. As with the official clients each request has a token of its own; a
    few that were signed before take turns.
    """
    path = f"/api/hubs/{HUB}/groups/nobody/:send?api-version=2024-12-01"
    heads: list[bytes] = []
    for number in range(50):
        token = request_token(DEFAULT_ACCESS_KEY, url=f"http://{HOST}:{port}{path}", now=time.time() + number)
        heads.append(
            f"POST {path} HTTP/1.1\r\nHost: {HOST}:{port}\r\nAccept: application/json, text/json\r\n"
            f"Accept-Encoding: gzip, deflate\r\nUser-Agent: bench\r\nContent-Type: text/plain\r\n"
            f"Authorization: Bearer {token}\r\nContent-Length: 100\r\n\r\n{'x' * 100}".encode()
        )
    poll = select.epoll()
    connections: dict[int, socket.socket] = {}
    for _ in range(at_once):
        connection = socket.create_connection((HOST, port), _PATIENCE)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connections[connection.fileno()] = connection
        poll.register(connection, select.EPOLLIN)
    sent = answered = 0
    begin = time.perf_counter()
    for connection in connections.values():
        connection.sendall(heads[sent % 50])
        sent += 1
    while answered < requests:
        ready = poll.poll(_PATIENCE)
        if not ready:
            raise TimeoutError("the service has fallen silent")
        for descriptor, _ in ready:
            connection = connections[descriptor]
            answer = connection.recv(65_536)
            # Answers are short enough to come in one piece, or nearly always two.
            while b"\r\n\r\n" not in answer:
                answer += _received(connection)
            if not re.match(rb"HTTP/1.1 202 ", answer):
                raise ConnectionError(answer.decode())
            answered += 1
            if sent < requests:
                connection.sendall(heads[sent % 50])
                sent += 1
    seconds = time.perf_counter() - begin
    for connection in connections.values():
        connection.close()
    poll.close()
    return requests / seconds
