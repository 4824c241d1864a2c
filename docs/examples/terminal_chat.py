"""Chat in the terminal: what is typed goes to everybody in the room, and what they say appears. Ctrl-D leaves."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from functools import partial

import trio
from web_pubsub import CONNECTION_STRING, given, open_web_pubsub, run

from trio_webpubsub import AckTimeout, Client, Connected, DeliveryUnknown, Disconnected, Gap, Recovered, open_client
from trio_webpubsub.service import open_service

Show = Callable[[str], None]


def printable(text: object) -> str:
    """Keep others from playing with this terminal: what it would obey instead of show becomes a question mark."""
    return "".join(character if character.isprintable() else "?" for character in str(text))


async def hear(client: Client, room: str, show: Show, *, task_status: trio.TaskStatus[None]) -> None:
    """Show what others say."""
    async with client.group_messages(room, gaps=True) as messages:
        task_status.started()  # in the room: whoever speaks now is heard
        async for message in messages:
            if isinstance(message, Gap):
                show("* You may have missed something.")
            else:
                show(f"{printable(message.from_user_id)}: {printable(message.data)}")


async def watch(client: Client, show: Show) -> None:
    """Tell when the connection breaks, and how it went on."""
    async for change in client.lifecycle():
        match change:
            case Disconnected():
                show("* The connection is lost...")
            case Recovered():
                show("* ... and back, with all that was said.")
            case Connected(first=False):
                show("* ... and there is a new one.")
            case _:
                pass


async def say(client: Client, room: str, text: str, show: Show) -> None:
    """Say something to the others."""
    try:
        # While there is no connection this waits for one, and so does what is typed meanwhile.
        await client.send_to_group(room, text, no_echo=True)
    except (AckTimeout, DeliveryUnknown):
        show(f"* Perhaps nobody heard you say {text!r}.")


async def chat(client: Client, room: str, typed: trio.abc.ReceiveChannel[str], show: Show) -> None:
    """Be in the room until nothing more is typed."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch, client, show)
        await nursery.start(hear, client, room, show)
        show(f"* You are in the {room}, and are called {client.user_id}.")
        async for line in typed:
            if line:
                await say(client, room, line, show)
        nursery.cancel_scope.cancel()


async def read_lines(lines: trio.MemorySendChannel[str]) -> None:
    """Give what is typed, line by line."""
    unfinished = b""
    with lines:
        # Not every system can wait for a terminal, so a thread does, which is left behind when this is cancelled. It
        # reads past sys.stdin: a thread that holds that could hang the end of the program.
        while typed := await trio.to_thread.run_sync(os.read, 0, 4096, abandon_on_cancel=True):
            *whole, unfinished = (unfinished + typed).split(b"\n")
            for line in whole:
                await lines.send(line.decode(errors="replace").strip())


async def main(name: str, room: str) -> None:
    """Connect as somebody. A real chat gets its URL from a server, which knows who is asking and keeps the key."""
    roles = [f"webpubsub.joinLeaveGroup.{room}", f"webpubsub.sendToGroup.{room}"]
    async with (
        open_web_pubsub() as connection_string,
        open_service(connection_string, hub="chat") as service,
        open_client(partial(service.client_access_url, user_id=name, roles=roles)) as client,
        trio.open_nursery() as nursery,
    ):
        if not given():  # so it is the emulator's, and no secret
            print("For somebody to talk to, run this in another terminal:")
            print(f"  {CONNECTION_STRING}='{connection_string}' python {__file__} ben", flush=True)
        lines, typed = trio.open_memory_channel[str](0)
        nursery.start_soon(read_lines, lines)
        await chat(client, room, typed, partial(print, flush=True))
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", nargs="?", default="ann", help="who you are (%(default)s)")
    parser.add_argument("--room", default="lobby", help="where you talk (%(default)s)")
    options = parser.parse_args()
    run(main, options.name, options.room)
