import trio
from google.protobuf.any_pb2 import Any
from google.protobuf.timestamp_pb2 import Timestamp

from trio_webpubsub import open_client
from trio_webpubsub.emulator import open_emulator


async def main() -> None:
    async with (
        open_emulator() as emulator,
        open_client(emulator.client_url("chat"), subprotocol="protobuf.reliable.webpubsub.azure.v1") as client,
        client.group_messages("lobby") as messages,
    ):
        await client.send_to_group("lobby", b"\x00\x01")  # as it is, not in base64
        await client.send_to_group("lobby", {"text": "JSON is welcome, too"})

        packed = Any()
        packed.Pack(Timestamp(seconds=86400))
        await client.send_to_group("lobby", packed.SerializeToString(), data_type="protobuf")

        for _ in range(2):
            print((await messages.receive()).data)
        unpacked = Timestamp()
        Any.FromString((await messages.receive()).data).Unpack(unpacked)
        print(unpacked.ToJsonString())


trio.run(main)
