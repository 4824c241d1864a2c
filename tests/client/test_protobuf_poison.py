"""What a protobuf client makes of frames that no polite service sends."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_webpubsub import Gap, open_client
from trio_webpubsub.protocol import wire
from trio_webpubsub.protocol.protobuf_codec import RELIABLE_PROTOBUF
from trio_webpubsub.protocol.webpubsub_pb2 import DownstreamMessage, MessageData, UpstreamMessage

from .raw_service import URL, Peer, RawService

PROTOBUF = "protobuf.reliable.webpubsub.azure.v1"


def data_frame(sequence_id: int, data: MessageData | None) -> bytes:
    message = DownstreamMessage.DataMessage(origin="server", data=data, sequence_id=sequence_id)
    return DownstreamMessage(data_message=message).SerializeToString()


def json_data(text: bytes) -> MessageData:
    return MessageData.FromString(b"\x22" + varint(len(text)) + text)


def varint(number: int) -> bytes:
    written = bytearray()
    while number >= 0x80:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*written, number])


POISON = [
    json_data(rb'"\ud800"'),
    json_data(b"9" * 5_000),
    json_data(b"1e400"),
    json_data(b"[" * 100_000 + b"]" * 100_000),
    json_data(b"\xff"),
    MessageData.FromString(b"\x0a\x01\xff"),  # text that is not UTF-8
    MessageData.FromString(b"\x4a\x01x"),  # a kind of data that nobody knows yet
    None,
]


async def begin(service: RawService) -> Peer:
    peer = await service.next()
    connected = wire.ConnectedMessage(connection_id="c-1", reconnection_token="canary")
    await peer.websocket.send_message(RELIABLE_PROTOBUF.encode_control(connected))
    return peer


async def upstream(peer: Peer) -> UpstreamMessage:
    frame = await peer.websocket.get_message()
    assert isinstance(frame, bytes)
    return UpstreamMessage.FromString(frame)


async def recover(service: RawService) -> Peer:
    peer = await service.next()
    assert peer.query["awps_reconnection_token"] == "canary"
    assert (await upstream(peer)).HasField("ping_message")
    await peer.websocket.send_message(RELIABLE_PROTOBUF.encode_control(wire.Pong()))
    return peer


async def test_poison_harms_neither_the_link_nor_the_next_message(
    autojump_clock: MockClock, service: RawService, nursery: trio.Nursery
) -> None:
    service.greet, service.subprotocol = False, PROTOBUF
    peers: list[Peer] = []

    @nursery.start_soon
    async def play() -> None:
        peer = await begin(service)
        for number, data in enumerate(POISON):
            await peer.websocket.send_message(data_frame(2 * number + 1, data))
            await peer.websocket.send_message(data_frame(2 * number + 2, MessageData(text_data=b"fine")))
        await peer.websocket.send_message(b"\x7a\x00")  # a message of a type that nobody knows yet
        peers.append(peer)

    async with (
        open_client(URL, connector=service.connector, subprotocol="protobuf.reliable.webpubsub.azure.v1") as client,
        client.server_messages(gaps=True) as messages,
    ):
        got = [await messages.receive() for _ in range(2 * len(POISON))]
        assert not any(isinstance(each, Gap) for each in got)
        assert [each.data for each in got if not isinstance(each, Gap)] == [None, "fine"] * len(POISON)
        assert [each.data_error is None for each in got if not isinstance(each, Gap)] == [False, True] * len(POISON)
        await wait_all_tasks_blocked()
        assert (await upstream(peers[0])).sequence_ack_message.sequence_id == 2 * len(POISON)
        statistics = client.statistics()
        assert (statistics.undecodable, statistics.unknown, statistics.recoveries) == (len(POISON), 1, 0)


@pytest.mark.parametrize("unreadable", [b"\xff\xff", b"", b"\x12\x04\x0a\x02\xff\xff"])
async def test_the_same_bytes_after_a_recovery_begin_a_new_session(
    autojump_clock: MockClock, service: RawService, nursery: trio.Nursery, unreadable: bytes
) -> None:
    service.greet, service.subprotocol = False, PROTOBUF
    listening = trio.Event()

    @nursery.start_soon
    async def play() -> None:
        peer = await begin(service)
        await listening.wait()
        for _ in range(3):
            await peer.websocket.send_message(unreadable)
        peer = await recover(service)
        for _ in range(3):
            await peer.websocket.send_message(unreadable)
        peer = await service.next()
        assert "awps_connection_id" not in peer.query
        connected = wire.ConnectedMessage(connection_id="c-2")
        await peer.websocket.send_message(RELIABLE_PROTOBUF.encode_control(connected))
        await peer.websocket.send_message(data_frame(1, MessageData(text_data=b"fine")))

    async with (
        open_client(URL, connector=service.connector, subprotocol="protobuf.reliable.webpubsub.azure.v1") as client,
        client.server_messages(gaps=True) as messages,
    ):
        listening.set()
        missing = Gap()
        while isinstance(message := await messages.receive(), Gap):
            missing += message
        assert missing == Gap(unreadable=6, session_lost=True)
        assert message.data == "fine"
        assert client.statistics().recoveries == 1
