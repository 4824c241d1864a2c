"""Test programs against everything that a network and a service can do to them, on a virtual clock.

A `SimulatedNetwork` stands between clients and an emulator in memory. What goes wrong is decided by the test, or by a
seed: `random_faults` plans it, and `play` lets it happen. Under `simulate` a whole run follows from its seed, and can
be repeated byte by byte. `cancel_at` cancels a call at a checkpoint of one's choice. With pytest and pytest-trio,
``pytest_plugins = ["trio_webpubsub.testing.pytest_plugin"]`` brings fixtures.
"""

from .cancellation import cancel_at
from .determinism import seeded, simulate
from .factories import OpenClient, OpenService
from .faults import FAULT_KINDS, Fault, FaultKind, play, random_faults
from .link import Direction, LinkCut
from .network import ProviderFault, Server, SimulatedNetwork

__all__ = [
    "FAULT_KINDS",
    "Direction",
    "Fault",
    "FaultKind",
    "LinkCut",
    "OpenClient",
    "OpenService",
    "ProviderFault",
    "Server",
    "SimulatedNetwork",
    "cancel_at",
    "play",
    "random_faults",
    "seeded",
    "simulate",
]
