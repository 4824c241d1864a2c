"""``token``: the URL or the token, and nothing else."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

import jwt
import pytest

from tests.cli.command import Ended
from trio_webpubsub import SendFailed, open_client
from trio_webpubsub.emulator import Emulator

Call = Callable[..., Awaitable[Ended]]


async def test_a_client_connects_with_the_url(call: Call, emulator: Emulator) -> None:
    ended = await call("token", "--user-id", "ann", "--role", "sendToGroup.a", "--role", "webpubsub.sendToGroup.b")
    assert (ended.status, ended.err) == (0, "")
    url, end = ended.out[:-1], ended.out[-1]
    assert end == "\n"
    async with open_client(url) as client:
        assert client.user_id == "ann"
        await client.send_to_group("a", "hi")
        await client.send_to_group("b", "hi")
        with pytest.raises(SendFailed):
            await client.send_to_group("c", "hi")


async def test_the_token_alone(call: Call, emulator: Emulator) -> None:
    ended = await call("token", "--print", "token", "--group", "lobby", "--lifetime", "90")
    claims = jwt.decode(ended.out.strip(), options={"verify_signature": False})
    assert claims["webpubsub.group"] == ["lobby"]
    assert claims["aud"] == f"{emulator.endpoint}/client/hubs/chat"
    assert 80 < claims["exp"] - time.time() <= 91


async def test_a_short_key_is_taken_without_a_word(call: Call) -> None:
    ended = await call("token", "--hub", "chat", "--connection-string", "Endpoint=http://localhost;AccessKey=short")
    assert (ended.status, ended.err) == (0, "")


async def test_a_url_for_mqtt(call: Call, emulator: Emulator) -> None:
    ended = await call("token", "--client-protocol", "mqtt")
    assert "/clients/mqtt/hubs/chat?" in ended.out


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--role", ""], "'' is no role"),
        (["--role", "joinLaeveGroup"], "'joinLaeveGroup' is no role: there are getGroupState, joinLeaveGroup,"),
        (["--role", "webpubsub.of.the.future"], "'of.the.future' is no role"),
        (["--role", "sendToGroup."], "names no group"),
        (["--role", "joinLeaveGroups"], "names no group"),
        (["--role", "joinLeaveGroups.******"], "stars"),
        (["--user-id", " "], "user id"),
        (["--group", ""], "group name"),
        (["--lifetime", "1e30"], "cannot live"),
        (["--hub", "1"], "hub name"),
    ],
)
async def test_what_cannot_be_in_a_token_is_told(
    call: Call, emulator: Emulator, arguments: list[str], why: str
) -> None:
    ended = await call("token", *arguments)
    assert (ended.status, ended.out) == (2, "")
    assert why in ended.err
