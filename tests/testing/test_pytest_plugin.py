"""The fixtures for users, as they use them: in a project of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
EXAMPLES = ROOT / "docs" / "examples"
INI = "[pytest]\ntrio_mode = true\nfilterwarnings = error\n"
CONFTEST = 'pytest_plugins = ["trio_webpubsub.testing.pytest_plugin"]\n'
REAL_CLOCK = """
async def test_without_a_clock(webpubsub_network):
    raise AssertionError("this is not reached")
"""
EVERYTHING = """
import pytest
import trio

digests = set()

@pytest.mark.parametrize("webpubsub_seed", [1, 1, 2])
async def test_all(autojump_clock, webpubsub_network, webpubsub_emulator, webpubsub_client, webpubsub_service):
    async with webpubsub_client("ann", hub="other") as ann, webpubsub_service(hub="other") as service:
        assert ann.user_id == "ann"
        async with ann.group_messages("g") as messages:
            with webpubsub_network.partition("ann"):
                await service.send_to_group("g", "hello")
                await trio.sleep(10)
            assert (await messages.receive()).data == "hello"
        assert set(webpubsub_network.links) == {"ann", "service"}
    digests.add(webpubsub_network.digest)

def test_seeds():
    assert len(digests) == 2
"""


def run(project: Path) -> subprocess.CompletedProcess[str]:
    """Run the tests of another project."""
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


def project(directory: Path, test: str) -> Path:
    (directory / "pytest.ini").write_text(INI)
    (directory / "conftest.py").write_text(CONFTEST)
    (directory / "test_it.py").write_text(test)
    return directory


def test_the_tests_of_the_examples_pass() -> None:
    ran = run(EXAMPLES)
    assert ran.returncode == 0, ran.stdout


def test_all_fixtures(tmp_path: Path) -> None:
    ran = run(project(tmp_path, EVERYTHING))
    assert ran.returncode == 0, ran.stdout


def test_a_test_on_the_real_clock_is_told_so(tmp_path: Path) -> None:
    ran = run(project(tmp_path, REAL_CLOCK))
    assert ran.returncode == 1
    assert "ask for the fixture autojump_clock in the test itself" in ran.stdout


def test_an_installed_plugin_is_not_active_by_itself(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "import sys\n\n\ndef test():\n    assert 'trio_webpubsub' not in sys.modules\n"
    )
    ran = run(tmp_path)
    assert ran.returncode == 0, ran.stdout
