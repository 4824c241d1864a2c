"""Credentials of azure-identity, over a local stand-in for the endpoint that gives tokens to managed identities."""

from __future__ import annotations

import http.server
import json
import threading
import time
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import azure.identity
import azure.identity.aio
import pytest
import trio

from trio_webpubsub import open_client
from trio_webpubsub.emulator import open_emulator
from trio_webpubsub.service import AuthenticationFailed, open_service


class TokenEndpoint:
    """What App Service gives its programs: tokens for those who know a header."""

    def __init__(self) -> None:
        self.token = ""
        self.asked: list[str] = []


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[TokenEndpoint]:
    """The endpoint, and the environment that leads to it."""
    endpoint = TokenEndpoint()

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            query = parse_qs(urlsplit(self.path).query)
            endpoint.asked += query["resource"]
            good = self.headers["X-IDENTITY-HEADER"] == "canary-header" and endpoint.token
            content = {
                "access_token": endpoint.token,
                "expires_on": str(int(time.time()) + 3600),
                "token_type": "Bearer",
            }
            self.send_response(200 if good else 400)
            self.send_header("content-type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(content if good else {"message": "no identity"}).encode())

    with http.server.ThreadingHTTPServer(("localhost", 0), Handler) as server:
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"http://localhost:{server.server_port}/token")
        monkeypatch.setenv("IDENTITY_HEADER", "canary-header")
        monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "ManagedIdentityCredential")
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield endpoint
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("kind", [azure.identity.DefaultAzureCredential, azure.identity.ManagedIdentityCredential])
async def test_a_managed_identity_signs_in(
    endpoint: TokenEndpoint, kind: type[azure.identity.DefaultAzureCredential]
) -> None:
    with trio.fail_after(60):
        async with open_emulator() as emulator:
            endpoint.token = await emulator.credential()()
            with kind() as credential:
                async with open_service(emulator.endpoint, "chat", credential=credential) as service:
                    url = await service.client_access_url(user_id="ann")
                    async with open_client(url) as client, client.messages() as messages:
                        await service.send_to_user("ann", "hi")
                        assert (await messages.receive()).data == "hi"
    assert endpoint.asked == ["https://webpubsub.azure.com"]


async def test_without_an_identity_the_error_says_so(endpoint: TokenEndpoint) -> None:
    with trio.fail_after(60):
        async with open_emulator() as emulator:
            with azure.identity.DefaultAzureCredential() as credential:
                async with open_service(emulator.endpoint, "chat", credential=credential) as service:
                    with pytest.raises(AuthenticationFailed, match="the credential gave no token: ") as failed:
                        await service.send_to_all("hi")
    assert "canary" not in str(failed.value)


async def test_credentials_that_need_asyncio_are_refused() -> None:
    credential = azure.identity.aio.ManagedIdentityCredential()
    with pytest.raises(TypeError, match=r"use the synchronous one, azure\.identity\.ManagedIdentityCredential"):
        async with open_service("https://resource.example", "chat", credential=credential):
            pass
