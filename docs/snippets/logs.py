import logging
import re
import sys

import trio

from trio_webpubsub import open_client
from trio_webpubsub.emulator import open_emulator


class ShortIds(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return re.sub(r"[0-9a-f]{32}", "...", super().format(record))


handler = logging.StreamHandler(sys.stdout)
handler.setFormatter(ShortIds("%(levelname)s %(message)s"))
logger = logging.getLogger("trio_webpubsub.client")
logger.addHandler(handler)
logger.setLevel(logging.DEBUG)


async def main() -> None:
    async with (
        open_emulator() as emulator,
        open_client(emulator.client_url("chat", user_id="ann")) as client,
        client.group_messages("lobby") as messages,
    ):
        await client.send_to_group("lobby", "nobody's business")
        await messages.receive()
        await client.send_to_group("lobby", "for the log", ack=False, log_payloads=True)
        await messages.receive()
        emulator.cut(client.connection_id or "")
        await client.send_to_group("lobby", "after the cut")


trio.run(main)
