"""How this project is checked: ``python -m nox`` runs what has to pass, ``python -m nox -l`` lists all sessions."""

from __future__ import annotations

import filecmp
import re
import shutil
import tarfile
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import nox
import nox.project

nox.needs_version = ">=2025.5.1"
nox.options.sessions = ["tests", "lint", "typing", "docs"]

PROJECT: dict[str, Any] = nox.project.load_toml("pyproject.toml")

OWN_TESTS = {
    "trio_webpubsub/protocol/*": "tests/protocol/",
    "trio_webpubsub/emulator/hub/*": "tests/emulator/hub/",
}
"""The pure modules, and the tests that alone have to cover all of their branches."""

UNWANTED = {
    "ASYNC114": "wants every function with a task_status listed by name",
    "ASYNC124": "would have callbacks, fakes and tests synchronous that have to be async for those who call them",
    "ASYNC127": "advises against httpx",
    "ASYNC401": "would not let a test look at the very group that came",
    "ASYNC910": "asks even private functions for a checkpoint on every path",
    "ASYNC911": "the same of async generators",
    "ASYNC912": "the same of cancel scopes with a deadline",
    "ASYNC913": "misses the checkpoints in a try or a match within a loop",
}
"""Rules of flake8-async that are off, and why."""

NODE_PACKAGES = (
    "@azure/web-pubsub@^1.2",
    "@azure/web-pubsub-client@^1.1",
    "@azure/web-pubsub-express@^1.1",
    "express@^4",
)
"""What the tests with real peers take from npm."""

NODE_PEERS = ("@azure/web-pubsub-client@^1.1", "@azure/web-pubsub-express@^1.1", "express@^4", "ws@^8")
"""What the benchmarks take from there; the last is for a node that has no WebSocket."""

PYTHONS = ("3.11", "3.12", "3.13", "3.14")
"""Where the tests have to pass; nox skips those that are not there, and says so."""

ARCHIVES = Path("dist")
"""Where sdist and wheel are built."""

NOT_IN_THE_SDIST = ("__pycache__", "_build")

PACKAGE = "trio_webpubsub"

SCHEMA = "trio_webpubsub/protocol/webpubsub.proto"


def group(name: str) -> list[str]:
    """Give the requirements of a dependency group, which the pip of Python 3.11 cannot read by itself."""
    return list(nox.project.dependency_groups(PROJECT, name))


def lowest_versions(requirements: Iterable[str]) -> list[str]:
    """Turn lower bounds into exact versions: ``trio>=0.27`` into ``trio==0.27``, whatever else is asked left out."""
    return [re.sub(r">=([^,;\s]+)[^;]*", r"==\1", requirement) for requirement in requirements]


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests and measure what they cover, branches included."""
    session.install("--editable", ".", *group("test"))
    session.run("coverage", "run", "-m", "pytest", *session.posargs)
    if session.posargs:
        return  # some of the tests cover some of the code
    for modules, own_tests in OWN_TESTS.items():
        if any(Path().glob(f"{modules}.py")):
            # The nameless context is what runs while the tests are imported: definitions.
            session.log(f"{modules}, by {own_tests}:")
            report = ["--include", modules, "--contexts", f"^$,^{re.escape(own_tests)}", "--fail-under=100"]
            session.run("coverage", "report", "--precision=2", *report)
    session.log("all of the package, by all of the tests:")
    session.run("coverage", "report", "--fail-under=95")


@nox.session(python=PYTHONS)
def pythons(session: nox.Session) -> None:
    """Run the tests with the newest versions of all that is imported, on each Python that is there."""
    session.install("--upgrade", "--editable", ".", *group("test"))
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session(python=PYTHONS[0])
def lowest(session: nox.Session) -> None:
    """Run the tests with the lowest versions that pyproject.toml allows, of what we import and of what tests it."""
    pinned = lowest_versions([*PROJECT["project"]["dependencies"], *group("test")])
    session.install("--editable", ".", *pinned)
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check form and style."""
    session.install(*group("lint"))
    session.run("ruff", "format", "--check", ".")
    session.run("ruff", "check", ".")
    files = [file for directory in ("trio_webpubsub", "tests", "docs") for file in Path(directory).rglob("*.py")]
    asynchronous = [str(file) for file in files if "async " in file.read_text()]  # the rest takes long
    session.run("flake8-async", f"--disable={','.join(UNWANTED)}", *asynchronous)
    session.notify("protobuf", ["--check"])


@nox.session
def protobuf(session: nox.Session) -> None:
    """Write the module that is generated from the protobuf schema; with --check only say whether it is up to date."""
    session.install(*group("protobuf"))
    check = "--check" in session.posargs
    output = Path(session.create_tmp() if check else ".")
    session.run("python", "-m", "grpc_tools.protoc", "-I.", f"--python_out={output}", f"--mypy_out={output}", SCHEMA)
    for suffix in ("_pb2.py", "_pb2.pyi"):
        name = SCHEMA.replace(".proto", suffix)
        if not filecmp.cmp(name, output / name, shallow=False):
            session.error(f"{name} is not what {SCHEMA} gives: run nox -s protobuf")


@nox.session
def typing(session: nox.Session) -> None:
    """Check the types, and that every public name has one."""
    session.install("--editable", ".", *group("typing"))
    session.run("mypy")
    session.run("pyright")
    session.run("pyright", "--verifytypes", "trio_webpubsub", "--ignoreexternal")


@nox.session
def docs(session: nox.Session) -> None:
    """Check the spelling, and build the documentation into docs/_build/html, where a warning is an error."""
    session.install("--editable", ".", *group("docs"))
    session.run("codespell", "README.md", "docs", "trio_webpubsub", "noxfile.py")
    session.run("sphinx-build", "-W", "--keep-going", "-E", "-q", "-b", "html", "docs", "docs/_build/html")
    session.run("python", "-m", "pytest", "docs")


@nox.session
def links(session: nox.Session) -> None:
    """Follow every link of the documentation to other places; those within it are checked where it is built."""
    session.install("--editable", ".", *group("docs"))
    session.run("sphinx-build", "-E", "-q", "-b", "linkcheck", "docs", str(Path(session.create_tmp(), "links")))


@nox.session
def interop(session: nox.Session) -> None:
    """Run the tests with real peers: the official packages, unmodified; those for JavaScript where node is."""
    session.install("--editable", ".[protobuf]", *group("test"), *group("interop"))
    environment: dict[str, str] = {}
    if shutil.which("npm") is None:
        session.warn("there is no npm: the packages for JavaScript are left out")
    else:
        scratch = session.create_tmp()
        session.run("npm", "install", "--prefix", scratch, "--no-save", "--silent", *NODE_PACKAGES, external=True)
        environment["TRIO_WEBPUBSUB_NODE_MODULES"] = str(Path(scratch, "node_modules").absolute())
    session.run("python", "-m", "pytest", "tests/interop", *session.posargs, env=environment)


@nox.session
def build(session: nox.Session) -> None:
    """Build sdist and wheel into dist, once more elsewhere from that sdist, and check bytes and contents."""
    session.install(*group("build"))
    shutil.rmtree(ARCHIVES, ignore_errors=True)
    command = ("python", "-m", "build", "--no-isolation", "--outdir")
    session.run(*command, str(ARCHIVES.absolute()), ".", silent=True)
    scratch = Path(session.create_tmp())
    again = unpacked(scratch)
    session.run(*command, str(scratch / "again"), str(again), silent=True)
    for archive in sorted(ARCHIVES.iterdir()):
        if not filecmp.cmp(archive, scratch / "again" / archive.name, shallow=False):
            session.error(f"{archive.name} has other bytes when it is built again")
        session.log(f"{archive.name}: the same bytes twice")
    for problem in (*problems_of_wheel(), *problems_of_sdist(again)):
        session.error(problem)


@nox.session(requires=["build"])
def wheel(session: nox.Session) -> None:
    """Install the wheel, away from the sources, and run against it the tests that stand in the sdist."""
    (archive,) = ARCHIVES.glob("*.whl")
    session.install(str(archive), *group("test"))
    place = unpacked(Path(session.create_tmp()))
    shutil.rmtree(place / PACKAGE)  # so that only the installed one is there to be imported
    session.chdir(place)
    session.run("python", "-c", f"import {PACKAGE}; assert 'site-packages' in {PACKAGE}.__file__, {PACKAGE}.__file__")
    session.run("python", "-m", "pytest", *session.posargs)


def unpacked(directory: Path) -> Path:
    """Unpack the sdist afresh; gives what is in it."""
    (archive,) = ARCHIVES.glob("*.tar.gz")
    shutil.rmtree(directory / "unpacked", ignore_errors=True)
    with tarfile.open(archive) as sdist:
        sdist.extractall(directory / "unpacked", filter="data")
    (place,) = (directory / "unpacked").iterdir()
    return place.absolute()


def problems_of_wheel() -> Iterator[str]:
    """Say what is wrong in the wheel: it holds the package, all of it, and what describes it."""
    (archive,) = ARCHIVES.glob("*.whl")
    names = set(zipfile.ZipFile(archive).namelist())
    described = f"{PACKAGE}-{archive.name.split('-')[1]}.dist-info"
    expected = {
        f"{described}/{name}" for name in ("METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE")
    }
    expected |= {str(file) for file in files_below(Path(PACKAGE))}
    yield from (f"{archive.name} lacks {name}" for name in sorted(expected - names))
    yield from (f"{archive.name} holds {name}" for name in sorted(names - expected))


def problems_of_sdist(place: Path) -> Iterator[str]:
    """Say what the sdist lacks of what building, testing and documenting the package takes."""
    files = ("pyproject.toml", "noxfile.py", "README.md", "LICENSE", ".ci/run")
    expected = [*map(Path, files), *(file for name in (PACKAGE, "tests", "docs") for file in files_below(Path(name)))]
    yield from (f"the sdist lacks {file}" for file in expected if not (place / file).is_file())


def files_below(directory: Path) -> Iterator[Path]:
    """Give the files that belong to the sources."""
    for file in directory.rglob("*"):
        if file.is_file() and not set(file.parts).intersection(NOT_IN_THE_SDIST):
            yield file


@nox.session
def imports(session: nox.Session) -> None:
    """Measure how long importing takes, beside the official packages; the times are printed, none is judged."""
    official = ("azure.messaging.webpubsubclient", "azure.messaging.webpubsubservice")
    parts = [f"{PACKAGE}.{part}" for part in ("service", "webhooks", "emulator")]
    modules = (*parts, *official, *(f"{module}.aio" for module in official))
    client = f"from {PACKAGE} import open_client"  # the package alone does not load it
    statements = ("import trio", f"import {PACKAGE}", client, *(f"import {module}" for module in modules))
    session.install(".", *(peer for peer in group("bench") if peer.startswith(("aiohttp", "azure-"))))
    session.run("python", "tests/benchmarks/imports.py", *session.posargs, *statements)


@nox.session
def demo(session: nox.Session) -> None:
    """Install the package as its users do, away from the sources, and run its demo."""
    session.install(".")
    session.chdir(session.create_tmp())
    session.run("python", "-m", "trio_webpubsub", "demo", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Measure the speed beside that of the peers; the numbers are printed, none is judged. Try --quick, or --help."""
    session.install("--editable", ".[speed]", *group("bench"))
    directory = session.create_tmp()
    environment: dict[str, str] = {}
    if shutil.which("npm"):
        with session.chdir(directory):
            session.run("npm", "install", "--silent", "--no-fund", "--no-audit", *NODE_PEERS, external=True)
        environment["NODE_DIRECTORY"] = str(Path(directory).resolve())
    session.run("python", "tests/benchmarks", *session.posargs, env=environment)


@nox.session
def fuzz(session: nox.Session) -> None:
    """Spoil far more input than the tests do."""
    session.install("--editable", ".", *group("test"))
    rounds = {"FUZZ_ROUNDS": "200000"}
    session.run("python", "-m", "pytest", "--timeout=3600", "tests/fuzz", *session.posargs, env=rounds)


@nox.session
def simulate(session: nox.Session) -> None:
    """Simulate networks and services that fail, for ``-- --hours 1``, or one run again with ``-- --seed N``."""
    session.install("--editable", ".", *group("test"))
    session.run("python", "-m", "tests.simulation", *session.posargs)


@nox.session
def mutants(session: nox.Session) -> None:
    """Plant defects in copies of the package, and see whether the simulation notices each of them."""
    session.install("--editable", ".", *group("test"))
    session.run("python", "-m", "tests.simulation.mutants", *session.posargs)


@nox.session
def chaos(session: nox.Session) -> None:
    """Break real connections on this machine, over TCP and TLS, some thousands of times."""
    session.install("--editable", ".", *group("test"))
    session.run("python", "-m", "tests.simulation.chaos", *session.posargs)
