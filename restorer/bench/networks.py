"""How near each network comes to what the machine can do: two lower bounds, and what is reached.

The first bound is its floating-point operations over the rate measured on a large plain convolution, the second the
bytes of its weights and of what its layers read and write over the bandwidth measured on a large copy. Both rates are
measured in the same run, in turns with the networks, as long as these take.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

NETWORKS = ("gfpgan-1.4", "parsenet", "glean-128", "gpen-512", "tiny")


def quickest(work: Callable[[], Any], runs: int, synchronise: Callable[[], None]) -> float:
    """Return the seconds of the quickest of some runs, after one that does not count."""
    work()
    best = float("inf")
    for _ in range(runs):
        synchronise()
        begin = time.perf_counter()
        work()
        synchronise()
        best = min(best, time.perf_counter() - begin)
    return best


class Machine:
    """The rates of a device in one precision."""

    def __init__(self, device: str, dtype: torch.dtype, runs: int = 5) -> None:
        import torch

        self.device, self.dtype, self.runs = device, dtype, runs
        self.synchronise = torch.cuda.synchronize if device.startswith("cuda") else lambda: None
        side, width = 128, 256
        layout = torch.channels_last
        conv = torch.nn.Conv2d(width, width, 3, padding=1, device=device, dtype=dtype).to(memory_format=layout)
        features = torch.randn(1, width, side, side, device=device, dtype=dtype).contiguous(memory_format=layout)
        self._convolve = lambda: conv(features)
        self._flops = 2 * width * width * 9 * side * side
        source = torch.empty(64 << 20, device=device, dtype=torch.uint8)
        target = torch.empty_like(source)
        self._copy = lambda: target.copy_(source)
        self._bytes = 2 * source.numel()
        self.rate = self.bandwidth = 0.0

    def measure(self) -> None:
        """Measure both rates again, and keep the higher ones: operations and bytes a second."""
        self.rate = max(self.rate, self._flops / quickest(self._convolve, self.runs, self.synchronise))
        self.bandwidth = max(self.bandwidth, self._bytes / quickest(self._copy, self.runs, self.synchronise))


def traffic(network: torch.nn.Module, run: Callable[[], Any], size: int) -> int:
    """Return the bytes of the weights, and of what each convolution and matrix product reads and writes beside them."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    heavy = {"convolution", "conv2d", "conv_transpose2d", "linear", "mm", "addmm", "bmm", "baddbmm"}
    heavy.add("_convolution_pointwise")  # with its activation
    values = 0

    class Counting(TorchDispatchMode):  # type: ignore[no-untyped-call]
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            nonlocal values
            result = func(*args, **(kwargs or {}))
            if func.__name__.split(".")[0] in heavy and isinstance(result, torch.Tensor):
                values += args[0].numel() + result.numel()
            return result

    with Counting():  # type: ignore[no-untyped-call]
        run()
    return (values + sum(parameter.numel() for parameter in network.parameters())) * size


def one(name: str, machine: Machine, batch: int) -> dict[str, Any]:
    """Measure one network on random pictures, with random weights, which cost as much as real ones."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from restorer.bench.tools.running import filled
    from restorer.models import REGISTRY
    from restorer.weights import resolve

    table = resolve(name)
    architecture = REGISTRY.architecture_of(table)
    arguments: dict[str, Any] = REGISTRY.arguments(table)
    if name == "tiny":  # its table says nothing of its sizes; its file does
        from restorer.models import load_network

        network = load_network(name, machine.device, offline=True).requires_grad_(False)
    else:
        network = filled(architecture.build(arguments)).requires_grad_(False).to(machine.device)
    side = int(getattr(network, "in_size", arguments.get("in_size", 512))) * int(getattr(network, "unshuffle", 1))
    pictures = torch.rand(batch, 3, side, side, device=machine.device) * 2 - 1
    work = getattr(network, "coarse", network)
    low = machine.dtype != torch.float32
    kind = machine.device.partition(":")[0]

    def run() -> Any:
        with torch.inference_mode(), torch.autocast(kind, dtype=machine.dtype, enabled=low):
            return work(pictures)

    # The plain way, taken while gradients are kept: short cuts do the same by fewer operations, or by unseen ones.
    with FlopCounterMode(display=False) as counter, torch.enable_grad():
        work(pictures[:1])
    moved = traffic(network, run, 2 if low else 4)
    machine.measure()
    seconds = quickest(run, machine.runs, machine.synchronise)
    machine.measure()
    flops = counter.get_total_flops() * batch
    bound = max(flops / machine.rate, moved / machine.bandwidth)
    return {
        "network": name,
        "precision": "bf16" if low else "fp32",
        "batch": batch,
        "gflop": flops / 1e9,
        "mbytes": moved / 1e6,
        "bound_by_operations": flops / machine.rate,
        "bound_by_bytes": moved / machine.bandwidth,
        "seconds": seconds,
        "share_of_rate": flops / machine.rate / seconds,
        "share_of_bound": bound / seconds,
        "faces_a_second": batch / seconds,
    }


def main(arguments: Sequence[str]) -> int:
    """Print the table."""
    import torch

    from restorer.engine.device import allowed_cores

    parser = argparse.ArgumentParser(prog="python -m restorer.bench networks", description=__doc__)
    parser.add_argument("names", nargs="*", default=NETWORKS, help=f"tables (default {' '.join(NETWORKS)})")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="fp32,bf16", help="one or more of fp32,bf16,fp16 (default fp32,bf16)")
    parser.add_argument("--batch", type=int, default=1, help="pictures at once (default 1)")
    parser.add_argument("--runs", type=int, default=3, help="the quickest of so many counts (default 3)")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args(arguments)
    torch.set_num_threads(allowed_cores())
    kinds = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
    rows, rates = [], {}
    for precision in options.precision.split(","):
        machine = Machine(options.device, kinds[precision], options.runs)
        rows += [one(name, machine, options.batch) for name in options.names]
        rates[precision] = {"gflops": machine.rate / 1e9, "gbytes": machine.bandwidth / 1e9}
    if options.json:
        print(json.dumps({"threads": torch.get_num_threads(), "rates": rates, "networks": rows}))
        return 0
    for precision, rate in rates.items():
        print(
            f"{precision}: {rate['gflops']:.0f} GFLOP/s on a plain convolution, {rate['gbytes']:.1f} GB/s on a copy, "
            f"{torch.get_num_threads()} threads"
        )
    print(f"{'':24}{'GFLOP':>9}{'MB':>8}{'operations':>12}{'bytes':>9}{'seconds':>9}{'of rate':>9}{'of bound':>10}")
    for row in rows:
        print(
            f"{row['network'] + ' ' + row['precision']:24}{row['gflop']:9.0f}{row['mbytes']:8.0f}"
            f"{row['bound_by_operations']:11.3f}s{row['bound_by_bytes']:8.3f}s{row['seconds']:9.3f}"
            f"{row['share_of_rate']:9.0%}{row['share_of_bound']:10.0%}"
        )
    return 0
