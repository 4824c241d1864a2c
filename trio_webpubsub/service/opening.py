"""How a service client is opened: from a connection string, or from an endpoint and a credential."""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from types import NoneType

import httpx

from .._shell.blocks import block
from .._shell.connector import Connector, connect_tcp
from .._shell.headers import checked_user_agent
from .._shell.http import ConnectorTransport
from .._shell.proxy import Proxy, ProxyConnector, connect_as_environment_says
from ..protocol.arguments import check_callable, check_flags, check_number, check_type
from ..protocol.connection_string import ConnectionString
from ..protocol.names import check_count, check_hub, check_text
from ..protocol.operations import API_VERSION
from ..protocol.urls import Address, is_loopback
from .credentials import DEFAULT_SCOPE, Credential, read_credential
from .exchange import Exchange
from .requests import Requests
from .service import Service


@block("async with open_service(connection_string, hub) as service:")
@asynccontextmanager
async def open_service(
    connection_string: str,
    hub: str,
    *,
    credential: Credential | None = None,
    api_version: str = API_VERSION,
    user: str | None = None,
    scope: str = DEFAULT_SCOPE,
    request_timeout: float = 30.0,
    retries: int = 3,
    retry_sends: bool = False,
    max_connections: int = 100,
    user_agent: str | None = None,
    reverse_proxy_endpoint: str | None = None,
    proxy: str | None = None,
    ssl_context: ssl.SSLContext | None = None,
    allow_insecure: bool = False,
    log_payloads: bool = False,
    http_client: httpx.AsyncClient | None = None,
    connector: Connector = connect_tcp,
) -> AsyncGenerator[Service]:
    """Open a client for the REST API of one hub; leaving the block closes its connections.

    One client serves a whole application, any number of tasks at once. Opening it does not connect.

    Args:
        connection_string: ``Endpoint=https://...;AccessKey=...;``, as the Azure portal and the emulator show it. With a
            ``credential``, the endpoint alone, ``https://...``.
        hub: The hub that all calls are about.
        credential: How to sign in, in place of the connection string's key: an access key (a ``str``, or an object
            with a ``.key`` that is read each time), a synchronous credential of ``azure-identity``, or an async
            callable that gives a token.
        api_version: Of the REST API.
        user: Who is asking, for the service's logs; with an access key only.
        scope: What tokens of Entra ID are asked for, ``https://webpubsub.azure.com/.default``; other clouds may need
            another one.
        request_timeout: Seconds for one try of a call, connecting included; ``math.inf`` for no limit. Waiting for one
            of ``max_connections`` is not counted, nor is what a credential takes to give a token.
        retries: How many more tries a call has, where trying again is safe and may help.
        retry_sends: Whether messages are also sent again when it is not known if they went out; they may arrive twice.
        max_connections: How many connections there are, and calls run at once, at most; more calls wait.
        user_agent: Sent instead of this library's name and version.
        reverse_proxy_endpoint: Where requests go instead: a reverse proxy before the service, such as API Management,
            ``https://host[:port][/path]``. Tokens still name the service itself, and clients connect to it directly.
        proxy: The HTTP proxy to go through, ``http://[user:password@]host[:port]``. Without one, and without a
            ``connector``, the environment is asked: ``HTTPS_PROXY``, ``HTTP_PROXY``, ``ALL_PROXY``, ``NO_PROXY``.
        ssl_context: For https; by default one that trusts the system's authorities.
        allow_insecure: Whether requests, and tokens with them, may leave this machine without TLS.
        log_payloads: Log headers and bodies (their first 4 KiB) of all calls at DEBUG under ``trio_webpubsub.service``.
        http_client: Make requests with this client of yours. What it has of proxies, TLS and timeouts counts too, so
            ``proxy``, ``ssl_context`` and ``connector`` are not for this function then. It stays open.
        connector: Where connections come from.

    Raises:
        ValueError: an option cannot be used, the hub cannot be called that, or the endpoint is neither https nor on
            this machine. No text shows a secret.
        TypeError: ``connection_string`` is no ``str``, ``credential`` is none, or ``http_client`` no client; for
            asyncio's credentials the text names the class that works.

    Cancellation: all connections are closed.
    """
    endpoint, credential = _read_resource(connection_string, credential)
    check_hub(hub)
    if not check_text(api_version, "version of the API"):
        raise ValueError("api_version is empty")
    check_text(scope, "scope")
    check_number("request_timeout", request_timeout)
    check_count("retries", retries)
    check_count("max_connections", max_connections, least=1)
    check_flags(retry_sends=retry_sends, allow_insecure=allow_insecure, log_payloads=log_payloads)
    check_type("ssl_context", ssl_context, (ssl.SSLContext, NoneType), "an ssl.SSLContext or None")
    check_type("http_client", http_client, (httpx.AsyncClient, NoneType), "an httpx.AsyncClient or None")
    check_callable("connector", connector, "host", "port", "ssl_context")
    address = endpoint if reverse_proxy_endpoint is None else _address(reverse_proxy_endpoint)
    through = None if proxy is None else Proxy.parse(proxy)
    where = Address.parse(address)
    stays_here = is_loopback(where.host) and (through is None or is_loopback(through.host))
    if where.scheme == "http" and not (stays_here or allow_insecure):
        raise ValueError("the endpoint is not https: tokens would travel in the open (allow_insecure=True lets them)")
    signer = read_credential(credential, scope=scope, user=user)
    async with AsyncExitStack() as stack:
        exchange: Exchange
        if http_client is not None:
            if through is not None or ssl_context is not None or connector is not connect_tcp:
                raise ValueError("proxy, ssl_context and connector are for the http_client, where one is given")
            exchange = _through(http_client)
        else:
            if through is not None:
                connector = ProxyConnector(through, connector)
            elif connector is connect_tcp:
                connector = connect_as_environment_says
            transport = ConnectorTransport(connector, ssl_context=ssl_context, max_connections=max_connections)
            exchange = (await stack.enter_async_context(transport)).handle_async_request
        requests = Requests(
            exchange,
            signer,
            endpoint=endpoint,
            address=address,
            api_version=api_version,
            user_agent=checked_user_agent(user_agent),
            max_connections=max_connections,
            request_timeout=request_timeout,
            retries=retries,
            retry_sends=retry_sends,
            log_payloads=log_payloads,
        )
        stack.callback(requests.close)
        yield Service(hub, requests)


def _through(client: httpx.AsyncClient) -> Exchange:
    async def exchange(request: httpx.Request) -> httpx.Response:
        request.extensions["sending"]()  # what becomes of it in there, nobody tells
        try:
            # Redirects would take the token elsewhere, and another sign-in would take its place.
            return await client.send(request, stream=True, auth=_UNSIGNED, follow_redirects=False)
        except httpx.HTTPStatusError as error:
            return error.response  # a hook of the client calls raise_for_status(); what it means is ours to tell

    return exchange


_UNSIGNED = httpx.Auth()
"""Leaves requests as they are."""


def _read_resource(text: str, credential: Credential | None) -> tuple[str, Credential]:
    """Give the endpoint and the credential of what `open_service` was given."""
    # What an environment variable gives that is not set is None.
    start = check_text(text, "connection string").lstrip()[:8].lower()
    if start.startswith(("ws://", "wss://")):
        raise ValueError("this is the URL of a client; here goes the connection string, or the endpoint (https://...)")
    looks_like_url = start.startswith(("http://", "https://"))
    if credential is None:
        if looks_like_url:
            raise ValueError("this is an endpoint and no connection string: it takes a credential")
        resource = ConnectionString.parse(text)
        return resource.endpoint, resource.access_key
    if not looks_like_url:
        raise ValueError("beside a credential the first argument is the endpoint alone, https://...")
    address = Address.parse(text)
    if address.path.strip("/") or address.query:
        raise ValueError("the endpoint holds a host and at most a port, no path or query")
    return f"{address.scheme}://{address.host_header}", credential


def _address(url: str) -> str:
    address = Address.parse(url)
    if address.scheme not in ("http", "https") or address.query:
        raise ValueError("reverse_proxy_endpoint starts with https:// or http:// and has no query")
    return f"{address.scheme}://{address.host_header}{address.path.rstrip('/')}"
