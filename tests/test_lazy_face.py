"""The package's own names are loaded at the first use of one, and whoever uses them cannot tell."""

from __future__ import annotations

import doctest
import inspect
import pydoc
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest

import trio_webpubsub

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def never_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bring the package to the state in which no name of it has been used."""
    for name in ("_public", *trio_webpubsub.__all__, "__all__"):
        monkeypatch.delitem(vars(trio_webpubsub), name)
    monkeypatch.delitem(sys.modules, "trio_webpubsub._public")


def is_loaded() -> bool:
    return "trio_webpubsub._public" in sys.modules


def test_an_attribute_is_found() -> None:
    assert inspect.isclass(trio_webpubsub.Client)


def test_a_name_is_imported() -> None:
    from trio_webpubsub import open_client

    assert callable(open_client)


def test_all_names_are_imported() -> None:
    names: dict[str, object] = {}
    exec("from trio_webpubsub import *", names)
    assert {"Client", "SessionTicket", "open_client"} < names.keys()
    assert names.keys() - {"__builtins__"} == set(trio_webpubsub.__all__)


def test_dir_names_all() -> None:
    assert {"Client", "open_client", "__all__", "__doc__"} < set(dir(trio_webpubsub))


def test_members_are_found() -> None:
    assert "Client" in dict(inspect.getmembers(trio_webpubsub, inspect.isclass))


def test_help_shows_all() -> None:
    text = pydoc.plain(pydoc.render_doc(trio_webpubsub))
    assert "open_client(" in text
    assert "class Client(" in text


def test_help_finds_a_name_by_its_text() -> None:
    assert "function open_client" in pydoc.plain(pydoc.render_doc("trio_webpubsub.open_client"))


def test_a_name_is_patched_and_comes_back() -> None:
    with mock.patch("trio_webpubsub.open_client"):
        assert isinstance(trio_webpubsub.open_client, mock.Mock)
    assert not isinstance(trio_webpubsub.open_client, mock.Mock)


def test_a_name_that_was_replaced_stays_so_when_others_are_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trio_webpubsub, "open_client", "replaced")
    assert not hasattr(trio_webpubsub, "Cleint")
    assert "Client" in dir(trio_webpubsub)
    assert vars(trio_webpubsub)["open_client"] == "replaced"


async def test_names_are_loaded_under_trio() -> None:
    assert callable(trio_webpubsub.open_client)


def test_with_the_first_name_all_are_ordinary_globals() -> None:
    assert "GroupMessage" not in vars(trio_webpubsub)
    assert callable(trio_webpubsub.open_client)
    assert set(trio_webpubsub.__all__) < vars(trio_webpubsub).keys()


@pytest.mark.parametrize("name", ["__wrapped__", "__test__", "__signature__", "_ipython_display_", "_public"])
def test_names_with_underscores_load_nothing(name: str) -> None:
    assert not hasattr(trio_webpubsub, name)
    assert not is_loaded()


def test_doctest_loads_nothing() -> None:
    assert doctest.testmod(trio_webpubsub).failed == 0
    assert not is_loaded()


def test_a_name_that_is_not_there_is_told_as_usual() -> None:
    with pytest.raises(AttributeError, match=r"^module 'trio_webpubsub' has no attribute 'Cleint'$") as caught:
        getattr(trio_webpubsub, "Cleint")  # noqa: B009 - a type checker knows the other form
    assert (caught.value.name, caught.value.obj) == ("Cleint", trio_webpubsub)  # so that Python suggests another


def test_a_name_that_cannot_be_imported_is_told_as_usual() -> None:
    with pytest.raises(ImportError, match=r"^cannot import name 'Cleint' from 'trio_webpubsub' \("):
        exec("from trio_webpubsub import Cleint")


THREADS = """
import threading, trio_webpubsub
names = ["Client", "GroupMessage", "SendFailed", "open_client"]
together, found = threading.Barrier(len(names), timeout=30), []
def use(name):
    together.wait()
    found.append(getattr(trio_webpubsub, name).__name__)
threads = [threading.Thread(target=use, args=(name,)) for name in names]
for each in threads: each.start()
for each in threads: each.join()
assert sorted(found) == names, found
"""


def test_threads_that_come_at_once_get_their_names() -> None:
    subprocess.run([sys.executable, "-c", THREADS], cwd=ROOT, check=True)  # where loading takes its time
