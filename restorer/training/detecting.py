"""Training the built-in face detector on composed scenes.

A cell is asked for a face when it lies near the middle of one whose size is its stride's (FCOS, Tian et al. 2019). Its
score learns how well its box fits (quality focal loss, Li et al. 2020), its box by DIoU (Zheng et al. 2020), its
landmarks by smooth L1 in shares of the box.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from restorer.errors import UsageError
from restorer.imaging.sheets import grid
from restorer.imaging.tensors import to_tensor
from restorer.networks.tinydetector import (
    HEAD,
    STRIDES,
    WIDTHS,
    TinyDetector,
    cells,
    folded,
    place,
)
from restorer.training.export import write_model
from restorer.training.loop import Place, Trainer, backward, follow, placed
from restorer.training.people import PAPERS
from restorer.training.pieces import Picture
from restorer.training.recipe import Recipe, Values
from restorer.training.scenery import Scenery
from restorer.training.scenes import Scene
from restorer.training.second_look import SecondLookTraining
from restorer.training.targets import FACE, UNKNOWN, Ahead, Batch, Scenes, overlaps


class DetectorTrainer(Trainer):
    """Trains `TinyDetector` on faces of a folder, put into backgrounds of another."""

    kind = "detector"
    architecture = "tinydetector"
    defaults: ClassVar[Values] = {
        "data": {
            "folder": "",
            "validation": 100,
            **PAPERS,
            "turned": 0.0,
            "backgrounds": "",
            "backgrounds_without": [],
            "others": "",
            "teacher": "retinaface-r50",
            "teacher_sizes": [1.0],
            "labels": "",
            "background_labels": "",
        },
        "network": {"widths": list(WIDTHS), "head": HEAD},
        "losses": {"score": 1.0, "box": 2.0, "landmarks": 15.0, "second_score": 1.0, "second_landmarks": 10.0},
        "second_from": 0,
        "first_until": 0,
        "size": 320,
        "smallest": 9.0,
        "steps": 10000,
        "batch": 16,
        "workers": 1,
        "lr": 3e-3,
        "second_lr": 3e-3,
        "second_rounds": 5,
        "second_batch": 96,
        "end": 0.01,
        "warmup": 200,
        "decay": 1e-4,
        "clip": 5.0,
        "ema_steps": 300.0,
        "sure": 0.5,
        "license": "",
        "trained_for": "",
    }

    def __init__(self, recipe: Recipe, data: Path | None, place: Place) -> None:
        super().__init__(recipe, data, place)
        values = self.values
        self.size = int(values["size"])
        if self.size % STRIDES[-1]:
            raise UsageError(f"Scenes of {self.size} px do not fit.", f"Give a multiple of {STRIDES[-1]}.")
        if not 0 < values["sure"] < 1:
            raise UsageError(f"sure is {values['sure']}.", "Give a share between 0 and 1.")
        torch.manual_seed(recipe.seed)
        self.widths, self.head = list(values["network"]["widths"]), int(values["network"]["head"])
        self.network = placed(TinyDetector(self.widths, self.head, norm=True), place.device)
        for score in self.network.score:
            assert isinstance(score, nn.Conv2d)
            assert score.bias is not None
            nn.init.constant_(score.bias, -4.6)  # 1 in 100: nearly all cells are background
        self.average_network = copy.deepcopy(self.network).requires_grad_(False)
        self.first_names = [name for name, _ in self.network.named_children() if name != "second"]
        self.first = [self.network.get_submodule(name) for name in self.first_names]
        self.first_until = int(values["first_until"]) or self.total_steps
        self.seconds = self.total_steps - int(values["second_from"])
        self.optimiser = self._optimiser(self.first, values["lr"])
        self.second_optimiser = self._optimiser([self.network.second], values["second_lr"])
        self.where = cells(self.size, self.size).to(place.device)
        self.second = SecondLookTraining(
            self.network.second, self.second_optimiser, values, self.where, self.size, self.autocast, self.average
        )
        scenery = Scenery(recipe, values["data"], self.folder, self.size, values["smallest"], str(place.device))
        training, kept = scenery.composers()
        scenes = Scenes(training, self.per_process(values["batch"]), self.size, (recipe.seed, place.rank))
        self.scenes = Ahead(scenes, int(values["workers"]), self.total_steps)
        self.kept = kept

    @property
    def total_steps(self) -> int:
        return int(self.values["steps"])

    def parts(self) -> dict[str, nn.Module | torch.optim.Optimizer]:
        return {
            "network": self.network,
            "average": self.average_network,
            "optimiser": self.optimiser,
            "second_optimiser": self.second_optimiser,
        }

    def step(self, step: int) -> dict[str, Tensor]:
        batch, device, values = self.scenes.of(step), self.place.device, self.values
        _set_rate(self.optimiser, values["lr"] * self._rate(step, values["warmup"], self.first_until))
        _set_rate(
            self.second_optimiser, values["second_lr"] * self._rate(step - values["second_from"], 20, self.seconds)
        )
        pictures = batch.pictures.to(device, memory_format=torch.channels_last)
        losses: dict[str, Tensor] = {}
        if step <= self.first_until:
            with self.autocast():
                rows = self.network.logits(pictures)
            rows = rows.float()
            losses |= self._losses(rows, batch)
            self.optimiser.zero_grad(set_to_none=True)
            weighted = [values["losses"][name] * losses[name] for name in ("score", "box", "landmarks")]
            backward(torch.stack(weighted).sum())
            for part in self.first:
                self.average(part)
            parameters = [parameter for part in self.first for parameter in part.parameters()]
            losses["gradient"] = nn.utils.clip_grad_norm_(parameters, values["clip"] or math.inf)
            self.optimiser.step()
        else:
            self.average_network.eval()
            with torch.no_grad(), self.autocast():
                rows = self.average_network.logits(pictures).float()
        if step > values["second_from"]:
            losses |= self.second.step(rows.detach(), batch)
        if step <= self.first_until:
            self._follow(self.first_names, step)
        self._follow(("second",), step - values["second_from"])
        return {name: value.detach() for name, value in losses.items()}

    def _follow(self, names: Sequence[str], learning: int) -> None:
        """Move the averaged parts of these names after those that have been learning for so many steps."""
        half_life = min(self.values["ema_steps"], 0.1 * max(learning, 0))
        for name in names:
            decay = 0.5 ** (1 / max(half_life, 1e-8))
            follow(self.average_network.get_submodule(name), self.network.get_submodule(name), decay)

    def _losses(self, rows: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Return the losses of rows (n, cells, 15), not weighted, each for one cell of a face; and the mean overlap."""
        device = rows.device
        what = batch.what.to(device)
        own = what == FACE
        count = own.sum().clamp(min=1)
        boxes, landmarks = place(rows[own], self.where.expand(len(rows), -1, -1)[own])
        wanted_boxes, wanted = batch.boxes.to(device)[own], batch.landmarks.to(device)[own]
        shares, distance = overlaps(boxes, wanted_boxes)
        size = (wanted_boxes[:, 2:] - wanted_boxes[:, :2]).prod(dim=1).sqrt()[:, None, None]
        off = F.smooth_l1_loss(landmarks / size, wanted / size, beta=0.04, reduction="none").mean(dim=(1, 2))
        logits, target = rows[..., 4], torch.zeros_like(what)
        target[own] = shares.detach().clamp(0, 1)
        focus = (target - logits.detach().sigmoid()).square()
        entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
        return {
            "score": (entropy * focus * (what != UNKNOWN)).sum() / count,
            "box": (1 - distance).sum() / count,
            "landmarks": off.sum() / count,
            "overlap": shares.sum() / count,
        }

    def sample(self) -> Image.Image:
        """Return nine scenes of faces that were kept for validation, with what is found in them."""
        rng = np.random.default_rng(1)
        scenes = [self.kept.draw(rng) for _ in range(9)]
        return grid([self._drawn(scene) for scene in scenes])

    def _drawn(self, scene: Scene) -> Picture:
        picture = np.ascontiguousarray(scene.picture)
        for box, wanted in zip(scene.boxes, scene.wanted, strict=True):
            left, top, right, bottom = (round(float(value)) for value in box)
            cv2.rectangle(picture, (left, top), (right, bottom), (255, 255, 255) if wanted else (90, 90, 90), 1)
        for (x0, y0, x1, y1), points, _ in self._found(scene.picture, 0.4):
            cv2.rectangle(picture, (round(x0), round(y0)), (round(x1), round(y1)), (0, 255, 0), 1)
            for x, y in points:
                cv2.circle(picture, (round(float(x)), round(float(y))), 1, (255, 0, 0), -1)
        return picture

    @torch.no_grad()
    def _found(self, picture: Picture, lowest: float) -> list[tuple[list[float], np.ndarray, float]]:
        """Return box, landmarks and score of what the averaged network finds in a scene, best first."""
        self.average_network.eval()
        rows = self.average_network(to_tensor([picture]).to(self.place.device))[0]
        boxes, landmarks = place(rows, self.where)
        scores = rows[:, 4].double().cpu().numpy()
        corners = boxes.double().cpu().numpy()
        sized = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
        kept = np.asarray(cv2.dnn.NMSBoxes(sized.tolist(), scores.tolist(), lowest, 0.4)).ravel()
        return [(corners[i].tolist(), landmarks[i].cpu().numpy(), float(scores[i])) for i in kept.astype(int)]

    def export(self, out: Path) -> list[Path]:
        network = folded(self.average_network, self.widths, self.head)
        calibrate(network, float(self.values["sure"]))
        return write_model(
            out,
            self.recipe,
            self.architecture,
            {"widths": self.widths, "head": self.head},
            network.state_dict(),
            self.values["license"],
            self.values["trained_for"],
        )

    # ------------------------------------------------------------------------------------------------ parts

    def _rate(self, step: int, warmup: int, last: int) -> float:
        """Return the share of the learning rate at a step: a linear warm-up, then half a cosine down to `end`."""
        if step <= warmup:
            return float(max(step, 0) / max(warmup, 1))
        along = min((step - warmup) / max(last - warmup, 1), 1.0)
        return float(self.values["end"] + (1 - self.values["end"]) * 0.5 * (1 + math.cos(math.pi * along)))

    def _optimiser(self, parts: list[nn.Module], lr: float) -> torch.optim.Optimizer:
        """Return AdamW over these parts; biases and norms do not decay."""
        parameters = [parameter for part in parts for parameter in part.parameters()]
        groups: list[dict[str, Any]] = [
            {"params": [p for p in parameters if p.ndim > 1], "weight_decay": self.values["decay"]},
            {"params": [p for p in parameters if p.ndim == 1], "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(groups, lr=lr)


def _set_rate(optimiser: torch.optim.Optimizer, lr: float) -> None:
    for group in optimiser.param_groups:
        group["lr"] = lr


@torch.no_grad()
def calibrate(network: TinyDetector, sure: float) -> None:
    """Change the network so that what both looks together score `sure` scores 0.9; the order of scores stays.

    The first look's score learns the overlap of a box, which for a small face is never near 1, and the detectors of
    this tool are asked for 0.9.
    """
    shift = math.log(0.9 / 0.1) - math.log(sure / (1 - sure))
    for score in network.score:
        assert isinstance(score, nn.Conv2d)
        assert score.bias is not None
        score.bias += shift
    network.second.answer.bias[10] += shift
