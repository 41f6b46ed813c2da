"""GFP-GAN: the original network (1) and the "clean" ones (1.2, 1.3, 1.4)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from restorer.models.base import CropSpec, FaceArchitecture
from restorer.models.conversion import (
    GENERATOR_RULES,
    MAPPING_RULES,
    Rule,
    below,
    generator_arguments,
    renamed_shapes,
    translate,
)
from restorer.models.templates import FACEXLIB

if TYPE_CHECKING:
    import torch
    from torch import nn

    from restorer.models.base import RunningNetwork, Shapes, StateDict
    from restorer.networks.stylegan2 import Upsampling

_SHARED: tuple[Rule, ...] = (
    *below("stylegan_decoder.", "generator.", (*MAPPING_RULES, *GENERATOR_RULES)),
    (r"toRGB\..*", None),  # heads for a loss of the training
    (r"final_linear\.(weight|bias)", r"to_latents.\1"),
    (r"condition_(scale|shift)\.(\d+)\.([02])\.(weight|bias)", r"\1.\2.\3.\4"),
)
CLEAN: tuple[Rule, ...] = (
    *_SHARED,
    (r"conv_body_first\.(weight|bias)", r"first.\1"),
    (r"final_conv\.(weight|bias)", r"last.\1"),
    (r"conv_body_(down|up)\.(\d+)\.(conv1|conv2|skip)\.(weight|bias)", r"\1.\2.\3.\4"),
)
ORIGINAL: tuple[Rule, ...] = (
    *_SHARED,
    (r"conv_body_first\.\d\.(weight|bias)", r"first.\1"),
    (r"final_conv\.\d\.(weight|bias)", r"last.\1"),
    (r"conv_body_(down|up)\.(\d+)\.(conv1|conv2|skip)\.(?:\d\.|activation\.)?(weight|bias)", r"\1.\2.\3.\4"),
)


class GFPGANArchitecture(FaceArchitecture):
    """GFP-GAN 1.2, 1.3 and 1.4: bilinear resampling, all gains in the weights."""

    name = "gfpgan"
    defaults: ClassVar = {"out_size": 512, "num_style_feat": 512, "channel_multiplier": 2, "num_mlp": 8, "narrow": 1}
    controls = ("seed",)
    rules: ClassVar = CLEAN
    resampling: ClassVar[Upsampling] = "bilinear"

    def crop(self, arguments: Mapping[str, Any]) -> CropSpec:
        """Return faces aligned by facexlib's five points, the same size in and out."""
        size = int(arguments["out_size"])
        return CropSpec(size, size, size, FACEXLIB)

    def infer(self, shapes: Shapes) -> dict[str, Any]:
        """Read all arguments from the generator's shapes; `num_mlp` is that of a mapping network that is never run."""
        found = generator_arguments(renamed_shapes(shapes, self.rules), "generator.")
        names = {"size": "out_size", "style_dim": "num_style_feat"}
        return {names.get(key, key): value for key, value in found.items() if key != "n_mlp"}

    def convert(self, state: StateDict, arguments: Mapping[str, Any]) -> StateDict:
        """Drop the mapping network and the RGB heads of the U-Net, and bring all gains to our generator's form."""
        import torch

        with torch.device("meta"):
            network = self.build(arguments)
        return translate(state, self.rules, network, self.gains(network))

    def gains(self, network: nn.Module) -> dict[str, float]:
        """Return the factors of what upstream stores with a gain that our generator applies itself.

        Upstream multiplies by sqrt(2) before it adds noise and bias, which are stored with it; ours does so behind.
        """
        wanted = (".noise_gain", ".bias")
        return {
            name: math.sqrt(0.5)
            for name, _ in network.named_parameters()
            if name.startswith(("generator.conv1.", "generator.convs."))
            and name.endswith(wanted)
            and ".modulation." not in name
        }

    def build(self, arguments: Mapping[str, Any]) -> nn.Module:
        """Return the network."""
        from restorer.networks.gfpgan import GFPGAN

        wanted = {key: value for key, value in arguments.items() if key != "num_mlp"}
        return GFPGAN(**wanted, resampling=self.resampling)

    def restore(
        self, network: RunningNetwork, crops: torch.Tensor, *, fidelity: float | None = None, seed: int | None = None
    ) -> torch.Tensor:
        """Return restored crops; with a seed, every face gets the same other noise than the stored one."""
        restored: torch.Tensor = network(crops) if seed is None else network(crops, seed=seed)
        return restored


class OriginalGFPGANArchitecture(GFPGANArchitecture):
    """GFP-GAN 1, the paper's model: StyleGAN2's resampling, equalised learning rates that are folded at load."""

    name = "gfpgan-original"
    defaults: ClassVar = {**GFPGANArchitecture.defaults, "channel_multiplier": 1}
    rules: ClassVar = ORIGINAL
    resampling: ClassVar[Upsampling] = "fir"

    def gains(self, network: nn.Module) -> dict[str, float]:
        """Return each parameter's equalised scale, with the sqrt(2) of activations and the 1/sqrt(2) of residual sums.

        A gain behind a leaky ReLU may stand in front of it, in the weight and bias. In a residual block the second
        convolution's sqrt(2) and the sum's 1/sqrt(2) cancel; the skip keeps the latter.
        """
        from torch.nn import Conv2d, Linear

        from restorer.networks.stylegan2 import equalised_scales

        factors = equalised_scales(network)
        for path, part in network.named_modules():
            if not isinstance(part, Conv2d | Linear):
                continue
            gain = math.sqrt(2) if path.endswith((".conv1", ".0")) or path in ("first", "last") else 1.0
            if path.endswith(".skip"):
                gain = math.sqrt(0.5)
            factors[f"{path}.weight"] = gain / math.sqrt(part.weight[0].numel())
            factors[f"{path}.bias"] = gain
        return factors


ARCHITECTURES = (GFPGANArchitecture(), OriginalGFPGANArchitecture())
