"""A certificate made on the spot, for TLS on this machine. It takes the extra ``tls``."""

from __future__ import annotations

import ssl
from typing import Any

from ..protocol.names import check_text


class SelfMadeCertificate:
    """A certificate for this machine, and the authority that vouches for it; both are known to nobody else.

    ::

        certificate = SelfMadeCertificate()
        async with open_emulator(ssl_context=certificate.server_context) as emulator:
            async with open_client(emulator.client_url("chat"), ssl_context=certificate.client_context) as client:
                ...
    """

    def __init__(self, *hosts: str) -> None:
        """Make one.

        Args:
            hosts: names and addresses that it is good for, besides ``localhost``, ``127.0.0.1`` and ``::1``.

        Raises:
            ImportError: the extra ``tls`` is not installed.
            ValueError: a host is empty.
            TypeError: a host is not a ``str``.
        """
        for host in hosts:
            if not check_text(host, "host"):
                raise ValueError("a host is empty")
        try:
            import trustme
        except ImportError as error:
            raise ImportError(
                "a self-made certificate takes the extra tls: python -m pip install 'trio-webpubsub[tls]'"
            ) from error
        authority: Any = trustme.CA()  # whose types name pyOpenSSL's, which need not be there
        self.server_context: ssl.SSLContext = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        """For ``open_emulator(ssl_context=...)``."""
        self.client_context: ssl.SSLContext = ssl.create_default_context()
        """For clients: trusts the authority besides the system's."""
        self.authority_pem: bytes = authority.cert_pem.bytes()
        """The authority's certificate, for peers that want it in a file."""
        authority.issue_cert("localhost", "127.0.0.1", "::1", *hosts).configure_cert(self.server_context)
        authority.configure_trust(self.client_context)
