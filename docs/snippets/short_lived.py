from datetime import timedelta

import trio
import trio.testing

from trio_webpubsub import Connected, Recovered, open_client
from trio_webpubsub.emulator import open_emulator
from trio_webpubsub.service import open_service


async def main() -> None:
    async with (
        open_emulator(in_memory=True) as emulator,
        open_service(emulator.connection_string, "chat", connector=emulator.connector) as service,
    ):

        async def fresh_url() -> str:
            print("a token for a minute, please")
            return await service.client_access_url(user_id="ann", lifetime=timedelta(minutes=1))

        async with open_client(fresh_url, connector=emulator.connector) as client, client.lifecycle() as news:
            await news.receive()

            await trio.sleep(3600)
            await service.send_to_user("ann", "an hour later")
            async for message in client.server_messages():
                print(message.data)
                break

            emulator.cut(client.connection_id or "")
            while not isinstance(await news.receive(), Recovered):
                pass
            print("recovered with what the service gave, not with the token")

            emulator.forget_session(client.connection_id or "")
            while not isinstance(await news.receive(), Connected):
                pass
            print("connected anew")


trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))  # an hour takes no time
