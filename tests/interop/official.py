"""The official WebSocket clients for Python, driven from trio: one lives in threads, the other in an event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import trio
from azure.messaging.webpubsubclient import WebPubSubClient
from azure.messaging.webpubsubclient.aio import WebPubSubClient as AsyncWebPubSubClient
from azure.messaging.webpubsubclient.models import CallbackType, WebPubSubDataType


class Happened:
    """What a client's callbacks were told, in order; they may run in any thread."""

    def __init__(self) -> None:
        self.all: list[tuple[CallbackType, Any]] = []
        self._token = trio.lowlevel.current_trio_token()
        self._changed = trio.Event()

    def note(self, kind: CallbackType, *arguments: Any) -> None:
        self._token.run_sync_soon(self._note, kind, arguments[0] if arguments else None)

    def _note(self, kind: CallbackType, argument: Any) -> None:
        self.all.append((kind, argument))
        self._changed.set()
        self._changed = trio.Event()

    def of(self, kind: CallbackType) -> list[Any]:
        return [argument for noted, argument in self.all if noted is kind]

    async def wait_for(self, kind: CallbackType, count: int = 1) -> list[Any]:
        """Wait until something of this kind has happened so often, and give all of it."""
        while len(self.of(kind)) < count:
            await self._changed.wait()
        return self.of(kind)

    async def data(self, count: int, kind: CallbackType = CallbackType.GROUP_MESSAGE) -> list[Any]:
        """Wait for so many messages, and give what they hold. The clients call back in any order."""
        messages = await self.wait_for(kind, count)
        return [bytes(each.data) if isinstance(each.data, memoryview) else each.data for each in messages]


class Official:
    """An open client: methods by name."""

    def __init__(self, happened: Happened, call: Callable[[str, tuple[Any, ...], dict[str, Any]], Any]) -> None:
        self.happened = happened
        self._call = call

    async def __call__(self, name: str, *arguments: Any, **options: Any) -> Any:
        return await trio.to_thread.run_sync(self._call, name, arguments, options)

    async def send(self, group: str, data: Any, data_type: str = "text", **options: Any) -> None:
        """Send to a group; bytes the way in which the client wants them."""
        content = memoryview(data) if isinstance(data, bytes) else data
        await self("send_to_group", group, content, WebPubSubDataType(data_type), **options)


@asynccontextmanager
async def threaded(url: str | Callable[[], str], **options: Any) -> AsyncGenerator[Official]:
    """Open the synchronous client, whose callbacks run in threads.

    It overhears what comes faster than it starts to wait for it, as happens on one machine: that its socket is open,
    and acks. It looks again after its timeouts, which are short for that reason.
    """
    happened = Happened()
    client: Any = WebPubSubClient(_credential(url), **{"start_timeout": 1, "ack_timeout": 1, **options})
    for kind in CallbackType:
        client.subscribe(kind, partial(happened.note, kind))
    await trio.to_thread.run_sync(client.open)
    try:
        yield Official(happened, lambda name, arguments, rest: getattr(client, name)(*arguments, **rest))
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(client.close)


@asynccontextmanager
async def asynchronous(url: str | Callable[[], str], **options: Any) -> AsyncGenerator[Official]:
    """Open the asyncio client in an event loop of its own."""
    happened = Happened()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def run(call: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        async def made_in_the_loop() -> Any:
            return await call()

        return asyncio.run_coroutine_threadsafe(made_in_the_loop(), loop).result()

    client: Any = None

    async def open_it() -> None:
        nonlocal client
        client = AsyncWebPubSubClient(_async_credential(url), **options)
        for kind in CallbackType:
            await client.subscribe(kind, _async_note(happened, kind))
        await client.open()

    def call(name: str, arguments: tuple[Any, ...], rest: dict[str, Any]) -> Any:
        return run(lambda: getattr(client, name)(*arguments, **rest))

    try:
        await trio.to_thread.run_sync(run, open_it)
        try:
            yield Official(happened, call)
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(run, client.close)
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(run, _let_tasks_end)
            loop.call_soon_threadsafe(loop.stop)
            await trio.to_thread.run_sync(thread.join)
            loop.close()


async def _let_tasks_end() -> None:
    """Cancel what the client leaves behind."""
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


def _async_note(happened: Happened, kind: CallbackType) -> Callable[..., Coroutine[Any, Any, None]]:
    async def note(*arguments: Any) -> None:
        happened.note(kind, *arguments)

    return note


def _credential(url: str | Callable[[], str]) -> Any:
    from azure.messaging.webpubsubclient import WebPubSubClientCredential

    return WebPubSubClientCredential(url)


def _async_credential(url: str | Callable[[], str]) -> Any:
    from azure.messaging.webpubsubclient.aio import WebPubSubClientCredential

    async def give() -> str:
        return url if isinstance(url, str) else url()

    return WebPubSubClientCredential(give)
