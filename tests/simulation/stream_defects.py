"""Defects of streams and of states in groups, for the list of mutants: what a `defects.Mutant` is made of."""

from __future__ import annotations

OUTGOING = "protocol/outgoing_streams.py"
INCOMING = "protocol/incoming_streams.py"
STATES = "protocol/group_state.py"

STREAM_DEFECTS: list[tuple[str, str, str, str]] = [
    (
        "fragments are not written again after a recovery",
        OUTGOING,
        "            self._start_over(stream)\n            stream.asked_again = False\n",
        "            stream.asked_again = False\n",
    ),
    (
        "a nack is taken for an acknowledgement",
        OUTGOING,
        "            stream.unwritten = len(stream.fragments)\n            stream.hold_until",
        "            stream.hold_until",
    ),
    (
        "a nack makes the next fragment alone go out again",
        OUTGOING,
        "            stream.unwritten = len(stream.fragments)\n            stream.hold_until",
        "            stream.unwritten = 1\n            stream.hold_until",
    ),
    (
        "the end overtakes fragments that were refused",
        "protocol/outgoing_stream.py",
        "(self.hurried or not self.fragments)",
        "(self.error is not None or not self.fragments)",
    ),
    (
        "an end whose answer was lost is not written again",
        OUTGOING,
        "        stream.control_due = True\n        stream.waiting_since = math.inf\n",
        "        stream.waiting_since = math.inf\n",
    ),
    (
        "streams are not lost with their session",
        OUTGOING,
        "lost = [stream for stream in self._streams.values() if stream.opening_written]",
        "lost: list[OutgoingStream] = []",
    ),
    (
        "an acknowledgement counts for one fragment more",
        OUTGOING,
        "        stream.acknowledged += confirmed\n",
        "        stream.acknowledged += confirmed + bool(stream.fragments)\n",
    ),
    (
        "the service publishes repeated fragments",
        "emulator/hub/streams.py",
        "        if number == stream.expected:\n",
        "        if number <= stream.expected:\n",
    ),
    (
        "missing fragments are not told",
        INCOMING,
        "            events.append(Missing(stream, number - stream.expected))\n",
        "",
    ),
    (
        "the end of a stream is passed over",
        INCOMING,
        "        if info.end_of_stream:\n            events",
        "        if False:\n            events",
    ),
    (
        "a state is not set again in a new session",
        STATES,
        '                self.set(group, state).purpose = "internal"\n',
        "                pass\n",
    ),
    (
        "a snapshot removes nobody",
        STATES,
        "for connection_id in [each for each in observed.members if each not in listed]:",
        "for connection_id in ():",
    ),
    (
        "groups are not watched again in a new session",
        STATES,
        '            self._submit(wire.SubscribeGroupState(group)).purpose = "internal"\n',
        "            pass\n",
    ),
    (
        "the states of a connection stay when it is gone",
        "emulator/hub/group_states.py",
        "        for group in list(share.sizes):\n            self.set(connection, group, None, now, effects)\n",
        "",
    ),
]
