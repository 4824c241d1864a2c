"""The part of the client's face that the service has as previews: streams and states of groups."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any, Literal, overload

from ..protocol import wire
from ..protocol.arguments import check_flags, check_number, check_type
from ..protocol.messages import Gap, GroupMessage, SendResult
from ..protocol.names import check_group, check_text
from ..protocol.payloads import check_state
from .core import Core
from .group_state import GroupState, watching
from .group_streams import DEFAULT_FRAGMENTS, GroupStreams, StreamsRoute
from .router import Fragments
from .stream_writer import GroupStreamWriter, running_stream
from .subscribing import attach, check_buffer

IDLE_TIMEOUT = 300.0
"""The service's own, in seconds."""

LONGEST_IDLE_TIMEOUT = (2**32 - 1) / 1000


class Previews:
    """Streams and states of groups. The service may still change both."""

    def __init__(self, core: Core) -> None:
        check_type("core", core, Core, "what open_client makes: async with open_client(url) as client")
        self._core = core

    def open_stream(
        self,
        group: str,
        *,
        no_echo: bool = False,
        idle_timeout: float = IDLE_TIMEOUT,
        stream_id: str | None = None,
    ) -> AbstractAsyncContextManager[GroupStreamWriter]:
        """Stream fragments to everybody in a group, in order (a preview of the service).

        ``async with client.open_stream("g") as stream`` waits until the service has opened the stream. Leaving the
        block waits until all fragments are acknowledged, ends the stream and waits until the service has closed it. A
        block that an exception leaves ends it with an error, which readers get as `StreamFailed` with
        ``user_error_code`` ``"Exception"``, or ``"Cancelled"`` when it was cancelled; of the exception they get the
        name of its class.

        Fragments that a lost link took along are sent again when it is recovered, and arrive once and in order. When
        the block does nothing, the service is told now and then that it lives.

        Args:
            group: The group. Like `send_to_group` this takes a role, and no membership.
            no_echo: Leave out this connection, if it is a member.
            idle_timeout: Seconds after which the service ends the stream when it hears nothing of it.
            stream_id: The stream's name, unique among the open ones of this connection; by default a random one.

        Raises:
            StreamFailed: On entry: the service refused; ``Forbidden`` when a role is missing. On leaving: the service
                closed the stream otherwise.
            StreamLost: The session was lost, and the stream with it.
            ClientStopped, trio.ClosedResourceError: There is no connection any more.
            MessageTooLarge: On entry: ``stream_id`` is too long.
            TypeError, ValueError: ``group`` is no group name, or another argument makes no sense.

        Cancellation: On entry the opening is taken back. In the block the stream is ended with an error, which takes at
        most half a second. On leaving, what was written is still sent.
        """
        if not 0.001 <= check_number("idle_timeout", idle_timeout) <= LONGEST_IDLE_TIMEOUT:
            raise ValueError(f"idle_timeout is {idle_timeout}; it must be 0.001 to {LONGEST_IDLE_TIMEOUT} seconds")
        if stream_id is None:
            stream_id = str(uuid.uuid4())
        elif not check_text(stream_id, "stream_id"):
            raise ValueError("stream_id is empty")
        check_flags(no_echo=no_echo)
        start = wire.StreamStart(stream_id, round(idle_timeout * 1000))
        opening = wire.OpenStream(group=check_group(group), stream=start, no_echo=no_echo)
        return running_stream(self._core, opening, idle_timeout)

    @overload
    def group_streams(
        self,
        group: str | None = None,
        *,
        join: bool = True,
        from_start: bool = False,
        gaps: Literal[False] = False,
        idle_timeout: float = IDLE_TIMEOUT,
        buffer: int = DEFAULT_FRAGMENTS,
    ) -> GroupStreams[GroupMessage]: ...

    @overload
    def group_streams(
        self,
        group: str | None = None,
        *,
        join: bool = True,
        from_start: bool = False,
        gaps: Literal[True],
        idle_timeout: float = IDLE_TIMEOUT,
        buffer: int = DEFAULT_FRAGMENTS,
    ) -> GroupStreams[GroupMessage | Gap]: ...

    def group_streams(
        self,
        group: str | None = None,
        *,
        join: bool = True,
        from_start: bool = False,
        gaps: bool = False,
        idle_timeout: float = IDLE_TIMEOUT,
        buffer: int = DEFAULT_FRAGMENTS,
    ) -> GroupStreams[Any]:
        """Subscribe to the streams that come to a group (a preview of the service).

        Used as `group_messages` is, and gives a `GroupStream` for each stream: iterate over that one too, in a task of
        its own if others shall not wait.

        Args:
            group: The group; ``None`` for the streams of every group that this connection is in, without joining any.
            join: ``False`` for a membership that the token, the REST API or an event handler gives.
            from_start: Pass over streams whose first fragment was missed. Otherwise ``GroupStream.from_start`` says so.
            gaps: Let each stream yield a `Gap` wherever fragments are missing, before a late start too.
                ``GroupStream.missing`` counts them in any case.
            idle_timeout: Seconds after which a stream of which nothing comes fails with ``IdleTimeout``, or
                ``math.inf``. What keeps an idle stream alive at the service does not reach its readers.
            buffer: Fragments of one stream that may wait for its reader, 1,024 by default; one more, and that stream
                alone ends with `SubscriptionOverflow`.

        Raises:
            ValueError: ``group`` is no group name, or an argument makes no sense.
        """
        check_flags(join=join, from_start=from_start, gaps=gaps)
        check_buffer(buffer, "fragment")
        check_number("idle_timeout", idle_timeout)
        core = self._core
        route = StreamsRoute(
            buffer=buffer,
            gaps=gaps,
            from_start=from_start,
            idle_timeout=idle_timeout,
            crowd=core.router.crowd,
            abandoned=core.router.abandoned,
        )
        key = Fragments(None if group is None else check_group(group))
        enter, release = attach(core, route, key, join=group if join else None)
        return GroupStreams(route, enter=enter, release=release, abandoned=core.router.abandoned)

    async def set_group_state(self, group: str, state: Mapping[str, str]) -> SendResult:
        """Tell a group something about this connection: presence, typing, a cursor (a preview of the service).

        ``state`` replaces what was set before, all of it. It stays until `clear_group_state`, is set again in every new
        session, and is gone when the client's block ends. It needs the role ``webpubsub.setGroupState``.

        Raises:
            SendFailed: the service refused; ``Forbidden`` when the role is missing.
            AckTimeout: no answer came.
            MessageTooLarge: nothing was sent.
            ClientStopped, trio.ClosedResourceError: there is no connection any more.
            TypeError, ValueError: ``group`` is no group name, or ``state`` no mapping of strings to strings.

        Cancellation: the state is set or not, depending on whether the frame was already written.

        Back-pressure: waits while too many operations are pending.
        """
        check_group(group)
        return await self._core.perform(partial(self._core.session.outgoing.states.set, group, check_state(state)))

    async def clear_group_state(self, group: str) -> SendResult:
        """Take back what `set_group_state` told (a preview of the service).

        Raises:
            SendFailed, AckTimeout, ClientStopped, trio.ClosedResourceError, ValueError: as for `set_group_state`.

        Cancellation: the state is cleared or not, depending on whether the frame was already written.

        Back-pressure: waits while too many operations are pending.
        """
        check_group(group)
        return await self._core.perform(partial(self._core.session.outgoing.states.set, group, None))

    def group_state(self, group: str) -> AbstractAsyncContextManager[GroupState]:
        """Watch what the connections in a group tell about themselves (a preview of the service).

        ``async with client.group_state("g") as members`` waits for the service's snapshot; from then on ``members`` is
        a live mapping, and ``members.changes()`` tells what changes. It needs the role ``webpubsub.getGroupState`` and
        no membership.

        Raises:
            SendFailed: On entry: the service refused; ``Forbidden`` when the role is missing.
            AckTimeout: On entry: no answer or no snapshot came.
            GroupLost: On entry: the session was lost meanwhile, and the service refused in the next one.
            ClientStopped, trio.ClosedResourceError: There is no connection any more.
            ValueError: ``group`` is no group name.

        Cancellation: Nothing is watched any more.
        """
        return watching(self._core, check_group(group))
