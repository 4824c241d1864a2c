"""The game loop keeps time, whoever falls behind; on a virtual clock an hour of it would take no longer."""

from __future__ import annotations

import pytest
import trio
from pong import MOVES, TABLES, TICK, play, run_game, take_moves
from pong_rules import MOVE, TABLE, Game, Table
from trio.testing import MockClock

from trio_webpubsub.testing import OpenClient, SimulatedNetwork


def test_a_paddle_returns_the_ball() -> None:
    game = Game()
    game.table = Table(right=13)  # where the ball will come
    for _ in range(34):
        game.step()
    assert game.table.x == 60
    game.step()
    assert game.table.x < 60
    assert (game.table.left_score, game.table.right_score) == (0, 0)


def test_a_miss_is_a_point() -> None:
    game = Game()
    game.moves["right"] = -1  # away from where the ball goes
    for _ in range(34):
        game.step()
    assert game.table.right == 0
    assert (game.table.left_score, game.table.right_score) == (1, 0)
    assert (game.table.x, game.table.y) == (30, 10)


def test_a_table_travels_in_24_bytes() -> None:
    table = Table(7, 1.5, 2.5, 3.5, 4.5, 5, 6)
    assert len(data := TABLE.pack(*table)) == 24
    assert Table(*TABLE.unpack(data)) == table


async def test_thirty_tables_a_second(
    autojump_clock: MockClock, webpubsub_client: OpenClient, nursery: trio.Nursery
) -> None:
    async with (
        webpubsub_client("umpire") as umpire,
        webpubsub_client("spectator") as spectator,
        spectator.group_messages(TABLES) as tables,
    ):
        start = trio.current_time()
        nursery.start_soon(run_game, umpire, Game())
        for tick in range(300):
            table = Table(*TABLE.unpack((await tables.receive()).data))
            assert table.tick == tick + 1
            assert trio.current_time() - start == pytest.approx(tick * TICK, abs=0.01)
        nursery.cancel_scope.cancel()


async def test_players_move_their_own_paddle_and_nobody_else_does(
    autojump_clock: MockClock, webpubsub_client: OpenClient, nursery: trio.Nursery
) -> None:
    game = Game()
    async with (
        webpubsub_client("umpire") as umpire,
        webpubsub_client("left") as left,
        webpubsub_client("ann") as ann,
    ):
        await nursery.start(take_moves, umpire, game)
        await ann.send_to_group(MOVES, MOVE.pack(1))
        await left.send_to_group(MOVES, b"no move")
        await left.send_to_group(MOVES, "up")
        await left.send_to_group(MOVES, MOVE.pack(100))
        await trio.sleep(1)
        assert game.moves == {"left": 1, "right": 0}
        nursery.cancel_scope.cancel()


async def test_a_player_without_a_network_loses_and_then_plays_on(
    autojump_clock: MockClock,
    webpubsub_client: OpenClient,
    webpubsub_network: SimulatedNetwork,
    nursery: trio.Nursery,
) -> None:
    game = Game()
    async with webpubsub_client("umpire") as umpire, webpubsub_client("left") as left:
        await nursery.start(take_moves, umpire, game)
        await nursery.start(play, left)
        nursery.start_soon(run_game, umpire, game)
        with webpubsub_network.unreachable("left"):
            await trio.sleep(20)
            place = game.table.left
            assert game.table.right_score > 0
            assert game.table.tick == pytest.approx(20 * 30, abs=1)
        await trio.sleep(20)
        assert game.table.left != place
        nursery.cancel_scope.cancel()
