"""Each network in torch (as `restore` runs it), ONNX Runtime and OpenVINO, in turns in one run.

    pip install "restorer[onnxruntime,openvino]"
    python -m restorer.bench engines --json engines.json --plot engines.svg

Every engine has a process of its own with the same cores and as many threads, and they work in turns, one at a time:
first on a quiet machine, then beside a busy process that is started here. ONNX Runtime and OpenVINO run our own export
(`restore models export`). What each makes of the same picture is compared, value by value, with the plain network in
fp32 by torch. Real weights are used where they are cached or given, else stand-ins, which cost the same. `--work` keeps
the exports, which take minutes, for the next run.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from restorer.bench.tools.at_work import DIRECT, ENGINES
from restorer.bench.tools.running import Weights, bars, keep, weight_file
from restorer.models.exporter.difference import apart

if TYPE_CHECKING:
    import numpy as np

NETWORKS = ("gfpgan-1.4", "glean-128", "codeformer", "parsenet", "retinaface-mobilenet0.25", "realesr-general", "tiny")
PRECISIONS: Mapping[str, Sequence[str]] = {
    "torch": ("fp32", "bf16"),
    "onnxruntime": ("fp32",),  # it casts a file of fp32 to nothing else by itself
    "openvino": ("fp32", "bf16"),
}
BUSY = "while True: sum(range(100000))"
"""What the busy process runs: one thread that waits for nothing."""


@dataclass
class Row:
    """One network in one engine.

    Attributes:
        network: its table.
        engine: that ran it.
        precision: that it computed in.
        busy: processes beside it that used a core each.
        seconds: of each round.
        difference: the largest from the plain network in fp32, in deviations of that network's output.
        rms: the root of the mean square difference, likewise.
    """

    network: str
    engine: str
    precision: str
    busy: int
    seconds: list[float] = field(default_factory=list)
    difference: float = math.nan
    rms: float = math.nan

    @property
    def label(self) -> str:
        """Engine and precision."""
        return f"{self.engine} {self.precision}"


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the 95 % interval of the median, from the values' own order; their whole range where they are few."""
    ordered, count = sorted(values), len(values)
    below, chance = 0, 0.0
    while below < count // 2:
        chance += math.comb(count, below) / 2**count
        if chance > 0.025:
            break
        below += 1
    at = max(below - 1, 0)
    return ordered[at], ordered[count - 1 - at]


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, float, float]:
    """Return our time over theirs, round by round: the median, and its 95 % interval."""
    each = [a / b for a, b in zip(ours, theirs, strict=True)]
    return (median(each), *interval(each))


class Worker:
    """An engine's process.

    Args:
        row: what it is for; its precision becomes that which is really computed in.
        arguments: of `restorer.bench.tools.at_work`.
    """

    def __init__(self, row: Row, arguments: Sequence[str]) -> None:
        self.row = row
        command = [sys.executable, "-m", "restorer.bench.tools.at_work", row.engine, row.precision, *arguments]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        row.precision = self._answer()["precision"]

    def run(self) -> float:
        """Return the seconds of a run."""
        return float(self._ask("run")["seconds"])

    def outputs(self, file: Path) -> list[np.ndarray]:
        """Return what the last run made, by way of a file."""
        import numpy as np

        self._ask(f"keep {file}")
        with np.load(file) as stored:
            return [stored[name] for name in stored.files]

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()

    def _ask(self, line: str) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.row.network} in {self.row.label} ended with code {self._process.wait()}.")
        return json.loads(line)


@contextmanager
def company(processes: int) -> Iterator[None]:
    """Let so many processes keep a core busy meanwhile."""
    started = [subprocess.Popen([sys.executable, "-I", "-S", "-c", BUSY]) for _ in range(processes)]
    try:
        yield
    finally:
        for each in started:
            each.kill()
            each.wait()


@dataclass(frozen=True)
class Prepared:
    """A network's files: weights, exported model, inputs; and what plain torch makes of these in fp32."""

    weights: Path
    model: Path
    inputs: Path
    wanted: list[np.ndarray]


def prepare(name: str, weights: Path, folder: Path, export: bool) -> Prepared:
    """Export a network, unless that was done before, and write its inputs and the wanted outputs.

    Args:
        name: its table.
        weights: its file.
        folder: where files go.
        export: whether an engine needs the exported file.
    """
    import numpy as np
    import torch

    from restorer.models import REGISTRY
    from restorer.models.exporter import Traced
    from restorer.models.exporter import export as write
    from restorer.weights import resolve

    paths = [folder / f"{name}{suffix}" for suffix in (".onnx", ".inputs.npz", ".wanted.npz")]
    if (export and not paths[0].exists()) or not all(path.exists() for path in paths[1:]):
        loaded = REGISTRY.load(resolve(name), weights)
        traced = Traced.of(loaded, None)
        inputs = traced.example(0)
        stored: Any = {key: value.numpy() for key, value in inputs.items()}
        np.savez(paths[1], **stored)
        with torch.enable_grad():  # the plain way: no short cut is taken while gradients are kept
            found = traced.network(*inputs.values())
        outputs = found if isinstance(found, (tuple, list)) else (found,)
        np.savez(paths[2], *[each.detach().numpy() for each in outputs])
        if export:
            write(loaded, paths[0], overwrite=True)
    with np.load(paths[2]) as kept:
        return Prepared(weights, paths[0], paths[1], [kept[key] for key in kept.files])


def measure(
    name: str,
    files: Prepared,
    engines: Sequence[tuple[str, str]],
    threads: int,
    rounds: int,
    busy: Sequence[int],
    limit: float = math.inf,
    tell: Callable[[Sequence[Row]], None] = lambda rows: None,
) -> list[Row]:
    """Let engines run a network in turns, and compare what they make.

    Args:
        name: of the network.
        files: its files.
        engines: each with its precision.
        threads: of each.
        rounds: runs of each that count, for each number in `busy`; one before does not.
        busy: numbers of busy processes beside them.
        limit: seconds after which no further round begins, for each number in `busy`; one is always done.
        tell: hears after each round what was measured by then.
    """
    rows: list[Row] = []
    common = [name, *map(str, (files.weights, files.model, files.inputs, threads))]
    with ExitStack() as stack:
        workers: list[Worker] = []
        for engine, precision in engines:
            worker = Worker(Row(name, engine, precision, 0), common)
            stack.callback(worker.close)
            if worker.row.precision == precision:  # a network that does not bear bf16 was measured in fp32 already
                workers.append(worker)
            else:
                worker.close()
        with tempfile.TemporaryDirectory() as temporary:
            for worker in workers:
                worker.run()
                found = worker.outputs(Path(temporary) / "found.npz")
                shapes = [each.shape for each in found], [each.shape for each in files.wanted]
                if shapes[0] != shapes[1]:
                    raise SystemExit(f"An engine made outputs of {shapes[0]}, where torch made {shapes[1]}.")
                difference = apart(found, files.wanted)
                worker.row.difference, worker.row.rms = difference.largest, difference.rms
        for count in busy:
            here = [Row(**{**asdict(worker.row), "busy": count, "seconds": []}) for worker in workers]
            with company(count):
                begin = time.monotonic()
                for number in range(rounds + 1):
                    if number > 1 and time.monotonic() - begin > limit:
                        break
                    for worker, row in zip(workers, here, strict=True):
                        seconds = worker.run()
                        if number:
                            row.seconds.append(seconds)
                    if number:
                        tell([*rows, *here])
            rows += here
    return rows


def described(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return rows with their medians, and ours beside the quickest other engine of the same precision."""
    result = []
    for row in rows:
        low, high = interval(row.seconds)
        entry = {**asdict(row), "median": median(row.seconds), "low": low, "high": high}
        peers = [
            other
            for other in rows
            if (other.network, other.precision, other.busy) == (row.network, row.precision, row.busy)
            and other.engine not in ("torch", DIRECT)
        ]
        if row.engine == "torch" and peers:
            quickest = min(peers, key=lambda each: median(each.seconds))
            entry["of_quickest"] = ratio(row.seconds, quickest.seconds)
            entry["quickest"] = quickest.engine
        result.append(entry)
    return result


def table(entries: Sequence[Mapping[str, Any]]) -> str:
    """Return the figures as a Markdown table."""
    lines = [
        "| network | engine | busy beside it | seconds | 95 % | ours of the quickest | 95 % "
        "| difference, largest | rms |",
        "|---|---|--:|--:|---|--:|---|--:|--:|",
    ]
    for each in entries:
        beside = ["", ""]
        if "of_quickest" in each:
            middle, low, high = each["of_quickest"]
            beside = [f"{middle:.2f} ({each['quickest']})", f"{low:.2f} to {high:.2f}"]
        lines.append(
            f"| {each['network']} | {each['engine']} {each['precision']} | {each['busy']} | {each['median']:.3f} "
            f"| {each['low']:.3f} to {each['high']:.3f} | {beside[0]} | {beside[1]} "
            f"| {each['difference']:.1e} | {each['rms']:.1e} |"
        )
    return "\n".join(lines)


def versions(engines: Sequence[str]) -> dict[str, str]:
    """Return the engines' versions, and the kind of processor as torch sees it."""
    from importlib.metadata import version

    import torch

    found = {name: version(name) for name in dict.fromkeys(("torch", *engines))}
    return {**found, "instructions": torch.backends.cpu.get_cpu_capability(), "machine": platform.machine()}


def report(rows: Sequence[Row], threads: int, about: Mapping[str, str], stand_ins: Sequence[str]) -> dict[str, Any]:
    """Return what was measured, with what it was measured with."""
    return {
        "threads": threads,
        "versions": dict(about),
        "rows": described(rows),
        "stand_ins": list(stand_ins),
    }


def main(arguments: Sequence[str]) -> int:
    """Print the table; write JSON and a plot."""
    from restorer.engine.device import allowed_cores

    parser = argparse.ArgumentParser(
        prog="python -m restorer.bench engines",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", default=NETWORKS, help=f"tables (default {' '.join(NETWORKS)})")
    parser.add_argument("--engines", default=",".join(ENGINES), help=f"some of {','.join(ENGINES)} (default all)")
    parser.add_argument("--direct", action="store_true", help="also torch without our short cuts: plain convolutions")
    parser.add_argument("--precision", default="fp32,bf16", help="one or both (default fp32,bf16)")
    parser.add_argument("--rounds", type=int, default=15, help="runs of each that count (default 15)")
    parser.add_argument(
        "--limit", type=float, default=math.inf, metavar="SECONDS",
        help="begin no further round of a network after so many seconds, for each number of busy processes",
    )  # fmt: skip
    parser.add_argument("--threads", type=int, default=allowed_cores(), help="of each engine (default: cores allowed)")
    parser.add_argument("--company", default="0,1", help="busy processes beside them, one after another (default 0,1)")
    parser.add_argument("--weights", action="append", default=[], metavar="NAME=FILE", help="weights of a table")
    parser.add_argument("--work", type=Path, help="folder for weights and exports (default: a temporary one)")
    parser.add_argument("--prepare", action="store_true", help="only export, into --work")
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--plot", type=Path, help="file for a plot (SVG)")
    options = parser.parse_args(arguments)
    names, wanted = options.engines.split(","), options.precision.split(",")
    if not set(names) <= set(ENGINES) or not set(wanted) <= {"fp32", "bf16"}:
        parser.error(f"engines are {', '.join(ENGINES)}, precisions fp32 and bf16")
    pairs = [(engine, precision) for precision in wanted for engine in names if precision in PRECISIONS[engine]]
    pairs += [(DIRECT, precision) for precision in wanted if options.direct]
    busy = [int(text) for text in options.company.split(",")]
    rows: list[Row] = []
    about = versions(names)
    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.work or Path(temporary)).resolve()
        weights = Weights(dict(weight_file(text) for text in options.weights), folder)
        for name in options.names:
            kept = folder / f"{name}.safetensors"
            if kept.exists() and name not in weights.files:
                weights.add_stand_in(name, kept)
            elif not weights.find(name):
                weights.make(name)
        weights.environment()

        def kept(more: Sequence[Row]) -> None:  # so that nothing is lost where the rest is ended from outside
            keep(options.json, report([*rows, *more], options.threads, about, weights.stand_ins))

        for name in options.names:
            print(f"{name} ...", file=sys.stderr)
            files = prepare(name, weights.files[name], folder, names != ["torch"])
            if not options.prepare:
                rows += measure(name, files, pairs, options.threads, options.rounds, busy, options.limit, kept)
        stand_ins = list(weights.stand_ins)
    if options.prepare:
        return 0
    found = report(rows, options.threads, about, stand_ins)
    entries = found["rows"]
    keep(options.json, found)
    print(table(entries))
    print(f"\n{options.threads} threads; {', '.join(f'{key} {value}' for key, value in about.items())}")
    print(f"Stand-in weights: {', '.join(stand_ins) or 'none'}.")
    if options.plot:
        lengths = {
            f"{each['network'][:18]} {each['engine']} {each['precision']}{', busy' if each['busy'] else ''}": {
                each["engine"]: each["median"]
            }
            for each in entries
        }
        bars(options.plot, "One picture through a network, medians", "s", lengths)
    return 0
