"""Serve the app beside whatever else the program does: python own_server.py."""

import ssl
from functools import partial

import trio
from chat import app

from trio_webpubsub.webhooks import serve_webhooks


async def main() -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain("certificate.pem")
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(serve_webhooks, app, "0.0.0.0", 8443, ssl_context=context))
        print("Events come in now.")


if __name__ == "__main__":
    trio.run(main)
