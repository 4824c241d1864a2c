"""What type checkers see of the webhook app. Nothing here is run: mypy and pyright read it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from datetime import datetime
from typing import Any, Literal, TypedDict, assert_type

import trio

from trio_webpubsub.webhooks import (
    Accept,
    ConnectedEvent,
    ConnectionState,
    ConnectRequest,
    DisconnectedEvent,
    EntraVerifier,
    GroupJoinedEvent,
    GroupLeftEvent,
    HttpAnswer,
    MqttConnect,
    MqttDisconnect,
    MqttMessage,
    MqttSession,
    Reject,
    Reply,
    StoredState,
    UserEvent,
    WebhookApp,
    serve_webhooks,
)


async def on_connect(request: ConnectRequest) -> Accept | Reject | None:
    assert_type(request.user_id, str | None)
    assert_type(request.time, datetime | None)
    assert_type(request.claims, Mapping[str, Sequence[str]])
    assert_type(request.state, ConnectionState)
    assert_type(request.mqtt, MqttConnect | None)
    request.state["count"] = 1
    return Accept(groups=["lobby"]) if request.subprotocols else Reject(403, "No.")


async def always(request: ConnectRequest) -> Accept:
    return Accept(user_id=request.user_id)


async def on_user_event(event: UserEvent) -> object:
    assert_type(event.name, str)
    assert_type(event.data, Any)
    assert_type(event.metadata, Mapping[str, str])
    assert_type(event.decode_as(list[int]), list[int])
    assert_type(event.mqtt, MqttMessage | None)
    return Reply("hi", data_type="json")


async def on_text(event: UserEvent) -> str | None:
    return event.data if event.data_type == "text" else None


async def on_connected(event: ConnectedEvent) -> None:
    assert_type(event.state, StoredState)
    assert_type(event.mqtt, MqttSession | None)
    event.state["count"] = 1  # type: ignore[index]  # pyright: ignore[reportIndexIssue]


async def on_disconnected(event: DisconnectedEvent) -> None:
    assert_type(event.reason, str)
    assert_type(event.mqtt, MqttDisconnect | None)


async def on_group(event: GroupJoinedEvent | GroupLeftEvent) -> None:
    assert_type(event.group, str)


def not_async(request: ConnectRequest) -> None:
    del request


async def use(verifier: EntraVerifier) -> None:
    app = WebhookApp(
        "chat",
        authenticate=verifier,
        on_connect=on_connect,
        on_user_event=on_user_event,
        on_connected=on_connected,
        on_disconnected=on_disconnected,
        on_group_joined=on_group,
        on_group_left=on_group,
    )
    WebhookApp("chat", on_connect=always, on_user_event=on_text)
    WebhookApp("chat", on_connect=not_async)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    WebhookApp("chat", on_connect=on_text)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert_type(await app.handle_request("POST", "/", {}, b""), HttpAnswer)
    async with trio.open_nursery() as nursery:
        ports: tuple[int, ...] = await nursery.start(serve_webhooks, app, "localhost", 8080)
        del ports


class Scope(TypedDict):
    """What a server passes whose messages have types of their own, as Hypercorn's."""

    type: Literal["http"]
    path: str


class Message(TypedDict):
    """One of its messages."""

    type: Literal["http.request"]
    body: bytes


def serve(
    app: Callable[[Scope, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], object],
) -> None:
    """Stands for such a server."""
    del app


def mount(
    app: Callable[
        [
            MutableMapping[str, Any],
            Callable[[], Awaitable[MutableMapping[str, Any]]],
            Callable[[MutableMapping[str, Any]], Awaitable[None]],
        ],
        Awaitable[None],
    ],
) -> None:
    """Stands for a framework that passes mappings, as Starlette."""
    del app


def serving(app: WebhookApp) -> None:
    """Every kind of server takes the app."""
    serve(app)
    mount(app)


async def mistakes(app: WebhookApp, request: ConnectRequest) -> None:
    """What is wrong for the checkers, though it may be long before it shows when it runs."""
    WebhookApp("chat", ["key"])  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    WebhookApp("chat", on_connect=always(request))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    WebhookApp("chat", on_message=on_text)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    Accept("ann")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    Accept(groups=5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Reject("no")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Reply("hi", "json")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    Reply("hi", metadata={"a": 1})  # type: ignore[dict-item]  # pyright: ignore[reportArgumentType]
    app.handle_request("POST", "/", {}, b"")  # type: ignore[unused-coroutine]  # pyright: ignore[reportUnusedCoroutine]
    await app.handle_request("POST", "/", {}, "{}")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await serve_webhooks(app, 8080, "localhost")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
