"""Screens of prints are found and taken out; photographs without one have none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from restorer.evaluation.ageing import photograph
from restorer.imaging import screens
from restorer.photo import read_photo
from restorer.training.wear import screens as printed

Draw = Callable[[np.ndarray], np.ndarray]
SCREENS: dict[str, tuple[Draw, float]] = {
    "dots of 3.2 px": (lambda x: printed.half_tone(x, 3.2, 45, 0.5, 6, ink=False), 3.2),
    "dots of 4.3 px": (lambda x: printed.half_tone(x, 4.3, 30, 0.4, 5, ink=False), 4.3),
    "dots of 9.3 px": (lambda x: printed.half_tone(x, 9.3, 20, 0.3, 5, ink=False), 9.3),
    "lines": (lambda x: printed.lines(x, 5, 12, 0.3, 6), 5),
    "silk": (lambda x: printed.silk(x, 5.5, 20, 12), 5.5),
}


def psnr(first: np.ndarray, second: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((first.astype(float) - second) ** 2)))


@pytest.mark.parametrize("name", SCREENS)
def test_a_screen_is_found_and_taken_out(name: str) -> None:
    photo = photograph()
    draw, period = SCREENS[name]
    worn = np.clip(np.rint(draw(photo.astype(np.float32))), 0, 255).astype(np.uint8)
    waves = screens.find(worn)
    assert any(abs(wave.period - period) < 0.05 * period for wave in waves)
    assert psnr(photo, screens.remove(worn, waves)) > psnr(photo, worn) + 5
    assert screens.find(photo) == []


def test_colours_of_several_inks_and_16_bits() -> None:
    photo = photograph()
    worn = np.clip(printed.half_tone(photo.astype(np.float32), 6.1, 15, 0.4, 6, ink=True), 0, 255)
    deep = np.rint(worn * 257).astype(np.uint16)
    after = screens.remove(deep, screens.find(deep))
    assert after.dtype == np.uint16
    assert psnr(photo, after / 257) > psnr(photo, worn) + 2
    assert len(np.unique(after)) > 5000


def test_equal_channels_stay_equal() -> None:
    photo = photograph().astype(np.float32).mean(2, keepdims=True).repeat(3, axis=2)
    worn = np.clip(np.rint(printed.silk(photo, 5.5, 20, 12)), 0, 255).astype(np.uint8)
    after = screens.remove(worn, screens.find(worn))
    assert not np.array_equal(after, worn)
    assert np.array_equal(after[..., 0], after[..., 1])
    assert np.array_equal(after[..., 0], after[..., 2])


def test_a_row_of_windows_is_no_screen_and_small_pictures_have_none() -> None:
    photo = photograph().copy()
    y, x = np.mgrid[:160, :160]
    photo[100:260, 300:460] = (128 + 90 * np.sign(np.sin(0.9 * x + 0.5 * y)))[..., None]
    assert screens.find(photo) == []
    for size in ((1, 1), (40, 600), (127, 127)):
        assert screens.find(np.full((*size, 3), 90, np.uint8)) == []


def test_clean_photographs_have_none(shared: Path) -> None:
    files = sorted((shared / "data" / "photos_clean").glob("kodak_*"))
    assert files
    assert {path.name: screens.find(read_photo(path).pixels) for path in files} == {path.name: [] for path in files}
