"""What holds for every test. Its limit in real time stands in pyproject.toml."""

from __future__ import annotations

import signal

import coverage
import hypothesis
import pytest

# The same examples every time, judged by their results and not by how fast the machine is today.
hypothesis.settings.register_profile("house", derandomize=True, deadline=None, database=None)
hypothesis.settings.load_profile("house")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # As in a shell's background: the programs that tests start would inherit that, and not hear Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Note which test covers what, since pure modules have to be covered by their own tests."""
    measurement = coverage.Coverage.current()
    if measurement is not None:
        measurement.switch_context(item.nodeid)
