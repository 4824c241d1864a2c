"""A client lives in one thread, in which trio runs it."""

from __future__ import annotations

from threading import get_ident


class OwnThread:
    """Remembers the thread in which it was made.

    A task of another thread's ``trio.run()`` would wait for ever, and whoever wakes it would end either run with an
    internal error of trio's.
    """

    def __init__(self) -> None:
        self.ident: int = get_ident()
        """As `threading.get_ident` gives it; what is called for every message compares it itself, to spare the call."""

    def check(self) -> None:
        """Refuse to be called from another thread.

        Raises:
            RuntimeError: this is one.
        """
        if get_ident() != self.ident:
            raise RuntimeError(
                "a client is used in the thread that opened it; in others let that one call it:"
                " trio.from_thread.run(client.join_group, group, trio_token=token)"
            )
