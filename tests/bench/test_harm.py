"""What the measurement of harm counts: detail lost, faces left alone, and what other limits would do."""

from __future__ import annotations

import numpy as np

from restorer.bench import harm
from restorer.imaging.sheets import Picture
from tests.imaging.test_quality import blurred, scene


def _colour(luma: np.ndarray) -> Picture:
    return np.repeat(np.rint(np.clip(luma, 0, 255)).astype(np.uint8)[..., None], 3, axis=2)


SHARP, SOFT = _colour(scene(128)), _colour(blurred(scene(128), 2.5))


def test_detail_and_fidelity_fall_with_sharpness() -> None:
    assert harm.detail(SOFT) < 0.3 * harm.detail(SHARP)
    assert harm.fidelity(SHARP, SHARP) == 60
    assert harm.fidelity(SOFT, SHARP) < 35


def test_good_faces_are_left_alone_and_bad_ones_are_not() -> None:
    clean = harm.measure([SHARP], [SHARP], "tiny", 1.0)
    assert clean["judged"] == {"restored": 0, "detail": 1, "least": 1, "psnr": 60}
    assert clean["always"]["restored"] == 1
    assert clean["always"]["psnr"] < 60
    assert harm.measure([SOFT], [SHARP], "tiny", 1.0)["judged"]["restored"] == 1


def test_the_curve_falls_as_the_limit_rises() -> None:
    rows = harm.curve([SHARP] * 2, [SOFT] * 2)
    shares = [row["clean"] for row in rows]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] == 1
    assert all(row["degraded"] == 0 for row in rows)
