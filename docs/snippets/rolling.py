import os
import signal
import tempfile

import trio

from trio_webpubsub import Client, ClientStopped, SessionTicket, open_client
from trio_webpubsub.emulator import open_emulator


async def work(client: Client) -> None:
    async for message in client.group_messages("jobs", join=False):
        try:
            await client.send_to_group("done", message.data)
        except ClientStopped:
            return  # detached: who has the ticket goes on with this send


async def serve(url: str, ticket_path: trio.Path, *, task_status: trio.TaskStatus[None]) -> None:
    """Go on where the last process stopped, until SIGTERM; then leave a ticket for the next one."""
    ticket = None
    if await ticket_path.exists():
        ticket = SessionTicket.from_bytes(await ticket_path.read_bytes())
        await ticket_path.unlink()  # it can be used once
    with trio.open_signal_receiver(signal.SIGTERM) as signals:
        async with open_client(url, resume=ticket) as client, trio.open_nursery() as nursery:
            if ticket is None:
                await client.join_group("jobs")
            nursery.start_soon(work, client)
            task_status.started()
            async for _ in signals:
                await ticket_path.touch(mode=0o600)  # it is a secret
                await ticket_path.write_bytes((await client.detach()).to_bytes())
                break


async def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        async with (
            open_emulator() as emulator,
            open_client(emulator.client_url("chat")) as boss,
            boss.group_messages("done") as done,
        ):
            for version in range(3):
                async with trio.open_nursery() as nursery:
                    await nursery.start(serve, emulator.client_url("chat"), trio.Path(directory, "ticket"))
                    if version:
                        print("version", version, "did", (await done.receive()).data)
                    os.kill(os.getpid(), signal.SIGTERM)  # what systemd, Docker and Kubernetes send
                await boss.send_to_group("jobs", f"what came before version {version + 1}")


trio.run(main)
