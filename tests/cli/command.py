"""Commands run in this process, with standard streams that tests can read, or as real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, TextIO

import trio

from trio_webpubsub.cli.program import main, make_parser


@dataclass(frozen=True)
class Ended:
    """A command that has ended."""

    status: int
    out: str
    err: str


class Output:
    """What a command writes, read line by line as it comes."""

    def __init__(self, stream: trio.abc.ReceiveStream) -> None:
        self._stream = stream
        self._read = b""

    async def line(self) -> str:
        """Read a line, without its end."""
        while b"\n" not in self._read:
            chunk = await self._stream.receive_some()
            assert chunk, f"the output ended with {self._read!r}"
            self._read += chunk
        line, _, self._read = self._read.partition(b"\n")
        return line.decode()

    async def line_with(self, text: str) -> str:
        """Read to the first line that holds this, and give it."""
        while text not in (line := await self.line()):
            pass
        return line

    async def rest(self) -> str:
        """Read to the end."""
        chunks = [chunk async for chunk in self._stream]
        return (self._read + b"".join(chunks)).decode()

    async def aclose(self) -> None:
        """Read no more."""
        await self._stream.aclose()


@contextmanager
def streams(stdout: TextIO, stderr: TextIO, stdin: TextIO | None = None) -> Generator[None]:
    """Put others in the place of the standard streams."""
    before = sys.stdout, sys.stderr, sys.stdin
    sys.stdout, sys.stderr, sys.stdin = stdout, stderr, stdin or sys.stdin
    try:
        yield
    finally:
        sys.stdout, sys.stderr, sys.stdin = before


async def call(directory: Path, *arguments: str, given: bytes = b"") -> Ended:
    """Run a command that ends by itself, in a thread of this process; ``given`` is its standard input."""
    paths = {name: directory / name for name in ("stdin", "stdout", "stderr")}
    paths["stdin"].write_bytes(given)
    with (
        paths["stdin"].open() as stdin,
        paths["stdout"].open("w") as stdout,
        paths["stderr"].open("w") as stderr,
        streams(stdout, stderr, stdin),
    ):
        status = await trio.to_thread.run_sync(main, arguments)
    return Ended(status, paths["stdout"].read_text(), paths["stderr"].read_text())


def _pipe() -> tuple[trio.lowlevel.FdStream, TextIO]:
    read, write = os.pipe()
    return trio.lowlevel.FdStream(read), os.fdopen(write, "w")


@asynccontextmanager
async def running(*arguments: str, stop: signal.Signals | None = None) -> AsyncGenerator[tuple[Output, Output]]:
    """Run a command beside a block, in this task tree; gives standard output and error.

    At the end it is cancelled, or gets a signal and takes its time.
    """
    options = make_parser([arguments[0]])[0].parse_args(arguments)
    module: Any = import_module(f"trio_webpubsub.cli.{arguments[0]}")
    (out, stdout), (err, stderr) = _pipe(), _pipe()
    async with out, err:
        with stdout, stderr, streams(stdout, stderr):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(module.run, options)
                yield Output(out), Output(err)
                if stop is None:
                    nursery.cancel_scope.cancel()
                else:
                    signal.raise_signal(stop)


@asynccontextmanager
async def process(
    *arguments: str, stdout: int = subprocess.PIPE, env: dict[str, str] | None = None
) -> AsyncGenerator[trio.Process]:
    """Run a command as a process, and kill it at the end if it still runs."""
    program = [sys.executable, "-m", "trio_webpubsub", *arguments]
    with trio.fail_after(50):
        started: trio.Process = await trio.lowlevel.open_process(
            program, stdin=subprocess.PIPE, stdout=stdout, stderr=subprocess.PIPE, env=env
        )
        try:
            yield started
        finally:
            if started.returncode is None:
                started.kill()
            with trio.CancelScope(shield=True):
                await started.wait()
            for stream in (started.stdin, started.stdout, started.stderr):
                if stream is not None:
                    await trio.aclose_forcefully(stream)
