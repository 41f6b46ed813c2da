"""Masks: what is kept, how softly, and never a step at the crop's edge."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import nn

from restorer.faces.detect import FaceDetector
from restorer.faces.mask import FEATHER, NEIGHBOUR_BORDER, LandmarkMask, ParserMask, border_feather, ownership, soften
from restorer.models import REGISTRY
from restorer.models.base import LoadedNetwork, ParserArchitecture
from restorer.models.bisenet import BiSeNetArchitecture
from restorer.models.parsenet import ParseNetArchitecture
from restorer.models.templates import FACEXLIB
from restorer.weights import Table
from tests.support.faces import similarity
from tests.support.networks import at_work, module_of


class SaysClass(nn.Module):
    """In place of a parser: the red channel is the number of the class, in steps of a tenth from -1."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))
        self.shapes: list[torch.Size] = []

    def forward(self, pixels: torch.Tensor, coarse: bool = False) -> torch.Tensor:
        self.shapes.append(pixels.shape)
        number = torch.round((pixels[:, 0] + 1) * 10).long()
        return nn.functional.one_hot(number, 21).movedim(-1, 1).float()


def parser(architecture: ParserArchitecture) -> ParserMask:
    network = SaysClass().eval()
    table = Table("says-class", architecture=architecture.name)
    return ParserMask(at_work(LoadedNetwork(network, table, architecture)))


def crops(*numbers: int, size: int = 512) -> torch.Tensor:
    """Return crops that are all of one class each."""
    return torch.stack([torch.full((3, size, size), number / 10 - 1) for number in numbers])


@pytest.mark.parametrize("size", [1, 2, 16, 100, 511, 512])
def test_the_border_feather_falls_smoothly_to_zero(size: int) -> None:
    weights = border_feather(size)
    assert weights.shape == (size, size)
    assert weights.dtype == np.float32
    assert np.array_equal(weights, weights.T)
    assert np.allclose(weights, weights[::-1], atol=1e-6)
    if size >= 100:
        assert weights[0].max() < 0.01
        assert weights[size // 2, size // 2] == 1
        assert np.abs(np.diff(weights[size // 2])).max() < 1.7 / (FEATHER * size)
    with pytest.raises(ValueError, match="read-only"):
        weights[0, 0] = 1


NOWHERE = np.zeros((19, 5, 2))
POINTS = np.array(FACEXLIB.points)


def drawn(landmarks: np.ndarray) -> np.ndarray:
    mask: np.ndarray = LandmarkMask()(torch.zeros(1, 3, 64, 64), landmarks[None])[0]
    return mask


def at(mask: np.ndarray, point: np.ndarray) -> float:
    """Return the mask at a point that is given as shares of the crop's side."""
    x, y = np.clip((point * len(mask)).astype(int), 0, len(mask) - 1)
    return float(mask[y, x])


def test_a_mask_of_the_head_holds_the_face_and_more_around_it() -> None:
    mask = LandmarkMask()
    face, half, head = mask.drawn(np.stack([POINTS] * 3), [0.0, 0.5, 1.0])
    assert np.array_equal(face, drawn(POINTS))
    assert (half >= face - 1e-6).all()
    assert (head >= half - 1e-6).all()
    assert head.sum() > 1.5 * face.sum()
    hair, neck, ear = np.array([0.5, 0.15]), np.array([0.5, 0.93]), np.array([0.17, 0.5])
    for point in (hair, neck, ear):
        assert at(face, point) < 0.06
        assert at(head, point) > 0.2
    assert np.concatenate([head[0], head[-1], head[:, 0], head[:, -1]]).max() < 0.02


def test_a_drawn_mask_holds_the_landmarks_and_leaves_the_rest() -> None:
    mask = drawn(POINTS)
    assert mask.shape == (128, 128)
    assert mask.dtype == np.float32
    assert all(at(mask, point) > 0.95 for point in POINTS)
    assert mask.min() == 0
    assert mask.max() <= 1
    edge = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    assert edge.max() < 0.01
    assert max(abs(np.diff(mask, axis=0)).max(), abs(np.diff(mask, axis=1)).max()) < 0.15


def test_a_drawn_mask_turns_with_the_face() -> None:
    angle = np.deg2rad(30)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    mask, turned = drawn(POINTS), drawn((POINTS - 0.5) @ turn.T + 0.5)
    rng = np.random.default_rng(0)
    for point in rng.uniform(0.3, 0.7, (50, 2)):
        assert at(turned, (point - 0.5) @ turn.T + 0.5) == pytest.approx(at(mask, point), abs=0.15)


def test_a_drawn_mask_reaches_out_to_the_near_cheek() -> None:
    profile = POINTS.copy()
    profile[2, 0] += 0.08  # the nose points to the right
    before, after = drawn(POINTS), drawn(profile)
    left, right = np.s_[:, :60], np.s_[:, 68:]
    assert after[left].sum() > before[left].sum()
    assert after[right].sum() < before[right].sum()


@pytest.mark.shared
@pytest.mark.parametrize("name", ["celebamaskhq_0", "celebamaskhq_2"])
def test_a_drawn_mask_keeps_hair_and_background_clean(shared: Path, name: str) -> None:
    table = Table("retinaface", architecture="retinaface", arguments={"network_name": "mobile0.25"})
    detector = FaceDetector(at_work(REGISTRY.load(table, shared / "weights/retinaface_mobilenet0.25.pth")))
    with Image.open(shared / f"data/faces_hq/{name}.jpg") as photo:
        face = detector.detect(np.asarray(photo.convert("RGB").resize((512, 512), Image.Resampling.LANCZOS)))[0]
    labels = Image.open(shared / f"data/faces_hq_labels/{name}_labels.png")
    numbers = np.asarray(labels.resize((128, 128), Image.Resampling.NEAREST))
    mask = drawn(face.landmarks / 512)
    covered = {
        part: mask[numbers == ParseNetArchitecture.classes.index(part)].mean() for part in ("skin", "nose", "hair")
    }
    assert covered["nose"] > 0.99
    assert covered["skin"] > 0.75
    assert covered["hair"] < 0.05
    assert mask[numbers == 0].mean() < 0.01


@pytest.mark.parametrize("architecture", [ParseNetArchitecture(), BiSeNetArchitecture()], ids=["parsenet", "bisenet"])
def test_each_class_is_kept_or_not_in_the_parsers_own_order(architecture: ParserArchitecture) -> None:
    masks = parser(architecture)(crops(*range(19)), NOWHERE)
    middles = masks[:, 256, 256]
    assert masks.dtype == np.float32
    assert [number for number in range(19) if middles[number] > 0.99] == list(architecture.kept)
    assert [number for number in range(19) if middles[number] < 0.01] == [
        number for number in range(19) if number not in architecture.kept
    ]


@pytest.mark.parametrize("size", [128, 512, 1024])
def test_a_parser_sees_512_pixels_whatever_the_crops_size(size: int) -> None:
    mask = parser(ParseNetArchitecture())
    masks = mask(crops(1, 0, size=size), NOWHERE)
    network = module_of(mask.network)
    assert isinstance(network, SaysClass)
    assert {tuple(shape) for shape in network.shapes} == {(1, 3, 512, 512)}
    assert masks.shape == (2, 512, 512)
    assert masks[0].max() > 0.999
    assert masks[1].max() == 0


def test_values_beyond_the_range_do_no_harm() -> None:
    assert parser(ParseNetArchitecture())(torch.full((1, 3, 512, 512), -3.0), NOWHERE).max() == 0


def test_the_blur_is_as_wide_as_two_gaussians_at_full_size() -> None:
    kept = np.zeros((512, 512), bool)
    cv2_kept = np.zeros((512, 512), np.uint8)
    cv2.ellipse(cv2_kept, (256, 260), (120, 150), 0, 0, 360, 1, -1)
    kept[:] = cv2_kept > 0
    once = cv2.GaussianBlur(kept.astype(np.float32), (101, 101), 11)
    assert np.abs(soften(kept) - np.minimum(cv2.GaussianBlur(once, (101, 101), 11), border_feather(512))).max() < 0.01


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 511), st.integers(0, 511), st.integers(1, 512), st.integers(1, 512)), max_size=5)
)
def test_no_mask_has_a_step_anywhere(rectangles: list[tuple[int, int, int, int]]) -> None:
    """Upstream sets the outer ten pixels to zero after its blur: a line where hair leaves the crop."""
    kept = np.zeros((512, 512), bool)
    for x, y, wide, high in rectangles:
        kept[y : y + high, x : x + wide] = True
    mask = soften(kept)
    assert mask.dtype == np.float32
    assert mask.min() >= 0
    assert mask.max() <= 1
    assert max(mask[0].max(), mask[-1].max(), mask[:, 0].max(), mask[:, -1].max()) < 0.005
    assert np.abs(np.diff(mask, axis=0)).max() < 0.06
    assert np.abs(np.diff(mask, axis=1)).max() < 0.06


def test_what_is_no_parser_is_refused() -> None:
    from restorer.models.retinaface import RetinaFaceArchitecture

    with pytest.raises(TypeError, match="no face parser"):
        ParserMask(
            at_work(LoadedNetwork(nn.Identity(), Table("x", architecture="retinaface"), RetinaFaceArchitecture()))
        )


@pytest.mark.shared
def test_the_mask_of_a_labelled_portrait_covers_its_face_and_hair(shared: Path) -> None:
    labels = shared / "data" / "faces_hq_labels" / "celebamaskhq_0_labels.png"
    numbers = np.asarray(Image.open(labels).resize((512, 512), Image.Resampling.NEAREST))
    mask = soften(np.isin(numbers, ParseNetArchitecture().kept))
    inside = border_feather(512) == 1
    for name in ("skin", "nose", "hair"):
        part = (numbers == ParseNetArchitecture.classes.index(name)) & inside
        assert mask[part].mean() > 0.85
    assert mask[numbers == 0].mean() < 0.2


def test_neighbours_share_the_place_between_them() -> None:
    left, right = similarity(1, 0, (0, 0)), similarity(1, 0, (-200, 0))  # crops of 512 px, 200 px apart
    mine, theirs = ownership(left, [right], 512, 512), ownership(right, [left], 512, 512)
    assert mine.dtype == np.float32
    assert mine[280, 100] == 1
    assert mine[280, 256 + 200] < 0.01
    assert abs(mine[280, 356] - 0.5) < 0.02
    # Where both crops lie, the two shares make a whole.
    assert np.allclose(mine[:, 200:] + theirs[:, :312], 1, atol=0.01)
    assert np.abs(np.diff(mine, axis=1)).max() < 0.03


def test_a_distant_neighbour_and_none_leave_the_whole_crop() -> None:
    assert (ownership(similarity(1, 0, (0, 0)), [], 512, 64) == 1).all()
    assert (ownership(similarity(1, 0, (0, 0)), [similarity(1, 0, (-2000, 0))], 512, 64) == 1).all()


def test_a_small_face_before_a_large_one_keeps_its_place() -> None:
    large, small = similarity(1, 0, (0, 0)), similarity(4, 0, (-4 * 300, -4 * 300))  # 128 px, at 300 to 428
    at_small = ownership(large, [small], 512, 512)[300 + 70, 300 + 64]
    assert at_small < 0.01
    assert ownership(small, [large], 512, 512)[282, 256] > 0.99


@given(scale=st.floats(0.2, 5), degrees=st.floats(-180, 180), x=st.floats(-1500, 1500), y=st.floats(-1500, 1500))
@settings(max_examples=40, deadline=None)
def test_no_neighbour_that_has_a_share_is_left_out(scale: float, degrees: float, x: float, y: float) -> None:
    mine, other = similarity(1, 0, (0, 0)), similarity(scale, degrees, (x, y))
    middle = np.array([0.5, 0.55]) * 512
    centres = np.stack(np.meshgrid(np.arange(4, 512, 8), np.arange(4, 512, 8)), -1)
    own = np.linalg.norm(centres - middle, axis=-1)
    theirs = np.linalg.norm(centres @ other[:, :2].T + other[:, 2] - middle, axis=-1)
    shares = 0.5 + (theirs - own) / (NEIGHBOUR_BORDER * 512) < 0.95
    assert (ownership(mine, [other], 512, 64) < 1).any() or not shares.any()
