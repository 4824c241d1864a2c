"""``demo``: holds the conversation of `trio_webpubsub.demo`."""

from __future__ import annotations

import argparse
import os

from ..demo import run_demo
from .options import CONNECTION_STRING_VARIABLE, HUB_VARIABLE, not_empty

_EXAMPLES = """\
examples:
  trio-webpubsub demo
  AZURE_WEBPUBSUB_CONNECTION_STRING='Endpoint=...' trio-webpubsub demo --hub demo"""


def describe(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    parser.description = """\
Let three clients and a service talk, cut a connection in the middle, and
count what was lost or repeated: nothing. Without a connection string the
service is emulated in this process; with one, the same conversation is held
there, without the cut."""
    parser.epilog = _EXAMPLES
    parser.add_argument(
        "--connection-string",
        type=not_empty,
        metavar="TEXT",
        help=f"of a real resource; by default the environment's {CONNECTION_STRING_VARIABLE}, if there is one",
    )
    parser.add_argument(
        "--hub",
        type=not_empty,
        metavar="NAME",
        help=f"the hub to talk in; by default {HUB_VARIABLE} of the environment, or demo",
    )


async def run(options: argparse.Namespace) -> int:
    """Hold it; fails when something was lost, repeated or out of order."""
    connection_string = options.connection_string or os.environ.get(CONNECTION_STRING_VARIABLE)
    complete = await run_demo(connection_string or None, options.hub or os.environ.get(HUB_VARIABLE) or "demo")
    return 0 if complete else 1
