"""Options that several commands have: the resource, the hub, and the key."""

from __future__ import annotations

import argparse
import math
import os
import re
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from ..protocol.names import check_user_id
from ..protocol.roles import ROLE_NAMES, ROLE_PREFIX, check_role

if TYPE_CHECKING:
    from ..service import Service

CONNECTION_STRING_VARIABLE = "AZURE_WEBPUBSUB_CONNECTION_STRING"
HUB_VARIABLE = "AZURE_WEBPUBSUB_HUB"
ACCESS_KEY_VARIABLE = "AZURE_WEBPUBSUB_ACCESS_KEY"


class Parser(argparse.ArgumentParser):
    """Keeps examples as they are written, takes no abbreviations, and shows no access key in an error."""

    def __init__(self, **options: Any) -> None:
        formatter = partial(argparse.RawDescriptionHelpFormatter, max_help_position=28)
        super().__init__(formatter_class=formatter, allow_abbrev=False, **options)

    def parse_anywhere(self, arguments: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
        """Parse options between arguments as well, as in ``send lobby --type json {}``; gives what is unknown, too."""
        # What follows -- is no option, and argparse cannot do both.
        parse = self.parse_known_args if "--" in arguments else self.parse_known_intermixed_args
        return parse(arguments)

    def error(self, message: str) -> NoReturn:
        """Exit with 2, as usual."""
        super().error(re.sub(r"(?i)(accesskey\s*=)[^;'\"\s]*", r"\1***", message))


def add_resource(parser: argparse.ArgumentParser) -> None:
    """Let a command take the resource and the hub that it is about."""
    parser.add_argument(
        "--connection-string",
        type=not_empty,
        metavar="TEXT",
        help=f"of the resource or the emulator; by default {CONNECTION_STRING_VARIABLE} of the environment, which is"
        " the better place for a secret: others on this machine can see the options of a process",
    )
    add_hub(parser)
    parser.add_argument(
        "--allow-insecure",
        action="store_true",
        help="take an endpoint with http:// on another machine, where tokens and messages travel in the open",
    )


def add_hub(parser: argparse.ArgumentParser) -> None:
    """Let a command take a hub."""
    parser.add_argument("--hub", type=not_empty, metavar="NAME", help=f"by default {HUB_VARIABLE} of the environment")


def read_connection_string(options: argparse.Namespace) -> str:
    """Give the connection string.

    Raises:
        ValueError: there is none.
    """
    text = options.connection_string or os.environ.get(CONNECTION_STRING_VARIABLE)
    if not text:
        raise ValueError(
            f"there is no connection string: put it into the environment as {CONNECTION_STRING_VARIABLE},"
            " or give --connection-string"
        )
    return str(text)


def read_hub(options: argparse.Namespace) -> str:
    """Give the hub.

    Raises:
        ValueError: there is none.
    """
    name = options.hub or os.environ.get(HUB_VARIABLE)
    if not name:
        raise ValueError(f"there is no hub: give --hub, or put its name into the environment as {HUB_VARIABLE}")
    return str(name)


def read_user_id(options: argparse.Namespace) -> str | None:
    """Give who a client is to be, if anybody.

    Raises:
        ValueError: nobody can be called that.
    """
    return None if options.user_id is None else check_user_id(options.user_id)


@asynccontextmanager
async def open_resource(options: argparse.Namespace) -> AsyncGenerator[Service]:
    """Open a service client for what the options of `add_resource` say.

    Raises:
        ValueError: they cannot be used.
    """
    from ..service import open_service  # loads httpx, which not every command needs

    async with open_service(
        read_connection_string(options), read_hub(options), allow_insecure=options.allow_insecure
    ) as service:
        yield service


def not_empty(text: str) -> str:
    """Read a text for argparse that is not empty, as it is where a variable of a script was never set."""
    if not text:
        raise argparse.ArgumentTypeError("it is empty; leave the option out, or give it a value")
    return text


def positive(text: str) -> float:
    """Read a number above 0, for argparse."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not (number > 0 and math.isfinite(number)):
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")
    return number


def full_roles(names: Iterable[str]) -> list[str]:
    """Give roles their prefix where it was left out.

    Raises:
        ValueError: one is no role. The service would pass over it without a word.
    """
    return [_full_role(name.removeprefix(ROLE_PREFIX)) for name in names]


def _full_role(name: str) -> str:
    if name.partition(".")[0] not in ROLE_NAMES:
        raise ValueError(f"{name[:100]!r} is no role: there are {', '.join(sorted(ROLE_NAMES))}")
    return check_role(f"{ROLE_PREFIX}{name}")
