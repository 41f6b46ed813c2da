"""Training face restorers: what GLEAN, LightGLEAN, GFP-GAN and GPEN (`restorers`) have in common.

Each kind's losses are weights in the recipe's `losses` table; 0 leaves one out. Where a paper takes a pretrained VGG
for its perceptual loss, this takes the identity network's features when its weights are given, and the discriminator's
own otherwise.
"""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any, ClassVar

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from restorer.errors import UsageError
from restorer.imaging.sheets import sheet
from restorer.imaging.tensors import to_pictures
from restorer.networks.discriminator import StyleGAN2Discriminator, grow_state
from restorer.networks.mobilefacenet import MobileFaceNet, crop_faces
from restorer.training.components import Components, PyramidHeads
from restorer.training.datasets import PictureSet, split
from restorer.training.degradations import DEFAULTS, Degradation
from restorer.training.export import write_model
from restorer.training.identity import identity_crops, load_identity
from restorer.training.loop import Place, Trainer, adam, backward, follow, frozen, placed, set_rate
from restorer.training.losses import (
    feature_loss,
    identity_loss,
    logistic_discriminator,
    nonsaturating_generator,
    pyramid_loss,
    r1_penalty,
    texture_loss,
)
from restorer.training.pairs import Degrade, PairMaker, Pairs, fixed_pairs
from restorer.training.people import PAPERS
from restorer.training.recipe import Recipe, Values
from restorer.training.wear.mixture import DEFAULTS as MIXTURE
from restorer.training.wear.mixture import Mixture

RESTORER_DEFAULTS: Values = {
    "data": {
        "folder": "",
        "validation": 0,
        "mirror": True,
        "align": "",
        **PAPERS,
        "jitter": 0.0,
        "zoom": 0.1,
        "shift": 0.03,
        "turn": 5.0,
    },
    "degradation": DEFAULTS,
    "real_world": False,
    "network": {},
    "prior": {"file": "", "discriminator": "", "frozen": True},
    "discriminator": {"channel_multiplier": 2.0, "narrow": 1.0, "stddev_group": 4},
    "losses": {
        "l1": 0.0,
        "mse": 0.0,
        "perceptual": 0.0,
        "matching": 0.0,
        "adversarial": 0.0,
        "identity": 0.0,
        "components": 0.0,
        "component_style": 0.0,
        "pyramid": 0.0,
        "texture": 0.0,
    },
    "identity_weights": "",
    "identity_share": 1.0,
    "steps": 300000,
    "batch": 8,
    "lr": 1e-4,
    "lr_end": 1e-4,
    "warmup": 0,
    "clip": 0.0,
    "betas": [0.9, 0.99],
    "discriminator_lr": 1e-4,
    "adversarial_from": 0,
    "adversarial_until": 0,
    "texture_from": 0,
    "texture_window": 64,
    "discriminator_crop": 0,
    "r1": 1.0,
    "r1_every": 16,
    "ema_pictures": 5000,
    "license": "",
    "trained_for": "",
}


class RestorerTrainer(Trainer):
    """What the trainings of all face restorers share; a subclass names its architecture and its network's parts."""

    architecture: ClassVar[str]
    bank: ClassVar[str]
    """The path of the network's part that takes the prior's weights."""
    equalised: ClassVar[bool] = False
    """Whether the paper's rate is for equalised learning rates throughout, not only in the bank."""

    def __init__(self, recipe: Recipe, data: Path | None, place: Place) -> None:
        super().__init__(recipe, data, place)
        torch.manual_seed(recipe.seed)
        self.network, self.arguments, self.size = self._build()
        weights, values = self.values["losses"], self.values
        self.weights: dict[str, float] = {name: weight for name, weight in weights.items() if weight}
        prior = values["prior"]
        if prior["file"]:
            self._take_prior(recipe.path(prior["file"]))
        bank = self.network.get_submodule(self.bank)
        if prior["frozen"]:
            bank.requires_grad_(False)
        self.seen = values["discriminator_crop"] or self.size
        self.discriminator = StyleGAN2Discriminator(self.seen, **values["discriminator"])
        if prior["discriminator"]:
            state = torch.load(recipe.path(prior["discriminator"]), map_location="cpu", weights_only=True)
            grow_state(state["parts"]["discriminator"], self.discriminator)
        self.identity = self._load_identity()
        self.components = Components() if {"components", "component_style"} & set(self.weights) else None
        self.heads = self._pyramid_heads() if "pyramid" in self.weights else None

        self.network = placed(self.network, place.device)
        self.discriminator = placed(self.discriminator, place.device)
        self.average_network = copy.deepcopy(self.network).requires_grad_(False).eval()
        betas = (values["betas"][0], values["betas"][1])
        learning: list[nn.Module] = [self.network] + ([self.heads] if self.heads else [])
        judging: list[nn.Module] = [self.discriminator] + ([self.components] if self.components else [])
        self.learning = nn.ModuleList(learning).to(place.device)
        self.judging = nn.ModuleList(judging).to(place.device)
        self.optimiser = adam(self.learning, values["lr"], betas, equalise_plain=self.equalised)
        self.judging_optimiser = adam(self.judging, values["discriminator_lr"], (0.0, 0.99))

        files, read = self.find_pictures(self.size)
        training, kept = split(files, values["data"]["validation"], recipe.seed)
        degradation = degradation_of(values, self.size)
        batch = self.per_process(values["batch"])
        self.pairs = PairMaker(PictureSet(training, self.size, read), degradation, values["data"], batch, self.rng)
        # Without pictures kept for validation the sheets show the first of the training.
        self.shown = fixed_pairs(PictureSet((kept or training)[:8], self.size, read), degradation, 8, recipe.seed)

    @property
    def total_steps(self) -> int:
        return int(self.values["steps"])

    def parts(self) -> dict[str, nn.Module | torch.optim.Optimizer]:
        return {
            "learning": self.learning,
            "average": self.average_network,
            "judging": self.judging,
            "optimiser": self.optimiser,
            "judging_optimiser": self.judging_optimiser,
        }

    def step(self, step: int) -> dict[str, Tensor]:
        values, device = self.values, self.place.device
        pairs = self.pairs.of(step)
        degraded = pairs.degraded.to(device, memory_format=torch.channels_last)
        clean = pairs.clean.to(device, memory_format=torch.channels_last)
        set_rate(self.optimiser, self._rate(step))
        set_rate(self.judging_optimiser, values["discriminator_lr"])  # a resumed optimiser has its former one
        last = values["adversarial_until"] or self.total_steps
        adversarial = "adversarial" in self.weights and values["adversarial_from"] < step <= last
        with self.autocast():
            output = self.network(degraded)
        output = output.float()
        self.optimiser.zero_grad(set_to_none=True)
        losses = self._losses(output, clean, pairs, adversarial)
        if "texture" in self.weights and step > values["texture_from"]:
            losses["texture"] = texture_loss(output, clean, window=values["texture_window"])
        total = torch.stack([self.weights[name] * value for name, value in losses.items()]).sum()
        backward(total)
        self.average(self.learning)
        # One bad batch must not throw the weights far off, which at these rates ends a training.
        norm = nn.utils.clip_grad_norm_(self.learning.parameters(), values["clip"] or math.inf)
        self.optimiser.step()
        found = {name: value.detach() for name, value in losses.items()}
        if adversarial:
            found |= self._train_judges(step, output.detach(), clean, pairs)
        seen = step * values["batch"]
        half_life = min(values["ema_pictures"], 0.1 * seen)
        follow(self.average_network, self.network, 0.5 ** (values["batch"] / max(half_life, 1e-8)))
        found["gradient"] = norm.detach()
        found["psnr"] = _psnr(output.detach().clamp(-1, 1), clean)
        found["gain"] = found["psnr"] - _psnr(degraded, clean)
        return found

    def sample(self) -> Image.Image:
        """Return input, output and truth of up to eight validation pictures."""
        with torch.no_grad():
            output = self.average_network(self.shown.degraded.to(self.place.device))
        columns = (to_pictures(self.shown.degraded), to_pictures(output), to_pictures(self.shown.clean))
        return sheet(list(zip(*columns, strict=True)), ("input", "output", "truth"))

    def export(self, out: Path) -> list[Path]:
        return write_model(
            out,
            self.recipe,
            self.architecture,
            self.arguments,
            self.average_network.state_dict(),
            self.values["license"],
            self.values["trained_for"],
        )

    # ------------------------------------------------------------------------------------------------ losses

    def _losses(self, output: Tensor, clean: Tensor, pairs: Pairs, adversarial: bool) -> dict[str, Tensor]:
        """Return each loss of the recipe, not yet weighted; those that need the discriminator wait for it."""
        losses: dict[str, Tensor] = {}
        if "l1" in self.weights:
            losses["l1"] = F.l1_loss(output, clean)
        if "mse" in self.weights:
            losses["mse"] = F.mse_loss(output, clean)
        if "pyramid" in self.weights and self.heads is not None:
            losses["pyramid"] = pyramid_loss(self.heads(), clean)
        if self.identity is not None and {"identity", "perceptual"} & set(self.weights):
            losses |= self._identity_losses(self.identity, output, clean, pairs)
        if adversarial:
            with frozen(self.judging), self.autocast():
                seen_output, seen_clean = self._crop(output, clean)
                features = self.discriminator.features(seen_output)
                losses["adversarial"] = nonsaturating_generator(self.discriminator.judge(features[-1]))
                if "matching" in self.weights or ("perceptual" in self.weights and self.identity is None):
                    with torch.no_grad():
                        wanted = self.discriminator.features(seen_clean)
                    name = "matching" if "matching" in self.weights else "perceptual"
                    losses[name] = feature_loss(features, wanted)
                if self.components is not None:
                    losses |= self.components.losses(output, clean, pairs.moved, self.weights)
        return losses

    def _identity_losses(
        self, network: MobileFaceNet, output: Tensor, clean: Tensor, pairs: Pairs
    ) -> dict[str, Tensor]:
        """Return cosine and feature losses of the identity network on the first `identity_share` of the batch."""
        count = max(round(len(output) * self.values["identity_share"]), 1)
        matrices = identity_crops(self.size, pairs.moved[:count]).to(output.device)
        with self.autocast():
            found = network.features(crop_faces(output[:count], matrices))
            with torch.no_grad():
                wanted = network.features(crop_faces(clean[:count], matrices))
            losses = {}
            if "identity" in self.weights:
                losses["identity"] = identity_loss(network.embed(found[-1]), network.embed(wanted[-1]))
            if "perceptual" in self.weights:
                losses["perceptual"] = feature_loss(found, wanted)
        return losses

    def _train_judges(self, step: int, output: Tensor, clean: Tensor, pairs: Pairs) -> dict[str, Tensor]:
        """Train the discriminator, and those of the facial components where there are."""
        self.judging_optimiser.zero_grad(set_to_none=True)
        regularise = step % self.values["r1_every"] == 0
        fake, real = self._crop(output, clean)
        real = real.detach().requires_grad_(regularise)
        with self.autocast():
            of_fake, of_real = self.discriminator(fake), self.discriminator(real)
        loss = logistic_discriminator(of_real, of_fake)
        found = {"discriminator": loss.detach()}
        if regularise:
            penalty = r1_penalty(of_real, real)
            found["r1"] = penalty.detach()
            loss = loss + penalty * (self.values["r1"] * self.values["r1_every"])
        if self.components is not None:
            with self.autocast():
                of_components = self.components.judge_losses(output, clean, pairs.moved)
            found["component_discriminators"] = of_components.detach()
            loss = loss + of_components
        backward(loss)
        self.average(self.judging)
        self.judging_optimiser.step()
        return found

    def _crop(self, output: Tensor, clean: Tensor) -> tuple[Tensor, Tensor]:
        """Return the same random square of both for the discriminator, all of them where it sees whole pictures."""
        if self.seen == self.size:
            return output, clean
        top, left = (int(number) for number in torch.randint(0, self.size - self.seen + 1, (2,)))
        rows, columns = slice(top, top + self.seen), slice(left, left + self.seen)
        return output[..., rows, columns], clean[..., rows, columns]

    # ------------------------------------------------------------------------------------------------ parts

    def _rate(self, step: int) -> float:
        """Return the learning rate of a step: a linear warm-up, then half a cosine from `lr` to `lr_end`."""
        values = self.values
        if step <= values["warmup"]:
            return float(values["lr"] * step / values["warmup"])
        along = (step - values["warmup"]) / max(values["steps"] - values["warmup"], 1)
        return float(values["lr_end"] + (values["lr"] - values["lr_end"]) * 0.5 * (1 + math.cos(math.pi * along)))

    def _build(self) -> tuple[nn.Module, dict[str, Any], int]:
        """Return the network, all its arguments, and the side of the pictures that it takes and gives."""
        from restorer.models import REGISTRY
        from restorer.models.base import FaceArchitecture

        model = REGISTRY[self.architecture]
        assert isinstance(model, FaceArchitecture)
        unknown = sorted(set(self.values["network"]) - set(model.defaults))
        if unknown:
            raise UsageError(
                f"The recipe sets network.{unknown[0]}, which {self.architecture!r} does not know.",
                f"Its arguments are: {', '.join(model.defaults)}.",
            )
        arguments = {**model.defaults, **self.values["network"]}
        crop = model.crop(arguments)
        if crop.input_size != crop.output_size:
            raise UsageError(
                f"This network takes {crop.input_size} px and gives {crop.output_size}.",
                "Choose arguments that keep the size: a degraded picture is brought back to its own.",
            )
        return model.build(arguments), arguments, crop.output_size

    def _take_prior(self, file: Path) -> None:
        """Copy a prior's weights into the network's bank; everything that the bank has must be there."""
        from safetensors.torch import load_file

        if not file.is_file():
            raise UsageError(f"There is no prior at {file}.", "Train one first, or correct prior.file in the recipe.")
        fresh = self._fill_bank({key: value.float() for key, value in load_file(file).items()})
        if fresh:
            raise UsageError(
                f"The prior {file.name} does not fit the network: {fresh[0]} would be missing.",
                "Give the network the prior's widths (style_dim, narrow, channel_multiplier, size).",
            )

    def _fill_bank(self, prior: dict[str, Tensor]) -> list[str]:
        """Copy the prior's tensors into the bank; return what the bank has and the prior has not."""
        return grow_state(prior, self.network.get_submodule(self.bank))

    def _load_identity(self) -> MobileFaceNet | None:
        """Return the identity network where a loss wants it and its weights are given."""
        network = load_identity(self.recipe, self.values["identity_weights"], self.place.device)
        if network is None:
            self.weights.pop("identity", None)
        return network

    def _pyramid_heads(self) -> PyramidHeads:
        raise UsageError(f"{self.architecture!r} has no pyramid loss.", "Set losses.pyramid to 0.")


def degradation_of(values: Values, size: int) -> Degrade:
    """Return a recipe's degradation: GFP-GAN's formula, or with `real_world` the mixture that it is a part of."""
    formula = values["degradation"]
    if not values["real_world"]:
        return Degradation.of(formula, size)
    return Mixture.of({**MIXTURE, "grey": formula["grey"], "classic": {**formula, "grey": 0.0}}, size)


def _psnr(pictures: Tensor, wanted: Tensor) -> Tensor:
    """Return the mean over pictures (n, 3, h, w) of their signal-to-noise ratio in dB, both in [-1, 1]."""
    return -10 * torch.log10((pictures - wanted).square().mean((1, 2, 3)) / 4 + 1e-10).mean()
