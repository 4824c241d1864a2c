"""The client beside its peers. Every run is a process of its own, and the load comes from another one."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import load
import trustme
from rounds import OURS, Scenario, run_peer

AIO, SYNC, JS = "official_aio", "official_sync", "official_js"
AIOHTTP, PICOWS, STOCK = "bare_aiohttp", "bare_picows", "stock_trio_websocket"
RECEIVERS = (AIO, SYNC, JS, AIOHTTP, PICOWS, STOCK)
SENDERS = (AIO, SYNC, JS)
SLOWER = {SYNC: 20, AIO: 4, STOCK: 4}
"""Who is given so many times fewer messages, or a run would take an hour. Their rate does not depend on how many."""


@dataclass(frozen=True)
class Load:
    """Where the load generator listens."""

    url: str
    secure_url: str
    roots: str
    """The file with the certificate of the authority."""


@contextmanager
def generator() -> Iterator[Load]:
    """Run the load generator, without and with TLS."""
    with tempfile.TemporaryDirectory() as directory, ExitStack() as stack:
        authority = trustme.CA()
        certificate = authority.issue_cert("localhost", "127.0.0.1")
        pem, roots = Path(directory, "server.pem"), Path(directory, "roots.pem")
        certificate.private_key_and_cert_chain_pem.write_to_path(str(pem))
        authority.cert_pem.write_to_path(str(roots))
        plain, port = load.start()
        secure, secure_port = load.start(str(pem))
        for process in (plain, secure):
            stack.callback(process.terminate)
        yield Load(f"ws://127.0.0.1:{port}", f"wss://localhost:{secure_port}", str(roots))


def scenarios(there: Load) -> list[Scenario]:
    """Give what is measured."""

    def runner(what: str, hub: str, count: int, size: int, *, tls: bool = False) -> Callable[[str, float], float]:
        def run(name: str, scale: float) -> float:
            messages = max(100, int(count * scale) // SLOWER.get(name, 1))
            base = there.secure_url if tls else there.url
            url = f"{base}/client/hubs/{hub}_{messages}_{size}?access_token=none"
            seconds = run_peer(name, what, url, messages, size, environment={"SSL_CERT_FILE": there.roots})
            return seconds * 1e6 if what == "ack_each" else messages / seconds

        return run

    def receive(size: int, count: int, *, tls: bool = False) -> Callable[[str, float], float]:
        return runner("receive", "receive", count, size, tls=tls)

    return [
        Scenario(
            name="receive 100 B",
            run=receive(100, 200_000),
            peers=RECEIVERS,
            goals={AIO: (10, 15), SYNC: (50, 60), JS: (1.5, 2), AIOHTTP: (0.6, 1), PICOWS: (0.35, 0.6)},
        ),
        Scenario(name="receive 100 B, in lists", run=runner("batches", "receive", 200_000, 100)),
        Scenario(
            name="receive 1 KB", run=receive(1_000, 100_000), peers=RECEIVERS, goals={AIO: (3.8, 5), JS: (1.1, 1.5)}
        ),
        Scenario(name="receive 64 KB", run=receive(64_000, 3_000), peers=RECEIVERS, goals={AIO: (1, 1.2)}),
        Scenario(
            name="receive 100 B over TLS",
            run=receive(100, 200_000, tls=True),
            peers=(AIO,),
            goals={AIO: (9, 13)},
        ),
        Scenario(
            name="receive 1 KB over TLS", run=receive(1_000, 100_000, tls=True), peers=(AIO,), goals={AIO: (2.5, 3.5)}
        ),
        Scenario(
            name="acked sends, 100 at once",
            run=runner("ack_many", "ack", 20_000, 100),
            peers=(AIO, JS),  # the synchronous one overhears early acks, and then waits half a minute for each
            goals={AIO: (7, 9), JS: (1.5, 2)},
        ),
        Scenario(
            name="an acked send after the other",
            unit=" µs",
            run=runner("ack_each", "ack", 2_000, 100),
            peers=SENDERS,
            goals={AIO: (0.6, 0.45)},
            less_is_better=True,
        ),
        Scenario(
            name="sends without ack",
            run=runner("no_ack", "count", 50_000, 100),
            peers=SENDERS,
            goals={AIO: (15, 20), JS: (3, 4)},
        ),
        Scenario(
            name="hand-overs to 100 subscriptions in one client",
            run=lambda name, scale: 100 * runner("fan_out", "receive", 20_000, 100)(name, scale),
            limit=(1_500_000, 3_000_000),
        ),
        Scenario(
            name="memory of an idle client",
            unit=" KB",
            run=lambda name, scale: run_peer(
                name, "idle", f"{there.url}/client/hubs/ack_1_1?access_token=none", 300, 0
            ),
            less_is_better=True,
            limit=(40, 28),
        ),
        Scenario(
            name="processor time of 1,000 idle clients, with keep-alive",
            unit=" % of a core",
            run=lambda name, _: run_peer(
                name, "sleep 4", f"{there.url}/client/hubs/ack_1_1?access_token=none", 1000, 0
            ),
            less_is_better=True,
            limit=(1, 1),
        ),
        Scenario(
            name="processor time of 1,000 idle clients, without keep-alive",
            unit=" % of a core",
            run=lambda name, _: run_peer(
                name, "sleep inf", f"{there.url}/client/hubs/ack_1_1?access_token=none", 1000, 0
            ),
            less_is_better=True,
            limit=(0.1, 0.1),
        ),
    ]


__all__ = ["OURS", "Load", "generator", "scenarios"]
