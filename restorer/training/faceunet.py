"""Training the built-in restorer: a U-Net without a prior, on faces with papers, in phases of growing squares."""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Mapping
from itertools import accumulate
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from restorer.errors import UsageError
from restorer.imaging.sheets import sheet
from restorer.imaging.tensors import to_pictures, to_tensor
from restorer.networks.faceunet import FaceUNet
from restorer.networks.mobilefacenet import crop_faces
from restorer.storage.atomic import write_atomic
from restorer.training.album import Album
from restorer.training.critic import SEEN, TextureCritic
from restorer.training.export import write_model
from restorer.training.identity import identity_crops, load_identity
from restorer.training.loop import Place, Trainer, adam, follow, placed, set_rate
from restorer.training.losses import identity_loss, texture_loss
from restorer.training.people import PAPERS, attributions
from restorer.training.recipe import Recipe, Values
from restorer.training.spectrum import spectral_loss
from restorer.training.squares import DRAWS, Ahead, Plan, SquareMaker, Squares
from restorer.training.wear.mixture import DEFAULTS, Mixture

PHASE: Values = {
    "side": 128,
    "batch": 24,
    "steps": 0,
    "l1": 1.0,
    "texture": 0.0,
    "spectrum": 0.0,
    "identity": 0.0,
    "adversarial": 0.0,
}
"""What a phase may set: the side of its squares, pictures a step, and the weights of its losses.

`adversarial` is none: it is how strongly a discriminator of textures pulls, as a share of the pull of all the others.
"""

NOTICE = "ATTRIBUTIONS.txt"
"""What the run's folder says of the pictures that have to be named with the weights."""


class FaceUNetTrainer(Trainer):
    """Trains `FaceUNet`."""

    kind = architecture = "faceunet"
    travels = True
    defaults: ClassVar[Values] = {
        "data": {
            "folder": "",
            "photos": "",
            "photo_names": [],
            "photo_share": 0.1,
            "masks": "",
            **PAPERS,
            "grades": ["A", "B"],
            **DRAWS,
        },
        "often": {"dark": 1.0, "beard": 1.0, "glasses": 1.0, "wall": 1.0},
        "degradation": DEFAULTS,
        "network": {},
        "phases": [],
        "emphasis": 4.0,
        "grain_rate": 1.0,
        "identity_weights": "",
        "betas": [0.9, 0.99],
        "lr": 5e-4,
        "lr_end": 2e-5,
        "lr_until": 0,
        "warmup": 200,
        "clip": 0.5,
        "ema_pictures": 20000,
        "license": "",
        "trained_for": "",
    }

    def __init__(self, recipe: Recipe, data: Path | None, place: Place) -> None:
        super().__init__(recipe, data, place)
        values = self.values
        self.phases = [
            Recipe(recipe.kind, recipe.name, 0, phase, recipe.folder, "").complete(PHASE) for phase in values["phases"]
        ]
        if not self.phases:
            raise UsageError(f"The recipe {recipe.name!r} has no phases.", "Add a [[phases]] table.")
        self.warm_from = 0
        self.steps_before = [0, *accumulate(phase["steps"] for phase in self.phases)]
        torch.manual_seed(recipe.seed)
        self.arguments = self._arguments()
        network = FaceUNet(**{key: value for key, value in self.arguments.items() if key != "template"})
        self._check_sides(network)
        self.network = placed(network, place.device)
        self.average_network = copy.deepcopy(self.network).requires_grad_(False).eval()
        # How strong the grain is lies in a bias, which Adam moves by the rate itself: too little for a logarithm.
        faster = {"grain.": values["grain_rate"]}
        self.optimiser = adam(self.network, values["lr"], (values["betas"][0], values["betas"][1]), faster=faster)
        self.critic = TextureCritic(self) if any(phase["adversarial"] for phase in self.phases) else None
        self.identity = load_identity(recipe, values["identity_weights"], place.device)
        self.album = Album(recipe, values["data"], self.folder)
        mixture = Mixture.of(values["degradation"], network.size, self.album.masks())
        self.maker = SquareMaker(
            self.album.shown(network.size, values["often"]),
            self.album.photos(network.size),
            mixture,
            values["data"],
            values["data"]["photo_share"],
            values["emphasis"],
            [
                Plan(last, phase["side"], self.per_process(phase["batch"]))
                for last, phase in zip(self.steps_before[1:], self.phases, strict=True)
            ],
            (recipe.seed, place.rank),
        )
        self.squares = Ahead(self.maker, self._workers(), self.total_steps)
        self.shown = self.album.kept(network.size, mixture)

    @property
    def total_steps(self) -> int:
        return int(self.steps_before[-1])

    def pictures_of(self, step: int) -> int:
        starts = zip(self.steps_before[:-1], self.phases, strict=True)
        return sum(min(max(step - before, 0), phase["steps"]) * int(phase["batch"]) for before, phase in starts)

    def parts(self) -> dict[str, nn.Module | torch.optim.Optimizer]:
        critic = {} if self.critic is None else self.critic.parts()
        return {"network": self.network, "average": self.average_network, "optimiser": self.optimiser, **critic}

    def extra_state(self) -> dict[str, Any]:
        return {"warm_from": self.warm_from, "critic_steps": 0 if self.critic is None else self.critic.steps}

    def restore(self, state: Mapping[str, Any]) -> None:
        parts, given = self.parts(), dict(state["parts"])
        if "optimiser" not in given:  # a light state: the optimiser has to learn its scales again
            parts.pop("optimiser")
        given.setdefault("network", given["average"])
        if self.critic is not None:
            if "critic_optimiser" in given:
                self.critic.steps = state["extra"]["critic_steps"]
            else:  # a discriminator comes in later, or stayed behind: it begins anew
                parts = {name: part for name, part in parts.items() if name not in self.critic.parts()}
        for name, part in parts.items():
            part.load_state_dict(given[name])
        self.warm_from = state["extra"].get("warm_from", 0) if "optimiser" in parts else int(state["step"])

    def step(self, step: int) -> dict[str, Tensor]:
        phase, values, device = self.phase_of(step), self.values, self.place.device
        squares = self.squares.of(step)
        degraded = squares.degraded.to(device, memory_format=torch.channels_last)
        clean = squares.clean.to(device, memory_format=torch.channels_last)
        set_rate(self.optimiser, self.rate(step))
        with self.autocast():
            output = self.network(degraded)
        output = output.float()
        seen, part = output.detach().requires_grad_(), self._part(phase)
        losses = self._losses(phase, seen, clean, squares, part)
        (slope,) = torch.autograd.grad(torch.stack([phase[name] * value for name, value in losses.items()]).sum(), seen)
        if phase["adversarial"] and self.critic is not None:
            found, wanted = seen.detach()[part], clean[part]
            pull, losses["adversarial"] = self.critic.pull(found, phase["adversarial"], slope)
            slope[part] += pull
            losses["critic"] = self.critic.learn(wanted, found)
        self.optimiser.zero_grad(set_to_none=True)
        output.backward(slope)
        self.average(self.network)
        # One bad batch must not throw the weights far off.
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), values["clip"] or math.inf)
        self.optimiser.step()
        half_life = min(values["ema_pictures"], 0.1 * self.pictures_of(step))
        follow(self.average_network, self.network, 0.5 ** (phase["batch"] / max(half_life, 1e-8)))
        found = {name: value.detach() for name, value in losses.items()}
        found["gradient"] = norm.detach()
        found["psnr"] = _psnr(output.detach().clamp(-1, 1), clean)
        found["gain"] = found["psnr"] - _psnr(degraded, clean)
        return found

    def sample(self) -> Image.Image:
        """Return input, output and truth of up to eight persons of whom nothing is learnt."""
        degraded, clean = self.shown
        with torch.no_grad():
            output = self.average_network(to_tensor(degraded).to(self.place.device))
        return sheet(list(zip(degraded, to_pictures(output), clean, strict=True)), ("input", "output", "truth"))

    def export(self, out: Path) -> list[Path]:
        notice = out / NOTICE
        write_atomic(notice, "".join(f"{line}\n" for line in attributions(self.album.rows)))
        written = write_model(
            out,
            self.recipe,
            self.architecture,
            self.arguments,
            self.average_network.state_dict(),
            self.values["license"],
            self.values["trained_for"],
        )
        return [*written, notice]

    def pack(self, out: Path) -> int:
        weights = [self.values["identity_weights"]] if self.identity is not None else []
        return self.album.pack(out, weights)

    def phase_of(self, step: int) -> Values:
        """Return the phase that a step, counted from 1, belongs to."""
        for before, phase in zip(self.steps_before[1:], self.phases, strict=True):
            if step <= before:
                return phase
        return self.phases[-1]

    def rate(self, step: int) -> float:
        """Return the learning rate: a linear warm-up, `lr` up to step `lr_until`, from there half a cosine to `lr_end`.

        Up to there nothing depends on how long the training will be, so a recipe may be lengthened on the way.
        """
        values = self.values
        warmed = min((step - self.warm_from) / max(values["warmup"], 1), 1.0)
        along = max(step - values["lr_until"], 0) / max(self.total_steps - values["lr_until"], 1)
        part = 0.5 * (1 + math.cos(math.pi * along))
        return float(warmed * (values["lr_end"] + (values["lr"] - values["lr_end"]) * part))

    def _workers(self) -> int:
        """Return how many processes make batches: as many as cores where a GPU learns, else a thread does it."""
        if self.place.device.type == "cpu":
            return 0
        return max((os.cpu_count() or 1) // self.place.world - 2, 1)

    # ------------------------------------------------------------------------------------------------ losses

    def _part(self, phase: Values) -> tuple[Any, ...]:
        """Return which part of each picture is looked at for its texture.

        The windows are 64 px large and less, so a square of 128 px shows enough of a larger picture.
        """
        if not (phase["texture"] or phase["spectrum"] or phase["adversarial"]):
            return (...,)
        side = min(SEEN, phase["side"])
        top, left = (int(number) for number in torch.randint(0, phase["side"] - side + 1, (2,)))
        return ..., slice(top, top + side), slice(left, left + side)

    def _losses(
        self, phase: Values, output: Tensor, clean: Tensor, squares: Squares, part: tuple[Any, ...]
    ) -> dict[str, Tensor]:
        """Return each loss that the phase gives a weight; those of texture look at a part of the pictures."""
        losses: dict[str, Tensor] = {}
        if phase["l1"]:
            weights = squares.weights.to(output.device)
            losses["l1"] = ((output - clean).abs() * weights).mean() / weights.mean()
        if phase["texture"] or phase["spectrum"]:
            found, wanted = output[part], clean[part]
            if phase["texture"]:
                losses["texture"] = texture_loss(found, wanted)
            if phase["spectrum"]:
                losses["spectrum"] = spectral_loss(found, wanted)
        faces = np.flatnonzero(squares.faces)
        if phase["identity"] and self.identity is not None and len(faces):
            matrices = identity_crops(phase["side"], squares.moved[faces]).to(output.device)
            with self.autocast():
                found = self.identity(crop_faces(output[faces], matrices))
                with torch.no_grad():
                    wanted = self.identity(crop_faces(clean[faces], matrices))
            losses["identity"] = identity_loss(found, wanted)
        return losses

    # ------------------------------------------------------------------------------------------------ parts

    def _arguments(self) -> dict[str, Any]:
        from restorer.models.faceunet import FaceUNetArchitecture

        unknown = sorted(set(self.values["network"]) - set(FaceUNetArchitecture.defaults))
        if unknown:
            raise UsageError(
                f"The recipe sets network.{unknown[0]}, which {self.architecture!r} does not know.",
                f"Its arguments are: {', '.join(FaceUNetArchitecture.defaults)}.",
            )
        return {**FaceUNetArchitecture.defaults, **self.values["network"]}

    def _check_sides(self, network: FaceUNet) -> None:
        for phase in self.phases:
            if phase["side"] % network.multiple or phase["side"] > network.size:
                raise UsageError(
                    f"A phase has squares of {phase['side']} px.",
                    f"Give a multiple of {network.multiple}, up to {network.size}.",
                )
            if phase["identity"] and phase["side"] != network.size:
                raise UsageError(
                    f"A phase with squares of {phase['side']} px asks for identity.",
                    f"Whole faces are needed for it: set side = {network.size}, or identity = 0.",
                )


def _psnr(pictures: Tensor, wanted: Tensor) -> Tensor:
    """Return the mean over pictures (n, 3, h, w) of their signal-to-noise ratio in dB, at most 50, in [-1, 1]."""
    return -10 * torch.log10((pictures - wanted).square().mean((1, 2, 3)) / 4 + 1e-5).mean()
