import trio

from trio_webpubsub import Client, SubscriptionOverflow, open_client
from trio_webpubsub.emulator import open_emulator


async def send_twenty(client: Client) -> None:
    for number in range(20):
        await client.send_to_group("ticks", number)


async def main() -> None:
    async with open_emulator() as emulator, open_client(emulator.client_url("chat")) as client:
        await client.join_group("ticks")

        # By default nothing is lost in silence: who stands still is told, after what fitted.
        async with client.group_messages("ticks", join=False, buffer=10) as messages:
            await send_twenty(client)
            last = None
            try:
                async for message in messages:
                    last = message.data
            except SubscriptionOverflow as overflow:
                print(f"0 to {last}, then {overflow.dropped} were too many")

        # Where only the newest matter, the oldest give way, and a gap tells how many.
        async with client.group_messages("ticks", join=False, buffer=2, overflow="drop_oldest", gaps=True) as messages:
            await send_twenty(client)
            for _ in range(3):
                print(await messages.receive())


trio.run(main)
