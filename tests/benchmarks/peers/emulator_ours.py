"""The emulator of this package: prints its port and serves until it is ended."""

from __future__ import annotations

import trio

from trio_webpubsub.emulator import open_emulator


async def main() -> None:
    """Serve."""
    async with open_emulator() as emulator:
        print(emulator.endpoint.rpartition(":")[2], flush=True)
        await trio.sleep_forever()


if __name__ == "__main__":
    trio.run(main)
