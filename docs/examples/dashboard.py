"""A live dashboard: readings of a wind turbine every second, for every browser that has its page open."""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from functools import partial
from pathlib import Path

import h11
import trio
from web_pubsub import open_web_pubsub, run

from trio_webpubsub.service import Service, ServiceError, open_service

PAGE = Path(__file__).with_suffix(".html").read_bytes()
GROUP = "dashboard"
KEPT = 60
"""Readings of each gauge that a page gets to see."""

Answer = tuple[int, str, bytes]
"""Status, content type and body."""


class Turbine:
    """Stands in for whatever is to be watched: wind that comes and goes, and what follows from it."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._wind = 8.0
        self._history = {name: deque[float](maxlen=KEPT) for name in ("Wind", "Rotor", "Power", "Gearbox")}

    def read(self) -> dict[str, list[float]]:
        """Read every gauge, and give its newest readings, the last one being that of now."""
        self._wind = max(0.0, self._wind + self._chance.gauss((8 - self._wind) / 12, 0.5))
        power = min(3000.0, 2.2 * self._wind**3)
        readings = (self._wind, min(15.0, 1.3 * self._wind), power, 35 + power / 90)
        for history, reading in zip(self._history.values(), readings, strict=True):
            history.append(round(reading, 1))
        return {name: list(history) for name, history in self._history.items()}


async def feed(service: Service, turbine: Turbine, *, interval: float = 1.0) -> None:
    """Publish the readings, over and over.

    Each message tells everything, so that a page that comes late, or has missed something, needs no other.
    """
    due = trio.current_time()
    while True:
        try:
            await service.send_to_group(GROUP, turbine.read())
        except ServiceError as error:
            print(f"a reading could not be sent: {error}", file=sys.stderr)
        due = max(due + interval, trio.current_time())
        await trio.sleep_until(due)


async def answer(service: Service, target: bytes) -> Answer:
    """Answer a request of a browser: for the page, or for the URL with which it connects."""
    match target:
        case b"/":
            return 200, "text/html; charset=utf-8", PAGE
        case b"/negotiate":
            # The key stays here. This token lets its holder listen to the one group, and has to be used within minutes.
            url = await service.client_access_url(groups=[GROUP], lifetime=timedelta(minutes=5))
            return 200, "application/json", json.dumps({"url": url}).encode()
        case _:
            return 404, "text/plain", b"There is nothing here."


async def serve_browser(respond: Callable[[bytes], Awaitable[Answer]], stream: trio.abc.Stream) -> None:
    """Answer one request. An application that has a web server already needs none of this."""
    http = h11.Connection(h11.SERVER)
    # Browsers open connections in reserve and drop them again; what is no HTTP is not answered.
    with trio.move_on_after(30), suppress(trio.BrokenResourceError, h11.RemoteProtocolError):
        while (request := http.next_event()) is h11.NEED_DATA:
            http.receive_data(bytes(await stream.receive_some()))
        if isinstance(request, h11.Request):
            status, content_type, body = await respond(request.target)
            headers = [("Content-Type", content_type), ("Content-Length", str(len(body))), ("Connection", "close")]
            head = http.send(h11.Response(status_code=status, headers=[*headers, ("Cache-Control", "no-store")]))
            await stream.send_all((head or b"") + body)


async def main(port: int) -> None:
    """Feed the dashboard and serve its page until Ctrl-C."""
    async with (
        open_web_pubsub() as connection_string,
        open_service(connection_string, hub="turbine") as service,
        trio.open_nursery() as nursery,
    ):
        browser = partial(serve_browser, partial(answer, service))
        listeners = await nursery.start(partial(trio.serve_tcp, browser, port, host="127.0.0.1"))
        nursery.start_soon(feed, service, Turbine(random.Random()))
        print(f"The dashboard is at http://127.0.0.1:{listeners[0].socket.getsockname()[1]}/", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8000, help="where the page is served, 0 for any (%(default)s)")
    run(main, parser.parse_args().port)
