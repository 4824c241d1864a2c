"""Where a handshake ends and the frames begin."""

from __future__ import annotations

import pytest

from trio_webpubsub._shell.handshake import LONGEST_REFUSAL, Handshake, is_switch

SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"
REFUSAL = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 4\r\n\r\n"
REQUEST = b"GET /client HTTP/1.1\r\nHost: example\r\n\r\n"
FRAMES = b"\x81\x02hi\n\n\x81\x00"


def feed(handshake: Handshake, *pieces: bytes) -> bytes:
    """Give what is the handshake's of these pieces; behind its end nothing is asked of it."""
    taken = b""
    for piece in pieces:
        assert not handshake.done
        taken += piece[: handshake.take(piece)]
    return taken


@pytest.mark.parametrize(("client", "head"), [(True, SWITCH), (False, REQUEST)])
def test_wherever_the_head_is_cut_it_ends_at_the_same_place(client: bool, head: bytes) -> None:
    for position in range(len(head)):
        handshake = Handshake(client=client)
        assert feed(handshake, head[:position], head[position:] + FRAMES) == head
        assert handshake.done


def test_a_head_that_comes_by_the_byte() -> None:
    handshake = Handshake(client=True)
    assert feed(handshake, *(SWITCH[position : position + 1] for position in range(len(SWITCH)))) == SWITCH
    assert handshake.done


def test_lines_may_end_without_a_carriage_return() -> None:
    handshake = Handshake(client=True)
    head = SWITCH.replace(b"\r", b"")
    assert feed(handshake, head + FRAMES) == head
    assert handshake.done


def test_behind_a_refusal_come_no_frames() -> None:
    handshake = Handshake(client=True)
    assert feed(handshake, REFUSAL, b"no, ", FRAMES) == REFUSAL + b"no, " + FRAMES
    assert not handshake.done
    assert not handshake.refused_at_length


def test_a_long_refusal_is_too_long_at_the_first_byte_behind_the_limit() -> None:
    handshake = Handshake(client=True)
    feed(handshake, REFUSAL, b"x" * LONGEST_REFUSAL)
    assert not handshake.refused_at_length
    feed(handshake, b"x")
    assert handshake.refused_at_length


def test_a_request_is_no_refusal_whatever_it_says() -> None:
    handshake = Handshake(client=False)
    assert feed(handshake, REFUSAL + FRAMES) == REFUSAL
    assert handshake.done


@pytest.mark.parametrize(
    ("head", "status"), [(b"", None), (b"HTTP/1.1 40", None), (REFUSAL[:14], "403"), (REFUSAL, "403"), (SWITCH, "101")]
)
def test_the_status_is_told_once_it_has_come(head: bytes, status: str | None) -> None:
    handshake = Handshake(client=True)
    handshake.take(head)
    assert handshake.status == status


@pytest.mark.parametrize(
    ("head", "expected"),
    [(SWITCH, True), (bytearray(SWITCH), True), (REFUSAL, False), (b"HTTP/1.1 1010 ", False), (b"x" + SWITCH, False)],
)
def test_what_switches(head: bytes | bytearray, expected: bool) -> None:
    assert is_switch(head) is expected
