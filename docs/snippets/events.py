import trio

from trio_webpubsub import SendFailed, open_client
from trio_webpubsub.emulator import DEFAULT_ACCESS_KEY, open_emulator
from trio_webpubsub.webhooks import Accept, ConnectRequest, EventRejected, Reject, UserEvent, WebhookApp


async def on_connect(request: ConnectRequest) -> Accept | Reject:
    if "guest" in request.query:
        return Reject(403, "Members only.")
    request.state["orders"] = 0
    return Accept(groups=["orders"])


async def on_user_event(event: UserEvent) -> object:
    if event.name != "order":
        raise EventRejected(400, f"There is no event {event.name!r} here.")
    event.state["orders"] += 1
    return {"thanks to": event.user_id, "orders": event.state["orders"]}


app = WebhookApp("shop", access_keys=[DEFAULT_ACCESS_KEY], on_connect=on_connect, on_user_event=on_user_event)


async def main() -> None:
    async with (
        open_emulator(event_handlers=[app]) as emulator,
        open_client(emulator.client_url("shop", user_id="ann")) as ann,
        ann.server_messages() as replies,
    ):
        for item in ("tea", "milk"):
            await ann.send_event("order", {"item": item})
            print((await replies.receive()).data)
        try:
            await ann.send_event("refund", {"item": "tea"})
        except SendFailed as failure:
            print("The event was not handled:", failure.name)


trio.run(main)
