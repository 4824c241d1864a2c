"""The pages about migration name every public name of the official packages, as these are installed."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
import trio

from tests.interop.node_peer import NODE_MODULES
from trio_webpubsub.emulator import open_emulator

PAGES = Path(__file__).parent.parent.parent / "docs" / "migration"
SNIPPETS = PAGES.parent / "snippets"
MODULES = {
    "client": (
        "azure.messaging.webpubsubclient",
        "azure.messaging.webpubsubclient.aio",
        "azure.messaging.webpubsubclient.models",
    ),
    "service": ("azure.messaging.webpubsubservice", "azure.messaging.webpubsubservice.aio"),
}


def written(page: str) -> set[str]:
    """Give the words that a page sets as code."""
    return set(re.findall(r"\w+", " ".join(re.findall(r"``(.+?)``", (PAGES / f"{page}.rst").read_text(), re.DOTALL))))


def names_of(module: ModuleType) -> Iterator[str]:
    """Give a module's public names: classes, their members, and the parameters of both."""
    for name in module.__all__:
        yield name
        cls = getattr(module, name)
        for base in cls.__mro__:
            if base.__module__.startswith(module.__name__.removesuffix(".aio").removesuffix(".models")):
                for member, value in vars(base).items():
                    if not member.startswith("_"):
                        yield member
                    if inspect.isroutine(value) and (member == "__init__" or not member.startswith("_")):
                        yield from parameters_of(getattr(cls, member))


def parameters_of(function: Callable[..., object]) -> Iterator[str]:
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL) and parameter.name != "self":
            yield parameter.name


@pytest.mark.parametrize(
    ("page", "printed"),
    [
        ("client", "on off start stop auto_reconnect SendToGroupOptions WebPubSubClientOptions"),
        ("client", "OpenWebSocketError StartClientError StartNotStoppedClientError DisconnectedError"),
        ("client", "invoke_event InvocationError DefaultWebPubSubClientCredential"),
        ("service", "check_permission generate_client_token build_authentication_token"),
        ("service", "add_connections_to_groups remove_connections_from_groups"),
    ],
)
def test_names_that_guides_print_are_in_no_package(page: str, printed: str) -> None:
    names = set(printed.split())
    assert names - written(page) == set()
    assert names & {name for module in MODULES[page] for name in names_of(importlib.import_module(module))} == set()


def names_in(declarations: str) -> Iterator[str]:
    """Give the public methods of the JavaScript client, and the fields of the options that it takes."""
    client, _, _ = declarations.partition("\nexport interface ")
    yield from re.findall(r"^    (?!constructor\b)(\w+)\(", client, re.MULTILINE)
    for interface in re.findall(r"export interface WebPubSub\w*Options \{(.+?)\n\}", declarations, re.DOTALL):
        yield from re.findall(r"^    (\w+)\?:", interface, re.MULTILINE)


@pytest.mark.parametrize(("page", "module"), [(page, module) for page, names in MODULES.items() for module in names])
def test_every_public_name_stands_in_a_table(page: str, module: str) -> None:
    names = set(names_of(importlib.import_module(module)))
    assert len(names) > 20
    assert names - written(page) == set()


@pytest.mark.skipif(NODE_MODULES is None, reason="there is no package for JavaScript")
def test_every_method_of_the_javascript_client_stands_in_a_table() -> None:
    package = Path(NODE_MODULES or "", "@azure", "web-pubsub-client", "dist", "esm")
    files = package / "webPubSubClient.d.ts", package / "models" / "index.d.ts"
    names = set(names_in("\n".join(file.read_text() for file in files)))
    assert len(names) > 20
    assert names - written("javascript") == set()


async def test_the_program_to_move_prints_what_its_page_shows() -> None:
    program = SNIPPETS / "official" / "client.py"
    async with open_emulator() as emulator:
        url = emulator.client_url("chat", user_id="ann")
        with trio.fail_after(50):
            ran = await trio.run_process([sys.executable, str(program), url], capture_stdout=True, capture_stderr=True)
    assert ran.stdout.decode() == (SNIPPETS / "moved.out").read_text()
