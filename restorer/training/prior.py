"""Training a StyleGAN2 prior that grows: non-saturating logistic loss, R1, path length, EMA, augmentation.

Karras et al. 2020 for the losses, Zhao et al. 2020 for the augmentation, and for small machines growth as in PGGAN
(Karras et al. 2018): each stage takes over the weights of the one before and adds a resolution.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from restorer.errors import UsageError
from restorer.imaging.sheets import grid
from restorer.imaging.tensors import to_pictures, to_tensor
from restorer.networks.discriminator import StyleGAN2Discriminator, grow_state
from restorer.networks.mobilefacenet import MobileFaceNet, crop_faces
from restorer.networks.stylegan2 import StyleGAN2Generator
from restorer.training.augment import augment
from restorer.training.datasets import PictureSet, split
from restorer.training.export import write_model
from restorer.training.identity import identity_crops, load_identity
from restorer.training.loop import Place, Trainer, adam, backward, follow, frozen, placed
from restorer.training.losses import (
    diversity_loss,
    logistic_discriminator,
    nonsaturating_generator,
    path_lengths,
    r1_penalty,
)
from restorer.training.people import PAPERS
from restorer.training.recipe import Recipe, Values

STAGE: Values = {
    "size": 64,
    "pictures": 0,
    "batch": 32,
    "r1": 0.5,
    "fade": 0,
    "lr": 0.0025,
    "discriminator_lr": 0.0025,
    "augment": ["color", "translation", "cutout"],
    "noise": 1.0,
}
"""What a stage of growth may set. `noise` is the strength of all noise: where a short training has left to the noise
what latents should say, a stage without any teaches the generator to do without."""


class PriorTrainer(Trainer):
    """Trains `StyleGAN2Generator` on the pictures of a folder."""

    kind = "prior"
    defaults: ClassVar[Values] = {
        "data": {"folder": "", "validation": 0, "mirror": True, "align": "", **PAPERS},
        "network": {"style_dim": 512, "n_mlp": 8, "channel_multiplier": 2.0, "narrow": 1.0},
        "discriminator": {"channel_multiplier": 2.0, "narrow": 1.0, "stddev_group": 4},
        "stages": [],
        "betas": [0.0, 0.99],
        "r1_every": 16,
        "path_length": 2.0,
        "path_every": 4,
        "path_shrink": 2,
        "style_mixing": 0.9,
        "ema_pictures": 10000,
        "ema_rampup": 0.05,
        "identity_weights": "",
        "diversity": 0.0,
        "diversity_every": 4,
        "diversity_truncation": 0.7,
        "license": "",
    }

    def __init__(self, recipe: Recipe, data: Path | None, place: Place) -> None:
        super().__init__(recipe, data, place)
        self.stages = [
            Recipe(recipe.kind, recipe.name, 0, stage, recipe.folder, "").complete(STAGE)
            for stage in self.values["stages"]
        ]
        sizes = [stage["size"] for stage in self.stages]
        if not sizes or any(b not in (a, 2 * a) for a, b in pairwise(sizes)):
            raise UsageError(
                f"The stages of {recipe.name!r} have the sizes {sizes}.",
                "Each stage has the size of the one before, or twice that.",
            )
        files, self.read = self.find_pictures(sizes[-1])
        self.files, _ = split(files, self.values["data"]["validation"], recipe.seed)
        self.seen_before = [0]
        self.steps_before = [0]
        for stage in self.stages:
            steps = -(-stage["pictures"] // stage["batch"])
            self.steps_before.append(self.steps_before[-1] + steps)
            self.seen_before.append(self.seen_before[-1] + steps * stage["batch"])
        self.identity = load_identity(recipe, self.values["identity_weights"], place.device)
        self.stage = -1
        self.generator: StyleGAN2Generator
        self.average_generator: StyleGAN2Generator
        self.discriminator: StyleGAN2Discriminator
        self._enter(0)

    @property
    def total_steps(self) -> int:
        return self.steps_before[-1]

    def pictures_of(self, step: int) -> int:
        stage = self._stage_of(step)
        return self.seen_before[stage] + (step - self.steps_before[stage]) * int(self.stages[stage]["batch"])

    def parts(self) -> dict[str, nn.Module | torch.optim.Optimizer]:
        return {
            "generator": self.generator,
            "average": self.average_generator,
            "discriminator": self.discriminator,
            "generator_optimiser": self.generator_optimiser,
            "discriminator_optimiser": self.discriminator_optimiser,
        }

    def extra_state(self) -> dict[str, Any]:
        return {"stage": self.stage, "path_mean": self.path_mean}

    def restore(self, state: Mapping[str, Any]) -> None:
        if self.stage != state["extra"]["stage"]:
            self._enter(int(state["extra"]["stage"]))
        super().restore(state)
        self.path_mean = state["extra"]["path_mean"].clone()

    def step(self, step: int) -> dict[str, Tensor]:
        stage = self._stage_of(step)
        if stage != self.stage:
            self._enter(stage)
        settings = self.stages[stage]
        batch = self.per_process(settings["batch"])
        shown = (step - self.steps_before[stage]) * settings["batch"]
        alpha = min(1.0, shown / settings["fade"]) if settings["fade"] else 1.0
        drawn = self.pictures.draw(batch, self.rng(step), mirror=self.values["data"]["mirror"])
        real = to_tensor(drawn).to(self.place.device, memory_format=torch.channels_last)
        losses = self._train_discriminator(step, real, alpha, settings["r1"])
        losses |= self._train_generator(step, batch, alpha)
        seen = self.pictures_of(step)
        half_life = min(self.values["ema_pictures"], seen * self.values["ema_rampup"])
        follow(self.average_generator, self.generator, 0.5 ** (settings["batch"] / max(half_life, 1e-8)))
        return losses

    def sample(self) -> Image.Image:
        """Return 36 pictures of the averaged generator at truncation 0.7, always of the same z."""
        network = self.average_generator
        z = torch.randn(36, network.style_dim, generator=torch.Generator().manual_seed(0)).to(self.place.device)
        with torch.no_grad():
            network.update_latent_avg()
            return grid(to_pictures(network(z, truncation=0.7)))

    def export(self, out: Path) -> list[Path]:
        network = self.average_generator
        network.update_latent_avg()
        arguments = {"size": network.size, **self.values["network"]}
        return write_model(out, self.recipe, "stylegan2", arguments, network.state_dict(), self.values["license"])

    # ------------------------------------------------------------------------------------------------ one step

    def _train_discriminator(self, step: int, real: Tensor, alpha: float, r1: float) -> dict[str, Tensor]:
        with torch.no_grad(), self.autocast():
            fake = self._pictures(self._latents(len(real)))
        regularise = step % self.values["r1_every"] == 0
        real.requires_grad_(regularise)
        self.discriminator_optimiser.zero_grad(set_to_none=True)
        kinds = self.stages[self.stage]["augment"]
        with self.autocast():
            of_fake = self.discriminator(
                augment(fake.float(), kinds).contiguous(memory_format=torch.channels_last), alpha
            )
            of_real = self.discriminator(augment(real, kinds).contiguous(memory_format=torch.channels_last), alpha)
        loss = logistic_discriminator(of_real, of_fake)
        losses = {"discriminator": loss.detach(), "real": of_real.detach().mean(), "fake": of_fake.detach().mean()}
        if regularise:
            penalty = r1_penalty(of_real, real)
            loss = loss + penalty * (r1 * self.values["r1_every"])
            losses["r1"] = penalty.detach()
        backward(loss)
        self.average(self.discriminator)
        self.discriminator_optimiser.step()
        return losses

    def _train_generator(self, step: int, batch: int, alpha: float) -> dict[str, Tensor]:
        self.generator_optimiser.zero_grad(set_to_none=True)
        with frozen(self.discriminator), self.autocast():
            fake = self._pictures(self._latents(batch)).float()
            kinds = self.stages[self.stage]["augment"]
            verdict = self.discriminator(augment(fake, kinds).contiguous(memory_format=torch.channels_last), alpha)
        loss = nonsaturating_generator(verdict)
        losses = {"generator": loss.detach()}
        backward(loss)
        if self.values["path_every"] and step % self.values["path_every"] == 0:
            with self.autocast():
                latents = self._latents(max(batch // self.values["path_shrink"], 1))
                pictures = self._pictures(latents)
            lengths = path_lengths(pictures, latents)
            self.path_mean = torch.lerp(self.path_mean, self.mean(lengths.detach().mean()), 0.01)
            penalty = (lengths - self.path_mean).square().mean()
            backward(penalty * (self.values["path_length"] * self.values["path_every"]))
            losses["path"] = penalty.detach()
        if self.identity is not None and self.values["diversity"] and step % self.values["diversity_every"] == 0:
            alike = diversity_loss(self._embed_truncated(self.identity, batch))
            backward(alike * (self.values["diversity"] * self.values["diversity_every"]))
            losses["alike"] = alike.detach()
        self.average(self.generator)
        self.generator_optimiser.step()
        return losses

    def _embed_truncated(self, identity: MobileFaceNet, count: int) -> Tensor:
        """Return the embeddings (count, d) of faces drawn with truncation, which makes them more alike."""
        network, device = self.generator, self.place.device
        assert network.mapping is not None  # _latents has raised
        with self.autocast():
            with torch.no_grad():
                middle = network.mapping(torch.randn(256, network.style_dim, device=device)).mean(0)
            w = network.mapping(torch.randn(count, network.style_dim, device=device))
            w = torch.lerp(middle.expand_as(w), w, self.values["diversity_truncation"])
            pictures = self._pictures(w[:, None].expand(-1, network.num_latents, -1))
            still = np.tile(np.eye(2, 3), (count, 1, 1))  # a prior's faces stand as in the template
            crops = crop_faces(pictures, identity_crops(pictures.shape[-1], still).to(device))
            return identity.embed(identity.features(crops)[-1])

    def _latents(self, count: int) -> Tensor:
        """Return w+ (count, codes, style_dim) of random z, two of them mixed at a random place now and then."""
        network = self.generator
        if network.mapping is None:
            raise UsageError("A prior needs a mapping network.", "Set network.n_mlp to 1 or more.")
        device, codes = self.place.device, network.num_latents
        first, second = network.mapping(torch.randn(2 * count, network.style_dim, device=device)).chunk(2)
        cut = torch.randint(1, codes, (count, 1, 1), device=device)
        mixes = torch.rand(count, 1, 1, device=device) < self.values["style_mixing"]
        keep = (torch.arange(codes, device=device)[None, :, None] < cut) | ~mixes
        return torch.where(keep, first[:, None], second[:, None])

    def _pictures(self, latents: Tensor) -> Tensor:
        strength = self.stages[self.stage]["noise"]
        noise = [strength * noise for noise in self.generator.draw_noise(batch=len(latents))]
        return self.generator.synthesize(latents, noise)

    # ---------------------------------------------------------------------------------------------- growing

    def _store_noise(self, generator: StyleGAN2Generator, strength: float) -> None:
        """Give the generator the stored noise of a stage; the averaged copy takes it over with the next step."""
        source = torch.Generator().manual_seed(self.recipe.seed)
        for noise in generator.stored_noise():
            noise.copy_(strength * torch.randn(noise.shape, generator=source))

    def _stage_of(self, step: int) -> int:
        """Return the stage that the step (counted from 1) belongs to."""
        for stage, last in enumerate(self.steps_before[1:]):
            if step <= last:
                return stage
        return len(self.stages) - 1

    def _enter(self, stage: int) -> None:
        """Build the networks of a stage, with the weights of the stage before where there is one."""
        settings, place = self.stages[stage], self.place
        torch.manual_seed(self.recipe.seed + stage)
        generator = StyleGAN2Generator(settings["size"], **self.values["network"])
        discriminator = StyleGAN2Discriminator(settings["size"], **self.values["discriminator"])
        average = copy.deepcopy(generator)
        if self.stage >= 0:
            for old, new in ((self.generator, generator), (self.average_generator, average)):
                fresh = grow_state(old.state_dict(), new)
                # A new resolution begins as the enlarged picture of the one before.
                for key in fresh:
                    if key.startswith("to_rgbs.") and key.count(".") == 2 and key.endswith((".weight", ".bias")):
                        new.get_parameter(key).data.zero_()
            grow_state(self.discriminator.state_dict(), discriminator)
        self._store_noise(generator, settings["noise"])
        self.generator = placed(generator, place.device)
        self.discriminator = placed(discriminator, place.device)
        self.average_generator = placed(average, place.device).requires_grad_(False)
        betas = (self.values["betas"][0], self.values["betas"][1])
        self.generator_optimiser = adam(self.generator, settings["lr"], betas)
        self.discriminator_optimiser = adam(self.discriminator, settings["discriminator_lr"], betas)
        self.pictures = PictureSet(self.files, settings["size"], self.read)
        self.path_mean = torch.zeros((), device=place.device) if self.stage < 0 else self.path_mean
        self.stage = stage
