"""One part of `python -m restorer.bench gpu`, a process of its own: prints a JSON line for each thing that it measured.

    python -m restorer.bench.tools.on_gpu PART DEVICE [--short] [--seconds N] [--photos FOLDER]

It begins nothing that it cannot expect to end in its seconds. What fails is a line with its error; the next is tried.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from restorer.bench.gpu import UPSCALERS, Step, plan

if TYPE_CHECKING:
    import torch

    Run = Callable[[torch.Tensor], torch.Tensor]

ENOUGH = 1.0
"""Seconds over which a step is repeated, at least three times."""
TO_END = 15.0
"""Seconds in which a run that begins no further photo has ended."""
TIME_IS_UP = 124
"""The exit code of a run whose --max-time was up."""
COMPILING = 60.0
"""Seconds that torch.compile is expected to take: it is not begun with less."""
_FACES = (1 / 32, 1 / 8, 5 / 12)
"""Sides of the faces that are cut out and pasted, as shares of the photo's."""


class Device:
    """A device, and how it is waited for.

    Args:
        name: torch's.
        seconds: in which everything is to end.
        short: whether it is only to be seen that it runs.
    """

    def __init__(self, name: str, seconds: float, *, short: bool) -> None:
        import torch

        self.name, self.kind, self.short = name, name.partition(":")[0], short
        self._end = time.monotonic() + seconds - 5  # to write and to end
        self.enough = 0.0 if short else ENOUGH
        if self.kind == "cuda":
            torch.cuda.set_device(torch.device(name))

    def left(self) -> float:
        """Return how many seconds there are still."""
        return self._end - time.monotonic()

    def wait(self) -> None:
        """Wait until all that was begun is done."""
        import torch

        if self.kind == "cuda":
            torch.cuda.synchronize()

    def seconds_of(self, work: Callable[[], Any]) -> float:
        """Return the seconds of a run, the median of several after one that does not count."""
        work()
        found: list[float] = []
        while len(found) < (1 if self.short else 3) or (sum(found) < self.enough and self.left() > 0):
            self.wait()
            begin = time.perf_counter()
            work()
            self.wait()
            found.append(time.perf_counter() - begin)
        return statistics.median(found)

    def peak(self) -> float:
        """Return the most MiB of the device's memory since this was asked last; 0 on other devices."""
        import torch

        if self.kind != "cuda":
            return 0.0
        most = torch.cuda.max_memory_allocated() / 2**20
        torch.cuda.reset_peak_memory_stats()
        return most


def say(**row: Any) -> None:
    """Print a row."""
    print(json.dumps(row), flush=True)


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0][:160]}"


def dtype_of(precision: str) -> torch.dtype:
    """Return torch's name of a precision."""
    import torch

    return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]


def rates(device: Device) -> None:
    """Measure what the device reaches in each precision: a matrix product, a convolution, a copy."""
    import torch

    side, width, picture = (256, 32, 32) if device.short else (8192, 256, 256)
    if device.kind != "cuda" and not device.short:
        side = 1024
    for precision in ("fp32", "bf16", "fp16") if device.kind == "cuda" else ("fp32", "bf16"):
        dtype = dtype_of(precision)
        one, other = (torch.randn(side, side, device=device.name, dtype=dtype) for _ in range(2))
        product = device.seconds_of(partial(torch.mm, one, other))
        conv = torch.nn.Conv2d(width, width, 3, padding=1, device=device.name, dtype=dtype)
        conv = conv.to(memory_format=torch.channels_last).requires_grad_(False)
        features = torch.randn(4, width, picture, picture, device=device.name, dtype=dtype)
        features = features.contiguous(memory_format=torch.channels_last)
        convolved = device.seconds_of(partial(conv, features))
        source = torch.empty((1 << 20) if device.short else (256 << 20), device=device.name, dtype=torch.uint8)
        target = torch.empty_like(source)
        copied = device.seconds_of(partial(target.copy_, source))
        say(
            precision=precision,
            flops=2 * side**3 / product,
            convolution=2 * 4 * 9 * width**2 * picture**2 / convolved,
            bytes=2 * source.numel() / copied,
        )


def networks(device: Device) -> None:
    """Measure each step of the plan."""
    import torch

    loaded: dict[tuple[str, str], tuple[Run, Run, int]] = {}
    flops: dict[str, int] = {}
    for step in plan(device.kind, short=device.short):
        if device.left() < (COMPILING if step.way == "compiled" else 0):
            say(**vars(step), error="there was no time left")
            continue
        try:
            key = step.network, step.precision
            if key not in loaded:
                loaded.clear()  # one at a time, in the plan's order
                loaded[key] = built(step, device)
            run, plain, side = loaded[key]
            pictures = torch.rand(step.batch, 3, side, side, device=device.name) * 2 - 1
            if step.network not in flops:
                flops[step.network] = counted(plain, pictures[:1])
            device.peak()
            seconds = device.seconds_of(way_of(step.way, run, pictures))
        except Exception as error:  # noqa: BLE001 - whatever a way does not bear is said, and the others are tried
            say(**vars(step), error=_reason(error))
            continue
        say(**vars(step), seconds=seconds, flops=flops[step.network] * step.batch, mib=device.peak())


def built(step: Step, device: Device) -> tuple[Run, Run, int]:
    """Return what runs a step's network with stand-in weights, the same in the plain way, and the side of its input."""
    import torch

    from restorer.bench.tools.running import filled
    from restorer.engine.casting import cast_weights
    from restorer.models import REGISTRY, load_network
    from restorer.models.base import FaceArchitecture
    from restorer.weights import resolve

    table = resolve(step.network)
    architecture = REGISTRY.of_role(FaceArchitecture, table)
    arguments = REGISTRY.arguments(table)
    if table.builtin:
        network = load_network(step.network, device.name, offline=True).requires_grad_(False)
    else:
        torch.manual_seed(0)
        network = filled(architecture.build(arguments)).requires_grad_(False).to(device.name)
    dtype, low = dtype_of(step.precision), step.precision != "fp32"
    if low:
        cast_weights(network, dtype)

    def plain(pictures: torch.Tensor) -> torch.Tensor:  # taken while gradients are kept, though nothing here has any
        with torch.enable_grad(), torch.autocast(device.kind, dtype, enabled=low):
            found: torch.Tensor = network(pictures)
            return found

    def run(pictures: torch.Tensor) -> torch.Tensor:
        # Weights are cast already; a graph must not hold casts that autocast keeps for a while.
        with torch.inference_mode(), torch.autocast(device.kind, dtype, enabled=low, cache_enabled=False):
            found: torch.Tensor = network(pictures)
            return found

    return run, plain, architecture.crop(arguments).input_size


def counted(run: Run, picture: torch.Tensor) -> int:
    """Return the floating-point operations of one picture's way through a network."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        run(picture)
    return int(counter.get_total_flops())


def way_of(way: str, run: Run, pictures: torch.Tensor) -> Callable[[], Any]:
    """Return what runs a batch plainly, as a CUDA graph, or compiled."""
    import torch

    if way == "eager":
        return partial(run, pictures)
    if way == "compiled":
        return partial(torch.compile(run), pictures)
    beside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    beside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(beside):  # what a first run sets up is no part of a graph
        for _ in range(3):
            run(pictures)
    torch.cuda.current_stream().wait_stream(beside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run(pictures)
    return graph.replay


def faces(device: Device) -> None:
    """Measure cutting out and pasting faces, on the processor and on the device, and how far they are apart."""
    import numpy as np

    from restorer.faces.holding import Holding
    from restorer.faces.placement import Placement
    from restorer.imaging.sampling import PLAIN, Sampling
    from restorer.imaging.tensor_sampling import TensorSampling

    side = 640 if device.short else 4000
    rng = np.random.default_rng(0)
    photo = np.repeat(np.repeat(rng.integers(0, 256, (side // 8, side // 8, 3), np.uint8), 8, 0), 8, 1)
    face, mask = rng.random((512, 512, 3)).astype(np.float32), np.ones((128, 128), np.float32)
    ways: dict[str, Sampling] = {"processor": PLAIN, device.name: TensorSampling(device.name)}
    for share in _FACES:
        scale = 512 / (share * side)
        matrix = np.array([[scale, 0.1 * scale, 0], [-0.1 * scale, scale, 0]])
        matrix[:, 2] = 256 - matrix[:, :2] @ (photo.shape[1] / 2, photo.shape[0] / 2)
        made = {}
        for where, sampling in ways.items():
            placement = Placement((photo.shape[1], photo.shape[0]), matrix, 512, sampling)
            canvas, holding = photo.copy(), Holding(1.0)
            placement.paste(canvas, face, mask, 1.0, holding=holding)
            made[where] = canvas.copy()
            paste = partial(placement.paste, canvas, face, mask, 1.0, holding=holding)
            row = {
                "cut_ms": 1e3 * device.seconds_of(partial(placement.at, photo, 512)),
                "paste_ms": 1e3 * device.seconds_of(paste),
            }
            apart = int(np.abs(made["processor"].astype(int) - made[where]).max())
            say(face=f"{share * side:.0f} px", where=where, apart=apart, **row)


def upscalers(device: Device) -> None:
    """Measure upscalers in tiles on a photo."""
    import numpy as np

    from restorer.engine.pool import POOL
    from restorer.upscaling.tiles import NetworkUpscaler

    side = 96 if device.short else 1536
    photo = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        tables = stand_ins(["tiny-upscaler"] if device.short else UPSCALERS, Path(folder))
        for name in tables:
            for precision in ("fp32", "bf16", "fp16") if device.kind == "cuda" else ("fp32",):
                if device.left() < 5:
                    say(network=name, precision=precision, error="there was no time left")
                    continue
                network = POOL.get(tables[name], engine_device(device.name, precision), offline=True)
                upscaler = NetworkUpscaler(network)
                device.peak()
                seconds = device.seconds_of(partial(upscaler.upscale, photo, (2 * side, 2 * side)))
                rate = photo.shape[0] * photo.shape[1] / 1e6 / seconds
                say(network=name, precision=network.precision, megapixels_a_second=rate, mib=device.peak())


def engine_device(name: str, precision: str) -> Any:
    """Return the engine's device of that name in a precision."""
    from restorer.engine.device import choose

    return choose(name, precision)


def stand_ins(names: Sequence[str], folder: Path) -> dict[str, Any]:
    """Write stand-in weights of tables that are not built in, and return the tables that name them."""
    from restorer.bench.tools.running import Weights
    from restorer.weights import resolve

    weights = Weights({}, folder)
    for name in names:
        if not resolve(name).builtin:
            weights.make(name)
    weights.environment()
    return {name: resolve(name) for name in names}


def folder(device: Device, photos: Path | None) -> None:
    """Measure the command on a folder: gfpgan-1.4 and parsenet with stand-in weights, the detector that is built in."""
    from restorer.bench.tools.running import Weights, records, restore

    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        model, weights = ("tiny", Weights({}, place)) if device.short else ("gfpgan-1.4", Weights({}, place))
        if not device.short:
            weights.make(model)
            weights.make("parsenet")
        environment = weights.environment()
        seen = photos or copies(place / "photos", 2 if device.short else 48)
        words = ["--device", device.name, "--model", model, "--detector", "tiny-detector", "--background", "lanczos"]
        words += ["--scale", "2", "--always"]
        if math.isfinite(device.left()):  # what is done by then counts
            words += ["--max-time", f"{max(device.left() - TO_END, 1):.0f}s"]
        finished = restore([seen], place / "out", environment, *words, accepted=(0, TIME_IS_UP))
        told: list[Any] = records(finished)
        bad = [each["error"] for each in told if each["status"] != "ok"]
        if bad:
            say(model=model, error=str(bad[0]))
            return
        faces = sum(face["restored"] for each in told for face in each["faces"])
        say(
            model=model,
            photos=len(told),
            faces=faces,
            seconds=finished.seconds,
            faces_a_second=faces / finished.seconds,
            photos_a_second=len(told) / finished.seconds,
            peak_mib=finished.peak_mib,
            device=told[0]["device"],
            precision=told[0]["precision"],
        )


def copies(target: Path, count: int) -> Path:
    """Write so many photos of three faces each, all the one that is built in, each a little darker than the last."""
    import numpy as np
    from PIL import Image

    import restorer

    target.mkdir(parents=True)
    with Image.open(Path(restorer.__file__).parent / "data/astronaut.webp") as opened:
        photo = np.asarray(opened.convert("RGB"))
    for number in range(count):
        dimmed = np.tile(photo, (1, 3, 1)) * (1 - number / count / 4)
        Image.fromarray(dimmed.astype(np.uint8)).save(target / f"{number:03}.jpg", quality=92)
    return target


def main(arguments: Sequence[str]) -> int:
    """Do a part."""
    parser = argparse.ArgumentParser(prog="python -m restorer.bench.tools.on_gpu")
    parser.add_argument("part", choices=("rates", "networks", "faces", "upscalers", "folder"))
    parser.add_argument("device")
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--seconds", type=float, default=math.inf)
    parser.add_argument("--photos", type=Path)
    options = parser.parse_args(arguments)
    device = Device(options.device, options.seconds, short=options.short)
    if options.part == "folder":
        folder(device, options.photos)
    else:
        {"rates": rates, "networks": networks, "faces": faces, "upscalers": upscalers}[options.part](device)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
