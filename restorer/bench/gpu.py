"""What `restore` does on one GPU, in eight minutes at most: networks, faces, upscalers and a whole folder.

    python -m restorer.bench gpu --json gpu.json
    python -m restorer.bench gpu --device cpu --short       # the same plan, small, to see that it runs

- Networks: faces a second at batch 1, 4 and 16 of gfpgan, glean-128 and codeformer, in bf16 and fp16 as far as each
  bears them, and in fp32; run plainly, as a CUDA graph, and compiled by torch.compile. Each as a share of what a large
  matrix product reaches in the same precision, and against plain fp32 at the same batch.
- Faces: cutting out and pasting on the device and on the processor, and how far their pictures are apart.
- Upscalers: megapixels of the photo a second, in tiles, from and to the processor's memory.
- Folder: photos and faces a second of the command `restore FOLDER`, from process start.

Each part is a process of its own that is ended when its time is up; what it measured by then is kept, and written into
--json line by line. Weights are stand-ins of a fixed seed, which cost what real ones do; the folder's photos are copies
of the one that is built in, or those of --photos.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from restorer.bench.tools.running import keep
from restorer.models import REGISTRY
from restorer.weights import resolve

SECONDS = 480.0
"""All of it."""
PARTS = {"rates": 30.0, "networks": 225.0, "faces": 45.0, "upscalers": 60.0, "folder": 110.0}
"""Seconds of each part at most, its start included; what one leaves, those behind it may use."""
BATCHES = (1, 4, 16)
NETWORKS = ("gfpgan-1.4", "glean-128", "codeformer")
UPSCALERS = ("realesr-general", "realesrgan-x2", "tiny-upscaler")


@dataclass(frozen=True)
class Step:
    """One measurement of a network.

    Attributes:
        network: its table.
        precision: "fp32", "bf16" or "fp16".
        batch: faces at once.
        way: "eager", "graph" (a CUDA graph) or "compiled" (torch.compile).
    """

    network: str
    precision: str
    batch: int
    way: str = "eager"


def plan(kind: str, *, short: bool = False) -> list[Step]:
    """Return the measurements of networks, what matters most first: time may end before they do.

    Args:
        kind: "cuda", or another kind of device, on which there are no graphs and nothing is compiled.
        short: small networks, two batches.
    """
    names, batches = (("tiny",), (1, 2)) if short else (NETWORKS, BATCHES)
    halves = ("bf16", "fp16") if kind == "cuda" else ("bf16",)
    precisions, steps = {}, []
    for name in names:  # a network that keeps its tolerance in no half precision is computed in none
        bears = REGISTRY.architecture_of(resolve(name)).bf16
        precisions[name] = (halves[0], "fp32", *halves[1:]) if bears else ("fp32",)
    for name in names:
        for precision in precisions[name]:
            quick = kind == "cuda" and precision == precisions[name][0]
            steps += [Step(name, precision, batch) for batch in batches]
            steps += [Step(name, precision, batch, "graph") for batch in batches if quick]
    if kind == "cuda":  # to compile takes most of a minute: the quickest precision, the smallest and the largest batch
        for batch in (batches[0], batches[-1]):
            steps += [Step(name, precisions[name][0], batch, "compiled") for name in names]
    return steps


class Clock:
    """The seconds of the whole, of which each part takes some.

    Args:
        seconds: of all of it.
        parts: seconds of each part at most.
    """

    def __init__(self, seconds: float, parts: dict[str, float]) -> None:
        self._end = time.monotonic() + seconds
        self._unused = seconds - sum(parts.values())
        self._parts = dict(parts)

    def left(self) -> float:
        """Return how many seconds there are still."""
        return self._end - time.monotonic()

    def begin(self, part: str) -> float:
        """Return the seconds of a part: its own, and what those before it left."""
        return max(min(self._parts.pop(part) + max(self._unused, 0.0), self.left()), 0.0)

    def end(self) -> None:
        """Take in that a part has ended: what it left is there for the next."""
        self._unused = self.left() - sum(self._parts.values())


def rows_of(part: str, command: Sequence[str], seconds: float) -> Iterator[dict[str, Any]]:
    """Run a part as a process, and yield what it measures until it ends or its time is up.

    The last row says how it ended where that was not well: its time was up, or what it said.
    """
    begin = time.monotonic()
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace", start_new_session=True
    )
    lines: queue.Queue[str | None] = queue.Queue()
    said: list[str] = []
    readers = [
        threading.Thread(target=_read, args=(process.stdout, lines.put), daemon=True),
        threading.Thread(target=_read, args=(process.stderr, lambda line: said.append(line or "")), daemon=True),
    ]
    for reader in readers:
        reader.start()
    try:
        while True:
            try:
                line = lines.get(timeout=max(begin + seconds - time.monotonic(), 0.0))
            except queue.Empty:
                yield {"part": part, "ended": f"its {seconds:.0f} seconds were up"}
                return
            if line is None:
                break
            if line.startswith("{"):
                yield {"part": part, **json.loads(line)}
        if code := process.wait():
            readers[1].join()
            last = [line.strip() for line in said if line.strip()][-1:] or ["it said nothing"]
            yield {"part": part, "ended": f"code {code}: {last[0]}"}
    finally:
        _end(process)


def _end(process: subprocess.Popen[str]) -> None:
    """End a part, and what it started."""
    if hasattr(os, "killpg"):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.wait()


def _read(stream: Any, put: Any) -> None:
    """Hand on the lines of a stream, and None at its end."""
    for line in stream:
        put(line)
    put(None)


def compared(rows: Sequence[dict[str, Any]]) -> None:
    """Write into the rows of networks their share of the matrix bound, and how many times plain fp32's speed."""
    rates = {row["precision"]: row for row in rows if row["part"] == "rates" and "flops" in row}
    plain = {
        (row["network"], row["batch"]): row["seconds"]
        for row in rows
        if row["part"] == "networks"
        and row.get("precision") == "fp32"
        and row.get("way") == "eager"
        and "seconds" in row
    }
    for row in rows:
        if row["part"] != "networks" or "seconds" not in row:
            continue
        row["faces_a_second"] = row["batch"] / row["seconds"]
        if row["precision"] in rates:
            row["of_matrix_bound"] = row["flops"] / rates[row["precision"]]["flops"] / row["seconds"]
        if (row["network"], row["batch"]) in plain:
            row["against_fp32"] = plain[row["network"], row["batch"]] / row["seconds"]


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return the figures as Markdown tables."""
    lines = []
    for row in rows:
        if row["part"] == "rates" and "flops" in row:
            lines.append(
                f"{row['precision']}: {row['flops'] / 1e12:.2f} TFLOP/s on a matrix product, "
                f"{row['convolution'] / 1e12:.2f} on a convolution; {row['bytes'] / 1e9:.0f} GB/s on a copy."
            )
    lines += [
        "",
        "| network | precision | batch | way | faces a second | of the matrix bound | against plain fp32 | MiB |",
        "|---|---|--:|---|--:|--:|--:|--:|",
    ]
    for row in rows:
        if row["part"] == "networks" and "network" in row:
            head = f"| {row['network']} | {row['precision']} | {row['batch']} | {row['way']} |"
            if "seconds" not in row:
                lines.append(f"{head} {row['error']} | | | |")
                continue
            share = f"{row['of_matrix_bound']:.0%}" if "of_matrix_bound" in row else ""
            gain = f"{row['against_fp32']:.2f}" if "against_fp32" in row else ""
            lines.append(f"{head} {row['faces_a_second']:.2f} | {share} | {gain} | {row['mib']:.0f} |")
    lines += ["", "| faces | where | ms to cut out | ms to paste | levels apart |", "|---|---|--:|--:|--:|"]
    lines += [
        f"| {row['face']} | {row['where']} | {row['cut_ms']:.1f} | {row['paste_ms']:.1f} | {row['apart']} |"
        for row in rows
        if row["part"] == "faces" and "face" in row
    ]
    lines += ["", "| upscaler | precision | megapixels a second | MiB |", "|---|---|--:|--:|"]
    lines += [
        f"| {row['network']} | {row['precision']} | {row['megapixels_a_second']:.2f} | {row['mib']:.0f} |"
        for row in rows
        if row["part"] == "upscalers" and "mib" in row
    ]
    lines += ["", "| folder | photos | faces | seconds | faces a second |", "|---|--:|--:|--:|--:|"]
    lines += [
        f"| {row['model']} | {row['photos']} | {row['faces']} | {row['seconds']:.1f} | {row['faces_a_second']:.2f} |"
        for row in rows
        if row["part"] == "folder" and "photos" in row
    ]
    ended = [(row, row.get("ended") or row.get("error")) for row in rows if row["part"] != "networks" or "ended" in row]
    lines += [f"\n{row['part']} {row.get('network', '')}: {said}" for row, said in ended if said]
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> int:
    """Run the parts in turn; print tables, write JSON as it comes. 1 where a part ended badly, time aside."""
    parser = argparse.ArgumentParser(
        prog="python -m restorer.bench gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda:0", help="torch's name of the device (default cuda:0)")
    parser.add_argument("--short", action="store_true", help="small networks and pictures: only to see that it runs")
    parser.add_argument("--seconds", type=float, default=SECONDS, help=f"of all of it (default {SECONDS:.0f})")
    parser.add_argument("--parts", default=",".join(PARTS), help=f"some of {','.join(PARTS)} (default all)")
    parser.add_argument("--photos", type=Path, help="folder to restore (default: copies of the photo that is built in)")
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--plan", action="store_true", help="only print what would be measured, as JSON")
    options = parser.parse_args(arguments)
    kind = options.device.partition(":")[0]
    steps = plan(kind, short=options.short)
    if options.plan:
        print(json.dumps({"parts": PARTS, "networks": [asdict(step) for step in steps]}, indent=1))
        return 0
    wanted = options.parts.split(",")
    if not set(wanted) <= set(PARTS):
        parser.error(f"parts are {', '.join(PARTS)}")
    share = options.seconds / SECONDS
    clock = Clock(options.seconds, {name: PARTS[name] * share for name in PARTS if name in wanted})
    rows: list[dict[str, Any]] = []
    words = [options.device, *(["--short"] if options.short else [])]
    for part in (name for name in PARTS if name in wanted):
        seconds = clock.begin(part)
        print(f"{part}: {seconds:.0f} s at most ...", file=sys.stderr)
        more = ["--photos", str(options.photos)] if options.photos else []
        command = [sys.executable, "-m", "restorer.bench.tools.on_gpu", part, *words, *more]
        for row in rows_of(part, [*command, "--seconds", str(seconds)], seconds):
            rows.append(row)
            compared(rows)
            keep(options.json, {"device": options.device, "short": options.short, "rows": rows})
        clock.end()
    print(table(rows))
    return int(any(row.get("ended", "").startswith("code") for row in rows))
