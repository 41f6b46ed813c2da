"""The figures of the upscaler's benchmark: what is measured moves when what it measures moves."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from restorer.bench.upscaler import bicubic, measure_pairs, overshoot
from restorer.imaging.sheets import Picture
from tests.support.basicsr import needs_basicsr


def _nearest(picture: Picture, size: tuple[int, int]) -> Picture:
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_NEAREST), np.uint8)


def _lanczos(picture: Picture, size: tuple[int, int]) -> Picture:
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_LANCZOS4), np.uint8)


@pytest.mark.parametrize("factor", [2, 4])
def test_ringing_is_counted(factor: int) -> None:
    assert overshoot(_nearest, factor) == 0
    assert min(overshoot(bicubic, factor), overshoot(_lanczos, factor)) > 5


@needs_basicsr
def test_psnr_and_a_shift_of_colour_are_counted_for_both_factors(tmp_path: Path) -> None:
    smooth = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (67, 90, 3), np.uint8), (0, 0), 4)
    Image.fromarray(smooth).save(tmp_path / "a.png")

    def darker(picture: Picture, size: tuple[int, int]) -> Picture:
        return bicubic(picture, size) - np.uint8(3)

    plain = measure_pairs([tmp_path / "a.png"], bicubic, None)
    found = measure_pairs([tmp_path / "a.png"], darker, None)
    assert set(found) == {2, 4}
    for factor, row in found.items():
        assert plain[factor]["upscaler"] == plain[factor]["bicubic"] == row["bicubic"]
        assert row["upscaler"] < row["bicubic"]
        assert row["worst"] == pytest.approx(row["upscaler"] - row["bicubic"])
        assert row["shift"] == pytest.approx(3, abs=0.3)
        assert plain[factor]["shift"] < 0.3
