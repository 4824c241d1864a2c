"""What the examples share: where Azure Web PubSub is, and how a program ends."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import trio

from trio_webpubsub import WebPubSubError
from trio_webpubsub.emulator import EventHandlers, open_emulator

CONNECTION_STRING = "AZURE_WEBPUBSUB_CONNECTION_STRING"


def given() -> str | None:
    """Give the connection string in the environment, if there is one."""
    return os.environ.get(CONNECTION_STRING) or None


@asynccontextmanager
async def open_web_pubsub(*, event_handlers: EventHandlers = ()) -> AsyncGenerator[str]:
    """Give a connection string: the environment's, or that of an emulator which runs for as long as the block does."""
    if connection_string := given():
        yield connection_string
    else:
        async with open_emulator(event_handlers=event_handlers) as emulator:
            yield emulator.connection_string


def run(main: Callable[..., Awaitable[None]], *args: Any) -> None:
    """Run a program. On Ctrl-C its blocks are left in good order, and the shell is told 130, as it expects.

    What goes wrong with the network or with what the user gave is told in a sentence. Anything else is a bug.
    """
    status: int | str | None = None
    try:
        trio.run(main, *args)
    except* KeyboardInterrupt:
        status = 130
    except* (OSError, ValueError, WebPubSubError) as group:
        status = str(first(group))
    if status is not None:
        sys.exit(status)


def first(error: BaseException) -> BaseException:
    """Give the first error of a group, which may be in a group itself."""
    while isinstance(error, BaseExceptionGroup):
        error = cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
    return error
