"""No hub and no protocol, but one write to the network for each recipient: what no server in Python can do without.

It answers handshakes, and whatever one client sends then goes to all as one message of a group that never changes.
Prints its port and serves until it is ended.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import select
import socket

HOST = "127.0.0.1"
PAYLOAD = b'{"type":"message","from":"group","fromUserId":null,"group":"everybody","dataType":"text","data":"%s"}'
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def text_frame(payload: bytes) -> bytes:
    """Make a server's frame."""
    size = len(payload)
    return (bytes((0x81, size)) if size < 126 else b"\x81\x7e" + size.to_bytes(2, "big")) + payload


def accept(listening: socket.socket) -> socket.socket:
    """Take a client."""
    connection, _ = listening.accept()
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    head = b""
    while b"\r\n\r\n" not in head:
        head += connection.recv(65_536)
    key = re.search(rb"Sec-WebSocket-Key: (\S+)", head)
    assert key is not None
    connection.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: "
        + base64.b64encode(hashlib.sha1(key[1] + GUID).digest())
        + b"\r\n\r\n"
        + text_frame(b'{"type":"system","event":"connected"}')
    )
    connection.setblocking(False)
    return connection


def main() -> None:
    """Serve."""
    frame = text_frame(PAYLOAD % (b"x" * 100))
    poll = select.epoll()
    clients: dict[int, socket.socket] = {}
    with socket.socket() as listening:
        listening.bind((HOST, 0))
        listening.listen(1_000)
        poll.register(listening, select.EPOLLIN)
        print(listening.getsockname()[1], flush=True)
        while True:
            for descriptor, _ in poll.poll():
                if descriptor == listening.fileno():
                    client = accept(listening)
                    clients[client.fileno()] = client
                    poll.register(client, select.EPOLLIN)
                elif messages := clients[descriptor].recv(65_536).count(b"sendToGroup"):
                    for each in clients:
                        os.write(each, frame * messages)


if __name__ == "__main__":
    main()
