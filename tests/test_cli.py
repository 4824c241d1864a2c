from __future__ import annotations

import signal
import socket
import subprocess
import sys

import pytest
import trio

from trio_webpubsub.cli import main
from trio_webpubsub.protocol.connection_string import ConnectionString


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
async def test_the_emulator_serves_until_it_is_told_to_end(how: signal.Signals) -> None:
    command = [sys.executable, "-m", "trio_webpubsub", "emulator", "--port", "0"]
    process = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    printed = b""
    async for chunk in process.stdout:
        printed += chunk
        if printed.count(b"\n") == 2:
            break
    line = printed.decode().splitlines()[1]
    endpoint = ConnectionString.parse(line.removeprefix("Connection string: ")).endpoint
    stream = await trio.open_tcp_stream("127.0.0.1", int(endpoint.rpartition(":")[2]))
    process.send_signal(how)
    assert await process.wait() == 0
    await stream.aclose()
    await process.stdout.aclose()


@pytest.mark.parametrize("port", ["taken", "99999999999", "-1"])
def test_an_emulator_that_cannot_listen_says_so(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        if port == "taken":
            port = str(server.getsockname()[1])
        assert main(["emulator", "--port", port]) == 1
    assert "cannot start" in capsys.readouterr().err


def test_the_known_key_does_not_leave_the_machine(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["emulator", "--host", "0.0.0.0", "--port", "0"]) == 1
    assert "access key" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["unheard-of"], ["emulator", "--port", "x"]])
def test_wrong_arguments_exit_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage" in capsys.readouterr().err
