import trio

from trio_webpubsub import open_client
from trio_webpubsub.emulator import open_emulator

ROLES = ["webpubsub.setGroupState", "webpubsub.getGroupState"]


async def main() -> None:
    async with (
        open_emulator() as emulator,
        open_client(emulator.client_url("chat", user_id="ann", roles=ROLES)) as ann,
        ann.group_state("room") as members,
        members.changes() as changes,
    ):
        async with open_client(emulator.client_url("chat", user_id="ben", roles=ROLES)) as ben:
            await ben.set_group_state("room", {"status": "typing"})
            change = await changes.receive()
            print(change.user_id, "is", change.state)
            print("in the room:", [member.user_id for member in members.values()])
        change = await changes.receive()
        print(change.user_id, "has gone" if change.state is None else "is there")


trio.run(main)
