"""What a cluster costs and survives: overhead a photo, planning, kills, and how even the work is.

    python -m restorer.bench cluster --photos 1000 --rows 2000000 --kills 3 --album PHOTOS

A cluster of three raylets with a CPU each is started on this machine, as Ray's own tests do. Each part runs alone where
the others are given 0. `--album` is a folder of photographs, restored by one machine and by the cluster, byte by byte.
Needs the extra `cluster`; what is killed is what was started here.
"""

from __future__ import annotations

import argparse
import heapq
import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from restorer.bench.planning import photos as small_photos
from restorer.bench.tools.albums import files
from restorer.bench.tools.running import run
from restorer.cluster.blocks import blocks, rank

PLAIN = ("--offline", "--model", "none", "--background", "lanczos")
JOURNAL = ".restorer-journal.jsonl"
STORE = 100 * 2**20
"""Bytes of a raylet's object store."""
UNITS = 1024 if sys.platform != "darwin" else 1024 * 1024


class Machines:
    """Three raylets on this machine."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        head = {"num_cpus": 1, "object_store_memory": STORE, "include_dashboard": False}
        self._cluster = Cluster(initialize_head=True, head_node_args=head)
        self._others = [self._cluster.add_node(num_cpus=1, object_store_memory=STORE) for _ in range(2)]
        self.address = str(self._cluster.address)

    def kill_machine(self) -> None:
        """End one that is not the head, and start another one."""
        self._cluster.remove_node(self._others.pop(0), allow_graceful=False)
        self._others.append(self._cluster.add_node(num_cpus=1, object_store_memory=STORE))

    def kill_worker(self) -> None:
        """End one process that restores photos, of those that this bench's cluster has started."""
        found = [pid for pid in _below(os.getpid()) if "RestorePhotos" in _command(pid)]
        if found:
            os.kill(random.choice(found), signal.SIGKILL)

    def end(self) -> None:
        """End all."""
        self._cluster.shutdown()


@contextmanager
def machines() -> Iterator[Machines]:
    """Have three raylets for a while."""
    found = Machines()
    try:
        yield found
    finally:
        found.end()


def _below(pid: int) -> list[int]:
    """Return the processes that one has started, and those that they have."""
    children: dict[int, list[int]] = {}
    for each in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = each.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        children.setdefault(int(fields[1]), []).append(int(each.parent.name))
    found, left = [], [pid]
    while left:
        below = children.get(left.pop(), [])
        found += below
        left += below
    return found


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def _restore(*words: str) -> list[str]:
    return [sys.executable, "-m", "restorer", *words]


def overhead(count: int, cluster: Machines, folder: Path) -> dict[str, float]:
    """Return milliseconds a photo, here and on the cluster with one worker, and the peak of the driver's memory.

    Both are taken between two sizes of a run, so that what a start costs is in neither.
    """
    few, many = max(count // 10, 1), count
    found: dict[str, float] = {}
    for name, more in (("one machine", ()), ("cluster", ("--cluster", cluster.address, "--workers", "1"))):
        took = []
        for number in (few, many):
            photos = folder / f"photos-{number}"
            if not photos.exists():
                small_photos(photos, number)
            out = folder / f"{name} {number}"
            done = run(_restore(str(photos), "-o", str(out), *PLAIN, "-q", "--threads", "1", *more))
            took.append(done)
        found[f"{name}: ms a photo"] = 1000 * (took[1].seconds - took[0].seconds) / (many - few)
        found[f"{name}: peak MiB of {few:,}"], found[f"{name}: peak MiB of {many:,}"] = (each.peak_mib for each in took)
    found["overhead: ms a photo"] = found["cluster: ms a photo"] - found["one machine: ms a photo"]
    return found


def planning(count: int, folder: Path) -> dict[str, float]:
    """Return how long a list of so many photos takes from the plan's file to blocks, and the peak of memory."""
    plan = folder / "plan.jsonl"
    with plan.open("w", encoding="utf-8") as stream:
        stream.write('{"plan": 1, "name": "{stem}_restored", "format": "keep", "scale": 2.0}\n')
        for number in range(count):
            name = f"{number // 1000:04}/{number:07}"
            line = {
                "part": f"{number * 2654435761 % 2**32:08x}", "source": f"/archive/photographs/{name}.jpg",
                "place": f"{name}.jpg", "result": f"{name}_restored.jpg", "format": "JPEG", "kind": "JPEG",
                "size": [1200 + number % 800, 900], "bytes": 400_000,
            }  # fmt: skip
            stream.write(json.dumps(line) + "\n")
    code = f"from restorer.bench.cluster import planned; planned({str(plan)!r}, {str(folder / 'out')!r})"
    done = run([sys.executable, "-c", code])
    rows, made, parent, child = json.loads(done.stdout)
    return {"rows": rows, "blocks": made, "seconds": done.seconds, "driver MiB": parent, "process of Ray MiB": child}


def planned(plan: str, out: str) -> None:
    """Plan a run as the command does, hand its blocks to a process that takes them and does nothing; print figures."""
    from restorer.batch.estimate import Estimate
    from restorer.batch.outlook import estimate_run
    from restorer.batch.plan import Naming, PlannedJobs
    from restorer.cluster.link import SessionLink
    from restorer.cluster.order import Order
    from restorer.cluster.run import ClusterBatch
    from restorer.pipeline.restorer import Restorer

    restorer = Restorer("none", background="lanczos", offline=True)
    batch = ClusterBatch(
        restorer,
        Order("local"),
        connect=lambda order: SessionLink(order, drive=take_and_leave),
    )
    jobs = batch.follow(PlannedJobs(Path(plan), Path(out), Naming("{stem}_restored", "keep", 2.0)))
    _, outlook = batch.look(jobs)
    Estimate(outlook.loads, estimate_run(restorer, outlook, trial=False).rates, 0.0, batch.join())
    batch.run(jobs, keep=False)
    told = json.loads(Path(f"{plan}.told").read_text(encoding="utf-8"))
    here = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * UNITS / 2**20
    print(json.dumps([told["rows"], told["blocks"], here, told["peak"]]))


def take_and_leave(pipe: Any, _order: Any, _log: Path) -> None:
    """Be the process that speaks to Ray, up to where it would: take the blocks, put them into order, and count them."""
    from restorer.cluster.session import Over, Ready, received

    pipe.send(Ready(100, 100))
    pipe.recv()
    tables = received(pipe)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * UNITS / 2**20
    told = {"rows": sum(each.num_rows for each in tables), "blocks": len(tables), "peak": peak}
    plan = next(iter(Path(tempfile.gettempdir()).glob("restorer-bench-cluster-*/plan.jsonl")))
    Path(f"{plan}.told").write_text(json.dumps(told), encoding="utf-8")
    pipe.send(Over(None))


def balance(workers: int, seed: int) -> float:
    """Return how many times longer than the ideal a list with a few 100-megapixel photos takes, by simulation."""
    lots = random.Random(seed)
    weights = [lots.uniform(1, 12) for _ in range(100 * workers)] + [100 * lots.uniform(1, 2) for _ in range(workers)]
    lots.shuffle(weights)
    given = sorted(
        blocks(enumerate(weights), sum(weights), workers), key=lambda each: rank(len(each.items), each.weight)
    )
    free = [0.0] * workers
    for block in given:
        heapq.heapreplace(free, free[0] + block.weight)
    return max(free) / max(sum(weights) / workers, max(weights))


def kills(times: int, count: int, cluster: Machines, folder: Path) -> dict[str, Any]:
    """Kill a worker, then a machine, at random moments of a run, so many times; return what was wrong, if anything."""
    photos = folder / "album"
    small_photos(photos, count)
    run(_restore(str(photos), "-o", str(folder / "calm"), *PLAIN, "-q"))
    calm, wrong, again = files(folder / "calm"), [], []
    lots = random.Random(0)
    for number in range(times):
        out = folder / f"killed-{number}"
        words = (str(photos), "-o", str(out), *PLAIN, "-q", "--json", "--cluster", cluster.address)
        process = subprocess.Popen(_restore(*words), stdout=subprocess.PIPE, text=True)
        for kill in (cluster.kill_worker, cluster.kill_machine):
            wanted = lots.randrange(count // 10, count)
            while process.poll() is None and sum(1 for _ in out.rglob("*_restored.*")) < wanted:
                time.sleep(0.02)
            if process.poll() is None:
                kill()
        told = process.communicate()[0].splitlines()
        found = files(out)
        left = [name for name in found if name not in calm]
        different = [name for name in calm if name != JOURNAL and found.get(name) != calm[name]]
        if process.returncode or left or different or len(told) != count:
            wrong.append({"run": number, "code": process.returncode, "left": left, "different": different[:5]})
        rerun = run(_restore(str(photos), "-o", str(out), *PLAIN, "-q", "--json"))
        again.append(sum(json.loads(line)["status"] != "skipped" for line in rerun.stdout.splitlines()))
    return {"runs": times, "wrong": wrong, "photos that the reruns did": again}


def same(album: Path, cluster: Machines, folder: Path, words: Sequence[str]) -> dict[str, Any]:
    """Restore photographs by one machine and by the cluster; return what differs."""
    one, many = folder / "one", folder / "many"
    command = (str(album), *words, "-q", "--json", "--threads", "1")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    told: list[dict[str, Any]] = []
    for out, more in ((one, ()), (many, ("--cluster", cluster.address))):
        done = subprocess.run(
            _restore(*command, "-o", str(out), *more), env=environment, capture_output=True, text=True, check=False
        )
        told.append({each["input"]: each for each in map(json.loads, done.stdout.splitlines())})
    for records, out in zip(told, (one, many), strict=True):
        for record in records.values():
            record["output"] = record["output"] and str(Path(record["output"]).relative_to(out))
            record["seconds"] = record["device"] = record["earlier"] = None
    ours, theirs = files(one), files(many)
    return {
        "photos": len(told[0]),
        "files that differ": [name for name in ours if name != JOURNAL and theirs.get(name) != ours[name]],
        "files that one side lacks": sorted(set(ours) ^ set(theirs)),
        "records that differ": [name for name in told[0] if told[0][name] != told[1].get(name)],
    }


def main(arguments: Sequence[str]) -> int:
    """Print what was measured; write the figures as JSON where that is asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m restorer.bench cluster",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--photos", type=int, default=1000, help="copies of a small photo, for the overhead")
    parser.add_argument("--rows", type=int, default=2_000_000, help="rows of a plan")
    parser.add_argument("--kills", type=int, default=3, help="runs of which a worker and a machine are killed")
    parser.add_argument("--killed", type=int, default=200, help="photos of each of these")
    parser.add_argument("--album", type=Path, help="folder of photographs that both sides restore")
    parser.add_argument("--options", default="--offline --model tiny --background lanczos", help="of that")
    parser.add_argument("--json", type=Path, help="file for the figures")
    given = parser.parse_args(arguments)
    found: dict[str, Any] = {"balance": max(balance(n, seed) for n in (2, 3, 8, 40) for seed in range(5))}
    with tempfile.TemporaryDirectory(prefix="restorer-bench-cluster-") as temporary:
        folder = Path(temporary)
        if given.rows:
            found["planning"] = planning(given.rows, folder)
        if given.photos or given.kills or given.album:
            with machines() as cluster:
                if given.photos:
                    found["overhead"] = overhead(given.photos, cluster, folder)
                if given.kills:
                    found["kills"] = kills(given.kills, given.killed, cluster, folder)
                if given.album:
                    found["album"] = same(given.album, cluster, folder, given.options.split())
    print(json.dumps(found, indent=1))
    if given.json:
        given.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 0
