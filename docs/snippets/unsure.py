import trio

from trio_webpubsub import AckTimeout, Client, DeliveryUnknown, SendFailed, SendResult, open_client
from trio_webpubsub.emulator import open_emulator


async def order(client: Client, dish: str) -> SendResult | None:
    ack_id = None
    while True:
        try:
            return await client.send_to_group("kitchen", dish, ack_id=ack_id)
        except SendFailed as failed:
            if failed.name in ("Forbidden", "BadRequest"):
                print("never:", failed.name)
                return None
            ack_id = failed.ack_id
        except AckTimeout as late:
            ack_id = late.ack_id  # the same id again: if it ran, it will not run twice
        except DeliveryUnknown:
            print(f"the session is gone, ask the kitchen whether {dish} was heard")
            return None
        await trio.sleep(1)


async def main() -> None:
    async with open_emulator() as emulator:
        async with open_client(emulator.client_url("chat")) as client:
            print(await order(client, "soup"))
        async with open_client(emulator.client_url("chat", roles=[])) as client:
            await order(client, "bread")


trio.run(main)
