"""The official WebSocket clients behind one face: two for Python (threads, event loop), and that for JavaScript."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any, Protocol, TypeAlias

import trio
from azure.messaging.webpubsubclient import WebPubSubClient, WebPubSubClientCredential
from azure.messaging.webpubsubclient.aio import WebPubSubClient as AsyncWebPubSubClient
from azure.messaging.webpubsubclient.aio import WebPubSubClientCredential as AsyncWebPubSubClientCredential
from azure.messaging.webpubsubclient.models import CallbackType, SendMessageError, WebPubSubDataType

from tests.interop.node_peer import NODE_MODULES, Node, NodeError, open_node

RELIABLE = "json.reliable.webpubsub.azure.v1"
PLAIN = "json.webpubsub.azure.v1"
_PATIENCE = 45.0


class Refused(Exception):
    """The client says that the service refused something; ``str()`` gives the name of the error."""


class Happened:
    """What a client's callbacks were told, in order: ``connected``, ``group-message`` and so on, with plain values."""

    def __init__(self) -> None:
        self.all: list[tuple[str, dict[str, Any]]] = []
        self._token = trio.lowlevel.current_trio_token()
        self._changed = trio.Event()

    def note_from_any_thread(self, kind: CallbackType, *arguments: Any) -> None:
        value = vars(arguments[0]) if arguments else {}
        self._token.run_sync_soon(self.note, kind.value, value)

    def note(self, kind: str, value: dict[str, Any]) -> None:
        self.all.append((kind, value))
        self._changed.set()
        self._changed = trio.Event()

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [value for noted, value in self.all if noted == kind]

    async def wait_for(self, kind: str, count: int = 1) -> list[dict[str, Any]]:
        """Wait until something of this kind has happened so often, and give all of it."""
        while len(self.of(kind)) < count:
            await self._changed.wait()
        return self.of(kind)

    async def data(self, count: int, kind: str = "group-message") -> list[Any]:
        """Wait for so many messages, and give what they hold. The clients for Python call back in any order."""
        messages = await self.wait_for(kind, count)
        return [bytes(data) if isinstance(data := each["data"], memoryview) else data for each in messages]


class Official(Protocol):
    """An open client."""

    happened: Happened

    async def join(self, group: str) -> None: ...
    async def leave(self, group: str) -> None: ...
    async def send(self, group: str, data: Any, data_type: str = "text", **options: Any) -> None:
        """Send to a group; options are ``no_echo``, ``ack`` and ``ack_id``."""

    async def send_event(self, event: str, data: Any, data_type: str = "text", **options: Any) -> None:
        """Send an event; options are ``ack`` and ``ack_id``."""


OpenOfficial: TypeAlias = Callable[..., AbstractAsyncContextManager[Official]]
"""Takes a URL and ``subprotocol``, ``retries`` of messages, and whether to ``reconnect``."""


class PythonOfficial:
    def __init__(self, happened: Happened, call: Callable[[str, tuple[Any, ...], dict[str, Any]], Any]) -> None:
        self.happened = happened
        self._call = call

    async def join(self, group: str) -> None:
        await self._do("join_group", group)

    async def leave(self, group: str) -> None:
        await self._do("leave_group", group)

    async def send(self, group: str, data: Any, data_type: str = "text", **options: Any) -> None:
        await self._do("send_to_group", group, _content(data), WebPubSubDataType(data_type), **options)

    async def send_event(self, event: str, data: Any, data_type: str = "text", **options: Any) -> None:
        await self._do("send_event", event, _content(data), WebPubSubDataType(data_type), **options)

    async def _do(self, name: str, *arguments: Any, **options: Any) -> None:
        try:
            await trio.to_thread.run_sync(self._call, name, arguments, options)
        except SendMessageError as error:
            raise Refused(error.error_detail.name if error.error_detail else "") from error


def _content(data: Any) -> Any:
    return memoryview(data) if isinstance(data, bytes) else data


def _python_options(subprotocol: str, retries: int, *, reconnect: bool) -> dict[str, Any]:
    return {
        "protocol_type": subprotocol,
        "message_retry_total": retries,
        "message_retry_backoff_factor": 0.5,
        "reconnect_retry_total": 3 if reconnect else 0,
        "ack_timeout": 1,
    }


@asynccontextmanager
async def threaded(
    url: str, *, subprotocol: str = RELIABLE, retries: int = 3, reconnect: bool = True
) -> AsyncGenerator[Official]:
    """Open the synchronous client, whose callbacks run in threads.

    It overhears what comes faster than it starts to wait for it, as happens on one machine: that its socket is open,
    and acks. It looks again after its timeouts, which are short for that reason.
    """
    happened = Happened()
    options = _python_options(subprotocol, retries, reconnect=reconnect)
    client: Any = WebPubSubClient(WebPubSubClientCredential(url), start_timeout=1, **options)
    for kind in CallbackType:
        client.subscribe(kind, partial(happened.note_from_any_thread, kind))
    await trio.to_thread.run_sync(client.open)
    try:
        yield PythonOfficial(happened, lambda name, arguments, rest: getattr(client, name)(*arguments, **rest))
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(client.close)


@asynccontextmanager
async def asynchronous(
    url: str, *, subprotocol: str = RELIABLE, retries: int = 3, reconnect: bool = True
) -> AsyncGenerator[Official]:
    """Open the asyncio client in an event loop of its own."""
    happened = Happened()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def run(call: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        async def made_in_the_loop() -> Any:
            return await call()

        # Nobody can cancel a thread: where the client waits for ever, the test has to end all the same.
        return asyncio.run_coroutine_threadsafe(made_in_the_loop(), loop).result(_PATIENCE)

    async def url_provider() -> str:
        return url

    client: Any = None

    async def open_it() -> None:
        nonlocal client
        options = _python_options(subprotocol, retries, reconnect=reconnect)
        client = AsyncWebPubSubClient(AsyncWebPubSubClientCredential(url_provider), **options)
        for kind in CallbackType:
            await client.subscribe(kind, _async_note(happened, kind))
        await client.open()

    def call(name: str, arguments: tuple[Any, ...], rest: dict[str, Any]) -> Any:
        return run(lambda: getattr(client, name)(*arguments, **rest))

    try:
        await trio.to_thread.run_sync(run, open_it)
        try:
            yield PythonOfficial(happened, call)
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
        happened.note_from_any_thread(kind, *arguments)

    return note


_PYTHON_NAMES = {
    "connectionId": "connection_id",
    "userId": "user_id",
    "fromUserId": "from_user_id",
    "dataType": "data_type",
}


class NodeOfficial:
    def __init__(self, node: Node) -> None:
        self.happened = Happened()
        self.node = node
        node.told = self._note

    def _note(self, kind: str, value: Any) -> None:
        named = {_PYTHON_NAMES.get(name, name): each for name, each in (value or {}).items()}
        if kind == "disconnected" and isinstance(named.get("message"), dict):
            named["message"] = named["message"].get("message")
        self.happened.note(kind, named)

    async def join(self, group: str) -> None:
        await self._do("joinGroup", group)

    async def leave(self, group: str) -> None:
        await self._do("leaveGroup", group)

    async def send(self, group: str, data: Any, data_type: str = "text", **options: Any) -> None:
        await self._do("sendToGroup", group, data, data_type, _node_options(**options))

    async def send_event(self, event: str, data: Any, data_type: str = "text", **options: Any) -> None:
        await self._do("sendEvent", event, data, data_type, _node_options(**options))

    async def _do(self, name: str, *arguments: Any) -> None:
        try:
            await self.node.do(name, *arguments, on="client")
        except NodeError as error:
            raise Refused((error.detail or {}).get("name", "")) from error


def _node_options(*, no_echo: bool = False, ack: bool = True, ack_id: int | None = None) -> dict[str, Any]:
    given = {} if ack_id is None else {"ackId": ack_id}
    return {"noEcho": no_echo, "fireAndForget": not ack, **given}


@asynccontextmanager
async def node(
    url: str, *, subprotocol: str = RELIABLE, retries: int = 3, reconnect: bool = True
) -> AsyncGenerator[Official]:
    """Open the JavaScript client."""
    async with open_node() as process:
        official = NodeOfficial(process)
        options = {
            "protocol": subprotocol,
            "autoReconnect": reconnect,
            "messageRetryOptions": {"maxRetries": retries, "retryDelayInMs": 10},
            "reconnectRetryOptions": {"retryDelayInMs": 10},
        }
        await process.do("openClient", url, options)
        yield official


KINDS: dict[str, OpenOfficial] = {"threaded": threaded, "asyncio": asynchronous}
if NODE_MODULES is not None:
    KINDS["node"] = node
