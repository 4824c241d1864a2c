import trio

from trio_webpubsub import Client, Gap, open_client
from trio_webpubsub.emulator import open_emulator

PRICES: dict[str, float] = {}


async def stay_connected(url: str, *, task_status: trio.TaskStatus[Client]) -> None:
    """Keep a client open for the rest of the program."""
    async with open_client(url) as client:
        task_status.started(client)
        await client.wait_stopped()


async def follow_prices(client: Client, *, task_status: trio.TaskStatus[None]) -> None:
    """Keep ``PRICES`` up to date."""
    async with client.group_messages("prices", gaps=True) as messages:
        task_status.started()
        async for message in messages:
            if isinstance(message, Gap):
                PRICES.clear()  # and load them from where they are kept
            else:
                PRICES.update(message.data)


async def answer_requests(client: Client) -> None:
    """Stands for the web server, or whatever else the program is for."""
    await client.send_to_group("prices", {"tea": 2.5})
    while "tea" not in PRICES:
        await trio.sleep(0.01)
    print(PRICES)


async def main() -> None:
    async with open_emulator() as emulator, trio.open_nursery() as nursery:
        client = await nursery.start(stay_connected, emulator.client_url("shop"))
        await nursery.start(follow_prices, client)
        await answer_requests(client)
        nursery.cancel_scope.cancel()
    print(client.state)


trio.run(main)
