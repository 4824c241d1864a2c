"""What ``doctor`` looks at, step by step: each needs those before it, and says what it found in a sentence."""

from __future__ import annotations

import ssl
import statistics
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, TypeAlias

import trio

from .. import Client, ConnectFailed, GroupMessage, SendFailed, ServerMessage, Subscription, open_client
from .._shell.clock import wall_time
from .._shell.connector import Connector, connect_tcp, start_tls
from .._shell.groups import leaves
from .._shell.proxy import Proxy, ProxyConnector, environment_proxy
from .._shell.randomness import system_bytes
from ..protocol.claims import CLOCK_SKEW
from ..protocol.connection_string import ConnectionString
from ..protocol.names import check_hub
from ..protocol.urls import Address, is_loopback
from ..service import AuthenticationFailed, Role, Service, ServiceError, open_service

PATIENCE = 10.0
"""Seconds for one step on the network."""
_ROUNDS = 5
"""How often a round trip is measured."""
_USER = "doctor"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a step found."""

    subject: str
    text: str
    good: bool = True


Tell: TypeAlias = Callable[[Finding], None]


class Wrong(Exception):
    """Something is wrong, and the steps that are left make no sense."""

    def __init__(self, subject: str, text: str) -> None:
        super().__init__(text)
        self.finding: Finding = Finding(subject, text, good=False)


async def examine(connection_string: str, hub: str, tell: Tell, *, allow_insecure: bool) -> None:
    """Look at everything, and tell of each step.

    Raises:
        Wrong: what keeps the rest from being looked at.
    """
    address = _read(connection_string, hub, tell, allow_insecure=allow_insecure)
    await _look_at_network(address, _proxy_to(address, tell), tell)
    opened = open_service(connection_string, hub, request_timeout=PATIENCE, retries=0, allow_insecure=allow_insecure)
    async with opened as service:
        skew = await _look_at_http(service, address, tell)
        await _look_at_key(service, skew, tell)
        await _look_at_client(service, address, tell, allow_insecure=allow_insecure)


def _read(connection_string: str, hub: str, tell: Tell, *, allow_insecure: bool) -> Address:
    try:
        resource = ConnectionString.parse(connection_string)
    except ValueError as error:
        raise Wrong("connection string", f"It cannot be read: {error}.") from error
    tell(Finding("connection string", f"{resource.endpoint}, and a key of {len(resource.access_key)} characters"))
    try:
        check_hub(hub)
    except ValueError as error:
        raise Wrong("hub", f"{error}.") from error
    tell(Finding("hub", hub))
    address = Address.parse(resource.endpoint)
    if address.scheme == "http" and not (is_loopback(address.host) or allow_insecure):
        text = "Tokens would travel in the open: it starts with http:// and is on another machine (--allow-insecure)."
        raise Wrong("endpoint", text)
    return address


def _proxy_to(address: Address, tell: Tell) -> Proxy | None:
    url = environment_proxy(address.host, address.port, address.scheme)
    if url is None:
        return None
    try:
        proxy = Proxy.parse(url)
    except ValueError as error:
        raise Wrong("proxy", f"The environment names one that cannot be used: {error}.") from error
    tell(Finding("proxy", f"{proxy.host}:{proxy.port}, named by the environment"))
    return proxy


# The network


async def _look_at_network(address: Address, proxy: Proxy | None, tell: Tell) -> None:
    host, port = (address.host, address.port) if proxy is None else (proxy.host, proxy.port)
    await _look_at_name(host, port, tell)
    stream, seconds = await _connect("port", connect_tcp, host, port)
    await trio.aclose_forcefully(stream)
    tell(Finding("port", f"{host}:{port} takes connections ({_milliseconds(seconds)})"))
    if address.scheme == "http":
        tell(Finding("TLS", "none, since the endpoint starts with http://"))
        return
    connector: Connector = connect_tcp if proxy is None else ProxyConnector(proxy, connect_tcp)
    stream, _ = await _connect("proxy", connector, address.host, address.port)
    await _look_at_tls(stream, address, tell)


async def _look_at_name(host: str, port: int, tell: Tell) -> None:
    started = trio.current_time()
    try:
        with trio.fail_after(PATIENCE):
            found = await trio.socket.getaddrinfo(host, port, type=trio.socket.SOCK_STREAM)
    except trio.TooSlowError:
        raise Wrong("DNS", f"Nobody said within {PATIENCE:g} s what the address of {host} is.") from None
    except OSError as error:
        raise Wrong("DNS", f"There is no address for {host} ({error.strerror}): is the name right?") from error
    addresses = ", ".join(dict.fromkeys(str(each[4][0]) for each in found))
    tell(Finding("DNS", f"{host} is {addresses} ({_milliseconds(trio.current_time() - started)})"))


async def _connect(subject: str, connector: Connector, host: str, port: int) -> tuple[trio.abc.Stream, float]:
    started = trio.current_time()
    try:
        with trio.fail_after(PATIENCE):
            return await connector(host, port, None), trio.current_time() - started
    except trio.TooSlowError:
        text = f"No answer from {host}:{port} within {PATIENCE:g} s: a firewall may be in the way."
        raise Wrong(subject, text) from None
    except OSError as error:
        causes = list(leaves(error.__cause__ or error))
        if any(isinstance(cause, ConnectionRefusedError) for cause in causes):
            text = f"Nothing listens at {host}:{port}: does the service run, and is the port right?"
        else:
            text = f"No connection to {host}:{port}: {causes[0]}."
        raise Wrong(subject, text) from error


async def _look_at_tls(stream: trio.abc.Stream, address: Address, tell: Tell) -> None:
    place = f"{address.host}:{address.port}"
    started = trio.current_time()
    try:
        with trio.fail_after(PATIENCE):
            secure = await start_tls(stream, address.host, ssl.create_default_context())
    except trio.TooSlowError:
        raise Wrong("TLS", f"{place} takes connections, and does not answer in TLS.") from None
    except ssl.SSLCertVerificationError as error:
        raise Wrong("TLS", _untrusted(error)) from error
    except OSError as error:
        raise Wrong(
            "TLS", f"{place} does not speak TLS with us ({error}): is its endpoint one with http://?"
        ) from error
    await trio.aclose_forcefully(secure)
    took = _milliseconds(trio.current_time() - started)
    tell(Finding("TLS", f"the certificate of {address.host} is good ({took})"))


def _untrusted(error: ssl.SSLCertVerificationError) -> str:
    reason = error.verify_message.rstrip(".")
    if "expired" in reason or "not yet valid" in reason:
        return f"The certificate does not hold: {reason}; if it should, look at the clock of this machine."
    if "ismatch" in reason:
        return f"The certificate is for another host: {reason}."
    return (
        f"The certificate is not trusted: {reason}. If an authority of your own made it, name that in SSL_CERT_FILE;"
        " if not, somebody in between may be reading along."
    )


# The service


async def _look_at_http(service: Service, address: Address, tell: Tell) -> float:
    """Look at the answers; gives the seconds by which the clock here is ahead of the service's, if it said so."""
    place = f"{address.host}:{address.port}"
    started = wall_time()
    try:
        answer = await service.request("HEAD", "/api/health")
    except ServiceError as error:
        if error.status_code is None:
            text = f"{place} does not answer as an HTTP server does: {error.message}."
            hint = "" if address.scheme == "https" else " If it speaks TLS, the endpoint starts with https://."
            raise Wrong("service", f"{text}{hint}") from error
        text = f"{place} answers, but not as Azure Web PubSub does (HEAD /api/health: {error.status_code})"
        raise Wrong("service", f"{text}: is this the endpoint of a Web PubSub resource?") from error
    answered = wall_time()
    took = await _measure(service.health)
    tell(Finding("service", f"is well, and answers an HTTP request in {_milliseconds(took)}"))
    return _look_at_clock(answer.headers.get("date"), (started + answered) / 2, tell)


def _look_at_clock(date: str | None, now: float, tell: Tell) -> float:
    try:
        skew = now - (parsedate_to_datetime(date or "").timestamp() + 0.5)  # it is cut to whole seconds
    except ValueError:
        tell(Finding("clock", "cannot be compared, since the service does not say what time it is"))
        return 0.0
    if abs(skew) <= CLOCK_SKEW:
        tell(Finding("clock", f"differs from the service's by {max(0.0, abs(skew) - 0.5):.0f} s"))
    else:
        ahead = "ahead of" if skew > 0 else "behind"
        text = (
            f"The clock of this machine is {abs(skew):,.0f} s {ahead} the service's: set it, or tokens may be refused."
        )
        tell(Finding("clock", text, good=False))
    return skew


async def _look_at_key(service: Service, skew: float, tell: Tell) -> None:
    nobody = f"doctor-{system_bytes(8).hex()}"
    try:
        exists = await service.connection_exists(nobody)
    except AuthenticationFailed as error:
        if abs(skew) > CLOCK_SKEW:
            text = "The service refuses what the key signed, which may be due to the clock."
        else:
            text = (
                f"The service does not accept the access key ({error.status_code}): it belongs to another resource or"
                " was replaced. Copy the connection string again."
            )
        raise Wrong("access key", text) from error
    except ServiceError as error:
        raise Wrong("access key", f"The service did not answer as it should: {error}.") from error
    if exists:
        raise Wrong("access key", "The answers are not those of Azure Web PubSub: it knows a connection that is none.")
    tell(Finding("access key", "the service accepts what it signs"))


# A client


async def _look_at_client(service: Service, address: Address, tell: Tell, *, allow_insecure: bool) -> None:
    group = f"doctor-{system_bytes(8).hex()}"
    roles = [Role.join_leave_group(group), Role.send_to_group(group)]
    url = await service.client_access_url(user_id=_USER, roles=roles)
    try:
        opened = open_client(url, connect_timeout=PATIENCE, reconnect=None, allow_insecure=allow_insecure)
        async with opened as client, client.messages() as messages:
            tell(Finding("token", f"a client is let in, as connection {client.connection_id}"))
            tell(Finding("protocol", "json.reliable.webpubsub.azure.v1 over a WebSocket"))
            if client.user_id != _USER:
                text = f"The client is {client.user_id!r} and not {_USER!r}: the hub's event handler changes the user."
                tell(Finding("user", text, good=False))
            await _look_at_roles(client, group, tell)
            await _look_at_messages(client, service, group, messages, tell)
    except ConnectFailed as error:
        raise Wrong("token" if error.status == 401 else "protocol", _refusal(error, address)) from error


def _refusal(error: ConnectFailed, address: Address) -> str:
    match error.status:
        case None:
            hint = "something in between may let HTTP through and no WebSockets"
            return f"No WebSocket came about with {address.host}: {error.reason}; {hint}."
        case 401 | 403:
            return (
                f"The service refuses a client ({error.status}) whose token is signed with the key that it accepts: its"
                " connect event handler may reject clients, or its network rules refuse them."
            )
        case status:
            return (
                f"A client's handshake was answered with {status}: this is no Web PubSub, or its event handler fails."
            )


async def _look_at_roles(client: Client, group: str, tell: Tell) -> None:
    try:
        await client.join_group(group)
        await client.send_to_group(group, "roles", no_echo=True)
    except SendFailed as error:
        if error.name != "Forbidden":
            raise Wrong("roles", f"The service did not do what the token allows: {error}.") from error
        text = "A client may not do what its token allows: the hub's connect event handler changes the roles."
        raise Wrong("roles", text) from error
    tell(Finding("roles", "the client may join a group and send to it, as its token says"))


async def _look_at_messages(
    client: Client,
    service: Service,
    group: str,
    messages: Subscription[GroupMessage | ServerMessage],
    tell: Tell,
) -> None:
    async def echo() -> None:
        await client.send_to_group(group, "echo")
        await messages.receive()

    async def from_rest() -> None:
        await service.send_to_connection(str(client.connection_id), "from REST")
        await messages.receive()

    try:
        acknowledged = await _measure(lambda: client.send_to_group(group, "ack", no_echo=True))
        heard = await _measure(echo)
        sent = await _measure(from_rest)
    except trio.TooSlowError:
        raise Wrong("messages", f"A message did not arrive within {PATIENCE:g} s.") from None
    tell(
        Finding(
            "messages",
            f"acknowledged after {_milliseconds(acknowledged)}, heard by their sender after {_milliseconds(heard)},"
            f" heard from REST after {_milliseconds(sent)} (medians of {_ROUNDS})",
        )
    )


async def _measure(action: Callable[[], Awaitable[Any]]) -> float:
    """Give the median of the seconds that something takes.

    Raises:
        trio.TooSlowError: it took too long.
    """
    taken: list[float] = []
    for _ in range(_ROUNDS):
        started = trio.current_time()
        with trio.fail_after(PATIENCE):
            await action()
        taken.append(trio.current_time() - started)
    return statistics.median(taken)


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"
