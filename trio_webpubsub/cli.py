"""The command line: ``python -m trio_webpubsub COMMAND``."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence

import trio

from ._shell.groups import leaves
from .demo import run_demo
from .emulator import DEFAULT_ACCESS_KEY, DEFAULT_PORT, open_emulator
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
    parser = argparse.ArgumentParser(prog="python -m trio_webpubsub", description="Tools around Azure Web PubSub.")
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
    parser.description = "Run the service on this machine until Ctrl-C or SIGTERM."
    parser.formatter_class = argparse.ArgumentDefaultsHelpFormatter
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on")
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help="the port to listen on, 0 for a free one")
    parser.add_argument("--access-key", default=DEFAULT_ACCESS_KEY, help="signs and checks all tokens")
    parser.set_defaults(run=_run_emulator)


def _run_emulator(options: argparse.Namespace) -> int:
    try:
        trio.run(_serve_until_told, options.host, options.port, options.access_key)
    except (OSError, ValueError) as error:
        print(f"The emulator cannot start: {error}", file=sys.stderr)
        return 1
    return 0


async def _serve_until_told(host: str, port: int, access_key: str) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with open_emulator(host=host, port=port, access_key=access_key) as emulator:
            print(f"The emulator listens at {emulator.endpoint}. Ctrl-C ends it.")
            print(f"Connection string: {emulator.connection_string}", flush=True)
            async for _ in signals:
                break
