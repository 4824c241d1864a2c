"""The webhook app beside the official handler: its pure part in this process, its servers in others.

Each server gets the same requests from here: a client's event with 60 bytes of JSON, signed, which its handler sends
back. The official handler does not check signatures.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rounds import PEERS, Missing, Scenario, command

from trio_webpubsub.protocol.cloudevents_gate import EventGate, EventHead, header_text
from trio_webpubsub.protocol.cloudevents_handler import answer_connect, answer_event, read_event
from trio_webpubsub.protocol.cloudevents_service import EventRequest, EventSource, write_connect, write_user_event
from trio_webpubsub.protocol.cloudevents_values import Accept, ConnectRequest, UserEvent
from trio_webpubsub.protocol.wire import Payload

HYPERCORN, JS = "hypercorn", "official_js"
REQUESTS = 4_000
PURE_REQUESTS = 20_000
AT_ONCE = 16
KEY = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789ABCDEFGH"
ORIGIN = "foo.webpubsub.azure.com"
SOURCE = EventSource(
    origin=ORIGIN, hub="chat", connection_id="conn-1", user_id="ann", subprotocol="json.webpubsub.azure.v1", keys=[KEY]
)
BODY = b'{"text": "a message as they usually are", "number": 7, "a": 1}'
EVENT = write_user_event(SOURCE, event_id=7, time=1_767_323_045, event="echo", payload=Payload("json", BODY))
CONNECT = write_connect(
    SOURCE,
    time=1_767_323_045,
    claims={"sub": ["ann"], "role": ["webpubsub.sendToGroup", "webpubsub.joinLeaveGroup"], "exp": ["1767326645"]},
    query={"room": ["1"]},
    headers={"Host": ["foo.webpubsub.azure.com"], "User-Agent": ["a browser"], "X-Forwarded-For": ["10.0.0.1"]},
    subprotocols=["json.webpubsub.azure.v1"],
)


def pure(request: EventRequest) -> Callable[[str, float], float]:
    """Requests a second that are read and answered, without any input or output."""
    gate = EventGate("chat", access_keys=[KEY], allowed_origins=[ORIGIN])
    lines = [(name.decode().lower(), value) for name, value in request.headers]

    def answer() -> object:
        head = gate.enter("POST", {name: header_text(value) for name, value in lines})
        assert isinstance(head, EventHead)
        match read_event(head, request.body):
            case UserEvent() as event:
                return answer_event(event, event.data)
            case ConnectRequest() as connect:
                return answer_connect(connect, Accept(groups=["lobby"]))
            case other:
                return other

    def run(name: str, scale: float) -> float:
        count = int(PURE_REQUESTS * scale)
        start = time.perf_counter()
        for _ in range(count):
            answer()
        return count / (time.perf_counter() - start)

    return run


@contextmanager
def server(name: str) -> Iterator[int]:
    """Run a server; gives its port."""
    program = f"webhooks_{name}"
    directory = os.environ.get("NODE_DIRECTORY") if (PEERS / f"{program}.mjs").exists() else None
    with subprocess.Popen(
        [*command(program), ORIGIN, KEY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=directory
    ) as process:
        try:
            assert process.stdout is not None
            port = process.stdout.readline()
            if not port:
                raise Missing("it does not start")
            yield int(port)
        finally:
            process.kill()


def served(name: str, scale: float) -> float:
    """Requests a second that a server answers."""
    lines = [b"POST /api/webpubsub/hubs/chat/echo HTTP/1.1", b"host: h", b"content-length: %d" % len(EVENT.body)]
    raw = b"\r\n".join([*lines, *(name + b": " + value for name, value in EVENT.headers), b"", EVENT.body])
    count = int(REQUESTS * scale)
    with server(name) as port:
        asyncio.run(load(port, raw, count // 4))  # once to get warm
        return asyncio.run(load(port, raw, count))


async def load(port: int, raw: bytes, count: int) -> float:
    """Send the same request again and again; gives requests a second."""
    start = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(one_after_the_other(port, raw, count // AT_ONCE))
    return count / (time.perf_counter() - start)


async def one_after_the_other(port: int, raw: bytes, count: int) -> None:
    """Send a request when the one before is answered."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in range(count):
        writer.write(raw)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        assert head.startswith(b"http/1.1 200"), head
        await reader.readexactly(int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0]))
    writer.close()
    await writer.wait_closed()


def scenarios() -> list[Scenario]:
    """Give what is measured."""
    return [
        Scenario(name="webhook events, the pure part", run=pure(EVENT)),
        Scenario(name="webhook connects, the pure part", run=pure(CONNECT)),
        Scenario(name="webhook events", run=served, peers=(HYPERCORN, JS)),
    ]
