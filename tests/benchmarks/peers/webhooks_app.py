"""The webhook app whose servers are measured: its handler sends back what it gets."""

from __future__ import annotations

import sys

from trio_webpubsub.protocol.cloudevents_values import UserEvent
from trio_webpubsub.webhooks import WebhookApp


async def echo(event: UserEvent) -> object:
    """Answer an event."""
    return event.data


ORIGIN, KEY = sys.argv[1:]
APP = WebhookApp("chat", access_keys=[KEY], allowed_origins=[ORIGIN], on_user_event=echo)
