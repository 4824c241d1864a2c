"""What feeds the dashboard, and what its page is given. The page itself needs a browser."""

from __future__ import annotations

import json
import random
import socket
from functools import partial

import pytest
import trio
from dashboard import GROUP, PAGE, Turbine, answer, feed, main, serve_browser
from trio.testing import MockClock, memory_stream_pair
from web_pubsub import CONNECTION_STRING, run

from trio_webpubsub import SendFailed, open_client
from trio_webpubsub.emulator import Emulator
from trio_webpubsub.testing import OpenClient, OpenService, SimulatedNetwork


async def test_readings_come_every_second_and_after_a_break_again(
    autojump_clock: MockClock,
    webpubsub_client: OpenClient,
    webpubsub_service: OpenService,
    webpubsub_network: SimulatedNetwork,
    nursery: trio.Nursery,
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with webpubsub_service() as service, webpubsub_client() as page, page.group_messages(GROUP) as messages:
        nursery.start_soon(feed, service, Turbine(random.Random(1)))
        start = trio.current_time()
        for second in range(5):
            readings = (await messages.receive()).data
            assert trio.current_time() - start == pytest.approx(second, abs=0.1)
            assert list(readings) == ["Wind", "Rotor", "Power", "Gearbox"]
            assert {len(history) for history in readings.values()} == {second + 1}
        with webpubsub_network.unreachable("service"):
            await trio.sleep(60)
        assert "a reading could not be sent" in capsys.readouterr().err
        await trio.sleep(60)
        while len((await messages.receive()).data["Wind"]) < 60:
            pass
        nursery.cancel_scope.cancel()


async def test_a_page_gets_a_url_with_which_it_can_only_listen(
    autojump_clock: MockClock, webpubsub_service: OpenService, webpubsub_emulator: Emulator
) -> None:
    async with webpubsub_service() as service:
        status, _, body = await answer(service, b"/negotiate")
        assert status == 200
        async with (
            open_client(json.loads(body)["url"], connector=webpubsub_emulator.connector) as page,
            page.group_messages(GROUP, join=False) as messages,
        ):
            await service.send_to_group(GROUP, "reading")
            assert (await messages.receive()).data == "reading"
            with pytest.raises(SendFailed, match="Forbidden"):
                await page.send_to_group(GROUP, "nonsense")


@pytest.mark.parametrize(
    ("request_head", "status", "body"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"200", PAGE),
        (b"GET /key HTTP/1.1\r\nHost: a\r\n\r\n", b"404", b"There is nothing here."),
        (b"nonsense\r\n\r\n", b"", b""),
        (b"", b"", b""),
    ],
)
async def test_browsers_are_answered(
    autojump_clock: MockClock, webpubsub_service: OpenService, request_head: bytes, status: bytes, body: bytes
) -> None:
    browser, server = memory_stream_pair()
    async with webpubsub_service() as service:
        await browser.send_all(request_head)
        await browser.send_eof()
        await serve_browser(partial(answer, service), server)
        await server.aclose()
        response = b"".join([part async for part in browser])
    assert response[9:12] == status
    assert response.partition(b"\r\n\r\n")[2] == body


def test_a_port_in_use_is_told_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(CONNECTION_STRING, raising=False)
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(SystemExit, match="already in use"):
        run(main, taken.getsockname()[1])
