"""Who may come in: what a request's head alone says about an event, before anything of its body is read.

Whatever is wrong is a `RequestRefused` with the answer for the sender and a text for the log, in which there is no
secret.

Sources: as in `cloudevents`, and the CloudEvents specification "HTTP webhook" for the validation.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Literal, TypeAlias

import msgspec

from . import cloudevents as ce
from .cloudevents import HttpAnswer
from .names import check_access_key, check_hub, check_text

Kind: TypeAlias = Literal["connect", "connected", "disconnected", "user", "joined", "left"]

_KINDS: Mapping[str, Kind] = {
    f"{ce.SYSTEM_PREFIX}connect": "connect",
    f"{ce.SYSTEM_PREFIX}connected": "connected",
    f"{ce.SYSTEM_PREFIX}disconnected": "disconnected",
    f"{ce.GROUP_PREFIX}joined": "joined",
    f"{ce.GROUP_PREFIX}left": "left",
}


class RequestRefused(Exception):
    """A request is not what a handler should see; ``answer`` says so to its sender, the text to the log."""

    def __init__(self, status: int, reason: str, *headers: tuple[str, str]) -> None:
        super().__init__(reason)
        self.answer: HttpAnswer = failure(status, *headers)


class EventHead(msgspec.Struct, frozen=True):
    """The head of an event's request that may come in."""

    kind: Kind
    name: str
    """What a user event is called."""
    headers: Mapping[str, str]
    """By lower-case name."""


class UnknownEvent(msgspec.Struct, frozen=True):
    """An event of a kind that this version does not know: to be answered with `NO_CONTENT`, and nothing else."""

    type: str


class EventGate:
    """Decides which requests come in, by their path, method and headers."""

    def __init__(
        self,
        hub: str,
        *,
        path: str = "/api/webpubsub/hubs/{hub}/",
        access_keys: Sequence[str] = (),
        allowed_origins: Sequence[str] | None = None,
    ) -> None:
        """Set up the rules.

        Args:
            hub: Whose events these are.
            path: Where the events go to; what is below belongs to it. ``{hub}`` in it stands for ``hub``.
            access_keys: If there are any, a request has to be signed with one of them.
            allowed_origins: Which services may ask: host names, hosts with ports, or the URLs of resources; ``None``
                for all.

        Raises:
            ValueError: The hub cannot be called that, an access key or an origin is empty, a key has white space around
                it, or the path is none.
            TypeError: One text where a list of texts is expected.
        """
        self._hub = check_hub(hub).lower()
        self._prefix = _prefix(check_text(path, "path").replace("{hub}", hub))
        self._keys = [check_access_key(key) for key in ce.check_texts(access_keys, "access_keys")]
        self._origins = None if allowed_origins is None else _origins(allowed_origins)

    def covers(self, path: str) -> bool:
        """Whether a path (without percent signs) belongs to this gate; case does not matter."""
        return f"{path.lower().rstrip('/')}/".startswith(self._prefix)

    def enter(self, method: str, headers: Mapping[str, str]) -> EventHead | UnknownEvent | HttpAnswer:
        """Decide by a request's head. An `HttpAnswer` is the whole answer: the service has validated the address.

        Args:
            method: Of the request.
            headers: By lower-case name; the lines of one name joined with commas. See `header_text` for their text.

        Raises:
            RequestRefused: It does not come in.
        """
        if method == "OPTIONS" or (method == "GET" and ce.ORIGIN in headers):
            return self._validate(headers)
        if method != "POST":
            raise RequestRefused(405, f"the method is {_shown(method)}", ("allow", "POST, OPTIONS"))
        for name, version in (("ce-specversion", "1.0"), ("ce-awpsversion", "1.")):
            if not headers.get(name, "").startswith(version):
                raise RequestRefused(400, f"the header {name} does not say {version}")
        self._check_origin(headers)
        if not (connection_id := headers.get("ce-connectionid")):
            raise RequestRefused(400, "the header ce-connectionId is missing")
        if self._keys and not ce.is_signed(headers.get("ce-signature", ""), self._keys, connection_id):
            told = "the signature fits none of the access keys" if "ce-signature" in headers else "it is not signed"
            raise RequestRefused(401, f"{told}; connection {_shown(connection_id)}")
        if headers.get("ce-hub", "").lower() != self._hub:
            raise RequestRefused(404, f"it is for another hub: {_shown(headers.get('ce-hub', ''))}")
        return _head(headers)

    def _validate(self, headers: Mapping[str, str]) -> HttpAnswer:
        origin = self._check_origin(headers)
        answer = [(ce.ALLOWED_ORIGIN, "*" if self._origins is None else origin), ("allow", "POST")]
        if "webhook-request-rate" in headers:
            answer.append(("webhook-allowed-rate", "*"))
        return HttpAnswer(200, tuple(answer))

    def _check_origin(self, headers: Mapping[str, str]) -> str:
        origin = headers.get(ce.ORIGIN, "")
        if not origin.isascii() or not origin:
            raise RequestRefused(400, "the header WebHook-Request-Origin is missing, or no host name")
        if self._origins is not None and not _is_among(origin.lower(), self._origins):
            raise RequestRefused(403, f"the origin {_shown(origin)} is not allowed")
        return origin


def header_text(value: bytes) -> str:
    """Give the text of a header's value, which is UTF-8 (user ids may be anything) or, where it is not, Latin-1."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def bearer_token(headers: Mapping[str, str]) -> str | None:
    """Give the token with which the service's managed identity signs in; ``None`` where there is none."""
    kind, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() or None if kind.lower() == "bearer" else None


def failure(status: int, *headers: tuple[str, str]) -> HttpAnswer:
    """Give an answer that says no, without details."""
    return HttpAnswer(
        status, (*headers, ("content-type", ce.CONTENT_TYPES["text"])), HTTPStatus(status).phrase.encode()
    )


def _head(headers: Mapping[str, str]) -> EventHead | UnknownEvent:
    type_ = headers.get("ce-type", "")
    if not type_:
        raise RequestRefused(400, "the header ce-type is missing")
    lower = type_.lower()
    if lower.startswith(ce.USER_PREFIX):
        name = headers.get("ce-eventname") or type_[len(ce.USER_PREFIX) :]
        if not name:
            raise RequestRefused(400, "the user event has no name")
        return EventHead("user", name, headers)
    if (kind := _KINDS.get(lower)) is None:
        return UnknownEvent(_shown(type_))
    return EventHead(kind, kind, headers)


def _prefix(path: str) -> str:
    if not path.startswith("/"):
        raise ValueError(f"path is where events come in, and begins with a slash, so it is not {path!r}")
    if "{" in path or "%" in path:
        raise ValueError(f"path may hold {{hub}}, and no {{event}}: what is below it is taken as well; not {path!r}")
    if re.search(r"[?#\x00-\x1f]|/\.\.?(/|$)", path):
        raise ValueError(f"path is the path of a URL alone, without query, fragment and .., so it is not {path!r}")
    return f"{path.lower().rstrip('/')}/"


def _origins(allowed: Sequence[str]) -> frozenset[str] | None:
    hosts: set[str] = set()
    for origin in ce.check_texts(allowed, "allowed_origins"):
        host = re.sub(r"^[a-z]+://", "", origin.strip().lower()).partition("/")[0]
        if host == "*":
            return None
        if not (host and host.isascii() and host.isprintable()):
            raise ValueError(f"{origin!r} is no origin: give the host name of the resource, or its URL")
        hosts.add(host)
    return frozenset(hosts)


def _is_among(origin: str, allowed: Iterable[str]) -> bool:
    """Compare; where only one of the two names a port, it does not count, since the service may leave it out."""
    return any(origin in (each, _without_port(each)) or _without_port(origin) == each for each in allowed)


def _without_port(host: str) -> str:
    return re.sub(r":\d+$", "", host)


def _shown(text: str) -> str:
    return ascii(text if len(text) <= 60 else f"{text[:60]}...")
