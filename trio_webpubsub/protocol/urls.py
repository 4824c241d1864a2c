"""Addresses: the endpoint of a resource, the URL under which a client connects, and how either may stand in a log.

Text of a URL is shown in no error here: a token may stand anywhere in what somebody passed by mistake.

Sources: the client specification (``protocols/client/client-spec.md`` in Azure/azure-webpubsub) for both URL forms and
for recovery; the pages on client access URLs and the official service SDKs for the audience.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias
from urllib.parse import parse_qsl, quote, unquote

from .arguments import check_choice
from .names import check_text, is_hub

_DEFAULT_PORTS = {"ws": 80, "http": 80, "wss": 443, "https": 443}
_SECRET_PARAMETERS = frozenset({"access_token", "awps_reconnection_token"})
_SESSION_PARAMETERS = _SECRET_PARAMETERS | {"awps_connection_id"}

_HOW_TO_GET_ONE = "a client takes the URL that the service client makes: client_access_url()"

_URL = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?#]*)(?P<path>[^?#]*)(?P<query>\?[^#]*)?(?P<fragment>#.*)?"
)
_AUTHORITY = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]*)\]|(?P<name>[^:\[\]]*))(?::(?P<port>.*))?")
_HOST_NAME = re.compile(r"(?!.{254})(?:[A-Za-z0-9_-]{1,63}\.)*[A-Za-z0-9_-]{1,63}\.?")
_CLIENT_PATH = re.compile(r".*/client(?:/hubs/(?P<hub>[^/]+))?/?")


@dataclass(frozen=True, slots=True)
class Address:
    """A URL taken apart, as far as every kind of URL here has the same rules."""

    scheme: str
    """In lower case."""
    host: str
    """In lower case; an IPv6 address without brackets."""
    port: int
    """The scheme's own where none was given."""
    path: str
    """As sent: percent-encoded, may be empty."""
    query: str
    """As sent, without the question mark."""

    @classmethod
    def parse(cls, url: str) -> Address:
        """Take an absolute URL apart.

        Raises:
            ValueError: it is not a URL, or has no usable host or port, a user name, or a fragment.
            TypeError: it is not a ``str``.
        """
        if re.search(r"[^\x21-\x7e]", check_text(url, "URL")):
            raise ValueError(
                "the URL holds white space, control or non-ASCII characters, which must be percent-encoded"
            )
        match = _URL.fullmatch(url)
        if match is None:
            raise ValueError("this is not a URL with a scheme and a host")
        if match["fragment"] is not None:
            raise ValueError("the URL must not have a fragment (the part after #)")
        if "@" in match["authority"]:
            raise ValueError("the URL must not hold a user name or password")
        scheme = match["scheme"].lower()
        host, port = _split_authority(match["authority"])
        return cls(scheme, host, port or _DEFAULT_PORTS.get(scheme, 0), match["path"], (match["query"] or "?")[1:])

    @property
    def host_header(self) -> str:
        """What stands in ``Host``: brackets around IPv6, a scheme's own port left out."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS.get(self.scheme) else f"{host}:{self.port}"


def _split_authority(authority: str) -> tuple[str, int | None]:
    match = _AUTHORITY.fullmatch(authority)
    if match is None:
        raise ValueError("the URL has no readable host and port")
    if match["v6"] is not None:
        try:
            host = str(ipaddress.IPv6Address(match["v6"]))
        except ValueError:
            host = ""
    else:
        host = match["name"].lower() if _HOST_NAME.fullmatch(match["name"]) else ""
    if not host:
        raise ValueError("the URL has no usable host")
    if match["port"] is None:
        return host, None
    if not re.fullmatch(r"[0-9]{1,5}", match["port"]) or not 1 <= int(match["port"]) <= 65535:
        raise ValueError("the URL's port is not a number from 1 to 65535")
    return host, int(match["port"])


@dataclass(frozen=True, slots=True, repr=False)
class ClientUrl:
    """The URL under which a WebSocket client connects to one hub. Its texts never show a token."""

    secure: bool
    """Whether TLS is spoken."""
    host: str
    """In lower case; an IPv6 address without brackets."""
    port: int
    host_header: str
    """What stands in ``Host``: brackets around IPv6, a scheme's own port left out."""
    resource: str
    """Path and query as they stood in the URL."""
    hub: str
    access_token: str | None

    @classmethod
    def parse(cls, url: str) -> ClientUrl:
        """Read a URL in either form, ``/client/hubs/{hub}`` or the older ``/client/?hub={hub}``, a path prefix allowed.

        Raises:
            ValueError: it cannot be such a URL; the text says why and shows nothing of it.
            TypeError: it is not a ``str``.
        """
        if re.match(r"\s*(endpoint|accesskey)\s*=", check_text(url, "URL"), re.IGNORECASE):
            raise ValueError(f"this is a connection string, and {_HOW_TO_GET_ONE}")
        if "://" not in url:
            raise ValueError(f"this is not a URL with a scheme and a host; {_HOW_TO_GET_ONE}")
        address = Address.parse(url)
        if address.scheme in ("http", "https"):
            # Taken as ws and wss they would hide that an endpoint was passed where a client URL belongs.
            better = {"http": "ws", "https": "wss"}[address.scheme]
            raise ValueError(f"a client URL starts with {better}://, not {address.scheme}://; {_HOW_TO_GET_ONE}")
        if address.scheme not in ("ws", "wss"):
            raise ValueError("a client URL starts with wss:// or ws://")
        parameters: dict[str, str] = {}
        for name, value in parse_qsl(address.query):
            parameters.setdefault(name.lower(), value)
        path = _CLIENT_PATH.fullmatch(address.path)
        hub = path and (unquote(path["hub"]) if path["hub"] else parameters.get("hub"))
        if not hub:
            raise ValueError(
                "the URL names no hub: its path ends in /client/hubs/{hub}, or in /client/ with ?hub={hub}"
            )
        if not is_hub(hub):
            raise ValueError("the URL names a hub as no hub can be called")
        return cls(
            secure=address.scheme == "wss",
            host=address.host,
            port=address.port,
            host_header=address.host_header,
            resource=(address.path or "/") + (f"?{address.query}" if address.query else ""),
            hub=hub,
            access_token=parameters.get("access_token"),
        )

    def recovery(self, connection_id: str, reconnection_token: str) -> ClientUrl:
        """The URL that resumes a session: same host, path and other parameters, the access token left out.

        The service needs no access token here (client specification), and a URL without one says less when it leaks.
        """
        path, kept = self._kept()
        kept.append(f"awps_connection_id={quote(connection_id, safe='')}")
        kept.append(f"awps_reconnection_token={quote(reconnection_token, safe='')}")
        return replace(self, resource=f"{path}?{'&'.join(kept)}", access_token=None)

    def conceal(self, text: str) -> str:
        """Give what others wrote with ``***`` for the tokens of this URL, as they are and as they stand in it."""
        for parameter in self.resource.partition("?")[2].split("&"):
            token = parameter.partition("=")[2]
            if token and _parameter_name(parameter) in _SECRET_PARAMETERS:
                text = text.replace(token, "***").replace(unquote(token), "***")
        return text

    def without_tokens(self) -> str:
        """The URL as text, without what belongs to one session."""
        path, kept = self._kept()
        query = f"?{'&'.join(kept)}" if kept else ""
        return f"{'wss' if self.secure else 'ws'}://{self.host_header}{path}{query}"

    def _kept(self) -> tuple[str, list[str]]:
        path, _, query = self.resource.partition("?")
        return path, [part for part in query.split("&") if part and _parameter_name(part) not in _SESSION_PARAMETERS]

    def __str__(self) -> str:
        return redact(f"{'wss' if self.secure else 'ws'}://{self.host_header}{self.resource}")

    def __repr__(self) -> str:
        return f"ClientUrl({str(self)!r})"


ClientProtocol: TypeAlias = Literal["default", "mqtt", "socketio"]
"""How a client talks to the service: over the subprotocols of Web PubSub, MQTT, or Socket.IO."""

_CLIENT_PATHS: dict[ClientProtocol, str] = {
    "default": "client",
    "mqtt": "clients/mqtt",
    "socketio": "clients/socketio",
}


def client_audience(endpoint: str, hub: str, client_protocol: ClientProtocol = "default") -> str:
    """The ``aud`` of a client's token: always with http or https, never with ws, and without a query.

    Raises:
        ValueError: there is no such protocol.
    """
    check_choice("client_protocol", client_protocol, _CLIENT_PATHS)
    return f"{endpoint}/{_CLIENT_PATHS[client_protocol]}/hubs/{quote(hub, safe='')}"


def client_base_url(endpoint: str, hub: str, client_protocol: ClientProtocol = "default") -> str:
    """Where a client connects, at ``endpoint``, an ``http(s)://host[:port]``; without its token.

    Raises:
        ValueError: there is no such protocol.
    """
    return f"ws{client_audience(endpoint, hub, client_protocol).removeprefix('http')}"


def client_url(endpoint: str, hub: str, token: str, client_protocol: ClientProtocol = "default") -> str:
    """The URL under which a client with this token connects.

    Raises:
        ValueError: there is no such protocol.
    """
    return f"{client_base_url(endpoint, hub, client_protocol)}?access_token={quote(token, safe='')}"


def is_loopback(host: str) -> bool:
    """Whether what is sent to ``host`` stays on this machine: ``localhost``, 127.0.0.0/8 and ::1."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def redact(url: str) -> str:
    """The URL as it may stand in a log: tokens in its query and a user name or password replaced by ``***``."""
    url = re.sub(r"(?<=//)[^/?#]*@", "***@", url)
    return re.sub(r"([?&#])([^=&#]*)=[^&#]*", _redact_parameter, url)


def _redact_parameter(match: re.Match[str]) -> str:
    return f"{match[1]}{match[2]}=***" if _parameter_name(match[2]) in _SECRET_PARAMETERS else match[0]


def _parameter_name(text: str) -> str:
    # The service, as ASP.NET does, takes parameter names in any case.
    return unquote(text.partition("=")[0]).lower()
