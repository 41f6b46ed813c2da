"""What the measurement of harm counts: detail lost, faces left alone, and what other limits would do."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from restorer.bench import harm
from restorer.evaluation import degrading
from restorer.imaging.sheets import Picture
from restorer.storage.pictures import save_picture
from tests.imaging.test_quality import blurred, scene


def _colour(luma: np.ndarray) -> Picture:
    return np.repeat(np.rint(np.clip(luma, 0, 255)).astype(np.uint8)[..., None], 3, axis=2)


SHARP, SOFT = _colour(scene(128)), _colour(blurred(scene(128), 2.5))


def test_detail_and_fidelity_fall_with_sharpness() -> None:
    assert harm.detail(SOFT) < 0.3 * harm.detail(SHARP)
    assert harm.fidelity(SHARP, SHARP) == 60
    assert harm.fidelity(SOFT, SHARP) < 35


def test_good_faces_are_left_alone_and_bad_ones_are_not() -> None:
    judged, always = (harm.run([SHARP], "tiny", 1.0, always=always) for always in (False, True))
    assert harm.kept(judged, [SHARP]) == {"restored": 0, "detail": 1, "least": 1, "enough": 1}
    assert harm.likeness(judged.images, [SHARP], None)["psnr"] == 60
    assert always.restored == [True]
    assert harm.likeness(always.images, [SHARP], None)["psnr"] < 60
    assert harm.run([SOFT], "tiny", 1.0).restored == [True]


def test_detail_that_is_lost_is_counted() -> None:
    assert harm.kept(harm.Run([SOFT, SHARP], [True, True]), [SHARP, SHARP])["enough"] == 0.5
    assert harm.kept(harm.Run([SOFT, SHARP], [False, True]), [SHARP, SHARP])["enough"] == 1


def test_the_curve_falls_as_the_limit_rises() -> None:
    rows = harm.curve([SHARP] * 2, [SOFT] * 2)
    shares = [row["clean"] for row in rows]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] == 1
    assert all(row["degraded"] == 0 for row in rows)


def test_the_curve_knows_what_degraded_faces_would_lose() -> None:
    """The sharp one stands for a degraded face that is taken for a good one: left alone, it keeps its PSNR."""
    rows = harm.curve([SHARP], [SHARP, SOFT], [SHARP, SHARP], harm.Run([SOFT, SHARP], [True, True]))
    soft = harm.fidelity(SOFT, SHARP)
    assert {round(row["psnr"], 3) for row in rows} <= {60, round((soft + 60) / 2, 3)}
    assert rows[0]["psnr"] == 60


def test_the_plot_shows_the_curve() -> None:
    rows = [{"resolved": limit, "clean": 1 - limit / 200, "degraded": 0.1, "psnr": limit} for limit in harm.LIMITS]
    with_psnr, without = (
        np.asarray(harm.plot([{key: row[key] for key in keys} for row in rows], "gfpgan"))
        for keys in (("resolved", "clean", "degraded", "psnr"), ("resolved", "clean", "degraded"))
    )
    green, blue = (np.array(value, np.uint8) for value in ((27, 127, 59), (26, 79, 163)))
    assert (with_psnr == green).all(-1).sum() > 500
    assert (with_psnr == blue).all(-1).sum() > 200
    assert not (without == blue).all(-1).any()


def test_no_person_is_in_both_parts(tmp_path: Path) -> None:
    files = [tmp_path / f"{number}.png" for number in range(6)]
    assert harm.part_of(files, False) == files[::2]
    assert harm.part_of(files, True) == files[1::2]
    rows = [f"{number}.png,{person}" for number, person in enumerate("aabbcc")]
    (tmp_path / "MANIFEST.csv").write_text("\n".join(["file,person", *rows]))
    assert harm.part_of(files, False) == [files[0], files[1], files[4], files[5]]
    assert harm.part_of(files, True) == files[2:4]


def test_faces_that_the_draw_left_as_they_were_do_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of two faces one is left as it was, the other blurred: all of the degraded ones are restored."""
    for name in "ab":
        save_picture(Image.fromarray(_colour(scene(128))), tmp_path / f"{name}.png")

    def every_second(side: int) -> object:
        number = iter(range(2))
        return lambda picture, rng: degrading.Pair(picture if next(number) else SOFT, picture, picture)

    monkeypatch.setitem(degrading.NAMED, "gfpgan", every_second)
    assert harm.main([str(tmp_path), "--part", "all", "--side", "128", "--scale", "1", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["degraded"]["gfpgan"]
    assert rows["input"]["untouched"] == 1
    assert rows["judged"]["restored"] == 1
