"""Colours and progress, on terminals only; needs the extra ``cli``.

Rich decides what a terminal is and can show: ``NO_COLOR``, ``FORCE_COLOR`` and ``TERM`` count.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TextIO, TypeAlias

from rich.console import Console
from rich.text import Text

Part: TypeAlias = str | tuple[str, str]
"""A piece of a line, or a piece and its style."""


class Painter:
    """Gives lines the colours that a stream can show."""

    def __init__(self, stream: TextIO) -> None:
        self._console = Console(file=stream)

    @property
    def is_terminal(self) -> bool:
        """Whether anybody looks at it as it comes."""
        return self._console.is_terminal

    def paint(self, *parts: Part) -> str:
        """Put a line together."""
        if not self._console.is_terminal:
            return "".join(part if isinstance(part, str) else part[0] for part in parts)
        with self._console.capture() as capture:
            self._console.print(Text.assemble(*parts), soft_wrap=True, end="")
        return capture.get()


def notice(text: str, style: str = "dim") -> None:
    """Tell on standard error what is no output: that may be read by a program."""
    print(Painter(sys.stderr).paint((text, style)), file=sys.stderr, flush=True)


@contextmanager
def progress(total: int | None) -> Generator[Callable[[int, int], None]]:
    """Show on standard error, if that is a terminal, how far something is; gives what is told ``(done, messages)``.

    Args:
        total: how much ``done`` is in the end, if that is known.
    """
    console = Console(file=sys.stderr)
    if not console.is_terminal:
        yield lambda _done, _messages: None
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.fields[messages]:,} sent"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as shown:
        task = shown.add_task("", total=total, messages=0)
        yield lambda done, messages: shown.update(task, completed=done, messages=messages)
