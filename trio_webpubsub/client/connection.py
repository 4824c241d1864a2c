"""One transport at work: receive loop, writer, sequence-ack ticker and keep-alive, a task and a function each.

Most of what is written needs no waiting, so whoever has something to write does so by `Connection.write`. The writer is
there for what the network does not take at once, and for what should go together. It and the ticker are tasks only
once there is something for them to do: most of many clients in a process do nothing but listen.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, Sequence

import trio

from .._shell.frame_stream import TransportEnded
from ..protocol.session import Session
from ..protocol.session_values import Delivery, Output
from .router import Router
from .transport import Transport

logger: logging.Logger = logging.getLogger("trio_webpubsub.client")

ABNORMAL_CLOSURE = 1006
"""The code that stands for no close frame."""

LAST_WORDS = 0.5
"""Seconds that a transport which has ended gets for answering a close frame."""

AT_ONCE = 768
"""So many frames are handed over before consumers get a chance to take them. One read may bring thousands of small
ones, and a subscription with a short buffer, as a stream has, would not hold them however quick its consumer is."""

LOGGED_CHARACTERS = 4096
"""So much of a message is logged."""

Dispatch = Callable[[Sequence[Output]], None]
"""Takes a session's outputs."""


class Connection:
    """Moves bytes and time between a transport and the session, until the transport ends."""

    def __init__(
        self,
        session: Session,
        transport: Transport,
        router: Router,
        dispatch: Dispatch,
        written: Callable[[], None],
        *,
        log_payloads: bool,
    ) -> None:
        self._session = session
        self._transport = transport
        self._frames = transport.frames
        self._router = router
        self._dispatch = dispatch
        self._written = written
        self._log_payloads = log_payloads
        self._binary = session.binary
        self._proven = False
        self._tick_scope: trio.CancelScope | None = None
        """The ticker's; without one, the ticker is still to be started."""
        self._keep_alive_scope = trio.CancelScope()
        self._link_deadline = math.inf
        """When the link must have shown that it carries the session; then, when to look if it still lives."""
        self._flushing_since = math.inf
        self._name = ""
        self._ended: TransportEnded  # as the receive loop says before it sets the event
        self._over = trio.Event()

    @property
    def proven(self) -> bool:
        """Whether the transport ever carried the session."""
        return self._proven

    @property
    def busy(self) -> bool:
        """Whether something taken from the session is being written."""
        return self._frames.queued_bytes > 0

    def wake_writer(self) -> None:
        """Something may be there to write, and more may come in this pass of the scheduler."""
        self._frames.wake()

    @trio.lowlevel.enable_ki_protection  # in the caller's task Ctrl-C could strike between a write and its being noted
    def write(self) -> None:
        """Write what the session has, as far as the network takes it without waiting; the rest is the writer's."""
        if not self._frames.queued_bytes:  # else the writer is at it already
            self._write_some()
            if not self._session.idle:
                self.wake_writer()

    async def run(self, name: str, proof_timeout: float) -> TransportEnded:
        """Work until the transport ends; tells how it did.

        Args:
            name: what the tasks are called in a traceback.
            proof_timeout: seconds until the transport must have shown that it carries the session.
        """
        self._session.transport_opened()
        self._link_deadline = trio.current_time() + proof_timeout
        self._name = name
        self._frames.start_writer = self._start_writer
        self._start(self._receive, "receive loop")
        self._start(self._keep_alive, "keep-alive")
        self.write()
        await self._over.wait()
        ended = self._ended
        if ended.code != ABNORMAL_CLOSURE:
            with trio.move_on_after(LAST_WORDS):
                await self._transport.finish()
        return ended

    def _start_writer(self) -> None:
        self._start(self._write, "writer")

    def _start(self, task: Callable[[], Awaitable[None]], what: str) -> None:
        # A nursery of our own would cost every idle client more than a kilobyte.
        self._transport.nursery.start_soon(task, name=f"{what} {self._name}")

    async def aclose(self, code: int) -> None:
        """Do the closing handshake while the tasks still run; `run` then comes to its end."""
        await self._transport.aclose(code)

    async def abort(self) -> None:
        """End the transport without a word, which leaves the session to be recovered."""
        await self._transport.abort()

    async def _receive(self) -> None:
        while True:
            try:
                batch = await self._frames.receive_batch()
            except TransportEnded as ended:
                self._end(ended)
                return
            for start in range(0, len(batch), AT_ONCE):
                await self._pass_on(batch[start : start + AT_ONCE])

    def _end(self, ended: TransportEnded) -> None:
        """Tell of the end before another task runs, which would write more, or take it for a link that works."""
        now = trio.current_time()
        self._dispatch(self._session.transport_ended(ended.code, ended.reason, now, violation=ended.violation))
        self._ended = ended
        self._over.set()

    async def _pass_on(self, batch: list[bytes]) -> None:
        session, router, now = self._session, self._router, trio.current_time()
        outputs = session.receive(batch, now)
        deadline = session.next_deadline
        due = deadline <= now
        if due:  # the service should hear what has come, and a timer would be woken for this only to end at once
            outputs += session.handle_timeout(now)
            deadline = session.next_deadline
        if self._log_payloads:
            for output in outputs:
                _log("received", output.messages if isinstance(output, Delivery) else [output])
        self._dispatch(outputs)
        if not self._proven and session.proven:
            self._proven = True
            self._link_deadline = self._keep_alive_scope.deadline = now  # from here on it looks for signs of life
        self._rearm(deadline)
        if due or not session.idle:  # an ack may have made room, or asked for a new id
            self.write()
        if session.worthless:
            logger.warning("nothing readable comes any more, dropping the link")
            await self._transport.abort()
        router.sweep()
        if router.crowded:
            await router.polite_pause()

    def _write_some(self) -> bool:
        """Write some of what the session has, or queue it; gives whether there was anything."""
        frames = self._frames
        payloads = self._session.take_frames(trio.current_time()) if frames.can_send else []
        if not payloads:
            self._written()  # what was there may have been withdrawn
            return False
        if self._log_payloads:
            _log("sent", payloads)
        frames.queue_frames(payloads, binary=self._binary)
        self._rearm(self._session.next_deadline)
        if not frames.push():
            self._written()
        return True

    async def _write(self) -> None:
        frames = self._frames
        try:
            while True:
                wrote = self._write_some()
                if frames.queued_bytes:
                    self._flushing_since = trio.current_time()
                    await frames.flush()
                    self._flushing_since = math.inf
                    self._written()
                elif wrote:  # acks want to be read before more is written
                    await trio.lowlevel.checkpoint()
                else:
                    await frames.wait_for_work()
        except trio.BrokenResourceError:
            # The receive loop tells how it ended. If only this direction broke, it has to be told.
            await self._transport.abort()

    async def _tick(self) -> None:
        session = self._session
        while True:
            with trio.CancelScope(deadline=session.next_deadline) as self._tick_scope:
                await trio.sleep_forever()
            self._dispatch(session.handle_timeout(trio.current_time()))
            self.write()

    async def _keep_alive(self) -> None:
        while True:
            with trio.CancelScope(deadline=self._link_deadline) as self._keep_alive_scope:
                await trio.sleep_forever()
            if not self._check_link(trio.current_time()):
                break
            self.write()
        await self._transport.abort()

    def _check_link(self, now: float) -> bool:
        """Look if the link still lives, and say when to look again. Makes a ping due after a silence."""
        if not self._proven:
            logger.info("no sign of the session on the new link")
            return False
        deadline = self._session.keep_alive(self._frames.last_received, now)
        # A peer that sends but does not read is as good as dead.
        stalled = self._flushing_since + self._session.patience
        if deadline is None or now >= stalled:
            logger.warning("the other side does not answer or does not read, dropping the link")
            return False
        self._link_deadline = min(deadline, stalled)
        return True

    def _rearm(self, deadline: float) -> None:
        """Make the timers fit what has just happened.

        Args:
            deadline: when the ticker has something to do.
        """
        session = self._session
        if session.pinged and self._proven:
            next_look = session.keep_alive(self._frames.last_received, trio.current_time())
            if next_look is not None:
                self._link_deadline = self._keep_alive_scope.deadline = next_look
        if self._tick_scope is None:
            if deadline < math.inf:
                self._tick_scope = trio.CancelScope()  # until the ticker makes its own
                self._start(self._tick, "sequence-ack ticker")
        elif deadline < self._tick_scope.deadline:
            self._tick_scope.deadline = deadline


def _log(what: str, messages: Sequence[object]) -> None:
    """Log messages as values, whose reprs hold no secret; the frame of ``connected`` would."""
    for message in messages:
        logger.debug("%s %s", what, shown(message))


def shown(value: object) -> str:
    """Give what stands of a value in a log, cut to a length; and never fail, whatever somebody has sent."""
    try:
        text = repr(value)
    except RecursionError:
        return f"<{type(value).__name__} that is nested too deeply to be shown>"
    return text if len(text) <= LOGGED_CHARACTERS else f"{text[:LOGGED_CHARACTERS]}... ({len(text):,} characters)"
