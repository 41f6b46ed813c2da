"""Training the built-in inpainter on squares of prints whose damage is known, and with it what belongs there."""

from __future__ import annotations

import copy
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from restorer.imaging.sheets import Picture, sheet
from restorer.imaging.tensors import to_pictures, to_tensor
from restorer.training.export import write_model
from restorer.training.loop import Place, Trainer, backward, follow, placed
from restorer.training.muon import MuonAndAdam
from restorer.training.prints import DATA, PRINT, PrintSet
from restorer.training.recipe import Recipe
from restorer.training.wear.prints import Where

WIDE = 11
"""Side in pixels of the squares of which a wide hole is made."""
TRIES = 5
"""How often a square is damaged anew that has no hole yet."""


@dataclass(frozen=True)
class Pair:
    """A damaged square, (s, s, 3) uint8, the square before, and where it is to be filled, (s, s)."""

    damaged: Picture
    clean: Picture
    hole: Where


class InpaintingTrainer(Trainer):
    """Trains `TinyInpainter` by the difference of what it fills: absolute, squared, and from one pixel to the next.

    Pairs take longer to draw than to learn from, so that `kept` of them are kept, each step replaces the oldest by
    `fresh` new ones, and shows a batch of all, each from a side drawn anew. Pair n is a function of the seed and n
    alone, so that a run that goes on has the same ones.
    """

    kind = "inpainting"
    architecture: ClassVar[str] = "tinyinpainter"
    defaults: ClassVar[dict[str, Any]] = {
        "data": DATA,
        "print": {**PRINT, "decoys": 0.0, "clean": 0.0},
        "network": {},
        "losses": {"l1": 1.0, "l2": 2.0, "gradient": 0.5},
        "wide": 0.2,
        "grown": [0.5, 0.25, 0.25],
        "kept": 384,
        "fresh": 3,
        "steps": 20000,
        "batch": 8,
        "side": 128,
        "lr": 0.02,
        "lr_adam": 3e-3,
        "warmup": 50,
        "falls": 0.6,
        "betas": [0.9, 0.99],
        "ema_steps": 80.0,
        "license": "",
        "trained_for": "",
    }

    def __init__(self, recipe: Recipe, data: Path | None, place: Place) -> None:
        super().__init__(recipe, data, place)
        from restorer.models import REGISTRY

        cv2.setNumThreads(1)
        torch.manual_seed(recipe.seed)
        model = REGISTRY[self.architecture]
        self.arguments = {**model.defaults, **self.values["network"]}
        self.network = placed(model.build(self.arguments), place.device)
        self.average_network = copy.deepcopy(self.network).requires_grad_(False).eval()
        self.optimisers = MuonAndAdam(self.network, self.values, ("first.", "head."))
        self.batch, self.side = self.per_process(self.values["batch"]), int(self.values["side"])
        self.prints = PrintSet(recipe, self.values["data"], self.values["print"], self.folder, self.side)
        self.shown = [self._pair(np.random.default_rng([recipe.seed, 0, index])) for index in range(8)]
        self._pairs: deque[Pair] = deque(maxlen=int(self.values["kept"]))
        self._next = 0
        self._pool = ThreadPoolExecutor(1)
        self._ahead: dict[int, Future[tuple[Tensor, Tensor, Tensor, Tensor]]] = {}

    @property
    def total_steps(self) -> int:
        return int(self.values["steps"])

    def parts(self) -> dict[str, nn.Module | torch.optim.Optimizer]:
        return {"network": self.network, "average": self.average_network, **self.optimisers.parts()}

    def step(self, step: int) -> dict[str, Tensor]:
        future = self._ahead.pop(step, None)
        made = future.result() if future else self._make(step)
        self._ahead = {step + 1: self._pool.submit(self._make, step + 1)}
        damaged, clean, holes, counts = (tensor.to(self.place.device) for tensor in made)
        self.optimisers.begin(step)
        with self.autocast():
            filled = self.network(damaged, holes).float()
        filled = torch.where(holes > 0, filled, clean)  # what is known around it is the truth to its differences, too
        off, total = filled - clean, 3 * counts.sum().clamp(min=1)
        across, down = off.diff(dim=3), off.diff(dim=2)
        losses = {
            "l1": (off.abs() * counts).sum() / total,
            "l2": (off.square() * counts).sum() / total,
            "gradient": (
                (across.abs() * torch.maximum(counts[..., 1:], counts[..., :-1])).sum()
                + (down.abs() * torch.maximum(counts[..., 1:, :], counts[..., :-1, :])).sum()
            ) / (2 * total),
        }  # fmt: skip
        weights = self.values["losses"]
        backward(torch.stack([weights[name] * value for name, value in losses.items()]).sum())
        self.average(self.network)
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimisers.step()
        half_life = min(self.values["ema_steps"], 0.1 * step)
        follow(self.average_network, self.network, 0.5 ** (1 / max(half_life, 1e-8)))
        with torch.no_grad():
            losses["psnr"] = 10 * torch.log10(4 / losses["l2"].clamp(min=1e-10))
        return {name: value.detach() for name, value in losses.items()}

    def sample(self) -> Image.Image:
        """Return eight squares: damaged, what is filled smoothly, what the network fills, and the truth."""
        from restorer.networks.tinyinpainter import smooth

        damaged, clean = ([getattr(pair, name) for pair in self.shown] for name in ("damaged", "clean"))
        holes = torch.from_numpy(np.stack([pair.hole for pair in self.shown])[:, None].astype(np.float32))
        holes = holes.to(self.place.device)
        with torch.no_grad():
            pictures = to_tensor(damaged).to(self.place.device)
            begun, _ = smooth(pictures, holes)
            filled = self.average_network(pictures, holes)
        rows = zip(damaged, to_pictures(begun), to_pictures(filled), clean, strict=True)
        return sheet(list(rows), ("damaged", "smooth", "filled", "truth"))

    def export(self, out: Path) -> list[Path]:
        state, values = self.average_network.state_dict(), self.values
        return write_model(
            out, self.recipe, self.architecture, self.arguments, state, values["license"], values["trained_for"]
        )

    # ------------------------------------------------------------------------------------------------ data, rate

    def _make(self, step: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return damaged and clean pictures (n, 3, s, s), holes and how much their pixels count (n, 1, s, s)."""
        last = step * int(self.values["fresh"]) + self.values["kept"]
        for number in range(max(self._next, last - self.values["kept"]), last):
            self._pairs.append(self._pair(np.random.default_rng([self.recipe.seed, 1, number, self.place.rank])))
        self._next = last
        rng = self.rng(step)
        pairs = [_turned(self._pairs[int(rng.integers(len(self._pairs)))], rng) for _ in range(self.batch)]
        holes = np.stack([pair.hole for pair in pairs])[:, None].astype(np.float32)
        counts = np.stack([self._counts(pair.hole) for pair in pairs])[:, None]
        return (
            to_tensor([pair.damaged for pair in pairs]), to_tensor([pair.clean for pair in pairs]),
            torch.from_numpy(holes), torch.from_numpy(counts),
        )  # fmt: skip

    def _pair(self, rng: np.random.Generator) -> Pair:
        """Return a pair; its hole is what is damaged, or now and then a pixel or two more all around."""
        clean = self.prints.clean(rng)
        made = self.prints.damaged(clean, rng)
        for _ in range(TRIES):
            if made.mask.any():
                break
            made = self.prints.damaged(clean, rng)
        rings = int(rng.choice(len(self.values["grown"]), p=self.values["grown"]))
        cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
        hole = cv2.dilate(made.mask.astype(np.uint8), cross, iterations=rings) if rings else made.mask
        return Pair(made.picture, clean, hole > 0)

    def _counts(self, hole: Where) -> np.ndarray:
        """Return how much each pixel counts: nothing outside of holes, little within wide ones, which are no lines."""
        inside = cv2.morphologyEx(hole.astype(np.uint8), cv2.MORPH_OPEN, np.ones((WIDE, WIDE), np.uint8)) > 0
        counts: np.ndarray = np.where(inside, np.float32(self.values["wide"]), hole.astype(np.float32))
        return counts


def _turned(pair: Pair, rng: np.random.Generator) -> Pair:
    """Return a pair seen from another side, now and then as its negative."""
    turns, mirrored, negative = int(rng.integers(4)), rng.random() < 0.5, rng.random() < 0.3

    def turned(values: NDArray[Any]) -> NDArray[Any]:
        found = np.rot90(values, turns)
        return np.ascontiguousarray(found[:, ::-1] if mirrored else found)

    damaged, clean, hole = turned(pair.damaged), turned(pair.clean), turned(pair.hole)
    return Pair(255 - damaged, 255 - clean, hole) if negative else Pair(damaged, clean, hole)
