"""What type checkers see of the emulator. Nothing here is run: mypy and pyright read it."""

from __future__ import annotations

import ssl
from functools import partial
from typing import assert_type

import httpx
import trio

from trio_webpubsub import Connector, open_client
from trio_webpubsub.emulator import (
    EmulatedConnection,
    Emulator,
    EventHandler,
    HandlerLimits,
    HubLimits,
    Limits,
    Received,
    ReceivedMessage,
    ReceivedRequest,
    SelfMadeCertificate,
    open_emulator,
    serve_emulator,
)
from trio_webpubsub.service import open_service
from trio_webpubsub.webhooks import WebhookApp


async def opening(app: WebhookApp, certificate: SelfMadeCertificate) -> None:
    async with open_emulator() as emulator:
        assert_type(emulator, Emulator)
        assert_type(emulator.endpoint, str)
        assert_type(emulator.connection_string, str)
        assert_type(emulator.http_transport, httpx.AsyncBaseTransport)
        connector: Connector = emulator.connector
        async with open_client(emulator.client_url("chat", user_id="ann"), connector=connector):
            pass
        async with open_service(emulator.endpoint, "chat", credential=emulator.credential()):
            pass
    open_emulator(
        in_memory=True,
        limits=HubLimits(connections=5),
        handler_limits=HandlerLimits(timeout=5),
        listener_limits=Limits(body_size=5),
        event_handlers={"chat": [EventHandler("http://localhost/{event}", "a,b", ["connect"]), app]},
    )
    assert_type(certificate.server_context, ssl.SSLContext)
    open_emulator(event_handlers=[app], ssl_context=certificate.server_context)
    open_emulator(8080)  # type: ignore[arg-type, call-arg]  # pyright: ignore[reportCallIssue]
    open_emulator(port="8080")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    open_emulator(event_handlers=["http://localhost/"])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    open_emulator(limits=Limits())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    EventHandler("http://localhost/", system_events=["joined"])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    with open_emulator():  # type: ignore[attr-defined]  # pyright: ignore[reportGeneralTypeIssues]
        pass
    await open_emulator()  # type: ignore[misc]  # pyright: ignore[reportGeneralTypeIssues]
    open_emulator().client_url("chat")  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]


async def serving() -> None:
    async with trio.open_nursery() as nursery:
        emulator: Emulator = await nursery.start(partial(serve_emulator, port=0, in_memory=True))  # type: ignore[call-arg]  # pyright: ignore[reportArgumentType]
        del emulator
        await nursery.start(partial(serve_emulator, port=0, anonymous_hubs=["*"]))


async def looking(emulator: Emulator) -> None:
    assert_type(emulator.connections("chat"), list[EmulatedConnection])
    assert_type(emulator.connections("chat")[0].groups, frozenset[str])
    assert_type(emulator.groups("chat"), dict[str, list[str]])
    assert_type(emulator.users("chat"), dict[str, list[str]])
    assert_type(emulator.received(), list[Received])
    for each in emulator.received():
        match each:
            case ReceivedMessage():
                assert_type(each.ack_id, int | None)
            case ReceivedRequest():
                assert_type(each.status, int)
                assert_type(each.refusal, str | None)
    assert_type(emulator.received_dropped, int)
    emulator.credential("owner")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def breaking(emulator: Emulator) -> None:
    emulator.cut("c-1", "eof", after_bytes=3)
    with emulator.refuse_connections(401), emulator.slow_links(1000), emulator.hold_acks("c-1"):
        pass
    emulator.cut("c-1", "rst")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    emulator.refuse_connections("401")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    async with emulator.refuse_connections():  # type: ignore[attr-defined]  # pyright: ignore[reportGeneralTypeIssues]
        pass
