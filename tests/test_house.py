"""The layers: which module may import what, and which modules stay pure. Read from the sources, nothing is run."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import trio_webpubsub

ROOT = Path(__file__).parent.parent
PACKAGE = "trio_webpubsub"
SOURCES = Path(trio_webpubsub.__file__).parent
"""Those that are tested, which need not stand beside the tests."""

ABOVE_PROTOCOL = {"trio", "errors", "_shell"}

PARTS = {
    "protocol": {"msgspec"},
    "errors": {"protocol", "trio"},
    "_shell": {"protocol", "trio", "h11", "httpx"},
    "listener": {"protocol", "h11", "trio_websocket"} | ABOVE_PROTOCOL,
    "client": {"protocol", "trio_websocket"} | ABOVE_PROTOCOL,
    "service": {"protocol", "httpx"} | ABOVE_PROTOCOL,
    "webhooks": {"protocol"} | ABOVE_PROTOCOL,
    "emulator": {"protocol", "listener", "httpx"} | ABOVE_PROTOCOL,
    "testing": {"protocol", "emulator", "client", "service", "webhooks"} | ABOVE_PROTOCOL,
    "_public": {"protocol", "client"} | ABOVE_PROTOCOL,
    PACKAGE: {"_public"},
}
"""What each part may import: parts of the package and other libraries; itself and the standard library always."""

# The commands stand above them all.
ALLOWED = PARTS | {"demo": {"trio", *PARTS}, "cli": {"trio", "demo", "rich", *PARTS}, "__main__": {"cli"}}

ALLOWED_IN_ONE_MODULE = {
    "protocol.tokens": {"jwt"},
    "protocol.frame_writer": {"websockets"},
    "protocol.protobuf_downstream": {"google"},
    "protocol.protobuf_upstream": {"google"},
    "protocol.webpubsub_pb2": {"google"},
    "webhooks.entra_keys": {"httpx", "jwt", "msgspec"},
    "webhooks.serve": {"listener"},
    "emulator.certificate": {"trustme"},
    "emulator.directory": {"jwt"},
    "emulator.rest_requests": {"msgspec"},
    "service.spans": {"opentelemetry"},
    "testing.determinism": {"trio_websocket"},
    "testing.pytest_plugin": {"pytest"},
}

PURE = ("protocol", "emulator.hub")
"""These are told the time and given random bytes; they import only each other and what computes."""

EFFECTS = {
    *("trio", "trio_websocket", "httpx", "httpcore", "h11", "asyncio", "threading", "concurrent", "multiprocessing"),
    *("time", "random", "secrets", "uuid", "os", "sys", "socket", "ssl", "select", "selectors", "signal"),
    *("subprocess", "tempfile", "pathlib", "io", "shutil", "logging", "contextvars"),
}

PURE_TESTS = ("tests/protocol", "tests/emulator/hub")


def short_name(path: Path) -> str:
    """Name a module as it is called within the package: ``protocol.wire``; the package itself by its own name."""
    parts = path.relative_to(SOURCES).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts) or PACKAGE


MODULES = {short_name(path): path for path in sorted((SOURCES).rglob("*.py"))}


def imports(module: str, source: str, *, is_package: bool = False) -> Iterator[str]:
    """Name all that a module imports, anywhere in it: ``client.open_client`` for what is ours, others by full name."""
    here = [PACKAGE, *module.split(".")] if module != PACKAGE else [PACKAGE]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = here[: len(here) - node.level + is_package] if node.level else []
            names = [".".join([*base, *filter(None, [node.module]), alias.name]) for alias in node.names]
        else:
            continue
        for name in names:
            own = name.removeprefix(f"{PACKAGE}.")
            is_ours_at_the_top = name == PACKAGE or (own != name and own.partition(".")[0] not in ALLOWED)
            yield PACKAGE if is_ours_at_the_top else own


def is_pure(module: str) -> bool:
    return module.startswith(tuple(f"{name}." for name in PURE)) or module in PURE


def breaches(module: str, source: str, *, is_package: bool = False) -> list[str]:
    """Say what a module imports or calls against the rules."""
    part = module.partition(".")[0]
    allowed = {part} | ALLOWED[part] | ALLOWED_IN_ONE_MODULE.get(module, set())
    found: list[str] = []
    for name in imports(module, source, is_package=is_package):
        top = name.partition(".")[0]
        if top not in allowed and top not in sys.stdlib_module_names:
            found.append(f"{module} imports {name}")
        elif is_pure(module) and (top in EFFECTS or (top in ALLOWED and not is_pure(name))):
            found.append(f"{module} is pure and imports {name}")
    if is_pure(module):
        found += [f"{module} is pure and asks for {asked}" for asked in clock_readings(source)]
    return found


def clock_readings(source: str) -> Iterator[str]:
    """Find ``datetime.now``, ``date.today`` and their like."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and node.attr in {"now", "utcnow", "today"}:
            owner = ast.unparse(node.value)
            if owner.rpartition(".")[2] in {"datetime", "date"}:
                yield f"{owner}.{node.attr}"


def test_every_module_imports_only_what_its_part_may() -> None:
    found = [
        breach
        for module, path in MODULES.items()
        for breach in breaches(module, path.read_text(), is_package=path.name == "__init__.py")
    ]
    assert found == []


def test_what_one_module_is_allowed_it_needs() -> None:
    unused = {
        module: names
        for module, libraries in ALLOWED_IN_ONE_MODULE.items()
        if module in MODULES
        and (names := libraries - {name.partition(".")[0] for name in imports(module, MODULES[module].read_text())})
    }
    assert unused == {}


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("service.service", "from ..client import open_client"),
        ("client.client", "from trio_webpubsub.service.service import Service"),
        ("emulator.rest", "from .. import client"),
        ("webhooks.app", "import trio_webpubsub.emulator"),
        ("webhooks.app", "from ..listener import Listener"),
        ("client.client", "import httpx"),
        ("client.client", "from .. import GroupMessage"),
        ("client.client", "def f():\n    import httpx.auth"),
        ("service.service", "import jwt"),
        ("protocol.wire", "import jwt"),
        ("protocol.wire", "from .. import errors"),
        ("protocol.wire", "from .._shell.clock import wall_time"),
        ("protocol.session", "import trio"),
        ("protocol.session", "from time import monotonic"),
        ("protocol.session", "import os.path"),
        ("protocol.tokens", "import datetime\ndatetime.datetime.now()"),
        ("protocol.tokens", "from datetime import date\ndate.today()"),
        ("emulator.hub.hub", "import trio"),
        ("emulator.hub.hub", "from ...listener import Listener"),
        ("emulator.hub.hub", "from ..rest import handle"),
        ("emulator.hub.hub", "from random import choice"),
    ],
)
def test_a_breach_is_found(module: str, source: str) -> None:
    assert len(breaches(module, source)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("protocol.wire", "import msgspec\nfrom collections.abc import Mapping\nfrom . import messages"),
        ("protocol.tokens", "import jwt\nfrom datetime import datetime, timezone\ndatetime.fromtimestamp(0)"),
        ("client.client", "import trio\nfrom ..errors import ClientStopped\nfrom .._shell.clock import wall_time"),
        ("emulator.hub.hub", "from ...protocol import wire\nfrom .roles import Roles"),
        ("cli", "from .emulator import serve_emulator\nfrom . import client"),
    ],
)
def test_what_is_allowed_is_no_breach(module: str, source: str) -> None:
    assert breaches(module, source) == []


def test_relative_imports_of_a_package_start_in_it() -> None:
    source = "from .client import open_client\nfrom ..protocol import wire\n"
    assert list(imports("client", source, is_package=True)) == ["client.client.open_client", "protocol.wire"]


def test_the_tests_of_pure_modules_do_without_trio() -> None:
    importing = [
        str(path.relative_to(ROOT))
        for directory in PURE_TESTS
        for path in sorted((ROOT / directory).rglob("*.py"))
        for name in imports("tests", path.read_text())
        if name.partition(".")[0] in {"trio", "trio_websocket", "pytest_trio"}
    ]
    assert importing == []


def modules_loaded_by(statement: str) -> set[str]:
    """Run a statement in a Python of its own; gives what it loaded."""
    program = (
        f"import json, sys; before = {{*sys.modules}}; {statement}; print(json.dumps([*{{*sys.modules}} - before]))"
    )
    ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, check=True)
    loaded: list[str] = json.loads(ran.stdout)
    return set(loaded)


def test_importing_the_package_loads_nothing_else() -> None:
    loaded = modules_loaded_by(f"import {PACKAGE}")
    assert {name for name in loaded if name.partition(".")[0] not in sys.stdlib_module_names} == {PACKAGE}


def test_using_the_client_loads_the_client_only() -> None:
    loaded = modules_loaded_by(f"from {PACKAGE} import open_client")
    others = ("service", "webhooks", "emulator", "testing", "listener", "cli", "demo")
    unwanted = {
        "trio_websocket",  # the first connection loads it
        "wsproto",
        "h11",
        "httpx",
        "httpcore",
        "jwt",
        "cryptography",
        "google",
        "pytest",
        "rich",
        "azure",
        "opentelemetry",
        "trustme",
    }
    unwanted |= {f"{PACKAGE}.{name}" for name in others}
    assert f"{PACKAGE}.client.opening" in loaded
    assert unwanted.isdisjoint(loaded)


def test_each_part_is_loaded_without_the_client() -> None:
    for part in ("service", "webhooks", "emulator"):
        assert f"{PACKAGE}.client.client" not in modules_loaded_by(f"import {PACKAGE}.{part}")


def test_webhooks_load_what_tokens_of_entra_take_only_for_those_who_check_them() -> None:
    assert {"httpx", "jwt", "cryptography"}.isdisjoint(modules_loaded_by(f"import {PACKAGE}.webhooks"))


def test_testing_is_imported_without_pytest() -> None:
    missing = "sys.modules.update(dict.fromkeys(('pytest', '_pytest', 'pytest_trio')))"
    program = f"import sys; {missing}; import {PACKAGE}.testing"
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)


def test_readme_and_continuous_integration_run_the_same_tests() -> None:
    command = "python -m pip install nox && python -m nox -s tests"
    assert command in (ROOT / "README.md").read_text()
    assert command in (ROOT / ".ci" / "run").read_text()
