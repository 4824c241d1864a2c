"""What comes from others, on one line, and what is read, line by line."""

from __future__ import annotations

import json
import os

import pytest

from trio_webpubsub.cli.payload import Lines, read_whole
from trio_webpubsub.cli.rendering import json_line, printable, text_of


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ä 漢 🎈", "plain ä 漢 🎈"),
        ("a\nb\tc\r", "a\\nb\\tc\\r"),
        ("\x1b[2J\x07\x9b\u2028\u202e", "\\x1b[2J\\x07\\x9b\\u2028\\u202e"),
        ("", ""),
    ],
)
def test_nothing_commands_the_terminal(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_what_may_stay_stays() -> None:
    assert printable("a\n\tb\x1b", keep="\n\t") == "a\n\tb\\x1b"


def test_json_is_one_printable_line_and_reads_back() -> None:
    values = {"group": "a\nb", "data": {"\x1b": "\u2028ä"}, "raw": b"\xff"}
    line = json_line(values)
    assert line.isprintable()
    assert json.loads(line) == {**values, "raw": "/w=="}


def test_only_data_may_be_null() -> None:
    assert json_line({"data": None, "group": None}) == '{"data": null}'


def test_text_by_data_type() -> None:
    assert text_of("[]", "text") == "[]"
    assert text_of("[]", "json") == '"[]"'
    assert text_of(b"\x00", "protobuf") == "(protobuf) AA=="


async def lines_of(data: bytes) -> list[bytes]:
    read, write = os.pipe()
    try:
        os.write(write, data)
        os.close(write)
        return [line async for line in Lines(read)]
    finally:
        os.close(read)


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"", []),
        (b"\n", [b""]),
        (b"a\n\nb", [b"a", b"", b"b"]),
        (b"a\r\nb\rc\r\n", [b"a", b"b\rc"]),
    ],
)
async def test_lines_end_with_a_line_feed(data: bytes, lines: list[bytes]) -> None:
    assert await lines_of(data) == lines


async def test_the_whole_input() -> None:
    read, write = os.pipe()
    os.write(write, b"a\nb")
    os.close(write)
    assert await read_whole(read) == b"a\nb"
    os.close(read)
