"""Pong over Web PubSub: thirty times a second everybody gets the table in 24 bytes; players answer with one."""

from __future__ import annotations

import argparse
import sys
from contextlib import AbstractAsyncContextManager
from functools import partial

import trio
from pong_rules import MOVE, PLAYERS, TABLE, Game, Table
from web_pubsub import open_web_pubsub, run

from trio_webpubsub import Client, open_client
from trio_webpubsub.service import Service, open_service

TICK = 1 / 30
TABLES, MOVES = "tables", "moves"


async def run_game(client: Client, game: Game) -> None:
    """Go on tick by tick, and show everybody the table."""
    due = trio.current_time()
    while True:
        game.step()
        # The next table is there sooner than an acknowledgement would be.
        await client.send_to_group(TABLES, TABLE.pack(*game.table), ack=False)
        due = max(due + TICK, trio.current_time())  # ticks that a lost link took are not made up for
        await trio.sleep_until(due)


async def take_moves(client: Client, game: Game, *, task_status: trio.TaskStatus[None]) -> None:
    """Let players move their paddles, each their own: the service says who has sent a message."""
    async with client.group_messages(MOVES) as moves:
        task_status.started()
        async for message in moves:
            match message.from_user_id, message.data:
                case str(player), bytes(data) if player in PLAYERS and len(data) == MOVE.size:
                    [move] = MOVE.unpack(data)
                    game.moves[player] = max(-1, min(1, move))
                case _:
                    pass  # anybody's nonsense


async def play(client: Client, *, task_status: trio.TaskStatus[None]) -> None:
    """Move a paddle to where the ball is. A player who falls behind skips tables: only the newest counts."""
    side, last = str(client.user_id), 0
    async with client.group_messages(TABLES, buffer=1, overflow="drop_oldest") as tables:
        task_status.started()
        async for message in tables:
            table = Table(*TABLE.unpack(message.data))
            away = table.y - getattr(table, side)
            move = 0 if abs(away) < 2 else 1 if away > 0 else -1
            if move != last:
                await client.send_to_group(MOVES, MOVE.pack(move), ack=False)
                last = move


async def watch(client: Client, *, draws: bool, task_status: trio.TaskStatus[None]) -> None:
    """Show the game: all of it on a terminal, otherwise only how it stands."""
    score = None
    if draws:
        print("\x1b[2J", end="")
    async with client.group_messages(TABLES, buffer=1, overflow="drop_oldest") as tables:
        task_status.started()
        async for message in tables:
            table = Table(*TABLE.unpack(message.data))
            if draws:
                print(f"\x1b[H{table.draw()}", flush=True)
            elif score != (score := table[-2:]):
                print("{} : {}".format(*score), flush=True)


def seat(service: Service, name: str, *roles: str) -> AbstractAsyncContextManager[Client]:
    """Let somebody in, who may do no more than they have to."""
    return open_client(partial(service.client_access_url, user_id=name, roles=[f"webpubsub.{role}" for role in roles]))


async def main(seconds: float) -> None:
    """Let two play who never tire. Each part could be a program of its own, on another machine."""
    sees, moves = f"joinLeaveGroup.{TABLES}", f"sendToGroup.{MOVES}"
    async with (
        open_web_pubsub() as connection_string,
        open_service(connection_string, hub="pong") as service,
        seat(service, "umpire", f"sendToGroup.{TABLES}", f"joinLeaveGroup.{MOVES}") as umpire,
        seat(service, "left", sees, moves) as left,
        seat(service, "right", sees, moves) as right,
        seat(service, "spectator", sees) as spectator,
        trio.open_nursery() as nursery,
    ):
        game = Game()
        await nursery.start(take_moves, umpire, game)
        await nursery.start(play, left)
        await nursery.start(play, right)
        await nursery.start(partial(watch, spectator, draws=sys.stdout.isatty()))
        nursery.start_soon(run_game, umpire, game)
        await trio.sleep(seconds)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="how long they play (%(default)s)")
    run(main, parser.parse_args().seconds)
