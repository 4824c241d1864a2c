"""``doctor``: finds out why a resource cannot be used from here."""

from __future__ import annotations

import argparse
import os
import sys

from .diagnosis import Finding, Wrong, examine
from .options import HUB_VARIABLE, add_resource, read_connection_string
from .rendering import printable
from .terminal import Painter

_EXAMPLES = """\
Checks the connection string, the names and addresses on the way, TLS, the
clocks, the access key, a client's token, protocol and roles, and how long
messages take. It makes a client and a group of its own, and sends to nobody
else. Without a hub it looks at one called doctor. Authorities of your own are
trusted by SSL_CERT_FILE in the environment. Exits with 1 if something is
wrong.

examples:
  trio-webpubsub doctor
  AZURE_WEBPUBSUB_CONNECTION_STRING='Endpoint=...' trio-webpubsub doctor --hub chat"""


def describe(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    parser.description = """\
Check, step by step, whether a resource can be used from here; what is wrong,
in a sentence."""
    parser.epilog = _EXAMPLES
    add_resource(parser)


async def run(options: argparse.Namespace) -> int:
    """Examine it; gives 1 if something is wrong.

    Raises:
        ValueError: there is no connection string.
    """
    connection_string = read_connection_string(options)
    hub = options.hub or os.environ.get(HUB_VARIABLE) or "doctor"
    painter = Painter(sys.stdout)
    status = 0

    def tell(finding: Finding) -> None:
        nonlocal status
        if not finding.good:
            status = 1
        label = ("ok    ", "green") if finding.good else ("wrong ", "bold red")
        print(painter.paint(label, f"{finding.subject:<18} {printable(finding.text)}"), flush=True)

    try:
        await examine(connection_string, hub, tell, allow_insecure=options.allow_insecure)
    except Wrong as wrong:
        tell(wrong.finding)
    return status
