"""Frames written: checked against wsproto reading them, and against frames written out by hand."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets import speedups
from wsproto.frame_protocol import FrameDecoder, Opcode

from trio_webpubsub.protocol import frame_writer
from trio_webpubsub.protocol.frame_writer import apply_mask, encode_close, encode_frame, encode_ping, mask_in_python

SIZES = [0, 1, 125, 126, 127, 65_535, 65_536, 65_537]


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_wsproto_reads_what_was_written(size: int, binary: bool, masked: bool) -> None:
    payload = bytes(index % 251 for index in range(size))
    decoder = FrameDecoder(client=not masked)
    decoder.receive_bytes(encode_frame(payload, binary=binary, mask_key=b"\x01\x80\xff\x00" if masked else None))
    frame = decoder.process_buffer()
    assert frame is not None
    assert frame.opcode is (Opcode.BINARY if binary else Opcode.TEXT)
    assert frame.payload == payload
    assert frame.frame_finished
    assert frame.message_finished
    assert not decoder.buffer.buffer


def test_the_examples_of_the_standard() -> None:
    # RFC 6455, section 5.7.
    assert encode_frame(b"Hello") == bytes.fromhex("810548656c6c6f")
    assert encode_frame(b"Hello", mask_key=bytes.fromhex("37fa213d")) == bytes.fromhex("818537fa213d7f9f4d5158")


@pytest.mark.parametrize("mask", [apply_mask, mask_in_python])
@given(payload=st.binary(max_size=40), key=st.binary(min_size=4, max_size=4))
def test_masking_is_the_xor_of_each_byte_and_its_own_reverse(
    mask: Callable[[bytes, bytes], bytes], payload: bytes, key: bytes
) -> None:
    masked = mask(payload, key)
    assert masked == bytes(byte ^ key[index % 4] for index, byte in enumerate(payload))
    assert mask(masked, key) == payload


def test_masking_is_done_in_c_where_that_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert apply_mask is speedups.apply_mask
    spec = importlib.util.spec_from_file_location("without_the_extra", frame_writer.__file__)
    assert spec is not None
    assert spec.loader is not None
    without = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "websockets", None)
    spec.loader.exec_module(without)
    assert without.apply_mask is without.mask_in_python


def test_a_ping() -> None:
    assert encode_ping() == b"\x89\x00"
    assert encode_ping(mask_key=b"abcd") == b"\x89\x80abcd"


def test_a_close_frame() -> None:
    assert encode_close(4001, "bye") == b"\x88\x05\x0f\xa1bye"
    assert encode_close(1000, mask_key=b"\0\0\0\0") == b"\x88\x82\0\0\0\0\x03\xe8"


def test_a_long_reason_is_cut_between_two_characters() -> None:
    frame = encode_close(1000, "a" + "é" * 100)
    assert frame[1] == len(frame) - 2 == 2 + 1 + 2 * 61
    assert frame[4:].decode() == "a" + "é" * 61
