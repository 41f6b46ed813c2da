"""What GFP-GAN's training adds and its result does not keep: judges of eyes and mouth, and RGB heads for the pyramid.

The facial component loss has small discriminators for eyes and mouth, and the Gram style of their features.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from restorer.networks.discriminator import EqualConv
from restorer.training.geometry import COMPONENTS, component
from restorer.training.losses import logistic_discriminator, nonsaturating_generator, style_loss

SIDE = 40
"""Side at which components are judged: eyes of a 256 px face have about 56, mouths 84 pixels."""


class ComponentDiscriminator(nn.Module):
    """Judges components (n, 3, s, s) place by place; its features serve the style loss."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            [EqualConv(3, width, 3), EqualConv(width, 2 * width, 3), EqualConv(2 * width, 4 * width, 3)]
        )
        self.last = EqualConv(4 * width, 1, 1, linear=True)

    def features(self, x: Tensor) -> list[Tensor]:
        """Return the features behind each block, each half the resolution of the one before."""
        found = []
        for index, block in enumerate(self.blocks):
            x = block(nn.functional.avg_pool2d(x, 2) if index else x)
            found.append(x)
        return found

    def forward(self, x: Tensor) -> Tensor:
        """Return verdicts (n, 1, s/4, s/4)."""
        verdict: Tensor = self.last(self.features(x)[-1]).float()
        return verdict


class Components(nn.Module):
    """The discriminators of left eye, right eye and mouth, with their losses."""

    def __init__(self) -> None:
        super().__init__()
        self.discriminators = nn.ModuleDict({name: ComponentDiscriminator() for name in COMPONENTS})

    def losses(
        self, output: Tensor, clean: Tensor, moved: NDArray[np.float64], weights: Mapping[str, float]
    ) -> dict[str, Tensor]:
        """Return the restorer's losses: `components` (adversarial) and `component_style` (Gram)."""
        adversarial, style = [], []
        for name, discriminator in self._each():
            found = discriminator.features(component(output, name, moved, SIDE))
            adversarial.append(nonsaturating_generator(discriminator.last(found[-1]).float()))
            if "component_style" in weights:
                with torch.no_grad():
                    wanted = discriminator.features(component(clean, name, moved, SIDE))
                style.append(style_loss(found[:2], wanted[:2]))
        losses = {"components": torch.stack(adversarial).sum()} if "components" in weights else {}
        return losses | ({"component_style": torch.stack(style).sum()} if style else {})

    def judge_losses(self, output: Tensor, clean: Tensor, moved: NDArray[np.float64]) -> Tensor:
        """Return the discriminators' own loss, summed over the parts."""
        return torch.stack(
            [
                logistic_discriminator(
                    discriminator(component(clean, name, moved, SIDE)),
                    discriminator(component(output, name, moved, SIDE)),
                )
                for name, discriminator in self._each()
            ]
        ).sum()

    def _each(self) -> list[tuple[str, ComponentDiscriminator]]:
        found = []
        for name, discriminator in self.discriminators.items():
            assert isinstance(discriminator, ComponentDiscriminator)
            found.append((name, discriminator))
        return found


class PyramidHeads(nn.Module):
    """RGB heads on the U-Net's decoder, which the pyramid loss looks at; they are not part of the result."""

    def __init__(self, blocks: nn.ModuleList, widths: list[int]) -> None:
        super().__init__()
        self.to_rgb = nn.ModuleList(nn.Conv2d(width, 3, 1) for width in widths)
        self._features: dict[int, Tensor] = {}
        for index, block in enumerate(blocks):
            block.register_forward_hook(lambda _module, _inputs, output, index=index: self._keep(index, output))

    def _keep(self, index: int, output: Tensor) -> None:
        if output.requires_grad:
            self._features[index] = output

    def forward(self) -> list[Tensor]:
        """Return the pictures (n, 3, h, w) at each resolution of the last forward pass."""
        return [head(self._features[index].float()) for index, head in enumerate(self.to_rgb)]
