"""How signatures come out: an async function is shown with its ``await``, and with its parameters."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_an_async_function_is_shown_with_its_await(tmp_path: Path) -> None:
    (tmp_path / "index.rst").write_text("Page\n====\n\n.. autofunction:: trio_webpubsub._shell.connector.connect_tcp\n")
    configuration = str(Path(__file__).parent)
    command = ["sphinx", "-Q", "-b", "text", "-c", configuration, str(tmp_path), str(tmp_path / "out")]
    subprocess.run([sys.executable, "-m", *command], check=True)
    signature = (tmp_path / "out" / "index.txt").read_text().replace("\n", " ")
    assert "await trio_webpubsub._shell.connector.connect_tcp(host: str, port: int, ssl_context: " in signature
