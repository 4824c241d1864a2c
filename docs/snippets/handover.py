import trio

from trio_webpubsub import SessionTicket, open_client
from trio_webpubsub.emulator import open_emulator


async def main() -> None:
    async with open_emulator() as emulator:
        url = emulator.client_url("chat", user_id="ann")

        async with open_client(url) as old:
            await old.join_group("lobby")
            before = old.connection_id
            luggage = (await old.detach()).to_bytes()  # a secret: it is the key to the session

        async with (
            open_client(url, resume=SessionTicket.from_bytes(luggage)) as new,
            new.group_messages("lobby", join=False) as messages,
        ):
            await new.send_to_group("lobby", "still here")
            print((await messages.receive()).data, new.connection_id == before)


trio.run(main)
