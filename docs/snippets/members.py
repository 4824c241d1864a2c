import trio

from trio_webpubsub import open_client
from trio_webpubsub.emulator import open_emulator
from trio_webpubsub.service import Role, TargetNotFound, odata, open_service


async def main() -> None:
    async with (
        open_emulator() as emulator,
        open_service(emulator.connection_string, "chat") as service,
    ):
        url = await service.client_access_url(user_id="o'neil", roles=[Role.send_to_group("lobby")], groups=["lobby"])
        async with open_client(url) as client, client.messages() as messages:
            await service.send_to_all("Only for O'Neil", filter=odata("userId eq {}", "o'neil"))
            print((await messages.receive()).data)

            await service.add_connections_to_groups(["regulars"], filter="'lobby' in groups")
            async for member in service.list_connections("regulars"):
                print("a regular:", member.user_id)

            await service.grant_permission("joinLeaveGroup", client.connection_id or "", target_name="backstage")
            await client.join_group("backstage")
            print("backstage:", await service.group_exists("backstage"))

        try:
            await service.add_user_to_group("regulars", "o'neil")
        except TargetNotFound as error:
            print("gone:", error.message)


trio.run(main)
