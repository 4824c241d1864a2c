import trio

from trio_webpubsub import open_client
from trio_webpubsub.emulator import open_emulator


async def main() -> None:
    async with (
        open_emulator() as emulator,
        open_client(emulator.client_url("chat", user_id="ann")) as ann,
        open_client(emulator.client_url("chat", user_id="ben")) as ben,
        ben.group_messages("lobby") as messages,
        ben.lifecycle() as news,
    ):
        print(type(await news.receive()).__name__)
        await ann.send_to_group("lobby", "before")
        emulator.cut(ben.connection_id or "")
        await ann.send_to_group("lobby", "meanwhile")
        print(type(await news.receive()).__name__)
        print(type(await news.receive()).__name__)
        print((await messages.receive()).data, "and", (await messages.receive()).data)


trio.run(main)
