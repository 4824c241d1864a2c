"""Streams of the official JavaScript client, unchanged, against the emulator, and with ours at the other end."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from trio_webpubsub import Client, StreamFailed, open_client
from trio_webpubsub.emulator import Emulator, HubLimits, open_emulator

from . import node_peer
from .node_peer import Node, NodeError, open_node

LIMIT = 50.0


@pytest.fixture
async def node(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Node]:
    monkeypatch.setattr(node_peer, "DRIVER", Path(__file__).parent / "node" / "streams.mjs")
    with trio.fail_after(LIMIT):
        async with open_node() as node:
            yield node


@pytest.fixture(params=["connected again", "connected once"])
async def emulator(request: pytest.FixtureRequest) -> AsyncIterator[Emulator]:
    """An emulator; the official client goes on with its streams only where ``connected`` comes again."""
    async with open_emulator(connected_after_recovery=request.param == "connected again") as emulator:
        yield emulator


always = pytest.mark.parametrize("emulator", ["connected again"], indirect=True)


@asynccontextmanager
async def ours(emulator: Emulator) -> AsyncGenerator[Client, None]:
    async with open_client(emulator.client_url("chat", user_id="ours")) as client:
        yield client


async def theirs(emulator: Emulator, node: Node, name: str = "js", *, reliable: bool = True, **claims: Any) -> str:
    """Open an official client, and give its connection id."""
    connection_id: str = await node.do(
        "openClient", name, emulator.client_url("chat", user_id=name, **claims), reliable
    )
    return connection_id


async def listening(emulator: Emulator, node: Node, name: str = "js", **options: Any) -> str:
    connection_id = await theirs(emulator, node, name)
    await node.do("listen", name, options)
    await node.do("join", name, "g")
    return connection_id


async def test_theirs_to_theirs(emulator: Emulator, node: Node) -> None:
    await theirs(emulator, node, "sender")
    await listening(emulator, node, "reader")
    stream = await node.do("openStream", "sender", "g", {})
    for data, data_type in (("Once ", "text"), ({"n": 1}, "json"), (b"\x00\xff", "binary")):
        await node.do("write", stream, data, data_type)
    await node.do("end", stream)
    assert await node.wait_for("ended") == [{"id": stream, "error": None}]
    fragments = node.of("fragment")
    assert [(each["number"], each["data"]) for each in fragments] == [(1, "Once "), (2, {"n": 1}), (3, b"\x00\xff")]
    assert {each["user"] for each in fragments} == {"sender"}


@pytest.mark.parametrize("reliable", [True, False])
@always
async def test_theirs_to_ours(emulator: Emulator, node: Node, reliable: bool) -> None:
    await theirs(emulator, node, reliable=reliable)
    async with ours(emulator) as client, client.group_streams("g") as streams:
        await node.do("openStream", "js", "g", {"streamId": "s"})
        await node.do("write", "s", "Once ", "text")
        await node.do("write", "s", {"n": 1}, "json")
        await node.do("end", "s")
        stream = await streams.receive()
        assert (stream.stream_id, stream.from_user_id, stream.from_start) == ("s", "js", True)
        assert [fragment.data async for fragment in stream] == ["Once ", {"n": 1}]


@always
async def test_ours_to_theirs(emulator: Emulator, node: Node) -> None:
    await listening(emulator, node)
    async with ours(emulator) as client:
        async with client.open_stream("g", stream_id="s") as stream:
            await stream.write("Once ")
            await stream.write({"n": 1})
            await stream.write(b"\x00\xff")
        assert await node.wait_for("ended") == [{"id": "s", "error": None}]
        assert [each["data"] for each in node.of("fragment")] == ["Once ", {"n": 1}, b"\x00\xff"]


@always
async def test_an_abort_of_theirs(emulator: Emulator, node: Node) -> None:
    await theirs(emulator, node)
    async with ours(emulator) as client, client.group_streams("g") as streams:
        await node.do("openStream", "js", "g", {"streamId": "s"})
        await node.do("write", "s", "a", "text")
        await node.do("abort", "s", {"message": "why", "userErrorCode": "E"})
        stream = await streams.receive()
        assert (await stream.receive()).data == "a"
        with pytest.raises(StreamFailed) as caught:
            await stream.receive()
        assert (caught.value.name, caught.value.message, caught.value.user_error_code) == ("UserError", "why", "E")


@always
async def test_an_exception_of_ours(emulator: Emulator, node: Node) -> None:
    await listening(emulator, node)
    async with ours(emulator) as client:
        with pytest.raises(ZeroDivisionError):
            async with client.open_stream("g") as stream:
                await stream.write("a")
                raise ZeroDivisionError
        (ended,) = await node.wait_for("ended")
        assert (ended["error"]["name"], ended["error"]["userErrorCode"]) == ("UserError", "Exception")


@always
async def test_an_abort_of_ours(emulator: Emulator, node: Node) -> None:
    await listening(emulator, node)
    emulator.refuse_fragments("chat", 2)
    async with ours(emulator) as client, client.open_stream("g") as stream:
        await stream.write("a")
        await stream.abort("Quota", "no more")
    (ended,) = await node.wait_for("ended")
    error = ended["error"]
    assert (error["name"], error["message"], error["userErrorCode"]) == ("UserError", "no more", "Quota")
    assert [each["data"] for each in node.of("fragment")] == ["a"]


@always
async def test_a_refusal(emulator: Emulator, node: Node) -> None:
    await theirs(emulator, node, roles=[])
    with pytest.raises(NodeError) as caught:
        await node.do("openStream", "js", "g", {})
    assert caught.value.detail == {"name": "Forbidden"}


@pytest.mark.parametrize("name", ["InternalServerError", "Forbidden"])
@always
async def test_an_error_of_the_service(emulator: Emulator, node: Node, name: str) -> None:
    sender = await theirs(emulator, node, "sender")
    await listening(emulator, node, "reader")
    await node.do("openStream", "sender", "g", {"streamId": "s"})
    await node.do("write", "s", "a", "text")
    await node.wait_for("fragment")
    emulator.fail_stream(sender, "s", name, "why")
    assert await node.wait_for("stream-error") == [{"id": "s", "name": name, "message": "why"}]
    (ended,) = await node.wait_for("ended")
    assert ended["error"]["name"] == name


@always
async def test_a_name_that_is_taken(emulator: Emulator, node: Node) -> None:
    """The official client refuses a second stream of the same name itself, and the first one goes on."""
    await theirs(emulator, node)
    await node.do("openStream", "js", "g", {"streamId": "s"})
    with pytest.raises(NodeError, match="already exists"):
        await node.do("openStream", "js", "g", {"streamId": "s"})
    await node.do("write", "s", "a", "text")


@always
async def test_an_idle_stream_of_theirs(emulator: Emulator, node: Node) -> None:
    await theirs(emulator, node)
    async with ours(emulator) as client, client.group_streams("g") as streams:
        await node.do("openStream", "js", "g", {"streamId": "s", "idleTimeoutInMs": 300})
        await node.do("write", "s", "a", "text")
        stream = await streams.receive()
        await stream.receive()
        with pytest.raises(StreamFailed, match="IdleTimeout"):
            await stream.receive()
        (error,) = await node.wait_for("stream-error")
        assert error["name"] == "IdleTimeout"


@always
async def test_an_idle_stream_of_ours_that_their_reader_gives_up(emulator: Emulator, node: Node) -> None:
    await listening(emulator, node, idleTimeoutInMs=300)
    async with ours(emulator) as client, client.open_stream("g") as stream:
        await stream.write("a")
        (ended,) = await node.wait_for("ended")
        assert ended["error"]["name"] == "IdleTimeout"


@always
async def test_two_streams_of_theirs_at_once(emulator: Emulator, node: Node) -> None:
    await theirs(emulator, node)
    async with ours(emulator) as client, client.group_streams("g") as streams:
        for name in "ab":
            await node.do("openStream", "js", "g", {"streamId": name})
        for number in range(3):
            for name in "ab":
                await node.do("write", name, f"{name}{number}", "text")
        for name in "ba":
            await node.do("end", name)
        heard = {stream.stream_id: stream for stream in [await streams.receive(), await streams.receive()]}
        for name in "ab":
            assert [fragment.data async for fragment in heard[name]] == [f"{name}{number}" for number in range(3)]


@always
async def test_two_streams_of_ours_at_once(emulator: Emulator, node: Node) -> None:
    await listening(emulator, node)
    async with (
        ours(emulator) as client,
        client.open_stream("g", stream_id="a") as first,
        client.open_stream("g", stream_id="b") as second,
    ):
        for number in range(3):
            await first.write(f"a{number}")
            await second.write(f"b{number}")
    await node.wait_for("ended", 2)
    for name in "ab":
        heard = [each["data"] for each in node.of("fragment") if each["id"] == name]
        assert heard == [f"{name}{number}" for number in range(3)]


@always
async def test_a_recovery_in_the_middle_of_a_stream_of_theirs(emulator: Emulator, node: Node) -> None:
    sender = await theirs(emulator, node)
    async with ours(emulator) as client, client.group_streams("g") as streams, trio.open_nursery() as nursery:
        await node.do("openStream", "js", "g", {"streamId": "s"})
        nursery.start_soon(node.do, "writeNumbers", "s", 500)
        stream = await streams.receive()
        heard = [(await stream.receive()).data for _ in range(50)]
        emulator.cut(sender)
        heard += [(await stream.receive()).data for _ in range(450)]
        assert heard == list(range(500))
        await node.do("end", "s")
        with pytest.raises(trio.EndOfChannel):
            await stream.receive()


async def test_a_recovery_in_the_middle_of_a_stream_of_ours(emulator: Emulator, node: Node) -> None:
    reader = await listening(emulator, node)
    async with ours(emulator) as client:
        async with client.open_stream("g", stream_id="s") as stream:
            for number in range(500):
                await stream.write(number)
                if number == 200:
                    emulator.cut(client.connection_id or "")
                if number == 300:
                    emulator.cut(reader)
        assert await node.wait_for("ended") == [{"id": "s", "error": None}]
        assert [each["data"] for each in node.of("fragment")] == list(range(500))
        assert client.statistics().recoveries == 1


@pytest.mark.parametrize(("from_start", "heard"), [(True, ["next"]), (False, ["late", "next"])])
@always
async def test_their_late_joiners(emulator: Emulator, node: Node, from_start: bool, heard: list[str]) -> None:
    await theirs(emulator, node)
    await node.do("listen", "js", {"handleFromStart": from_start})
    async with ours(emulator) as client:
        async with client.open_stream("g", stream_id="late") as stream:
            await stream.write("a")
            await stream.flush()
            await node.do("join", "js", "g")
            await stream.write("b")
        async with client.open_stream("g", stream_id="next") as stream:
            await stream.write("c")
        await node.wait_for("ended", len(heard))
        assert [each["id"] for each in node.of("stream")] == heard


@pytest.mark.parametrize("from_start", [True, False])
@always
async def test_our_late_joiners(emulator: Emulator, node: Node, from_start: bool) -> None:
    await theirs(emulator, node)
    async with ours(emulator) as client:
        await node.do("openStream", "js", "g", {"streamId": "late"})
        await node.do("write", "late", "a", "text")
        async with client.group_streams("g", from_start=from_start) as streams:
            await node.do("write", "late", "b", "text")
            await node.do("end", "late")
            await node.do("openStream", "js", "g", {"streamId": "next"})
            await node.do("write", "next", "c", "text")
            if not from_start:
                stream = await streams.receive()
                assert (stream.stream_id, stream.from_start, stream.missing) == ("late", False, 1)
                assert [fragment.data async for fragment in stream] == ["b"]
            assert (await streams.receive()).stream_id == "next"


@always
async def test_their_echo_can_be_left_out(emulator: Emulator, node: Node) -> None:
    await listening(emulator, node)
    for name, no_echo in (("quiet", True), ("loud", False)):
        await node.do("openStream", "js", "g", {"streamId": name, "noEcho": no_echo})
        await node.do("write", name, "a", "text")
        await node.do("end", name)
    await node.wait_for("ended")
    assert [each["id"] for each in node.of("stream")] == ["loud"]


async def test_a_sender_of_theirs_that_stops(node: Node) -> None:
    """It closes without a code, which leaves its session to be recovered for a while."""
    limits = HubLimits(recovery_window=0.2)
    async with (
        open_emulator(limits=limits) as emulator,
        ours(emulator) as client,
        client.group_streams("g") as streams,
    ):
        await theirs(emulator, node)
        await node.do("openStream", "js", "g", {"streamId": "s"})
        await node.do("write", "s", "a", "text")
        stream = await streams.receive()
        await stream.receive()
        await node.do("stop", "js")
        with pytest.raises(StreamFailed, match="Cancelled"):
            await stream.receive()
