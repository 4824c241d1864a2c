"""Serve the app by Hypercorn; from the shell: hypercorn --worker-class trio --bind 0.0.0.0:8000 chat:app."""

import hypercorn.trio
import trio
from chat import app
from hypercorn.config import Config


async def main() -> None:
    config = Config()
    config.bind = ["0.0.0.0:8000"]
    await hypercorn.trio.serve(app, config)


if __name__ == "__main__":
    trio.run(main)
