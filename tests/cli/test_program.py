"""What all commands have in common: help, statuses, the environment, secrets, the extra, output that nobody reads."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable

import pytest
import trio

from tests.cli.command import Ended, process
from trio_webpubsub.cli.program import COMMANDS, main, make_parser
from trio_webpubsub.emulator import Emulator

Call = Callable[..., Awaitable[Ended]]

KEY = "a-key-that-nobody-may-see-0123456789"


def test_the_help_names_every_command_and_status(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    told = capsys.readouterr().out
    assert all(f"    {name} " in told for name in COMMANDS)
    assert all(f"{status} " in told for status in (0, 1, 2, 130, 141))


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_has_examples_and_no_secret(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_WEBPUBSUB_CONNECTION_STRING", f"Endpoint=http://localhost;AccessKey={KEY}")
    monkeypatch.setenv("AZURE_WEBPUBSUB_ACCESS_KEY", KEY)
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as caught:
        main([name, "--help"])
    assert caught.value.code == 0
    told = capsys.readouterr().out
    assert f"examples:\n  trio-webpubsub {name}" in told
    assert KEY not in told
    assert max(map(len, told.partition("examples:")[0].splitlines())) <= 80


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out.startswith("trio-webpubsub 0.")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["unheard-of"],
        ["emulator", "--port", "x"],
        ["send"],
        ["send", "lobby", "hi", "--rate", "0"],
        ["send", "lobby", "hi", "--rate", "nan"],
        ["token", "--lifetime", "-1"],
        ["token", "--print", "everything"],
        ["listen", "lobby", "--js"],
        ["token", "superfluous"],
    ],
)
def test_wrong_arguments_exit_with_2(arguments: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage" in capfd.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["token", "--conection-string", f"Endpoint=http://localhost;AccessKey={KEY};"],
        ["token", f"--acces-key={KEY}"],
        ["emulator", "--acess-key", KEY],
        ["--access-key", KEY, "emulator"],
        [f"Endpoint=http://localhost;AccessKey={KEY};Version=1.0;", "token"],
    ],
)
def test_a_secret_in_the_wrong_place_is_not_repeated(arguments: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(arguments)
    shown = capfd.readouterr()
    assert KEY not in shown.out + shown.err


def test_options_before_the_command_are_told_where_they_belong(capfd: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--hub", "chat", "listen"], ["--hub=chat", "listen"]):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == 2
        assert "options stand behind the command: trio-webpubsub COMMAND --hub ..." in capfd.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        (["send", "lobby", "--type", "json", "{}"], {"group": "lobby", "type": "json", "message": "{}"}),
        (["send", "--rest", "lobby", "--rate", "2", "hi"], {"group": "lobby", "rest": True, "message": "hi"}),
        (["send", "lobby", "--rest", "-1"], {"group": "lobby", "rest": True, "message": "-1"}),
        (["send", "--rest", "--", "lobby", "-hi"], {"group": "lobby", "rest": True, "message": "-hi"}),
        (["invoke", "price", "--json", "coffee"], {"event": "price", "json": True, "message": "coffee"}),
        (["listen", "a", "--json", "b"], {"groups": ["a", "b"], "json": True}),
    ],
)
def test_options_may_stand_anywhere_behind_the_command(arguments: list[str], options: dict[str, object]) -> None:
    name, *rest = arguments
    parsed, unknown = make_parser([name])[1][name].parse_anywhere(rest)
    assert unknown == []
    assert options.items() <= vars(parsed).items()


@pytest.mark.parametrize("text", ["", "x", "0", "nan"])
def test_a_number_that_is_none_is_told_so(text: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["send", "lobby", "hi", "--rate", text])
    assert f"{text!r} is no number above 0" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (["token", "--hub", ""], "--hub"),
        (["listen", "lobby", "--hub="], "--hub"),
        (["webhook", "--hub", ""], "--hub"),
        (["emulator", "--hub", ""], "--hub"),
        (["demo", "--hub", ""], "--hub"),
        (["token", "--connection-string", ""], "--connection-string"),
        (["demo", "--connection-string", ""], "--connection-string"),
    ],
)
def test_an_option_that_is_empty_is_not_taken_for_one_that_is_left_out(
    arguments: list[str], option: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_WEBPUBSUB_CONNECTION_STRING", f"Endpoint=http://localhost;AccessKey={KEY}")
    monkeypatch.setenv("AZURE_WEBPUBSUB_HUB", "chat")
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert f"argument {option}: it is empty" in capfd.readouterr().err


@pytest.mark.parametrize("command", [["emulator"], ["webhook", "--hub", "chat"]])
def test_a_port_in_use_is_named(command: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main([*command, "--port", str(port)]) == 1
    told = f"trio-webpubsub {command[0]}: cannot listen on port {port} of 127.0.0.1: Address already in use\n"
    assert capfd.readouterr().err == told


@pytest.mark.parametrize("arguments", [["listen"], ["send", "lobby", "hi"], ["invoke", "order"], ["token"], ["doctor"]])
def test_without_a_connection_string_it_is_told_where_it_belongs(
    arguments: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, "--hub", "chat"]) == 2
    told = capfd.readouterr().err
    assert f"trio-webpubsub {arguments[0]}: there is no connection string" in told
    assert "AZURE_WEBPUBSUB_CONNECTION_STRING" in told


@pytest.mark.parametrize("arguments", [["listen"], ["send", "lobby", "hi"], ["invoke", "order"], ["token"]])
def test_without_a_hub_it_is_told_how_to_name_one(arguments: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert main([*arguments, "--connection-string", f"Endpoint=http://localhost;AccessKey={KEY}"]) == 2
    told = capfd.readouterr().err
    assert "there is no hub: give --hub" in told
    assert KEY not in told


async def test_options_come_before_the_environment(call: Call, emulator: Emulator) -> None:
    ended = await call("token", "--hub", "other")
    assert ended.out.startswith(f"ws{emulator.endpoint.removeprefix('http')}/client/hubs/other?access_token=")


def test_tokens_do_not_leave_the_machine_in_the_open(capfd: pytest.CaptureFixture[str]) -> None:
    arguments = ["--hub", "chat", "--connection-string", f"Endpoint=http://example.com;AccessKey={KEY}"]
    assert main(["token", *arguments]) == 2
    assert "not https" in capfd.readouterr().err
    assert main(["token", *arguments, "--allow-insecure"]) == 0
    assert capfd.readouterr().out.startswith("ws://example.com/")


def test_a_line_end_behind_the_connection_string_does_no_harm(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_WEBPUBSUB_CONNECTION_STRING", f"Endpoint=https://example.com;AccessKey={KEY}\n")
    assert main(["token", "--hub", "chat"]) == 0
    assert capfd.readouterr().out.startswith("wss://example.com/")


WITHOUT_RICH = """
import sys
sys.modules["rich"] = None
from trio_webpubsub.cli.program import COMMANDS, main
for name in COMMANDS:
    try:
        status = main([name, "--help"])
    except SystemExit as left:
        status = left.code
    print(">", name, status)
"""


def test_demo_and_emulator_need_only_the_core_and_the_others_say_what_they_need() -> None:
    ran = subprocess.run([sys.executable, "-c", WITHOUT_RICH], capture_output=True, check=True, text=True)
    statuses = dict(line.split()[1:] for line in ran.stdout.splitlines() if line.startswith("> "))
    assert statuses == {name: "0" if name in ("demo", "emulator") else "2" for name in COMMANDS}
    said = [f"trio-webpubsub {name}: it needs the extra cli: " for name in COMMANDS if statuses[name] == "2"]
    assert [line.partition("python")[0] for line in ran.stderr.splitlines()] == said


MODULES_LOADED = """
import sys
from trio_webpubsub.cli.program import main
try:
    main(sys.argv[1:])
finally:
    print(*sys.modules)
"""


@pytest.mark.parametrize(
    ("arguments", "loaded", "not_loaded"),
    [
        (["token", "--help"], "trio_webpubsub.cli.token", "trio_webpubsub.emulator"),
        (["--help"], "trio_webpubsub.cli.program", "trio"),
        (["--version"], "trio_webpubsub.cli.program", "trio"),
    ],
)
def test_only_what_is_asked_for_is_loaded(arguments: list[str], loaded: str, not_loaded: str) -> None:
    program = [sys.executable, "-c", MODULES_LOADED, *arguments]
    modules = subprocess.run(program, capture_output=True, check=True, text=True).stdout.split()
    assert loaded in modules
    assert not_loaded not in modules


async def test_output_that_nobody_reads_ends_it_without_a_word(emulator: Emulator) -> None:
    async with process("token") as started:
        assert started.stdout is not None
        assert started.stderr is not None
        await started.stdout.aclose()
        assert await started.wait() == 141
        assert [chunk async for chunk in started.stderr] == []


@pytest.mark.parametrize(
    ("arguments", "closed", "told"),
    [
        (["send", "lobby"], "<&-", "0 messages were sent.\n"),
        (["token"], ">&-", ""),
        (["doctor"], "2>&-", ""),
        (["send", "lobby", "hi"], "<&- >&- 2>&-", ""),
    ],
)
async def test_standard_streams_may_be_closed(emulator: Emulator, arguments: list[str], closed: str, told: str) -> None:
    shell = f'exec "$@" {closed}'
    program = ["sh", "-c", shell, "sh", sys.executable, "-m", "trio_webpubsub", *arguments]
    ran = await trio.run_process(program, capture_stderr=True, capture_stdout=True, check=False)
    assert (ran.returncode, ran.stderr.decode()) == (0, told)
