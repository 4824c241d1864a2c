"""The official JavaScript packages in a process of their own, driven from trio by ``node/driver.mjs``."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import trio

DRIVER = Path(__file__).parent / "node" / "driver.mjs"
NODE_MODULES = os.environ.get("TRIO_WEBPUBSUB_NODE_MODULES")
"""Where the nox session has installed the packages, if node is there."""


class NodeError(Exception):
    """What a package raised."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(error.get("message"))
        self.status_code = error.get("statusCode")
        self.detail: dict[str, Any] | None = error.get("errorDetail")


class Node:
    """A running driver."""

    def __init__(self, process: trio.Process) -> None:
        assert process.stdin is not None
        self.events: list[tuple[str, Any]] = []
        self.told: Callable[[str, Any], None] = lambda _kind, _value: None
        """Called with each event."""
        self._stdin = process.stdin
        self._answers: dict[int, dict[str, Any]] = {}
        self._numbers = count(1)
        self._changed = trio.Event()
        self._has_ended = False

    async def do(self, name: str, *arguments: Any, on: str | None = None) -> Any:
        """Call a method ``on`` what was opened, or a command of the driver."""
        number = next(self._numbers)
        command = {"id": number, "on": on, "do": name, "with": arguments}
        await self._stdin.send_all(json.dumps(command, default=_encode).encode() + b"\n")
        while number not in self._answers:
            await self._change()
        answer = self._answers.pop(number)
        if "error" in answer:
            raise NodeError(answer["error"])
        return answer["result"]

    def of(self, kind: str) -> list[Any]:
        return [value for event, value in self.events if event == kind]

    async def wait_for(self, kind: str, count: int = 1) -> list[Any]:
        """Wait until something of this kind was told so often, and give all of it."""
        while len(self.of(kind)) < count:
            await self._change()
        return self.of(kind)

    async def _change(self) -> None:
        await self._changed.wait()
        assert not self._has_ended, "node has ended"

    async def read(self, stdout: trio.abc.ReceiveStream) -> None:
        """Take what the driver writes."""
        rest = b""
        async for chunk in stdout:
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                told = json.loads(line, object_hook=_decode)
                if "event" in told:
                    self.events.append((told["event"], told["value"]))
                    self.told(told["event"], told["value"])
                else:
                    self._answers[told["id"]] = told
            self._changed.set()
            self._changed = trio.Event()
        self._has_ended = True
        self._changed.set()


@asynccontextmanager
async def open_node() -> AsyncGenerator[Node]:
    """Start a driver, and kill it at the end."""
    async with trio.open_nursery() as nursery:
        start = partial(
            trio.run_process, ["node", str(DRIVER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, check=False
        )
        process: trio.Process = await nursery.start(start)
        assert process.stdout is not None
        node = Node(process)
        nursery.start_soon(node.read, process.stdout)
        try:
            yield node
        finally:
            process.kill()


def _encode(value: object) -> object:
    assert isinstance(value, bytes)
    return {"$bytes": base64.b64encode(value).decode()}


def _decode(value: dict[str, Any]) -> Any:
    return base64.b64decode(value["$bytes"]) if value.keys() == {"$bytes"} else value
