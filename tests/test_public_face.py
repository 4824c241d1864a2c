"""Every public name (those in a package's ``__all__``) is documented, annotated, and exported in one place."""

from __future__ import annotations

import ast
import importlib
import inspect
import itertools
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import trio_webpubsub

SOURCES = Path(trio_webpubsub.__file__).parent
DOCS = Path(__file__).parent.parent / "docs"


PARTS = ("service", "webhooks", "emulator", "testing")
"""The packages that users import from, beside the package itself."""


def public_names() -> Iterator[tuple[str, Any]]:
    """Give all that is exported, name and value."""
    parts = [part for part in PARTS if (SOURCES / part / "__init__.py").exists()]
    for package in [trio_webpubsub, *(importlib.import_module(f"trio_webpubsub.{part}") for part in parts)]:
        for name in getattr(package, "__all__", ()):
            yield name, getattr(package, name)


def described_values() -> set[str]:
    """Find the names that are assigned with a docstring below: a type alias or a constant has no other."""
    found: set[str] = set()
    for path in SOURCES.rglob("*.py"):
        body = ast.parse(path.read_text()).body
        for statement, below in itertools.pairwise(body):
            if (
                isinstance(statement, (ast.Assign, ast.AnnAssign))
                and isinstance(below, ast.Expr)
                and isinstance(below.value, ast.Constant)
                and isinstance(below.value.value, str)
            ):
                targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
                found |= {target.id for target in targets if isinstance(target, ast.Name)}
    return found


def is_ours(value: Any) -> bool:
    return str(value.__module__).startswith(trio_webpubsub.__name__)


def functions_of(value: Any) -> Iterator[Callable[..., Any]]:
    """Give a public function itself; of a class all of ours that a user may call, inherited or not."""
    if not isinstance(value, type):
        yield value
        return
    for owner in value.__mro__:
        if not is_ours(owner):
            continue
        for name in vars(owner):
            member = inspect.getattr_static(value, name)
            function = member.fget if isinstance(member, property) else getattr(value, name)
            if inspect.isroutine(function) and is_ours(function) and (name == "__init__" or not name.startswith("_")):
                yield function


def what_is_missing(name: str, value: Any, described: set[str]) -> list[str]:
    """Say what a public name lacks."""
    if not (isinstance(value, type) or inspect.isroutine(value)):  # a constant or an alias
        return [] if name in described else [f"{name}: docstring"]
    missing: list[str] = []
    if isinstance(value, type) and (not value.__doc__ or value.__doc__.startswith(f"{value.__name__}(")):
        missing.append(f"{name}: docstring")
    for function in functions_of(value):
        where = function.__qualname__
        text = inspect.getdoc(function) or ""
        if not text and function.__name__ != "__init__":
            missing.append(f"{where}: docstring")
        unwrapped = inspect.unwrap(function)
        waits = inspect.iscoroutinefunction(unwrapped) or inspect.isasyncgenfunction(unwrapped)
        if waits and "cancellation" not in text.lower():
            missing.append(f"{where}: a paragraph on cancellation")
        signature = inspect.signature(unwrapped)
        parameters = [parameter for parameter in signature.parameters.values() if parameter.name not in {"self", "cls"}]
        missing += [f"{where}: type of {one.name}" for one in parameters if one.annotation is one.empty]
        if signature.return_annotation is signature.empty:
            missing.append(f"{where}: type of what it returns")
    return missing


def test_every_public_name_is_documented_and_annotated() -> None:
    described = described_values()
    assert [line for name, value in public_names() for line in what_is_missing(name, value, described)] == []


def test_every_public_name_is_exported_once() -> None:
    names = [name for name, _ in public_names()]
    assert sorted({name for name in names if names.count(name) > 1}) == []


def test_every_public_name_stands_in_the_reference() -> None:
    pages = "".join(page.read_text() for page in (DOCS / "reference").glob("*.rst"))
    listed = re.findall(r"^\.\. auto(?:function|class|exception|data):: (\w+)", pages, re.MULTILINE)
    assert set(listed) ^ {name for name, _ in public_names()} == set()
    assert len(listed) == len(set(listed))


def test_every_public_name_is_shown_to_type_checkers() -> None:
    shown = "".join(page.read_text() for page in (Path(__file__).parent / "typing").glob("*.py"))
    words = set(re.findall(r"\w+", shown))
    assert [name for name, _ in public_names() if name not in words] == []


POOR = """
class Poor:
    def run(self, speed, to: int):
        pass

    async def wait(self) -> None:
        'Wait.'

    @property
    def done(self) -> bool:
        pass

    @classmethod
    def make(cls) -> None:
        'Make.'
"""


def test_what_is_missing_is_found() -> None:
    namespace: dict[str, Any] = {"__name__": f"{trio_webpubsub.__name__}.example"}
    exec(POOR, namespace)
    assert what_is_missing("Poor", namespace["Poor"], set()) == [
        "Poor: docstring",
        "Poor.run: docstring",
        "Poor.run: type of speed",
        "Poor.run: type of what it returns",
        "Poor.wait: a paragraph on cancellation",
        "Poor.done: docstring",
    ]


def test_a_value_is_documented_where_it_is_assigned() -> None:
    described = described_values()
    assert "DataType" in described
    assert what_is_missing("DataType", int | str, described) == []
    assert what_is_missing("Undescribed", int | str, described) == ["Undescribed: docstring"]
