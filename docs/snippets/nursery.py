import trio

from trio_webpubsub import Client, Gap, open_client
from trio_webpubsub.emulator import open_emulator


class Prices:
    def __init__(self) -> None:
        self.now: dict[str, float] = {}
        self.known = trio.Event()

    async def follow(self, client: Client, *, task_status: trio.TaskStatus[None]) -> None:
        """Keep up to date."""
        async with client.group_messages("prices", gaps=True) as messages:
            task_status.started()
            async for message in messages:
                if isinstance(message, Gap):
                    self.now.clear()  # and load them from where they are kept
                else:
                    self.now.update(message.data)
                    self.known.set()


async def stay_connected(url: str, *, task_status: trio.TaskStatus[Client]) -> None:
    """Keep a client open for the rest of the program."""
    async with open_client(url) as client:
        task_status.started(client)
        await client.wait_stopped()


async def serve(client: Client, prices: Prices) -> None:
    """Stands for the web server, or whatever else the program is for."""
    await client.send_to_group("prices", {"tea": 2.5})
    await prices.known.wait()
    print(prices.now)


async def main() -> None:
    prices = Prices()
    async with open_emulator() as emulator, trio.open_nursery() as nursery:
        client = await nursery.start(stay_connected, emulator.client_url("shop"))
        await nursery.start(prices.follow, client)
        await serve(client, prices)
        nursery.cancel_scope.cancel()
    print(client.state)


trio.run(main)
