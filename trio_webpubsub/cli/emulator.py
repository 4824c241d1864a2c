"""``emulator``: runs the service on this machine."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import ssl
from collections.abc import AsyncIterator, Callable, Collection, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import trio

from ..emulator import (
    DEFAULT_ACCESS_KEY,
    DEFAULT_PORT,
    Emulator,
    EventHandler,
    SelfMadeCertificate,
    SystemEvent,
    open_emulator,
)
from ..emulator.handlers import EVERY_HUB, SYSTEM_EVENTS
from . import output
from .live_log import LiveLog
from .options import ACCESS_KEY_VARIABLE, not_empty

_INTERRUPTED = 130

_EXAMPLES = """\
Ctrl-C and SIGTERM close all clients, wait three seconds at most, and exit
with 0; a second one waits for nobody and exits with 130. Lines that nobody
reads hold nothing up: they are dropped and counted.

examples:
  trio-webpubsub emulator
  trio-webpubsub emulator --event-handler 'http://localhost:3000/api/webpubsub/hubs/{hub}/{event}'
  trio-webpubsub emulator --tls-self-made authority.pem
  AZURE_WEBPUBSUB_ACCESS_KEY=... trio-webpubsub emulator --host 0.0.0.0"""


def describe(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    parser.description = """\
Run the service on this machine until Ctrl-C or SIGTERM, and tell of the
connections and messages that come."""
    parser.epilog = _EXAMPLES
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (%(default)s)")
    parser.add_argument(
        "--port", type=int, default=DEFAULT_PORT, help="the port to listen on, 0 for a free one (%(default)s)"
    )
    parser.add_argument("--hub", type=not_empty, help="the hub that the settings below are for; by default every hub")
    parser.add_argument("--anonymous", action="store_true", help="let clients in that have no token")
    parser.add_argument(
        "--event-handler", metavar="URL", help="where the events of clients go; {hub} and {event} stand for the names"
    )
    parser.add_argument(
        "--user-events", metavar="NAMES", help="the user events that go there, with commas between them (all)"
    )
    parser.add_argument(
        "--system-events",
        metavar="NAMES",
        help=f"the system events that go there, with commas between them ({','.join(SYSTEM_EVENTS)})",
    )
    parser.add_argument(
        "--access-key",
        metavar="KEY",
        help=f"signs and checks all tokens; by default {ACCESS_KEY_VARIABLE} of the environment, where others on this"
        f" machine cannot see it, or {DEFAULT_ACCESS_KEY}, which everybody knows",
    )
    parser.add_argument("--secondary-key", metavar="KEY", help="what it signed is good as well")
    parser.add_argument("--tls-cert", metavar="FILE", help="speak TLS, with the certificate (PEM) in this file")
    parser.add_argument("--tls-key", metavar="FILE", help="the certificate's key, if it is in another file")
    parser.add_argument(
        "--tls-self-made",
        metavar="FILE",
        help="speak TLS with a certificate made on the spot (takes the extra tls), and write to this file the"
        " authority that clients have to trust",
    )


async def run(options: argparse.Namespace) -> int:
    """Serve to the first signal, then take leave of the clients; after a second one of none.

    Raises:
        OSError: it cannot listen there.
        ValueError, ImportError: the options cannot be used.
    """
    live_log = LiveLog(output.write_or_drop)
    hurried = trio.Event()
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals, _logging_to(live_log):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(live_log.run)
            async with open_emulator(
                host=options.host,
                port=options.port,
                access_key=_access_key(options),
                secondary_key=options.secondary_key,
                ssl_context=_tls(options),
                anonymous_hubs=[options.hub or "*"] if options.anonymous else [],
                event_handlers={options.hub or EVERY_HUB: _event_handlers(options)},
            ) as emulator:
                _welcome(emulator, options)
                await anext(signals)
                # This runs while the emulator closes. A restart leaves nobody to wait for.
                break_off = emulator.restart
                nursery.start_soon(_hurry, signals, break_off, hurried)
            await live_log.finish()
            nursery.cancel_scope.cancel()
    return _INTERRUPTED if hurried.is_set() else 0


async def _hurry(signals: AsyncIterator[int], break_off: Callable[[], None], hurried: trio.Event) -> None:
    await anext(signals)
    hurried.set()
    break_off()


def _access_key(options: argparse.Namespace) -> str:
    key = os.environ.get(ACCESS_KEY_VARIABLE, DEFAULT_ACCESS_KEY) if options.access_key is None else options.access_key
    return str(key)


def _welcome(emulator: Emulator, options: argparse.Namespace) -> None:
    print(f"The emulator listens at {emulator.endpoint}. Ctrl-C ends it.")
    shown = emulator.connection_string
    if (key := _access_key(options)) != DEFAULT_ACCESS_KEY:  # which is no secret
        shown = shown.replace(key, "<the access key>")
    print(f"Connection string: {shown}", flush=True)


def _event_handlers(options: argparse.Namespace) -> list[EventHandler]:
    names: str | None = options.system_events
    if options.event_handler is None:
        if options.user_events is not None or names is not None:
            raise ValueError("there are --user-events or --system-events without an --event-handler")
        return []
    user_events = "*" if options.user_events is None else options.user_events
    return [EventHandler(options.event_handler, user_events, _system_events(names))]


def _system_events(names: str | None) -> Collection[SystemEvent]:
    if names is None:
        return SYSTEM_EVENTS
    chosen = [each for name in names.split(",") if (each := name.strip().lower())]
    if names and not chosen:
        raise ValueError("--system-events holds commas and no names")
    return cast("Collection[SystemEvent]", chosen)


def _tls(options: argparse.Namespace) -> ssl.SSLContext | None:
    if options.tls_self_made is not None:
        if options.tls_cert is not None or options.tls_key is not None:
            raise ValueError("a certificate is either given or self-made")
        certificate = SelfMadeCertificate(*([] if options.host == "localhost" else [options.host]))
        Path(options.tls_self_made).write_bytes(certificate.authority_pem)
        return certificate.server_context
    if options.tls_cert is None:
        if options.tls_key is not None:
            raise ValueError("there is a --tls-key without a --tls-cert")
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(options.tls_cert, options.tls_key)
    except OSError as error:
        raise ValueError(f"the certificate in {options.tls_cert} and its key cannot be used: {error}") from error
    return context


@contextmanager
def _logging_to(handler: logging.Handler) -> Generator[None]:
    logger = logging.getLogger("trio_webpubsub")
    traffic = logging.getLogger("trio_webpubsub.emulator.traffic")
    before = logger.level, traffic.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    traffic.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before[0])
        traffic.setLevel(before[1])
