"""The log of the command, whose reader may be slow or gone."""

from __future__ import annotations

import logging
import threading

import trio
import trio.testing

from trio_webpubsub.cli.live_log import LiveLog


def line(text: str) -> logging.LogRecord:
    return logging.LogRecord("trio_webpubsub", logging.INFO, __file__, 1, text, (), None)


async def test_lines_come_out_in_order_with_the_time() -> None:
    written: list[bytes] = []
    live_log = LiveLog(written.append)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(live_log.run)
        live_log.emit(line("one"))
        live_log.emit(line("two \ud800"))
        await live_log.finish()
        live_log.emit(line("three"))
        await live_log.finish()
        nursery.cancel_scope.cancel()
    lines = b"".join(written).decode().splitlines()
    assert [each.partition(" ")[2] for each in lines] == ["one", "two \\ud800", "three"]
    assert all(each[2] == each[5] == ":" for each in lines)


async def test_who_does_not_read_loses_lines_and_is_told_how_many() -> None:
    written: list[bytes] = []
    released = threading.Event()

    def write(data: bytes) -> None:
        released.wait()
        written.append(data)

    live_log = LiveLog(write)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(live_log.run)
        live_log.emit(line("first"))
        await trio.testing.wait_all_tasks_blocked()
        for number in range(10_500):
            live_log.emit(line(str(number)))
        released.set()
        await live_log.finish()
        nursery.cancel_scope.cancel()
    lines = b"".join(written).decode().splitlines()
    assert len(lines) == 1 + 10_000 + 1
    assert lines[-1] == "(500 more lines came faster than they were read)"


async def test_the_end_does_not_wait_for_a_reader() -> None:
    released = threading.Event()
    live_log = LiveLog(lambda _: released.wait())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(live_log.run)
        live_log.emit(line("nobody reads this"))
        with trio.fail_after(30):
            await live_log.finish()
        nursery.cancel_scope.cancel()
    released.set()
