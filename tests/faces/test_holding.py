"""What is pasted shows no less detail than what it is pasted over, whatever the network made of it."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from restorer.faces.holding import Holding
from restorer.faces.paste import paste
from restorer.imaging.resize import resize
from tests.imaging.test_quality import blurred, noisy, scene

SIDE = 256
SHARP = scene(SIDE)
WHOLE = np.ones((64, 64), np.float32)
PLACE = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
INNER = (slice(64, 192), slice(64, 192))


def colour(luma: np.ndarray) -> np.ndarray:
    return np.repeat(np.rint(np.clip(luma, 0, 255)).astype(np.uint8)[..., None], 3, axis=2)


def unit(luma: np.ndarray) -> np.ndarray:
    return np.repeat((np.clip(luma, 0, 255) / 255).astype(np.float32)[..., None], 3, axis=2)


def energy(picture: np.ndarray, place: tuple[slice, slice] = INNER) -> float:
    return float(cv2.Laplacian(picture[..., 0].astype(np.float32), cv2.CV_32F)[place].var())


def pasted(canvas: np.ndarray, face: np.ndarray, holding: Holding | None, strength: float = 1.0) -> np.ndarray:
    result = canvas.copy()
    paste(result, face, WHOLE, PLACE, (SIDE, SIDE), SIDE, strength, holding=holding)
    return result


SMOOTH = unit(blurred(SHARP, 2.0))
OTHER = unit(np.ascontiguousarray(scene(SIDE)[::-1]) * 0.5 + 60)
FLAT = unit(np.full((SIDE, SIDE), 128.0, np.float32))


@pytest.mark.parametrize("face", [SMOOTH, OTHER, FLAT], ids=["smooth", "another", "flat"])
@pytest.mark.parametrize("scale", [1, 2, 3])
@pytest.mark.parametrize("strength", [1.0, 0.6])
def test_the_result_has_the_detail_of_the_plain_enlargement(face: np.ndarray, scale: int, strength: float) -> None:
    canvas = resize(colour(SHARP), (SIDE * scale, SIDE * scale))
    place = (slice(64 * scale, 192 * scale), slice(64 * scale, 192 * scale))
    held = energy(pasted(canvas, face, Holding(1.0, scale), strength), place)
    assert held > 0.95 * energy(canvas, place)
    if face is not OTHER:
        assert energy(pasted(canvas, face, None, strength), place) < 0.8 * energy(canvas, place)


def test_every_part_of_the_face_has_it_not_only_the_whole() -> None:
    """One half of the face is far sharper than the photo, the other is smooth."""
    photo = blurred(SHARP, 0.8)
    face = unit(np.hstack([noisy(SHARP, 20)[:, : SIDE // 2], blurred(SHARP, 3)[:, SIDE // 2 :]]))
    result = pasted(colour(photo), face, Holding(1.0))
    right = (slice(64, 192), slice(152, 224))
    assert energy(result, right) > 0.95 * energy(colour(photo), right)


def test_what_is_finer_already_is_not_touched() -> None:
    canvas = colour(blurred(SHARP, 2.5))
    held = pasted(canvas, unit(SHARP), Holding(1.0)).astype(int)
    assert np.abs(held - pasted(canvas, unit(SHARP), None)).max() <= 1


def test_shades_are_the_faces_own() -> None:
    lighter = SMOOTH * 0.8 + 0.1
    result = pasted(colour(SHARP), lighter, Holding(1.0))

    def shades(picture: np.ndarray) -> np.ndarray:
        return np.asarray(cv2.GaussianBlur(picture[..., 0].astype(np.float32), (0, 0), 6))[INNER]

    assert np.abs(shades(result) - shades(lighter * 255)).max() < 4


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_less_is_given_back_where_less_is_asked_for(share: float) -> None:
    canvas = colour(SHARP)
    less, all_of_it = (energy(pasted(canvas, SMOOTH, Holding(each))) for each in (share, 1.0))
    assert less < 0.8 * all_of_it


def test_a_band_that_the_face_was_never_seen_in_is_the_canvas_s() -> None:
    canvas = colour(noisy(SHARP, 10))
    result = pasted(canvas, SMOOTH, Holding(0.0, finest=1.5))
    assert energy(result) == pytest.approx(energy(canvas), rel=0.1)


def test_no_seam_shows_between_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    canvas = resize(colour(SHARP), (SIDE * 2, SIDE * 2))
    whole = pasted(canvas, SMOOTH, Holding(1.0, 2.0))
    monkeypatch.setattr("restorer.imaging.warp.TILE", 100)
    assert np.abs(pasted(canvas, SMOOTH, Holding(1.0, 2.0)).astype(int) - whole).max() <= 1


def test_sixteen_bits_and_tiny_canvases_are_possible() -> None:
    canvas = colour(SHARP)
    deep = canvas.astype(np.uint16) * 257
    assert np.abs(pasted(deep, SMOOTH, Holding(1.0)) / 257 - pasted(canvas, SMOOTH, Holding(1.0))).max() < 1.1
    tiny = np.full((3, 2, 3), 90, np.uint8)
    paste(tiny, FLAT, WHOLE, PLACE * (SIDE / 2), (2, 3), SIDE, holding=Holding(1.0, 2.0, 1.0))
    assert tiny.shape == (3, 2, 3)
