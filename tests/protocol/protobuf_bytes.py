"""Protobuf messages written by hand, field by field, so that the tests do not ask the schema that they test."""

from __future__ import annotations


def varint(value: int) -> bytes:
    """Write a number of any size."""
    rest = value >> 7
    return bytes([value & 0x7F | 0x80]) + varint(rest) if rest else bytes([value])


def number(field: int, value: int) -> bytes:
    """Write a field that is a number or a bool."""
    return varint(field << 3) + varint(value)


def block(field: int, *parts: bytes | str) -> bytes:
    """Write a field that is text, bytes, or a message made of fields."""
    body = b"".join(part.encode() if isinstance(part, str) else part for part in parts)
    return varint(field << 3 | 2) + varint(len(body)) + body
