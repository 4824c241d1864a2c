"""Looking into exceptions: the groups that trio makes of whatever leaves a nursery, and what an error leads to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast


def leaves(error: BaseException) -> Iterator[BaseException]:
    """Give the exceptions inside a group, however deep; an exception that is no group gives itself."""
    if isinstance(error, BaseExceptionGroup):
        for each in cast("BaseExceptionGroup[BaseException]", error).exceptions:
            yield from leaves(each)
    else:
        yield error


def ungrouped(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Give the exception that ``except*`` made a group of; a group that was one before stays one."""
    return group.exceptions[0] if not group.message and len(group.exceptions) == 1 else group


def forget_frames(error: BaseException) -> None:
    """Take the tracebacks out of an exception and of all that it leads to: causes, contexts, parts of groups.

    Where other people's functions are called with a secret, their frames hold it, and so does whoever shows them.
    """
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        each = waiting.pop()
        if each is not None and id(each) not in seen:
            seen.add(id(each))
            each.__traceback__ = None
            waiting += (each.__cause__, each.__context__)
            if isinstance(each, BaseExceptionGroup):
                waiting += cast("BaseExceptionGroup[BaseException]", each).exceptions
