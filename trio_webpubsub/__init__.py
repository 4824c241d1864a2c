"""A trio-native library for Azure Web PubSub.

This package holds the WebSocket client and the errors of all parts. The other parts are imported by name, so that
nobody loads what they do not use: `trio_webpubsub.service`, `trio_webpubsub.webhooks` and `trio_webpubsub.emulator`.
For the same reason the client is loaded at the first use of a name.
"""

from __future__ import annotations

TYPE_CHECKING = False  # type checkers know the name; to load typing for it would take longer than all else here

if TYPE_CHECKING:
    from ._public import *  # noqa: F403 - they are listed there
    from ._public import __all__ as __all__
else:

    def __getattr__(name: str) -> object:
        """Load all public names when the first of them is asked for, or what they are."""
        if name == "__all__" or not name.startswith("_"):
            _load()
        try:
            return globals()[name]
        except KeyError:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None

    def __dir__() -> list[str]:
        _load()
        return sorted(globals())

    def _load() -> None:
        from . import _public

        for name in ("__all__", *_public.__all__):
            globals().setdefault(name, getattr(_public, name))  # what a test has put in its place stays there
