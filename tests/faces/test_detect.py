"""Detection: decoding, sizes, depths, tiles, and the real network on real photos."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import nn

from restorer.faces.detect import FaceDetector
from restorer.imaging.boxes import NMS_IOU, iou, nms
from restorer.models import REGISTRY, retinaface
from restorer.models.base import LoadedNetwork
from restorer.models.retinaface import ANCHORS, STRIDES, RetinaFaceArchitecture
from restorer.weights import Table
from tests.support.networks import at_work, module_of

WEIGHTS_SHA256 = "38ec7bb3c9cbfe2f40edabc05fab970a6d648747cbc534092be85d5eb9b37ed0"
RED = (255, 0, 0)


class FindsRed(nn.Module):
    """In place of a network: each red patch of a picture is a face, its landmarks its middle and its corners.

    Like the real one it sees no face smaller than 16 px and sees those above 512 px in pieces.
    """

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))
        self.sizes: list[tuple[int, int]] = []

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        height, width = pixels.shape[2:]
        self.sizes.append((width, height))
        rgb = pixels[0].permute(1, 2, 0).numpy()
        red = ((rgb[..., 0] > 0.3) & (rgb[..., 1] < -0.3)).astype(np.uint8)
        anchors = _anchors(height, width)
        rows = np.zeros((len(anchors), 15), np.float32)
        for x0, y0, x1, y1 in self._patches(red):
            off = np.array([(x0 + x1) / 2, (y0 + y1) / 2, max(x1 - x0, y1 - y0)]) - anchors
            for rank, i in enumerate(np.argpartition(abs(off).sum(axis=1), range(3))[:3]):
                x, y, size = anchors[i]
                rows[i, :2] = ((x0 + x1) / 2 - x) / (0.1 * size), ((y0 + y1) / 2 - y) / (0.1 * size)
                rows[i, 2:4] = np.log((x1 - x0) / size) / 0.2, np.log((y1 - y0) / size) / 0.2
                rows[i, 4] = 0.99 - rank / 100
                points = [((x0 + x1) / 2, (y0 + y1) / 2), (x0, y0), (x1, y0), (x0, y1), (x1, y1)]
                rows[i, 5:] = ((np.array(points) - (x, y)) / (0.1 * size)).ravel()
        return torch.from_numpy(rows)[None]

    @staticmethod
    def _patches(red: np.ndarray) -> list[tuple[float, float, float, float]]:
        import cv2

        found = []
        for x, y, wide, high, _ in cv2.connectedComponentsWithStats(red)[2][1:]:
            if max(wide, high) < 16:
                continue
            across, down = (-(-int(side) // 513) for side in (wide, high))
            found += [
                (x + i * wide / across, y + j * high / down, x + (i + 1) * wide / across, y + (j + 1) * high / down)
                for i in range(across)
                for j in range(down)
            ]
        return found


@lru_cache
def _anchors(height: int, width: int) -> np.ndarray:
    """Return x, y, size of all anchors: by stride, row, column, size."""
    grids = [
        np.meshgrid(np.arange(height // stride), np.arange(width // stride), sizes, indexing="ij")
        for stride, sizes in zip(STRIDES, ANCHORS, strict=True)
    ]
    centres = [
        np.stack([(x + 0.5) * stride, (y + 0.5) * stride, size], axis=-1).reshape(-1, 3)
        for stride, (y, x, size) in zip(STRIDES, grids, strict=True)
    ]
    return np.concatenate(centres)


def finder(min_face: float | None = None) -> FaceDetector:
    """Return a detector around `FindsRed`."""
    table = Table("finds-red", architecture="retinaface")
    loaded = LoadedNetwork(FindsRed().eval(), table, RetinaFaceArchitecture())
    return FaceDetector(at_work(loaded), min_face=min_face)


def grey(height: int, width: int, *boxes: tuple[int, int, int, int]) -> np.ndarray:
    """Return a grey photo with red patches."""
    photo = np.full((height, width, 3), 120, np.uint8)
    for x0, y0, x1, y1 in boxes:
        photo[y0:y1, x0:x1] = RED
    return photo


def sizes_seen(detector: FaceDetector) -> list[tuple[int, int]]:
    network = module_of(detector.network)
    assert isinstance(network, FindsRed)
    return network.sizes


@settings(max_examples=15, deadline=None)
@given(
    width=st.integers(40, 900),
    height=st.integers(40, 900),
    left=st.floats(0, 0.4),
    top=st.floats(0, 0.4),
    share=st.floats(0.35, 1),
)
def test_boxes_and_landmarks_come_back_in_the_photos_pixels(
    width: int, height: int, left: float, top: float, share: float
) -> None:
    side = max(round(share * min(width, height) * 0.6), 20)
    x0, y0 = round(left * (width - side)), round(top * (height - side))
    box = (x0, y0, x0 + side, y0 + side)
    found = finder().detect(grey(height, width, box))
    assert len(found) == 1
    # Where a photo is reduced, the patch's edge is known to a pixel of the view.
    reach = 1.5 * max(1, max(width, height) / 480)
    assert np.abs(np.array(found[0].box) - box).max() < reach
    corners = [((box[0] + box[2]) / 2, (box[1] + box[3]) / 2), box[:2], (box[2], box[1]), (box[0], box[3]), box[2:]]
    assert np.abs(found[0].landmarks - np.array(corners)).max() < reach
    assert found[0].landmarks.dtype == np.float32


def test_the_score_is_not_scaled_with_the_box() -> None:
    """Upstream divides the whole row by its resize factor, the score included."""
    for side in (100, 1000, 4000):
        found = finder().detect(grey(side, side, (side // 4, side // 4, side // 2, side // 2)))
        assert [round(face.score, 3) for face in found] == [0.99]


@pytest.mark.parametrize(
    ("side", "share"),
    [(128, 0.2), (128, 0.6), (128, 1.0), (800, 0.05), (800, 0.6), (800, 1.0), (3000, 0.02), (3000, 0.6), (3000, 1.0)],
)
def test_a_face_of_any_share_of_the_photo_is_found_once(side: int, share: float) -> None:
    """Also one that fills it, and one that is larger than the largest anchor, which the network sees in pieces."""
    patch = round(side * share)
    start = (side - patch) // 2
    found = finder().detect(grey(side, side, (start, start, start + patch, start + patch)))
    assert len(found) == 1
    assert abs(found[0].size - patch) < 0.1 * patch


def test_what_a_large_photo_costs_does_not_grow_with_it() -> None:
    pixels = []
    for width, height in ((1600, 1200), (6000, 4000)):
        detector = finder()
        detector.detect(grey(height, width))
        pixels.append(sum(w * h for w, h in sizes_seen(detector)))
    assert pixels[1] < 1.1 * pixels[0]


def test_faces_of_20_pixels_after_the_reduction_to_1200_are_found() -> None:
    found = finder().detect(grey(3000, 6000, (100, 100, 200, 200), (5000, 2000, 5102, 2102)))
    assert len(found) == 2


def test_min_face_raises_the_size_and_tiles_find_each_face_once() -> None:
    """Patches lie all over, also where tiles meet; a large one spans several tiles."""
    step, side = 110, 14
    small = [(x, y, x + side, y + side) for x in range(30, 2700, step) for y in range(30, 1500, step)]
    large = (600, 300, 1700, 1400)
    small = [box for box in small if not (550 < box[0] < 1750 and 250 < box[1] < 1450)]
    photo = grey(1600, 2800, large, *small)
    assert len(finder().detect(photo)) == 1
    found = finder(min_face=14).detect(photo)
    assert len(found) == len(small) + 1
    boxes = np.array([face.box for face in found])
    for box in (large, *small):
        assert np.abs(boxes - box).max(axis=1).min() < (3 if box in small else 12)


def test_a_face_that_a_tile_cuts_is_found_once() -> None:
    """The first tile ends at x = 840: it sees a strip of the patch, the second tile sees all of it."""
    assert len(finder(min_face=14).detect(grey(1600, 2800, (825, 700, 905, 780)))) == 1


def test_min_face_above_what_is_found_anyway_changes_nothing() -> None:
    photo = grey(1000, 1600, (100, 100, 300, 300))
    plain, given_size = finder(), finder(min_face=100)
    assert [face.box for face in plain.detect(photo)] == [face.box for face in given_size.detect(photo)]
    assert sizes_seen(plain) == sizes_seen(given_size)


def test_faces_are_numbered_from_left_to_right() -> None:
    boxes = [(600, 300, 700, 420), (50, 500, 150, 620), (300, 20, 420, 140), (300, 300, 420, 420)]
    found = finder().detect(grey(700, 800, *boxes))
    middles = [((face.box[0] + face.box[2]) / 2, (face.box[1] + face.box[3]) / 2) for face in found]
    assert [(round(x, -1), round(y, -1)) for x, y in middles] == [(100, 560), (360, 80), (360, 360), (650, 360)]


def test_depth_alpha_and_grey_do_not_matter() -> None:
    photo = grey(300, 400, (100, 50, 220, 200))
    expected = finder().detect(photo)
    alpha = np.dstack([photo, np.zeros((300, 400), np.uint8)])
    deep = photo.astype(np.uint16) * 257
    for other in (alpha, deep, np.dstack([deep, deep[..., 0]]), photo[:, ::-1][:, ::-1]):
        found = finder().detect(other)
        assert [face.box for face in found] == [face.box for face in expected]
    for flat in (photo[..., 0], photo[..., :1]):
        assert finder().detect(flat) == []


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 500, 3), (500, 1, 3), (3, 2)])
def test_the_smallest_photos_have_no_faces_and_do_no_harm(shape: tuple[int, ...]) -> None:
    assert finder().detect(np.zeros(shape, np.uint8)) == []


@pytest.mark.parametrize(
    "photo", [np.zeros((9, 9, 2), np.uint8), np.zeros((9, 9, 3), np.float32), np.zeros((0, 9, 3), np.uint8)]
)
def test_what_is_no_photo_is_refused(photo: np.ndarray) -> None:
    with pytest.raises(ValueError, match="photo is"):
        finder().detect(photo)


def test_decoding_is_facexlibs() -> None:
    """Every anchor of a picture, against facexlib's own anchors and decoding, in pixels."""
    from facexlib.detection.retinaface import generate_config
    from facexlib.detection.retinaface_utils import PriorBox, decode, decode_landm

    height, width = 96, 160
    priors = PriorBox(generate_config("mobile0.25"), image_size=(height, width)).forward()
    rows = torch.from_numpy(np.random.default_rng(0).normal(size=(len(priors), 15)).astype(np.float32))
    scale = torch.tensor([width, height], dtype=torch.float32)
    boxes, landmarks = retinaface.decode(rows.numpy(), np.arange(len(priors)), height, width)
    assert np.allclose(boxes, decode(rows[:, :4], priors, [0.1, 0.2]) * scale.repeat(2), rtol=1e-4, atol=1e-2)
    theirs = decode_landm(rows[:, 5:], priors, [0.1, 0.2]) * scale.repeat(5)
    assert np.allclose(landmarks.reshape(-1, 10), theirs, rtol=1e-4, atol=1e-2)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(*[st.integers(0, 60)] * 2, *[st.integers(1, 40)] * 2, st.floats(0, 1)), max_size=25))
def test_suppression_keeps_the_best_and_no_two_that_overlap(boxes: list[tuple[int, int, int, int, float]]) -> None:
    best_first = sorted(boxes, key=lambda box: -box[4])
    arrays = np.array([(x, y, x + w, y + h) for x, y, w, h, _ in best_first], float).reshape(-1, 4)
    kept = nms(arrays)
    assert kept == sorted(set(kept))
    for place, number in enumerate(kept):
        assert (iou(arrays[number], arrays[kept[:place]]) <= NMS_IOU).all()
    for number, box in enumerate(arrays):  # what is gone overlaps something better
        better = [other for other in kept if other < number]
        assert number in kept or (iou(box, arrays[better]) > NMS_IOU).any()


def test_another_architecture_is_refused() -> None:
    from restorer.models.bisenet import BiSeNetArchitecture

    with pytest.raises(TypeError, match="no face detector"):
        FaceDetector(at_work(LoadedNetwork(nn.Identity(), Table("x", architecture="bisenet"), BiSeNetArchitecture())))


# ------------------------------------------------------------------------------------------------ the real network


@pytest.fixture(scope="module")
def detector(shared: Path) -> FaceDetector:
    table = Table("retinaface-test", architecture="retinaface", sha256=WEIGHTS_SHA256)
    return FaceDetector(at_work(REGISTRY.load(table, shared / "weights" / "retinaface_mobilenet0.25.pth")))


def photo(shared: Path, name: str) -> np.ndarray:
    return np.asarray(Image.open(shared / "data" / "photos" / name).convert("RGB"))


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "least", "most"),
    [
        ("diffbir_whole_Queen.jpeg", 4, 4),
        ("gfpgan_whole_10045.png", 3, 3),
        ("realsrset_building.png", 0, 0),
        ("gpen_Solvay_conference_1927.png", 27, 29),
        ("hpc203_2.jpg", 1, 1),  # 128 px, filled by one face
        ("gpen_vallq_ffhq_00001.png", 1, 1),  # 1024 px, filled by one face
    ],
)
def test_the_real_detector_on_real_photos(
    shared: Path, detector: FaceDetector, name: str, least: int, most: int
) -> None:
    faces = detector.detect(photo(shared, name))
    assert least <= len(faces) <= most
    for face in faces:
        left_eye, right_eye, nose, left_mouth, right_mouth = face.landmarks
        x0, y0, x1, y1 = face.box
        assert 0.9 <= face.score <= 1
        assert ((face.landmarks > (x0, y0)) & (face.landmarks < (x1, y1))).mean() > 0.7
        assert left_eye[0] < right_eye[0]
        assert max(left_eye[1], right_eye[1]) < min(left_mouth[1], right_mouth[1])
        assert min(left_eye[1], right_eye[1]) < nose[1] < max(left_mouth[1], right_mouth[1])


@pytest.mark.shared
def test_the_real_detector_finds_a_portrait_at_any_size(shared: Path, detector: FaceDetector) -> None:
    portrait = Image.fromarray(photo(shared, "gpen_vallq_ffhq_00002.png"))
    for side in (64, 512, 3000):
        faces = detector.detect(np.asarray(portrait.resize((side, side), Image.Resampling.LANCZOS)))
        assert len(faces) == 1
        eyes = faces[0].landmarks[:2] / side
        assert np.allclose(eyes, [[0.40, 0.47], [0.60, 0.47]], atol=0.05)


@pytest.mark.shared
def test_the_real_detector_finds_a_face_that_the_photo_cuts(shared: Path, detector: FaceDetector) -> None:
    """Without the empty frame around the coarse view these are not found."""
    for name in ("codeformer_crop_0345.png", "codeformer_crop_0729.png"):
        pixels = photo(shared, name)
        x0, y0, x1, y1 = detector.detect(pixels)[0].box
        cut_x, cut_y = 0.2 * (x1 - x0), 0.2 * (y1 - y0)
        tight = pixels[int(y0 + cut_y) : int(y1 - cut_y), int(x0 + cut_x) : int(x1 - cut_x)]
        assert len(detector.detect(tight)) == 1


@pytest.mark.shared
def test_detection_is_the_same_every_time_and_in_16_bit(shared: Path, detector: FaceDetector) -> None:
    pixels = photo(shared, "diffbir_whole_Queen.jpeg")
    first, again = detector.detect(pixels), detector.detect(pixels)
    deep = detector.detect(pixels.astype(np.uint16) * 257)
    assert [face.box for face in first] == [face.box for face in again]
    for one, other in zip(first, deep, strict=True):
        assert np.allclose(one.landmarks, other.landmarks, atol=0.2)


@pytest.mark.shared
def test_an_identity_restorer_does_not_shift_a_real_photo(shared: Path, detector: FaceDetector) -> None:
    import cv2

    from restorer.faces import align
    from restorer.faces.paste import paste
    from tests.support.faces import TEMPLATE, enlarged

    pixels = photo(shared, "diffbir_whole_Queen.jpeg")
    for scale in (2, 3.5):
        size = round(520 * scale), round(520 * scale)
        plain = enlarged(pixels, size)
        for face in detector.detect(pixels):
            canvas = plain.copy()
            matrix = align.estimate(face.landmarks, TEMPLATE, 512)
            assert matrix is not None
            paste(canvas, align.extract(pixels, matrix, 512), np.ones((64, 64), np.float32), matrix, (520, 520), 512)
            x0, y0, x1, y1 = (round(value * scale) for value in face.box)
            pasted, expected = (picture[y0:y1, x0:x1].mean(-1) for picture in (canvas, plain))
            window = cv2.createHanningWindow(pasted.shape[::-1], cv2.CV_64F)
            (x, y), response = cv2.phaseCorrelate(pasted, expected, window)
            assert response > 0.5
            assert max(abs(x), abs(y)) < 0.05
