"""The dashboard in a browser."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from tests.examples.chromium import CHROMIUM, NAMES, open_page
from tests.examples.programs import running
from trio_webpubsub.emulator import open_emulator

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason=f"no Chromium is installed: none of {', '.join(NAMES)}")

STATE = "document.querySelector('#state').textContent"
WATCH = f"""void (window.broke = new Promise(seen => new MutationObserver(
    () => {STATE} === 'Reconnecting' && seen()).observe(document.querySelector('#state'), {{ childList: true }})))"""
VALUES = "[...document.querySelectorAll('output')].map(output => output.value)"


async def test_the_page_lives_and_comes_back(tmp_path: Path) -> None:
    async with (
        open_emulator() as emulator,
        running("dashboard", "--port", "0", connection_string=emulator.connection_string) as program,
    ):
        url = (await program.lines.line_with("The dashboard is at")).split()[-1]
        with trio.fail_after(40):
            async with open_page(url, tmp_path) as page:
                await page.wait_for(f"{STATE} === 'Live'")
                values = [float(value) for value in await page.evaluate(VALUES)]
                assert len(values) == 4
                await page.wait_for(f"{VALUES}.join() !== '{','.join(await page.evaluate(VALUES))}'")

                [connection] = emulator.connections("turbine")
                await page.evaluate(WATCH)
                emulator.cut(connection.connection_id)
                await page.evaluate("window.broke")
                await page.wait_for(f"{STATE} === 'Live'")
                assert "access_token" not in await page.evaluate("document.documentElement.outerHTML")
