"""An app that the recipes serve."""

import os

from trio_webpubsub.webhooks import UserEvent, WebhookApp


async def on_user_event(event: UserEvent) -> object:
    return {"you said": event.data}


app = WebhookApp(
    "chat",
    access_keys=[os.environ["WEBPUBSUB_ACCESS_KEY"]],
    allowed_origins=[os.environ["WEBPUBSUB_HOST"]],
    on_user_event=on_user_event,
)
