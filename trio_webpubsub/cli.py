"""The command line: ``trio-webpubsub COMMAND``, or ``python -m trio_webpubsub COMMAND``."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import ssl
import sys
from collections.abc import AsyncIterator, Callable, Collection, Generator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import cast

import trio

from ._shell.groups import leaves
from .demo import run_demo
from .emulator import (
    DEFAULT_ACCESS_KEY,
    DEFAULT_PORT,
    Emulator,
    EventHandler,
    SelfMadeCertificate,
    SystemEvent,
    open_emulator,
)
from .emulator.handlers import EVERY_HUB, SYSTEM_EVENTS
from .emulator.live_log import LiveLog
from .errors import WebPubSubError

CONNECTION_STRING_VARIABLE = "AZURE_WEBPUBSUB_CONNECTION_STRING"
HUB_VARIABLE = "AZURE_WEBPUBSUB_HUB"

INTERRUPTED = 130
"""What shells expect of a process that Ctrl-C ended."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command, and give the status with which the process should exit.

    Args:
        arguments: what stands behind the program's name; by default what this process was started with.

    Raises:
        SystemExit: the arguments cannot be understood (2), or ask for help (0).
    """
    parser = argparse.ArgumentParser(prog="trio-webpubsub", description="Tools around Azure Web PubSub.")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _describe_demo(commands.add_parser("demo", help="hold a conversation between clients and service"))
    _describe_emulator(commands.add_parser("emulator", help="run the service on this machine"))
    options = parser.parse_args(arguments)
    try:
        status: int = options.run(options)
    except KeyboardInterrupt:
        return INTERRUPTED
    return status


def _describe_demo(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Let three clients and a service talk, cut a connection in the middle, and count what was lost or repeated:"
        " nothing. Without a connection string the service is emulated in this process; with one, the same"
        " conversation is held there, without the cut."
    )
    parser.add_argument(
        "--connection-string",
        default=os.environ.get(CONNECTION_STRING_VARIABLE),
        help=f"of a real resource; by default the environment's {CONNECTION_STRING_VARIABLE}, if there is one",
    )
    parser.add_argument("--hub", default=os.environ.get(HUB_VARIABLE, "demo"), help="the hub to talk in (%(default)s)")
    parser.set_defaults(run=_run_demo)


def _run_demo(options: argparse.Namespace) -> int:
    try:
        complete = trio.run(run_demo, options.connection_string, options.hub)
    except* (WebPubSubError, OSError, ValueError) as group:
        for error in leaves(group):
            print(f"The demo failed: {error}", file=sys.stderr)
        complete = False
    return 0 if complete else 1


def _describe_emulator(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Run the service on this machine until Ctrl-C or SIGTERM, and tell of the connections and messages that come."
    )
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (%(default)s)")
    parser.add_argument(
        "--port", type=int, default=DEFAULT_PORT, help="the port to listen on, 0 for a free one (%(default)s)"
    )
    parser.add_argument("--hub", help="the hub that the settings below are for; by default every hub")
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
        "--access-key", default=DEFAULT_ACCESS_KEY, metavar="KEY", help="signs and checks all tokens (%(default)s)"
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
    parser.set_defaults(run=_run_emulator)


def _run_emulator(options: argparse.Namespace) -> int:
    status = 1
    try:
        status = trio.run(_serve_until_told, options)
    except* (OSError, ValueError, ImportError) as group:
        for error in leaves(group):
            print(f"The emulator cannot start: {error}", file=sys.stderr)
    return status


async def _serve_until_told(options: argparse.Namespace) -> int:
    """Serve to the first signal, then take leave of the clients; after a second one of none. Give the exit status."""
    live_log = LiveLog(partial(_write_all, sys.stdout.fileno()))
    hurried = trio.Event()
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals, _logging_to(live_log):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(live_log.run)
            async with open_emulator(
                host=options.host,
                port=options.port,
                access_key=options.access_key,
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
    return INTERRUPTED if hurried.is_set() else 0


async def _hurry(signals: AsyncIterator[int], break_off: Callable[[], None], hurried: trio.Event) -> None:
    await anext(signals)
    hurried.set()
    break_off()


def _welcome(emulator: Emulator, options: argparse.Namespace) -> None:
    print(f"The emulator listens at {emulator.endpoint}. Ctrl-C ends it.")
    shown = emulator.connection_string
    if options.access_key != DEFAULT_ACCESS_KEY:  # which is no secret
        shown = shown.replace(options.access_key, "<the access key>")
    print(f"Connection string: {shown}", flush=True)


def _event_handlers(options: argparse.Namespace) -> list[EventHandler]:
    names: str | None = options.system_events
    if options.event_handler is None:
        if options.user_events is not None or names is not None:
            raise ValueError("there are --user-events or --system-events without an --event-handler")
        return []
    chosen = SYSTEM_EVENTS if names is None else [each for name in names.split(",") if (each := name.strip().lower())]
    user_events = "*" if options.user_events is None else options.user_events
    return [EventHandler(options.event_handler, user_events, cast("Collection[SystemEvent]", chosen))]


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


def _write_all(file: int, data: bytes) -> None:
    # Past the buffer of sys.stdout: a thread that is left behind in that would hang the end of the process.
    with suppress(OSError):  # nobody is there who reads it
        while data:
            data = data[os.write(file, data) :]
