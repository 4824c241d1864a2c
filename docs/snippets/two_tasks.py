import trio

from trio_webpubsub import Client, open_client
from trio_webpubsub.emulator import open_emulator


async def listen(client: Client, *, task_status: trio.TaskStatus[None]) -> None:
    async with client.group_messages("lobby") as messages:
        task_status.started()  # joined: nothing that is sent from now on is missed
        async for message in messages:
            print(f"{client.user_id} hears {message.from_user_id} say {message.data!r}")
            if message.data == "Bye":
                break


async def main() -> None:
    async with (
        open_emulator() as emulator,
        open_client(emulator.client_url("chat", user_id="ann")) as ann,
        open_client(emulator.client_url("chat", user_id="ben")) as ben,
        trio.open_nursery() as nursery,
    ):
        await nursery.start(listen, ben)
        await ann.send_to_group("lobby", "Hello")
        await ann.send_to_group("lobby", "Bye")


trio.run(main)
