"""The terminal chat on a terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio

from tests.examples.programs import CONNECTION_STRING, Lines, command, environment, running

if sys.platform == "win32":
    pytest.skip("Windows has no pseudo-terminals", allow_module_level=True)


class Terminal:
    """A terminal, and the program that runs on it."""

    def __init__(self, stream: trio.lowlevel.FdStream, process: trio.Process) -> None:
        self._stream = stream
        self.process = process
        self.screen = Lines(stream)

    async def type(self, keys: str) -> None:
        """Press keys."""
        await self._stream.send_all(keys.encode())


@asynccontextmanager
async def on_a_terminal(name: str, *arguments: str) -> AsyncGenerator[Terminal]:
    """Start an example on a terminal, and kill it at the end if it still runs."""
    master, slave = os.openpty()
    with trio.fail_after(50):
        async with trio.lowlevel.FdStream(master) as stream, trio.open_nursery() as nursery:
            process: trio.Process = await nursery.start(
                partial(
                    trio.run_process,
                    command(name, *arguments),
                    env=environment(None),
                    preexec_fn=partial(os.login_tty, slave),
                    pass_fds=[slave],
                    check=False,
                )
            )
            os.close(slave)
            try:
                yield Terminal(stream, process)
            finally:
                if process.returncode is None:
                    process.kill()


async def test_two_people_talk() -> None:
    async with on_a_terminal("terminal_chat", "ann") as ann:
        shown = await ann.screen.line_with(CONNECTION_STRING)
        await ann.screen.line_with("You are in the lobby, and are called ann.")
        async with running("terminal_chat", "ben", connection_string=shown.split("'")[1]) as ben:
            await ben.lines.line_with("You are in the lobby, and are called ben.")
            await ann.type("Helo\x7flo!\r")  # a terminal lets people correct themselves
            assert await ben.lines.line_with("ann") == "ann: Hello!"
            await ben.type("Hi\nthere\n")
            assert await ann.screen.line_with("ben") == "ben: Hi"
            assert await ann.screen.line_with("ben") == "ben: there"
            assert ben.process.stdin is not None
            await ben.process.stdin.aclose()
            assert await ben.process.wait() == 0
        await ann.type("\x04")
        assert await ann.process.wait() == 0


async def test_ctrl_c_on_a_terminal() -> None:
    async with on_a_terminal("terminal_chat") as ann:
        await ann.screen.line_with("You are in the lobby")
        await ann.type("unfinished\x03")
        assert await ann.process.wait() == 130
