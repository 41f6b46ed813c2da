"""What a server's memory comes to while many clients send photos at once, and whether they get their turns.

    python -m restorer.bench uploads --photos 50 --clients 8

The work behind the page and the interface, without HTTP, in this process: each client is a thread that sends its share
of the photos and waits for none. All are restored by the built-in model. Memory is what this process has resident.
"""

from __future__ import annotations

import argparse
import io
import json
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from restorer.bench.tools.albums import picture

SIZE = (1200, 900)


def resident() -> float:
    """Return the MiB that this process has resident now, as Linux tells."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * 4096 / 2**20


def measured(count: int, clients: int, data: Sequence[bytes]) -> dict[str, Any]:
    """Send so many photos by so many clients; return how memory went, and how even the clients' turns were."""
    from restorer.options import Options
    from restorer.server.service import Service

    service = Service(Options(model="tiny", detector="tiny-detector", background="lanczos", offline=True, always=True))
    peak, over = resident(), threading.Event()

    def watch() -> None:
        nonlocal peak
        while not over.wait(0.05):
            peak = max(peak, resident())

    first = service.submit(service.receive(io.BytesIO(data[0]), "first.jpg", "first"))
    first.over.wait()
    before = peak = resident()
    order: list[str] = []
    jobs: list[Any] = []
    lock = threading.Lock()

    def send(client: str, photos: Sequence[int]) -> None:
        service.exchange.listen(
            client, lambda kind, facts: order.append(client) if facts.get("state") == "done" else None
        )
        for number in photos:
            upload = service.receive(io.BytesIO(data[number % len(data)]), f"{number}.jpg", client)
            job = service.submit(upload)
            with lock:
                jobs.append(job)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    begin = time.perf_counter()
    senders = [
        threading.Thread(target=send, args=(f"client {number}", range(number, count, clients)))
        for number in range(clients)
    ]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    sent = time.perf_counter() - begin
    for job in jobs:
        job.over.wait()
    took = time.perf_counter() - begin
    over.set()
    watcher.join()
    ahead, turns = 0, Counter({f"client {number}": 0 for number in range(clients)})
    for client in order[: count - count % clients - clients]:  # from then on some have nothing left
        turns[client] += 1
        ahead = max(ahead, max(turns.values()) - min(turns.values()))
    found = {
        "answered": Counter(job.state for job in jobs),
        "seconds to take all in": round(sent, 2),
        "seconds until all were done": round(took, 2),
        "MiB before": round(before),
        "MiB at most": round(peak),
        "MiB after": round(resident()),
        "photos that a client was ahead of another at most": ahead,
    }
    service.close()
    return found


def main(arguments: Sequence[str]) -> int:
    """Print what was measured, as JSON."""
    parser = argparse.ArgumentParser(
        prog="python -m restorer.bench uploads",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--photos", type=int, default=50, help="that are sent")
    parser.add_argument("--clients", type=int, default=8, help="that send them at once")
    parser.add_argument("--album", type=Path, help="folder of photographs to send; default: pictures of noise")
    given = parser.parse_args(arguments)
    print(json.dumps(measured(given.photos, given.clients, _pictures(given.album)), indent=1))
    return 0


def _pictures(album: Path | None) -> list[bytes]:
    """Return the files to send."""
    if album is not None:
        return [path.read_bytes() for path in sorted(album.glob("*.jpg"))]
    with tempfile.TemporaryDirectory() as temporary:
        path = picture(Path(temporary) / "a.jpg", SIZE)
        return [path.read_bytes()]
