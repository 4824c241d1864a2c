"""The webhook app on the server of this package: ``python webhooks_ours.py ORIGIN KEY`` prints its port, and serves."""

from __future__ import annotations

import trio
from webhooks_app import APP

from trio_webpubsub.webhooks import serve_webhooks


async def main() -> None:
    """Serve until the process is ended."""
    async with trio.open_nursery() as nursery:
        (port,) = await nursery.start(serve_webhooks, APP)
        print(port, flush=True)


if __name__ == "__main__":
    trio.run(main)
