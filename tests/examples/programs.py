"""Runs the examples of the documentation as what they are: programs in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import trio

ROOT = Path(__file__).parent.parent.parent
EXAMPLES = ROOT / "docs" / "examples"
PROGRAMS = sorted(path.stem for path in EXAMPLES.glob("*.py") if "__main__" in path.read_text())
CONNECTION_STRING = "AZURE_WEBPUBSUB_CONNECTION_STRING"


class Lines:
    """What a program prints."""

    def __init__(self, stream: trio.abc.ReceiveStream) -> None:
        self._stream = stream
        self._read = b""

    async def line_with(self, text: str) -> str:
        """Read on to the end of the first line that holds this."""
        while True:
            line, end, rest = self._read.partition(b"\n")
            if end:
                self._read = rest
                if text in line.decode():
                    return line.decode().strip()
            else:
                chunk = await self._stream.receive_some()
                assert chunk, f"the program ended and never said {text!r}"
                self._read += chunk

    async def rest(self) -> str:
        """Read to the end of it all."""
        return (self._read + b"".join([chunk async for chunk in self._stream])).decode()


class Program:
    """A program that is running."""

    def __init__(self, process: trio.Process) -> None:
        assert process.stdout is not None
        self.process = process
        self.lines = Lines(process.stdout)

    async def type(self, text: str) -> None:
        """Give it something to read."""
        assert self.process.stdin is not None
        await self.process.stdin.send_all(text.encode())


def environment(connection_string: str | None) -> Mapping[str, str]:
    """Give the environment of a program."""
    variables = {**os.environ, "PYTHONPATH": str(ROOT)}
    variables.pop(CONNECTION_STRING, None)
    return variables if connection_string is None else {**variables, CONNECTION_STRING: connection_string}


def command(name: str, *arguments: str) -> list[str]:
    """Give what starts an example."""
    return [sys.executable, str(EXAMPLES / f"{name}.py"), *arguments]


@asynccontextmanager
async def running(name: str, *arguments: str, connection_string: str | None = None) -> AsyncGenerator[Program]:
    """Start an example, and kill it at the end if it still runs. What it says on stderr comes among its lines."""
    with trio.fail_after(50):
        async with trio.open_nursery() as nursery:
            process: trio.Process = await nursery.start(
                partial(
                    trio.run_process,
                    command(name, *arguments),
                    env=environment(connection_string),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    check=False,
                )
            )
            try:
                yield Program(process)
            finally:
                if process.returncode is None:
                    process.kill()
