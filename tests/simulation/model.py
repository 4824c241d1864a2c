"""The model of what has to happen, and the checker that compares with it while it happens.

The hub is looked at from inside: what it carries out, and what it numbers for whom, is the truth that clients are
measured by. `Model` is told every delivery and every outcome of a send at once, and fails on the first that is wrong.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import trio

from trio_webpubsub import Gap, GroupMessage, ServerMessage
from trio_webpubsub.emulator import DEFAULT_ACCESS_KEY
from trio_webpubsub.emulator.hub import Hub
from trio_webpubsub.emulator.hub.registry import Connection
from trio_webpubsub.protocol import wire

SECRETS = re.compile(rf"{DEFAULT_ACCESS_KEY}|eyJhbGciOi|\b\d\.[0-9a-f]{{64}}")
"""The access key, the beginning of every token, and reconnection tokens."""

REMEMBERED = 60
"""So many events stand in the report of a failure."""


class Broken(AssertionError):
    """The promise was broken."""


class Hangs(BaseException):
    """A run did not come to its end in real time, though its clock is a virtual one."""


class Numbered(NamedTuple):
    """A message that the hub numbered for one connection, and all that its client is to hear of it."""

    sequence_id: int
    text: str
    group: str | None
    data_type: str
    data: Any
    sender: str | None
    metadata: Mapping[str, str] | None

    @classmethod
    def sent(cls, sequence_id: int, message: wire.DataMessage, *, says_sender: bool) -> Numbered:
        """Say what the hub numbered; the payload is decoded here, not by the code that is tried.

        Frames of protobuf do not say who sent a message.
        """
        payload = message.payload
        data: Any = payload.body
        if payload.data_type == "json":
            data = json.loads(data)
        elif payload.data_type == "text":
            data = data.decode()
        sender, metadata = message.from_user_id if says_sender else None, message.metadata
        return cls(sequence_id, text_of(data), message.group, payload.data_type, data, sender, metadata or None)

    @classmethod
    def heard(cls, message: GroupMessage | ServerMessage) -> Numbered:
        """Say what a client heard."""
        group, sender = getattr(message, "group", None), getattr(message, "from_user_id", None)
        number, metadata = message.sequence_id or 0, message.metadata
        return cls(number, text_of(message.data), group, message.data_type, message.data, sender, metadata or None)


class Said(NamedTuple):
    """What a caller wants sent."""

    data_type: str
    data: Any
    metadata: Mapping[str, str] | None = None
    no_echo: bool = False


class Model:
    """What the hub did, and what is allowed to follow from it."""

    def __init__(self, hub: Hub) -> None:
        self.numbered: dict[str, list[Numbered]] = defaultdict(list)
        """What each connection has to get, in order."""
        self.sessions: dict[str, list[str]] = defaultdict(list)
        """The connection ids of each user, in the order in which they began."""
        self.executed: Counter[str] = Counter()
        self.events: deque[str] = deque(maxlen=REMEMBERED)
        self.may_repeat: set[str] = set()
        """Sends whose callers allowed that they are carried out once in each session."""
        self.said: dict[str, Said] = {}
        """What callers wanted sent, by what names it."""
        self._digest = hashlib.blake2b(digest_size=16)
        self._broken: Broken | None = None
        self._never: set[str] = set()
        self._due: dict[str, tuple[str, int]] = {}
        self._confirmed: dict[str, int] = defaultdict(int)
        self._newest_ack_id: dict[str, int] = defaultdict(int)
        self._request: tuple[str, wire.SendToGroup] | None = None
        self._hub = hub
        self._watch(hub)

    @property
    def digest(self) -> str:
        """A hash of all that was noted: the same in every run with the same seed."""
        return self._digest.hexdigest()

    def unconfirmed(self, connection_id: str) -> int:
        """Count the messages that the service keeps, since their client has not confirmed them."""
        session = self._hub.registry.connections[connection_id].session
        return 0 if session is None else len(session.unconfirmed._messages)

    def note(self, event: str) -> None:
        """Remember something for the report of a failure. No secret may stand in what users are told."""
        if (secret := SECRETS.search(event)) is not None and self._broken is None:
            raise self.fail(f"told: {secret[0][:8]}... stands in what a user sees")
        line = f"{trio.current_time():10.4f} {event}"
        self.events.append(line)
        self._digest.update(line.encode())

    def fail(self, what: str) -> Broken:
        """Make the error for a broken promise, and keep it: raised within the emulator, it would not get out."""
        self.note(f"BROKEN: {what}")
        self._broken = self._broken or Broken(what)
        return self._broken

    def check(self) -> None:
        """Raise the error that was made first, if there was one."""
        if self._broken is not None:
            raise self._broken

    def check_at_rest(self) -> None:
        """Check that all that was only promised has happened."""
        self.check()
        for text, (user_id, sessions) in self._due.items():
            if not self.executed[text] and len(self.sessions[user_id]) == sessions:
                raise self.fail(f"{text} was acknowledged as a duplicate, and never carried out")

    # What callers are told

    def succeeded(self, text: str, *, duplicated: bool = False) -> None:
        """A send was acknowledged.

        One that was repeated after its link dropped may be told to be known when it still waits for its turn, behind an
        event whose handler has not answered; if its session is lost meanwhile, it may be lost too.
        """
        self.note(f"{text} acknowledged{' as a duplicate' if duplicated else ''}")
        times = self.executed[text]
        if duplicated and not times:
            user_id = text.partition(":")[0]
            self._due[text] = user_id, len(self.sessions[user_id])
            return
        if times != 1 and not (times > 1 and text in self.may_repeat):
            raise self.fail(f"{text} was acknowledged and carried out {times} times")

    def refused(self, text: str) -> None:
        """A send was refused by the service."""
        self.note(f"{text} refused")
        if self.executed[text]:
            raise self.fail(f"{text} was refused, though it was carried out")

    def cancelled(self, text: str, *, written: bool) -> None:
        """The caller of a send went away; where nothing was written since the call, it is never to be carried out."""
        self.note(f"{text} cancelled, {'perhaps' if written else 'not'} written")
        if not written:
            self._never.add(text)

    # The hub from inside

    def _watch(self, hub: Hub) -> None:
        receive, deliver, opened = hub.receive, hub._deliveries.deliver, hub.transport_opened

        def watched_receive(transport: int, message: wire.Upstream, *, now: float) -> Any:
            connection = hub._lifetimes.attached.get(transport)
            if connection is not None and isinstance(message, wire.SendToGroup):
                self._request = connection.id, message
            try:
                return receive(transport, message, now=now)
            finally:
                self._request = None
                if connection is not None and isinstance(message, wire.SequenceAck):
                    self._confirm(connection, message.sequence_id)

        def watched_deliver(message: wire.Numbered, connections: Iterable[Any], *args: Any, **options: Any) -> None:
            assert isinstance(message, wire.DataMessage), "nobody here has states in groups"
            connections = list(connections)
            self._execute(text_of(message.payload.body))
            self._check_contents(message)
            self._check_audience(message, {each.id for each in connections})
            before = {each.id: each.session.unconfirmed._newest for each in connections if each.session is not None}
            deliver(message, connections, *args, **options)
            for each in connections:
                if each.session is not None and (number := each.session.unconfirmed._newest) > before[each.id]:
                    says_sender = not each.subprotocol.startswith("protobuf")
                    self.numbered[each.id].append(Numbered.sent(number, message, says_sender=says_sender))

        def watched_opened(transport: int) -> Any:
            connection = hub._accepted.get(transport)
            if connection is not None:
                self.sessions[connection.user_id or ""].append(connection.id)
                self.note(f"{connection.user_id} gets session {connection.id}")
            return opened(transport)

        # Between the hub and its switchboard, which know nothing of it.
        hub.receive = watched_receive  # type: ignore[method-assign]
        hub._deliveries.deliver = watched_deliver  # type: ignore[method-assign]
        hub.transport_opened = watched_opened  # type: ignore[method-assign]

    def _confirm(self, connection: Connection, sequence_id: int) -> None:
        """A client confirmed messages: only such as it was sent, and the service still has all others."""
        if connection.session is None:
            return
        confirmed = self._confirmed[connection.id] = max(self._confirmed[connection.id], sequence_id)
        kept, newest = connection.session.unconfirmed, len(self.numbered[connection.id])
        if confirmed > newest:
            raise self.fail(f"{connection.user_id} confirmed {confirmed}, of {newest} messages")
        if len(kept._messages) != newest - confirmed:
            raise self.fail(f"{len(kept._messages)} of {newest - confirmed} unconfirmed messages are kept")

    def _execute(self, text: str) -> None:
        self.executed[text] += 1
        if text in self._never:
            raise self.fail(f"{text} was cancelled before it was written, and yet carried out")
        if self.executed[text] > 1 and text not in self.may_repeat:
            raise self.fail(f"{text} was carried out twice")
        if self._request is not None and (ack_id := self._request[1].ack_id) is not None:
            connection_id = self._request[0]
            if ack_id <= self._newest_ack_id[connection_id]:
                raise self.fail(f"{connection_id} had ack id {ack_id} carried out late")
            self._newest_ack_id[connection_id] = ack_id

    def _check_contents(self, message: wire.DataMessage) -> None:
        """What arrives at the service is what was said."""
        came = Numbered.sent(0, message, says_sender=True)
        said = self.said.get(came.text)
        if said is not None and (came.data_type, came.data, came.metadata) != said[:3]:
            raise self.fail(f"{said} arrived as {came}")

    def _check_audience(self, message: wire.DataMessage, audience: set[str]) -> None:
        """A message that a client sends to a group goes to its members, and not to its sender if that wants no echo."""
        if self._request is not None:
            connection_id, request = self._request
            members = set(self._hub.registry.groups.get(request.group, ()))
            no_echo = self.said.get(text_of(message.payload.body), request).no_echo
            if audience != members - ({connection_id} if no_echo else set()):
                raise self.fail(f"{request} of {connection_id} went to {audience}, of {members}")


class Listener:
    """Checks what one subscription of a client yields: its sessions one after another, each from its beginning.

    The service may have begun sessions that the client never heard of, and sent them the same messages. So after a lost
    session there can be several that it may be hearing now, until what comes tells them apart.
    """

    def __init__(self, model: Model, user_id: str, what: str, wants: Callable[[Numbered], bool]) -> None:
        self._model = model
        self._user_id = user_id
        self.what = f"{user_id}'s {what}"
        self._wants = wants
        self._heard: dict[int, int] = {0: 0}
        """For each session that this may be, by its number: how many messages it has heard of it."""
        self._lost = False
        self._may_skip = 0
        self.overflowed = 0
        """How many messages it was told did not fit."""
        self._wanted: dict[int, tuple[list[Numbered], int]] = {}
        self.sessions_lost = 0
        """How often this subscription was told that a session was lost, as far as it can count."""

    def take(self, item: GroupMessage | ServerMessage | Gap) -> None:
        """Take what came next."""
        model = self._model
        model.check()
        if isinstance(item, Gap):
            model.note(f"{self.what} hear {item}")
            if item.unreadable:
                raise model.fail(f"{self.what} were not readable")
            self._lost |= item.session_lost
            self.sessions_lost += item.session_lost
            self._may_skip += item.overflowed
            self.overflowed += item.overflowed
            return
        came = Numbered.heard(item)
        after = self._begun(came) if self._lost else self._gone_on(came)
        if not after:
            possible = {number: self._expected(number)[heard : heard + 2] for number, heard in self._heard.items()}
            raise model.fail(f"{self.what} hear {came} instead of what {possible} go on with, lost: {self._lost}")
        self._heard = after
        self._lost = False
        self._may_skip = 0

    @property
    def missing(self) -> list[Numbered]:
        """What the service has for the newest session and this has not yielded, nor told that it did not fit."""
        newest = len(self._model.sessions[self._user_id]) - 1
        return self._expected(newest)[self._heard.get(newest, 0) + self._may_skip :]

    def _gone_on(self, came: Numbered) -> dict[int, int]:
        """Go on in the session that this may be, past those messages that did not fit: they are counted."""
        position = {number: heard + self._may_skip for number, heard in self._heard.items()}
        return {
            number: place + 1
            for number, place in position.items()
            if place < len(expected := self._expected(number)) and expected[place] == came
        }

    def _begun(self, came: Numbered) -> dict[int, int]:
        """Find the later sessions that begin like this; those between brought nothing."""
        later = range(min(self._heard) + 1, len(self._model.sessions[self._user_id]))
        # How many of those that did not fit were still of the lost session cannot be told.
        beginnings = {number: self._expected(number)[: self._may_skip + 1] for number in later}
        return {number: texts.index(came) + 1 for number, texts in beginnings.items() if came in texts}

    def _expected(self, session: int) -> list[Numbered]:
        numbered = self._model.numbered[self._model.sessions[self._user_id][session]]
        wanted, looked_at = self._wanted.get(session, ([], 0))
        wanted += filter(self._wants, numbered[looked_at:])
        self._wanted[session] = wanted, len(numbered)
        return wanted


def text_of(data: Any) -> str:
    """Give what names a message, which is its first word, from the payload in whatever form."""
    text = data.decode() if isinstance(data, bytes) else str(data)
    return text.strip('"').partition(" ")[0]
