"""`--preset`: shipped sets of options and a user's own, what wins over what, and where each value came from."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from restorer.bench.tone import faded
from restorer.cli import presets, settings
from restorer.engine.device import Device
from restorer.engine.network import Network
from restorer.evaluation.ageing import photograph
from restorer.imaging.resize import resize
from restorer.pipeline.components import Components
from restorer.weights import Table
from tests.support.in_process import restore

Capture = pytest.CaptureFixture[str]
PLAIN = ("--model", "none", "--background", "lanczos", "--scale", "1", "--offline")
FACES = ("--model", "tiny", "--background", "lanczos", "--scale", "1", "--offline")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def own(name: str, text: str) -> Path:
    path = Path(os.environ["RESTORER_CONFIG"]) / "presets" / f"{name}.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def in_force(capsys: Capture, *arguments: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(restore(capsys, "config", "--json", *arguments).out)["options"]
    return found


def test_shipped_presets_set_what_exists(folder: Path) -> None:
    assert {"old-photo", "archive"} <= set(presets.names())
    for name in presets.names():
        assert settings.load(["--preset", name])


def test_a_run_with_a_preset_does_what_it_sets_and_what_is_typed_wins(folder: Path, capsys: Capture) -> None:
    old = faded(np.ascontiguousarray(resize(photograph(), (256, 256))), "yellowed")
    for name in ("a.png", "b.png", "c.png"):
        Image.fromarray(old).save(name)
    with_preset = json.loads(restore(capsys, "a.png", *PLAIN, "--preset", "old-photo", "--json").out)
    assert with_preset["tone"]["done"] is True
    assert with_preset["repair"]["done"] is False
    assert with_preset["warnings"] == []
    typed = json.loads(restore(capsys, "b.png", *PLAIN, "--preset=old-photo", "--tone", "none", "--json").out)
    assert (typed["tone"], typed["repair"]["done"]) == (None, False)
    plain = json.loads(restore(capsys, "c.png", *PLAIN, "--json").out)
    assert (plain["tone"], plain["repair"]) == (None, None)
    assert any("--preset old-photo" in line for line in plain["warnings"])


def test_a_scratched_print_is_told_what_would_mend_it(
    folder: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked_for: list[str] = []
    get = Components.network

    def watched(self: Components, table: Table, device: Device | None = None) -> Network:
        asked_for.append(table.name)
        return get(self, table, device)

    monkeypatch.setattr(Components, "network", watched)
    clean = np.ascontiguousarray(resize(photograph(), (512, 512)))
    scratched = clean.copy()
    rng = np.random.default_rng(3)
    for _ in range(14):
        start, end = (tuple(int(x) for x in rng.integers(0, 512, 2)) for _ in range(2))
        cv2.line(scratched, start, end, (235, 232, 225), 2, cv2.LINE_AA)
    small = np.ascontiguousarray(scratched[150:390, 150:390])  # what it shows is as thin as scratches
    names = {"clean.png": clean, "scratched.png": scratched, "asked.png": scratched, "small.png": small}
    for name, pixels in names.items():
        Image.fromarray(pixels).save(name)
    told = json.loads(restore(capsys, "scratched.png", *FACES, "--json").out)
    assert [line for line in told["warnings"] if "--repair auto" in line and "scratched" in line]
    assert (told["repair"], told["seconds"]["advice"] > 0) == (None, True)
    # Without faces it does not wait for a network.
    for name, way in (("clean.png", FACES), ("small.png", FACES), ("scratched.png", PLAIN)):
        asked_for.clear()
        told = json.loads(restore(capsys, name, *way, "--json", "-o", "again.png", "--overwrite").out)
        assert not [line for line in told["warnings"] if "scratched" in line]
        assert ("tiny-damage" in asked_for) == (name == "clean.png")
    asked = json.loads(restore(capsys, "asked.png", *FACES, "--repair", "auto", "--json").out)
    assert not [line for line in asked["warnings"] if "scratched" in line]
    assert asked["repair"]["done"] is True


def test_good_photos_get_no_advice(folder: Path, capsys: Capture) -> None:
    Image.fromarray(photograph()).save("a.png")
    assert json.loads(restore(capsys, "a.png", *PLAIN, "--json").out)["warnings"] == []


def test_ones_own_preset_takes_the_place_of_a_shipped_one_and_config_names_its_file(
    folder: Path, capsys: Capture
) -> None:
    shipped = in_force(capsys, "--preset", "archive")
    assert shipped["save-mask"] == {"value": True, "origin": shipped["background"]["origin"]}
    assert shipped["save-mask"]["origin"].endswith("archive.toml")
    assert shipped["tile"]["origin"] == "default"
    path = own("archive", "scale = 3\n")
    found = json.loads(restore(capsys, "config", "--json", "--preset", "archive").out)["options"]
    assert found["scale"] == {"value": 3.0, "origin": str(path)}
    assert found["save-mask"]["origin"] == "default"


def test_what_wins_over_what(folder: Path, capsys: Capture) -> None:
    own("mine", 'scale = 3\ntone = "auto"\n')
    Path("restore.toml").write_text("scale = 4\n")
    assert in_force(capsys)["scale"]["value"] == 4.0
    assert in_force(capsys, "--preset", "mine")["scale"]["value"] == 3.0
    Path("restore.toml").write_text('scale = 4\npreset = "mine"\n')
    found = in_force(capsys)
    assert (found["scale"]["value"], found["tone"]["value"]) == (4.0, "auto")
    assert found["tone"]["origin"].endswith("mine.toml")


def test_what_is_wrong_is_said(folder: Path, capsys: Capture) -> None:
    own("mine", "scael = 3\n")
    assert "Did you mean old-photo?" in restore(capsys, "a.jpg", "--preset", "old-foto", code=2).err
    assert "archive" in restore(capsys, "a.jpg", "--preset", "qqqq", code=2).err
    wrong = restore(capsys, "a.jpg", "--preset", "mine", code=2).err
    assert "mine.toml" in wrong
    assert "scael" in wrong
    own("mine", 'preset = "archive"\n')
    assert "preset" in restore(capsys, "a.jpg", "--preset", "mine", code=2).err
    assert "../secret" in restore(capsys, "a.jpg", "--preset", "../secret", code=2).err
