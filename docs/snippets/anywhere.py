import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial

import trio

from trio_webpubsub import open_client
from trio_webpubsub.emulator import open_emulator
from trio_webpubsub.service import open_service


@asynccontextmanager
async def web_pubsub() -> AsyncGenerator[str, None]:
    """Give the connection string of the resource to use: the one in the environment, or an emulator."""
    if connection_string := os.environ.get("AZURE_WEBPUBSUB_CONNECTION_STRING"):
        yield connection_string
    else:
        async with open_emulator() as emulator:
            yield emulator.connection_string


async def main() -> None:
    roles = ["webpubsub.joinLeaveGroup.lobby", "webpubsub.sendToGroup.lobby"]
    async with (
        web_pubsub() as connection_string,
        open_service(connection_string, hub="chat") as service,
        open_client(partial(service.client_access_url, user_id="ann", roles=roles)) as ann,
        ann.group_messages("lobby") as messages,
    ):
        await service.send_to_user("ann", "You are connected.")
        await ann.send_to_group("lobby", "Hello")
        print((await messages.receive()).data)
        async for message in ann.server_messages():
            print(message.data)
            break


trio.run(main)
