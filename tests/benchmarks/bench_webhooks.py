"""Events a second of the webhook app, beside the official one: ``python tests/benchmarks/bench_webhooks.py``.

The pure part is measured in this process. Each server runs in one of its own, and gets the same requests from here: a
client's event with 60 bytes of JSON, signed, which its handler sends back. The servers take turns, so that whatever
else the machine does falls on all. Printed is the median of the rounds. The official handler does not check signatures;
it takes part where node is, and ``TRIO_WEBPUBSUB_NODE_MODULES`` says where npm has installed its packages.
"""

from __future__ import annotations

import asyncio
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import hypercorn.trio
import trio
from hypercorn.config import Config

from trio_webpubsub.protocol.cloudevents_gate import EventGate, EventHead, header_text
from trio_webpubsub.protocol.cloudevents_handler import answer_connect, answer_event, read_event
from trio_webpubsub.protocol.cloudevents_service import EventRequest, EventSource, write_connect, write_user_event
from trio_webpubsub.protocol.cloudevents_values import Accept, ConnectRequest, UserEvent
from trio_webpubsub.protocol.wire import Payload
from trio_webpubsub.webhooks import WebhookApp, serve_webhooks

ROUNDS = 7
REQUESTS = 4_000
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


async def echo(event: UserEvent) -> object:
    return event.data


APP = WebhookApp("chat", access_keys=[KEY], allowed_origins=[ORIGIN], on_user_event=echo)


def pure(request: EventRequest) -> Callable[[], object]:
    """Give what takes a request in and writes the answer, without any input or output."""
    gate = EventGate("chat", access_keys=[KEY], allowed_origins=[ORIGIN])
    lines = [(name.decode().lower(), value) for name, value in request.headers]

    def run() -> object:
        head = gate.enter("POST", {name: header_text(value) for name, value in lines})
        assert isinstance(head, EventHead)
        match read_event(head, request.body):
            case UserEvent() as event:
                return answer_event(event, event.data)
            case ConnectRequest() as connect:
                return answer_connect(connect, Accept(groups=["lobby"]))
            case other:
                return other

    return run


def measure_pure(request: EventRequest) -> float:
    run, count = pure(request), 20_000
    start = time.perf_counter()
    for _ in range(count):
        run()
    return count / (time.perf_counter() - start)


# Servers


async def serve_ours() -> None:
    async with trio.open_nursery() as nursery:
        (port,) = await nursery.start(serve_webhooks, APP)
        print(port, flush=True)


async def serve_hypercorn() -> None:
    config = Config()
    config.bind = ["127.0.0.1:0"]
    config.accesslog = config.errorlog = None
    async with trio.open_nursery() as nursery:
        (address,) = await nursery.start(hypercorn.trio.serve, APP, config)
        print(int(address.rpartition(":")[2]), flush=True)


def commands() -> dict[str, list[str]]:
    """Give how the servers are started; each prints its port."""
    here = [sys.executable, __file__]
    found = {"serve_webhooks": [*here, "ours"], "Hypercorn (trio)": [*here, "hypercorn"]}
    if (node := shutil.which("node")) is None:
        print("There is no node, so the official handler is left out.")
    else:
        peer = Path(__file__).parents[1] / "interop" / "node" / "express_handler.mjs"
        found["web-pubsub-express"] = [node, str(peer), ORIGIN]
    return found


# The load


async def one_after_the_other(port: int, raw: bytes, count: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in range(count):
        writer.write(raw)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        assert head.startswith(b"http/1.1 200"), head
        await reader.readexactly(int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0]))
    writer.close()
    await writer.wait_closed()


async def load(port: int, raw: bytes) -> float:
    """Give the requests a second that a server answers."""
    start = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(one_after_the_other(port, raw, REQUESTS // AT_ONCE))
    return REQUESTS / (time.perf_counter() - start)


def raw_request() -> bytes:
    lines = [b"POST /api/webpubsub/hubs/chat/echo HTTP/1.1", b"host: h", b"content-length: %d" % len(EVENT.body)]
    return b"\r\n".join([*lines, *(name + b": " + value for name, value in EVENT.headers), b"", EVENT.body])


def main() -> None:
    """Measure, and print."""
    for name, request in (("a user event", EVENT), ("a connect request", CONNECT)):
        rate = statistics.median(measure_pure(request) for _ in range(ROUNDS))
        print(f"pure part, {name:<18} {rate:>9,.0f} a second")
    servers: dict[str, tuple[subprocess.Popen[str], int]] = {}
    try:
        for name, command in commands().items():
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            assert process.stdout is not None
            servers[name] = process, int(process.stdout.readline())
        rates: dict[str, list[float]] = {name: [] for name in servers}
        for number in range(ROUNDS + 1):
            for name, (_, port) in servers.items():
                rate = asyncio.run(load(port, raw_request()))
                if number:  # the first round is for warming up
                    rates[name].append(rate)
        for name, all_rates in rates.items():
            print(f"{name:<29} {statistics.median(all_rates):>9,.0f} a second")
    finally:
        for process, _ in servers.values():
            process.terminate()
            process.communicate()


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["ours"]:
            trio.run(serve_ours)
        case ["hypercorn"]:
            trio.run(serve_hypercorn)
        case _:
            main()
