"""The likeness gate: a restored face that is no longer the one of the photo is left as it was, and is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from restorer import Restorer, weights
from restorer.errors import HashMismatchError, UsageError
from restorer.evaluation.ageing import photograph
from restorer.faces import likeness
from restorer.models.base import CropSpec, Face
from restorer.models.templates import FACEXLIB
from restorer.networks.mobilefacenet import TEMPLATE, MobileFaceNet
from tests.support.in_process import restore
from tests.support.parts import Colour, Detector, Everything, Identity, face_at
from tests.support.standins import table

Capture = pytest.CaptureFixture[str]
POINTS = np.array(FACEXLIB.points)


class Stranger(Identity):
    """Puts another face into the places that it is told, counted from 0, and gives the others back as they came."""

    name = "stranger"

    def __init__(self, other: torch.Tensor | None = None, places: tuple[int, ...] = (0,), size: int = 128) -> None:
        super().__init__(size)
        self.other, self.places, self.seen = other, places, 0

    def restore(self, crops: torch.Tensor) -> torch.Tensor:
        found = []
        for crop in super().restore(crops):
            replaced = crop.flip(1).roll(17, 2).neg() if self.other is None else self.other
            found.append(replaced if self.seen in self.places else crop)
            self.seen += 1
        return torch.stack(found)


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A MobileFaceNet of random weights, in the form of the published one and in the place of its table."""
    torch.manual_seed(0)
    path = tmp_path / "stand-in.ckpt"
    torch.save({"epoch": 1, "net_state_dict": MobileFaceNet().state_dict()}, path)
    _use(path, tmp_path, monkeypatch)
    return path


def _use(path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a file be the one of the table."""
    own = folder / "own.toml"
    own.write_text(table("mobilefacenet", "mobilefacenet", path))
    monkeypatch.setenv("RESTORER_WEIGHTS", str(own))


@pytest.fixture
def published(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The published MobileFaceNet in the place of its table."""
    path = shared / "weights/mobilefacenet_068.ckpt"
    _use(path, tmp_path, monkeypatch)
    return path


def scene() -> tuple[np.ndarray, list[Face]]:
    """Return a picture with texture and two places in it that are taken for faces."""
    rng = np.random.default_rng(3)
    noise = Image.fromarray(rng.integers(0, 256, (24, 40, 3), np.uint8))
    return np.asarray(noise.resize((400, 240), Image.Resampling.BICUBIC)), [
        face_at((110, 120), 40),
        face_at((290, 120), 40),
    ]


def restorer(model: Any, faces: list[Face], **options: Any) -> Restorer:
    given = {
        "always": True,
        "mask": Everything(),
        "background": "lanczos",
        "device": "cpu",
        "match_color": False,
        **options,
    }
    return Restorer(model, detector=Detector(faces), **given)


def plain(photo: np.ndarray) -> np.ndarray:
    """Return the photo enlarged twice, with no face restored."""
    return Restorer("none", background="lanczos", device="cpu").restore(photo).image


# ------------------------------------------------------------------------------------------------------ the gate


def test_another_face_is_left_as_it_was_and_the_same_face_is_not(stand_in: Path) -> None:
    photo, faces = scene()
    result = restorer(Stranger(places=(0,)), faces, min_likeness=0.999).restore(photo)
    first, second = result.faces
    assert first.likeness is not None
    assert first.likeness < 0.99
    assert not first.restored
    assert first.reason == likeness.reason(first.likeness, 0.999)
    assert second.restored
    assert second.reason is None
    assert second.likeness == pytest.approx(1, abs=1e-4)
    entries = result.record["faces"]
    assert [entry["restored"] for entry in entries] == [False, True]
    assert [entry["likeness"] for entry in entries] == [pytest.approx(face.likeness, abs=1e-4) for face in result.faces]
    assert result.record["status"] == "ok"


def test_where_a_face_was_left_the_photo_is_the_plain_background(stand_in: Path) -> None:
    photo, faces = scene()
    background = plain(photo)
    gated = restorer(Colour(), faces, min_likeness=0.999).restore(photo).image
    assert np.array_equal(gated, background)
    ungated = restorer(Colour(), faces).restore(photo).image
    assert not np.array_equal(ungated, background)
    one = restorer(Stranger(places=(0,)), faces, min_likeness=0.999).restore(photo).image
    assert np.array_equal(one[:, :400], background[:, :400])


def test_a_gate_of_0_keeps_every_face_and_measures_it(stand_in: Path) -> None:
    photo, faces = scene()
    gated = restorer(Colour(), faces, min_likeness=0.0).restore(photo)
    assert all(face.restored and face.likeness is not None for face in gated.faces)
    ungated = restorer(Colour(), faces).restore(photo)
    assert np.array_equal(gated.image, ungated.image)
    assert [face.likeness for face in ungated.faces] == [None, None]


@pytest.mark.parametrize("value", ["1.01", "-0.1", "nan"])
def test_a_gate_outside_its_range_is_wrong_usage(value: str, capsys: Capture) -> None:
    done = restore(capsys, "a.jpg", "--min-likeness", value, code=2)
    assert f"--min-likeness {value}" in done.err
    assert "0 to 1" in done.err


def test_each_face_is_compared_once_and_in_fp32(stand_in: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dtypes = []
    forward = MobileFaceNet.forward

    def counted(network: MobileFaceNet, faces: torch.Tensor) -> torch.Tensor:
        found = forward(network, faces)
        dtypes.append((len(faces), faces.dtype, found.dtype, faces.device.type))
        return found

    monkeypatch.setattr(MobileFaceNet, "forward", counted)
    photo, faces = scene()
    restorer(Identity(128), faces, min_likeness=0.5, precision="bf16").restore(photo)
    expected = (2, torch.float32, torch.float32, "cpu")  # the face and the restored one; once more as mirror images
    assert dtypes == [expected] * 4


def test_a_crop_without_landmarks_is_compared_by_the_template(stand_in: Path, tmp_path: Path) -> None:
    photo = scene()[0][:, :240]
    gated = Restorer(Colour(), aligned=True, background="lanczos", min_likeness=0.999, match_color=False).restore(photo)
    assert not gated.faces[0].restored
    assert "left as it was: likeness" in str(gated.faces[0].reason)
    assert np.array_equal(gated.image, plain(photo))
    assert Restorer(Identity(240), aligned=True, min_likeness=0.999).restore(photo).faces[0].restored


# --------------------------------------------------------------------------------------------- what cannot be compared


def test_missing_weights_are_an_error_and_never_a_silent_skip(capsys: Capture, tmp_path: Path) -> None:
    Image.fromarray(np.full((40, 40, 3), 128, np.uint8)).save(tmp_path / "a.png")  # not even where no face is found
    arguments = (str(tmp_path / "a.png"), "--model", "tiny", "--min-likeness", "0.5", "--background", "lanczos")
    offline = restore(capsys, *arguments, "--offline", code=3)
    assert "mobilefacenet" in offline.err
    assert "--min-likeness" in offline.err
    online = restore(capsys, *arguments, code=3)
    assert "no licence" in online.err
    assert "--accept-license" in online.err
    assert sorted(tmp_path.iterdir()) == [tmp_path / "a.png"]


def test_another_file_than_the_table_names_is_refused(stand_in: Path) -> None:
    content = bytearray(stand_in.read_bytes())
    content[len(content) // 2] ^= 1
    stand_in.write_bytes(content)
    photo, faces = scene()
    with pytest.raises(HashMismatchError, match="mobilefacenet"):
        restorer(Identity(128), faces, min_likeness=0.5).restore(photo)


def test_what_restores_no_face_of_a_person_cannot_be_compared(tmp_path: Path) -> None:
    for options in ({"model": "none"}, {"model": "glean-cat8", "aligned": True}):
        with pytest.raises(UsageError, match=r"^min_likeness"):
            Restorer(**options, min_likeness=0.5)
    cats = Identity(64)
    cats.crop = CropSpec(64, 64, 64, None)
    with pytest.raises(UsageError, match=r"^min_likeness"):
        Restorer(cats, aligned=True, min_likeness=0.5)


# ------------------------------------------------------------------------------------------ what a second run knows


def test_the_gate_and_its_weights_are_part_of_the_fingerprint(stand_in: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fingerprint(**options: Any) -> str:
        return Restorer("tiny", **options).note("0" * 64).fingerprint

    found = [fingerprint(), fingerprint(min_likeness=0.0), fingerprint(min_likeness=0.4)]
    without = fingerprint()
    monkeypatch.delenv("RESTORER_WEIGHTS")
    found.append(fingerprint(min_likeness=0.4))
    assert len(set(found)) == 4
    assert fingerprint() == without


def test_a_second_run_with_another_gate_is_other_work(stand_in: Path, tmp_path: Path, capsys: Capture) -> None:
    Image.fromarray(scene()[0]).save(tmp_path / "a.png")
    arguments = (str(tmp_path / "a.png"), "--model", "tiny", "--background", "lanczos", "--offline", "--min-likeness")
    restore(capsys, *arguments, "0.4")
    assert "done already" in restore(capsys, *arguments, "0.4").out
    said = restore(capsys, *arguments, "0.5").err
    assert "1 result is there, made with --min-likeness 0.4; this run asks for --min-likeness 0.5." in said


# ----------------------------------------------------------------------------------------------------- what is seen


@pytest.fixture
def in_photo(monkeypatch: pytest.MonkeyPatch, stand_in: Path, tmp_path: Path) -> Path:
    """A photo in which the command finds two faces, the first of which it makes another one of."""
    from restorer.pipeline.components import Components

    photo, faces = scene()
    Image.fromarray(photo).save(tmp_path / "photo.png")
    made = Stranger(places=(0, 2))  # the first of each run
    monkeypatch.setattr(Components, "detector", lambda _self: Detector(faces))
    monkeypatch.setattr(Components, "face_model", lambda _self: made)
    return tmp_path / "photo.png"


def test_the_command_names_the_face_in_record_verbose_lines_and_report(in_photo: Path, capsys: Capture) -> None:
    out = in_photo.parent / "out"
    common = ("--model", "tiny", "--background", "lanczos", "--offline", "--no-match-color", "--min-likeness", "0.9999")
    done = restore(capsys, str(in_photo), *common, "-o", str(out / "a.png"), "--json", "--report")
    first, second = json.loads(done.out)["faces"]
    assert first["reason"].startswith("left as it was: likeness 0.")
    assert first["reason"].endswith(" below 0.9999")
    assert second["restored"]
    page = (out / "report.html").read_text(encoding="utf-8")
    assert first["reason"] in page
    assert "likeness 1.00" in page
    done = restore(capsys, str(in_photo), *common, "-o", str(out / "b.png"), "-v")
    assert f"score 0.99: {first['reason']}" in done.err
    assert "score 0.99: restored, likeness 1.00" in done.err


def test_a_gate_out_of_restore_toml(in_photo: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    (in_photo.parent / "restore.toml").write_text("min-likeness = 0.9999\n")
    monkeypatch.chdir(in_photo.parent)
    done = restore(capsys, "photo.png", "--model", "tiny", "--background", "lanczos", "--offline", "--json")
    assert [face["restored"] for face in json.loads(done.out)["faces"]] == [False, True]


@given(st.floats(0, 1), st.floats(0, 1))
def test_the_two_figures_of_a_reason_differ(one: float, other: float) -> None:
    low, high = sorted((one, other))
    words = likeness.reason(low, high).split()
    if high - low > 1e-8:
        assert float(words[-3]) < float(words[-1])


# ----------------------------------------------------------------------------------------- what the network looks at


@pytest.mark.parametrize("size", [64, 256, 512])
def test_eyes_nose_and_mouth_come_where_the_network_wants_them(size: int) -> None:
    crop = np.zeros((size, size, 3), np.float32)
    y, x = (np.mgrid[:size, :size] + 0.5) / size
    for px, py in POINTS:
        crop += np.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * 0.02**2))[..., None].astype(np.float32)
    seen = likeness._crop_112x96(np.clip(crop, 0, 1), POINTS)[0, 0].numpy() + 1
    assert seen.shape == (112, 96)
    rows, columns = np.mgrid[:112, :96] + 0.5
    for tx, ty in TEMPLATE:
        near = seen * ((columns - tx) ** 2 + (rows - ty) ** 2 < 8**2)
        middle = (near * columns).sum() / near.sum(), (near * rows).sum() / near.sum()
        assert middle == pytest.approx((tx, ty), abs=2)


def test_grain_finer_than_the_network_sees_is_averaged_away() -> None:
    y, x = np.mgrid[:512, :512]
    grain = np.repeat(((x + y) % 2).astype(np.float32)[..., None], 3, axis=2)
    assert float(likeness._crop_112x96(grain, POINTS).abs().max()) < 0.1


# --------------------------------------------------------------------------------------------- the published weights


@pytest.fixture
def people(shared: Path) -> Callable[[int], np.ndarray]:
    """Portraits of different people."""
    files = sorted((shared / "data/congress192").glob("*.jpg"))
    return lambda index: np.asarray(Image.open(files[index]).convert("RGB"))


def _crop(photo: np.ndarray, size: int) -> tuple[np.ndarray, Face]:
    """Return the aligned crop of the face in a portrait, and the face."""
    from restorer.faces import align
    from restorer.options import Options
    from restorer.pipeline.components import Components

    options = Options(model="tiny", detector="tiny-detector", device="cpu", offline=True)
    (face,) = Components(options).detector().detect(photo)
    matrix = align.estimate(face.landmarks, FACEXLIB, size)
    assert matrix is not None
    return align.extract(photo, matrix, size), face


@pytest.mark.shared
def test_the_published_network_knows_people(published: Path, people: Callable[[int], np.ndarray]) -> None:
    one, other = people(0), people(1)
    crop, _ = _crop(other, 256)
    _, face = _crop(one, 256)
    stranger = torch.from_numpy(crop).permute(2, 0, 1) * 2 - 1
    gone = restorer(Stranger(stranger, size=256), [face], min_likeness=0.5).restore(one)
    assert not gone.faces[0].restored
    assert np.array_equal(gone.image, plain(one))
    kept = restorer(Identity(256), [face], min_likeness=0.5).restore(one)
    assert kept.faces[0].restored
    assert float(kept.faces[0].likeness or 0) > 0.98


@pytest.mark.shared
def test_the_built_in_model_keeps_the_likeness(published: Path) -> None:
    result = Restorer("tiny", background="lanczos", device="cpu", offline=True, min_likeness=0.5).restore(photograph())
    assert result.faces
    assert all(face.restored and (face.likeness or 0) > 0.8 for face in result.faces)


@pytest.mark.shared
def test_the_shipped_table_is_the_published_file(shared: Path) -> None:
    shipped = weights.tables()["mobilefacenet"]
    path = shared / "weights/mobilefacenet_068.ckpt"
    assert weights.fingerprint(shipped, path) == shipped.sha256
    assert path.stat().st_size == shipped.size
    assert shipped.acknowledge
