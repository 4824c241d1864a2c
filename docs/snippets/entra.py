import trio

from trio_webpubsub.emulator import open_emulator
from trio_webpubsub.service import AuthenticationFailed, open_service


async def main() -> None:
    async with open_emulator() as emulator:
        # In the cloud: credential=azure.identity.DefaultAzureCredential()
        async with open_service(emulator.endpoint, "chat", credential=emulator.credential()) as service:
            access = await service.client_access(user_id="ann")
            print("a token for", access.base_url.partition("/client")[2])

        reader = emulator.credential("Web PubSub Service Reader")
        async with open_service(emulator.endpoint, "chat", credential=reader) as service:
            print("ann is there:", await service.user_exists("ann"))
            try:
                await service.send_to_all("hi")
            except AuthenticationFailed as error:
                print(error.status_code, error.message)


trio.run(main)
