import trio

from trio_webpubsub import open_client
from trio_webpubsub.emulator import open_emulator
from trio_webpubsub.service import open_service


async def main() -> None:
    async with (
        open_emulator() as emulator,
        open_service(emulator.connection_string, hub="chat") as service,
        open_client(emulator.client_url("chat", user_id="ann")) as ann,
        ann.group_messages("lobby") as messages,
    ):
        await service.send_to_group("lobby", "Welcome!")
        await ann.send_to_group("lobby", {"text": "Hi, I am Ann."})
        for _ in range(2):
            message = await messages.receive()
            print(message.from_user_id or "the service", "says", message.data)


trio.run(main)
