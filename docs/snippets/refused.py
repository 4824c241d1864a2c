import trio

from trio_webpubsub import SendFailed, open_client
from trio_webpubsub.emulator import open_emulator


async def main() -> None:
    async with (
        open_emulator() as emulator,
        open_client(emulator.client_url("chat", roles=["webpubsub.joinLeaveGroup"])) as client,
    ):
        await client.join_group("lobby")
        try:
            await client.send_to_group("lobby", "May I?")
        except SendFailed as error:
            print(f"refused: {error.name}")


trio.run(main)
