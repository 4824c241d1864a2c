"""A session handed from one process to another, as a value.

The service knows nothing of this: to it the session was dropped and is recovered. So the ticket holds what the client
knew and the service does not keep: the largest sequence id that was delivered, the operations that were not
acknowledged with their ids, the groups to join again if the session is lost after all, and messages that nobody had
read yet.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from . import wire
from .arguments import check_type
from .errors import InvalidPayload
from .messages import Gap, GroupMessage, ServerMessage, StreamInfo
from .payloads import data_of, payload_of
from .wire import Acknowledged

_MESSAGES: dict[str, type[Acknowledged]] = {
    "join": wire.JoinGroup,
    "leave": wire.LeaveGroup,
    "send": wire.SendToGroup,
    "event": wire.SendEvent,
    "set state": wire.SetGroupState,
    "watch states": wire.SubscribeGroupState,
    "unwatch states": wire.UnsubscribeGroupState,
}
_KINDS = {message: kind for kind, message in _MESSAGES.items()}


class PendingOperation(msgspec.Struct, frozen=True):
    """An operation without an outcome."""

    kind: str
    fields: dict[str, Any]
    ack_id: int
    written: bool
    retries: int
    repeat_in_new_session: bool

    @classmethod
    def of(cls, message: Acknowledged, **fields: Any) -> PendingOperation:
        """Take an operation's message as plain values."""
        return cls(kind=_KINDS[type(message)], fields=msgspec.to_builtins(message), **fields)

    @property
    def message(self) -> Acknowledged:
        """The message again."""
        return msgspec.convert(self.fields, _MESSAGES[self.kind])


class UnreadMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message, or a gap, that waited in a subscription's buffer."""

    gap: Gap | None = None
    group: str | None = None
    """``None`` for a message of the server."""
    payload: wire.Payload | None = None
    data_type: str = "json"
    from_user_id: str | None = None
    sequence_id: int | None = None
    metadata: Mapping[str, str] | None = None
    stream: StreamInfo | None = None
    data_error: str | None = None
    raw: bytes | None = None

    @classmethod
    def of(cls, message: GroupMessage | ServerMessage | Gap) -> UnreadMessage:
        """Take a message as plain values."""
        if isinstance(message, Gap):
            return cls(gap=message)
        payload, data_error = None, message.data_error
        if data_error is None and message.data_type in ("text", "json", "binary", "protobuf"):
            try:
                payload = payload_of(message.data, message.data_type)
            except ValueError as error:  # nested so deeply that it could just be read
                data_error = f"this did not fit into the ticket: {error}"
        common: dict[str, Any] = {
            "payload": payload,
            "data_type": message.data_type,
            "sequence_id": message.sequence_id,
            "metadata": message.metadata,
            "data_error": data_error,
            "raw": message.raw,
        }
        if isinstance(message, ServerMessage):
            return cls(**common)
        return cls(group=message.group, from_user_id=message.from_user_id, stream=message.stream, **common)

    @property
    def message(self) -> GroupMessage | ServerMessage | Gap:
        """The message again.

        Raises:
            InvalidPayload: it was none, ever.
        """
        if self.gap is not None:
            return self.gap
        data, data_error, raw = None, self.data_error, self.raw
        if self.payload is not None:
            try:
                data = data_of(self.payload)
            except InvalidPayload as error:
                if not isinstance(error.__cause__, RecursionError):
                    raise
                # Another process could read what is nested more deeply.
                data_error, raw = str(error), self.payload.body
        common: dict[str, Any] = {
            "data": data,
            "data_type": self.data_type,
            "sequence_id": self.sequence_id,
            "metadata": self.metadata,
            "data_error": data_error,
            "raw": raw,
        }
        if self.group is None:
            return ServerMessage(**common)
        return GroupMessage(group=self.group, from_user_id=self.from_user_id, stream=self.stream, **common)

    @property
    def size(self) -> int:
        """About the bytes that it had on the wire."""
        return len(self.payload.body) if self.payload is not None else len(self.raw or b"")


class TicketContents(msgspec.Struct, frozen=True, kw_only=True):
    """What a `SessionTicket` holds."""

    subprotocol: str
    url: str
    """Without tokens."""
    connection_id: str
    user_id: str | None
    reconnection_token: str
    newest_sequence_id: int
    last_ack_id: int
    operations: list[PendingOperation]
    groups: list[str]
    states: dict[str, dict[str, str]] = {}
    """What this client has set as its state, by group."""
    unread: dict[str, list[UnreadMessage]]
    """By the kind of subscription in whose buffer they waited."""

    def __repr__(self) -> str:  # the token is a secret
        return f"TicketContents(connection_id={self.connection_id!r})"


class SessionTicket:
    """A detached session, with which one other client goes on: ``open_client(url, resume=ticket)``.

    It is a secret: whoever has it can be this client. It can be used once, and within the service's recovery window of
    about half a minute; later the client begins a new session, with a `Gap`.
    """

    def __init__(self, contents: TicketContents) -> None:
        self._contents: TicketContents | None = contents

    def __repr__(self) -> str:
        return "<SessionTicket used>" if self._contents is None else "<SessionTicket>"

    @property
    def subprotocol(self) -> str:
        """The subprotocol of the session.

        Raises:
            ValueError: the ticket was used.
        """
        return self._open().subprotocol

    @property
    def url(self) -> str:
        """Where the session was begun, without tokens.

        Raises:
            ValueError: the ticket was used.
        """
        return self._open().url

    def to_bytes(self) -> bytes:
        """Write the ticket, for another process. The bytes hold the secret.

        Raises:
            ValueError: the ticket was used.
        """
        return msgspec.json.encode(self._open())

    @classmethod
    def from_bytes(cls, data: bytes) -> SessionTicket:
        """Read what `to_bytes` wrote.

        Raises:
            ValueError: it is something else.
            TypeError: it is not ``bytes``.
        """
        check_type("a ticket", data, bytes, "bytes, as to_bytes gives them")
        try:
            contents = msgspec.json.decode(data, type=TicketContents)
            for operation in contents.operations:
                operation.message  # noqa: B018  # read once, so that a forged ticket fails here
            for messages in contents.unread.values():
                for each in messages:
                    each.message  # noqa: B018
        except (msgspec.MsgspecError, KeyError, InvalidPayload, RecursionError) as error:
            raise ValueError(f"this is no session ticket: {type(error).__name__}") from None
        return cls(contents)

    def take(self) -> TicketContents:
        """Use the ticket.

        Raises:
            ValueError: it was used before.
        """
        contents, self._contents = self._open(), None
        return contents

    def _open(self) -> TicketContents:
        if self._contents is None:
            raise ValueError("this ticket was used, and a ticket can be used once")
        return self._contents
