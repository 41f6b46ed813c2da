"""The whole command on real photographs, its weights from a stand-in of the Hub: real detector, stand-in restorer."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from restorer import Restorer, weights
from restorer.models import REGISTRY
from restorer.photo import read_note, read_photo
from tests.cli.test_command import NARROW, serve
from tests.conftest import Restore
from tests.support import golden, in_process
from tests.support.hub import Hub
from tests.support.standins import table

DETECTOR = "retinaface-mobilenet0.25"
ARGUMENTS = (
    "--model", "narrow", "--detector", DETECTOR, "--background", "lanczos", "--precision", "fp32", "--json", "--always",
)  # fmt: skip


@pytest.fixture
def files(shared: Path, tmp_path: Path) -> dict[str, tuple[str, Path, dict[str, Any]]]:
    """The files that the stand-in serves: the real detector, and a GFP-GAN of 64 px with stand-in weights."""
    narrow = tmp_path / "served" / "narrow.pth"
    narrow.parent.mkdir()
    golden.Record.read(golden.FOLDER / "gfpgan_clean_64_narrow.json").write(narrow)
    detector = shared / "weights" / "retinaface_mobilenet0.25.pth"
    return {"narrow": ("gfpgan", narrow, NARROW), DETECTOR: ("retinaface", detector, {"network_name": "mobile0.25"})}


def test_a_group_photo_from_file_to_file(
    restore: Restore,
    shared: Path,
    tmp_path: Path,
    files: dict[str, tuple[str, Path, dict[str, Any]]],
) -> None:
    photo = shared / "data" / "photos" / "diffbir_whole_Queen.jpeg"
    with Hub() as hub:
        environment = serve(hub, tmp_path, **files)
        done = restore(str(photo), "-o", "queen.png", *ARGUMENTS, **environment)
        assert hub.downloads("retinaface_mobilenet0.25.pth") == hub.downloads("narrow.pth") == 1
        asked = len(hub.requests)
        again = restore(str(photo), "-o", "again.png", *ARGUMENTS, "--offline", **environment)
        assert len(hub.requests) == asked
    record = json.loads(done.stdout)
    assert record["status"] == "ok"
    assert record["detector"] == DETECTOR
    assert [face["restored"] for face in record["faces"]] == [True] * 4
    assert record["output_size"] == [2 * side for side in record["input_size"]]
    assert record["mask"] == "LandmarkMask"
    assert any("drawn from their landmarks" in warning for warning in record["warnings"])  # ParseNet cannot be had
    assert (tmp_path / "queen.png").read_bytes() == (tmp_path / "again.png").read_bytes()
    assert json.loads(again.stdout)["faces"] == record["faces"]
    # Faces are changed, what is far from them is the enlarged photo.
    result = read_photo(tmp_path / "queen.png").pixels.astype(int)
    restore(str(photo), "-o", "plain.png", "--model", "none", "--background", "lanczos", **environment)
    change = np.abs(result - read_photo(tmp_path / "plain.png").pixels.astype(int)).max(2)
    for face in record["faces"]:
        x0, y0, x1, y1 = (round(2 * value) for value in face["box"])
        assert change[y0:y1, x0:x1].mean() > 10
    assert change[:60, 500:700].max() == 0


FAMILY: dict[str, tuple[str, dict[str, Any]]] = {
    "glean-128": ("glean", {
        "in_size": 16, "out_size": 64, "rrdb_channels": 8, "num_rrdbs": 1, "narrow": 0.125, "template": "face",
    }),
    "gpen-512": ("gpen", {"size": 64, "style_dim": 64, "n_mlp": 2, "narrow": 0.125}),
    "gfpgan-1.4": ("gfpgan", NARROW),
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "scale"),
    [pytest.param("glean-128", "8", marks=pytest.mark.slow), ("gpen-512", "2"), ("gfpgan-1.4", "3.5")],
)
def test_each_member_of_the_family_restores_a_group(
    name: str, scale: str, restore: Restore, shared: Path, tmp_path: Path
) -> None:
    """Small networks of the real architectures under the names of the shipped tables: sizes, places and records."""
    architecture, given = FAMILY[name]
    arguments = {**REGISTRY[architecture].defaults, **given}
    torch.manual_seed(0)
    with torch.device("cpu"):
        network = REGISTRY[architecture].build(arguments)
    state = {key: torch.randn(value.shape) * 0.05 for key, value in network.state_dict().items()}
    file = tmp_path / "served" / "file.safetensors"
    file.parent.mkdir()
    weights.write(state, file, weights.FileHeader(architecture, arguments))
    detector = shared / "weights" / "retinaface_mobilenet0.25.pth"
    photo = shared / "data" / "photos" / "gfpgan_whole_10045.png"
    with Hub() as hub:
        served = {name: (architecture, file, given), DETECTOR: ("retinaface", detector, {"network_name": "mobile0.25"})}
        environment = serve(hub, tmp_path, **served)
        # `auto` takes GLEAN for --scale 8 and GFP-GAN below.
        model = "auto" if name != "gpen-512" else "gpen"
        if model == "gpen":
            tables = (tmp_path / "weights.toml").read_text()
            (tmp_path / "weights.toml").write_text(tables.replace('"]\n', '"]\naliases = ["gpen"]\n', 1))
        common = ("--detector", DETECTOR, "--background", "lanczos", "--scale", scale, "--json", "--always")
        done = restore(str(photo), "-o", "out.png", "--model", model, *common, **environment)
    record = json.loads(done.stdout)
    width, height = record["input_size"]
    assert record["model"] == name
    assert record["output_size"] == [round(width * float(scale)), round(height * float(scale))]
    assert read_photo(tmp_path / "out.png").size == tuple(record["output_size"])
    assert [face["restored"] for face in record["faces"]] == [True] * 3
    plain = Restorer("none", background="lanczos", scale=float(scale)).restore(photo).image
    change = np.abs(read_photo(tmp_path / "out.png").pixels.astype(int) - plain).max(2)
    for face in record["faces"]:
        x0, y0, x1, y1 = (round(float(scale) * value) for value in face["box"])
        assert change[y0:y1, x0:x1].mean() > 5


def test_a_look_alike_detector_is_refused(
    restore: Restore,
    shared: Path,
    tmp_path: Path,
    files: dict[str, tuple[str, Path, dict[str, Any]]],
) -> None:
    """It has the keys and shapes of the real one and finds wrong faces: only the hash tells them apart."""
    photo = shared / "data" / "photos" / "diffbir_whole_Queen.jpeg"
    false = (shared / "weights" / "lookalike_retinaface_mobilenet0.25.pth").read_bytes()
    with Hub() as hub:
        environment = serve(hub, tmp_path, **files)
        hub.serve_instead("retinaface_mobilenet0.25.pth", false)
        done = restore(str(photo), "-o", "queen.png", *ARGUMENTS, code=3, **environment)
    assert "38ec7bb3" in done.stderr
    assert "ed6fa7d4" in done.stderr
    assert not (tmp_path / "queen.png").exists()


@pytest.mark.slow
def test_all_photos_of_the_collection_are_enlarged(restore: Restore, shared: Path, tmp_path: Path) -> None:
    """Each keeps its depth, its alpha, its profile, its EXIF and its upright size; side files make no noise."""
    source = shared / "data" / "photos"
    plain = ("--model", "none", "--background", "lanczos", "--scale", "0.5")
    done = restore(str(source), "-o", "out", *plain, "--json")
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(records) == 110
    assert {record["status"] for record in records} == {"ok"}
    for record in records:
        before, after = read_photo(Path(record["input"])), read_photo(tmp_path / record["output"])
        assert after.size == tuple(max(1, round(side / 2)) for side in before.size)
        assert after.pixels.dtype == before.pixels.dtype
        assert (after.alpha is None) == (before.alpha is None)
        assert after.icc_profile == before.icc_profile
        assert after.format == before.format
        first, second = (Image.open(path).getexif() for path in (record["input"], tmp_path / record["output"]))
        assert second.get(0x0112, 1) == 1
        kept = set(first) - {0x0112, 0x0100, 0x0101, 0x011A, 0x011B, 0x0128, 0x0213}
        assert kept <= set(second), record["input"]
    shutil.rmtree(tmp_path / "out")


@pytest.mark.slow
def test_codeformer_at_a_fidelity_restores_three_photos(
    shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file of upstream's layout with stand-in weights: sizes, places, alpha, records, and that the knob arrives."""
    checkpoint = tmp_path / "codeformer.pth"
    golden.Record.read(golden.FOLDER / "codeformer_512.json").write(checkpoint)
    detector = shared / "weights" / "retinaface_mobilenet0.25.pth"
    tables = table("codeformer", "codeformer", checkpoint)
    tables += table(DETECTOR, "retinaface", detector, network_name="mobile0.25")
    (tmp_path / "weights.toml").write_text(tables)
    monkeypatch.setenv("RESTORER_WEIGHTS", str(tmp_path / "weights.toml"))
    monkeypatch.chdir(tmp_path)
    names = ("codeformer_whole_04.jpg", "oldphoto_a.png", "dfdnet_whole_test6.png")
    photos = [str(shared / "data" / "photos" / name) for name in names]
    common = (
        "--model", "codeformer", "--detector", DETECTOR, "--scale", "2", "--background", "lanczos", "--offline",
        "--always", "--json", "--format", "png",
    )  # fmt: skip
    done = in_process.restore(capsys, *photos, "-o", "out", *common, "--fidelity", "0.7")
    records = {Path(record["input"]).name: record for record in map(json.loads, done.out.splitlines())}
    assert set(records) == set(names)
    for name, record in records.items():
        assert (record["status"], record["model"]) == ("ok", "codeformer")
        assert record["output_size"] == [2 * side for side in record["input_size"]]
        assert record["faces"]
        assert all(face["restored"] and face["fidelity"] is None for face in record["faces"])
        note = read_note(Path(record["output"]))
        assert note is not None
        assert note.options["fidelity"] == 0.7
        result, plain = read_photo(record["output"]), Restorer("none", background="lanczos", scale=2)
        before = plain.restore(shared / "data" / "photos" / name)
        assert result.size == tuple(record["output_size"])
        assert (result.alpha is None) == (before.alpha is None) == (name != "oldphoto_a.png")
        if result.alpha is not None and before.alpha is not None:
            assert np.array_equal(result.alpha, before.alpha)
        change = np.abs(result.pixels.astype(int) - before.image).max(2)
        far = np.ones(change.shape, bool)
        for face in record["faces"]:
            x0, y0, x1, y1 = (round(2 * value) for value in face["box"])
            assert change[max(y0, 0) : y1, max(x0, 0) : x1].mean() > 5
            room = max(x1 - x0, y1 - y0)
            far[max(y0 - room, 0) : y1 + room, max(x0 - room, 0) : x1 + room] = False
        assert not change[far].any()
    single = (photos[2], *common, "--fidelity")
    again = json.loads(in_process.restore(capsys, *single, "0.7", "-o", "again.png").out)
    other = json.loads(in_process.restore(capsys, *single, "0", "-o", "other.png").out)
    first = read_photo(records[names[2]]["output"]).pixels.astype(int)
    assert np.array_equal(first, read_photo(again["output"]).pixels)
    assert np.abs(first - read_photo(other["output"]).pixels).max() > 8
