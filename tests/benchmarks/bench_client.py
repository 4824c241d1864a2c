"""The client beside its peers: ``python tests/benchmarks/bench_client.py [--quick] [--only NAME]``.

Every run is a process of its own, and the load comes from another one. In each round every peer has its turn, so that
whatever else the machine does falls on all; what counts is the median of the rounds' ratios.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import load

PEERS = Path(__file__).parent / "peers"
ROUNDS = 7
RECEIVERS = ("official_aio", "official_sync", "official_js", "bare_aiohttp", "bare_picows", "stock_trio_websocket")
SENDERS = ("official_aio", "official_sync", "official_js")


@dataclass(frozen=True)
class Scenario:
    """Something to measure."""

    name: str
    run: str
    """What the peers' programs are told."""
    hub: str
    """What the load generator is told."""
    count: int
    size: int
    peers: tuple[str, ...]
    fewer: int = 20
    """The official client with threads gets so many times fewer messages, or it would take minutes."""
    tls: bool = False


SCENARIOS = (
    Scenario("receive 100 B", "receive", "receive", 200_000, 100, RECEIVERS),
    Scenario("receive 100 B, in lists", "batches", "receive", 200_000, 100, ()),
    Scenario("receive 1 KB", "receive", "receive", 100_000, 1_000, RECEIVERS),
    Scenario("receive 64 KB", "receive", "receive", 3_000, 64_000, RECEIVERS),
    Scenario("receive 100 B over TLS", "receive", "receive", 200_000, 100, ("official_aio",), tls=True),
    Scenario("receive 1 KB over TLS", "receive", "receive", 100_000, 1_000, ("official_aio",), tls=True),
    Scenario("acked sends, 100 at once", "ack_many", "ack", 20_000, 100, SENDERS),
    Scenario("an acked send", "ack_each", "ack", 2_000, 100, SENDERS),
    Scenario("sends without ack", "no_ack", "count", 50_000, 100, SENDERS),
)


@contextmanager
def services() -> Iterator[tuple[int, int, str]]:
    """Run the load generators; gives the port without and with TLS, and the file with the authority's certificate."""
    import trustme

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
        yield port, secure_port, str(roots)


def run(peer: str, scenario: Scenario, url: str, environment: dict[str, str]) -> float | None:
    """Let a peer do it once; gives messages a second (for single sends: seconds of one), or ``None`` if it cannot."""
    count = scenario.count // (scenario.fewer if peer == "official_sync" else 1)
    hub = f"{scenario.hub}_{count}_{scenario.size}"
    if peer == "official_js":
        if (node := shutil.which("node")) is None:
            return None
        command = [node, str(PEERS / "official_js.mjs")]
    else:
        command = [sys.executable, str(PEERS / f"{peer}.py")]
    arguments = [scenario.run, f"{url}/client/hubs/{hub}?access_token=none", str(count), str(scenario.size)]
    directory = os.environ.get("NODE_DIRECTORY") if peer == "official_js" else None
    done = subprocess.run(
        [*command, *arguments],
        env=environment,
        capture_output=True,
        check=False,
        text=True,
        timeout=120,
        cwd=directory,
    )
    if done.returncode:
        print(f"{peer}, {scenario.name}: {(done.stderr.strip() or '?').splitlines()[-1]}", file=sys.stderr)
        return None
    seconds = float(done.stdout)
    return seconds if scenario.run == "ack_each" else count / seconds


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="three rounds of a quarter of the messages")
    parser.add_argument("--only", default="", help="scenarios whose names contain this")
    parser.add_argument("--peers", default="", help="these alone, with commas between")
    options = parser.parse_args()
    rounds = 3 if options.quick else ROUNDS
    with services() as (port, secure_port, roots):
        environment = dict(os.environ) | {"SSL_CERT_FILE": roots, "PYTHONPATH": os.getcwd()}
        for scenario in SCENARIOS:
            if options.only not in scenario.name:
                continue
            if options.quick:
                scenario = Scenario(**(vars(scenario) | {"count": scenario.count // 4}))
            url = f"wss://localhost:{secure_port}" if scenario.tls else f"ws://127.0.0.1:{port}"
            wanted = options.peers.split(",") if options.peers else scenario.peers
            measure(scenario, [peer for peer in scenario.peers if peer in wanted], url, rounds, environment)


def measure(scenario: Scenario, peers: list[str], url: str, rounds: int, environment: dict[str, str]) -> None:
    """Measure one scenario, and print it."""
    rates: dict[str, list[float | None]] = {peer: [] for peer in ("ours", *peers)}
    for _ in range(rounds):
        for peer, taken in rates.items():
            taken.append(run(peer, scenario, url, environment))
    ours = [rate for rate in rates["ours"] if rate is not None]
    print(f"{scenario.name}: ours {shown(scenario, statistics.median(ours))}")
    for peer in peers:
        pairs = [(mine, other) for mine, other in zip(rates["ours"], rates[peer], strict=True) if mine and other]
        if pairs:
            ratio = statistics.median(mine / other for mine, other in pairs)
            print(f"    {peer:22} {shown(scenario, statistics.median(pair[1] for pair in pairs)):>14}   x {ratio:.2f}")
    sys.stdout.flush()


def shown(scenario: Scenario, value: float) -> str:
    """Give a figure with its unit."""
    return f"{value * 1e6:,.0f} µs" if scenario.run == "ack_each" else f"{value:,.0f}/s"


if __name__ == "__main__":
    main()
