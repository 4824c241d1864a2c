"""Defects of real code, each of which breaks something that the promise rests on; `mutants` plants them."""

from __future__ import annotations

from typing import NamedTuple

from .stream_defects import STREAM_DEFECTS


class Mutant(NamedTuple):
    """A defect: in a module, some text that stands there once, and what stands there instead."""

    name: str
    module: str
    old: str
    new: str
    also: tuple[tuple[str, str, str], ...] = ()
    """What else has to be changed for it, each a module, a text and another text."""


MUTANTS = [
    # What comes down
    Mutant("dedupe off", "protocol/sequence.py", "if sequence_id <= self.newest:", "if False:"),
    Mutant(
        "whatever came in one batch is new",
        "protocol/sequence.py",
        "if sequence_ids == list(range(self.newest + 1, self.newest + count + 1)):",
        "if None not in sequence_ids:",
    ),
    Mutant(
        "sequence-ack too early",
        "protocol/sequence.py",
        "        self._disarm()\n        return self.newest",
        "        self._disarm()\n        return self.newest + 1",
    ),
    Mutant(
        "no sequence-ack",
        "protocol/session.py",
        "return deadline if self._sequence_ack_due else min(deadline, self._sequence.due)",
        "return deadline",
    ),
    Mutant("a new session counts on from the old one", "protocol/session.py", "        self._sequence.reset()\n", ""),
    Mutant(
        "gap swallowed",
        "protocol/session.py",
        "            outputs.append(Gap(session_lost=True))\n",
        "            pass\n",
    ),
    Mutant(
        "gap told before the messages that came before it",
        "client/route.py",
        "        self._messages.append(gap)\n        self._sizes.append(_GAP)\n        if",
        "        self._messages.appendleft(gap)\n        self._sizes.appendleft(_GAP)\n        if",
    ),
    Mutant(
        "a lost session is told twice",
        "client/router.py",
        "        if isinstance(value, Connected):\n",
        "        if isinstance(value, Connected) and not value.first:\n"
        "            for route in self._routes.get(Feed.LIFECYCLE, ()):\n"
        "                route.deliver(value, 0)\n"
        "        if isinstance(value, Connected):\n",
    ),
    Mutant(
        "route after join",
        "client/core.py",
        "            self.router.add(key, route, also)  # nothing is written before this returns\n"
        "            return operation\n\n        try:\n            await self.perform(start)\n",
        "            return operation\n\n        try:\n            await self.perform(start)\n"
        "            await trio.lowlevel.checkpoint()\n            self.router.add(key, route, also)\n",
    ),
    Mutant(
        "buffer unbounded",
        "client/route.py",
        "if self._ended or self._count + len(messages) > self._max_messages or self._bytes + size > self._max_bytes:",
        "if self._ended:",
    ),
    Mutant(
        "what does not fit is not counted",
        "client/route.py",
        "        self.dropped += 1\n        gap = Gap(overflowed=1)\n",
        "        self.dropped += 1\n        gap = Gap()\n",
    ),
    Mutant(
        "the beginning of a frame is forgotten",
        "protocol/frame_reader.py",
        "            self._missing = needed\n            self._keep(data[position:])",
        "            self._missing = needed\n            self._keep(data[position + 1 :])",
    ),
    # What goes up
    Mutant(
        "wrong resend order",
        "protocol/pending.py",
        "self._outbox = list(self._by_id.values())",
        "self._outbox = list(reversed(self._by_id.values()))",
    ),
    Mutant(
        "nothing is resent",
        "protocol/pending.py",
        "self._outbox = list(self._by_id.values())",
        "self._outbox = [each for each in self._by_id.values() if not each.writes]",
    ),
    Mutant(
        "old outbox kept",
        "protocol/pending.py",
        "        self._outbox = list(self._by_id.values())",
        "        self._outbox.extend(each.frame for each in self._by_id.values())\n"
        "        self._outbox += self._by_id.values()",
    ),
    Mutant(
        "new ack id on retry",
        "protocol/outgoing.py",
        "        self.pending.refill()",
        "        self.pending.new_session()",
    ),
    Mutant(
        "a duplicate never ran",
        "protocol/pending.py",
        "if operation.writes > 1:",
        "if operation.writes > 99:",
    ),
    Mutant(
        "ack deadline forgotten",
        "protocol/pending.py",
        "return min(deadline, oldest.written_at + self._ack_timeout)",
        "return deadline",
    ),
    Mutant(
        "what is unknown is called done",
        "protocol/pending.py",
        "resolved.append(self._resolve(operation, Unknown()))",
        "resolved.append(self._resolve(operation, Done()))",
    ),
    Mutant(
        "what is unknown is sent again",
        "protocol/pending.py",
        "case _ if operation.writes and not operation.repeat_in_new_session:",
        "case _ if False:",
    ),
    Mutant(
        "a cancelled send is written all the same",
        "protocol/pending.py",
        "elif entry.outcome is not None or entry.ack_id not in self._by_id:  # the caller went away",
        "elif entry.outcome is not None:",
    ),
    Mutant(
        "a cancelled join is not undone",
        "protocol/outgoing.py",
        "self._membership.release(group, maybe_joined=operation.writes > 0)",
        "self._membership.release(group, maybe_joined=False)",
    ),
    Mutant(
        "groups are not joined again",
        "protocol/outgoing.py",
        '                self._join(group, "internal")\n',
        "                pass\n",
    ),
    Mutant(
        "room is offered to nobody",
        "client/core.py",
        "        if self._room and self._has_room:\n            self._room.unpark()",
        "        pass",
    ),
    Mutant(
        "no limit for what is pending",
        "client/core.py",
        "return len(pending) < self._max_pending_sends and pending.bytes < self._max_pending_bytes",
        "return True",
    ),
    Mutant(
        "REST repeats a send whose outcome is unknown",
        "service/retries.py",
        "            return self._repeatable\n",
        "            return True\n",
    ),
    Mutant(
        "what nobody waits for is not written",
        "protocol/pending.py",
        "        self.posted_bytes += len(frame)\n        self._outbox.append(frame)\n",
        "        pass\n",
    ),
    Mutant(
        "what is unread is not handed over",
        "client/router.py",
        "                unread[_name_of(key)] = max([[], *(route.hand_over() for route in fresh)], key=len)\n",
        "                unread[_name_of(key)] = []\n",
    ),
    Mutant(
        "what is pending is not handed over",
        "protocol/outgoing.py",
        "        for each in contents.operations:\n",
        "        for each in contents.operations[:-1]:\n",
    ),
    # Links
    Mutant(
        "a dead link is never noticed",
        "protocol/keep_alive.py",
        "return deadline if now < deadline else None",
        "return now + self._answer_timeout",
    ),
    Mutant(
        "a recovery does not ask for a sign",
        "protocol/keep_alive.py",
        "        self.due = ping\n",
        "        self.due = False\n",
    ),
    Mutant(
        "a broken link ends the session",
        "protocol/session.py",
        "if self._codec.reliable and self._reconnection_token and self.connection_id:",
        "if False:",
    ),
    Mutant(
        "writer cancelled within a frame",
        "client/connection.py",
        "                    await frames.flush()\n",
        "                    with trio.move_on_after(0.4):\n                        await frames.flush()\n",
        also=(
            (
                "_shell/frame_stream.py",
                "            # Cancelled: how much got out is unknown. "
                "The shield lets the reason for this be what is raised.\n"
                "            self._die()\n            with trio.CancelScope(shield=True):\n"
                "                await trio.aclose_forcefully(self._inner)\n            raise\n",
                "            self.queued_bytes = 0\n            raise\n",
            ),
        ),
    ),
    Mutant(
        "no deadline for the handshake",
        "client/transport.py",
        "            with trio.fail_at(deadline):\n                websocket",
        "            with trio.fail_after(1e9):\n                websocket",
    ),
    Mutant(
        "no deadline for the URL",
        "client/url_source.py",
        "            with trio.move_on_after(seconds) as scope:",
        "            with trio.move_on_after(1e9) as scope:",
    ),
    Mutant(
        "links are left open",
        "client/transport.py",
        "    finally:\n        await trio.aclose_forcefully(frames)\n",
        "    finally:\n        pass\n",
    ),
    Mutant(
        "shield taken away",
        "client/supervisor.py",
        "trio.CancelScope = trio.CancelScope(shield=True)",
        "trio.CancelScope = trio.CancelScope()",
    ),
    Mutant(
        "shield at started",
        "client/opening.py",
        '            nursery.start_soon(run, name=f"supervisor {core.hub}")\n',
        "            background.shield = False\n"
        '            nursery.start_soon(run, name=f"supervisor {core.hub}")\n'
        "            with trio.CancelScope(shield=True):\n"
        "                await core.wait_ready()\n"
        "            background.shield = True\n",
    ),
    # What only a close look sees
    Mutant(
        "the messages of a group are everybody's",
        "client/router.py",
        "        return (message.group, Feed.EVERY_GROUP)",
        "        return (*(key for key in self._routes if isinstance(key, str)), Feed.EVERY_GROUP)",
    ),
    Mutant(
        "no echo is not asked for", "client/client.py", "            no_echo=no_echo,", "            no_echo=False,"
    ),
    Mutant(
        "JSON goes as text",
        "protocol/payloads.py",
        "            return Payload(data_type, _json(data))",
        '            return Payload("text", _json(data))',
    ),
    Mutant(
        "metadata is lost",
        "protocol/protobuf_upstream.py",
        "    metadata = dict(request.metadata)\n",
        "    metadata = dict[str, str]()\n",
    ),
    Mutant(
        "an answer is for whoever has waited longest",
        "protocol/invocations.py",
        "invocation = self._running.pop(response.invocation_id, None)",
        "invocation = self._running.pop(next(iter(self._running), response.invocation_id), None)",
    ),
    Mutant(
        "an invocation outlives its link",
        "protocol/invocations.py",
        "        failed = list(self._running.values())\n        self._running.clear()\n        return failed",
        "        return []",
    ),
    Mutant(
        "what was written still counts as waiting",
        "protocol/pending.py",
        "                self.posted_bytes -= len(entry)\n                frame = entry\n",
        "                frame = entry\n",
    ),
    Mutant(
        "an event is asked for again",
        "protocol/pending.py",
        "if operation.asked_again or isinstance(operation.message, wire.SendEvent):",
        "if operation.asked_again:",
    ),
    Mutant(
        "a silence may last three times as long",
        "protocol/keep_alive.py",
        "        deadline = last_received + self._interval\n",
        "        deadline = last_received + 3 * self._interval\n",
    ),
    Mutant(
        "a recovery needs no proof in time",
        "client/supervisor.py",
        "min(now + self._connect_timeout, deadline), PROOF_TIMEOUT)",
        "min(now + self._connect_timeout, deadline))",
    ),
    Mutant(
        "pauses grow without a limit",
        "protocol/backoff.py",
        "        limit = min(limit * 2, cap)",
        "        limit = limit * 8",
    ),
    Mutant(
        "leaving takes as long as it takes",
        "client/opening.py",
        "                with trio.move_on_after(at_most, shield=True):",
        "                with trio.CancelScope(shield=True):",
    ),
    Mutant(
        "a closed subscription is still served",
        "client/router.py",
        "                routes.remove(route)\n",
        "",
    ),
    Mutant(
        "lost messages are not counted with their subscription",
        "client/router.py",
        "return self._dropped_before + sum(",
        "return self._dropped_before + 2 * sum(",
    ),
    Mutant(
        "a token stands in an error",
        "client/supervisor.py",
        '        return ConnectFailed(f"the connection was closed before',
        '        return ConnectFailed(f"{url.access_token}: the connection was closed before',
    ),
    # The service's side, which the promise needs as well
    Mutant(
        "the hub runs an ack id twice",
        "emulator/hub/requests.py",
        "elif request.ack_id is not None and not connection.ack_ids.remember(request.ack_id):",
        "elif False:",
    ),
    Mutant(
        "the hub replays too little",
        "emulator/hub/session.py",
        "while numbers and numbers[0] <= sequence_id:",
        "while numbers and numbers[0] <= sequence_id + 1:",
    ),
    Mutant(
        "the hub does not take over a half-open link",
        "emulator/hub/hub.py",
        "            effects.append(Abort(connection.transport))\n            self._lifetimes.detach",
        '            return [Close(transport, 1013, "busy")]\n            self._lifetimes.detach',
    ),
    Mutant(
        "the hub echoes to who wants no echo",
        "emulator/hub/requests.py",
        "excluded = {connection.id} if request.no_echo else ()",
        "excluded = ()",
    ),
    Mutant(
        "an event handler may take as long as it likes",
        "emulator/dispatcher.py",
        "        with trio.move_on_after(self._limits.timeout):",
        "        with trio.CancelScope():",
    ),
    Mutant(
        "the groups that an event handler gives are forgotten",
        "emulator/hub/hub.py",
        "groups=request.groups if answer.groups is None else answer.groups,",
        "groups=request.groups,",
    ),
    Mutant(
        "an event that comes again is handled again",
        "webhooks/replays.py",
        "        if (known := self._answers.get(key)) is not None:\n            return known, True\n",
        "",
    ),
    *(Mutant(*defect) for defect in STREAM_DEFECTS),
]
