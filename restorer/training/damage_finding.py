"""Training the built-in finder of damage on squares of prints whose damage is known."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from restorer.errors import UsageError
from restorer.imaging.sheets import Picture, sheet
from restorer.imaging.tensors import to_tensor
from restorer.networks.damageunet import DamageUNet, folded
from restorer.training.export import write_model
from restorer.training.growing import begin_with, mixed
from restorer.training.loop import Place, Trainer, backward, follow, placed
from restorer.training.muon import MuonAndAdam
from restorer.training.prints import DATA, PRINT, Hard, PrintSet
from restorer.training.recipe import Recipe
from restorer.training.wear.prints import Damaged, Where

WIDE = 11
"""Side in pixels of the squares of which a wide place is made."""
SPECK = 40
"""Pixels up to which a piece of damage is a speck."""


class DamageTrainer(Trainer):
    """Trains `DamageUNet`: cross-entropy, and the overlap of what is found with what is there (Dice).

    Every `mine_every` steps it looks for damage in the clean photographs themselves; places where it sees some are then
    shown more often (`print.hard`), as they are and damaged. Of the faces it looks at `mine_faces`: old plates among
    them have scratches of their own, which would be learnt to be none.
    """

    kind = "damage"
    architecture: ClassVar[str] = "damageunet"
    defaults: ClassVar[dict[str, Any]] = {
        "data": DATA,
        "print": PRINT,
        "network": {},
        "losses": {"entropy": 1.0, "overlap": 0.5},
        "missed": 1.0,
        "wide": 0.05,
        "rim": 0.5,
        "speck": 1.0,
        "again": 2,
        "mine_every": 0,
        "mine_faces": 400,
        "start": "",
        "keeps": 0.0,
        "steps": 8000,
        "batch": 8,
        "side": 192,
        "lr": 0.02,
        "lr_adam": 3e-3,
        "warmup": 50,
        "falls": 0.4,
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
        self.network = placed(DamageUNet(**self.arguments, norm=True), place.device)
        nn.init.constant_(self.network.get_parameter("head.bias"), -3.0)  # one pixel in twenty
        self.batch, side = self.per_process(self.values["batch"]), int(self.values["side"])
        if side % 16:
            raise UsageError(f"Squares of {side} px do not fit.", "Give a multiple of 16.")
        self.prints = PrintSet(recipe, self.values["data"], self.values["print"], self.folder, side)
        if not 0 <= self.values["keeps"] < 1 or (self.values["keeps"] and not self.values["start"]):
            raise UsageError(
                f"keeps is {self.values['keeps']}.", "Give a share from 0 to below 1 of the weights that `start` names."
            )
        if self.values["start"]:
            first = self._make(0)[0].to(place.device)
            begin_with(self.network, self._begun(), first)
        self.average_network = copy.deepcopy(self.network).requires_grad_(False).eval()
        self.optimisers = MuonAndAdam(self.network, self.values, _OUTER)
        rng = np.random.default_rng([recipe.seed, 0])
        self.shown = [self.prints.draw(rng) for _ in range(8)]
        self._pool = ThreadPoolExecutor(1)
        self._ahead: dict[int, Future[tuple[Tensor, Tensor, Tensor]]] = {}

    @property
    def total_steps(self) -> int:
        return int(self.values["steps"])

    def parts(self) -> dict[str, nn.Module | torch.optim.Optimizer]:
        return {"network": self.network, "average": self.average_network, **self.optimisers.parts()}

    def extra_state(self) -> dict[str, Any]:
        places = [[float(one.of_faces), *map(float, one.spot), one.weight] for one in self.prints.hard]
        return {"hard": torch.tensor(places, dtype=torch.float64).reshape(-1, 5)}

    def restore(self, state: Mapping[str, Any]) -> None:
        super().restore(state)
        places = state["extra"].get("hard", torch.zeros(0, 5)).tolist()
        self.prints.hard = [Hard(bool(a), (int(b), int(c), int(d)), e) for a, b, c, d, e in places]

    def step(self, step: int) -> dict[str, Tensor]:
        if self.values["mine_every"] and step > 1 and (step - 1) % self.values["mine_every"] == 0:
            self._ahead.clear()
            self.prints.mine(self._seen, int(self.values["mine_faces"]))
        pictures, wanted, asked = (tensor.to(self.place.device) for tensor in self._batch(step))
        self.optimisers.begin(step)
        with self.autocast():
            logits = self.network(pictures.contiguous(memory_format=torch.channels_last)).float()
        missed = logits.new_tensor(self.values["missed"])
        entropy = F.binary_cross_entropy_with_logits(logits, wanted, asked, reduction="sum", pos_weight=missed)
        entropy = entropy / asked.sum()
        found = logits.sigmoid() * asked
        both, either = (found * wanted).sum(), found.sum() + (wanted * asked).sum()
        overlap = 1 - (2 * both + 1) / (either + 1)
        weights = self.values["losses"]
        backward(weights["entropy"] * entropy + weights["overlap"] * overlap)
        self.average(self.network)
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimisers.step()
        half_life = min(self.values["ema_steps"], 0.1 * step)
        follow(self.average_network, self.network, 0.5 ** (1 / max(half_life, 1e-8)))
        with torch.no_grad():
            sure = (logits > 0).float() * asked
            right = (sure * wanted).sum()
            losses = {"entropy": entropy, "overlap": overlap}
            losses["precision"] = (right + 1) / (sure.sum() + 1)
            losses["recall"] = (right + 1) / ((wanted * asked).sum() + 1)
        return {name: value.detach() for name, value in losses.items()}

    def sample(self) -> Image.Image:
        """Return eight squares, what is damaged in them (grey: not asked for), and what is found."""
        self.average_network.eval()
        with torch.no_grad():
            pictures = to_tensor([print_.picture for print_ in self.shown]).to(self.place.device)
            found = self.average_network(pictures).sigmoid()[:, 0].cpu().numpy()
        return sheet(
            [(one.picture, _drawn(one), _grey(seen)) for one, seen in zip(self.shown, found, strict=True)],
            ("print", "damage", "found"),
        )

    def export(self, out: Path) -> list[Path]:
        network = folded(self.average_network, **self.arguments)
        state, values = network.state_dict(), self.values
        if values["keeps"]:
            state = mixed(state, self._begun(), values["keeps"])
        return write_model(
            out, self.recipe, self.architecture, self.arguments, state, values["license"], values["trained_for"]
        )

    def _begun(self) -> dict[str, Tensor]:
        """Return the weights that this network begins with."""
        return load_file(self.recipe.path(self.values["start"]), str(self.place.device))

    def _seen(self, picture: Picture) -> Where:
        """Return where the network, as it is, sees damage in a whole picture."""
        self.average_network.eval()
        with torch.no_grad(), self.autocast():
            logits = self.average_network(to_tensor([picture]).to(self.place.device))
        found: Where = (logits[0, 0] > 0).cpu().numpy()
        return found

    def _batch(self, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return the batch of a step: each that is made is shown `again` times, every time from another side."""
        turn, number = (step - 1) % self.values["again"], (step - 1) // self.values["again"]
        if number not in self._ahead:
            self._ahead = {number: self._pool.submit(self._make, number)}
        made = self._ahead[number].result()
        if number + 1 not in self._ahead:
            self._ahead[number + 1] = self._pool.submit(self._make, number + 1)
        if turn == self.values["again"] - 1:
            del self._ahead[number]
        pictures, wanted, asked = (torch.rot90(tensor, turn, (2, 3)) for tensor in made)
        return (-pictures if turn % 2 else pictures), wanted, asked

    def _make(self, number: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return pictures (n, 3, s, s), what is wanted (n, 1, s, s), 1 = damaged, and 1 where it is asked for."""
        rng = self.rng(number)
        made = [self.prints.draw(rng) for _ in range(self.batch)]
        wanted = np.stack([_grown(print_.mask) for print_ in made])[:, None].astype(np.float32)
        asked = np.stack([self._asked(print_) for print_ in made])[:, None]
        return to_tensor([print_.picture for print_ in made]), torch.from_numpy(wanted), torch.from_numpy(asked)

    def _asked(self, print_: Damaged) -> NDArray[np.float32]:
        """Return how much each pixel counts: nothing where it is unsure, little within a wide place, half on its rim.

        A piece of tape has the pixels of a hundred scratches, a scratch those of a hundred specks of dust (which count
        as `speck` says), and it would be all that is learnt. The rim, a pixel around
        what is damaged, is to be found as well: what is filled has to reach so far, and a line of three pixels is
        easier to learn than where exactly one of a single pixel lies.
        """
        asked = 1 - print_.unsure.astype(np.float32)
        asked[(_grown(print_.mask) > 0) & ~print_.mask] = self.values["rim"]
        inside = cv2.morphologyEx(print_.mask.astype(np.uint8), cv2.MORPH_OPEN, np.ones((WIDE, WIDE), np.uint8))
        asked[inside > 0] = self.values["wide"]
        _, pieces, boxes, _ = cv2.connectedComponentsWithStats(print_.mask.astype(np.uint8), connectivity=8)
        specks = boxes[:, cv2.CC_STAT_AREA] <= SPECK
        specks[0] = False
        asked[specks[pieces]] = self.values["speck"]
        return asked


_OUTER = ("stem.", "first.", "spread.", "join.", "head.")


def _grown(mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    return np.asarray(cv2.dilate(mask.astype(np.uint8), cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))), np.uint8)


def _drawn(print_: Damaged) -> Picture:
    shown = np.where(print_.mask, 255, np.where(print_.unsure, 90, 0)).astype(np.uint8)
    return np.repeat(shown[..., None], 3, axis=2)


def _grey(found: np.ndarray) -> Picture:
    return np.repeat(np.rint(found * 255).astype(np.uint8)[..., None], 3, axis=2)
