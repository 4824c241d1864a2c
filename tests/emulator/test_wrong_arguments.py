"""What an emulator cannot be opened with or asked for: told with the name, and nothing is broken."""

from __future__ import annotations

import math
import ssl
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any

import pytest
from trio.testing import MockClock

from tests.case_names import shown
from trio_webpubsub.emulator import (
    Emulator,
    EventHandler,
    HandlerLimits,
    HubLimits,
    Limits,
    SelfMadeCertificate,
    open_emulator,
)
from trio_webpubsub.webhooks import WebhookApp

from .peer import open_peer


async def on_user_event(event: object) -> None:
    """What an app calls, and no app."""


OPTIONS: list[dict[str, Any]] = [
    *({"host": value} for value in (None, 5, b"127.0.0.1", "")),
    *({"port": value} for value in ("8080", None, -1, 65_536, 1.5, True)),
    *({"anonymous_hubs": value} for value in ("chat", 5, None)),
    *({"ssl_context": value} for value in (True, "cert.pem", ssl.create_default_context())),
    *({"limits": value} for value in (5, "{}", HubLimits, Limits())),
    *({"handler_limits": value} for value in (5, "{}", HubLimits())),
    *({"listener_limits": value} for value in (5, "{}", HubLimits())),
    *({"kept_messages": value} for value in (None, -1, "3", 1.5, math.inf)),
    *({"kept_bytes": value} for value in (None, -1, "3", 1.5)),
    *({"close_timeout": value} for value in (None, -1, "3", math.nan)),
    *({"random_bytes": value} for value in (None, 5, on_user_event, str)),
    {"handler_connector": None},
    {"in_memory": "no"},
    {"connected_after_recovery": None},
    {"drop_failed_events": "no"},
]


@pytest.mark.parametrize("options", OPTIONS, ids=shown)
async def test_a_wrong_option_is_named(options: dict[str, Any]) -> None:
    (name,) = options
    with pytest.raises((TypeError, ValueError), match=name):
        async with open_emulator(**options):
            pytest.fail("it is not opened")


MORE_OPTIONS: list[tuple[dict[str, Any], str]] = [
    ({"access_key": None}, "an access key is a str"),
    ({"access_key": b"key"}, "an access key is a str"),
    ({"access_key": ""}, "an access key is empty"),
    ({"secondary_key": "Endpoint=http://localhost;AccessKey=canary;"}, "the key alone; this is a connection string"),
    ({"anonymous_hubs": ["a b"]}, "be a hub name"),
    ({"anonymous_hubs": [5]}, "a hub name is a str"),
    ({"event_handlers": "http://localhost/"}, "event_handlers takes several"),
    ({"event_handlers": WebhookApp("chat", access_keys=["key"])}, "event_handlers takes several"),
    ({"event_handlers": ["http://localhost/"]}, r"an EventHandler\(url\) or an ASGI app, not 'str'"),
    ({"event_handlers": [WebhookApp]}, r"an EventHandler\(url\) or an ASGI app, not 'type'"),
    ({"event_handlers": [on_user_event]}, r"^app is called \(scope, receive, send\), which this one does not take"),
    ({"event_handlers": {"a b": []}}, "be a hub name"),
    ({"event_handlers": {"chat": "http://localhost/"}}, "event_handlers takes several"),
]


@pytest.mark.parametrize(("options", "why"), MORE_OPTIONS, ids=range(len(MORE_OPTIONS)))
async def test_keys_hubs_and_handlers_are_checked(options: dict[str, Any], why: str) -> None:
    with pytest.raises((TypeError, ValueError), match=why) as caught:
        async with open_emulator(in_memory=True, **options):
            pytest.fail("it is not opened")
    assert "canary" not in str(caught.value)


Call = Callable[[Any, str], object]

CALLS: list[tuple[str, Call]] = [
    ("be a hub name", lambda it, _: it.client_url("a b")),
    ("a hub name is a str", lambda it, _: it.client_url(None)),
    ("a user id is a str", lambda it, _: it.client_url("chat", user_id=5)),
    ("groups takes several", lambda it, _: it.client_url("chat", groups="lobby")),
    ("roles takes several", lambda it, _: it.client_url("chat", roles=None)),
    ("lifetime of a token is a timedelta, not int", lambda it, _: it.client_url("chat", lifetime=60)),
    ("lifetime of a token must be positive", lambda it, _: it.client_url("chat", lifetime=timedelta(0))),
    ("a hub name is a str", lambda it, _: it.connections(None)),
    ("a hub name is a str", lambda it, _: it.groups(5)),
    ("a hub name is a str", lambda it, _: it.users(b"chat")),
    ("role is 'owner', which is none of", lambda it, _: it.credential("owner")),
    ("stream is a trio.abc.Stream", lambda it, _: it.accept(None)),
    ("has no WebSocket", lambda it, _: it.cut("nobody")),
    ("how is 'rst', which is none of", lambda it, name: it.cut(name, "rst")),
    ("after_bytes is a whole number", lambda it, name: it.cut(name, after_bytes="1")),
    ("how is .*, which is none of", lambda it, name: it.cut_all(name)),
    ("after_bytes is -1", lambda it, _: it.cut_all(after_bytes=-1)),
    ("a connection id is a str", lambda it, _: it.cut(None)),
    ("a connection id is a str", lambda it, _: it.repeat_acks(["c"])),
    ("bytes_per_second is a number", lambda it, _: it.slow_links(None)),
    ("has no WebSocket", lambda it, _: it.slow_links(5, "nobody")),
    ("from 400 to 599, not 200", lambda it, _: it.refuse_connections(200)),
    ("a status is a whole number", lambda it, _: it.refuse_connections("503")),
    ("a status is a whole number", lambda it, _: it.stall_connections(450.5)),
    ("there is no connection 'nobody'", lambda it, _: it.hold_acks("nobody")),
    ("there is no connection 'nobody'", lambda it, _: it.lose_sequence_acks("nobody")),
    ("has no stream", lambda it, name: it.fail_stream(name, "s")),
    ("count is a whole number", lambda it, _: it.refuse_fragments("chat", "1")),
    ("there is no connection 'nobody'", lambda it, _: it.forget_session("nobody")),
    ("keep_state is True or False", lambda it, _: it.restart(keep_state="no")),
]


@pytest.mark.parametrize(("why", "call"), CALLS, ids=range(len(CALLS)))
async def test_a_wrong_argument_is_named(autojump_clock: MockClock, emulator: Emulator, why: str, call: Call) -> None:
    async with open_peer(emulator) as peer:
        with pytest.raises((TypeError, ValueError, LookupError), match=why) as caught:
            made = call(emulator, peer.connection_id)
            if isinstance(made, AbstractContextManager):
                with made:
                    pytest.fail("no such fault begins")
        assert type(caught.value) is not KeyError
        await peer.ask(type="ping")


VALUES: list[tuple[str, Callable[[], object]]] = [
    ("a URL is a str", lambda: EventHandler(WebhookApp("chat", access_keys=["key"]))),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    ("beginning http", lambda: EventHandler("nowhere")),
    ("a list of user events is a str", lambda: EventHandler("http://x", ["a"])),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    ("some of connect, connected", lambda: EventHandler("http://x", "*", "connect")),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    ("events takes several", lambda: EventHandler("http://x", "*", None)),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    ("connections is a number", lambda: HubLimits(connections="5")),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    ("connections is -1", lambda: HubLimits(connections=-1)),
    ("idle_timeout is a number", lambda: Limits(idle_timeout=None)),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    ("body_size is -1", lambda: Limits(body_size=-1)),
    ("timeout is 0", lambda: HandlerLimits(timeout=0)),
    ("retry_delays takes several", lambda: HandlerLimits(retry_delays=1)),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    ("a host is a str", lambda: SelfMadeCertificate(["localhost"])),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    ("a host is empty", lambda: SelfMadeCertificate("")),
]


@pytest.mark.parametrize(("why", "make"), VALUES, ids=range(len(VALUES)))
def test_a_wrong_value_is_told_where_it_is_made(why: str, make: Callable[[], object]) -> None:
    with pytest.raises((TypeError, ValueError), match=why):
        make()
