"""``listen``: prints what comes."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from typing import Any

import trio

from .. import (
    Gap,
    GroupMessage,
    ServerMessage,
    Subscription,
    open_client,
)
from ..protocol.names import check_group
from ..service import Role
from . import output
from .changes import tell_changes
from .options import add_resource, open_resource, read_user_id
from .rendering import json_line, printable, text_of
from .terminal import Painter, Part, notice

_MAX_ROLES = 2_000
"""Characters of roles for single groups; with many more the token would not fit into the head of a request."""

_EXAMPLES = """\
A line of text is the group, who sent it (- for nobody in particular), and the
message; what the service's side sends to this connection, its user or
everybody has * for its group. Bytes are shown in base64. What happens to the
connection, and where messages are missing, is told on standard error.

examples:
  trio-webpubsub listen lobby
  trio-webpubsub listen orders invoices --json | jq .data
  trio-webpubsub listen --user-id ann       what is sent to ann and to all
  trio-webpubsub listen lobby | head -1     wait for one message"""


def describe(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    parser.description = "Join groups, and print messages as they come, until Ctrl-C."
    parser.epilog = _EXAMPLES
    parser.add_argument("groups", nargs="*", metavar="GROUP", help="a group to join")
    parser.add_argument("--json", action="store_true", help="print each message as a JSON object on a line")
    parser.add_argument("--user-id", metavar="ID", help="who to be; by default nobody")
    add_resource(parser)


async def run(options: argparse.Namespace) -> int:
    """Listen until interrupted.

    Raises:
        WebPubSubError: there is no connection any more, or a group cannot be joined.
    """
    groups = [check_group(group) for group in dict.fromkeys(options.groups)]
    roles = [Role.join_leave_group(group) for group in groups]
    if sum(map(len, roles)) > _MAX_ROLES:
        roles = [Role.join_leave_group()]
    async with open_resource(options) as service:
        url = partial(service.client_access_url, user_id=read_user_id(options), roles=roles)
        async with (
            open_client(url, allow_insecure=options.allow_insecure) as client,
            # Open before the first join, so that no message is missed.
            client.messages(gaps=True, overflow="drop_oldest") as messages,
            trio.open_nursery() as nursery,
        ):
            who = f" as {printable(client.user_id)}" if client.user_id else ""
            notice(f"connected to {service.hub}{who}, connection {client.connection_id}")
            nursery.start_soon(tell_changes, client.lifecycle())
            nursery.start_soon(output.watch_reader)
            for group in groups:
                await client.join_group(group)
            notice(f"listening{' to ' if groups else ''}{', '.join(map(printable, groups))}; Ctrl-C ends it")
            await _print_messages(messages, options.json)
    return 0


async def _print_messages(messages: Subscription[GroupMessage | ServerMessage | Gap], as_json: bool) -> None:
    painter = Painter(sys.stdout)
    async for batch in messages.batches():
        lines: list[str] = []
        for message in batch:
            if isinstance(message, Gap):
                await output.write_lines(lines)  # so that the notice comes in its place
                lines = []
                notice(f"gap: {_missing(message)}", "yellow")
            else:
                lines.append(_json(message) if as_json else painter.paint(*_text(message)))
        if lines:
            await output.write_lines(lines)


def _json(message: GroupMessage | ServerMessage) -> str:
    values: dict[str, Any] = {"from": "server"}
    if isinstance(message, GroupMessage):
        values = {"from": "group", "group": message.group, "fromUserId": message.from_user_id}
    return json_line(
        {
            **values,
            "dataType": message.data_type,
            "data": message.data,
            "sequenceId": message.sequence_id,
            "metadata": message.metadata and dict(message.metadata),
            "dataError": message.data_error,
            "raw": message.raw,
        }
    )


def _text(message: GroupMessage | ServerMessage) -> list[Part]:
    data = text_of(message.data, message.data_type)
    if message.data_error is not None:
        data = f"({message.data_error}) {text_of(message.raw, message.data_type)}"
    group, sender = "*", "-"
    if isinstance(message, GroupMessage):
        group, sender = printable(message.group), printable(message.from_user_id or "-")
    return [(group, "cyan"), " ", (sender, "green"), f" {data}"]


def _missing(gap: Gap) -> str:
    """Say what is missing."""
    reasons = (
        ("messages may be missing, since a session was lost", gap.session_lost),
        (f"{gap.unreadable} frames could not be read", gap.unreadable),
        (f"{gap.overflowed} messages came faster than they were read", gap.overflowed),
        (f"{gap.fragments} fragments of a stream are missing", gap.fragments),
    )
    return ", ".join(reason for reason, counts in reasons if counts)
