import trio

from trio_webpubsub import ClientStopped, ConnectFailed, open_client
from trio_webpubsub.emulator import Emulator, open_emulator


async def listen(url: str, emulator: Emulator) -> None:
    async with open_client(url, reconnect=None) as client, client.group_messages("lobby") as messages:
        await client.send_to_group("lobby", "I am here")
        async for message in messages:
            print("heard:", message.data)
            emulator.forget_session(client.connection_id or "")  # as when the service is replaced


async def main() -> None:
    async with open_emulator() as emulator:
        for _ in range(2):  # in a program of yours: while True
            try:
                await listen(emulator.client_url("chat"), emulator)
            except (ConnectFailed, ClientStopped) as error:
                print(error)
                await trio.sleep(0.1)


trio.run(main)
