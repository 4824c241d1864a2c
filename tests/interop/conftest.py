"""Tests with real peers: ``python -m nox -s interop`` installs the official packages and runs them.

Without those packages nothing here is collected.
"""

from __future__ import annotations

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("azure") is not None else ["test_*.py"]
