"""The StyleGAN2 prior by itself: draws pictures, and is the start of banks and restorers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from restorer.models.base import Architecture
from restorer.models.conversion import GENERATOR_RULES, generator_arguments, renamed_shapes, translate

if TYPE_CHECKING:
    from torch import nn

    from restorer.models.base import Shapes, StateDict


class StyleGAN2Architecture(Architecture):
    """StyleGAN2 checkpoints of rosinality (`g_ema`), mmagic (`generator_ema`) and basicsr (`params_ema`)."""

    name = "stylegan2"
    role = "prior"
    defaults: ClassVar = {"size": 1024, "style_dim": 512, "n_mlp": 8, "channel_multiplier": 2, "narrow": 1}

    def infer(self, shapes: Shapes) -> dict[str, Any]:
        """Read all arguments from the shapes."""
        return generator_arguments(renamed_shapes(shapes, GENERATOR_RULES))

    def convert(self, state: StateDict, arguments: Mapping[str, Any]) -> StateDict:
        """Fold the equalised learning rates, and add the mean latent where the checkpoint has none."""
        import torch

        from restorer.networks.stylegan2 import StyleGAN2Generator, equalised_scales
        from restorer.weights import aligned

        with torch.device("meta"):
            network = self.build(arguments)
        assert isinstance(network, StyleGAN2Generator)
        result = translate(state, GENERATOR_RULES, network, equalised_scales(network))
        if "latent_avg" not in result and network.mapping is not None:
            layers = {
                key.removeprefix("mapping."): aligned(value)
                for key, value in result.items()
                if key.startswith("mapping.")
            }
            wanted = {key: value.shape for key, value in network.mapping.state_dict().items()}
            if {key: value.shape for key, value in layers.items()} == wanted:  # else the layout check speaks up
                network.mapping.load_state_dict(layers, assign=True)
                result["latent_avg"] = network.mapping.mean()
        return result

    def build(self, arguments: Mapping[str, Any]) -> nn.Module:
        """Return the generator."""
        from restorer.networks.stylegan2 import StyleGAN2Generator

        return StyleGAN2Generator(**arguments)


ARCHITECTURES = (StyleGAN2Architecture(),)
