"""The commands that pages and help texts show are ones that can be given."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from trio_webpubsub.cli.program import COMMANDS, make_parser

DOCS = Path(__file__).parent.parent.parent / "docs"


def shown_commands() -> Iterator[str]:
    """Find what is shown: up to a pipe or a redirection, of any number in a line."""
    texts = [page.read_text() for page in sorted(DOCS.rglob("*.rst"))]
    texts += [str(parser.epilog) for parser in make_parser()[1].values()]
    for text in texts:
        for line in text.splitlines():
            if re.match(r" {2,3}.*trio-webpubsub [a-z]", line):
                for command in re.findall(r"trio-webpubsub ((?:'[^']*'|[0-9](?!>)|[^'|<>&)#0-9])*)", line):
                    yield command.partition("  ")[0].strip()


COMMANDS_SHOWN = sorted(set(shown_commands()))


def test_every_command_is_shown() -> None:
    assert {command.split()[0] for command in COMMANDS_SHOWN} == set(COMMANDS)


def test_the_reference_shows_the_help_of_every_command() -> None:
    reference = (DOCS / "reference" / "command_line.rst").read_text()
    assert sorted(re.findall(r"^\.\. command:: (\w+)$", reference, re.MULTILINE)) == sorted(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS_SHOWN)
def test_what_is_shown_can_be_given(command: str) -> None:
    arguments = shlex.split(command)
    _, unknown = make_parser([arguments[0]])[0].parse_known_args(arguments)
    assert unknown == []
