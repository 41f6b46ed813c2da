"""A photo that is cleaned first: by which networks, what sees it cleaned, what stays, and what is said of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from restorer import Options, Restorer
from restorer.errors import LicenseForbidsError, UnknownTableError, UnsafeCheckpointError, UsageError
from restorer.imaging.tensors import to_pictures, to_tensor
from restorer.models import REGISTRY
from restorer.models.base import Face
from restorer.options import declared
from restorer.pipeline.cleaning import table_of
from tests.support.faces import smooth_photo
from tests.support.golden import load
from tests.support.in_process import restore
from tests.support.parts import Colour, Detector, Everything, face_at

Capture = pytest.CaptureFixture[str]
SMALL = {"num_feat": 8, "num_block": 1, "num_grow_ch": 4}


def checkpoint(folder: Path, scale: int = 1, name: str = "cleaner") -> str:
    """Write a small network with drawn weights as it would be published; its pictures are darker than the photo."""
    kind = REGISTRY["rrdbnet"]
    torch.manual_seed(3)
    network = kind.build({**kind.defaults, **SMALL, "scale": scale})
    state = {key.removeprefix("net."): value for key, value in network.state_dict().items()}
    state["conv_last.bias"] = torch.full((3,), 0.25)
    torch.save({"params_ema": state}, folder / f"{name}.pth")
    return str(folder / f"{name}.pth")


@pytest.fixture
def cleaner(tmp_path: Path) -> str:
    return checkpoint(tmp_path)


def run(pixels: Any, cleaner: str | None, detector: Any = None, **options: Any) -> Any:
    parts = {"detector": detector, "mask": Everything()} if detector is not None else {}
    model = Colour() if detector is not None else "none"
    given = {"background": "lanczos", "scale": 1, "offline": True, **options}
    return Restorer(model, clean=cleaner, **parts, **given).restore(pixels)


class Watching(Detector):
    """Keeps what it was shown."""

    def detect(self, pixels: np.ndarray) -> list[Face]:
        self.seen = pixels.copy()
        return super().detect(pixels)


def test_faces_are_looked_for_and_cut_in_the_cleaned_photo(cleaner: str) -> None:
    photo = smooth_photo(80, 120)
    cleaned = run(photo, cleaner).image
    assert cleaned.shape == photo.shape
    assert np.abs(cleaned.astype(int) - photo).mean() > 10
    detector = Watching([face_at((60, 40), 8)])
    result = run(photo, cleaner, detector)  # its crop has a side of 33 px
    assert np.array_equal(detector.seen, cleaned)
    assert result.record.faces[0].restored
    assert list(result.record.seconds).index("clean") < list(result.record.seconds).index("detect")
    untouched = np.all(result.image == cleaned, axis=2)
    assert untouched[:4].all()  # far from the face


def test_the_record_and_the_note_name_it(cleaner: str) -> None:
    result = run(smooth_photo(40, 60), cleaner)
    table = table_of(Options(clean=cleaner))
    assert table is not None
    assert result.record.as_dict()["clean"] == "cleaner"
    assert result.record.components["clean"] == {"name": "cleaner", "sha256": table.wanted_hash[:16], "named": True}
    assert result.note.options["clean"] == "cleaner"
    plain = run(smooth_photo(40, 60), None)
    assert plain.record.clean is None
    assert "clean" not in plain.record.seconds


def test_depth_alpha_and_grey_stay(cleaner: str) -> None:
    deep = run(smooth_photo(40, 60, np.uint16), cleaner)
    assert deep.image.dtype == np.uint16
    assert len(np.unique(deep.image)) > 1000
    rgba = np.dstack([smooth_photo(40, 60), np.zeros((40, 60), np.uint8)])
    rgba[:, 30:, 3] = 255
    clear = run(rgba, cleaner)
    assert np.array_equal(clear.alpha, rgba[..., 3])
    assert np.array_equal(clear.image[:, :30], rgba[:, :30, :3])  # nothing is seen there, and nothing changes
    assert not np.array_equal(clear.image[:, 30:], rgba[:, 30:, :3])
    grey = np.repeat(smooth_photo(40, 60)[..., :1], 3, axis=2)
    assert np.ptp(run(grey, cleaner).image.astype(int), axis=2).max() <= 1


def test_tiles_show_no_seam(cleaner: str) -> None:
    """The drawn weights see farther than trained ones, so that tiles may differ a little; a seam would be a step."""
    photo = smooth_photo(150, 170)
    whole, tiled = (run(photo, cleaner, precision="fp32", tile=tile).image.astype(int) for tile in (None, 64))
    assert np.abs(whole - tiled).mean() < 0.5
    assert np.abs(whole - tiled).max() <= 8


def test_what_enlarges_is_refused_and_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="double enlarges 2 times") as error:
        Restorer("none", clean=checkpoint(tmp_path, 2, "double"))
    assert "1x-DeNoise-realplksr-otf" in str(error.value.remedy)
    with pytest.raises(UsageError, match="realesrgan-x4 enlarges 4 times"):
        Restorer("none", clean="realesrgan-x4")
    with pytest.raises(UsageError, match="gfpgan"):
        Restorer("none", clean="gfpgan")


def test_a_name_that_is_none_is_refused_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UnknownTableError) as error:
        Restorer("none", clean="1x-DeNoise-realplksr")
    assert "1x-DeNoise-realplksr-otf" in str(error.value.remedy)
    with pytest.raises(UnknownTableError):
        Restorer("none", clean=str(tmp_path / "nothing.pth"))


def test_a_file_that_is_code_is_refused_unrun(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "ran",))

    torch.save({"params": Bomb()}, tmp_path / "bomb.pth")
    with pytest.raises(UnsafeCheckpointError):
        Restorer("none", clean=str(tmp_path / "bomb.pth"))
    assert not (tmp_path / "ran").exists()


def test_licences_count(cleaner: str) -> None:
    with pytest.raises(LicenseForbidsError):
        Restorer("none", clean=cleaner, license="commercial")


@pytest.mark.parametrize("kind", ["PLKSR", "FBCNN"])
def test_networks_of_spandrel(kind: str, tmp_path: Path) -> None:
    pytest.importorskip("spandrel")
    from tests.models.test_spandrel import published

    result = run(smooth_photo(40, 60), str(published(kind, tmp_path)))
    assert (result.record.clean, result.image.shape) == (kind, (40, 60, 3))


def test_the_fingerprint_holds_it_by_its_weights(tmp_path: Path, cleaner: str) -> None:
    def fingerprint(clean: str | None) -> str:
        return Restorer("none", background="lanczos", clean=clean).note("0" * 64).fingerprint

    other = Path(cleaner).with_name("other.pth")
    torch.save({**torch.load(cleaner, weights_only=True), "more": torch.zeros(1)}, other)
    assert len({fingerprint(None), fingerprint(cleaner), fingerprint(str(other))}) == 3
    assert declared(Options)["clean"].by_weights


def test_the_command_says_what_it_did_and_finds_it_again(
    tmp_path: Path, cleaner: str, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(smooth_photo(40, 60)).save("a.png")
    words = ("a.png", "--model", "none", "--background", "lanczos", "--offline", "--clean", cleaner)
    assert "cleaned first by cleaner" in " ".join(restore(capsys, *words, "--dry-run").err.split())
    assert "cleaned by cleaner" in " ".join(restore(capsys, *words).out.split())
    again = json.loads(restore(capsys, *words, "--json").out)
    assert (again["reason"], again["clean"]) == ("done already", "cleaner")
    assert "1x-DeNoise-realplksr-otf" in restore(capsys, "completion", "suggest", "--", "--clean", "").out


def test_weights_that_are_not_there_end_the_run(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    Image.fromarray(smooth_photo(40, 60)).save("a.png")
    words = ("a.png", "--model", "none", "--background", "lanczos", "--offline")
    done = restore(capsys, *words, "--clean", "1x-DeNoise-realplksr-otf", code=3)
    assert "1x-DeNoise-realplksr-otf" in done.err
    assert not Path("a_restored.png").exists()


@pytest.mark.shared
def test_a_trained_network_takes_the_blocks_of_a_jpeg_off(shared: Path, tmp_path: Path) -> None:
    """Real-ESRGAN's general network, whose sixteen pixels for one are averaged: its last layer does that as well.

    What it cleans is what it enlarges, made as small again.
    """
    published = shared / "weights" / "realesr-general-x4v3.fp16.safetensors"
    state = {key: value.float() for key, value in load_file(published).items()}
    for name in ("weight", "bias"):
        last = state[f"body.66.{name}"]
        state[f"body.66.{name}"] = last.reshape(3, 16, *last.shape[1:]).mean(1)
    save_file(state, tmp_path / "general-1x.safetensors")
    with Image.open(shared / "data" / "photos_clean" / "kodak_04.jpg") as opened:
        sharp = opened.convert("RGB").resize((128, 192), Image.Resampling.BOX).crop((0, 0, 128, 128))
    sharp.save(tmp_path / "a.jpg", quality=15)
    blocky = np.asarray(Image.open(tmp_path / "a.jpg"))
    found = run(blocky, str(tmp_path / "general-1x.safetensors"), precision="fp32").image
    large = load("srvggnet", published).network
    with torch.inference_mode():
        wanted = torch.nn.functional.avg_pool2d(large(to_tensor([blocky]), factor=4), 4)
    assert np.abs(found.astype(int) - to_pictures(wanted)[0]).max() <= 1
    before, after = (_blocks(each) for each in (blocky, found))
    assert before > 1.3
    assert abs(after - 1) < 0.5 * (before - 1)


def _blocks(picture: np.ndarray) -> float:
    """Return how much more a picture changes from one block of JPEG to the next than within them; 1 = no more."""
    steps = np.abs(np.diff(picture.astype(float), axis=1)).mean((0, 2))
    edges = np.arange(len(steps)) % 8 == 7
    return float(steps[edges].mean() / steps[~edges].mean())
