"""The webhook app on Hypercorn's trio worker: ``webhooks_hypercorn.py ORIGIN KEY`` prints its port, and serves."""

from __future__ import annotations

import hypercorn.trio
import trio
from hypercorn.config import Config
from webhooks_app import APP


async def main() -> None:
    """Serve until the process is ended."""
    config = Config()
    config.bind = ["127.0.0.1:0"]
    config.accesslog = config.errorlog = None
    async with trio.open_nursery() as nursery:
        (address,) = await nursery.start(hypercorn.trio.serve, APP, config)
        print(int(address.rpartition(":")[2]), flush=True)


if __name__ == "__main__":
    trio.run(main)
