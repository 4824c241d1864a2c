"""What type checkers see of errors and values. Nothing here is run: mypy and pyright read it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, assert_type

import trio

from trio_webpubsub import (
    AckTimeout,
    Client,
    ClientStatistics,
    ClientStopped,
    ConnectFailed,
    DataType,
    DeliveryUnknown,
    GroupLost,
    GroupMessage,
    InternalError,
    InvalidPayload,
    InvocationFailed,
    InvocationTimeout,
    Lifecycle,
    MessageTooLarge,
    SendFailed,
    SessionTicket,
    StreamError,
    StreamFailed,
    StreamInfo,
    StreamLost,
    Subscription,
    SubscriptionOverflow,
    SubscriptionStatistics,
    WebPubSubError,
    open_client,
)
from trio_webpubsub.emulator import (
    DEFAULT_ACCESS_KEY,
    DEFAULT_PORT,
    Cut,
    DirectoryRole,
    EmulatorOptions,
    EventHandlers,
    GroupEvent,
    SystemEvent,
    serve_emulator,
)
from trio_webpubsub.service import (
    API_VERSION,
    AuthenticationFailed,
    CallOptions,
    ClientProtocol,
    ContentType,
    InvalidRequest,
    OutcomeUnknown,
    Permission,
    Service,
    ServiceError,
    ServiceUnreachable,
    TargetNotFound,
    Throttled,
)
from trio_webpubsub.testing import Direction, LinkCut, OpenClient, OpenService, ProviderFault, Server, SimulatedNetwork
from trio_webpubsub.webhooks import (
    Authenticate,
    ClientCertificate,
    ConnectedHandler,
    ConnectHandler,
    DisconnectedHandler,
    EventRejected,
    GroupJoinedHandler,
    GroupLeftHandler,
    InvalidToken,
    MqttProperties,
    UserEventHandler,
    WebhookApp,
)


def of_the_client(error: WebPubSubError) -> None:
    match error:
        case ConnectFailed():
            assert_type(error.status, int | None)
        case SendFailed():
            assert_type((error.ack_id, error.name, error.message), tuple[int, str, str])
        case AckTimeout() | DeliveryUnknown():
            assert_type(error.ack_id, int)
        case InvocationTimeout():
            too_slow: trio.TooSlowError = error
            del too_slow
        case InvocationFailed():
            assert_type(error.name, str)
        case StreamFailed():
            assert_type(error.user_error_code, str | None)
        case StreamLost():
            assert_type(error.acknowledged, int)
        case SubscriptionOverflow():
            assert_type(error.dropped, int)
        case GroupLost():
            assert_type(error.error, Exception)
        case MessageTooLarge():
            assert_type((error.size, error.limit), tuple[int, int])
        case ClientStopped():
            assert_type(error.reason, str)
        case InternalError() | InvalidPayload() | _:
            pass
    SendFailed(1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def of_the_service(error: ServiceError) -> None:
    match error:
        case AuthenticationFailed() | InvalidRequest() | TargetNotFound() | Throttled():
            assert_type(error.retry_after, float | None)
        case ServiceUnreachable() | OutcomeUnknown() | _:
            web_pub_sub_error: WebPubSubError = error
            del web_pub_sub_error


def of_handlers() -> None:
    raise EventRejected(403, "No.") if API_VERSION else InvalidToken("No.")


async def values(client: Client, message: GroupMessage, subscription: Subscription[Any]) -> None:
    assert_type(client.statistics(), ClientStatistics)
    assert_type(client.statistics().sends_lost, int)
    assert_type(subscription.statistics(), SubscriptionStatistics)
    assert_type(message.data, Any)
    assert_type(message.metadata, Mapping[str, str] | None)
    if message.stream is not None:
        assert_type(message.stream, StreamInfo)
        assert_type(message.stream.error, StreamError | None)
    ticket = await client.detach()
    assert_type(ticket, SessionTicket)
    assert_type(ticket.to_bytes(), bytes)
    open_client("wss://", resume=SessionTicket.from_bytes(b""))
    message.group = "g"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


async def aliases(
    client: Client,
    service: Service,
    network: SimulatedNetwork,
    data_type: DataType,
    news: Lifecycle,
    protocol: ClientProtocol,
    content_type: ContentType,
    permission: Permission,
    options: CallOptions,
    cut: LinkCut,
    direction: Direction,
    fault: ProviderFault,
    server: Server,
    open_a_client: OpenClient,
    open_a_service: OpenService,
) -> None:
    """Users annotate with these what they pass on."""
    await client.send_to_group("g", "hi", data_type=data_type)
    await service.client_access_url(client_protocol=protocol)
    await service.send_to_all("hi", content_type=content_type, **options)
    await service.grant_permission(permission, "c-1", target_name="g")
    network.cut(cut, direction=direction)
    network.break_provider(fault)
    network.connector(server)
    async with open_a_client("ann") as ann, open_a_service() as opened:
        assert_type(ann, Client)
        assert_type(opened, Service)
    del news


def handlers(
    authenticate: Authenticate,
    on_connect: ConnectHandler,
    on_user_event: UserEventHandler,
    on_connected: ConnectedHandler,
    on_disconnected: DisconnectedHandler,
    on_group_joined: GroupJoinedHandler,
    on_group_left: GroupLeftHandler,
    certificate: ClientCertificate,
    properties: MqttProperties,
) -> WebhookApp:
    assert_type(certificate.content, str)
    assert_type(properties, tuple[tuple[str, str], ...])
    WebhookApp("chat", on_connect=on_user_event)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    return WebhookApp(
        "chat",
        authenticate=authenticate,
        on_connect=on_connect,
        on_user_event=on_user_event,
        on_connected=on_connected,
        on_disconnected=on_disconnected,
        on_group_joined=on_group_joined,
        on_group_left=on_group_left,
    )


async def options(chosen: EmulatorOptions, handlers: EventHandlers, system: SystemEvent, group: GroupEvent) -> None:
    cuts: list[Cut] = ["reset", "eof", "silence"]
    role: DirectoryRole = "Web PubSub Service Reader"
    assert [cuts, role, system, group]
    await serve_emulator(port=DEFAULT_PORT, **chosen)
    await serve_emulator(access_key=DEFAULT_ACCESS_KEY, event_handlers=handlers)
