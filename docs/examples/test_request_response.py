"""Questions and answers, over good networks and bad ones."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest
import trio
from request_response import HUB, Order, answer, ask_price
from trio.testing import MockClock

from trio_webpubsub import InvocationFailed
from trio_webpubsub.emulator import DEFAULT_ACCESS_KEY, Emulator, open_emulator
from trio_webpubsub.testing import OpenClient, SimulatedNetwork
from trio_webpubsub.webhooks import UserEvent, WebhookApp


async def slow_answer(event: UserEvent) -> object:
    """Answer after a second."""
    await trio.sleep(1)
    return await answer(event)


@pytest.fixture
async def webpubsub_emulator(webpubsub_network: SimulatedNetwork) -> AsyncGenerator[Emulator]:
    """An emulator that has the event handler."""
    app = WebhookApp(HUB, access_keys=[DEFAULT_ACCESS_KEY], on_user_event=slow_answer)
    async with open_emulator(in_memory=True, event_handlers=[app]) as emulator:
        yield emulator


async def test_questions_are_answered(autojump_clock: MockClock, webpubsub_client: OpenClient) -> None:
    async with webpubsub_client("ann", hub=HUB) as ann:
        assert await ask_price(ann, Order("tea", 3)) == 7.5
        assert await ask_price(ann, Order("gold", 1)) is None


async def test_a_question_whose_answer_is_lost_is_asked_again(
    autojump_clock: MockClock, webpubsub_client: OpenClient, webpubsub_network: SimulatedNetwork
) -> None:
    async with webpubsub_client("ann", hub=HUB) as ann, trio.open_nursery() as nursery:

        async def break_the_link() -> None:
            await trio.sleep(0.5)
            webpubsub_network.cut("reset")

        nursery.start_soon(break_the_link)
        with trio.fail_after(10):
            assert await ask_price(ann, Order("milk", 2)) == 1.8


@pytest.mark.parametrize(("event", "data"), [("weather", "tea"), ("price", {"item": "tea", "count": "some"})])
async def test_a_question_that_makes_no_sense_is_refused(
    autojump_clock: MockClock, webpubsub_client: OpenClient, event: str, data: object
) -> None:
    async with webpubsub_client("ann", hub=HUB) as ann:
        with pytest.raises(InvocationFailed):
            await ann.invoke_event(event, data)
