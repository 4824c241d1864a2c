"""Commands run in this process, with standard streams that tests can read, or as real processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import trio

from trio_webpubsub.cli import main
from trio_webpubsub.cli.program import make_parser


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
def streams(**files: Any) -> Generator[None]:
    """Put others in the place of ``sys.stdin`` and so on."""
    before = {name: getattr(sys, name) for name in files}
    for name, file in files.items():
        setattr(sys, name, file)
    try:
        yield
    finally:
        for name, file in before.items():
            setattr(sys, name, file)


async def call(directory: Path, *arguments: str, given: bytes = b"") -> Ended:
    """Run a command that ends by itself, in a thread of this process; ``given`` is its standard input."""
    paths = {name: directory / name for name in ("stdin", "stdout", "stderr")}
    paths["stdin"].write_bytes(given)
    with (
        paths["stdin"].open() as stdin,
        paths["stdout"].open("w") as stdout,
        paths["stderr"].open("w") as stderr,
        streams(stdin=stdin, stdout=stdout, stderr=stderr),
    ):
        status = await trio.to_thread.run_sync(main, arguments)
    return Ended(status, paths["stdout"].read_text(), paths["stderr"].read_text())


@asynccontextmanager
async def running(*arguments: str) -> AsyncGenerator[tuple[Output, Output]]:
    """Run a command beside a block, in this task tree, and cancel it at the end; gives standard output and error."""
    options = make_parser([arguments[0]])[0].parse_args(arguments)
    module: Any = import_module(f"trio_webpubsub.cli.{arguments[0]}")
    (out, stdout), (err, stderr) = os.pipe(), os.pipe()
    async with trio.lowlevel.FdStream(out) as out_stream, trio.lowlevel.FdStream(err) as err_stream:
        with os.fdopen(stdout, "w") as out_file, os.fdopen(stderr, "w") as err_file:
            with streams(stdout=out_file, stderr=err_file):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(module.run, options)
                    yield Output(out_stream), Output(err_stream)
                    nursery.cancel_scope.cancel()


@asynccontextmanager
async def process(*arguments: str, **options: Any) -> AsyncGenerator[trio.Process]:
    """Run a command as a process, and kill it at the end if it still runs."""
    program = [sys.executable, "-m", "trio_webpubsub", *arguments]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    with trio.fail_after(50):
        started = await trio.lowlevel.open_process(program, **pipes)
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


