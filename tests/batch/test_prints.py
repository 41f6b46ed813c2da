"""`--split`: each print of a scan is a photo with a name, a record and a place in reruns of its own."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from restorer.bench.split import made
from restorer.evaluation.ageing import photograph
from restorer.photo import read_photo
from tests.support.in_process import restore

Capture = pytest.CaptureFixture[str]
PLAIN = ("--model", "none", "--background", "lanczos", "--scale", "1", "--offline", "--json")


def test_each_print_is_a_photo_of_its_own(tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    scan, places = made([photograph()[60:420]], "black", np.random.default_rng(3))
    Path("in").mkdir()
    Image.fromarray(scan).save("in/scan.png", dpi=(300, 300))
    Image.fromarray(photograph()).save("in/one.png")
    arguments = ("in", "-o", "out", *PLAIN, "--split", "auto")
    records = [json.loads(line) for line in restore(capsys, *arguments).out.splitlines()]
    whole, parts = records[0], records[1:]
    assert (whole["input"], whole["print"]) == ("in/one.png", None)
    assert any("leaves it whole" in line for line in whole["warnings"])
    assert [part["print"]["number"] for part in parts] == list(range(1, len(places) + 1))
    assert {part["print"]["of"] for part in parts} == {len(places)}
    for part in parts:
        assert part["output"] == f"out/scan_print{part['print']['number']}_restored.png"
        photo = read_photo(Path(part["output"]))
        assert list(photo.size) == part["input_size"]
        assert photo.dpi == pytest.approx((300, 300), abs=0.1)
        near = min(places, key=lambda place: np.hypot(*(np.mean(part["print"]["corners"], axis=0) - place.centre)))
        assert photo.size == pytest.approx(near.size, rel=0.01)
    again = [json.loads(line) for line in restore(capsys, *arguments).out.splitlines()]
    assert {record["reason"] for record in again} == {"done already"}
    assert "several prints" not in restore(capsys, "in/scan.png", "-o", "x.png", *PLAIN).err
    wrong = restore(capsys, "in/scan.png", "-o", "y.png", *PLAIN, "--split", "auto", code=2).err
    assert f"shows {len(places)} prints" in wrong
