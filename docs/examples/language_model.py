"""Stream a language model's answers to a group, token by token, to everybody who is in it."""

from __future__ import annotations

import argparse
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial

import trio
from web_pubsub import open_web_pubsub, run

from trio_webpubsub import Client, GroupMessage, GroupStream, StreamFailed, open_client
from trio_webpubsub.service import open_service

GROUP = "answers"

Model = Callable[[str], AbstractAsyncContextManager[AsyncIterator[str]]]
"""Gives the tokens of an answer for as long as a block lasts, such as that of a streaming HTTP response."""


class Words(AsyncIterator[str]):
    """Stands in for what a language model says."""

    def __init__(self, prompt: str) -> None:
        self._words = iter(
            f"The tide turns twice a day, {prompt} or not, and nobody has ever changed its mind.".split()
        )

    async def __anext__(self) -> str:
        await trio.sleep(0.05)
        for word in self._words:
            return word + " "
        raise StopAsyncIteration


@asynccontextmanager
async def fake_model(prompt: str) -> AsyncGenerator[AsyncIterator[str]]:
    """Answer a prompt. This is where a real model is plugged in: its connection is closed when the block is left."""
    yield Words(prompt)


async def answer(client: Client, model: Model, prompt: str) -> None:
    """Stream one answer.

    The service has acknowledged all of it when the block ends. If the model fails, or this is cancelled, those who read
    get what there is so far, and are told that it is not all.
    """
    async with client.open_stream(GROUP) as stream, model(prompt) as tokens:
        await stream.write({"prompt": prompt})
        async for token in tokens:
            await stream.write(token)  # waits when too much is on its way, and the model with it


async def read(stream: GroupStream[GroupMessage], show: Callable[[str], None]) -> None:
    """Show one answer as it comes."""
    try:
        async for fragment in stream:
            match fragment.data:
                case {"prompt": str(prompt)}:
                    show(f"{stream.from_user_id} on {prompt}: ")
                case token:
                    show(str(token))
    except StreamFailed as error:
        show(f"... ({error.user_error_code or error.name})")
    show("\n")


async def read_several(
    client: Client, number: int, show: Callable[[str], None], *, task_status: trio.TaskStatus[None]
) -> None:
    """Show so many answers, one after the other: one that comes meanwhile waits. A page would give each its task."""
    async with client.group_streams(GROUP, from_start=True) as streams:
        task_status.started()
        for _ in range(number):
            await read(await streams.receive(), show)


async def main(prompts: list[str]) -> None:
    """Let a bot answer all prompts at once, and somebody read."""
    may_send, may_listen = [f"webpubsub.sendToGroup.{GROUP}"], [f"webpubsub.joinLeaveGroup.{GROUP}"]
    async with (
        open_web_pubsub() as connection_string,
        open_service(connection_string, hub="assistant") as service,
        open_client(partial(service.client_access_url, user_id="bot", roles=may_send)) as bot,
        open_client(partial(service.client_access_url, user_id="ann", roles=may_listen)) as ann,
        trio.open_nursery() as nursery,
    ):
        await nursery.start(read_several, ann, len(prompts), partial(print, end="", flush=True))
        for prompt in prompts:
            nursery.start_soon(answer, bot, fake_model, prompt)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("prompt", nargs="*", default=["full moon"], help="what to answer (full moon)")
    run(main, parser.parse_args().prompt)
