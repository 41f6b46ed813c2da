"""Training the built-in face detector on composed scenes.

A cell is asked for a face when it lies near the middle of one whose size is its stride's (FCOS, Tian et al. 2019). Its
score learns how well its box fits (quality focal loss, Li et al. 2020), its box by DIoU (Zheng et al. 2020), its
landmarks by smooth L1 in shares of the box.
"""

from __future__ import annotations

import copy
import fnmatch
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
from restorer.models.base import Detector
from restorer.networks.tinydetector import (
    CROP,
    HEAD,
    STRIDES,
    WIDTHS,
    TinyDetector,
    cells,
    cut,
    folded,
    frames_of,
    place,
)
from restorer.training.datasets import picture_files, read_picture, split
from restorer.training.export import write_model
from restorer.training.labelling import LOWEST, MIRRORED, Known, Steady, known_faces
from restorer.training.loop import Place, Trainer, backward, follow, placed
from restorer.training.recipe import Recipe, Values
from restorer.training.scenes import SIDE, Composer, Picture, Scene
from restorer.training.targets import FACE, NOTHING, UNKNOWN, Ahead, Batch, Scenes, overlaps

FAR = 1.5
"""Landmarks beyond this in a crop, whose sides are at 1, are no help: the first look was wrong by half a face."""
SEEN_AGAIN = (224, 64)
"""How many faces and errors of a batch the second look learns from."""


class DetectorTrainer(Trainer):
    """Trains `TinyDetector` on faces of a folder, put into backgrounds of another."""

    kind = "detector"
    architecture = "tinydetector"
    defaults: ClassVar[Values] = {
        "data": {
            "folder": "",
            "validation": 100,
            "backgrounds": "",
            "without": [],
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
        training, kept = self._composers()
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
            losses |= self._train_second(rows.detach(), batch)
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

    def _train_second(self, rows: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Train the second look on what the first one finds, and return its losses: faces, and the worst errors.

        It is small and learns quickly, so each batch of scenes serves it for several steps, on a part of the finds at
        a time, mirrored or not.
        """
        crops, truth, wanted = self._finds(rows, batch)
        weights = self.values["losses"]
        found: dict[str, list[Tensor]] = {"second_score": [], "second_landmarks": []}
        for _ in range(self.values["second_rounds"]):
            part = torch.randperm(len(crops))[: self.values["second_batch"]].to(crops.device)
            seen_by, points, right = crops[part], wanted[part], truth[part]
            if torch.rand(()) < 0.5:
                seen_by = seen_by.flip(3)
                points = points[:, MIRRORED] * points.new_tensor([-1, 1])
            with self.autocast():
                seen, logits = self.network.second(seen_by)
            score = F.binary_cross_entropy_with_logits(logits, right.float())
            near = (right & (points.abs().amax(dim=(1, 2)) < FAR)).float()
            off = F.smooth_l1_loss(seen, points, beta=0.02, reduction="none").mean(dim=(1, 2))
            landmarks = (off * near).sum() / near.sum().clamp(min=1)
            self.second_optimiser.zero_grad(set_to_none=True)
            backward(weights["second_score"] * score + weights["second_landmarks"] * landmarks)
            self.average(self.network.second)
            self.second_optimiser.step()
            found["second_score"].append(score.detach())
            found["second_landmarks"].append(landmarks.detach())
        return {name: torch.stack(values).mean() for name, values in found.items()}

    @torch.no_grad()
    def _finds(self, rows: Tensor, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Return crops (k, 3, 64, 64), whether they are of faces (k,), and the landmarks in the crops (k, 5, 2)."""
        what = batch.what.to(rows.device)
        faces = torch.nonzero(what == FACE)
        faces = faces[torch.randperm(len(faces)).to(faces.device)[: SEEN_AGAIN[0]]]
        scores = torch.where(what == NOTHING, rows[..., 4], -math.inf).flatten()
        worst = scores.topk(min(8 * SEEN_AGAIN[1], len(scores))).indices
        worst = torch.stack([worst // what.shape[1], worst % what.shape[1]], dim=1)
        worst = worst[self._points_at_nothing(rows, what, worst)][: SEEN_AGAIN[1]]
        index, cell = torch.cat([faces, worst]).unbind(dim=1)
        _, landmarks = place(rows[index, cell], self.where[cell])
        frames = frames_of(landmarks)
        pictures = batch.pictures.to(rows.device)
        crops = torch.empty(len(index), 3, CROP, CROP, device=rows.device)
        for number in sorted(set(index.tolist())):
            mine = index == number
            crops[mine] = cut(pictures[number], frames[mine])
        inverse = torch.linalg.inv(frames[:, :, :2])
        wanted = batch.landmarks.to(rows.device)[index, cell] - frames[:, None, :, 2]
        return crops, what[index, cell] == FACE, wanted @ inverse.transpose(1, 2)

    def _points_at_nothing(self, rows: Tensor, what: Tensor, picked: Tensor) -> Tensor:
        """Return for cells (k, 2: picture, cell) whether the box that they claim has its middle on no face (k,).

        A cell at the edge of a face is asked for nothing, but may well say where that face is.
        """
        index, cell = picked.unbind(dim=1)
        boxes, _ = place(rows[index, cell], self.where[cell])
        middle = ((boxes[:, :2] + boxes[:, 2:]) / 2).clamp(0, self.size - 1)
        nothing, first = torch.ones(len(picked), dtype=torch.bool, device=rows.device), 0
        for stride in STRIDES:
            across = self.size // stride
            column, row = (middle / stride).long().unbind(dim=1)
            nothing &= what[index, first + row * across + column] == NOTHING
            first += across * across
        return nothing

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

    def _composers(self) -> tuple[Composer, Composer]:
        """Return what composes scenes of the faces for training, and of those that are kept for validation."""
        data = self.values["data"]
        files = picture_files(self.folder)
        labels = self.recipe.path(data["labels"]) if data["labels"] else None
        known = known_faces(files, self.folder, labels, self._teacher)
        # A crop with a second face would teach that the second one is none.
        alone = [path for path in files if len(known[path].scores) and known[path].scores[0] > 0.9]
        alone = [path for path in alone if not (known[path].scores[1:] > 0.5).any()]
        if not alone:
            raise UsageError(
                f"The teacher finds a single face in none of the {len(files)} pictures of {self.folder}.",
                "Give crops of one face each.",
            )
        training, kept = split(alone, data["validation"], self.recipe.seed)
        backgrounds = self._backgrounds()
        others = [read_picture(path) for path in picture_files(self._given("others"))] if data["others"] else []
        training_backgrounds = backgrounds if len(backgrounds) < 8 else backgrounds[len(backgrounds) // 8 :]
        kept_backgrounds = backgrounds if len(backgrounds) < 8 else backgrounds[: len(backgrounds) // 8]
        return (
            self._composer(training, known, training_backgrounds, others),
            self._composer(kept or training[:8], known, kept_backgrounds, others),
        )

    def _composer(
        self,
        files: list[Path],
        known: dict[Path, Known],
        backgrounds: list[tuple[Picture, Known]],
        others: list[Picture],
    ) -> Composer:
        faces, boxes, landmarks = [], [], []
        for path in files:
            picture, factor = _crop(path)
            faces.append(picture)
            boxes.append(known[path].boxes[0] * factor)
            landmarks.append(known[path].landmarks[0] * factor)
        smallest = self.values["smallest"]
        return Composer(faces, np.stack(boxes), np.stack(landmarks), backgrounds, others, self.size, smallest)

    def _backgrounds(self) -> list[tuple[Picture, Known]]:
        """Return the photographs for backgrounds, with the faces that the teacher finds in them."""
        data = self.values["data"]
        if not data["backgrounds"]:
            return []
        folder = self._given("backgrounds")
        files = [
            path
            for path in picture_files(folder)
            if not any(fnmatch.fnmatch(path.name, pattern) for pattern in data["without"])
        ]
        labels = self.recipe.path(data["background_labels"]) if data["background_labels"] else None
        known = known_faces(files, folder, labels, self._teacher)
        return [(read_picture(path), known[path]) for path in files]

    def _given(self, name: str) -> Path:
        """Return a folder that the recipe names; raises `UsageError` when it is not there."""
        folder = self.recipe.path(self.values["data"][name])
        if not folder.is_dir():
            raise UsageError(
                f"There is no folder {folder}, which data.{name} of the recipe {self.recipe.name!r} names.",
                f'Correct data.{name}, or set it to "" to do without.',
            )
        return folder

    def _teacher(self) -> Detector:
        """Return the detector that says where the faces are."""
        from restorer.options import Options
        from restorer.pipeline.components import Components

        name = self.values["data"]["teacher"]
        if not name:
            raise UsageError(
                f"The recipe {self.recipe.name!r} names no teacher, and its labels do not have all pictures.",
                'Set data.teacher to a detector, such as "retinaface-r50".',
            )
        options = Options(model="none", detector=name, min_score=LOWEST, device=str(self.place.device))
        return Steady(Components(options).detector(), self.values["data"]["teacher_sizes"])


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


def _crop(path: Path) -> tuple[Picture, float]:
    """Return the picture at (256, 256, 3), and the factor by which it was reduced; raises UsageError if not square."""
    picture = read_picture(path)
    height, width = picture.shape[:2]
    if height != width:
        raise UsageError(f"{path} is {width} x {height} px.", "Give square crops of faces.")
    method = cv2.INTER_AREA if width > SIDE else cv2.INTER_CUBIC
    resized = picture if width == SIDE else cv2.resize(picture, (SIDE, SIDE), interpolation=method)
    return np.ascontiguousarray(resized), SIDE / width
