"""Where the URL of each new session comes from."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable

import trio

from ..errors import ConnectFailed
from ..protocol.arguments import check_callable, check_flags
from ..protocol.urls import ClientUrl, is_loopback

_WANTED = (
    "the URL is a str or an async callable that gives one, such as "
    "functools.partial(service.client_access_url, user_id='ann')"
)


class _NotAsync(TypeError):
    """Our own complaint, told from whatever the user's callable raises."""


class UrlSource:
    """A fixed URL, or an async callable that is asked for each new session.

    Raises:
        ValueError: the fixed URL is not usable.
        TypeError: it is neither of the two.
    """

    def __init__(self, source: str | Callable[[], Awaitable[str]], *, allow_insecure: bool) -> None:
        if not isinstance(source, str) and not callable(source):
            if inspect.iscoroutine(source):
                source.close()
            raise TypeError(f"{_WANTED}; this is {type(source).__name__!r}")
        if not isinstance(source, str):
            check_callable("the URL callable", source)
        check_flags(allow_insecure=allow_insecure)
        self._allow_insecure = allow_insecure
        self._source = self.parse(source) if isinstance(source, str) else source

    @property
    def fixed(self) -> ClientUrl | None:
        """The URL, where asking again gives the same one."""
        return self._source if isinstance(self._source, ClientUrl) else None

    async def get(self, seconds: float) -> ClientUrl:
        """Give the URL for a new session, in at most so many ``seconds``.

        Raises:
            ConnectFailed: the callable failed, was too slow, or gave no usable URL.
            TypeError: the callable is not an async one.
        """
        if isinstance(self._source, ClientUrl):
            return self._source
        url = ""
        try:
            with trio.move_on_after(seconds) as scope:
                awaitable = self._source()
                if not inspect.isawaitable(awaitable):
                    raise _NotAsync(f"{_WANTED}; this callable gave {type(awaitable).__name__!r}, not an awaitable")
                url = await awaitable
        except _NotAsync as error:
            raise TypeError(str(error)) from None
        except Exception as error:  # the user's code may raise anything; it is one more way not to connect
            raise ConnectFailed(f"the URL callable raised {type(error).__name__}") from error
        if scope.cancelled_caught:
            raise ConnectFailed(f"the URL callable gave nothing within {seconds:g} s")
        try:
            return self.parse(url)
        except ValueError as error:
            raise ConnectFailed(f"the URL callable gave no usable URL: {error}") from error
        except TypeError as error:
            raise ConnectFailed(
                f"the URL callable gave no usable URL: {error}; client_access_url() gives one"
            ) from error

    def parse(self, text: str) -> ClientUrl:
        """Read a URL that may be used.

        Raises:
            ValueError: it cannot be read, or would send secrets in the clear.
            TypeError: it is no ``str``.
        """
        url = ClientUrl.parse(text)
        if not (url.secure or self._allow_insecure or is_loopback(url.host)):
            raise ValueError(
                f"ws:// would send the token to {url.host} in the clear; use wss://, or pass allow_insecure=True"
            )
        return url
