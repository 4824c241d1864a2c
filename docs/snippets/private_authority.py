import ssl

import trio

from trio_webpubsub import ConnectFailed, open_client
from trio_webpubsub.emulator import SelfMadeCertificate, open_emulator
from trio_webpubsub.service import open_service


async def main() -> None:
    certificate = SelfMadeCertificate()
    context = ssl.create_default_context(cadata=certificate.authority_pem.decode())  # or cafile="authority.pem"
    async with open_emulator(ssl_context=certificate.server_context) as emulator:
        try:
            async with open_client(emulator.client_url("chat")):
                pass
        except ConnectFailed as error:
            print(type(error.__cause__).__name__)

        async with (
            open_service(emulator.connection_string, "chat", ssl_context=context) as service,
            open_client(emulator.client_url("chat", user_id="ann"), ssl_context=context) as client,
        ):
            await service.send_to_user("ann", "in private")
            async for message in client.server_messages():
                print(message.data)
                break


trio.run(main)
