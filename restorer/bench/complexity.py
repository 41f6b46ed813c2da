"""Counts parameters and operations of the face models, LightGLEAN's beside GLEAN's.

The papers' figure for LightGLEAN is a share of GLEAN's ("21% of parameters and 35% of FLOPs", abstract of arXiv
2207.14812), so both are counted in the same way here: on torch's meta device, without weights or numbers, the
multiplications of all convolutions and matrix products of one picture's way through the network.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from restorer.models.base import FaceArchitecture


@dataclass(frozen=True)
class Complexity:
    """What one network costs.

    Attributes:
        label: what it is.
        parameters: numbers that training finds, without stored noise.
        macs: multiplications of one picture.
        parts: multiplications of each of its direct submodules.
    """

    label: str
    parameters: int
    macs: int
    parts: Mapping[str, int] = field(default_factory=dict)


def measure(model: FaceArchitecture, **arguments: Any) -> Complexity:
    """Count the network of a face model with these arguments, the others at their defaults."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    complete = {**model.defaults, **arguments}
    crop = model.crop(complete)
    with torch.device("meta"):
        network = model.build(complete).requires_grad_(False).eval()
        picture = torch.empty(1, 3, crop.input_size, crop.input_size)
    counter = FlopCounterMode(display=False, depth=3)
    with torch.inference_mode(), counter:
        network(picture)
    name = type(network).__name__
    by_module = {key: sum(counts.values()) // 2 for key, counts in counter.get_flop_counts().items()}
    parts = {part: _total(by_module, f"{name}.{part}") for part, _ in network.named_children()}
    parameters = sum(parameter.numel() for parameter in network.parameters())
    label = f"{model.name} {crop.input_size} to {crop.output_size}"
    return Complexity(label, parameters, counter.get_total_flops() // 2, parts)


def _total(by_module: Mapping[str, int], path: str) -> int:
    """Return the multiplications below a module; a container that is never called itself is the sum of its parts."""
    if path in by_module:
        return by_module[path]
    below = [key for key in by_module if key.startswith(f"{path}.")]
    outermost = [key for key in below if not any(key.startswith(f"{other}.") for other in below)]
    return sum(by_module[key] for key in outermost)


def main(arguments: Sequence[str]) -> int:
    """Print the tables."""
    from restorer.models import REGISTRY
    from restorer.models.base import FaceArchitecture
    from restorer.models.searching import SearchArchitecture

    parser = argparse.ArgumentParser(prog="python -m restorer.bench complexity", description=__doc__)
    parser.add_argument("--in-size", type=int, default=128, help="input of GLEAN and LightGLEAN (default 128)")
    parser.add_argument("--out-size", type=int, default=1024, help="output of GLEAN and LightGLEAN (default 1024)")
    options = parser.parse_args(arguments)
    models = {
        name: model
        for name, model in REGISTRY.items()
        if isinstance(model, FaceArchitecture) and not isinstance(model, SearchArchitecture)
    }
    sizes = {"in_size": options.in_size, "out_size": options.out_size}
    glean = measure(models["glean"], **sizes)
    light = measure(models["lightglean"], **sizes)

    print(f"{'':36}{'parameters':>14}{'share':>8}{'GMACs':>10}{'share':>8}")
    for counted in (glean, light):
        print(
            f"{counted.label:36}{counted.parameters:14,}{counted.parameters / glean.parameters:8.1%}"
            f"{counted.macs / 1e9:10.1f}{counted.macs / glean.macs:8.1%}"
        )
        for part, macs in counted.parts.items():
            print(f"    {part:32}{'':22}{macs / 1e9:10.1f}")
    print(f"{'the paper says of LightGLEAN':36}{'':14}{'21%':>8}{'':10}{'35%':>8}")
    print()
    for name in sorted(set(models) - {"glean", "lightglean"}):
        try:
            counted = measure(models[name])
        except TypeError as error:  # a network that also wants to know where eyes and mouth are
            print(f"{name:36}not counted: {error}")
            continue
        print(f"{counted.label:36}{counted.parameters:14,}{'':8}{counted.macs / 1e9:10.1f}")
    return 0
