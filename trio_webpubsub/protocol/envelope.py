"""Finds the top-level fields of a JSON object, whatever stands in them.

JSON decoders refuse a whole text for one value that they cannot represent: a lone surrogate, a number that is too
large, brackets nested a hundred thousand deep. Where such a value is somebody's payload, what stands around it must
still be read: which group, which sequence id. So this module looks for where values begin and end, and judges nothing
inside them.
"""

from __future__ import annotations

import re
from contextlib import suppress

import msgspec

_SPACE = rb"[ \t\n\r]*+"
_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'

# Possessive quantifiers throughout: no text makes these expressions go back over what they have read.
_START = re.compile(_SPACE + rb"\{" + _SPACE)
_KEY = re.compile(_SPACE + rb"(" + _STRING + rb")" + _SPACE + rb":" + _SPACE, re.DOTALL)
_FLAT_VALUE = re.compile(_STRING + rb'|[^ \t\n\r,:"{}\[\]]++', re.DOTALL)
_NEXT_BRACKETS = re.compile(rb'(?:[^"{}\[\]]++|' + _STRING + rb")*+(?:([{\[]++)|([}\]]++))", re.DOTALL)
_SEPARATOR = re.compile(_SPACE + rb"([,}])" + _SPACE)

_decode_string = msgspec.json.Decoder(str).decode


def scan(text: bytes) -> dict[str, bytes]:
    """Give the top-level fields of the JSON object ``text``: each name with its value as it stands there.

    Takes time in proportion to the length of ``text``, and no recursion. Values may be anything, broken ones included,
    as long as quotes and brackets show where they end. Of fields with the same name the last counts. A field whose name
    is not Unicode is left out.

    Raises:
        ValueError: this is not one object from end to end. The text names a position and quotes nothing.
    """
    fields: dict[str, bytes] = {}
    position = _expect(_START, text, 0).end()
    if text[position : position + 1] == b"}":
        closing = _expect(_SEPARATOR, text, position)
    else:
        while True:
            key = _expect(_KEY, text, position)
            end = _end_of_value(text, key.end())
            with suppress(msgspec.DecodeError, UnicodeDecodeError):
                fields[_decode_string(key[1])] = text[key.end() : end]
            closing = _expect(_SEPARATOR, text, end)
            if closing[1] == b"}":
                break
            position = closing.end()
    if closing.end() != len(text):
        raise ValueError(f"something follows the object at byte {closing.end()}")
    return fields


def _expect(pattern: re.Pattern[bytes], text: bytes, position: int) -> re.Match[bytes]:
    match = pattern.match(text, position)
    if match is None:
        raise ValueError(f"not a JSON object: something is wrong after byte {position}")
    return match


def _end_of_value(text: bytes, start: int) -> int:
    if text[start : start + 1] not in (b"{", b"["):
        return _expect(_FLAT_VALUE, text, start).end()
    depth = 0
    position = start
    while True:
        brackets = _expect(_NEXT_BRACKETS, text, position)
        position = brackets.end()
        if brackets[1] is not None:
            depth += position - brackets.start(1)
        else:
            closed = position - brackets.start(2)
            if closed >= depth:  # the last ones of these may belong to the object around the value
                return brackets.start(2) + depth
            depth -= closed
