import trio

from trio_webpubsub import open_client
from trio_webpubsub.emulator import open_emulator


async def main() -> None:
    async with (
        open_emulator() as emulator,
        open_client(emulator.client_url("chat", user_id="ann")) as client,
        client.group_messages("lobby") as messages,
    ):
        await client.send_to_group("lobby", "Hello!")
        message = await messages.receive()
        print(message.from_user_id, "says", message.data)


trio.run(main)
