"""One network in one engine, in a process of its own that works when it is told to.

    python -m restorer.bench.tools.at_work ENGINE PRECISION TABLE WEIGHTS MODEL INPUTS THREADS

Its lines of input are `run`, which is answered by the seconds of one run, and `keep FILE`, which writes the outputs of
the last run (.npz). The first line that it writes says that it is ready, and in which precision it computes.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    import numpy as np

    from restorer.engine.exported import ExportedEngine
    from restorer.models.base import Precision

    Run = Callable[[], Sequence[np.ndarray]]

ENGINES = ("torch", "onnxruntime", "openvino")
DIRECT = "torch-direct"
"""Ours without fewer multiplications, fused activations and packed weights, to see what these bring."""


def pin(threads: int) -> None:
    """Keep this process to so many of the cores that it may use, the first of them; where the system can."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def of_torch(table: str, weights: Path, precision: str, inputs: Mapping[str, np.ndarray]) -> tuple[Run, str]:
    """Return what runs our network as `restore` does, and its precision."""
    import torch

    from restorer.engine.device import apply_threads, choose
    from restorer.engine.torch_engine import ENGINE
    from restorer.models.base import UpscalerArchitecture
    from restorer.weights import resolve

    network = ENGINE.load(resolve(table), weights, choose("cpu", precision))
    apply_threads()
    pictures, *rest = inputs
    controls: dict[str, Any] = {name: float(inputs[name]) for name in rest}
    if isinstance(network.architecture, UpscalerArchitecture):
        controls["factor"] = network.architecture.factors(network.arguments)[-1]
    given = torch.from_numpy(inputs[pictures])

    def run() -> list[np.ndarray]:
        found = network(given, **controls)
        return [each.numpy() for each in (found if isinstance(found, tuple) else (found,))]

    return run, network.precision


def of_file(engine: str, model: Path, precision: str, threads: int, inputs: Mapping[str, np.ndarray]) -> Run:
    """Return what runs an exported network in another engine on the CPU, as `--engine` does.

    ONNX Runtime's threads spin while they wait, as they do where nobody asks for anything else: it is at its best so.
    """
    from restorer.engine.onnxruntime_engine import OnnxRuntimeEngine
    from restorer.engine.pool import engine_named

    taken, given = cast("ExportedEngine", engine_named(engine)), list(inputs.values())
    wanted = cast("Precision", precision)
    if isinstance(taken, OnnxRuntimeEngine):
        run = taken.open(model, "cpu", wanted, threads, spinning=True)
    else:
        run = taken.open(model, "cpu", wanted, threads)
    return lambda: run(given)


def main(arguments: Sequence[str]) -> int:
    """Load, then do as the lines say until they end."""
    engine, precision, table, weights, model, given, count = arguments
    threads = int(count)
    pin(threads)
    import numpy as np

    with np.load(given) as stored:
        inputs = {name: stored[name] for name in stored.files}
    if engine in ("torch", DIRECT):
        from restorer.engine import arithmetic
        from restorer.engine.device import configure_threads

        configure_threads(threads, table)
        if engine == DIRECT:
            from restorer.networks import fused

            arithmetic.RULES.clear()
            fused.available = lambda: False
        run, precision = of_torch(table, Path(weights), precision, inputs)
    else:
        run = of_file(engine, Path(model), precision, threads, inputs)
    answer, sys.stdout = sys.stdout, sys.stderr  # what a library prints is no answer
    print(json.dumps({"precision": precision}), file=answer, flush=True)
    found: Sequence[np.ndarray] = ()
    for line in sys.stdin:
        word, _, file = line.rstrip("\n").partition(" ")
        if word == "keep":
            np.savez(file, *found)
            print(json.dumps({"kept": file}), file=answer, flush=True)
            continue
        begin = time.perf_counter()
        found = run()
        print(json.dumps({"seconds": time.perf_counter() - begin}), file=answer, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
