"""How the reference comes out: async functions with their ``await``, data with what is said of it, types by name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def rendered(directory: Path, directive: str) -> str:
    """Give a page with one directive as text, on one line."""
    (directory / "index.rst").write_text(f"Page\n====\n\n.. {directive}\n")
    configuration = str(Path(__file__).parent)
    command = ["sphinx", "-Q", "-b", "text", "-c", configuration, str(directory), str(directory / "out")]
    subprocess.run([sys.executable, "-m", *command], check=True)
    return " ".join((directory / "out" / "index.txt").read_text().split())


def test_an_async_function_is_shown_with_its_await(tmp_path: Path) -> None:
    page = rendered(tmp_path, "autofunction:: trio_webpubsub._shell.connector.connect_tcp")
    assert "await trio_webpubsub._shell.connector.connect_tcp(host: str, port: int, ssl_context: " in page


def test_data_is_shown_with_what_is_said_where_it_was_written(tmp_path: Path) -> None:
    page = rendered(tmp_path, "autodata:: trio_webpubsub.emulator.DEFAULT_PORT")
    assert page.endswith("trio_webpubsub.emulator.DEFAULT_PORT = 8080 Where the official emulator listens too.")


def test_types_are_shown_without_the_modules_that_they_were_written_in(tmp_path: Path) -> None:
    page = rendered(tmp_path, "automethod:: trio_webpubsub.Client.server_messages")
    assert "-> Subscription[ServerMessage]" in page
    assert "-> Subscription[ServerMessage | Gap]" in page
