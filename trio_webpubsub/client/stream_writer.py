"""Streams to groups (a preview of the service): what a sender holds while its block runs."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import trio

from .._shell.blocks import block
from .._shell.groups import leaves
from ..errors import StreamFailed, StreamLost
from ..protocol import wire
from ..protocol.messages import DataType
from ..protocol.names import check_text
from ..protocol.outgoing_stream import Abandoned, Failed, Lost, OutgoingStream
from ..protocol.payloads import payload_of
from .core import Core
from .outcomes import role_to_send
from .statistics import StreamStatistics

WRITES_PER_SCHEDULE_POINT = 64

LONGEST_NAME = 100
"""Characters of an exception's name that readers are told."""

GOODBYE = 0.5
"""Seconds that a block left by an exception or a cancellation may take to end its stream."""


class _Sending:
    """What the writer and the block that holds it share: the stream, and who waits for it."""

    def __init__(self, core: Core, stream: OutgoingStream) -> None:
        self.core = core
        self.stream = stream
        self._changed = trio.lowlevel.ParkingLot()
        stream.wake = self._wake

    def _wake(self) -> None:
        self._changed.unpark_all()

    def raise_if_over(self) -> None:
        """Raise what writing leads to when the stream is not open any more."""
        if self.stream.state == "open":
            return
        match self.stream.outcome:
            case Failed(error=error):
                advice = f" ({role_to_send(self.stream.opening.group)})" if error.name == "Forbidden" else ""
                raise StreamFailed(error.name, f"{error.message}{advice}")
            case Lost():
                raise StreamLost(self.stream.acknowledged)
            case Abandoned():
                raise self.core.stopped_error()
            case _:
                raise trio.ClosedResourceError("the stream was ended")

    async def wait_for_change(self) -> None:
        """Wait until the service, or the loss of the session, has changed something."""
        await self._changed.park()

    async def wait_open(self) -> None:
        """Wait for the service's word. A caller that goes away takes the opening back."""
        try:
            while self.stream.state == "opening":
                await self.wait_for_change()
        except BaseException:  # refused, or cancelled: then the service has still to hear of it
            self.end(wire.StreamEndError("the sender went away", "Cancelled"))
            raise
        self.raise_if_over()

    def end(self, error: wire.StreamEndError | None = None, *, hurry: bool = False) -> None:
        """End the stream; does nothing when it is over."""
        self.core.session.outgoing.streams.end(self.stream, error, hurry=hurry)
        self.core.wake_writer()

    async def wait_closed(self) -> None:
        """Wait until the service has closed the stream; raise what writing does if not as this side wished."""
        await self.wait_over()
        if isinstance(self.stream.outcome, Failed | Lost | Abandoned):
            self.raise_if_over()

    async def wait_over(self) -> None:
        """Wait until the stream has ended in whatever way."""
        await trio.lowlevel.checkpoint()
        while self.stream.state != "closed":
            await self.wait_for_change()


class GroupStreamWriter:
    """A stream to a group that is open. Get one from `Client.open_stream`."""

    def __init__(self, sending: _Sending) -> None:
        self._sending = sending
        self._stream = sending.stream
        self._streams = sending.core.session.outgoing.streams
        self._credit = WRITES_PER_SCHEDULE_POINT

    def __repr__(self) -> str:
        return f"<GroupStreamWriter {self.stream_id!r} to group {self.group!r}, {self._stream.state}>"

    @property
    def group(self) -> str:
        """The group that it goes to."""
        return self._stream.opening.group

    @property
    def stream_id(self) -> str:
        """Its name, by which its readers tell streams apart."""
        return self._stream.stream_id

    async def write(self, data: Any, *, data_type: DataType | None = None) -> None:
        """Send a fragment. This returns when it has a place in the window, not when it has arrived: see `flush`.

        Args:
            data: ``str`` travels as text, bytes-like values as binary, anything else as JSON.
            data_type: Chooses otherwise, as with `Client.send_to_group`.

        Raises:
            StreamFailed: the service closed the stream; its ``name`` says why.
            StreamLost: the session was lost, and the stream with it.
            MessageTooLarge: nothing was sent.
            ClientStopped, trio.ClosedResourceError: there is no connection any more; or the stream was ended.
            TypeError, ValueError: ``data`` cannot be sent as that type.

        Cancellation: nothing is sent. With room in the window this checks for cancellation, but takes a schedule point
        only once in 64 fragments.

        Back-pressure: waits while 64 fragments, or 1 MiB of them, are not acknowledged.
        """
        payload = payload_of(data, data_type)
        self._credit -= 1
        if self._credit:
            await trio.lowlevel.checkpoint_if_cancelled()
        else:
            self._credit = WRITES_PER_SCHEDULE_POINT
            await trio.lowlevel.checkpoint()
        self._sending.raise_if_over()
        while not self._stream.has_room(len(payload.body)):
            await self._sending.wait_for_change()
            self._sending.raise_if_over()
        self._streams.write(self._stream, payload)
        if self._stream.unwritten == 1:  # the writer has not been woken for the ones before, or is done with them
            self._sending.core.wake_writer()

    async def flush(self) -> None:
        """Wait until the service has acknowledged every fragment written so far.

        Raises:
            Exception: as `write` does.

        Cancellation: changes nothing.
        """
        await trio.lowlevel.checkpoint()
        self._sending.raise_if_over()
        written = self._stream.written
        while self._stream.acknowledged < written:
            self._sending.raise_if_over()
            await self._sending.wait_for_change()

    async def abort(self, user_error_code: str, message: str = "") -> None:
        """End the stream with an error of the sender's own; readers get it after the fragments written so far.

        It waits until these are acknowledged and the service has closed the stream.

        Args:
            user_error_code: What they get as `StreamFailed.user_error_code`.
            message: What they get as its message.

        Raises:
            Exception: as `write` does, when the stream is over already, or the message is too large.
            TypeError, ValueError: ``user_error_code`` or ``message`` is no text.

        Cancellation: the stream is ended all the same.
        """
        check_text(user_error_code, "user_error_code")
        check_text(message, "message")
        self._sending.raise_if_over()
        error = wire.StreamEndError(message or None, user_error_code)
        self._streams.check_end(self._stream, error)
        self._sending.end(error)
        await self._sending.wait_closed()

    def statistics(self) -> StreamStatistics:
        """Say how it stands."""
        stream = self._stream
        return StreamStatistics(
            written=stream.written,
            acknowledged=stream.acknowledged,
            unacknowledged=len(stream.fragments),
            unacknowledged_bytes=stream.size,
        )


@block("async with client.open_stream(group) as stream:")
@asynccontextmanager
async def running_stream(
    core: Core, opening: wire.OpenStream, idle_timeout: float
) -> AsyncGenerator[GroupStreamWriter, None]:
    """Hold a stream open for as long as the block runs; see `Client.open_stream`."""
    await trio.lowlevel.checkpoint()
    core.thread.check()
    core.raise_if_stopped()
    sending = _Sending(core, core.session.outgoing.streams.open(opening, idle_timeout))
    core.wake_writer()
    await sending.wait_open()
    try:
        yield GroupStreamWriter(sending)
    except BaseException as error:  # whatever ends the block, the readers are told which way
        sending.end(_reason(error))
        with trio.move_on_after(GOODBYE, shield=True):
            await sending.wait_over()  # how it ended says less than what the block raised
        sending.end(hurry=True)
        raise
    sending.end()
    await sending.wait_closed()


def _reason(error: BaseException) -> wire.StreamEndError:
    """Say why a block was left, without anything that stands in the exception: readers are other people."""
    if all(isinstance(each, trio.Cancelled) for each in leaves(error)):
        return wire.StreamEndError("the sender was cancelled", "Cancelled")
    return wire.StreamEndError(f"the sender failed with {type(error).__name__[:LONGEST_NAME]}", "Exception")
