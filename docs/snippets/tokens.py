"""A language model's answer, streamed to everybody in a group while it is being written."""

from collections.abc import AsyncIterator
from contextlib import suppress

import trio

from trio_webpubsub import Client, GroupMessage, GroupStream, StreamFailed, open_client
from trio_webpubsub.emulator import open_emulator


class Model(AsyncIterator[str]):
    """Stands in for a language model: gives tokens as it finds them, and may fail on the way."""

    def __init__(self, prompt: str) -> None:
        self.tokens = iter(["The ", "tide ", "turns ", "twice ", "a ", "day."])
        self.patience = 3 if "poem" in prompt else 10

    async def __anext__(self) -> str:
        await trio.sleep(0.01)
        if self.patience == 0:
            raise RuntimeError("out of rhymes")
        self.patience -= 1
        token = next(self.tokens, None)
        if token is None:
            raise StopAsyncIteration
        return token


async def answer(bot: Client, prompt: str) -> None:
    async with bot.open_stream("room") as stream:
        await stream.write({"prompt": prompt})
        async for token in Model(prompt):
            await stream.write(token)


async def show(stream: GroupStream[GroupMessage]) -> None:
    prompt = (await stream.receive()).data["prompt"]
    text = ""
    try:
        async for fragment in stream:
            text += fragment.data  # a real one would paint each token as it comes
    except StreamFailed as error:
        text += f"... (the answer broke off: {error.user_error_code})"
    print(f"{stream.from_user_id} on {prompt!r}: {text}")


async def answer_both(bot: Client) -> None:
    await answer(bot, "the sea")
    with suppress(RuntimeError):  # it ends the stream, which is how Ann hears of it
        await answer(bot, "a poem")


async def main() -> None:
    async with (
        open_emulator() as emulator,
        open_client(emulator.client_url("chat", user_id="bot")) as bot,
        open_client(emulator.client_url("chat", user_id="ann")) as ann,
        ann.group_streams("room") as streams,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(answer_both, bot)
        for _ in range(2):
            nursery.start_soon(show, await streams.receive())  # each in a task of its own, while it comes


trio.run(main)
