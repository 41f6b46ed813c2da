"""A good photo does not come out worse: what needs nothing is left alone, and the run says so."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from restorer import Restorer
from restorer.imaging.resize import resize
from restorer.models.base import Face
from restorer.record import NEEDS_NOTHING, NOTHING_TO_DO
from tests.imaging.test_quality import blurred, noisy, scene
from tests.support.parts import Colour, Detector, Everything, Identity, face_at


class Smears(Identity):
    """Stands for a network that smooths what it sees."""

    name = "smears"

    def restore(self, crops: Any) -> Any:
        import torch

        soft = [cv2.GaussianBlur(crop.permute(1, 2, 0).numpy(), (0, 0), 2.0) for crop in super().restore(crops)]
        return torch.from_numpy(np.stack(soft)).permute(0, 3, 1, 2)


def colour(luma: np.ndarray) -> np.ndarray:
    grey = np.rint(np.clip(luma, 0, 255)).astype(np.uint8)
    photo = np.repeat(grey[..., None], 3, axis=2)
    photo[..., 2] = np.minimum(photo[..., 2], 240) + 10  # not black and white
    return photo


SIDE = 320
SHARP = colour(scene(SIDE))
FACE = face_at((SIDE / 2, SIDE / 2), 64.0)
"""Its aligned crop is about as wide as the photo."""


def restorer(model: Any = None, found: tuple[Face, ...] = (FACE,), **options: Any) -> Restorer:
    given = {"mask": Everything(), "background": "lanczos", "device": "cpu", "scale": 1, **options}
    return Restorer(model or Smears(256), detector=Detector(found), **given)


def plain(photo: np.ndarray, scale: float) -> np.ndarray:
    return resize(photo, (round(photo.shape[1] * scale), round(photo.shape[0] * scale)))


def test_a_good_face_is_left_alone_and_that_is_no_failure() -> None:
    result = restorer().restore(SHARP)
    assert [(face.restored, face.reason) for face in result.faces] == [(False, NEEDS_NOTHING)]
    assert result.record["status"] == "ok"
    assert result.record["faces"][0]["reason"] == NEEDS_NOTHING
    assert result.record["reason"] == NOTHING_TO_DO
    assert np.array_equal(result.image, SHARP)


def test_enlarged_it_is_the_plain_enlargement_and_something_was_done() -> None:
    result = restorer(scale=2).restore(SHARP)
    assert result.faces[0].reason == NEEDS_NOTHING
    assert result.record["reason"] is None
    assert np.array_equal(result.image, plain(SHARP, 2))


def test_an_aligned_crop_too() -> None:
    result = restorer(aligned=True).restore(SHARP)
    assert result.faces[0].reason == NEEDS_NOTHING
    assert np.array_equal(result.image, SHARP)


@pytest.mark.parametrize("spoil", [lambda luma: blurred(luma, 3), lambda luma: noisy(luma, 12)])
def test_a_bad_one_is_restored(spoil: Any) -> None:
    result = restorer().restore(colour(spoil(scene(SIDE))))
    assert result.faces[0].restored
    assert result.record["reason"] is None


@pytest.mark.parametrize("options", [{"faces": "1"}, {"faces": "1,3"}, {"always": True}])
def test_who_names_a_face_gets_it_restored(options: dict[str, Any]) -> None:
    other = face_at((60.0, 60.0), 20.0)
    result = restorer(found=(FACE, other), **options).restore(SHARP)
    assert result.faces[0].restored
    assert not np.array_equal(result.image, SHARP)


def test_who_gives_faces_gets_them_restored() -> None:
    assert restorer(found=()).restore(SHARP, faces=[FACE]).faces[0].restored


def test_a_bad_face_beside_a_good_one_is_restored_alone() -> None:
    photo = np.concatenate([SHARP, colour(blurred(scene(SIDE), 4))], axis=1)
    bad = face_at((SIDE * 1.5, SIDE / 2), 64.0)
    result = restorer(found=(FACE, bad), scale=1).restore(photo)
    assert [face.restored for face in result.faces] == [False, True]
    assert np.array_equal(result.image[:, : SIDE - 40], photo[:, : SIDE - 40])


def test_a_large_noisy_face_is_never_replaced_by_the_networks_picture() -> None:
    """Its detail beyond the 64 px that the network saw is the photo's own, whatever comes back."""
    photo = colour(noisy(scene(SIDE), 5))
    clean = colour(scene(SIDE))
    own = restorer(Smears(64)).restore(photo)
    replaced = restorer(Smears(64), always=True).restore(photo)
    assert own.faces[0].restored
    inner = (slice(80, 240), slice(80, 240))

    def error(image: np.ndarray) -> float:
        return float(np.sqrt(np.mean((image[inner].astype(float) - clean[inner]) ** 2)))

    assert error(own.image) < 0.7 * error(replaced.image)


@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("scale", [1, 2])
def test_a_somewhat_noisy_face_that_is_restored_shows_no_less_detail(scale: int, aligned: bool) -> None:
    """It is not left alone, and the network smears it; with layers too, whose picture is made of them."""
    photo = colour(noisy(scene(SIDE), 2.4))

    def energy(image: np.ndarray) -> float:
        inner = slice(round(0.3 * SIDE) * scale, round(0.7 * SIDE) * scale)
        return float(cv2.Laplacian(image[..., 1].astype(np.float32), cv2.CV_32F)[inner, inner].var())

    given: dict[str, Any] = {"scale": scale, "aligned": aligned}
    for layers in (False, True):
        result = restorer(layers=layers, **given).restore(photo)
        assert result.faces[0].restored
        assert energy(result.image) > 0.95 * energy(plain(photo, scale))
    assert energy(restorer(**given, always=True).restore(photo).image) < 0.6 * energy(plain(photo, scale))


def test_a_pattern_of_equal_motifs_is_left_as_it_is() -> None:
    tile = colour(scene(40))
    photo = np.tile(tile, (6, 6, 1))
    motifs = tuple(face_at((40 * (x + 0.5), 40 * (y + 0.5)), 9.0) for y in range(6) for x in range(6))
    result = restorer(Colour(), found=motifs).restore(photo)
    assert not any(face.restored for face in result.faces)
    assert np.array_equal(result.image, photo)
    assert any("36 of 36 finds are hardly faces" in line for line in result.record["warnings"])
    assert all(face.restored for face in restorer(Colour(), found=motifs, always=True).restore(photo).faces)
