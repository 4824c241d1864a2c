"""The service client beside the official asyncio one: both call a small server that answers 202 to everything."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection

from rounds import OURS, Scenario, run_peer

OFFICIAL = "rest_official_aio"
ANSWER = b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n"


def serve(ready: Connection) -> None:
    """Answer requests until the process is ended."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = head.partition(b"content-length: ")[2].partition(b"\r\n")[0]
                await reader.readexactly(int(length or 0))
                writer.write(ANSWER)
        except (asyncio.IncompleteReadError, ConnectionResetError):
            writer.close()

    async def main() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        ready.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(main())


@contextmanager
def answering() -> Iterator[str]:
    """Run the server; gives a connection string for it."""
    theirs, ours = multiprocessing.Pipe()
    server = multiprocessing.get_context("fork").Process(target=serve, args=[theirs], daemon=True)
    server.start()
    try:
        yield f"Endpoint=http://127.0.0.1:{ours.recv()};AccessKey={'key-' * 12};Version=1.0;"
    finally:
        server.terminate()


def scenarios(connection_string: str) -> list[Scenario]:
    """Give what is measured."""

    def calls(at_once: int) -> Callable[[str, float], float]:
        def run(name: str, scale: float) -> float:
            count = max(at_once, int(1_500 * scale))
            return run_peer("rest_ours" if name == OURS else name, connection_string, at_once, count)

        return run

    return [
        Scenario(name="REST calls", run=calls(1), peers=(OFFICIAL,), goals={OFFICIAL: (1.7, 2)}),
        Scenario(name="REST calls, 50 at once", run=calls(50), peers=(OFFICIAL,), goals={OFFICIAL: (1.5, 1.9)}),
    ]
