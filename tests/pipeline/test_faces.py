"""Faces of one photo: each goes back to its own place, all or none, on the photo's own terms."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from restorer import Restorer
from restorer.errors import FaceNotRestoredError
from restorer.models.base import Face
from restorer.upscaling.lanczos import Lanczos
from tests.support.parts import Detector, Everything, Identity, face_at

COLOURS = torch.tensor([[1.0, -1, -1], [-1, 1, -1], [-1, -1, 1], [1, 1, -1], [-1, 1, 1]])
"""Red, green, blue, yellow, cyan."""
TONES = (40, 80, 120, 160, 200)
"""The greys of the places at which the faces are."""


class ByPlace(Identity):
    """Paints each crop in the colour of the place that it was cut from, whatever its number in the batch.

    Args:
        most: crops that the memory holds; more raise what torch raises.
    """

    def __init__(self, size: int = 64, most: int = 100) -> None:
        super().__init__(size)
        self.most = most

    def restore(self, crops: torch.Tensor) -> torch.Tensor:
        super().restore(crops)
        if len(crops) > self.most:
            raise torch.OutOfMemoryError("out of memory (in a test)")
        middle = crops[:, 0, 28:36, 28:36].mean((1, 2)) * 127.5 + 127.5
        which = (middle[:, None] - torch.tensor(TONES)).abs().argmin(1)
        return COLOURS[which][:, :, None, None].expand(-1, 3, self.crop.output_size, self.crop.output_size).clone()


def photo(side: int = 100, count: int = len(TONES)) -> np.ndarray:
    """Return a row of squares, each of a tone of its own; not black and white, or faces would be too."""
    row = np.concatenate([np.full((side, side), tone, np.uint8) for tone in TONES[:count]], axis=1)
    return np.stack([row, row, np.minimum(row, 250) + 5], axis=-1)


def faces(side: int = 100, count: int = len(TONES), eyes: float = 14.0) -> list[Face]:
    return [face_at((side * (number + 0.5), side / 2), eyes) for number in range(count)]


def restorer(model: Any, found: list[Face], **options: Any) -> Restorer:
    given = {
        "always": True,
        "mask": Everything(),
        "background": "lanczos",
        "device": "cpu",
        "scale": 1,
        "match_color": False,
        **options,
    }
    return Restorer(model, detector=Detector(found), **given)


def colour_at(image: np.ndarray, x: float, y: float) -> list[int]:
    """Return which of the three channels are bright at a pixel."""
    return [int(value > 128) for value in image[round(y), round(x)]]


WANTED = [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [0, 1, 1]]


@pytest.mark.parametrize("batch", [1, 2, 3, 5])
@pytest.mark.parametrize("turned", [False, True])
def test_each_face_goes_back_where_it_was_cut_from(batch: int, turned: bool) -> None:
    found = faces()[::-1] if turned else faces()
    result = restorer(ByPlace(), found, batch_size=batch).restore(photo())
    assert [colour_at(result.image, 100 * (n + 0.5), 50) for n in range(5)] == WANTED
    assert all(face.restored for face in result.faces)


@pytest.mark.parametrize("turned", [False, True])
def test_where_faces_overlap_each_keeps_its_own_middle(turned: bool) -> None:
    """Their crops reach over each other's middles; whichever is pasted last must not win there."""
    found = faces(60, 3, eyes=50.0)
    result = restorer(ByPlace(), found[::-1] if turned else found).restore(photo(60, 3))
    assert [colour_at(result.image, 60 * (n + 0.5), 30) for n in range(3)] == WANTED[:3]


def test_every_face_of_a_batch_that_did_not_fit_has_its_reason() -> None:
    run = restorer(ByPlace(most=0), faces(), batch_size=3)
    with pytest.raises(FaceNotRestoredError) as caught:
        run.restore(photo())
    assert caught.value.faces == (1, 2, 3, 4, 5)
    assert all("memory" in reason for reason in caught.value.reasons)


def test_a_picture_that_may_not_be_changed_is_copied() -> None:
    """What a background gives may be its own, or the caller's."""
    given: list[np.ndarray] = []

    class Frozen(Lanczos):
        def upscale(self, pixels: np.ndarray, size: tuple[int, int], on_tile: Any = None) -> np.ndarray:
            image = super().upscale(pixels, size, on_tile).copy()
            image.flags.writeable = False
            given.append(image)
            return image

    result = restorer(ByPlace(), faces(), background=Frozen()).restore(photo())
    assert colour_at(result.image, 50, 50) == [1, 0, 0]
    assert colour_at(given[0], 50, 50) == [0, 0, 0]
    assert result.image.flags.writeable


@pytest.mark.parametrize(("larger", "asked"), [(0.9, False), (1.05, False), (1.3, True), (1.8, True), (4.0, True)])
def test_a_face_smaller_than_its_place_is_enlarged_as_its_surroundings_are(larger: float, asked: bool) -> None:
    """Up to a tenth it is left to the warp, which is as good there."""
    sizes: list[tuple[int, int]] = []

    class Noted(Lanczos):
        def upscale(self, pixels: np.ndarray, size: tuple[int, int], on_tile: Any = None) -> np.ndarray:
            sizes.append(size)
            return super().upscale(pixels, size, on_tile)

    model = Identity(64)
    eyes = (318.9 - 192.98) / 512 * 64 * larger
    restorer(model, [face_at((250, 250), eyes)], background=Noted()).restore(
        np.full((500, 500, 3), (90, 80, 70), np.uint8)
    )
    side = round(64 * larger)
    assert sizes[0] == (500, 500)
    assert [size for size in sizes[1:] if abs(size[0] - side) <= 1] == sizes[1:]
    assert bool(sizes[1:]) == asked


# -------------------------------------------------------------------------------------------------- aligned crops


@pytest.mark.parametrize("strength", [0.0, 0.25, 1.0])
def test_an_aligned_crop_is_blended_with_the_strength(strength: float) -> None:
    crop = np.full((64, 64, 3), (40, 42, 44), np.uint8)
    result = restorer(ByPlace(), [], aligned=True, strength=strength).restore(crop)
    wanted = np.array([40, 42, 44]) * (1 - strength) + np.array([255, 0, 0]) * strength
    assert np.abs(result.image[32, 32].astype(float) - wanted).max() <= 1


def test_an_aligned_crop_that_comes_back_as_no_number_fails() -> None:
    class Broken(Identity):
        def restore(self, crops: torch.Tensor) -> torch.Tensor:
            return crops * torch.nan

    with pytest.raises(FaceNotRestoredError, match=r"not-a-number|NaN"):
        restorer(Broken(64), [], aligned=True).restore(np.full((64, 64, 3), 90, np.uint8))


@pytest.mark.parametrize(("match", "grey"), [(True, True), (False, False)])
def test_a_black_and_white_crop_stays_so_unless_asked_otherwise(match: bool, grey: bool) -> None:
    crop = np.repeat(np.random.default_rng(0).integers(30, 50, (64, 64, 1), np.uint8), 3, axis=2)
    result = restorer(ByPlace(), [], aligned=True, match_color=match).restore(crop)
    assert (np.ptp(result.image, axis=2).max() == 0) == grey
