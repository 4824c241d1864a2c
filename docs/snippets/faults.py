import trio

from trio_webpubsub import Connected, Recovered, open_client
from trio_webpubsub.emulator import open_emulator


async def main() -> None:
    async with (
        open_emulator() as emulator,
        open_client(emulator.client_url("chat", user_id="ann")) as ann,
        ann.group_messages("lobby") as messages,
        ann.lifecycle() as news,
    ):
        me = ann.connection_id or ""

        emulator.cut(me, "eof", after_bytes=20)  # somewhere within the next message
        await ann.send_to_group("lobby", "over a broken link")
        print((await messages.receive()).data)
        while not isinstance(await news.receive(), Recovered):
            pass

        with emulator.hold_acks(me):
            with trio.move_on_after(0.1) as waiting:
                await ann.send_to_group("lobby", "acknowledged late")
            print("still waiting for the ack:", waiting.cancelled_caught)
        print((await messages.receive()).data)

        with emulator.refuse_connections(503):  # while the service is away ...
            emulator.restart(keep_state=False)  # ... it forgets everything
            print("connections:", emulator.connections("chat"))
        while not isinstance(await news.receive(), Connected):
            pass
        await ann.send_to_group("lobby", "in a new session")
        print((await messages.receive()).data)


trio.run(main)
