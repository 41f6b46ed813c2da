"""The trainings of GLEAN, LightGLEAN, GFP-GAN and GPEN: what each paper adds to what all restorers share."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn

from restorer.networks.discriminator import grow_state
from restorer.training.components import PyramidHeads
from restorer.training.recipe import Values
from restorer.training.restoring import RESTORER_DEFAULTS, RestorerTrainer


class GLEANTrainer(RestorerTrainer):
    """GLEAN: MSE 1, perceptual 1e-2, adversarial 1e-2, latent bank frozen (section 3.2 and the official configs)."""

    kind = architecture = "glean"
    bank = "bank"
    defaults: ClassVar[Values] = {
        **RESTORER_DEFAULTS,
        "losses": {**RESTORER_DEFAULTS["losses"], "mse": 1.0, "perceptual": 1e-2, "adversarial": 1e-2},
    }


class LightGLEANTrainer(GLEANTrainer):
    """LightGLEAN: as GLEAN; its constant latents begin at the prior's mean."""

    kind = architecture = "lightglean"

    def _take_prior(self, file: Path) -> None:
        from safetensors.torch import load_file

        super()._take_prior(file)
        average = load_file(file).get("latent_avg")
        start = getattr(self.network, "start_from", None)
        if average is not None and callable(start):
            start(average.float())


class GFPGANTrainer(RestorerTrainer):
    """GFP-GAN: L1, perceptual, adversarial, facial components with Gram style, identity, pyramid (section 3.4)."""

    kind = "gfpgan"
    # The paper's form, whose generator is StyleGAN2; the later "clean" form resamples otherwise and fits no prior.
    architecture = "gfpgan-original"
    bank = "generator"
    equalised = True
    defaults: ClassVar[Values] = {
        **RESTORER_DEFAULTS,
        "losses": {
            **RESTORER_DEFAULTS["losses"],
            "l1": 0.1,
            "perceptual": 1.0,
            "adversarial": 0.1,
            "components": 1.0,
            "component_style": 200.0,
            "identity": 10.0,
            "pyramid": 1.0,
        },
    }

    def _pyramid_heads(self) -> PyramidHeads:
        blocks = self.network.get_submodule("up")
        assert isinstance(blocks, nn.ModuleList)
        return PyramidHeads(blocks, [len(block.get_parameter("conv2.weight")) for block in blocks])


class GPENTrainer(RestorerTrainer):
    """GPEN: adversarial, L1 1, discriminator feature matching 0.02; the prior is fine-tuned with the encoder."""

    kind = architecture = "gpen"
    bank = "generator"
    equalised = True
    defaults: ClassVar[Values] = {
        **RESTORER_DEFAULTS,
        "prior": {**RESTORER_DEFAULTS["prior"], "frozen": False},
        "losses": {**RESTORER_DEFAULTS["losses"], "l1": 1.0, "matching": 0.02, "adversarial": 1.0},
    }

    def _fill_bank(self, prior: dict[str, Tensor]) -> list[str]:
        """Copy the prior into the leading channels of the bank, which has twice as many where features come in.

        The weights of the added channels begin at 0, so the network begins as the prior itself.
        """
        fresh = widen(prior, self.network.get_submodule(self.bank))
        mapping = {key.removeprefix("mapping."): value for key, value in prior.items() if key.startswith("mapping.")}
        return fresh + grow_state(mapping, self.network.get_submodule("mapping"))


def widen(prior: dict[str, Tensor], bank: nn.Module) -> list[str]:
    """Copy a generator's tensors into one that takes concatenated noise; return the names that the prior lacks.

    What the bank has beyond the prior's shape becomes 0, except for modulations, which keep their start: they scale
    channels whose weights are 0.
    """
    fresh = []
    for name, parameter in bank.named_parameters():
        if name not in prior:
            fresh.append(name)
            continue
        leading = tuple(slice(0, length) for length in prior[name].shape)
        with torch.no_grad():
            if ".modulation." not in name:
                parameter.zero_()
            parameter[leading] = prior[name]
    return fresh
