"""The independent judge of likeness: what it says, and what it asks for where it is not installed."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest

from restorer.errors import MissingPackageError
from restorer.evaluation.judge import SAME_PERSON, Judge
from restorer.imaging.sheets import Picture
from tests.support.basicsr import needs_basicsr
from tests.support.in_process import restore

MISSING = [name for name in ("dlib", "face_recognition_models") if find_spec(name) is None]


def portrait(path: Path) -> Picture:
    """Return a picture, 256 px high."""
    pixels = np.asarray(cv2.imread(str(path)))[..., ::-1]
    width = round(pixels.shape[1] * 256 / pixels.shape[0])
    return np.ascontiguousarray(cv2.resize(pixels, (width, 256), interpolation=cv2.INTER_AREA))


@pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")
def test_blur_takes_a_face_away_from_itself_and_another_is_further(shared: Path) -> None:
    files = sorted((shared / "data/faces_hq").glob("*.[jp][pn]g"))[:2]
    one, other = (portrait(path) for path in files)
    judge = Judge()
    blurred = np.asarray(cv2.GaussianBlur(one, (0, 0), 3), np.uint8)
    same, near, stranger = judge.distances([one, blurred, np.resize(other, one.shape)], [one, one, one])
    assert same == 0
    assert 0 < near < SAME_PERSON < stranger + 0.3
    assert near < stranger
    assert np.isnan(judge.distances([one[:40, :40]], [one[:40, :40]])).all(), "no face is there"


@pytest.mark.parametrize("missing", ["dlib", "face_recognition_models"])
def test_what_is_missing_is_said_with_the_remedy(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def looked_up(name: str, package: str | None = None) -> object:
        return None if name == missing else find_spec("json")

    monkeypatch.setattr("restorer.evaluation.judge.find_spec", looked_up)
    monkeypatch.setitem(sys.modules, "dlib", None)
    with pytest.raises(MissingPackageError, match=missing) as caught:
        Judge()
    assert "restorer[judge]" in str(caught.value.remedy)


@needs_basicsr
def test_the_command_asks_it_before_anything_is_computed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("restorer.evaluation.judge.find_spec", lambda _name: None)
    done = restore(capsys, "evaluate", "tiny", str(tmp_path), "--judge", "--offline", code=None)
    assert done.code != 0
    assert "dlib, which is not installed" in done.err
    assert "restorer[judge]" in done.err
