"""``send``: sends one message, or each line of a file or of standard input."""

from __future__ import annotations

import argparse
import math
import os
import stat
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, TypeAlias

import trio

from .. import WebPubSubError, open_client
from ..protocol.names import check_group
from ..service import ContentType, Role
from .changes import tell_changes
from .options import add_resource, open_resource, positive, read_user_id
from .payload import STANDARD_INPUT, Lines, add_payload, check_payload, opened, read_whole, value_of
from .terminal import notice, progress

Send: TypeAlias = Callable[[Any], Awaitable[object]]

_IN_FLIGHT = 100
"""Messages of the client whose acknowledgements may be outstanding."""

_MADE_UP = 0.1
"""Seconds of a delay that are made up for, or timers that are a bit late each time would lower the rate."""

_EXAMPLES = """\
Messages keep their order. The client has up to 100 of them under way, each of
which is acknowledged; over REST each waits for the answer to the last. When
one fails, no more are sent, and it is told how many were.

examples:
  trio-webpubsub send lobby 'Hello!'
  trio-webpubsub send orders '{"coffee": 1}' --type json
  trio-webpubsub send lobby --file notes.txt --rate 10   ten lines a second
  tail -f log.txt | trio-webpubsub send logs             lines as they come
  trio-webpubsub send images --file cat.png --whole --type binary
  trio-webpubsub send lobby 'The lobby closes.' --rest"""


def describe(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    parser.description = "Send messages to a group, as a client or over REST."
    parser.epilog = _EXAMPLES
    parser.add_argument("group", metavar="GROUP", help="the group")
    add_payload(parser, without="each line of standard input is a message")
    parser.add_argument("--whole", action="store_true", help="send the file as one message, and not its lines")
    parser.add_argument("--rest", action="store_true", help="send over REST, so from the service, and not as a client")
    parser.add_argument("--user-id", metavar="ID", help="who sends; by default nobody. Not with --rest")
    parser.add_argument("--rate", type=positive, metavar="N", help="send at most N messages a second")
    add_resource(parser)


async def run(options: argparse.Namespace) -> int:
    """Send it all.

    Raises:
        WebPubSubError: a message could not be sent.
        ValueError: options or messages cannot be used.
        OSError: the file cannot be read.
    """
    check_group(options.group)
    check_payload(options)
    if options.rest and options.user_id is not None:
        raise ValueError("what is sent over REST has no --user-id")
    if options.message is not None:
        await _send_one(options, os.fsencode(options.message), "the message")
        return 0
    with opened(STANDARD_INPUT if options.file is None else options.file) as file:
        if options.whole:
            await _send_one(options, await read_whole(file), "the input")
        else:
            await _send_lines(options, file)
    return 0


async def _send_one(options: argparse.Namespace, data: bytes, where: str) -> None:
    message = value_of(data, options.type, where)
    async with _sender(options) as send:
        await send(message)


async def _send_lines(options: argparse.Namespace, file: int) -> None:
    is_typed = os.isatty(file)
    status = os.fstat(file)
    total = status.st_size if stat.S_ISREG(status.st_mode) else None
    async with _sender(options) as send:
        if is_typed:
            notice("Each line is sent as a message; Ctrl-D ends.")
        sending = Sending(send, in_flight=1 if options.rest else _IN_FLIGHT, rate=options.rate or math.inf)
        try:
            if is_typed:  # which progress would write over
                await sending.send_all(Lines(file), options.type, lambda _done, _messages: None)
            else:
                with progress(total) as told:
                    await sending.send_all(Lines(file), options.type, told)
        finally:
            notice(f"{sending.sent:,} {'message was' if sending.sent == 1 else 'messages were'} sent.")


class Sending:
    """Sends many messages in their order, several at a time, and not too fast."""

    def __init__(self, send: Send, *, in_flight: int, rate: float) -> None:
        self._send = send
        self._room = trio.Semaphore(in_flight)
        self._interval = 1 / rate
        self._next = 0.0
        self._reading = trio.CancelScope()
        self._failure: tuple[int, Exception] | None = None
        self._done = 0
        self.sent: int = 0
        """How many were sent, and acknowledged."""

    async def send_all(self, lines: AsyncIterator[bytes], data_type: str, told: Callable[[int, int], None]) -> None:
        """Send each line; ``told`` is told of how many bytes and messages. After a failure no more lines are read.

        Raises:
            WebPubSubError: one could not be sent.
            ValueError: one is not what ``data_type`` says.
        """
        number = 0
        self._next = trio.current_time()
        async with trio.open_nursery() as nursery:
            with self._reading:
                try:
                    async for line in lines:
                        number += 1
                        message = value_of(line, data_type, f"line {number}")
                        await self._wait_for_turn()
                        # Started one by one: each is queued before the next one is.
                        await nursery.start(self._send_one, number, message, len(line) + 1, told)
                except ValueError as error:  # kept, since those under way are still to be counted
                    self._fail(number, error)
        if self._failure is not None:
            raise self._failure[1]

    async def _wait_for_turn(self) -> None:
        await self._room.acquire()
        await trio.sleep_until(self._next)
        self._next = max(self._next, trio.current_time() - _MADE_UP) + self._interval

    async def _send_one(
        self,
        number: int,
        message: Any,
        size: int,
        told: Callable[[int, int], None],
        *,
        task_status: trio.TaskStatus[None],
    ) -> None:
        task_status.started()
        try:
            await self._send(message)
        except WebPubSubError as error:  # kept, since those after it fail as well when the connection is lost
            self._fail(number, error)
        else:
            self.sent += 1
            self._done += size
            told(self._done, self.sent)
        finally:
            self._room.release()

    def _fail(self, number: int, error: Exception) -> None:
        """Keep the failure of the first message that failed, and read no more."""
        if self._failure is None or number < self._failure[0]:
            self._failure = number, error
        self._reading.cancel()


@asynccontextmanager
async def _sender(options: argparse.Namespace) -> AsyncGenerator[Send]:
    async with open_resource(options) as service:
        if options.rest:
            content_type: ContentType | None = "application/json" if options.type == "json" else None
            yield partial(service.send_to_group, options.group, content_type=content_type)
            return
        roles = [Role.send_to_group(options.group)]
        url = partial(service.client_access_url, user_id=read_user_id(options), roles=roles)
        async with (
            open_client(url, allow_insecure=options.allow_insecure) as client,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(tell_changes, client.lifecycle())
            yield partial(client.send_to_group, options.group, data_type=options.type)
            nursery.cancel_scope.cancel()
