"""The command line: ``trio-webpubsub COMMAND``, or ``python -m trio_webpubsub COMMAND``.

Each command has a module of its own, which describes its options (``describe``) and does what it is for (``run``). Only
the module of the command that is asked for is loaded.
"""

import sys

try:
    import signal
except KeyboardInterrupt:  # it takes as long as the rest of Python's start, so that Ctrl-C can well come in it
    sys.exit(130)

__all__ = ["main"]


def main() -> int:
    """Run the command that this process was started for; gives the status with which it should exit.

    Ctrl-C ends the process at once and without a word while it starts and while it ends; in between a command ends in
    good order.

    Raises:
        SystemExit: the arguments cannot be understood (2), or ask for help (0).
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # and is not ignored, as after nohup
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    from .program import main as run_program  # only now: it takes a while to load

    return run_program(sys.argv[1:])
