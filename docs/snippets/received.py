import trio

from trio_webpubsub import open_client
from trio_webpubsub.emulator import ReceivedMessage, ReceivedRequest, open_emulator
from trio_webpubsub.service import open_service


async def main() -> None:
    async with (
        open_emulator() as emulator,
        open_service(emulator.connection_string, hub="chat") as service,
        open_client(emulator.client_url("chat", user_id="ann")) as ann,
    ):
        await ann.join_group("lobby")
        await ann.send_to_group("lobby", {"text": "hi"}, no_echo=True)
        await service.send_to_user("ann", "hello")
        print(emulator.groups("chat") == {"lobby": [ann.connection_id]})
        for each in emulator.received():
            match each:
                case ReceivedMessage(type=kind, group=group, data=data):
                    print("a client:", kind, group, data)
                case ReceivedRequest(method=method, path=path, status=status):
                    print("a server:", method, path, status)


trio.run(main)
