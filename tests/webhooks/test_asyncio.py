"""The app under asyncio, where servers such as uvicorn run; its handlers then belong to asyncio as well."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest

from tests.webhooks.service import KEY, USER_EVENT, send
from trio_webpubsub.webhooks import EventRejected, UserEvent, WebhookApp


async def echo(event: UserEvent) -> object:
    await asyncio.sleep(0)
    return event.data


def app_with(handler: Any, **options: Any) -> WebhookApp:
    return WebhookApp("chat", access_keys=[KEY], on_user_event=handler, **options)


@pytest.mark.parametrize("timeout", [30, math.inf])
def test_an_event_is_handled(timeout: float) -> None:
    response = asyncio.run(send(app_with(echo, handler_timeout=timeout), USER_EVENT))
    assert (response.status_code, response.text) == (200, "hi")


def test_a_handler_past_its_deadline_is_cancelled() -> None:
    ended: list[str] = []

    async def hang(_: UserEvent) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("handler")

    assert asyncio.run(send(app_with(hang, handler_timeout=0.001), USER_EVENT)).status_code == 504
    assert ended == ["handler"]


@pytest.mark.parametrize(("error", "status"), [(TimeoutError(), 400), (EventRejected(409), 409)])
def test_what_a_handler_raises_is_its_own(error: Exception, status: int) -> None:
    async def fail(_: UserEvent) -> None:
        await asyncio.sleep(0)
        raise error

    assert asyncio.run(send(app_with(fail), USER_EVENT)).status_code == status


def test_an_event_that_comes_again_while_it_is_handled_is_handled_once() -> None:
    calls: list[UserEvent] = []

    async def count(event: UserEvent) -> int:
        calls.append(event)
        await asyncio.sleep(0)
        return len(calls)

    async def ask() -> list[str]:
        app = app_with(count, remember_events=5)
        return [response.text for response in await asyncio.gather(*(send(app, USER_EVENT) for _ in range(3)))]

    assert asyncio.run(ask()) == ["1", "1", "1"]
