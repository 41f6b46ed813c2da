"""Training a small upscaler for photographs that are not clean: mild blur, noise and JPEG, at two factors at once.

Half of each batch goes through the network's head for 2 times, half through that for 4 times, so that one body learns
from both, and one file serves both.
"""

from __future__ import annotations

import copy
import math
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from restorer.errors import UsageError
from restorer.imaging.sheets import Picture, sheet
from restorer.imaging.tensors import to_pictures, to_tensor
from restorer.training.datasets import picture_files, split
from restorer.training.degradations import to_grey
from restorer.training.export import write_model
from restorer.training.loop import Place, Trainer, adam, backward, follow, placed, set_rate
from restorer.training.losses import texture_loss
from restorer.training.mild import JPEG_BLOCK, MILD, MildDegradation, to_bytes
from restorer.training.recipe import Recipe, Values
from restorer.training.wear import decoys

FACTORS = (2, 4)
_VARIED: Values = {
    "reduced": [1.0, 1.0],
    "tone": 0.0,
    "sharpened": 0.0,
    "best_of": 1,
    "as_they_come": 0.0,
    "lettering": 0.0,
}

LOSSES: Values = {"l1": 1.0, "l2": 0.0, "texture": 0.0}
"""Weights of the mean absolute difference, of the mean squared one, and of `texture_loss`."""


Spot = tuple[int, int, int]
"""A photograph's number, a row and a column."""


class PhotoSet:
    """Photographs in memory, of which random squares are drawn.

    Args:
        files: the photographs.
        side: of the largest square that will be asked for; smaller photographs are enlarged to it.
        longest: larger photographs are reduced to this long side, which also takes JPEG's traces off them.
        reduced: range of a further reduction of each square, as far as the photograph is large enough. A large sharp
            photograph shows less in a square than the small ones that people bring.
        tone: how far gamma and the gain of each channel are moved at random, 0 = never. With few photographs a
            network soon knows them by heart; this makes them more.
        sharpened: a square is sharpened by up to this share of what a blur of 1 px takes, as cameras and scanners do.
        best_of: of so many squares the one with the most detail is taken; much of a good photograph is out of focus.
        as_they_come: share of squares for which this is left out, so that what is soft is seen as well.
        lettering: share of squares that letters or handwriting are put on.
    """

    def __init__(
        self,
        files: list[Path],
        side: int,
        longest: int,
        *,
        reduced: tuple[float, float] = (1.0, 1.0),
        tone: float = 0.0,
        sharpened: float = 0.0,
        best_of: int = 1,
        as_they_come: float = 0.0,
        lettering: float = 0.0,
    ) -> None:
        self.reduced, self.tone, self.sharpened, self.best_of = reduced, tone, sharpened, best_of
        self.as_they_come, self.lettering = as_they_come, lettering
        with ThreadPoolExecutor(2) as pool:
            self.photos = list(pool.map(lambda path: _sized(read(path), side, longest), files))

    def draw(self, side: int, rng: np.random.Generator, grey: float, spot: Spot | None = None) -> Picture:
        """Return a random square, mirrored, turned, sharpened and toned at random, now and then grey.

        Args:
            side: of the square, pixels.
            rng: decides everything that is random.
            grey: how often it is made grey.
            spot: the square holds this place of a photograph; None = any.
        """
        count = 1 if self.as_they_come and rng.random() < self.as_they_come else self.best_of
        square = max((self._square(side, rng, spot) for _ in range(1 if spot else count)), key=_detail)
        if self.sharpened:
            share = float(rng.uniform(0, self.sharpened))
            blurred = cv2.GaussianBlur(square, (0, 0), 1)
            square = np.asarray(cv2.addWeighted(square, 1 + share, blurred, -share, 0), np.uint8)
        if self.lettering and rng.random() < self.lettering:
            kind = ("letters", "handwriting")[int(rng.integers(2))]
            square = to_bytes(decoys.KINDS[kind](square.astype(np.float32), rng))
        if self.tone:
            gamma, *gains = np.exp(rng.uniform(-self.tone, self.tone, 4))
            levels = (np.arange(256) / 255)[:, None] ** gamma * np.array(gains) * 255
            square = np.asarray(cv2.LUT(square, np.clip(np.rint(levels), 0, 255).astype(np.uint8)[:, None]), np.uint8)
        if rng.random() < grey:
            square = to_bytes(to_grey(square.astype(np.float32)))
        return square

    def _square(self, side: int, rng: np.random.Generator, spot: Spot | None) -> Picture:
        photo = self.photos[spot[0] if spot else int(rng.integers(len(self.photos)))]
        low, high = np.log(self.reduced)
        seen = min(round(side * float(np.exp(rng.uniform(low, high)))), *photo.shape[:2])
        if spot is None:
            top, left = (int(rng.integers(length - seen + 1)) for length in photo.shape[:2])
        else:  # anywhere but at the square's own border
            top, left = (
                int(np.clip(at - rng.uniform(0.15, 0.85) * seen, 0, length - seen))
                for at, length in zip(spot[1:], photo.shape[:2], strict=True)
            )
        square = photo[top : top + seen, left : left + seen]
        if seen != side:
            square = np.asarray(cv2.resize(square, (side, side), interpolation=cv2.INTER_AREA), np.uint8)
        square = np.rot90(square, int(rng.integers(4)))
        if rng.random() < 0.5:
            square = square[:, ::-1]
        return np.ascontiguousarray(square)


def _detail(square: Picture) -> float:
    """Return how much neighbouring pixels differ."""
    return float(cv2.Laplacian(square, cv2.CV_16S).std())


def read(path: Path) -> Picture:
    """Return a photograph (h, w, 3), 8 bits, upright."""
    from restorer.photo import read_photo

    pixels = read_photo(path).pixels
    return pixels if pixels.dtype == np.uint8 else to_bytes(pixels.astype(np.float32) / np.float32(257))


def _sized(photo: Picture, side: int, longest: int) -> Picture:
    height, width = photo.shape[:2]
    scale = max(min(1.0, longest / max(height, width)), side / min(height, width))
    size = max(round(width * scale), side), max(round(height * scale), side)
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return photo if scale == 1 else np.asarray(cv2.resize(photo, size, interpolation=method), np.uint8)


class UpscalerTrainer(Trainer):
    """Trains the built-in upscaler, in any width and depth.

    From step `finish_from` on, unless that is 0, the losses are weighted by the recipe's `finish` in place of its
    `losses`: l1 learns faster, l2 ends nearer to the mean that PSNR asks for. The loss on texture, which takes longer
    than all the rest of a step, begins at step `texture_from`.
    """

    kind = "upscaler"
    architecture: ClassVar[str] = "tinyupscaler"
    defaults: ClassVar[Values] = {
        "data": {"folder": "", "validation": 0, "leave_out": "", "longest": 1600, **_VARIED},
        "degradation": MILD,
        "network": {},
        "losses": dict(LOSSES),
        "finish_from": 0,
        "finish": dict(LOSSES),
        "texture_from": 0,
        "texture_window": 32,
        "steps": 100000,
        "batch": 16,
        "side": 48,
        "lr": 1e-3,
        "lr_end": 1e-5,
        "warmup": 100,
        "betas": [0.9, 0.99],
        "ema_pictures": 5000,
        "license": "",
        "trained_for": "",
    }

    def __init__(self, recipe: Recipe, data: Path | None, place: Place) -> None:
        super().__init__(recipe, data, place)
        from restorer.models import REGISTRY

        torch.manual_seed(recipe.seed)
        model = REGISTRY[self.architecture]
        self.arguments = {**model.defaults, **self.values["network"]}
        self.network = placed(model.build(self.arguments), place.device)
        self.average_network = copy.deepcopy(self.network).requires_grad_(False).eval()
        self.optimiser = adam(self.network, self.values["lr"], (self.values["betas"][0], self.values["betas"][1]))
        files = picture_files(self.folder)
        if pattern := self.values["data"]["leave_out"]:
            files = [file for file in files if not file.match(pattern)]
        training, kept = split(files, self.values["data"]["validation"], recipe.seed)
        side = (self.values["side"] + JPEG_BLOCK) * FACTORS[-1]
        longest, varied = self.values["data"]["longest"], {name: self.values["data"][name] for name in _VARIED}
        reduced = varied["reduced"]
        if len(reduced) != 2 or not 1 <= reduced[0] <= reduced[1]:
            raise UsageError(f"The reduction is {reduced}.", "Give a range from 1 on, [smallest, largest].")
        self.photos = PhotoSet(training, side, longest, **varied)
        self.degradation = MildDegradation.of(self.values["degradation"])
        self.batch = self.per_process(self.values["batch"])
        if self.batch % 2:
            raise UsageError(f"A batch of {self.batch} cannot be halved between x2 and x4.", "Choose an even number.")
        shown = PhotoSet((kept or training)[:4], side, longest, **varied)
        self.shown = [self._pair(shown, FACTORS[-1], np.random.default_rng([recipe.seed, index])) for index in range(4)]
        self._pool = ThreadPoolExecutor(1)
        self._ahead: dict[int, Future[list[tuple[Tensor, Tensor]]]] = {}

    @property
    def total_steps(self) -> int:
        return int(self.values["steps"])

    def parts(self) -> dict[str, nn.Module | torch.optim.Optimizer]:
        return {"network": self.network, "average": self.average_network, "optimiser": self.optimiser}

    def step(self, step: int) -> dict[str, Tensor]:
        future = self._ahead.pop(step, None)
        self._ahead = {step + 1: self._pool.submit(self._make, step + 1)}
        pairs = future.result() if future else self._make(step)
        set_rate(self.optimiser, self._rate(step))
        weights = self.values["losses"]
        if self.values["finish_from"] and step >= self.values["finish_from"]:
            weights = self.values["finish"]
        textured = weights["texture"] and step >= self.values["texture_from"]
        losses: dict[str, list[Tensor]] = {name: [] for name in (*LOSSES, "psnr", "gain")}
        for factor, (degraded, clean) in zip(FACTORS, pairs, strict=True):
            degraded = degraded.to(self.place.device, memory_format=torch.channels_last)
            clean = clean.to(self.place.device)
            with self.autocast():
                enlarged = self.network(degraded, factor).float()
            losses["l1"].append(F.l1_loss(enlarged, clean))
            losses["l2"].append(F.mse_loss(enlarged, clean))
            if textured:
                losses["texture"].append(texture_loss(enlarged, clean, window=self.values["texture_window"]))
            with torch.no_grad():
                plain = F.interpolate(degraded, scale_factor=float(factor), mode="bicubic")
                losses["psnr"].append(_psnr(enlarged, clean))
                losses["gain"].append(losses["psnr"][-1] - _psnr(plain, clean))
        means = {name: torch.stack(values).mean() for name, values in losses.items() if values}
        self.optimiser.zero_grad(set_to_none=True)
        backward(torch.stack([weights[name] * means[name] for name in LOSSES if name in means and weights[name]]).sum())
        self.average(self.network)
        self.optimiser.step()
        half_life = min(self.values["ema_pictures"], 0.1 * step * self.values["batch"])
        follow(self.average_network, self.network, 0.5 ** (self.values["batch"] / max(half_life, 1e-8)))
        return {name: value.detach() for name, value in means.items()}

    def sample(self) -> Image.Image:
        """Return the input, its bicubic enlargement, the output and the truth of four squares."""
        rows = []
        for degraded, clean in self.shown:
            with torch.no_grad():
                output = self.average_network(to_tensor([degraded]).to(self.place.device), FACTORS[-1])
            size = clean.shape[1::-1]
            small = np.asarray(cv2.resize(degraded, size, interpolation=cv2.INTER_NEAREST), np.uint8)
            plain = np.asarray(cv2.resize(degraded, size, interpolation=cv2.INTER_CUBIC), np.uint8)
            rows.append((small, plain, to_pictures(output)[0], clean))
        return sheet(rows, ("input", "bicubic", "output", "truth"))

    def export(self, out: Path) -> list[Path]:
        state = self.average_network.state_dict()
        values = self.values
        return write_model(
            out, self.recipe, self.architecture, self.arguments, state, values["license"], values["trained_for"]
        )

    # ------------------------------------------------------------------------------------------------ data, rate

    def _make(self, step: int) -> list[tuple[Tensor, Tensor]]:
        """Return (degraded, clean) tensors for each factor, drawn by the step's generator."""
        rng = self.rng(step)
        made = []
        for factor in FACTORS:
            pairs = [self._pair(self.photos, factor, rng) for _ in range(self.batch // 2)]
            made.append((to_tensor([degraded for degraded, _ in pairs]), to_tensor([clean for _, clean in pairs])))
        return made

    def _pair(self, photos: PhotoSet, factor: int, rng: np.random.Generator) -> tuple[Picture, Picture]:
        """Return a degraded square and its truth; `shifted` of them are cut out, as photographs are, after JPEG."""
        side, degradation = self.values["side"], self.values["degradation"]
        if rng.random() >= degradation["shifted"]:
            clean = photos.draw(side * factor, rng, degradation["grey"])
            return self.degradation(clean, factor, rng), clean
        wide = photos.draw((side + JPEG_BLOCK) * factor, rng, degradation["grey"])
        top, left = (int(offset) for offset in rng.integers(1, JPEG_BLOCK, 2))
        seen = self.degradation(wide, factor, rng)[top : top + side, left : left + side]
        return seen, wide[top * factor :, left * factor :][: side * factor, : side * factor]

    def _rate(self, step: int) -> float:
        """Return the learning rate of a step: a linear warm-up, then half a cosine from `lr` to `lr_end`."""
        values = self.values
        if step <= values["warmup"]:
            return float(values["lr"] * step / values["warmup"])
        along = (step - values["warmup"]) / max(values["steps"] - values["warmup"], 1)
        return float(values["lr_end"] + (values["lr"] - values["lr_end"]) * 0.5 * (1 + math.cos(math.pi * along)))


def _psnr(picture: Tensor, truth: Tensor) -> Tensor:
    """Return the mean PSNR in dB of pictures in [-1, 1]."""
    return (10 * torch.log10(4 / (picture.clamp(-1, 1) - truth).square().mean((1, 2, 3)).clamp_min(1e-10))).mean()
