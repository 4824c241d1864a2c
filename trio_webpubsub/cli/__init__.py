"""The command line: ``trio-webpubsub COMMAND``, or ``python -m trio_webpubsub COMMAND``.

Each command has a module of its own, which describes its options (``describe``) and does what it is for (``run``). Only
the module of the command that is asked for is loaded.
"""

from .program import main

__all__ = ["main"]
