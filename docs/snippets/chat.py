import trio

from trio_webpubsub import Client, Connected, Gap, open_client
from trio_webpubsub.emulator import open_emulator


async def show(client: Client, screen: trio.MemorySendChannel[str], *, task_status: trio.TaskStatus[None]) -> None:
    """Show what is said in the lobby, and where something may be missing."""
    async with client.group_messages("lobby", gaps=True) as messages:
        task_status.started()
        async for message in messages:
            if isinstance(message, Gap):
                await screen.send("(you were away, something may be missing here)")
            else:
                await screen.send(f"{message.from_user_id}: {message.data}")


async def main() -> None:
    screen, lines = trio.open_memory_channel[str](0)
    async with (
        open_emulator() as emulator,
        open_client(emulator.client_url("chat", user_id="ann")) as ann,
        open_client(emulator.client_url("chat", user_id="ben")) as ben,
        ben.lifecycle() as news,
        trio.open_nursery() as nursery,
    ):
        await nursery.start(show, ben, screen)
        await ann.send_to_group("lobby", "Hello, Ben!")
        print(await lines.receive())

        emulator.cut(ben.connection_id or "")
        await ann.send_to_group("lobby", "Are you still there?")
        print(await lines.receive())

        with emulator.refuse_connections():  # for long enough that the service gives Ben's session up
            emulator.forget_session(ben.connection_id or "")
            await ann.send_to_group("lobby", "Now he cannot hear me.")
        while not (isinstance(event := await news.receive(), Connected) and not event.first):
            pass
        await ann.send_to_group("lobby", "Welcome back.")
        print(await lines.receive())
        print(await lines.receive())
        nursery.cancel_scope.cancel()


trio.run(main)
