"""An adversarial loss for texture: it pulls at the pixels of a restored picture, in measure.

Faces that were learnt by differences of pixels are smooth where the input says nothing: of all the skins and hairs that
could be there their mean is nearest. A discriminator that looks at small patches tells such a mean from a photograph.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from restorer.networks.discriminator import TextureDiscriminator
from restorer.training.loop import Trainer, adam, backward, placed
from restorer.training.losses import logistic_discriminator, nonsaturating_generator, r1_penalty

SEEN = 128
"""Side of the part of each picture that is looked at."""
LR = 1e-3
BETAS = (0.5, 0.99)
R1 = 0.3
R1_EVERY = 8
"""Weight of the gradient penalty, and steps between two of them (lazy regularisation, StyleGAN2, section 4.1)."""
RAMP = 100
"""Steps over which the pull grows to its strength: at first the discriminator knows nothing."""


class TextureCritic:
    """The discriminator of a training, its optimiser, and what both do in a step.

    Args:
        trainer: whose network draws.
    """

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer
        self.network = placed(TextureDiscriminator(), trainer.place.device)
        self.optimiser = adam(self.network, LR, BETAS)
        self.steps = 0

    def parts(self) -> dict[str, nn.Module | torch.optim.Optimizer]:
        """Return what belongs into a checkpoint."""
        return {"critic": self.network, "critic_optimiser": self.optimiser}

    def pull(self, found: Tensor, share: float, slope: Tensor) -> tuple[Tensor, Tensor]:
        """Return which way the verdict on pictures (n, 3, h, w) moves them, and the loss.

        The gradient is as long as `share` of `slope`, that of the other losses: so it neither vanishes where the
        discriminator is sure of itself, nor takes over.
        """
        seen = found.detach().requires_grad_()
        with self.trainer.autocast():
            verdicts = self.network(seen)
        loss = nonsaturating_generator(verdicts.float())
        (gradient,) = torch.autograd.grad(loss, seen)
        strength = share * min(1.0, (self.steps + 1) / RAMP)
        return gradient * (strength * slope.norm() / gradient.norm().clamp_min(1e-12)), loss.detach()

    def learn(self, clean: Tensor, found: Tensor) -> Tensor:
        """Teach the discriminator to tell real pictures from drawn ones, both (n, 3, h, w); return its loss."""
        self.steps += 1
        penalised = self.steps % R1_EVERY == 0
        real = clean.detach().clone().requires_grad_(penalised)
        with self.trainer.autocast():
            verdicts, others = self.network(real), self.network(found.detach())
        loss = logistic_discriminator(verdicts.float(), others.float())
        told = loss.detach()
        if penalised:
            loss = loss + R1_EVERY * R1 * r1_penalty(verdicts.float().mean((1, 2, 3)), real)
        self.optimiser.zero_grad(set_to_none=True)
        backward(loss)
        self.trainer.average(self.network)
        self.optimiser.step()
        return told
