"""What an app, its server and its replies cannot be: told where it is written, with what is right."""

from __future__ import annotations

import math
import ssl
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from tests.case_names import shown
from trio_webpubsub.webhooks import Accept, EntraVerifier, EventRejected, Reject, Reply, WebhookApp, serve_webhooks

KEY = "key"


async def handler(event: object) -> None: ...


def not_async(event: object) -> None: ...


async def two(event: object, more: object) -> None: ...


async def no_arguments() -> None: ...


async def forever(event: object) -> Any:  # noqa: ASYNC900  # which is the mistake
    yield event


HANDLERS = (
    *("authenticate", "on_connect", "on_user_event", "on_connected"),
    *("on_disconnected", "on_group_joined", "on_group_left"),
)


@pytest.mark.parametrize("name", HANDLERS)
@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ("handler", "is an async function, not 'str'"),
        (True, "is an async function, not 'bool'"),
        (no_arguments, r"is called \(\w+\), which this one does not take: too many"),
        (two, r"is called \(\w+\), which this one does not take: missing a required argument: 'more'"),
        (forever, "is an async function, not an async generator"),
        (not_async, "is an async function, and not_async is not: write async def"),
        (EntraVerifier, r"is called \(\w+\), which this one does not take"),
    ],
    ids=shown,
)
def test_what_is_no_handler_is_told_by_its_name(name: str, wrong: Any, why: str) -> None:
    options: dict[str, Any] = {name: wrong}
    with pytest.raises(TypeError, match=f"{name} {why}"):
        WebhookApp("chat", access_keys=[KEY], **options)


def test_a_handler_that_was_called_is_told() -> None:
    called: Any = handler(None)
    with pytest.raises(TypeError, match=r"on_connect is an async function; .* called already"):
        WebhookApp("chat", access_keys=[KEY], on_connect=called)


OPTIONS: list[dict[str, Any]] = [
    *({"access_keys": value} for value in (KEY, None, 5, [b"key"], [""])),
    *({"allowed_origins": value} for value in ("example.com", 5, [5], [""])),
    *({"path": value} for value in (None, 5, b"/events", "events", "/{hub}/{event}", "https://example.com/")),
    *({"handler_timeout": value} for value in (None, 0, "3", math.nan, True)),
    *({"remember_events": value} for value in (None, -1, "3", 1.5, math.inf)),
    *({"max_body_size": value} for value in (None, -1, "3", 1.5)),
    {"retry_on_error": "no"},
]


@pytest.mark.parametrize("options", OPTIONS, ids=shown)
def test_a_wrong_option_is_named(options: dict[str, Any]) -> None:
    (name,) = options
    options = {"access_keys": [KEY], **options}
    with pytest.raises((TypeError, ValueError), match=name.removeprefix("allowed_")):
        WebhookApp("chat", **options)


def test_a_connection_string_is_no_key() -> None:
    with pytest.raises(ValueError, match="the key alone; this is a connection string") as caught:
        WebhookApp("chat", access_keys=["Endpoint=https://example.com;AccessKey=canary;"])
    assert "canary" not in str(caught.value)


REQUEST: dict[str, Any] = {"method": "POST", "path": "/", "headers": {}, "body": b""}


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"method": None}, "a method is a str"),
        ({"path": b"/"}, "a path is a str"),
        ({"headers": [("a", "b")]}, "headers is a mapping of str to str"),
        ({"headers": None}, "headers is a mapping of str to str"),
        ({"headers": {5: "a"}}, "a header's name is a str, not int"),
        ({"headers": {"a": [b"b"]}}, "a header's value is a str, not list"),
        ({"body": "{}"}, "body is bytes, as they came; this is 'str'"),
        ({"body": None}, "body is bytes, as they came"),
    ],
    ids=shown,
)
async def test_a_request_handed_over_is_checked(wrong: dict[str, Any], why: str) -> None:
    app = WebhookApp("chat", access_keys=[KEY])
    with pytest.raises(TypeError, match=why):
        await app.handle_request(**{**REQUEST, **wrong})


@pytest.mark.parametrize(
    ("arguments", "options", "why"),
    [
        ((WebhookApp,), {}, "app is a WebhookApp; other ASGI apps need a server of their own"),
        ((handler,), {}, "app is a WebhookApp"),
        ((..., 8080, "localhost"), {}, "host is a str or None; this is 'int'"),
        ((..., "localhost", "80"), {}, "port is a whole number"),
        ((..., "localhost", 65_536), {}, "port is 65536; it must be 0 to 65535"),
        ((...,), {"ssl_context": True}, "ssl_context is an ssl.SSLContext or None"),
        ((...,), {"ssl_context": ssl.create_default_context()}, "ssl_context is for clients"),
        ((...,), {"stop_timeout": -1}, "stop_timeout is -1"),
    ],
    ids=shown,
)
async def test_a_server_that_cannot_be_is_told(arguments: tuple[Any, ...], options: dict[str, Any], why: str) -> None:
    app: Any = WebhookApp("chat", access_keys=[KEY])
    with pytest.raises((TypeError, ValueError), match=why):
        await serve_webhooks(*(app if each is ... else each for each in arguments), **options)


VALUES: list[tuple[str, Callable[..., object], Any]] = [
    ("groups takes several", Accept, {"groups": 5}),
    ("roles takes several", Accept, {"roles": "webpubsub.sendToGroup"}),
    ("a group name is a str", Accept, {"groups": [b"lobby"]}),
    ("it is written 'webpubsub.sendToGroup'", Accept, {"roles": ["sendToGroup"]}),
    ("a user id is a str", Accept, {"user_id": 5}),
    ("mqtt_user_properties are pairs", Accept, {"mqtt_user_properties": {"a": "b"}}),
    ("mqtt_user_properties is .* pairs", Accept, {"mqtt_user_properties": "ab"}),
    ("a status is a whole number from 400", Reject, {"status": "no"}),
    ("a status is a whole number from 400", Reject, {"status": None}),
    ("from 400 to 599, not 200", Reject, {"status": 200}),
    ("a reason is a str", Reject, {"reason": b"no"}),
    ("mqtt_code is a whole number", Reject, {"mqtt_code": "no"}),
    ("code is 256; it must be 0 to 255", Reject.with_mqtt_code, {"code": 256}),
    ("code is a whole number", Reject.with_mqtt_code, {"code": None}),
    ("data_type is 'xml', which is none of", Reply, {"data_type": "xml"}),
    ("metadata is a mapping", Reply, {"metadata": [("a", "b")]}),
    ("a metadata value is a str", Reply, {"metadata": {"a": 1}}),
    ("mqtt_user_properties is a mapping", Reply, {"mqtt_user_properties": [("a", "b")]}),
    ("value of an MQTT property is a str", Reply, {"mqtt_user_properties": {"a": 1}}),
    ("a status is a whole number from 400", EventRejected, {"status": "no"}),
    ("message is a str", EventRejected, {"message": 5}),
    ("tenant_id is a str", partial(EntraVerifier, audience="a", callers=["c"]), {"tenant_id": None}),
    ("audience takes several", partial(EntraVerifier, tenant_id="t", callers=["c"]), {"audience": None}),
    ("callers takes several", partial(EntraVerifier, tenant_id="t", audience="a"), {"callers": "c"}),
    ("keys is no JSON Web Key Set", partial(EntraVerifier, tenant_id="t", audience="a", callers=["c"]), {"keys": {}}),
    (
        "authority is a URL, https://",
        partial(EntraVerifier, tenant_id="t", audience="a", callers=["c"], authority="x"),
        {},
    ),
    ("keys is a mapping", partial(EntraVerifier, tenant_id="t", audience="a", callers=["c"]), {"keys": []}),
]


@pytest.mark.parametrize(("why", "make", "arguments"), VALUES, ids=range(len(VALUES)))
def test_a_wrong_value_is_told_where_it_is_made(why: str, make: Callable[..., object], arguments: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=why):
        make(**arguments)
