"""The built-in detector: its network, how it looks at photos, the shipped weights, and how it is measured."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import restorer
from restorer import weights
from restorer.bench import detector as bench
from restorer.faces.detect import FaceDetector
from restorer.models import REGISTRY
from restorer.models.base import LoadedNetwork, Precision
from restorer.models.retinaface import RetinaFaceArchitecture
from restorer.models.tinydetector import TinyDetectorArchitecture, fuse_scores, vote
from restorer.networks import tinydetector as network
from restorer.training.datasets import read_picture
from restorer.training.labelling import Labels
from restorer.weights import Table
from tests.support import standins
from tests.support.networks import at_work

RED = (255, 0, 0)
SHARES = np.array([[0.3, 0.3], [0.7, 0.3], [0.5, 0.5], [0.35, 0.8], [0.65, 0.8]], np.float32)


class FindsRed(nn.Module):
    """In place of a network: each red patch of 12 to 300 px is a face; its landmarks are those of `SHARES`.

    The first look is wrong about the landmarks by a twentieth of the patch; the second one knows better.
    """

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))
        self.sizes: list[tuple[int, int]] = []
        self.looked_again = 0

    def forward(
        self, pixels: torch.Tensor, landmarks: torch.Tensor | None = None, sizes: Sequence[float] = (1.0,)
    ) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        if landmarks is not None:
            return self.refine(landmarks)
        height, width = pixels.shape[2:]
        self.sizes.append((width, height))
        where = network.cells(height, width).numpy()
        rows = np.zeros((len(where), network.ROW), np.float32)
        self.patches = self._patches(pixels[0].permute(1, 2, 0).numpy())
        for x0, y0, x1, y1 in self.patches:
            size = max(x1 - x0, y1 - y0)
            stride = 8 if size < 44 else 16 if size < 120 else 32
            away = np.hypot(where[:, 0] - (x0 + x1) / 2, where[:, 1] - (y0 + y1) / 2) + 1e6 * (where[:, 2] != stride)
            for rank, i in enumerate(np.argsort(away)[:3]):
                x, y, _ = where[i]
                rows[i, :2] = ((x0 + x1) / 2 - x) / stride, ((y0 + y1) / 2 - y) / stride
                rows[i, 2:4] = np.log((x1 - x0) / stride), np.log((y1 - y0) / stride)
                rows[i, 4] = 0.95 - rank / 100
                points = SHARES * [x1 - x0, y1 - y0] + [x0, y0] + 0.05 * size
                rows[i, 5:] = ((points - [x, y]) / stride).ravel()
        return torch.from_numpy(rows)[None]

    def refine(self, landmarks: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        self.looked_again += len(landmarks)
        better = []
        for points in landmarks.numpy():
            patch = min(
                self.patches,
                key=lambda box: abs(np.mean(box[::2]) - points[2, 0]) + abs(np.mean(box[1::2]) - points[2, 1]),
            )
            x0, y0, x1, y1 = patch
            better.append(SHARES * [x1 - x0, y1 - y0] + [x0, y0])
        return torch.tensor(np.array(better), dtype=torch.float32), torch.full((len(landmarks),), 4.0)

    @staticmethod
    def _patches(rgb: np.ndarray) -> list[tuple[float, float, float, float]]:
        red = ((rgb[..., 0] > 0.3) & (rgb[..., 1] < -0.3)).astype(np.uint8)
        boxes = cv2.connectedComponentsWithStats(red)[2][1:, :4]
        return [(x, y, x + wide, y + high) for x, y, wide, high in boxes.tolist() if 12 <= max(wide, high) <= 300]


def loaded(net: nn.Module, name: str = "finds-red") -> LoadedNetwork:
    return LoadedNetwork(net.eval(), Table(name, architecture="tinydetector"), TinyDetectorArchitecture())


def finder(min_face: float | None = None, min_score: float = 0.9) -> tuple[FaceDetector, FindsRed]:
    net = FindsRed()
    return FaceDetector(at_work(loaded(net)), min_face=min_face, min_score=min_score), net


def grey(height: int, width: int, *boxes: tuple[int, int, int, int]) -> np.ndarray:
    """Return a grey photo with red patches."""
    photo = np.full((height, width, 3), 120, np.uint8)
    for x0, y0, x1, y1 in boxes:
        photo[y0:y1, x0:x1] = RED
    return photo


# --------------------------------------------------------------------------------------------------- the network


def test_it_is_small_and_folding_changes_nothing() -> None:
    torch.manual_seed(0)
    trained = network.TinyDetector(norm=True)
    for _ in range(3):  # statistics other than those of a fresh one
        trained.logits(torch.randn(2, 3, 64, 64))
        trained.second(torch.randn(4, 3, 64, 64))
    trained.eval()
    plain = network.folded(trained, network.WIDTHS, network.HEAD)
    assert sum(parameter.numel() for parameter in plain.parameters()) < 260_000
    picture, points = torch.randn(1, 3, 96, 64), torch.rand(2, 5, 2) * 50
    with torch.no_grad():
        assert torch.allclose(plain(picture), trained(picture), atol=1e-4)
        for ours, theirs in zip(plain.refine(picture[0], points), trained.refine(picture[0], points), strict=True):
            assert torch.allclose(ours, theirs, atol=1e-3)


def test_what_is_seen_at_some_sizes_is_averaged() -> None:
    torch.manual_seed(2)
    net = network.TinyDetector().eval()
    picture, points = torch.rand(3, 96, 80) * 2 - 1, torch.rand(3, 5, 2) * 40 + 20
    with torch.no_grad():
        alone = [net.refine(picture, points, [size]) for size in (0.8, 1.0, 1.2)]
        landmarks, logits = net.refine(picture, points, (0.8, 1.0, 1.2))
    assert torch.allclose(landmarks, torch.stack([found[0] for found in alone]).mean(dim=0), atol=1e-3)
    assert torch.allclose(logits, torch.stack([found[1] for found in alone]).mean(dim=0), atol=1e-4)
    assert (alone[0][0] - alone[2][0]).abs().max() > 0.1  # other crops are seen


def test_rows_come_in_the_order_of_the_cells() -> None:
    """A cell's row depends most on the pixels at that cell."""
    torch.manual_seed(1)
    net = network.TinyDetector().eval()
    where = network.cells(96, 160)
    picture = torch.zeros(1, 3, 96, 160, requires_grad=True)
    rows = net.logits(picture)
    assert rows.shape == (1, len(where), network.ROW)
    for index in (0, 21, 239, 240 + 13, 300 + 4):
        (gradient,) = torch.autograd.grad(rows[0, index].sum(), picture, retain_graph=True)
        power = gradient[0].abs().sum(dim=0)
        y, x = torch.meshgrid(torch.arange(96) + 0.5, torch.arange(160) + 0.5, indexing="ij")
        middle = torch.stack([(power * x).sum(), (power * y).sum()]) / power.sum()
        reach = 40 if where[index, 2] < 32 else 60
        assert (middle - where[index, :2]).abs().max() < reach


def test_a_frame_brings_the_landmarks_to_the_template() -> None:
    template = torch.tensor(network.TEMPLATE)
    turned = template @ torch.tensor([[30.0, 12], [-12, 30]]) + torch.tensor([90.0, 70])
    frames = network.frames_of(turned[None])
    assert torch.allclose(network.in_picture(template[None], frames)[0], turned, atol=1e-3)
    picture = torch.zeros(3, 160, 160)
    for number, (x, y) in enumerate(turned.tolist()):
        picture[number % 3, int(y) - 2 : int(y) + 3, int(x) - 2 : int(x) + 3] = 1
    crop = network.cut(picture, frames)[0]
    for number, (x, y) in enumerate(((template + 1) * network.CROP / 2).tolist()):
        assert crop[number % 3, int(y), int(x)] > 0.9
        assert crop[(number + 1) % 3, int(y), int(x)] < 0.1


def test_the_widths_are_told_by_the_shapes() -> None:
    net = network.TinyDetector((8, 16, 24, 32, 40), 24)
    shapes = {key: tuple(value.shape) for key, value in net.state_dict().items()}
    assert TinyDetectorArchitecture().infer(shapes) == {"widths": [8, 16, 24, 32, 40], "head": 24}


# --------------------------------------------------------------------------------------------------- photos


@settings(max_examples=20, deadline=None)
@given(
    width=st.integers(40, 1400),
    height=st.integers(40, 1400),
    left=st.floats(0, 1),
    top=st.floats(0, 1),
    share=st.floats(0.25, 1),
)
def test_boxes_and_landmarks_come_back_in_the_photos_pixels(
    width: int, height: int, left: float, top: float, share: float
) -> None:
    side = max(round(share * min(width, height)), 24, round(0.04 * max(width, height)))
    side = min(side, width, height)
    x0, y0 = round(left * (width - side)), round(top * (height - side))
    detector, _ = finder()
    found = detector.detect(grey(height, width, (x0, y0, x0 + side, y0 + side)))
    assert len(found) == 1
    # Large faces are seen in coarse views.
    reach = 1.5 * max(1, max(width, height) / 1200) + 0.03 * side
    assert np.abs(np.array(found[0].box) - (x0, y0, x0 + side, y0 + side)).max() < reach
    assert np.abs(found[0].landmarks - (SHARES * side + (x0, y0))).max() < reach
    assert found[0].landmarks.dtype == np.float32


@pytest.mark.parametrize("side", [100, 1000, 4000])
def test_a_face_of_any_share_of_the_photo_is_found_once(side: int) -> None:
    for share in (0.2, 0.4, 0.7, 1.0):
        patch = round(side * share)
        start = (side - patch) // 2
        detector, _ = finder()
        found = detector.detect(grey(side, side, (start, start, start + patch, start + patch)))
        assert len(found) == 1, (side, share)


def test_depths_and_channels_make_no_difference() -> None:
    photo = grey(200, 300, (100, 60, 160, 130))
    detector, _ = finder()
    (eight,) = detector.detect(photo)
    (sixteen,) = detector.detect(photo.astype(np.uint16) * 257)
    (alpha,) = detector.detect(np.dstack([photo, np.zeros((200, 300), np.uint8)]))
    assert eight.box == sixteen.box == alpha.box
    assert detector.detect(photo[..., 1]) == []
    with pytest.raises(ValueError, match="uint8"):
        detector.detect(photo.astype(np.float32))


def test_a_large_photo_costs_no_more_and_small_faces_cost_when_they_are_asked_for() -> None:
    photo = grey(2000, 3000, (500, 500, 518, 518))
    detector, net = finder()
    assert detector.detect(photo) == []
    assert max(width for width, _ in net.sizes) <= 1216
    detector, net = finder(min_face=16)
    assert len(detector.detect(photo)) == 1
    assert len(net.sizes) > 3


def test_what_is_unlikely_is_not_looked_at_again() -> None:
    detector, net = finder(min_score=0.999)
    assert detector.detect(grey(300, 300, (100, 100, 160, 160))) == []
    assert net.looked_again == 0
    detector, net = finder(min_score=0.96)  # the second look makes up for 0.95
    assert len(detector.detect(grey(300, 300, (100, 100, 160, 160)))) == 1
    assert net.looked_again


def test_cells_of_one_face_say_together_where_its_landmarks_are() -> None:
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 11], [50, 50, 60, 60], [2, 5, 12, 15]], np.float32)
    points = np.stack([np.full((5, 2), value, np.float32) for value in (4, 6, 55, 99)])
    scores = np.array([0.8, 0.8, 0.9, 0.3], np.float32)
    found, landmarks, order = vote(boxes, points, scores)
    assert order.tolist() == pytest.approx([0.9, 0.8, 0.3])
    assert found[:2].tolist() == [[50, 50, 60, 60], [0, 0, 10, 10]]
    assert landmarks[:, 0, 0].tolist() == pytest.approx([55, 5, 99])
    nothing = vote(np.zeros((0, 4), np.float32), np.zeros((0, 5, 2), np.float32), np.zeros(0, np.float32))
    assert [len(part) for part in nothing] == [0, 0, 0]


def test_both_looks_count() -> None:
    agreed, contradicted, even = fuse_scores(np.array([0.9, 0.9, 0.5]), np.array([np.log(9), -2 * np.log(9), 0]))
    assert agreed == pytest.approx(0.9)
    assert contradicted < 0.55
    assert even == pytest.approx(0.5)


def test_what_a_detector_does_is_chosen_by_the_architecture() -> None:
    """The same module behind two architectures is shown other pictures, and asked for its second look by one alone."""
    photo = grey(600, 800, (300, 200, 400, 300))
    detector, net = finder()
    assert detector.name == "finds-red"
    assert len(detector.detect(photo)) == 1
    assert net.looked_again > 0
    table, other = Table("r", architecture="retinaface"), FindsRed()
    retina = FaceDetector(
        at_work(LoadedNetwork(other.eval(), table, RetinaFaceArchitecture())), min_score=0.999, min_face=16
    )
    assert (retina.min_score, retina.min_face) == (0.999, 16)
    assert retina.detect(photo) == []
    assert other.looked_again == 0
    assert len(net.sizes) == 4 * len(list(TinyDetectorArchitecture().views(800, None)))  # unsure: from all four sides
    assert len(list(RetinaFaceArchitecture().views(800, 16))) == 3
    assert len(other.sizes) == 3 + 3  # and one glance from each of the other sides
    assert set(other.sizes) != set(net.sizes)


# --------------------------------------------------------------------------------------------------- as shipped


@lru_cache
def shipped(precision: Precision) -> FaceDetector:
    """The detector of the package, in a precision."""
    table = weights.resolve("tiny-detector")
    return FaceDetector(at_work(REGISTRY.load(table, weights.fetch(table, offline=True)), precision))


both_precisions = pytest.mark.parametrize("precision", ["fp32", "bf16"])


def test_the_built_in_weights_load_offline() -> None:
    table = weights.resolve("tiny-detector")
    assert table.sources == ("package:tiny-detector.safetensors",) or list(table.sources) == [
        "package:tiny-detector.safetensors"
    ]
    assert weights.fetch(table, offline=True).stat().st_size < 600_000
    net = restorer.load_network("tiny-detector", offline=True)
    assert net(torch.zeros(1, 3, 64, 96)).shape == (1, 96 + 24 + 6, network.ROW)


@both_precisions
def test_it_finds_no_face_where_there_is_none(precision: Precision) -> None:
    rng = np.random.default_rng(0)
    for photo in (np.full((300, 400, 3), 128, np.uint8), rng.integers(0, 256, (300, 400, 3)).astype(np.uint8)):
        assert shipped(precision).detect(photo) == []


@both_precisions
@pytest.mark.parametrize(
    ("name", "least", "most"),
    [
        ("diffbir_whole_Queen.jpeg", 4, 4),
        ("gfpgan_whole_10045.png", 3, 3),
        ("realsrset_building.png", 0, 0),
        ("gpen_Solvay_conference_1927.png", 24, 31),
        ("facenet_multiface.jpg", 6, 6),
        ("codeformer_crop_0345.png", 1, 1),
    ],
)
def test_it_finds_the_faces_of_real_photos(
    shared: Path, name: str, least: int, most: int, precision: Precision
) -> None:
    assert least <= len(shipped(precision).detect(read_picture(shared / "data/photos" / name))) <= most


@pytest.mark.slow
def test_it_agrees_with_its_teacher(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The measurement itself, on a few of the photographs."""
    teacher = standins.table(
        "teacher", "retinaface", shared / "weights/retinaface_mobilenet0.25.pth", network_name="mobile0.25"
    )
    (tmp_path / "weights.toml").write_text(teacher, encoding="utf-8")
    monkeypatch.setenv("RESTORER_WEIGHTS", str(tmp_path / "weights.toml"))
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("diffbir_whole_Queen.jpeg", "ulfg_9.jpg", "yolo5face_bus.jpg", "realsrset_building.png"):
        (folder / name).symlink_to(shared / "data/photos" / name)
    arguments = [str(folder), "--teacher", "teacher", "--timed", "1", "--draw", str(tmp_path / "drawn")]
    arguments += ["--finds", str(tmp_path / "finds.json")]
    assert bench.main([*arguments, "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    ours = figures["tiny-detector"]
    assert ours["wanted"] >= 12
    assert ours["recall"] >= 0.8
    assert ours["precision"] >= 0.85
    assert ours["landmarks"] < 0.1
    assert ours["milliseconds"] > 0
    assert len(list((tmp_path / "drawn").iterdir())) == 4
    assert bench.main([*arguments, "--min-score", "0.99"]) == 0
    assert "4 photos, teacher the teacher" in capsys.readouterr().out


# --------------------------------------------------------------------------------------------------- measuring


def known(*rows: tuple[float, float, float, float, float]) -> Labels:
    boxes = np.array([row[:4] for row in rows], np.float32).reshape(-1, 4)
    points = np.array([SHARES * (box[2:] - box[:2]) + box[:2] for box in boxes], np.float32).reshape(-1, 5, 2)
    return Labels(boxes, points, np.array([row[4] for row in rows], np.float32))


def test_the_measurement_counts_as_it_says() -> None:
    truth = known(
        (0, 0, 50, 60, 0.99),  # found
        (100, 0, 150, 60, 0.99),  # missed
        (200, 0, 250, 60, 0.7),  # doubtful
        (300, 0, 320, 25, 0.99),  # small
        (400, 0, 450, 60, 0.4),  # none at all
    )
    found = known(
        (2, 2, 52, 62, 0.95),
        (0, 4, 50, 70, 0.91),  # a second one on the same face
        (200, 0, 250, 60, 0.95),
        (300, 0, 320, 25, 0.95),
        (400, 0, 450, 60, 0.95),
        (120, 0, 190, 60, 0.95),  # shares too little
    )
    counts, wrong, missed = bench.compare(found, truth)
    assert (counts.wanted, counts.found, counts.right, counts.wrong) == (2, 1, 1, 3)
    assert wrong == [4, 5, 1] or sorted(wrong) == [1, 4, 5]
    assert missed == [1]
    assert counts.off == pytest.approx([np.hypot(2, 2) / 20], rel=1e-4)
    both = bench.total([counts, counts])
    assert (both.recall, both.precision) == (0.5, 0.25)
    assert both.landmarks == pytest.approx(counts.off[0])
    nothing, _, _ = bench.compare(known(), known())
    assert (nothing.recall, nothing.precision) == (1.0, 1.0)
    assert np.isnan(nothing.landmarks)
