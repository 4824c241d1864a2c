"""From arguments to an exit status: finds the command, runs it, and says in a line what went wrong."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Collection, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import Protocol, cast

from .._shell.groups import leaves
from .._shell.version import VERSION
from ..protocol.errors import WebPubSubError
from .options import Parser

COMMANDS: Mapping[str, str] = {
    "demo": "hold a conversation between clients and service",
    "emulator": "run the service on this machine",
    "listen": "print the messages of groups as they come",
    "send": "send messages to a group",
    "invoke": "send an event to the hub's event handler, and print what it answers",
    "token": "print the URL or token with which a client connects",
    "webhook": "serve an event handler that prints events and answers as told",
    "doctor": "find out why a resource cannot be used from here",
}
"""Every command, and what it does."""

NEED_ONLY_THE_CORE: frozenset[str] = frozenset({"demo", "emulator"})
"""All others need the extra ``cli``, even where they show no colours: one rule is easier to remember."""

_BEFORE = frozenset({"-h", "--help", "--version"})
"""The options that may stand before a command."""

DONE = 0
FAILED = 1
"""The service, or the network before it, did not do what was asked."""
USAGE = 2
"""The options or the input cannot be used."""
INTERRUPTED = 130
"""What shells expect of a process that Ctrl-C ended."""
READER_GONE = 141
"""What shells see of a process whose output nobody reads any more, as in ``listen | head -1``."""

_FOR_THE_DOCTOR = (None, 401, 403)
"""The status of REST errors when no answer came, and for whoever is not known, or may not; few commands load them."""

_EXIT_STATUSES = f"""\
exit status: {DONE} done, {FAILED} it failed, {USAGE} wrong options or input, {INTERRUPTED} ended by
Ctrl-C, {READER_GONE} nobody reads the output any more"""


class _Command(Protocol):
    """The module of a command."""

    describe: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], Awaitable[int]]


def main(arguments: Sequence[str]) -> int:
    """Run a command, and give the status with which the process should exit.

    Args:
        arguments: what stands behind the program's name.

    Raises:
        SystemExit: the arguments cannot be understood (2), or ask for help (0).
    """
    _fill_in_closed_streams()
    # No option before the command takes a value.
    name = next((each for each in arguments if not each.startswith("-")), "")
    status = DONE
    try:
        status = _run(name, arguments)
        sys.stdout.flush()
    except* (ValueError, ImportError) as group:
        _tell_all(name, group)
        status = USAGE
    except* BrokenPipeError:  # of standard output: what breaks on the network has other names by the time it is here
        _forget_standard_output()
        status = READER_GONE
    except* (WebPubSubError, OSError) as group:
        _tell_all(name, group)
        status = FAILED
    except* KeyboardInterrupt:
        status = INTERRUPTED
    return status


def _fill_in_closed_streams() -> None:
    """Put the null device where a standard stream is closed, or the next socket would be taken for one."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 - it stays open


def _run(name: str, arguments: Sequence[str]) -> int:
    try:
        parser, parsers = make_parser([name] if name in COMMANDS else [])
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "rich":
            raise
        _tell(name, "it needs the extra cli: python -m pip install 'trio-webpubsub[cli]'")
        return USAGE
    first = arguments[0].partition("=")[0] if arguments else ""
    if first.startswith("-") and first not in _BEFORE:
        parser.error(f"options stand behind the command: trio-webpubsub COMMAND {first} ...")
    if name not in COMMANDS or first in _BEFORE:
        parser.parse_args(arguments)  # which tells what is wrong, or what was asked
    options, unknown = parsers[name].parse_anywhere(arguments[1:])
    if unknown:
        parsers[name].error(_unknown(unknown))
    run = cast("_Command", _module(name)).run

    import trio  # which the help and the version do without

    with _ctrl_c_raises():
        # Only at checkpoints: elsewhere it could hit a context manager half-way in or out, which then cannot clean up.
        return trio.run(run, options, restrict_keyboard_interrupt_to_checkpoints=True)


@contextmanager
def _ctrl_c_raises() -> Generator[None]:
    """Let Ctrl-C raise KeyboardInterrupt in the block, if it would end the process; trio takes it over from there."""
    ends_the_process = signal.getsignal(signal.SIGINT) is signal.SIG_DFL
    if ends_the_process:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        if ends_the_process:
            signal.signal(signal.SIGINT, signal.SIG_DFL)


def make_parser(described: Collection[str] = tuple(COMMANDS)) -> tuple[Parser, Mapping[str, Parser]]:
    """Make the parser of the whole command line, and those of its commands.

    Args:
        described: The commands that are loaded and have their options.

    Raises:
        ModuleNotFoundError: one of them needs the extra ``cli``.
    """
    parser = Parser(
        prog="trio-webpubsub",
        description="Tools around Azure Web PubSub. COMMAND --help tells more, with examples.",
        epilog=_EXIT_STATUSES,
    )
    parser.add_argument("--version", action="version", version=f"trio-webpubsub {VERSION}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    parsers = {name: commands.add_parser(name, help=does) for name, does in COMMANDS.items()}
    for name in described:
        if name not in NEED_ONLY_THE_CORE:
            import_module("rich")
        cast("_Command", _module(name)).describe(parsers[name])
    return parser, parsers


def _module(name: str) -> object:
    return import_module(f".{name}", __package__)


def _unknown(arguments: Iterable[str]) -> str:
    """Name the options among them; what else is there may be a secret that a mistyped option was to take."""
    options = [each.partition("=")[0] for each in arguments if each.startswith("-")]
    return f"unknown options: {' '.join(options)}" if options else "there are more arguments than it takes"


def _tell_all(name: str, group: BaseExceptionGroup[BaseException]) -> None:
    from ..errors import ConnectFailed  # loads trio; whoever raises it has done so

    for error in leaves(group):
        _tell(name, _reason(error))
        if isinstance(error, ConnectFailed) or getattr(error, "status_code", 0) in _FOR_THE_DOCTOR:
            _tell(name, "to find out why, run trio-webpubsub doctor")


def _reason(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error) or type(error).__name__


def _tell(name: str, text: str) -> None:
    from .rendering import printable  # the text may be what a server said

    with suppress(BrokenPipeError):
        print(f"trio-webpubsub {name}: {printable(text)}", file=sys.stderr, flush=True)


def _forget_standard_output() -> None:
    """Lead it nowhere, or the interpreter fails once more when it flushes what is left."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
