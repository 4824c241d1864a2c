"""The official client with threads: ``python official_sync.py SCENARIO URL COUNT SIZE`` prints seconds."""

from __future__ import annotations

import statistics
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from azure.messaging.webpubsubclient import WebPubSubClient
from azure.messaging.webpubsubclient.models import WebPubSubDataType


def main(scenario: str, url: str, count: int, size: int) -> None:
    """Run one scenario."""
    data = "x" * size
    came = 0
    counting = threading.Lock()  # it calls back from a thread for each message
    done = threading.Event()
    wanted = count if scenario == "receive" else 1
    client = WebPubSubClient(url, auto_reconnect=False, auto_rejoin_groups=False, reconnect_retry_total=0)

    def heard(_: Any) -> None:
        nonlocal came
        with counting:
            came += 1
            if came == wanted:
                done.set()

    def send(*, ack: bool = True) -> None:
        client.send_to_group("lobby", data, WebPubSubDataType.TEXT, ack=ack)

    client.subscribe("group-message", heard)
    with client:
        start = time.perf_counter()
        match scenario:
            case "receive":
                client.send_to_group("go", "go", WebPubSubDataType.TEXT, ack=False)
                done.wait()
            case "ack_each":
                times: list[float] = []
                for _ in range(count):
                    begin = time.perf_counter()
                    send()
                    times.append(time.perf_counter() - begin)
            case "ack_many":
                with ThreadPoolExecutor(100) as pool:
                    for future in [pool.submit(send) for _ in range(count)]:
                        future.result()
            case _:
                for _ in range(count):
                    send(ack=False)
                done.wait()
        seconds = time.perf_counter() - start
    print(statistics.median(times) if scenario == "ack_each" else seconds)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
