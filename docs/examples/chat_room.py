"""A small chat application."""

from __future__ import annotations

import trio

from trio_webpubsub import Client, DeliveryUnknown, Gap

MISSED = "(you may have missed something)"


class ChatRoom:
    """What one person sees of the lobby."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.lines: list[str] = []

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Write down what is said."""
        async with self._client.group_messages("lobby", gaps=True) as messages:
            task_status.started()
            async for message in messages:
                if isinstance(message, Gap):
                    self.lines.append(MISSED)
                else:
                    self.lines.append(f"{message.from_user_id}: {message.data}")

    async def say(self, text: str) -> None:
        """Say something to everybody."""
        try:
            await self._client.send_to_group("lobby", text)
        except DeliveryUnknown:
            self.lines.append(f"(perhaps nobody heard you say {text!r})")
