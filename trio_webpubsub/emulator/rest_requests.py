"""What stands in a request of the REST API: names, parameters, messages, metadata; and how it is refused.

Sources: the data-plane specification 2024-12-01 for operations and statuses. What it leaves open (which requests are
bad, texts of errors, how charsets are read) is modelled on the official emulator.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NoReturn
from urllib.parse import parse_qs, unquote

import msgspec

from ..listener import Request, Response
from ..protocol.names import MAX_TTL_SECONDS, check_group, check_user_id
from ..protocol.payloads import check_metadata
from ..protocol.wire import Payload
from .hub.filters import InvalidFilter, compile_filter
from .hub.registry import Connection

_CHARSETS = frozenset({"utf-8", "utf8", "utf-16", "utf-16le", "utf-16be", "us-ascii", "iso-8859-1", "windows-1252"})
"""Python knows more, some of which are no charsets and some slow."""
_DATA_TYPES = {"text/plain": "text", "application/json": "json", "application/octet-stream": "binary"}
_METADATA = "x-webpubsub-metadata-"


@dataclass(frozen=True, kw_only=True, slots=True)
class Refusal(Response):
    """The answer to a request that is not carried out."""

    reason: str
    """For the log; holds no token."""


class Refused(Exception):
    """A request is not carried out, and answered with this status."""

    def __init__(
        self,
        status: int,
        message: str = "",
        *,
        code: str | None = None,
        target: str | None = None,
        content_type: str = "application/json",
        reason: str = "",
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.target = target
        """What in the request the refusal is about."""
        self.content_type = content_type
        self.reason: str = reason or message
        """For the log, where the answer itself does not say why."""

    def response(self, method: str) -> Refusal:
        """The answer: code and text in a JSON object; HEAD has only the header."""
        headers: list[tuple[str, str]] = []
        body = b""
        if self.code is not None:
            headers.append(("x-ms-error-code", self.code))
        if self.message and method != "HEAD":
            headers.append(("content-type", self.content_type))
            content = {"code": self.code, "message": self.message}
            if self.target is not None:
                content["target"] = self.target
            body = json.dumps(content).encode()
        if self.status == 401:
            headers.append(("www-authenticate", "Bearer"))
        return Refusal(status=self.status, headers=headers, body=body, reason=self.reason)


def bad(message: str, *, target: str | None = None) -> Refused:
    """The refusal of a request that is wrong in itself."""
    return Refused(400, message, code="Error.BadRequest", target=target)


def too_large(size: int) -> Refused:
    """The refusal of a body that is too large, or does not say how large it is. The service reads none of it."""
    return bad(f"The Content-Length header is invalid: it is missing, or over {size:,}.", target="Content-Length")


class _Bulk(msgspec.Struct):
    groups: list[str]
    filter: str | None = None


class Parameters:
    """The query of a request; names count in any case, as they do for the service."""

    def __init__(self, query: str) -> None:
        self._values: dict[str, list[str]] = {}
        for name, values in parse_qs(query, keep_blank_values=True).items():
            self._values.setdefault(name.lower(), []).extend(values)

    def all(self, name: str) -> list[str]:
        """Give every value of a parameter that may be repeated."""
        return self._values.get(name.lower(), [])

    def one(self, name: str) -> str | None:
        """Give the value of a parameter that may be there once.

        Raises:
            Refused: it is there more than once.
        """
        values = self.all(name)
        if len(values) > 1:
            raise bad(f"The parameter {name} is there more than once.", target=name)
        return values[0] if values else None

    def number(self, name: str, least: int, most: int) -> int | None:
        """Give the value of a parameter that is a number.

        Raises:
            Refused: it is none, or out of bounds, or there more than once.
        """
        text = self.one(name)
        if text is None:
            return None
        if not (re.fullmatch("[0-9]{1,10}", text) and least <= int(text) <= most):
            raise bad(f"{name} is not a number from {least} to {most}.", target=name)
        return int(text)

    def lifetime(self) -> int | None:
        """Give ``messageTtlSeconds``, ``None`` for no end.

        Raises:
            Refused: it is none.
        """
        return self.number("messageTtlSeconds", 0, MAX_TTL_SECONDS) or None

    def filter(self) -> Callable[[Connection], bool] | None:
        """Give ``filter``, read.

        Raises:
            Refused: it means nothing.
        """
        return read_filter(self.one("filter"))


def read_filter(expression: str | None) -> Callable[[Connection], bool] | None:
    """Read a filter; an empty one stands for none.

    Raises:
        Refused: it means nothing. The official clients take the text of this error from a body that says it is text.
    """
    if not expression or not expression.strip():
        return None
    try:
        return compile_filter(expression)
    except InvalidFilter as error:
        text = "text/plain; charset=utf-8"
        raise Refused(400, str(error), code="Error.BadRequest", target="Request", content_type=text) from error


def decoded(segment: str) -> str:
    """Give what a segment of a path stands for.

    Raises:
        Refused: it stands for nothing.
    """
    try:
        return unquote(segment, errors="strict")
    except UnicodeDecodeError:
        raise bad("The path is not percent-encoded UTF-8.") from None


def user_id_of(segment: str) -> str:
    """Give the user id in a path. In all versions so far the service takes an encoded slash in it as it stands.

    Raises:
        Refused: there is no such user id.
    """
    parts = re.split("(%2[Ff])", segment)
    return checked(check_user_id, "".join(part if part.lower() == "%2f" else decoded(part) for part in parts))


def checked(check: Callable[[str], str], name: str) -> str:
    """Give a name that was checked.

    Raises:
        Refused: nothing can be called that.
    """
    try:
        return check(name)
    except ValueError as error:
        raise bad(str(error)) from None


def message_of(request: Request, most: int) -> Payload:
    """Read the message in a request's body, of ``most`` bytes at most.

    Raises:
        Refused: it cannot be read, or is too large, or of a content type that the service does not take.
    """
    _check_length(request, most)
    content_type, parameters = _content_type(request, "application/octet-stream")
    data_type = _DATA_TYPES.get(content_type)
    if data_type is None:
        raise _unsupported(f"The content type of a message is one of {', '.join(_DATA_TYPES)}.")
    if data_type == "binary":
        return Payload(data_type, request.body)
    named = re.search(r"charset\s*=\s*\"?([^\s\";]+)", parameters, re.IGNORECASE)
    charset = named[1].lower() if named else "utf-8"
    if charset not in _CHARSETS:
        raise _unsupported("The charset of the message is not known.")
    try:
        body = request.body if charset in ("utf-8", "utf8") else request.body.decode(charset).encode()
        body.decode()
    except UnicodeError:
        raise bad("The message is not in the charset that its content type names.") from None
    if data_type == "json":
        try:
            # Only the form matters: numbers may be of any size, but NaN and Infinity are Python's invention.
            json.loads(body, parse_int=str, parse_float=str, parse_constant=_refuse_constant)
        except (ValueError, RecursionError):
            raise bad("The message is not valid JSON.") from None
    return Payload(data_type, body)


def metadata_of(request: Request) -> Mapping[str, str] | None:
    """Read the metadata in a request's headers: of a value with commas the last part counts.

    Raises:
        Refused: the service does not take it.
    """
    metadata = {
        name[len(_METADATA) :].lower(): value.rpartition(",")[2].strip()
        for name, value in request.headers.items()
        if name.lower().startswith(_METADATA)
    }
    try:
        check_metadata(metadata)
    except ValueError as error:
        raise bad(str(error)) from None
    return metadata or None


def bulk_of(request: Request, most: int) -> tuple[list[str], Callable[[Connection], bool] | None]:
    """Read the groups and the filter of a change to many connections, from ``most`` bytes at most.

    Raises:
        Refused: they are not there or cannot be used.
    """
    _check_length(request, most)
    if _content_type(request, "")[0] != "application/json":
        raise _unsupported("The content type is application/json.")
    try:
        content = msgspec.json.decode(request.body, type=_Bulk)
    except (ValueError, RecursionError):
        raise bad("The body is not a JSON object with a list of groups.") from None
    if not content.groups:
        raise bad("There are no groups.")
    return [checked(check_group, group) for group in content.groups], read_filter(content.filter)


def text_of(parameters: Parameters, name: str) -> str:
    """Give a parameter that has to be there.

    Raises:
        Refused: it is not.
    """
    value = parameters.one(name)
    if not value:
        raise bad(f"The parameter {name} is missing.", target=name)
    return value


def _check_length(request: Request, most: int) -> None:
    if "content-length" not in request.headers or len(request.body) > most:
        raise too_large(most)


def _content_type(request: Request, default: str) -> tuple[str, str]:
    content_type, _, parameters = request.headers.get("content-type", default).partition(";")
    return content_type.strip().lower(), parameters


def _unsupported(message: str) -> Refused:
    return Refused(415, message, code="Error.UnsupportedMediaType")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
