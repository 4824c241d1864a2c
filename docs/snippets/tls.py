import trio

from trio_webpubsub import open_client
from trio_webpubsub.emulator import SelfMadeCertificate, open_emulator


async def main() -> None:
    certificate = SelfMadeCertificate()
    async with (
        open_emulator(ssl_context=certificate.server_context) as emulator,
        open_client(emulator.client_url("chat"), ssl_context=certificate.client_context) as client,
    ):
        print(emulator.endpoint.partition(":")[0], client.state)


trio.run(main)
