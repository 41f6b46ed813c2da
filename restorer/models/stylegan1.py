"""The first StyleGAN: PULSE's two checkpoints (synthesis, mapping), and the zoo's single one that holds both."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from restorer.models.base import Architecture
from restorer.models.conversion import scaled

if TYPE_CHECKING:
    import torch
    from torch import nn

    from restorer.models.base import Shapes, StateDict

FUSED_FROM = 128
"""From this side on the enlarging convolution was a transposed one, whose kernels are turned by half a turn."""
ZOO_EPS = 1e-8
"""Of the instance norm in the zoo's network, as in the original; PULSE's has torch's 1e-5."""


class StyleGAN1Architecture(Architecture):
    """The synthesis network, from PULSE's `blocks.4x4.…` or the zoo's `synthesis.layer0.…`."""

    name = "stylegan1"
    role = "prior"
    defaults: ClassVar = {
        "resolution": 1024, "fmap_base": 8192, "fmap_max": 512, "dlatent_size": 512, "eps": 1e-5,
    }  # fmt: skip

    def infer(self, shapes: Shapes) -> dict[str, Any]:
        """Read all arguments from the shapes; which layout it is tells the norm's epsilon."""
        zoo = "synthesis.layer0.const" in shapes
        constant = shapes.get("synthesis.layer0.const" if zoo else "blocks.4x4.const", ())
        style = shapes.get(_upstream("blocks.0.first.style.weight", zoo), ())
        if len(constant) != 4 or len(style) != 2:
            return {}
        pattern = r"synthesis\.layer(\d+)\..*" if zoo else r"blocks\.(\d+)x\d+\..*"
        largest = max(int(found[1]) for key in shapes if (found := re.fullmatch(pattern, key)))
        resolution = 4 << (largest // 2) if zoo else largest
        last = shapes.get(_upstream(f"blocks.{resolution.bit_length() - 3}.second.bias", zoo), ())
        told: dict[str, Any] = {"resolution": resolution, "fmap_max": constant[1], "dlatent_size": style[1]}
        if last:
            told["fmap_base"] = last[0] * resolution // 2
        return told | ({"eps": ZOO_EPS} if zoo else {})

    def convert(self, state: StateDict, arguments: Mapping[str, Any]) -> StateDict:
        """Fold the equalised learning rates and the styles' "+1", and turn the kernels that were transposed.

        Raises:
            KeyError: a blur is not [1, 2, 1].
        """
        import torch

        for key, value in state.items():
            if key.endswith(".intermediate.kernel"):
                _check_blur(key, value)
        zoo = any(key.startswith("synthesis.") for key in state)
        with torch.device("meta"):
            wanted = self.build(arguments).state_dict()
        result: StateDict = {}
        known = set()
        for name, plan in wanted.items():
            upstream = _upstream(name, zoo, int(arguments["resolution"]).bit_length() - 3)
            if zoo and upstream.endswith(".conv.weight") and upstream not in state:
                upstream = upstream.replace(".conv.weight", ".weight")  # the fused ones
            known.add(upstream)
            if upstream in state:
                result[name] = _ours(name, state[upstream], plan.shape, zoo)
        passed = (r".*\.intermediate\.kernel", r"mapping\..*", r"truncation\..*", r"synthesis\.lod",
                  r"synthesis\.output\d+\..*", r"synthesis\.layer\d+\.epilogue\.apply_noise\.noise")  # fmt: skip
        for key, value in state.items():
            if key not in known and not any(re.fullmatch(pattern, key) for pattern in passed):
                result[key] = value  # the layout check names it
        return result

    def build(self, arguments: Mapping[str, Any]) -> nn.Module:
        """Return the generator."""
        from restorer.networks.stylegan1 import StyleGAN1Generator

        return StyleGAN1Generator(**arguments)


class StyleGAN1MappingArchitecture(Architecture):
    """The mapping network, from PULSE's `dense0.…` or the zoo's `mapping.dense0.…`."""

    name = "stylegan1-mapping"
    role = "prior"
    defaults: ClassVar = {"mapping_layers": 8, "dlatent_size": 512}

    def infer(self, shapes: Shapes) -> dict[str, Any]:
        """Read the number of layers and their width."""
        layers = [shape for key, shape in shapes.items() if re.fullmatch(_MAPPING_WEIGHT, key) and len(shape) == 2]
        return {"mapping_layers": len(layers), "dlatent_size": layers[0][0]} if layers else {}

    def convert(self, state: StateDict, arguments: Mapping[str, Any]) -> StateDict:
        """Fold the equalised learning rates, a hundredth of which is stored; the zoo's synthesis is dropped."""
        result: StateDict = {}
        for key, value in state.items():
            if found := re.fullmatch(_MAPPING_WEIGHT, key):
                result[f"layers.{found[1]}.weight"] = scaled(value, math.sqrt(2 / value.shape[1]) * 0.01)
            elif found := re.fullmatch(r"(?:mapping\.)?dense(\d+)\.(?:wscale\.)?bias", key):
                result[f"layers.{found[1]}.bias"] = scaled(value, 0.01)
            elif not key.startswith(("synthesis.", "truncation.")):
                result[key] = value
        return result

    def build(self, arguments: Mapping[str, Any]) -> nn.Module:
        """Return the mapping network."""
        from restorer.networks.stylegan1 import StyleGAN1Mapping

        return StyleGAN1Mapping(**arguments)


_MAPPING_WEIGHT = r"(?:mapping\.)?dense(\d+)\.(?:fc\.)?weight"


def _upstream(name: str, zoo: bool, last: int = 0) -> str:
    """Return what a tensor of our network is called in a checkpoint; `last` is the number of its last block."""
    if name == "constant":
        return "synthesis.layer0.const" if zoo else "blocks.4x4.const"
    if found := re.fullmatch(r"to_rgb\.(weight|bias)", name):
        zoos = f"synthesis.output{last}.{'conv.weight' if found[1] == 'weight' else 'bias'}"
        return zoos if zoo else f"torgb.{found[1]}"
    found = re.fullmatch(r"blocks\.(\d+)\.(up|conv|first|second)\.(.*)", name)
    assert found is not None, name
    level, part, leaf = int(found[1]), found[2], found[3]
    second = part in ("conv", "second")
    return (_in_zoo if zoo else _in_pulse)(level, part, leaf, second)


def _in_pulse(level: int, part: str, leaf: str, second: bool) -> str:
    block = f"blocks.{4 << level}x{4 << level}"
    if leaf == "noise_gain":
        return f"{block}.epi{1 + second}.noise.weight"
    if leaf.startswith("style."):
        return f"{block}.epi{1 + second}.style_mod.lin.{leaf[6:]}"
    if level == 0:
        return f"{block}.conv.{leaf}" if second else f"{block}.{leaf}"
    return f"{block}.{'conv1' if second else 'conv0_up'}.{leaf}"


def _in_zoo(level: int, part: str, leaf: str, second: bool) -> str:
    layer = f"synthesis.layer{2 * level + second}"
    if part in ("up", "conv"):
        return f"{layer}.conv.{leaf}"
    if leaf == "noise_gain":
        return f"{layer}.epilogue.apply_noise.weight"
    if leaf.startswith("style."):
        return f"{layer}.epilogue.style_mod.dense.{'fc.weight' if leaf == 'style.weight' else 'wscale.bias'}"
    return f"{layer}.epilogue.bias"


def _ours(name: str, value: torch.Tensor, shape: torch.Size, zoo: bool) -> torch.Tensor:
    """Return an upstream tensor as our network takes it."""
    if re.search(r"\.(up|conv)\.weight$", name) and value.ndim == 4:
        level = int(name.split(".")[1])
        if ".up." in name and 4 << level >= FUSED_FROM:
            value = value.permute(3, 2, 0, 1) if zoo else value
            value = value.flip(2, 3)
        return scaled(value, math.sqrt(2 / (9 * value.shape[1])))
    if name == "to_rgb.weight" or name.endswith(".style.weight"):
        return scaled(value, 1 / math.sqrt(value.shape[1]))
    if name.endswith(".style.bias"):
        value = value.clone()
        value[: len(value) // 2] += 1
    if name.endswith((".noise_gain", ".bias")):
        value = value.flatten()
    return scaled(value, 1.0)


def _check_blur(key: str, kernel: torch.Tensor) -> None:
    """Compare a stored blur with the one that the network makes itself."""
    import torch

    taps = torch.tensor([1.0, 2.0, 1.0])
    expected = torch.outer(taps, taps) / 16
    if kernel.numel() != 9 or not torch.allclose(kernel.float().reshape(3, 3), expected, atol=1e-5):
        raise KeyError(f"{key} with the filter [1, 2, 1]")


ARCHITECTURES = (StyleGAN1Architecture(), StyleGAN1MappingArchitecture())
