"""Training a DCGAN: binary cross-entropy, Adam 2e-4 with beta 0.5, batch 128 (Radford et al., section 4)."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import torch
from PIL import Image
from torch import Tensor, nn

from restorer.imaging.sheets import grid
from restorer.imaging.tensors import to_pictures, to_tensor
from restorer.networks.dcgan import DCGANDiscriminator, DCGANGenerator, init_weights
from restorer.training.datasets import PictureSet, split
from restorer.training.export import write_model
from restorer.training.loop import Place, Trainer, adam, backward, frozen
from restorer.training.losses import logistic_discriminator, nonsaturating_generator
from restorer.training.recipe import Recipe, Values

SIZE = 64


class DCGANTrainer(Trainer):
    """Trains `DCGANGenerator` on the pictures of a folder."""

    kind = "dcgan"
    defaults: ClassVar[Values] = {
        "data": {"folder": "", "validation": 0, "mirror": True, "align": ""},
        "network": {"style_dim": 100, "features": 128},
        "discriminator": {"features": 128},
        "latents": "uniform",
        "steps": 25000,
        "batch": 128,
        "lr": 2e-4,
        "betas": [0.5, 0.999],
        "license": "",
    }

    def __init__(self, recipe: Recipe, data: Path | None, place: Place) -> None:
        super().__init__(recipe, data, place)
        torch.manual_seed(recipe.seed)
        self.generator = DCGANGenerator(**self.values["network"])
        self.discriminator = DCGANDiscriminator(**self.values["discriminator"])
        for network in (self.generator, self.discriminator):
            init_weights(network)
            network.to(place.device)
        betas = (self.values["betas"][0], self.values["betas"][1])
        self.generator_optimiser = adam(self.generator, self.values["lr"], betas)
        self.discriminator_optimiser = adam(self.discriminator, self.values["lr"], betas)
        files, read = self.find_pictures(SIZE)
        training, _ = split(files, self.values["data"]["validation"], recipe.seed)
        self.pictures = PictureSet(training, SIZE, read)

    @property
    def total_steps(self) -> int:
        return int(self.values["steps"])

    def parts(self) -> dict[str, nn.Module | torch.optim.Optimizer]:
        return {
            "generator": self.generator,
            "discriminator": self.discriminator,
            "generator_optimiser": self.generator_optimiser,
            "discriminator_optimiser": self.discriminator_optimiser,
        }

    def step(self, step: int) -> dict[str, Tensor]:
        batch = self.per_process(self.values["batch"])
        drawn = self.pictures.draw(batch, self.rng(step), mirror=self.values["data"]["mirror"])
        real = to_tensor(drawn).to(self.place.device)
        with self.autocast():
            fake = self.generator(self._latents(batch)).float()
            # On logits, the cross-entropies of both players are the logistic losses.
            loss = logistic_discriminator(self.discriminator(real).float(), self.discriminator(fake.detach()).float())
        self.discriminator_optimiser.zero_grad(set_to_none=True)
        backward(loss)
        self.average(self.discriminator)
        self.discriminator_optimiser.step()
        with frozen(self.discriminator), self.autocast():
            adversarial = nonsaturating_generator(self.discriminator(fake).float())
        self.generator_optimiser.zero_grad(set_to_none=True)
        backward(adversarial)
        self.average(self.generator)
        self.generator_optimiser.step()
        return {"discriminator": loss.detach(), "generator": adversarial.detach()}

    def sample(self) -> Image.Image:
        """Return 36 pictures, always of the same z."""
        generator = torch.Generator().manual_seed(0)
        z = torch.rand(36, self.generator.style_dim, generator=generator) * 2 - 1
        self.generator.eval()
        with torch.no_grad():
            pictures = to_pictures(self.generator(z.to(self.place.device)))
        self.generator.train()
        return grid(pictures)

    def export(self, out: Path) -> list[Path]:
        arguments = dict(self.values["network"])
        return write_model(out, self.recipe, "dcgan", arguments, self.generator.state_dict(), self.values["license"])

    def _latents(self, count: int) -> Tensor:
        """Return z: uniform in [-1, 1] as in the paper, or normal as in the PyTorch example."""
        shape = count, self.generator.style_dim
        if self.values["latents"] == "normal":
            return torch.randn(shape, device=self.place.device)
        return torch.rand(shape, device=self.place.device) * 2 - 1
