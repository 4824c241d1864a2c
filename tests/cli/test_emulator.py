from __future__ import annotations

import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import trio
import trustme

from trio_webpubsub import ConnectFailed, Disconnected, SendFailed, open_client
from trio_webpubsub.cli.program import main
from trio_webpubsub.emulator import DEFAULT_ACCESS_KEY
from trio_webpubsub.listener import Listener, Request, Response, WebSocketRequest
from trio_webpubsub.protocol.connection_string import ConnectionString
from trio_webpubsub.protocol.tokens import client_access_token
from trio_webpubsub.protocol.urls import client_audience, client_url
from trio_webpubsub.service import open_service


class Command:
    """The emulator in a process of its own."""

    def __init__(self, process: trio.Process) -> None:
        self.process = process
        self.endpoint = ""
        self._read = b""

    async def line_with(self, text: str) -> str:
        """Read to the first line that holds this."""
        assert self.process.stdout is not None
        while True:
            *lines, self._read = self._read.splitlines(keepends=True) or [b""]
            if self._read.endswith(b"\n"):
                lines.append(self._read)
                self._read = b""
            for index, line in enumerate(lines):
                if text in line.decode():
                    self._read = b"".join(lines[index + 1 :]) + self._read
                    return line.decode()
            chunk = await self.process.stdout.receive_some()
            assert chunk, f"the process ended and never said {text!r}"
            self._read += chunk

    def client_url(self, key: str = DEFAULT_ACCESS_KEY) -> str:
        """Make the URL of a client that may do everything with groups."""
        audience = client_audience(self.endpoint, "chat")
        roles = ["webpubsub.joinLeaveGroup", "webpubsub.sendToGroup"]
        return client_url(
            self.endpoint,
            "chat",
            client_access_token(key, audience=audience, now=time.time(), lifetime=60, roles=roles),
        )


@asynccontextmanager
async def running(*arguments: str) -> AsyncGenerator[Command]:
    """Start the command, and kill it at the end if it still runs."""
    program = [sys.executable, "-m", "trio_webpubsub", "emulator", "--port", "0", *arguments]
    with trio.fail_after(50):
        async with trio.open_nursery() as nursery:
            process: trio.Process = await nursery.start(
                partial(trio.run_process, program, stdout=subprocess.PIPE, check=False)
            )
            command = Command(process)
            command.endpoint = (await command.line_with("listens at")).split(" at ")[1].split(". ")[0]
            try:
                yield command
            finally:
                if process.returncode is None:
                    process.kill()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
async def test_told_to_end_the_emulator_takes_leave_of_its_clients(how: signal.Signals) -> None:
    async with running() as command:
        line = await command.line_with("Connection string: ")
        read = ConnectionString.parse(line.removeprefix("Connection string: ").strip())
        assert (read.endpoint, read.access_key) == (command.endpoint, DEFAULT_ACCESS_KEY)
        idle = await trio.open_tcp_stream("127.0.0.1", int(command.endpoint.rpartition(":")[2]))
        async with idle, open_client(command.client_url()) as client, client.lifecycle() as lifecycle:
            command.process.send_signal(how)
            while not isinstance(change := await lifecycle.receive(), Disconnected):
                pass
            assert change.code == 1001
            assert await command.process.wait() == 0


async def test_a_second_ctrl_c_waits_for_nobody() -> None:
    async with running() as command:
        stream = await trio.open_tcp_stream("127.0.0.1", int(command.endpoint.rpartition(":")[2]))
        async with stream:
            # A client that takes no part in closing.
            url = urlsplit(command.client_url())
            key = "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13"
            head = f"GET {url.path}?{url.query} HTTP/1.1\r\nHost: {url.netloc}\r\nConnection: Upgrade"
            protocol = "Upgrade: websocket\r\nSec-WebSocket-Protocol: json.webpubsub.azure.v1"
            await stream.send_all(f"{head}\r\n{protocol}\r\n{key}\r\n\r\n".encode())
            await command.line_with("is open")
            command.process.send_signal(signal.SIGINT)
            received = b""
            while b"\x88" not in received:  # its close frame
                received += await stream.receive_some()
            command.process.send_signal(signal.SIGINT)
            assert await command.process.wait() == 130


async def test_what_happens_is_told_on_lines_without_secrets() -> None:
    key = "a-key-of-my-own-0123456789012345678901234567"
    async with running("--access-key", key, "--secondary-key", key[::-1]) as command:
        assert key not in await command.line_with("Connection string: ")
        url = command.client_url(key[::-1])
        async with open_client(url) as client:
            assert f"{client.connection_id}" in await command.line_with("is open")
            await client.send_to_group("lobby", "hi\x1b[2J")
            line = await command.line_with("sendToGroup lobby")
            assert line.endswith(f"chat: {client.connection_id} sendToGroup lobby text 'hi\\x1b[2J' (ack id 1)\n")
            async with open_service(f"Endpoint={command.endpoint};AccessKey={key};Version=1.0;", "chat") as service:
                await service.send_to_all("hello")
            assert "POST /api/hubs/chat/:send b'hello': 202" in await command.line_with("POST")
            token = url.partition("access_token=")[2]
            command.process.terminate()
        assert command.process.stdout is not None
        rest = b"".join([chunk async for chunk in command.process.stdout]).decode()
        for secret in (key, key[::-1], token):
            assert secret not in rest


async def test_whoever_stops_reading_the_lines_holds_nothing_up() -> None:
    async with running() as command, open_client(command.client_url()) as client:
        for _ in range(5):
            async with trio.open_nursery() as nursery:
                for _ in range(400):  # far more than a pipe holds
                    nursery.start_soon(client.send_to_group, "lobby", "a" * 100)
        command.process.terminate()
        assert await command.process.wait() == 0


async def test_tls_with_a_self_made_certificate(tmp_path: Path) -> None:
    authority = tmp_path / "authority.pem"
    async with running("--tls-self-made", str(authority)) as command:
        assert command.endpoint.startswith("https://")
        context = ssl.create_default_context(cafile=str(authority))
        async with open_client(command.client_url(), ssl_context=context) as client:
            await client.join_group("lobby")


async def test_tls_with_a_given_certificate(tmp_path: Path) -> None:
    authority: Any = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    certificate.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    context = ssl.create_default_context()
    authority.configure_trust(context)
    arguments = ["--tls-cert", str(tmp_path / "cert.pem"), "--tls-key", str(tmp_path / "key.pem")]
    async with running(*arguments) as command, open_client(command.client_url(), ssl_context=context) as client:
        await client.join_group("lobby")


async def test_events_go_to_the_handler_of_the_hub(nursery: trio.Nursery) -> None:
    asked: list[tuple[str, str | None]] = []

    async def handle(request: Request) -> Response:
        await trio.lowlevel.checkpoint()
        if request.method == "OPTIONS":
            return Response(status=200, headers=[("WebHook-Allowed-Origin", "*")])
        asked.append((request.path, request.headers.get("ce-eventname")))
        return Response(status=200, headers=[("content-type", "text/plain")], body=b"yes")

    async def no_websocket(request: WebSocketRequest) -> None:
        await request.reject(404)

    (port,) = await nursery.start(partial(Listener(handle, no_websocket).serve, 0))
    handler = f"http://127.0.0.1:{port}/on/{{hub}}/{{event}}"
    arguments = ["--hub", "chat", "--anonymous", "--event-handler", handler, "--user-events", "a, b"]
    async with running(*arguments, "--system-events", "connected") as command:
        url = f"ws{command.endpoint.removeprefix('http')}/client/hubs/chat"
        async with open_client(url) as client, client.server_messages() as messages:
            await client.send_event("a", "hello")
            assert (await messages.receive()).data == "yes"
            with pytest.raises(SendFailed):
                await client.send_event("c", "hello")
        with pytest.raises(ConnectFailed):
            async with open_client(url.replace("chat", "other")):
                pass
    assert sorted(asked) == [("/on/chat/a", "a"), ("/on/chat/connected", "connected")]
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--tls-key", "key.pem"], "without a --tls-cert"),
        (["--tls-cert", "no-such.pem"], "no-such.pem"),
        (["--tls-cert", __file__], "cannot be used"),
        (["--tls-cert", "cert.pem", "--tls-self-made", "authority.pem"], "either given or self-made"),
        (["--access-key", ""], "empty"),
        (["--access-key", "a-key\n"], "white space"),
        (["--secondary-key", " a-key"], "white space"),
        (["--user-events", "*"], "without an --event-handler"),
        (["--system-events", "connect"], "without an --event-handler"),
        (["--event-handler", "nowhere"], "URL"),
        (["--event-handler", "http://localhost/", "--system-events", "connect,joined"], "some of connect, connected"),
        (["--event-handler", "http://localhost/", "--user-events", "1"], "event name"),
        (["--event-handler", "http://localhost/", "--user-events", ",,"], "no names"),
        (["--event-handler", "http://localhost/", "--system-events", " ,"], "no names"),
        (["--hub", "a b", "--anonymous"], "hub name"),
    ],
)
def test_options_that_do_not_go_together_are_told(
    arguments: list[str], why: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["emulator", "--port", "0", *arguments]) == 2
    assert why in capfd.readouterr().err


def test_a_port_that_is_taken_is_told(capfd: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert main(["emulator", "--port", str(server.getsockname()[1])]) == 1
    assert "in use" in capfd.readouterr().err


@pytest.mark.parametrize("port", ["99999999999", "-1"])
def test_a_port_that_is_none_is_told(port: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["emulator", "--port", port]) == 2
    assert "0 to 65535" in capfd.readouterr().err


def test_the_known_key_does_not_leave_the_machine(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["emulator", "--host", "0.0.0.0", "--port", "0"]) == 2
    assert "access key" in capfd.readouterr().err


async def test_a_key_from_the_environment_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    key = "a-key-of-my-own-0123456789012345678901234567"
    monkeypatch.setenv("AZURE_WEBPUBSUB_ACCESS_KEY", key)
    async with running() as command:
        assert "<the access key>" in await command.line_with("Connection string: ")
        async with open_client(command.client_url(key)) as client:
            assert client.state == "connected"
