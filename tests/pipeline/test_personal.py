"""Faces that are restored by photos of the same person: DMDNet's way, and what is said where it has too few."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from restorer.models.base import CropSpec
from restorer.models.dmdnet import DMDNetArchitecture, boxes_at, boxes_of_template
from restorer.models.templates import FACEXLIB
from restorer.pipeline.components import Components
from tests.pipeline.test_references import FACES, Likeness, at_work, red


class Learner:
    """Paints a face green where it knows nothing of the person, and else blue, by the number of photos."""

    name = "learner"
    learns_from = 2

    def __init__(self) -> None:
        self.crop = CropSpec(64, 64, 64, FACEXLIB)
        self.seen: list[tuple[Any, ...]] = []

    def restore(self, crops: torch.Tensor) -> torch.Tensor:
        return torch.tensor([-1.0, 1, -1])[:, None, None].expand(len(crops), 3, 64, 64)

    def restore_person(self, crop: Any, points: Any, references: Any, reference_points: Any) -> torch.Tensor:
        self.seen.append((crop.shape, points.shape, references.shape, reference_points.shape, references[:, 0].mean()))
        return torch.tensor([-1.0, -1, 1])[:, None, None].expand(1, 3, 64, 64)


@pytest.fixture
def likeness(monkeypatch: pytest.MonkeyPatch) -> Likeness:
    compares = Likeness()
    monkeypatch.setattr(Components, "recogniser", lambda _self: compares)
    return compares


def test_each_face_is_restored_by_the_photos_of_its_own_person(likeness: Likeness, tmp_path: Path) -> None:
    for name, levels in {"calm": (0.2, 0.22, 0.24), "angry": (0.9,)}.items():
        for number, level in enumerate(levels):
            red(level, tmp_path / name / f"{number}.png")
    photo = red(0.2)
    photo[:, 120:, 0] = 240
    model = Learner()
    given = [tmp_path / "calm", tmp_path / "angry"]
    result = at_work(model, FACES, reference=given, batch_size=2).restore(photo)
    ((crop, points, references, theirs, mean),) = model.seen
    assert (crop, points, theirs) == ((1, 3, 64, 64), (1, 5, 2), (3, 5, 2))
    assert references == (3, 3, 64, 64)
    assert float(mean) == pytest.approx(2 * 0.22 - 1, abs=0.02)
    assert result.image[120, 120, 2] > 200 > 50 > result.image[120, 120, 1]
    assert result.image[120, 360, 1] > 200 > 50 > result.image[120, 360, 2]
    assert "learner restored by photos of calm: 3 of 3." in result.warnings
    said = "Face 2: learner used its memory of faces in general: of angry there is 1 photo, and 2 are needed."
    assert said in result.warnings


def test_what_is_nobodys_or_without_references_is_restored_in_general(likeness: Likeness, tmp_path: Path) -> None:
    model = Learner()
    assert any("no reference was given" in line for line in at_work(model, FACES).restore(red(0.2)).warnings)
    for number in range(2):
        red(0.95 + 0.01 * number, tmp_path / "angry" / f"{number}.png")
    stranger = at_work(model, FACES, reference=tmp_path / "angry").restore(red(0.0))
    assert sum("resembles nobody of the references" in line for line in stranger.warnings) == 2
    assert model.seen == []


def test_without_a_recogniser_the_only_face_is_the_only_person(tmp_path: Path) -> None:
    for number in range(2):
        red(0.5 + 0.01 * number, tmp_path / "mia" / f"{number}.png")
    model = Learner()
    given: dict[str, Any] = {"reference": tmp_path / "mia", "offline": True}
    at_work(model, FACES[:1], **given).restore(red(0.5))
    assert len(model.seen) == 1
    two = at_work(model, FACES, **given).restore(red(0.5))
    assert len(model.seen) == 1
    assert any("nothing tells whose face it is" in line for line in two.warnings)


def test_boxes_follow_the_landmarks_and_stay_inside() -> None:
    template = torch.tensor(FACEXLIB.points)[None]
    assert torch.equal(boxes_at(template), boxes_of_template(1))
    moved = boxes_at(template + torch.tensor([0.02, -0.01])) - boxes_of_template(1)
    assert np.abs(moved[..., 0].numpy() - 10.24).max() <= 1
    assert np.abs(moved[..., 1].numpy() + 5.12).max() <= 1
    for far in (-3.0, 3.0):
        boxes = boxes_at(template + far)
        assert float(boxes.min()) >= 0
        assert float(boxes.max()) <= 512
        assert bool((boxes[..., 2:] > boxes[..., :2]).all())


def test_dmdnet_is_given_the_photos_and_boxes_of_both() -> None:
    called: list[tuple[Any, ...]] = []

    def network(*tensors: torch.Tensor, **controls: Any) -> torch.Tensor:
        called.append((tensors, controls))
        return tensors[0]

    points = torch.tensor(FACEXLIB.points)[None]
    crop, photos = torch.zeros(1, 3, 512, 512), torch.ones(2, 3, 512, 512)
    DMDNetArchitecture().restore_person(network, crop, points, photos, points.repeat(2, 1, 1))
    (((given, boxes), controls),) = called
    assert given is crop
    assert torch.equal(boxes, boxes_of_template(1))
    assert controls["references"] is photos
    assert torch.equal(controls["reference_boxes"], boxes_of_template(2))
