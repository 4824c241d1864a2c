"""``webhook``: serves an event handler that prints what it is told, and answers what the options say."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import trio

from ..protocol.connection_string import ConnectionString
from ..webhooks import (
    Accept,
    ConnectedEvent,
    ConnectRequest,
    DisconnectedEvent,
    EventRejected,
    GroupJoinedEvent,
    GroupLeftEvent,
    Reject,
    Reply,
    UserEvent,
    WebhookApp,
    serve_webhooks,
)
from . import output
from .live_log import LiveLog
from .options import ACCESS_KEY_VARIABLE, CONNECTION_STRING_VARIABLE, add_hub, full_roles, read_hub, read_user_id
from .payload import value_of
from .rendering import json_line, printable, text_of
from .terminal import Painter, Part, notice

_DEFAULT_PORT = 3000
_PATH = "/api/webpubsub/hubs/{hub}/"
_CLOSE_TIMEOUT = 3.0

_EXAMPLES = f"""\
Without options every client may connect as its token says, and events succeed
without an answer. For the service itself put a tunnel before it, and the
address of that into the hub's settings. Ctrl-C and SIGTERM let what is being
answered finish, and exit with 0. Lines that nobody reads are dropped and
counted. Headers of clients, which may be secrets, are not shown.

examples:
  trio-webpubsub webhook --hub chat
  trio-webpubsub emulator --event-handler 'http://localhost:{_DEFAULT_PORT}{_PATH}{{event}}'
  trio-webpubsub webhook --hub chat --reply 'Thank you.'
  trio-webpubsub webhook --hub chat --user-id ann --role joinLeaveGroup
  trio-webpubsub webhook --hub chat --reject 403
  trio-webpubsub webhook --hub chat --json --allowed-origin my.example"""


def describe(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    parser.description = """\
Serve an event handler that prints events, and answers as told, until Ctrl-C
or SIGTERM."""
    parser.epilog = _EXAMPLES
    add_hub(parser)
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (%(default)s)")
    parser.add_argument(
        "--port", type=int, default=_DEFAULT_PORT, help="the port to listen on, 0 for a free one (%(default)s)"
    )
    parser.add_argument("--path", default=_PATH, help="where events come in, and below it (%(default)s)")
    parser.add_argument("--json", action="store_true", help="print each event as a JSON object on a line")
    parser.add_argument(
        "--allowed-origin",
        action="append",
        metavar="HOST",
        help="a service that may send events, by host name or URL; can be given several times; by default every one",
    )
    parser.add_argument(
        "--access-key",
        action="append",
        metavar="KEY",
        help="events have to be signed with this key or another one; can be given several times. By default"
        f" {ACCESS_KEY_VARIABLE} of the environment, or the key in {CONNECTION_STRING_VARIABLE}, where others on this"
        " machine cannot see it. An empty one takes unsigned events",
    )
    parser.add_argument(
        "--reject",
        type=int,
        nargs="?",
        const=401,
        metavar="STATUS",
        help="let no client connect; the status is one from 400 to 599 (%(const)s)",
    )
    parser.add_argument("--user-id", metavar="ID", help="who each client that connects is")
    parser.add_argument(
        "--role", action="append", metavar="ROLE", help="what each client may do; can be given several times"
    )
    parser.add_argument(
        "--group",
        action="append",
        metavar="GROUP",
        help="a group that each client is in from the beginning; can be given several times",
    )
    parser.add_argument("--reply", metavar="DATA", help="what the sender of an event gets for an answer")
    parser.add_argument("--type", choices=("text", "json"), default="text", help="as what it is sent (%(default)s)")
    parser.add_argument(
        "--fail", type=int, metavar="STATUS", help="refuse the events of clients, with a status from 400 to 599"
    )


async def run(options: argparse.Namespace) -> int:
    """Serve to the first signal.

    Raises:
        OSError: it cannot listen there.
        ValueError: the options cannot be used.
    """
    if not 0 <= options.port <= 65_535:
        raise ValueError(f"a port is a number from 0 to 65535, not {options.port}")
    hub = read_hub(options)
    live_log = LiveLog(output.write_or_drop)
    app = _app(hub, options, Handlers(options, live_log.write_line))
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(live_log.run)
            async with trio.open_nursery() as serving:
                serve = partial(serve_webhooks, app, options.host, options.port, stop_timeout=_CLOSE_TIMEOUT)
                ports: tuple[int, ...] = await serving.start(serve)
                notice(f"Events come in at {_url(hub, options, ports[0])}. Ctrl-C ends it.")
                await anext(signals)
                serving.cancel_scope.cancel()
            await live_log.finish()
            nursery.cancel_scope.cancel()
    return 0


def _url(hub: str, options: argparse.Namespace, port: int) -> str:
    host = f"[{options.host}]" if ":" in options.host else options.host
    return f"http://{host}:{port}{options.path.replace('{hub}', hub).rstrip('/')}/{{event}}"


def _app(hub: str, options: argparse.Namespace, handlers: Handlers) -> WebhookApp:
    return WebhookApp(
        hub,
        access_keys=_access_keys(options),
        allowed_origins=options.allowed_origin,
        path=options.path,
        on_connect=handlers.connect,
        on_user_event=handlers.user_event,
        on_connected=handlers.connected,
        on_disconnected=handlers.disconnected,
        on_group_joined=handlers.group_joined,
        on_group_left=handlers.group_left,
    )


def _access_keys(options: argparse.Namespace) -> list[str]:
    keys: list[str] | None = options.access_key
    if keys is not None:
        return [key for key in keys if key]
    if key := os.environ.get(ACCESS_KEY_VARIABLE):
        return [key]
    if text := os.environ.get(CONNECTION_STRING_VARIABLE):
        return [ConnectionString.parse(text).access_key]
    return []


class Handlers:
    """Prints events, and gives the same answer to all of a kind."""

    def __init__(self, options: argparse.Namespace, write_line: Callable[[str], None]) -> None:
        """Check what is to be answered.

        Raises:
            ValueError: it cannot be.
        """
        self._as_json: bool = options.json
        self._write_line = write_line
        self._painter = Painter(sys.stdout)
        roles = None if options.role is None else full_roles(options.role)
        accept = Accept(user_id=read_user_id(options), roles=roles, groups=options.group)
        self._connect: Accept | Reject = accept if options.reject is None else Reject(options.reject)
        self._reply: Reply | None = None
        if options.reply is not None:
            data = value_of(os.fsencode(options.reply), options.type, "the --reply")
            self._reply = Reply(data, data_type=options.type)
        self._fail: int | None = options.fail
        if self._fail is not None:
            EventRejected(self._fail)  # which checks it

    async def connect(self, request: ConnectRequest) -> Accept | Reject:
        """Answer a client that wants to connect."""
        rejected = isinstance(self._connect, Reject)
        self._tell(
            request,
            "connect",
            f" rejected with {self._connect.status}" if isinstance(self._connect, Reject) else " accepted",
            {
                "claims": {name: list(values) for name, values in request.claims.items()},
                "query": {name: list(values) for name, values in request.query.items()},
                "subprotocols": list(request.subprotocols),
                "accepted": not rejected,
            },
        )
        return self._connect

    async def user_event(self, event: UserEvent) -> Reply | None:
        """Answer an event of a client."""
        data = text_of(event.data, event.data_type)
        if event.data_error is not None:
            data = f"({event.data_error}) {text_of(event.raw, event.data_type)}"
        self._tell(
            event,
            printable(event.name),
            f" {data}",
            {
                "dataType": event.data_type,
                "data": event.data,
                "metadata": dict(event.metadata) or None,
                "dataError": event.data_error,
                "raw": event.raw,
            },
        )
        if self._fail is not None:
            raise EventRejected(self._fail, "told so on the command line")
        return self._reply

    async def connected(self, event: ConnectedEvent) -> None:
        """Tell of a client that has connected."""
        self._tell(event, "connected", "", {})

    async def disconnected(self, event: DisconnectedEvent) -> None:
        """Tell of a client that has gone."""
        self._tell(
            event, "disconnected", f" {printable(event.reason)}" if event.reason else "", {"reason": event.reason}
        )

    async def group_joined(self, event: GroupJoinedEvent) -> None:
        """Tell of a group that has a new member."""
        self._tell(event, "joined", f" {printable(event.group)}", {"group": event.group})

    async def group_left(self, event: GroupLeftEvent) -> None:
        """Tell of a group that has lost a member."""
        self._tell(event, "left", f" {printable(event.group)}", {"group": event.group})

    def _tell(
        self,
        event: ConnectRequest | UserEvent | ConnectedEvent | DisconnectedEvent | GroupJoinedEvent | GroupLeftEvent,
        name: str,
        text: str,
        more: dict[str, Any],
    ) -> None:
        if self._as_json:
            self._write_line(
                json_line(
                    {
                        "event": name,
                        "kind": "user" if isinstance(event, UserEvent) else "system",
                        "connectionId": event.connection_id,
                        "userId": event.user_id,
                        "time": event.time and event.time.isoformat(),
                        **more,
                    }
                )
            )
            return
        who: Part = (f"({printable(event.user_id)})" if event.user_id else "(-)", "green")
        now = time.strftime("%H:%M:%S")
        self._write_line(self._painter.paint(f"{now} {event.connection_id} ", who, " ", (name, "cyan"), text))
