import trio

from trio_webpubsub import Gap, open_client
from trio_webpubsub.emulator import open_emulator


async def main() -> None:
    async with (
        open_emulator() as emulator,
        open_client(emulator.client_url("chat", user_id="ann")) as client,
        client.group_messages("prices", gaps=True) as messages,
    ):
        news = client.lifecycle()
        await client.send_to_group("prices", 1)
        emulator.forget_session(client.connection_id or "")  # as when the service is replaced
        async for message in messages:
            if isinstance(message, Gap):
                print("something is missing here: time to load everything anew")
                await client.send_to_group("prices", 2)
            else:
                print("price", message.data)
                if message.data == 2:
                    break
        for _ in range(4):
            print(type(await news.receive()).__name__)


trio.run(main)
