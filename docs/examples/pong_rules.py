"""What Pong is, without networks and clocks: how the table looks, travels and goes on."""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

WIDTH, HEIGHT, REACH = 60, 20, 2.5
PLAYERS = ("left", "right")

TABLE = Struct("<I4f2H")
"""The fields of a `Table`: 24 bytes, little-endian, which any program in any language can read."""
MOVE = Struct("<b")
"""Where a player's paddle is going: -1 up, 1 down, 0 nowhere."""


class Table(NamedTuple):
    """What everybody sees."""

    tick: int = 0
    x: float = WIDTH / 2
    y: float = HEIGHT / 2
    left: float = HEIGHT / 2
    right: float = HEIGHT / 2
    left_score: int = 0
    right_score: int = 0

    def draw(self) -> str:
        """Give a picture of the table."""
        rows = [[" "] * (WIDTH + 1) for _ in range(HEIGHT + 1)]
        for column, paddle in (0, self.left), (WIDTH, self.right):
            for row in range(HEIGHT + 1):
                if abs(row - paddle) <= REACH:
                    rows[row][column] = "█"
        rows[round(self.y)][round(self.x)] = "●"
        score = f"{self.left_score} : {self.right_score}"
        return "\n".join([score.center(WIDTH + 1), *map("".join, rows)])


class Game:
    """A game that goes on for ever."""

    def __init__(self) -> None:
        self.table = Table()
        self.moves = dict.fromkeys(PLAYERS, 0)
        """What each player does with the paddle."""
        self._speed = (0.9, 0.5)

    def step(self) -> None:
        """Go on by one tick."""
        old, (dx, dy) = self.table, self._speed
        left, right = (_within(HEIGHT, getattr(old, side) + 0.5 * self.moves[side]) for side in PLAYERS)
        x, y = _within(WIDTH, old.x + dx), _within(HEIGHT, old.y + dy)
        scores = [old.left_score, old.right_score]
        if y in (0, HEIGHT):
            dy = -dy
        if x in (0, WIDTH):
            paddle = left if x == 0 else right
            if abs(y - paddle) <= REACH:
                dx, dy = -1.1 * dx, 0.5 * (y - paddle)
            else:
                scores[x == 0] += 1
                x, y, dy = WIDTH / 2, HEIGHT / 2, 0.5
                dx = 0.9 if dx < 0 else -0.9
        self.table, self._speed = Table(old.tick + 1, x, y, left, right, *scores), (dx, dy)


def _within(limit: float, place: float) -> float:
    return min(limit, max(0.0, place))
