"""``token``: prints what a client needs to connect."""

from __future__ import annotations

import argparse
from datetime import timedelta
from typing import get_args

from ..service import ClientProtocol
from . import output
from .options import add_resource, full_roles, open_resource, positive

_EXAMPLES = """\
Roles are written with or without webpubsub. before them: joinLeaveGroup,
sendToGroup, joinLeaveGroup.GROUP, sendToGroups.PATTERN and so on. Without
roles a client can receive, and send events. The output is a secret.

examples:
  trio-webpubsub token --user-id ann --role joinLeaveGroup --role sendToGroup
  trio-webpubsub token --group lobby --lifetime 300
  URL=$(trio-webpubsub token --role sendToGroup.lobby)
  trio-webpubsub token --print token | your-program"""


def describe(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    parser.description = """\
Print the URL with which a client connects to the hub, or the token in it, and
nothing else."""
    parser.epilog = _EXAMPLES
    parser.add_argument("--user-id", metavar="ID", help="who the client is; by default nobody")
    parser.add_argument(
        "--role", action="append", default=[], metavar="ROLE", help="what it may do; can be given several times"
    )
    parser.add_argument(
        "--group",
        action="append",
        default=[],
        metavar="GROUP",
        help="a group that it is in from the beginning; can be given several times",
    )
    parser.add_argument(
        "--lifetime",
        type=positive,
        default=3600,
        metavar="SECONDS",
        help="how long one can connect with it (%(default)s)",
    )
    parser.add_argument(
        "--client-protocol",
        choices=get_args(ClientProtocol),
        default="default",
        help="what the client speaks (%(default)s)",
    )
    parser.add_argument("--print", choices=("url", "token"), default="url", help="what is printed (%(default)s)")
    add_resource(parser)


async def run(options: argparse.Namespace) -> int:
    """Print it.

    Raises:
        ValueError: the options cannot be used.
    """
    async with open_resource(options) as service:
        access = await service.client_access(
            user_id=options.user_id,
            roles=full_roles(options.role),
            groups=options.group,
            lifetime=_duration(options.lifetime),
            client_protocol=options.client_protocol,
        )
    await output.write_lines([access.url if options.print == "url" else access.token])
    return 0


def _duration(seconds: float) -> timedelta:
    try:
        return timedelta(seconds=seconds)
    except OverflowError:
        raise ValueError(f"a token cannot live for {seconds:g} seconds") from None
