"""The stream that trio-websocket is given in place of the real one, on either side of a connection.

trio-websocket keeps what it is good at: the handshake, answering pings, the closing handshake. It never sees a data
frame, since its way with them costs twenty times what it takes to cut them out in bulk, and since a caller cancelled
while it sends one leaves half a frame on the wire. So a `FrameStream` has two faces:

* As a `trio.abc.Stream` it is what trio-websocket reads and writes. While the handshake lasts, bytes pass straight
  through. Afterwards reading gives only the control frames that the receive loop comes across, and writing only puts
  bytes into the queue.
* One receive loop calls `FrameStream.receive_batch`; one writer loops over `FrameStream.wait_for_work` and
  `FrameStream.flush`. They alone touch the real stream then, so nothing collides in it, and a frame is either written
  whole or the last thing that the peer sees.

Where the real stream can send something at once, without waiting, `FrameStream.push` does so, and the writer is only
called for what the network did not take. That is how a server gets a message out to thousands without a task switch,
and often without a writer, for each; and how a client saves one for whoever sends alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import trio

from ..protocol.errors import ProtocolViolation
from ..protocol.frame_reader import FrameReader
from ..protocol.frame_writer import encode_close, encode_frame, encode_ping
from .handshake import Handshake, is_switch
from .randomness import ByteSource, system_bytes
from .tcp import receiver_of

_RECEIVE_SIZE = 131_072
_LARGEST_RECEIVE_SIZE = 1_048_576
_MESSAGES_AT_ONCE = 512
"""So many messages are wanted of one read where much is coming, since a read costs as much as some dozen of them."""
_CONTROL_LIMIT = 16_384
"""Bytes of control frames that may wait for trio-websocket before the receive loop waits too."""
_REPLY_LIMIT = 262_144
"""Queued bytes above which trio-websocket waits: or a flood of pings, whose answers nobody reads, would fill memory."""

_MASKS_AT_ONCE = 16
"""At least so many are made together, since asking the system takes longer than masking a frame."""

_CLOSE = b"\x88"
_PING = b"\x89"
_ABNORMAL = 1006


class TransportEnded(Exception):
    """A connection is over: the peer closed it, broke the protocol, or is gone."""

    def __init__(self, code: int, reason: str = "", *, violation: bool = False) -> None:
        super().__init__(f"the connection ended with close code {code}")
        self.code = code
        """The peer's close code, 1005 if its close frame held none; 1006 when none came; or that of its violation."""
        self.reason = reason
        """The text of the peer's close frame, or what went wrong."""
        self.violation = violation
        """Whether the peer broke the protocol, so that the code is ours."""


class FrameStream(trio.abc.Stream):
    """The bytes of one WebSocket connection, shared between trio-websocket and our own receive loop and writer.

    Args:
        inner: The real stream.
        client: Which side of the connection this is.
        max_message_size: Of received messages, in bytes.
        random_bytes: Where the masks of a client's frames come from.
        head: Bytes that were read from ``inner`` already; they count as if they came first.
        try_send: Sends as much as ``inner`` takes without waiting, and gives how many bytes that were; raises what its
            ``send_all`` does. By default it takes none.
    """

    def __init__(
        self,
        inner: trio.abc.Stream,
        *,
        client: bool,
        max_message_size: int,
        random_bytes: ByteSource = system_bytes,
        head: bytes = b"",
        try_send: Callable[[bytes], int] | None = None,
    ) -> None:
        self.last_received: float = trio.current_time()
        """When the last bytes came, of whatever kind, in trio's time; before that, when this was made."""
        self.queued_bytes: int = 0
        """Bytes that were queued and that the real stream has not taken, those being sent included."""
        self.start_writer: Callable[[], None] | None = None
        """Called once, as soon as there is work for a writer. To be set before the handshake is done."""
        self._inner = inner
        self._client = client
        self._random_bytes = random_bytes
        # Receiving
        self._receive_some = receiver_of(inner)
        self._receive_size = _RECEIVE_SIZE
        self._handshake: Handshake | None = Handshake(client=client)
        """What is read of it; ``None`` when frames come next."""
        self._early = head
        """Bytes that were read before their time: before the handshake, and behind its head."""
        self._reader = FrameReader(masked=not client, max_message_size=max_message_size)
        self._control = bytearray()
        """Control frames that trio-websocket has still to take."""
        self._control_left = 0
        """Bytes of the first of them, where it has taken a part already."""
        self._ignores_pings = False
        self._ended: tuple[int, str] | None = None
        self._broken_by: BaseException | None = None
        """Why nothing more could be received, where the real stream knows: TLS says so."""
        self._control_changed = trio.lowlevel.ParkingLot()
        # Sending
        self._sends_frames = False
        """The 101 went by: what is sent from here on is frames, in the queue."""
        self._masks: list[bytes] = []
        self._queue: list[bytes] = []
        self._try_send = try_send or _take_nothing
        self._leaves_all_to_writer = try_send is None
        self._writing = self._leaves_all_to_writer
        """The queue, or what was taken from it, is the writer's: what is sent past it would come too early."""
        self._close_queued = False
        self._woken = False
        self._dead = False
        self._work_came = trio.lowlevel.ParkingLot()
        self._queue_shrank = trio.lowlevel.ParkingLot()

    # For the receive loop

    async def receive_batch(self) -> list[bytes]:
        """Give every message that has come, at least one: text as plain ``bytes``, binary as `BinaryMessage`.

        Only one task may receive at a time.

        Raises:
            TransportEnded: The connection is over. All messages before its end were given.

        Back-pressure: The peer is read from only while this runs. It waits too while trio-websocket has a lot of
        pings to answer and the peer does not read the answers.

        Cancellation: Nothing is lost; what came is given by the next call.
        """
        while True:
            while len(self._control) > _CONTROL_LIMIT and self._ended is None:
                await self._control_changed.park()
            if self._ended is not None:
                await trio.lowlevel.checkpoint()
                raise TransportEnded(*self._ended, violation=self._reader.violation is not None)
            data = await self._receive(self._receive_size)
            messages = self._reader.feed(data)
            if len(data) == self._receive_size:
                wanted = len(data) * _MESSAGES_AT_ONCE // (len(messages) or 1)
                self._receive_size = max(_RECEIVE_SIZE, min(wanted, _LARGEST_RECEIVE_SIZE))
            elif len(data) < _RECEIVE_SIZE:
                self._receive_size = _RECEIVE_SIZE
            self._control += self._reader.take_control()
            if self._reader.close is not None:
                self._ended = self._reader.close
            elif self._reader.violation is not None:
                self._fail(self._reader.violation)
            elif not data:
                self._ended = (_ABNORMAL, "")
            if self._control or self._ended is not None:
                self._control_changed.unpark_all()
            if messages:
                return messages

    # For the writer

    def queue_frames(self, payloads: Sequence[bytes], *, binary: bool = False) -> None:
        """Put messages into the queue, for the next `push` or `flush`.

        Raises:
            trio.BrokenResourceError: Nothing can be sent any more; see `can_send`.
        """
        if self._dead:
            self._check_alive()
        if self._close_queued:
            raise trio.BrokenResourceError("a close frame was sent")
        for payload in payloads:
            # The key is taken here as `_mask_key` does, for a call costs as much as the rest.
            key = self._masks.pop() if self._masks else self._mask_key(len(payloads))
            frame = encode_frame(payload, binary=binary, mask_key=key)
            self._queue.append(frame)
            self.queued_bytes += len(frame)
        if self._writing:
            self._call_writer()

    @property
    def can_send(self) -> bool:
        """False once a close frame is queued, or the stream is dead."""
        return not self._close_queued and not self._dead

    def queue_ping(self) -> None:
        """Put a ping into the queue, unless nothing can be sent any more."""
        if not self._dead and not self._close_queued:
            self._enqueue(encode_ping(mask_key=self._mask_key()))

    def hold(self, frame: bytes) -> int:
        """Put a whole frame, ready as it is, into the queue, for the next `push`; give how many bytes are queued.

        On a stream that is dead or ending it is dropped.
        """
        if not self._dead and not self._close_queued:
            self._queue.append(frame)
            self.queued_bytes += len(frame)
        return self.queued_bytes

    def push(self) -> int:
        """Send what is queued at once, as far as the real stream takes it; the rest is left to the writer.

        Gives how many bytes that are.
        """
        if self._queue and not self._writing:
            data = self._queue[0] if len(self._queue) == 1 else b"".join(self._queue)
            self._queue.clear()
            self.queued_bytes = 0
            self._send_at_once(data)
            if self._queue_shrank:
                self._queue_shrank.unpark_all()
        return self.queued_bytes

    def send_frame(self, frame: bytes) -> int:
        """Do what `hold` and then `push` do."""
        if self._queue or self._writing or self._close_queued or self._dead:
            self.hold(frame)
            return self.push()
        self._send_at_once(frame)
        return self.queued_bytes

    def wake(self) -> None:
        """Let the running, or else the next, `wait_for_work` return."""
        if not self._woken:
            self._woken = True
            self._call_writer()

    async def wait_for_work(self) -> None:
        """Wait until something is queued, or `wake` was called since the last time that this returned.

        Raises:
            trio.BrokenResourceError: The stream is dead.

        Cancellation: A `wake` is kept for the next call.
        """
        if self._queue or self._woken or self._dead:
            await trio.lowlevel.checkpoint()
        self._check_alive()
        while not self._queue and not self._woken:
            await self._work_came.park()
            self._check_alive()
        self._woken = False

    async def flush(self) -> None:
        """Send all that is queued, as one piece. Only the writer may call it.

        Raises:
            trio.BrokenResourceError: It cannot be sent, now or ever. Receiving goes on, since a close frame that the
                peer sent before may still tell why.

        Cancellation: What got out may end within a frame, so the stream is closed on the spot and dead for good. The
        peer sees an abrupt end, never garbage.
        """
        self._check_alive()
        if not self._queue:
            await trio.lowlevel.checkpoint()
            return
        data = b"".join(self._queue)
        self._queue.clear()
        self._writing = True
        await self._send(data)
        self.queued_bytes -= len(data)
        self._writing = self._leaves_all_to_writer or bool(self._queue)
        self._queue_shrank.unpark_all()

    # For trio-websocket

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Give bytes of the handshake, then control frames as the receive loop finds them, then ``b""`` at the end.

        Raises:
            TransportEnded: The connection ended during the handshake. trio-websocket knows no such end: it would let
                its caller wait for ever, so this is made to go through it.

        Cancellation: Nothing is lost.
        """
        if self._handshake is not None:
            return await self._receive_handshake(self._handshake, max_bytes)
        await trio.lowlevel.checkpoint()
        self._drop_pings()
        while not self._control and self._ended is None:
            await self._control_changed.park()
            self._drop_pings()
        data = self._take_control(max_bytes)
        self._control_changed.unpark_all()
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send bytes of the handshake; then put a control frame into the queue.

        Raises:
            TransportEnded: On a client's side, the connection broke during the handshake: see `receive_some`.
            trio.BrokenResourceError: It broke otherwise.

        Back-pressure: A frame waits while the queue is very long.

        Cancellation: In the handshake, as `flush`; later nothing was queued.
        """
        data = bytes(data)
        if not self._sends_frames:
            try:
                await self._send(data)
            except trio.BrokenResourceError as error:
                if not self._client:
                    raise
                raise TransportEnded(_ABNORMAL, "the connection ended during the handshake") from error
            self._sends_frames = not self._client and is_switch(data)
            return
        await trio.lowlevel.checkpoint()
        while self.queued_bytes > _REPLY_LIMIT and not self._dead:
            await self._queue_shrank.park()
        self._check_alive()
        self._enqueue(data)
        if data[:1] == _CLOSE:
            self._close_queued = True
            self._queue_shrank.unpark_all()

    async def wait_send_all_might_not_block(self) -> None:
        """Do nothing, since `send_all` only fills a queue.

        Cancellation: Changes nothing.
        """
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        """Close the real stream once all is sent, as `drain` says. The receive loop may not call this.

        Cancellation: The stream is closed at once.
        """
        try:
            await self.drain()
        finally:
            self._die()
            await self._inner.aclose()

    # For both

    def ignore_pings(self) -> None:
        """Leave pings without an answer from now on: to be called before trio-websocket sends its close frame.

        Behind that no pong may go out, and trio-websocket, asked for one, fails with an error of its own.
        """
        self._ignores_pings = True

    async def drain(self) -> None:
        """Wait until the queue is sent and, if the peer closed, the answer to it; or the stream is dead.

        So the writer has to run meanwhile, and may not call this itself.

        Cancellation: Changes nothing.
        """
        await trio.lowlevel.checkpoint()
        while not self._dead and (self.queued_bytes or self._owes_close()):
            await self._queue_shrank.park()

    # Within

    async def _receive(self, max_bytes: int | None) -> bytes:
        """Give what comes next, or ``b""`` however the connection ended."""
        if self._early:
            await trio.lowlevel.checkpoint()
            data, self._early = self._early[:max_bytes], b"" if max_bytes is None else self._early[max_bytes:]
            return data
        try:
            # A stream may give a bytearray, slices of which would be bytearrays too.
            data = bytes(await self._receive_some(max_bytes or _RECEIVE_SIZE))
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            self._broken_by = error.__cause__
            return b""
        if data:
            self.last_received = trio.current_time()
        return data

    async def _receive_handshake(self, handshake: Handshake, max_bytes: int | None) -> bytes:
        data = await self._receive(max_bytes)
        if not data and not self._dead:
            answered = f", after an answer with status {handshake.status}" if handshake.status else ""
            reason = f"the connection ended during the handshake{answered}"
            raise TransportEnded(_ABNORMAL, reason) from self._broken_by
        size = handshake.take(data)
        if handshake.refused_at_length:
            raise TransportEnded(_ABNORMAL, "the service refused the handshake, and gave too long an answer")
        if handshake.done:
            self._handshake = None
            self._sends_frames = self._client
            self._early = data[size:] + self._early
        return data[:size]

    def _take_control(self, max_bytes: int | None) -> bytes:
        """Cut off one control frame at most, so that trio-websocket never holds a ping when it begins to close."""
        if not self._control_left:
            self._control_left = self._control_size()
        data = bytes(self._control[: self._control_left if max_bytes is None else min(self._control_left, max_bytes)])
        del self._control[: len(data)]
        self._control_left -= len(data)
        return data

    def _drop_pings(self) -> None:
        while self._ignores_pings and not self._control_left and self._control.startswith(_PING):
            del self._control[: self._control_size()]

    def _control_size(self) -> int:
        """How long the first control frame is: head, mask and payload."""
        return 2 + (0 if self._client else 4) + (self._control[1] & 0x7F) if self._control else 0

    def _fail(self, violation: ProtocolViolation) -> None:
        """Tell the peer what it did wrong, without trio-websocket, which sees no data frames."""
        self._ended = (violation.code, violation.reason)
        if not self._close_queued and not self._dead:
            self._enqueue(encode_close(violation.code, violation.reason, mask_key=self._mask_key()))
            self._close_queued = True

    def _owes_close(self) -> bool:
        """Whether the peer's close frame was handed to trio-websocket, whose answer has not come yet."""
        return self._reader.close is not None and not self._close_queued

    def _mask_key(self, frames: int = 1) -> bytes | None:
        """Give the mask of the next of so many frames."""
        if not self._client:
            return None
        if not self._masks:
            masks = self._random_bytes(4 * max(frames, _MASKS_AT_ONCE))
            self._masks = [masks[start : start + 4] for start in range(0, len(masks), 4)]
        return self._masks.pop()

    def _enqueue(self, frame: bytes) -> None:
        self._queue.append(frame)
        self.queued_bytes += len(frame)
        if self._writing:
            self._call_writer()
        else:
            self.push()

    def _send_at_once(self, data: bytes) -> None:
        """Send what comes before anything in the queue, which is empty; what is left is put there, for the writer."""
        try:
            sent = self._try_send(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._die()
        else:
            if sent == len(data):
                return
            self._queue.append(data[sent:])
            self.queued_bytes = len(data) - sent
            self._writing = True
        self._call_writer()

    def _call_writer(self) -> None:
        if self.start_writer is not None:
            self.start_writer()
            self.start_writer = None
        if self._work_came:
            self._work_came.unpark_all()

    async def _send(self, data: bytes) -> None:
        self._check_alive()
        try:
            await self._inner.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            self._die()
            raise trio.BrokenResourceError("the connection broke") from error
        except BaseException:
            # Cancelled: how much got out is unknown. The shield lets the reason for this be what is raised.
            self._die()
            with trio.CancelScope(shield=True):
                await trio.aclose_forcefully(self._inner)
            raise

    def _check_alive(self) -> None:
        if self._dead:
            raise trio.BrokenResourceError("the connection broke, or was closed")

    def _die(self) -> None:
        self._dead = True
        self._queue.clear()
        self.queued_bytes = 0
        self._work_came.unpark_all()
        self._queue_shrank.unpark_all()


def _take_nothing(_data: bytes) -> int:
    return 0
