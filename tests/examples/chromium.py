"""Chromium without a window, told what to do over its DevTools protocol."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import trio
from trio_websocket import WebSocketConnection, open_websocket_url

from tests.examples.programs import Lines

NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)
"""Where it is; ``None`` if it is not installed."""

OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage", "--hide-scrollbars"),
    *("--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
MAX_ANSWER = 16 * 1024 * 1024


class Page:
    """A page that is open."""

    def __init__(self, devtools: WebSocketConnection) -> None:
        self._devtools = devtools
        self._asked = 0
        self._events: list[str] = []

    async def command(self, method: str, **parameters: Any) -> Any:
        """Give the result of a command of the protocol."""
        self._asked += 1
        await self._devtools.send_message(json.dumps({"id": self._asked, "method": method, "params": parameters}))
        while (answer := json.loads(await self._devtools.get_message())).get("id") != self._asked:
            self._events.append(answer.get("method"))
        assert "error" not in answer, answer["error"]["message"]
        return answer["result"]

    async def open(self, url: str) -> None:
        """Go to a URL, and wait until its page is loaded."""
        await self.command("Page.enable")
        self._events.clear()
        await self.command("Page.navigate", url=url)
        while "Page.loadEventFired" not in self._events:
            self._events.append(json.loads(await self._devtools.get_message()).get("method"))

    async def evaluate(self, expression: str) -> Any:
        """Give the value of an expression, or what it promises."""
        answer = await self.command("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    async def wait_for(self, condition: str) -> None:
        """Wait until an expression is true."""
        await self.evaluate(
            f"new Promise(seen => {{ const look = () => ({condition}) ? seen() : setTimeout(look, 20); look(); }})"
        )


@asynccontextmanager
async def open_page(url: str, profile: Path) -> AsyncGenerator[Page]:
    """Start the browser with a page, and kill it at the end.

    Args:
        url: the page.
        profile: an empty directory for it.
    """
    assert CHROMIUM is not None
    command = [CHROMIUM, *OPTIONS, "--remote-debugging-port=0", f"--user-data-dir={profile}", "about:blank"]
    async with trio.open_nursery() as nursery:
        start = partial(trio.run_process, command, stderr=subprocess.PIPE, check=False)
        process: trio.Process = await nursery.start(start)
        try:
            assert process.stderr is not None
            browser = (await Lines(process.stderr).line_with("DevTools listening on")).split()[-1]
            async with open_websocket_url(browser, max_message_size=MAX_ANSWER) as devtools:
                target = (await Page(devtools).command("Target.createTarget", url="about:blank"))["targetId"]
            address = f"{browser.partition('/devtools/')[0]}/devtools/page/{target}"
            async with open_websocket_url(address, max_message_size=MAX_ANSWER) as devtools:
                page = Page(devtools)
                await page.open(url)
                yield page
        finally:
            process.kill()
