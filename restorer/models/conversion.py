"""From upstream checkpoints' names and numbers to those of our own networks.

A translation is a list of rules, each a pattern and what takes its place; None drops a tensor that never reaches the
output. A key that no rule knows stays as it is, so that the layout check names it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import nn

    from restorer.models.base import Shapes, StateDict

Rule = tuple[str, str | Callable[[re.Match[str]], str] | None]


def _mapping_layer(match: re.Match[str]) -> str:
    """Upstream's layer 0 of the mapping network is the normalisation, which has no weights."""
    return f"mapping.layers.{int(match[1]) - 1}.{match[2]}"


GENERATOR_RULES: tuple[Rule, ...] = (
    (r"(?:style|style_mapping|style_mlp)\.(\d+)\.(?:linear\.)?(weight|bias)(?:_orig)?", _mapping_layer),
    (r"(?:input\.input|constant_input\.(?:input|weight))", "constant"),
    (r"(?:style_)?(conv1|convs\.\d+|to_rgb1|to_rgbs\.\d+)\.(?:modulated_)?conv\.weight(?:_orig)?", r"\1.weight"),
    (
        r"(?:style_)?(conv1|convs\.\d+|to_rgb1|to_rgbs\.\d+)\.(?:modulated_)?conv\."
        r"(?:style_)?modulation\.(?:linear\.)?(weight|bias)(?:_orig)?",
        r"\1.modulation.\2",
    ),
    (r"(conv1|convs\.\d+)\.(?:noise|noise_injector)\.weight", r"\1.noise_gain"),
    (r"style_(conv1|convs\.\d+)\.weight", r"\1.noise_gain"),
    (r"(?:style_)?(conv1|convs\.\d+)\.activate\.bias", r"\1.bias"),
    (r"style_(conv1|convs\.\d+)\.bias", r"\1.bias"),
    (r"(to_rgb1|to_rgbs\.\d+)\.bias", r"\1.bias"),
    (r"noises\.noise_?(\d+)", r"noise_\1"),
    (r"injected_noise_(\d+)", r"noise_\1"),
    (r".*\.(?:blur|upsample)\.kernel", None),
)
"""The StyleGAN2 layouts of rosinality (and GPEN), mmagic and basicsr; their keys do not collide."""

RGB_RULES: tuple[Rule, ...] = ((r"to_rgb(?:1|s\.\d+)\..*", None),)
"""In front of GENERATOR_RULES for a bank whose pictures nobody looks at."""
MAPPING_RULES: tuple[Rule, ...] = ((r"(?:style|style_mapping|style_mlp)\..*", None),)
"""In front of GENERATOR_RULES for a generator that takes w."""


def below(prefix: str, target: str, rules: Iterable[Rule]) -> list[Rule]:
    """Return the rules for keys below `prefix`, whose names in our network begin with `target`."""

    def moved(replacement: str | Callable[[re.Match[str]], str] | None) -> Callable[[re.Match[str]], str] | None:
        if replacement is None:
            return None
        return lambda match: target + (replacement(match) if callable(replacement) else match.expand(replacement))

    return [(re.escape(prefix) + pattern, moved(replacement)) for pattern, replacement in rules]


def rename(key: str, rules: Iterable[Rule]) -> str | None:
    """Return our name of an upstream key: the first rule's whose pattern is the whole key; None = dropped."""
    for pattern, replacement in rules:
        if match := re.fullmatch(pattern, key):
            if replacement is None:
                return None
            return replacement(match) if callable(replacement) else match.expand(replacement)
    return key


def renamed_shapes(shapes: Shapes, rules: Iterable[Rule]) -> dict[str, tuple[int, ...]]:
    """Return the shapes under our names, dropped ones left out."""
    rules = list(rules)
    return {name: shape for key, shape in shapes.items() if (name := rename(key, rules)) is not None}


def translate(
    state: StateDict, rules: Iterable[Rule], network: nn.Module, factors: Mapping[str, float] | None = None
) -> StateDict:
    """Return a state dict under our network's names, in its shapes, each tensor times its factor, all float32.

    Tensors that need no factor are not copied. The network may be on the meta device.

    Raises:
        KeyError: the checkpoint was made with another resampling filter than StyleGAN2's.
    """
    from restorer.networks.stylegan2 import StyledConv, ToRGB

    if state.keys() == network.state_dict().keys():  # a file of our own
        return {key: scaled(value, 1.0) for key, value in state.items()}
    rules, factors = list(rules), factors or {}
    parts = dict(network.named_modules())
    result: StateDict = {}
    for key, value in state.items():
        if key.endswith(".kernel"):
            _check_filter(key, value)
        name = rename(key, rules)
        if name is None:
            continue
        path, _, leaf = name.rpartition(".")
        part = parts.get(path)
        if isinstance(part, StyledConv | ToRGB):
            value = _in_shape(value, leaf, transposed=isinstance(part, StyledConv) and part.transposed)
            if isinstance(part, ToRGB) and leaf == "weight":
                value = value.flatten(1)
        result[name] = scaled(value, factors.get(name, 1.0))
    return result


def _in_shape(value: torch.Tensor, leaf: str, *, transposed: bool) -> torch.Tensor:
    """Bring a modulated convolution's tensor (upstream [1, out, in, k, k], bias [1, c, 1, 1]) into our form."""
    if leaf == "bias":
        return value.flatten()
    if leaf == "weight" and value.ndim == 5:
        return value[0].transpose(0, 1) if transposed else value[0]
    return value


def scaled(value: torch.Tensor, factor: float) -> torch.Tensor:
    """Return the tensor times the factor: float32 (float64 stays), contiguous, one copy at most."""
    import torch

    kind = torch.float64 if value.dtype == torch.float64 else torch.float32
    if factor == 1.0:
        return value.to(kind).contiguous()
    result = torch.empty(value.shape, dtype=kind)
    return torch.mul(value, factor, out=result)


def _check_filter(key: str, kernel: torch.Tensor) -> None:
    """Compare a stored resampling filter with the one that our networks make themselves."""
    import torch

    from restorer.networks.filters import FIR

    taps = torch.tensor(FIR)
    expected = torch.outer(taps, taps)
    if kernel.shape != expected.shape or not torch.allclose(kernel / kernel.sum(), expected / expected.sum()):
        raise KeyError(f"{key} with the filter {list(FIR)}")


def generator_arguments(shapes: Shapes, prefix: str = "") -> dict[str, Any]:
    """Read a generator's arguments from shapes under our own names.

    Returns:
        size, style_dim, n_mlp, narrow, and from 64 px on channel_multiplier; empty where it is no generator.
    """
    constant = shapes.get(f"{prefix}constant", ())
    style = shapes.get(f"{prefix}conv1.modulation.weight", ())
    if len(constant) != 4 or len(style) != 2:
        return {}
    levels = len(_indices(shapes, f"{prefix}convs.")) // 2
    width = constant[1]
    found: dict[str, Any] = {
        "size": 4 << levels,
        "style_dim": style[1],
        "n_mlp": len(_indices(shapes, f"{prefix}mapping.layers.")),
        "narrow": _plain(width / 512),
    }
    inputs = shapes.get(f"{prefix}convs.7.modulation.bias")  # of the second convolution at 64x64
    if inputs:
        # With concatenated noise (GPEN) a convolution behind the first takes twice the width.
        doubled = shapes.get(f"{prefix}conv1.bias", shapes.get(f"{prefix}conv1.activate.bias", (width,)))
        concatenated = math.prod(doubled) == 2 * width
        found["channel_multiplier"] = _plain(inputs[0] / (2 if concatenated else 1) / (width / 2))
    return found


def _indices(shapes: Shapes, prefix: str) -> set[str]:
    """Return the indices that follow a prefix: {"0", "1"} for keys below `convs.`."""
    return {key[len(prefix) :].split(".")[0] for key in shapes if key.startswith(prefix)}


def _plain(number: float) -> float:
    """Return 2 for 2.0, as the reference implementations write it."""
    return int(number) if number == int(number) else number
