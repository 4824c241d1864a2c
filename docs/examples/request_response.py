"""Ask an application something, over the client's connection: an event handler answers what `invoke_event` asks."""

from __future__ import annotations

import argparse
from dataclasses import asdict, dataclass
from functools import partial

import trio
from web_pubsub import given, open_web_pubsub, run

from trio_webpubsub import Client, InvocationFailed, open_client
from trio_webpubsub.emulator import DEFAULT_ACCESS_KEY, EventHandler
from trio_webpubsub.service import open_service
from trio_webpubsub.webhooks import EventRejected, UserEvent, WebhookApp, serve_webhooks

HUB = "shop"
PATH = f"/api/webpubsub/hubs/{HUB}/"
PRICES = {"tea": 2.5, "milk": 0.9, "bread": 3.2}


@dataclass(frozen=True)
class Order:
    """What a client asks the price of."""

    item: str
    count: int


async def answer(event: UserEvent) -> object:
    """Answer a client. "We have none" is an answer as well; what is refused is a question that makes no sense."""
    if event.name != "price":
        raise EventRejected(400, f"Nobody answers {event.name!r} here.")
    order = event.decode_as(Order)  # refuses what is no order
    price = PRICES.get(order.item)
    return {"total": None if price is None else round(order.count * price, 2)}


async def ask_price(client: Client, order: Order) -> float | None:
    """Ask what an order costs; ``None`` if that cannot be had.

    A link that drops takes its answers along, and the library asks nothing twice: only who asks knows that this does no
    harm. There is no end to it, so give it a deadline: ``with trio.fail_after(10)``.
    """
    while True:
        try:
            result = await client.invoke_event("price", asdict(order))
        except InvocationFailed as error:
            if error.name != "ConnectionLost":
                raise
        else:
            total: float | None = result.data["total"]
            return total


async def show_price(client: Client, order: Order) -> None:
    """Print what an order costs."""
    with trio.fail_after(10):
        total = await ask_price(client, order)
    print(f"{order.count} x {order.item}: {'we have none' if total is None else format(total, '.2f')}", flush=True)


async def main(items: list[str], port: int) -> None:
    """Serve the event handler, and ask it for all prices at once through Azure Web PubSub."""
    resource = given()
    key = DEFAULT_ACCESS_KEY if resource is None else resource.partition("AccessKey=")[2].partition(";")[0]
    app = WebhookApp(HUB, access_keys=[key], on_user_event=answer)  # the key tells real events from forged ones
    async with trio.open_nursery() as nursery:
        [port] = await nursery.start(partial(serve_webhooks, app, port=port))
        handler = EventHandler(f"http://127.0.0.1:{port}{PATH}")
        if resource is not None:
            print(
                f"Hub {HUB} needs an event handler that leads to {handler.url_template} (through a tunnel, say).",
                flush=True,
            )
        async with (
            open_web_pubsub(event_handlers=[handler]) as connection_string,
            open_service(connection_string, HUB) as service,
            open_client(partial(service.client_access_url, user_id="ann")) as client,
            trio.open_nursery() as questions,
        ):
            for item in items:
                questions.start_soon(show_price, client, Order(item, 3))
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("item", nargs="*", default=["tea", "milk", "gold"], help="what to ask the price of")
    parser.add_argument("--port", type=int, default=0, help="where the event handler is served (any free one)")
    options = parser.parse_args()
    run(main, options.item, options.port)
