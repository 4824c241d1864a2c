"""The subprotocols by their names, which clients offer in ``Sec-WebSocket-Protocol``."""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import Literal, TypeAlias, get_args

from .codec import Codec
from .json_codec import JSON, RELIABLE_JSON

Subprotocol: TypeAlias = Literal[
    "json.reliable.webpubsub.azure.v1",
    "json.webpubsub.azure.v1",
    "protobuf.reliable.webpubsub.azure.v1",
    "protobuf.webpubsub.azure.v1",
]

SUBPROTOCOLS: tuple[str, ...] = get_args(Subprotocol)


def first_known(offered: Iterable[str], known: Container[str] = SUBPROTOCOLS) -> str | None:
    """Give the first offered name that ``known`` has, as it is spelled in the offer; case does not matter."""
    return next((name for name in offered if name.lower() in known), None)


def is_reliable(subprotocol: str) -> bool:
    """Whether messages of this subprotocol carry sequence ids, and sessions survive their transport."""
    return subprotocol.lower().partition(".")[2].startswith("reliable.")


def codec_for(subprotocol: str) -> Codec:
    """Give the codec of a subprotocol.

    Raises:
        ValueError: it is none of `SUBPROTOCOLS`, which are in lower case.
        ImportError: it is one of the protobuf subprotocols, and the extra ``protobuf`` is not installed.
    """
    match subprotocol:
        case "json.reliable.webpubsub.azure.v1":
            return RELIABLE_JSON
        case "json.webpubsub.azure.v1":
            return JSON
        case "protobuf.reliable.webpubsub.azure.v1":
            from .protobuf_codec import RELIABLE_PROTOBUF

            return RELIABLE_PROTOBUF
        case "protobuf.webpubsub.azure.v1":
            from .protobuf_codec import PROTOBUF

            return PROTOBUF
        case _:
            raise ValueError(f"subprotocol is {subprotocol!r}, which is none of {', '.join(map(repr, SUBPROTOCOLS))}")
