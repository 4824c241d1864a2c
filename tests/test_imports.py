"""Importing is only that: no module of ours opens, starts or changes anything."""

from __future__ import annotations

import json
import pkgutil
import subprocess
import sys
from pathlib import Path

import trio_webpubsub

PACKAGE = trio_webpubsub.__name__

OTHERS = (
    *("asyncio", "concurrent.futures", "logging.handlers", "multiprocessing", "urllib.request", "rich.console"),
    *("trio", "trio.testing", "trio_websocket", "wsproto", "h11", "httpx", "httpcore", "jwt", "msgspec"),
    *("google.protobuf.any_pb2", "opentelemetry.trace", "opentelemetry.propagate", "trustme", "websockets"),
    *("pytest", "pytest_trio"),
)
"""What ours import, loaded before, so that what is seen is ours."""

LOOK_ON = """
import atexit, gc, json, locale, logging, os, random, signal, socket, sys, threading, traceback, warnings
from contextlib import suppress
from importlib import import_module

TOUCHING = ("socket.", "subprocess.", "os.", "shutil.", "tempfile.", "signal.", "urllib.", "_thread.", "ctypes.")
READING = ("os.listdir", "os.scandir")  # as the import system does
events = []

def note(event, arguments):
    if event == "open":
        path = os.fsdecode(arguments[0]) if isinstance(arguments[0], (str, bytes)) else ""
        if path.endswith((".py", ".so", ".pyd")) or ".pyc" in path:
            return
    elif not event.startswith(TOUCHING) or event in READING:
        return
    events.append(f"{event} {arguments!r:.200}")

def state():
    loggers = dict(logging.root.manager.loggerDict)
    return {
        "warnings": repr(warnings.filters),
        "hooks": repr((sys.excepthook, sys.unraisablehook, sys.displayhook, threading.excepthook, sys.breakpointhook)),
        "tracing": repr((sys.gettrace(), sys.getprofile(), sys.get_asyncgen_hooks())),
        "signals": repr([signal.getsignal(each) for each in sorted(signal.valid_signals())]),
        "threads": repr([thread.name for thread in threading.enumerate()]),
        "root log": repr((logging.root.handlers, logging.root.level, logging.root.filters, logging.lastResort)),
        "log handlers": repr({name: log.handlers for name, log in loggers.items() if getattr(log, "handlers", None)}),
        "log levels": repr({name: log.level for name, log in loggers.items() if getattr(log, "level", 0)}),
        "log classes": repr((logging.getLoggerClass(), logging.getLogRecordFactory(), logging.root.manager.disable)),
        "exit functions": repr(atexit._ncallbacks()),
        "environment": repr(sorted(os.environ.items())),
        "directory": os.getcwd(),
        "paths": repr((sys.path, sys.path_hooks, sys.meta_path)),
        "limits": repr((sys.getrecursionlimit(), gc.get_threshold(), gc.isenabled(), socket.getdefaulttimeout())),
        "chance": repr(hash(random.getstate())),
        "locale": locale.setlocale(locale.LC_ALL),
        "streams": repr((sys.stdin, sys.stdout, sys.stderr)),
        "builtins": repr(sorted(vars(sys.modules["builtins"]))),
        "descriptors": repr(sorted(os.listdir("/proc/self/fd"))) if os.path.isdir("/proc/self/fd") else "",
    }

def effects(module):
    before = state()
    events.clear()
    try:
        import_module(module)
    except BaseException:  # whatever it is, it is the effect
        return [traceback.format_exc()]
    seen = list(events)
    after = state()
    changed = [name for name in before if before[name] != after[name]]
    return seen + [f"{name}: {before[name]:.200} -> {after[name]:.200}" for name in changed]

others, modules = json.loads(sys.argv[1])
for name in others:
    with suppress(ImportError):
        import_module(name)
assert not set(modules) & set(sys.modules)
sys.addaudithook(note)
print(json.dumps({module: found for module in modules if (found := effects(module))}))
"""


def effects_of_importing(modules: list[str], directory: Path) -> dict[str, list[str]]:
    """Import some modules, one after the other, in a Python of their own; gives what happened besides."""
    # Without -B the import system writes what it compiled.
    command = [sys.executable, "-B", "-W", "ignore", "-c", LOOK_ON, json.dumps([OTHERS, modules])]
    ran = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=True)
    found: dict[str, list[str]] = json.loads(ran.stdout)
    return found


def test_importing_does_nothing_else() -> None:
    modules = [module.name for module in pkgutil.walk_packages(trio_webpubsub.__path__, f"{PACKAGE}.")]
    modules.remove(f"{PACKAGE}.__main__")  # which is a program
    assert effects_of_importing([PACKAGE, *modules], Path(trio_webpubsub.__file__).parent.parent) == {}


EFFECTS = {
    "opens_a_file": "open('file.txt', 'w').close()",
    "opens_a_socket": "import socket\nkept = socket.socket()",
    "starts_a_thread": "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()",
    "starts_a_program": "import subprocess\nsubprocess.run(['true'])",
    "handles_a_signal": "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)",
    "filters_warnings": "import warnings\nwarnings.simplefilter('ignore', ResourceWarning)",
    "logs": "import logging\nlogging.basicConfig()",
    "handles_logs": "import logging\nlogging.getLogger('a.b').addHandler(logging.NullHandler())",
    "hooks_exceptions": "import sys\nsys.excepthook = print",
    "registers_an_exit": "import atexit\natexit.register(print)",
    "changes_the_environment": "import os\nos.environ['X'] = '1'",
    "seeds": "import random\nrandom.seed(1)",
    "extends_the_path": "import sys\nsys.path.append('x')",
    "fails": "raise RuntimeError",
}


def test_what_importing_does_besides_is_seen(tmp_path: Path) -> None:
    for name, source in EFFECTS.items():
        (tmp_path / f"{name}.py").write_text(source)
    (tmp_path / "quiet.py").write_text("import logging\nlogger = logging.getLogger(__name__)\n")
    assert effects_of_importing(["quiet", *EFFECTS], tmp_path).keys() == EFFECTS.keys()
