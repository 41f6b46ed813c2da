"""A photo's profile is used: networks see sRGB, and what they return goes back into the photo's own colours."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from restorer import Restorer
from restorer.bench import colour as bench
from restorer.imaging import profiles
from restorer.photo import Photo, color, photo_from_array, read_photo
from restorer.pipeline.result import Result
from tests.support.faces import smooth_photo
from tests.support.parts import Colour, Detector, Everything, Identity, face_at
from tests.support.photo_files import grey_profile, three

SPACES = [color.adobe_rgb_profile, color.display_p3_profile, color.prophoto_profile]
FACE = face_at((150, 150), 60)


def photo(profile: bytes | None, pixels: np.ndarray | None = None) -> Photo:
    made = photo_from_array(smooth_photo(300, 300, np.uint16) if pixels is None else pixels)
    return replace(made, icc_profile=profile)


def restored(source: Photo, model: Any = "none", background: str = "lanczos", **options: Any) -> Result:
    detector = Detector([FACE])
    return Restorer(
        model, detector=detector, background=background, mask=Everything(), offline=True, **options
    ).restore(source)


@pytest.mark.parametrize("make", SPACES)
def test_a_model_that_changes_nothing_changes_no_colour(make: Any) -> None:
    pixels = np.random.default_rng(0).integers(0, 65536, (20, 20, 3)).astype(np.uint16)
    source = photo(make(), np.repeat(np.repeat(pixels, 15, 0), 15, 1))  # the whole of the space, in flat patches
    result = restored(source, Identity(300), scale=1, aligned=True, match_color=False, always=True)
    assert result.faces[0].restored
    assert np.abs(result.image.astype(int) - source.pixels).max() <= 65535 * 2.2e-4


@pytest.mark.parametrize("make", SPACES)
def test_pixels_that_no_network_touches_keep_their_bits(make: Any) -> None:
    source = photo(make())
    result = restored(source, Colour(), scale=1)
    assert result.changed is not None
    reached = cv2.dilate(result.changed, np.ones((9, 9))) > 0
    assert 0.2 < reached.mean() < 0.9
    assert (result.image[~reached] == source.pixels[~reached]).all()


def test_what_a_model_paints_is_painted_in_the_photos_own_colours() -> None:
    shade = (0.8, 0.3, 0.2)
    model = Colour(tuple(2 * value - 1 for value in shade))  # type: ignore[arg-type]
    source = photo(color.prophoto_profile())
    result = restored(source, model, scale=1, match_color=False)
    space = profiles.colours_of(color.prophoto_profile())
    assert space is not None
    wanted = space.own(np.array([shade]))[0]
    assert result.image[150, 150] / 65535 == pytest.approx(wanted, abs=2e-4)
    assert np.abs(wanted - shade).max() > 0.1


class Seen(Identity):
    """Keeps what it was shown."""

    crops: torch.Tensor

    def restore(self, crops: torch.Tensor) -> torch.Tensor:
        self.crops = crops
        return crops


class Looking(Detector):
    """Keeps what it was shown."""

    pixels: np.ndarray

    def detect(self, pixels: np.ndarray) -> list[Any]:
        self.pixels = pixels
        return super().detect(pixels)


@pytest.mark.parametrize("make", SPACES)
def test_the_same_photo_looks_the_same_to_networks_whatever_its_space(make: Any) -> None:
    plain = smooth_photo(300, 300, np.uint16)
    space = profiles.colours_of(make())
    assert space is not None
    own = np.rint(space.own(plain / 65535.0) * 65535).astype(np.uint16)
    shown = []
    for source in (photo(None, plain), photo(make(), own)):
        model, detector = Seen(), Looking([FACE])
        Restorer(model, detector=detector, background="lanczos", mask=Everything(), scale=1).restore(source)
        shown.append((model.crops, detector.pixels))
    assert (shown[0][0] - shown[1][0]).abs().max() < 2e-3  # resampled in two spaces
    assert np.abs(shown[0][1].astype(int) - shown[1][1]).max() <= 32


def test_lanczos_is_the_same_with_and_without_a_profile() -> None:
    pixels = smooth_photo(60, 80)
    with_one, without = (restored(photo(profile, pixels)).image for profile in (color.prophoto_profile(), None))
    assert (with_one == without).all()


@pytest.mark.parametrize("make", [color.srgb_profile, lambda: None])
def test_srgb_and_untagged_photos_go_the_way_they_went(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("nothing is to be converted")

    monkeypatch.setattr(profiles.Colours, "own", fail)
    result = restored(photo(make()), Colour(), "tiny-upscaler")
    assert result.faces[0].restored


def test_a_black_and_white_photo_stays_so_to_the_last_bit() -> None:
    grey = smooth_photo(120, 120, np.uint16)[..., 0]
    for profile in (grey_profile(), color.prophoto_profile()):
        source = photo(profile, three(grey))
        source.grey = True
        result = restored(source, Colour(), "tiny-upscaler")
        assert (np.ptp(result.image, axis=2) == 0).all()
        stream = io.BytesIO()
        result.save(stream, format="TIFF")
        assert read_photo(stream.getvalue()).grey


@pytest.mark.parametrize("make", SPACES)
def test_an_upscaler_keeps_the_colours_of_a_wide_chart(make: Any) -> None:
    restorer = Restorer("none", background="tiny-upscaler", scale=2, offline=True)
    figures = bench.measure_chart(restorer, make())
    assert figures["used"] < 0.5
    assert bench.outside(make()) > 0.5


def test_a_profile_that_cannot_be_used_is_a_warning() -> None:
    result = restored(photo(color.adobe_rgb_profile()[:200]), Colour(), scale=1)
    assert any("cannot be used" in line for line in result.record["warnings"])


def test_colours_named_without_a_profile_are_used_too() -> None:
    cicp = replace(photo(None), format_specific=(("PNG cICP", bytes((12, 13, 0, 1))),))
    named = color.profile_meant(cicp)
    assert named is not None
    space = profiles.colours_of(named)
    p3 = profiles.colours_of(color.display_p3_profile())
    assert space is not None
    assert p3 is not None
    samples = np.random.default_rng(0).random((100, 3))
    assert np.abs(space.seen(samples) - p3.seen(samples)).max() < 1e-3
    for code in ((1, 13), (9, 16), (9, 18), (2, 2)):  # sRGB; high dynamic range; unspecified
        assert color.profile_meant(replace(cicp, format_specific=(("PNG cICP", bytes((*code, 0, 1))),))) is None


def test_ciede2000_is_the_published_one() -> None:
    # Sharma, Wu and Dalal 2005, table 1: pairs 1, 7, 17 and 25.
    first = np.array([[50, 2.6772, -79.7751], [50, 0, 0], [50, 2.5, 0], [60.2574, -34.0099, 36.2677]])
    second = np.array([[50, 0, -82.7485], [50, -1, 2], [73, 25, -18], [60.4626, -34.1751, 39.4387]])
    assert bench.ciede2000(first, second) == pytest.approx([2.0425, 2.3669, 27.1492, 1.2644], abs=1e-4)
