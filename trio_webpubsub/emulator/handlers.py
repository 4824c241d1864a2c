"""Where the events of clients go: the event handlers of each hub, as its settings name them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, get_args

import httpx

from ..protocol.arguments import check_callable, check_number, check_several, kind_of
from ..protocol.cloudevents import MAX_ANSWER_SIZE
from ..protocol.cloudevents_service import (
    EVENT_TIMEOUT,
    RETRY_DELAYS,
    VALIDATION_INTERVAL,
    VALIDATION_TIMEOUT,
    event_url,
)
from ..protocol.names import check_event, check_hub, check_text
from ..protocol.urls import Address
from .hub import Notice

SystemEvent: TypeAlias = Literal["connect", "connected", "disconnected"]
"""An event of a connection's life. ``connect`` decides whether there will be one."""
GroupEvent: TypeAlias = Literal["joined", "left"]
"""A connection came into a group, or went out of it (a preview of the service)."""
App: TypeAlias = Callable[
    [
        MutableMapping[str, Any],
        Callable[[], Awaitable[MutableMapping[str, Any]]],
        Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ],
    Awaitable[None],
]
"""An ASGI application."""

SYSTEM_EVENTS: tuple[SystemEvent, ...] = get_args(SystemEvent)
GROUP_EVENTS: tuple[GroupEvent, ...] = get_args(GroupEvent)

EVERY_HUB = "_default"
"""The name whose handlers count for hubs that have none of their own."""
APP_URL = "http://localhost/api/webpubsub/hubs/{hub}/"
"""Where an app that comes without settings is asked: the path is that of the official libraries."""


@dataclass(frozen=True, slots=True)
class EventHandler:
    """One event handler of a hub, with the settings that it has in the service.

    Source: the service's documentation, "Event handlers". Group events are a preview.
    """

    url_template: str
    """``http(s)://host/path``, in which ``{hub}`` and ``{event}`` stand for the names."""
    user_events: str = "*"
    """The names of the events that it takes, with commas between them, or ``*`` for all; case does not matter. An empty
    text stands for none."""
    system_events: Collection[SystemEvent] = SYSTEM_EVENTS
    """Those that it takes."""
    group_events: Collection[GroupEvent] = ()
    """Those that it takes."""
    app: App | None = field(default=None, repr=False, kw_only=True)
    """An ASGI app in this process, which is called instead of the URL's host."""

    def __post_init__(self) -> None:
        url = event_url(check_text(self.url_template, "URL"), hub="hub", event="event")
        Address.parse(url)
        try:
            httpx.Request("POST", url)
        except (httpx.InvalidURL, UnicodeError):
            raise ValueError("the address of an event handler has no usable host") from None
        if self.user_events and not self._user_events():
            raise ValueError("user_events holds commas or white space, and no names; an empty text stands for none")
        for name in self._user_events():
            if name != "*":
                check_event(name)
        for chosen, known in ((self.system_events, SYSTEM_EVENTS), (self.group_events, GROUP_EVENTS)):
            if isinstance(chosen, str) or not set(check_several("events", chosen)) <= set(known):
                raise ValueError(f"these events are some of {', '.join(known)}, in a list")
        if self.app is not None:
            check_callable("app", self.app, "scope", "receive", "send")

    def takes_user_event(self, event: str) -> bool:
        """Tell whether it takes a user event of this name."""
        names = self._user_events()
        return "*" in names or event.lower() in names

    def takes(self, event: SystemEvent | GroupEvent) -> bool:
        """Tell whether it takes any other event."""
        return event in self.system_events or event in self.group_events

    def url(self, hub: str, event: str) -> str:
        """Give the URL for an event."""
        return event_url(self.url_template, hub=hub, event=event)

    def _user_events(self) -> list[str]:
        return [
            name
            for part in check_text(self.user_events, "list of user events").split(",")
            if (name := part.strip().lower())
        ]


EventHandlers: TypeAlias = Mapping[str, Sequence[EventHandler | App]] | Sequence[EventHandler | App]
"""Lists of handlers by the name of their hub, ``_default`` for all the others; or one list, for all hubs. A handler is
an `EventHandler`, or a bare ASGI app, which takes every event, at ``/api/webpubsub/hubs/{hub}/``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HandlerLimits:
    """How patient the emulator is with event handlers; times are in seconds.

    The defaults are those of the official emulator.
    """

    timeout: float = EVENT_TIMEOUT
    """For one event, from its first request to the end of the answer."""
    retry_delays: Sequence[float] = RETRY_DELAYS
    """Before each further try, after a network error, 408 or 5xx."""
    validation_timeout: float = VALIDATION_TIMEOUT
    """For asking an event handler whether it wants events at all."""
    validation_interval: float = VALIDATION_INTERVAL
    """Until it is asked again."""
    answer_size: int = MAX_ANSWER_SIZE
    """Bytes of an answer; with more, the event has failed."""
    waiting_notices: int = 1_000
    """Events of one connection that wait to be told; of more, only the last one, ``disconnected``, is told."""

    def __post_init__(self) -> None:
        for name in ("timeout", "validation_timeout", "validation_interval"):
            check_number(name, getattr(self, name))
        for delay in check_several("retry_delays", self.retry_delays):
            check_number("retry_delays", delay, zero=True)
        for name in ("answer_size", "waiting_notices"):
            check_number(name, getattr(self, name), zero=True)


class HandlerTable:
    """Finds the handler of an event: the first one that takes it."""

    def __init__(self, handlers: EventHandlers) -> None:
        """Take the settings.

        Raises:
            ValueError: no hub can be called that.
            TypeError: these are no lists of handlers and apps.
        """
        by_hub = handlers if isinstance(handlers, Mapping) else {EVERY_HUB: handlers}
        self._hubs: dict[str, list[EventHandler]] = {
            name if name == EVERY_HUB else check_hub(name).lower(): [
                _handler(each) for each in check_several("event_handlers", several)
            ]
            for name, several in by_hub.items()
        }

    @property
    def apps(self) -> list[App]:
        """Every ASGI app among the handlers, once."""
        handlers = (handler for several in self._hubs.values() for handler in several)
        return list({id(handler.app): handler.app for handler in handlers if handler.app is not None}.values())

    def of_hub(self, hub: str) -> list[EventHandler]:
        """Give the handlers of a hub; its name is in lower case."""
        return self._hubs.get(hub) or self._hubs.get(EVERY_HUB) or []

    def for_user_event(self, hub: str, event: str) -> EventHandler | None:
        """Find the handler of a user event."""
        return next((handler for handler in self.of_hub(hub) if handler.takes_user_event(event)), None)

    def for_event(self, hub: str, event: SystemEvent | GroupEvent) -> EventHandler | None:
        """Find the handler of any other event."""
        return next((handler for handler in self.of_hub(hub) if handler.takes(event)), None)

    def announced(self, hub: str) -> frozenset[Notice]:
        """Give the notices that are of use; the end of a connection always is, where there are handlers at all."""
        handlers = self.of_hub(hub)
        notices: tuple[Notice, ...] = get_args(Notice)
        return frozenset(
            notice
            for notice in notices
            if any(notice == "disconnected" or handler.takes(notice) for handler in handlers)
        )


def _handler(handler: EventHandler | App) -> EventHandler:
    if isinstance(handler, EventHandler):
        return handler
    app: object = handler
    if isinstance(app, type) or not callable(app):
        raise TypeError(f"an event handler is an EventHandler(url) or an ASGI app, not {kind_of(app)}")
    return EventHandler(APP_URL, group_events=GROUP_EVENTS, app=handler)
