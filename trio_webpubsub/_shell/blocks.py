"""Results that are to be entered with ``async with``, or iterated over, and say so when something else is tried."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, ParamSpec, TypeVar

import trio

P = ParamSpec("P")
T = TypeVar("T")


def check_runs_under_trio() -> None:
    """Refuse to run under another event loop, where trio's own errors say little.

    Raises:
        RuntimeError: this is no task of trio's.
    """
    try:
        trio.lowlevel.current_task()
    except RuntimeError:
        text = "this runs under trio only: start the program with trio.run(), not with asyncio.run()"
        raise RuntimeError(text) from None


def block(
    example: str,
) -> Callable[[Callable[P, AbstractAsyncContextManager[T]]], Callable[P, AbstractAsyncContextManager[T]]]:
    """Give what an ``@asynccontextmanager`` makes errors that say how to use it.

    Args:
        example: How it is used: ``async with open_client(url) as client:``.
    """

    def decorate(function: Callable[P, AbstractAsyncContextManager[T]]) -> Callable[P, AbstractAsyncContextManager[T]]:
        @functools.wraps(function)
        def make(*args: P.args, **kwargs: P.kwargs) -> AbstractAsyncContextManager[T]:
            return _Block(function(*args, **kwargs), example)

        return make

    return decorate


class _Block(AbstractAsyncContextManager[T]):
    def __init__(self, manager: AbstractAsyncContextManager[T], example: str) -> None:
        self._manager: AbstractAsyncContextManager[T] | None = manager
        self._example = example

    # These two are not async themselves, so that no traceback and no checkpoint is longer for them.

    def __aenter__(self) -> Coroutine[Any, Any, T]:  # pyright: ignore[reportIncompatibleMethodOverride]
        manager, self._manager = self._manager, None
        if manager is None:
            raise RuntimeError(f"this block was entered before; make a new one: {self._example}")
        check_runs_under_trio()
        self._exit = manager.__aexit__
        return manager.__aenter__()

    def __aexit__(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> Coroutine[Any, Any, bool | None]:
        return self._exit(exc_type, exc, traceback)

    def __enter__(self) -> NoReturn:
        raise TypeError(f"this takes `async with`, not `with`: {self._example}")

    def __exit__(self, *_: object) -> None: ...

    def __await__(self) -> NoReturn:
        raise TypeError(f"this is a block and not awaited: {self._example}")

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"there is no {name!r} before the block: {self._example}")


class AsyncOnly:
    """What ``async for`` iterates over: it says so to whoever awaits it, or forgets the ``async``."""

    _origin: ClassVar[str]
    """Where it comes from: ``client.group_messages(group)``."""

    if not TYPE_CHECKING:  # type checkers see these mistakes because there is nothing

        def __await__(self) -> NoReturn:
            raise TypeError(f"this is not awaited but iterated over: async for each in {self._origin}:")

        def __iter__(self) -> NoReturn:
            raise TypeError(f"this takes `async for`, not `for`: async for each in {self._origin}:")
