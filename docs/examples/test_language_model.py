"""What readers see of a language model's answers, however they end."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from language_model import Words, answer, fake_model, read_several
from trio.testing import MockClock

from trio_webpubsub.testing import OpenClient, SimulatedNetwork

FULL = "bot on tea: The tide turns twice a day, tea or not, and nobody has ever changed its mind. \n"


@asynccontextmanager
async def broken_model(prompt: str) -> AsyncGenerator[AsyncIterator[str]]:
    """Fail after a few words."""

    class Broken(Words):
        async def __anext__(self) -> str:
            if (word := await super().__anext__()) == "twice ":
                raise ConnectionError("the model has gone")
            return word

    yield Broken(prompt)


async def test_an_answer_comes_word_by_word(autojump_clock: MockClock, webpubsub_client: OpenClient) -> None:
    seen: list[tuple[float, str]] = []
    start = trio.current_time()

    def show(text: str) -> None:
        seen.append((round(trio.current_time() - start, 2), text))

    async with webpubsub_client("bot") as bot, webpubsub_client("ann") as ann, trio.open_nursery() as nursery:
        await nursery.start(read_several, ann, 1, show)
        await answer(bot, fake_model, "tea")
    assert seen[:4] == [(0, "bot on tea: "), (0.05, "The "), (0.1, "tide "), (0.15, "turns ")]
    assert "".join(text for _, text in seen) == FULL


async def test_answers_that_are_given_at_once_do_not_mix(
    autojump_clock: MockClock, webpubsub_client: OpenClient, webpubsub_network: SimulatedNetwork
) -> None:
    seen: list[str] = []
    async with webpubsub_client("bot") as bot, webpubsub_client("ann") as ann, trio.open_nursery() as nursery:
        await nursery.start(read_several, ann, 2, seen.append)
        nursery.start_soon(answer, bot, fake_model, "tea")
        nursery.start_soon(answer, bot, fake_model, "milk")
        await trio.sleep(0.3)
        webpubsub_network.cut("reset")  # which changes nothing
    assert sorted("".join(seen).splitlines(keepends=True)) == [FULL.replace("tea", "milk"), FULL]


async def test_a_model_that_fails_is_told_to_readers(autojump_clock: MockClock, webpubsub_client: OpenClient) -> None:
    seen: list[str] = []
    async with webpubsub_client("bot") as bot, webpubsub_client("ann") as ann, trio.open_nursery() as nursery:
        await nursery.start(read_several, ann, 1, seen.append)
        with pytest.raises(ConnectionError, match="the model has gone"):
            await answer(bot, broken_model, "tea")
    assert "".join(seen) == "bot on tea: The tide turns ... (Exception)\n"


async def test_an_answer_that_is_cancelled_is_told_to_readers(
    autojump_clock: MockClock, webpubsub_client: OpenClient
) -> None:
    seen: list[str] = []
    async with webpubsub_client("bot") as bot, webpubsub_client("ann") as ann, trio.open_nursery() as nursery:
        await nursery.start(read_several, ann, 1, seen.append)
        with trio.move_on_after(0.12):
            await answer(bot, fake_model, "tea")
    assert "".join(seen) == "bot on tea: The tide ... (Cancelled)\n"
