"""What is sent: from an argument, a file or standard input, as text, JSON or bytes."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import AsyncIterator, Generator
from contextlib import contextmanager
from typing import Any

import trio

from ..protocol.names import MAX_MESSAGE_SIZE

STANDARD_INPUT = "-"
_CHUNK = 65_536


def add_payload(parser: argparse.ArgumentParser, *, without: str) -> None:
    """Let a command take something to send; ``without`` tells what happens if there is neither message nor file."""
    parser.add_argument("message", nargs="?", metavar="MESSAGE", help=f"what is sent; without it and --file {without}")
    parser.add_argument("--file", metavar="FILE", help="take it from a file, or with - from standard input")
    parser.add_argument(
        "--type",
        choices=("text", "json", "binary"),
        default="text",
        help="as what it is sent; text and JSON are UTF-8, binary is the bytes as they are (%(default)s)",
    )


def check_payload(options: argparse.Namespace) -> None:
    """Check the options of `add_payload`.

    Raises:
        ValueError: there are a message and a file.
    """
    if options.message is not None and options.file is not None:
        raise ValueError("there is a MESSAGE, and --file as well")


@contextmanager
def opened(path: str) -> Generator[int]:
    """Open a file, or standard input; gives its descriptor.

    Raises:
        OSError: it cannot be opened.
    """
    if path == STANDARD_INPUT:
        yield sys.stdin.fileno()
        return
    with open(path, "rb", buffering=0) as file:
        yield file.fileno()


async def read_whole(file: int) -> bytes:
    """Read to the end.

    Raises:
        ValueError: it is more than a message can hold.
    """
    data = b""
    while chunk := await _read(file):
        data += chunk
        if len(data) > MAX_MESSAGE_SIZE:
            raise ValueError(f"the input is larger than a message can be, {MAX_MESSAGE_SIZE:,} bytes")
    return data


class Lines(AsyncIterator[bytes]):
    """The lines of a file as they come, without their ends.

    Raises:
        ValueError: a line is more than a message can hold.
    """

    def __init__(self, file: int) -> None:
        self._file = file
        self._rest = b""
        self._waiting: list[bytes] = []  # the next one last
        self._ended = False

    async def __anext__(self) -> bytes:
        """Give the next line.

        Cancellation: what is typed meanwhile may be lost.
        """
        while not self._waiting:
            if self._ended:
                raise StopAsyncIteration
            await self._read_on()
        return self._waiting.pop().removesuffix(b"\r")

    async def _read_on(self) -> None:
        chunk = await _read(self._file)
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        if len(self._rest) > MAX_MESSAGE_SIZE:
            raise ValueError(f"a line is longer than a message can be, {MAX_MESSAGE_SIZE:,} bytes")
        if not chunk:
            self._ended = True
            if self._rest:
                lines.append(self._rest)
        self._waiting = lines[::-1]


async def _read(file: int) -> bytes:
    # Past the buffer of sys.stdin, whose lock a thread that is left behind would hold at the end of the process.
    return await trio.to_thread.run_sync(os.read, file, _CHUNK, abandon_on_cancel=True)


def value_of(data: bytes, data_type: str, where: str) -> Any:
    """Give what ``data`` stands for; ``where`` names it in an error.

    Raises:
        ValueError: it is no UTF-8, or no JSON, or nested too deeply.
    """
    if data_type == "binary":
        return data
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise ValueError(f"{where} is no UTF-8; --type binary sends bytes as they are") from None
    if data_type == "text":
        return text
    try:
        return json.loads(text)
    except ValueError as error:
        raise ValueError(f"{where} is no JSON: {error}") from None
    except RecursionError:
        raise ValueError(f"{where} is nested too deeply") from None
