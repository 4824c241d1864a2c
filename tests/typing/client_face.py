"""What type checkers see of the client. Nothing here is run: mypy and pyright read it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_type

import trio

from trio_webpubsub import (
    Client,
    ConnectAttemptFailed,
    Connected,
    Disconnected,
    Gap,
    GroupMessage,
    GroupState,
    GroupStateChange,
    GroupStream,
    GroupStreams,
    GroupStreamWriter,
    InvokeResult,
    MemberState,
    Recovered,
    RejoinFailed,
    SendResult,
    ServerMessage,
    Stopped,
    StreamStatistics,
    Subscription,
    open_client,
)


@dataclass
class Order:
    number: int


async def opening(url: str) -> None:
    async def fresh_url() -> str:
        return url

    async with open_client(url) as client:
        assert_type(client, Client)
    async with open_client(fresh_url, ack_timeout=1, subprotocol="json.webpubsub.azure.v1") as client:
        assert_type(client.connection_id, str | None)
    open_client(lambda: url)  # type: ignore[arg-type, return-value]  # pyright: ignore[reportArgumentType]
    open_client(url, subprotocol="mqtt")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    open_client(url, ack_time=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


async def receiving(client: Client) -> None:
    async for message in client.group_messages("g"):
        assert_type(message, GroupMessage)
        assert_type(message.decode_as(Order), Order)
    async with client.group_messages("g", overflow="drop_oldest") as messages:
        assert_type(messages, Subscription[GroupMessage])
        assert_type(await messages.receive(), GroupMessage)
        assert_type(messages.receive_nowait(), GroupMessage)
    async for message_or_gap in client.group_messages("g", gaps=True):
        assert_type(message_or_gap, GroupMessage | Gap)
    async for sent_by_the_service in client.server_messages():
        assert_type(sent_by_the_service, ServerMessage)
    async for anything in client.messages():
        assert_type(anything, GroupMessage | ServerMessage)
    async for news in client.lifecycle():
        assert_type(news, Connected | Disconnected | Recovered | ConnectAttemptFailed | RejoinFailed | Stopped)
    channel: trio.abc.ReceiveChannel[GroupMessage] = client.group_messages("g")
    await channel.aclose()
    client.group_messages("g", bufer=1)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    client.group_messages("g", overflow="drop")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]


async def sending(client: Client) -> None:
    assert_type(await client.join_group("g"), SendResult)
    assert_type(await client.leave_group("g"), SendResult)
    assert_type(await client.send_to_group("g", {"n": 1}), SendResult)
    assert_type(await client.send_to_group("g", b"", no_echo=True, ack=False), None)
    assert_type(await client.send_event("e", "text"), SendResult)
    assert_type(await client.send_event("e", "text", ack=False), None)
    assert_type(await client.invoke_event("e"), InvokeResult)
    assert_type((await client.invoke_event("e")).decode_as(Order), Order)
    await client.send_to_group("g", "", data_type="xml")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]


async def streaming(client: Client) -> None:
    async with client.open_stream("g", no_echo=True, idle_timeout=1, stream_id="s") as writer:
        assert_type(writer, GroupStreamWriter)
        assert_type(await writer.write({"n": 1}), None)
        assert_type(await writer.flush(), None)
        assert_type(await writer.abort("E"), None)
        assert_type(writer.statistics(), StreamStatistics)
    async with client.group_streams("g", from_start=True) as streams:
        assert_type(streams, GroupStreams[GroupMessage])
        async for stream in streams:
            assert_type(stream, GroupStream[GroupMessage])
            assert_type(stream.from_user_id, str | None)
            async for fragment in stream:
                assert_type(fragment, GroupMessage)
    async for stream_with_gaps in client.group_streams(gaps=True):
        assert_type(await stream_with_gaps.receive(), GroupMessage | Gap)
    channel: trio.abc.ReceiveChannel[trio.abc.ReceiveChannel[GroupMessage]] = client.group_streams("g")
    await channel.aclose()
    assert_type(await anext(client.group_messages("g", fragments=True)), GroupMessage)
    client.group_streams("g", join="no")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    client.open_stream("g", idle=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


async def presence(client: Client) -> None:
    assert_type(await client.set_group_state("g", {"status": "typing"}), SendResult)
    assert_type(await client.clear_group_state("g"), SendResult)
    async with client.group_state("g") as members:
        assert_type(members, GroupState)
        assert_type(members["c-1"], MemberState)
        async for change in members.changes():
            assert_type(change, GroupStateChange)
    await client.set_group_state("g", {"n": 1})  # type: ignore[dict-item]  # pyright: ignore[reportArgumentType]


async def delays(url: str) -> None:
    async with open_client(url, reconnect=lambda: [1, 5, 25]):
        pass


async def mistakes(client: Client, url: str) -> None:
    """What is wrong for the checkers, though it may be long before it shows when it runs."""
    with open_client(url):  # type: ignore[attr-defined]  # pyright: ignore[reportGeneralTypeIssues]
        pass
    await open_client(url)  # type: ignore[misc]  # pyright: ignore[reportGeneralTypeIssues]
    open_client(url).join_group("g")  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    open_client(url.encode())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    open_client(url, ssl_context=True)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    open_client(url, headers="X: y")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    open_client(url, reconnect=[1, 2])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    client.send_to_group("g", "hi")  # type: ignore[unused-coroutine]  # pyright: ignore[reportUnusedCoroutine]
    await client.join_group(["g"])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await client.send_to_group("g")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    await client.send_to_group("g", "hi", timeout=5)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    await client.send_to_group("g", "hi", metadata={"a": 1})  # type: ignore[dict-item]  # pyright: ignore[reportArgumentType]
    await client.send_to_group("g", "hi", ack=False, retries=1)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    await client.messages()  # type: ignore[misc]  # pyright: ignore[reportGeneralTypeIssues]
    for _ in client.messages():  # type: ignore[attr-defined]  # pyright: ignore[reportGeneralTypeIssues, reportUnknownVariableType]
        pass
    with client.messages():  # type: ignore[attr-defined]  # pyright: ignore[reportGeneralTypeIssues]
        pass
    client.group_messages(["g", "h"])  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    async with client.open_stream("g") as writer:
        writer.write("hi")  # type: ignore[unused-coroutine]  # pyright: ignore[reportUnusedCoroutine]
    with client.open_stream("g"):  # type: ignore[attr-defined]  # pyright: ignore[reportGeneralTypeIssues]
        pass
    async for _ in client:  # type: ignore[attr-defined]  # pyright: ignore[reportGeneralTypeIssues, reportUnknownVariableType]
        pass
