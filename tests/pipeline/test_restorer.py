"""The story of one photo, with parts that need no weights."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from restorer import Restorer
from restorer.errors import FaceNotRestoredError, UsageError
from restorer.imaging.resize import resize
from restorer.models.base import Face
from restorer.photo import read_photo
from restorer.pipeline import prepared
from restorer.pipeline import restorer as story
from restorer.pipeline.canvas import Canvas, Work
from restorer.pipeline.stages import Stage, stages
from restorer.upscaling.lanczos import Lanczos
from tests.support.parts import Colour, Detector, Everything, Identity, face_at


def restorer(model: Any, found: list[Face], **options: Any) -> Restorer:
    options = {"mask": Everything(), "background": "lanczos", "device": "cpu", **options}
    return Restorer(model, detector=Detector(found), **options)


def smooth_photo(size: int = 420, dtype: type = np.uint8, seed: int = 1) -> np.ndarray:
    """Return a sum of sines over the full range, none shorter than 32 pixels."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] + 0.5
    planes = []
    for _ in range(3):
        plane = np.zeros((size, size))
        for _ in range(4):
            angle, wave = rng.uniform(0, np.pi), rng.uniform(32, 160)
            phase = 2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / wave
            plane += rng.uniform(0.5, 1) * np.sin(phase + rng.uniform(0, 6))
        planes.append((plane - plane.min()) / np.ptp(plane))
    photo: np.ndarray = np.rint(np.stack(planes, -1) * np.iinfo(dtype).max).astype(dtype)
    return photo


def tinted(height: int, width: int) -> np.ndarray:
    """Return a flat photo that is not black and white."""
    return np.tile(np.array([100, 90, 80], np.uint8), (height, width, 1))


def inside(face: Face, size: tuple[int, int], scale: float) -> np.ndarray:
    """Return which pixels of the result lie in a face's box."""
    mask = np.zeros(size[::-1], bool)
    x0, y0, x1, y1 = (round(value * scale) for value in face.box)
    mask[max(y0, 0) : y1, max(x0, 0) : x1] = True
    return mask


# ------------------------------------------------------------------------------------------------------ geometry


@pytest.mark.parametrize(("scale", "eye_distance", "degrees"), [(2, 30, 0), (3.5, 60, 20), (2, 90, -12)])
def test_identity_restorer_changes_nothing(scale: float, eye_distance: float, degrees: float) -> None:
    """All stages together; at more sizes and factors, for the pasting alone, in tests/faces/test_paste.py."""
    photo = smooth_photo()
    face = face_at((205.3, 214.8), eye_distance, degrees)
    result = restorer(Identity(), [face], scale=scale).restore(photo)
    plain = Restorer("none", background="lanczos", scale=scale, device="cpu").restore(photo)
    assert result.faces[0].restored
    where = inside(face, (result.image.shape[1], result.image.shape[0]), scale)
    difference = np.abs(result.image.astype(float) - plain.image.astype(float))[where]
    assert difference.mean() < 0.1


def test_the_face_is_pasted_where_it_was() -> None:
    face = face_at((200, 150), 40)
    result = restorer(Colour(), [face], scale=2).restore(tinted(300, 400))
    red = (result.image[..., 0] > 200) & (result.image[..., 1] < 40)
    rows, columns = np.nonzero(red)
    # The middle of the crop is the middle of the template's square, which the face was made around.
    assert abs(columns.mean() + 0.5 - 400) < 1
    assert abs(rows.mean() + 0.5 - 300) < 1


def test_a_larger_face_is_enlarged_by_the_background() -> None:
    sizes: list[tuple[int, int]] = []

    class Spy(Lanczos):
        def upscale(self, pixels: np.ndarray, size: tuple[int, int], on_tile: Any = None) -> np.ndarray:
            sizes.append(size)
            return super().upscale(pixels, size, on_tile)

    face = face_at((150, 150), 60)
    side = 60 / (318.9 - 192.98) * 512 * 4
    restorer(Colour(size=64), [face], scale=4, background=Spy()).restore(np.zeros((300, 300, 3), np.uint8))
    assert sizes[0] == (1200, 1200)
    assert list(sizes[1]) == pytest.approx([side, side], abs=2)
    sizes.clear()
    small = face_at((150, 150), 7)
    restorer(Colour(size=64), [small], scale=2, background=Spy()).restore(np.zeros((300, 300, 3), np.uint8))
    assert sizes == [(600, 600)]


@given(
    width=st.integers(1, 90),
    height=st.integers(1, 90),
    scale=st.floats(0.2, 5),
    x=st.floats(-40, 130),
    y=st.floats(-40, 130),
    eyes=st.floats(4, 60),
    degrees=st.floats(-180, 180),
)
@settings(max_examples=40, deadline=None)
def test_any_photo_and_any_face_give_a_photo_of_the_right_size(
    width: int, height: int, scale: float, x: float, y: float, eyes: float, degrees: float
) -> None:
    photo = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    result = restorer(Identity(64), [face_at((x, y), eyes, degrees)], scale=scale).restore(photo)
    assert result.image.shape == (max(1, round(height * scale)), max(1, round(width * scale)), 3)
    assert result.record["output_size"] == list(result.image.shape[1::-1])


# --------------------------------------------------------------------------------------------- what a photo keeps


def test_16_bit_stays_16_bit() -> None:
    photo = smooth_photo(200, np.uint16)
    result = restorer(Identity(256), [face_at((100, 100), 30)]).restore(photo)
    assert result.image.dtype == np.uint16
    assert len(np.unique(result.image)) > 1000


def test_a_dark_16_bit_photo_is_not_taken_for_8_bit() -> None:
    photo = np.full((120, 120, 3), 200, np.uint16)
    result = restorer(Identity(64), [face_at((60, 60), 20)]).restore(photo)
    assert np.abs(result.image.astype(int) - 200).max() <= 1


def test_black_and_white_stays_black_and_white() -> None:
    photo = np.repeat(smooth_photo(160)[..., :1], 3, axis=2)
    image = restorer(Colour(), [face_at((80, 80), 30)]).restore(photo).image
    assert (image == image[..., :1]).all()
    coloured = restorer(Colour(), [face_at((80, 80), 30)], match_color=False).restore(photo).image
    assert (coloured[160, 160] == (255, 0, 0)).all()


class _Brighter(Identity):
    def restore(self, crops: torch.Tensor) -> torch.Tensor:
        return super().restore(crops) * 0.8 + torch.tensor([0.1, 0.2, 0.3])[:, None, None]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("scale", [1, 2, 2.7])
def test_black_and_white_stays_so_to_the_last_bit(dtype: type, scale: float) -> None:
    """A difference of one level between the channels makes a grey file one in colour, three times as large."""
    photo = np.repeat(smooth_photo(160, dtype=dtype)[..., :1] // 2, 3, axis=2)
    faces = [face_at((50 + 31.7 * i, 61 + 23.3 * i), 23, 17 * i) for i in range(3)]
    image = restorer(_Brighter(64), faces, scale=scale, grain=True).restore(photo).image
    assert (image == image[..., :1]).all()


def test_black_and_white_with_the_tint_of_jpeg_stays_black_and_white() -> None:
    buffer = io.BytesIO()
    grey = np.repeat(smooth_photo(160)[..., :1], 3, axis=2)
    tinted_grey = np.clip(grey.astype(int) + np.random.default_rng(0).integers(-2, 3, grey.shape), 0, 255)
    Image.fromarray(tinted_grey.astype(np.uint8)).save(buffer, "JPEG", quality=60)
    image = restorer(Colour(), [face_at((80, 80), 30)]).restore(buffer.getvalue()).image
    assert np.ptp(image[130:190, 130:190].astype(int), axis=2).max() <= 8


def test_alpha_is_enlarged_with_the_photo(tmp_path: Path) -> None:
    pixels = smooth_photo(100)
    alpha = np.zeros((100, 100), np.uint8)
    alpha[20:60, 30:80] = 255
    Image.fromarray(np.dstack([pixels, alpha])).save(tmp_path / "a.png")
    result = restorer(Identity(64), [face_at((50, 50), 15)], scale=2).restore(tmp_path / "a.png")
    assert result.alpha is not None
    assert (result.alpha == resize(alpha, (200, 200))).all()
    result.save(tmp_path / "b.png")
    written = read_photo(tmp_path / "b.png")
    assert written.alpha is not None
    assert (written.alpha == result.alpha).all()
    assert (written.pixels == result.image).all()


def test_the_same_run_gives_the_same_bytes_whatever_the_batch() -> None:
    faces = [face_at((60, 60), 20), face_at((150, 60), 24), face_at((100, 150), 18)]
    photo = smooth_photo(220)
    streams = []
    for size in (1, 2, 8):
        model = Identity(128)
        result = restorer(model, faces, batch_size=size).restore(photo)
        buffer = io.BytesIO()
        result.save(buffer, format="PNG")
        streams.append(buffer.getvalue())
        assert max(model.batches) == min(size, 3)
    assert len(set(streams)) == 1


def test_a_result_is_saved_in_the_format_of_its_suffix(tmp_path: Path) -> None:
    result = restorer(Identity(64), [], scale=1).restore(smooth_photo(40))
    for name, format in (("a.jpg", "JPEG"), ("b.webp", "WEBP"), ("c.png", "PNG"), ("d", "PNG")):
        result.save(tmp_path / name)
        assert Image.open(tmp_path / name).format == format
    result.save(tmp_path / "e.jpg", format="PNG")
    assert Image.open(tmp_path / "e.jpg").format == "PNG"
    with pytest.raises(UsageError):
        result.save(tmp_path / "f.txt")


# ------------------------------------------------------------------------------------------------- which, how much


def test_faces_left_alone_are_listed_and_are_no_failure() -> None:
    faces = [face_at((60, 100), 14), face_at((150, 100), 40), face_at((330, 100), 30)]
    photo = smooth_photo(400)
    plain = Restorer("none", background="lanczos", device="cpu").restore(photo)
    result = restorer(Colour(), faces, faces="largest").restore(photo)
    assert [face.restored for face in result.faces] == [False, True, False]
    assert all(face.reason for face in result.faces if not face.restored)
    assert result.record["status"] == "ok"
    x, y = 2 * 330, 2 * 100
    assert (result.image[y, x] == plain.image[y, x]).all()


def test_strength_blends() -> None:
    photo = tinted(200, 200)
    values = [
        int(
            restorer(Colour(), [face_at((100, 100), 40)], strength=s, match_color=False)
            .restore(photo)
            .image[200, 200, 0]
        )
        for s in (0, 0.5, 1)
    ]
    assert values == [100, pytest.approx(178, abs=1), 255]


def test_colours_are_matched_unless_asked_otherwise() -> None:
    photo = smooth_photo(200)

    class Warmer(Identity):
        def restore(self, crops: torch.Tensor) -> torch.Tensor:
            return crops + torch.tensor([0.2, 0.0, -0.2]).view(1, 3, 1, 1)

    plain = Restorer("none", background="lanczos", device="cpu").restore(photo).image.astype(float)
    middle = (slice(180, 220), slice(180, 220))
    changes = [
        restorer(Warmer(256), [face_at((100, 100), 30)], match_color=match).restore(photo).image[middle] - plain[middle]
        for match in (True, False)
    ]
    assert abs(changes[0][..., 0].mean()) < 6
    assert changes[1][..., 0].mean() > 15


def test_grain_is_added_only_where_asked_for() -> None:
    photo = np.clip(smooth_photo(200) * 0.6 + np.random.default_rng(0).normal(40, 8, (200, 200, 1)), 0, 255)
    photo = photo.astype(np.uint8)

    class Plastic(Identity):
        def restore(self, crops: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.avg_pool2d(crops, 9, 1, 4)

    spread = [
        np.diff(
            restorer(Plastic(256), [face_at((100, 100), 40)], grain=grain).restore(photo).image[150:250, 150:250],
            axis=0,
        )
        .astype(np.int8)
        .std()
        for grain in (False, True)
    ]
    assert spread[1] > 1.5 * spread[0]


def test_no_face_is_a_success_with_a_warning() -> None:
    result = restorer(Identity(), []).restore(smooth_photo(64))
    assert result.record["status"] == "ok"
    assert any("No face" in warning for warning in result.record["warnings"])


@pytest.mark.parametrize("shape", [(64, 64), (64, 48), (40, 100)])
def test_an_aligned_crop_is_restored_whole(shape: tuple[int, int]) -> None:
    photo = tinted(*shape)
    result = restorer(Colour(), [], aligned=True, scale=2, match_color=False).restore(photo)
    assert result.image.shape == (2 * shape[0], 2 * shape[1], 3)
    assert (result.image == (255, 0, 0)).all()
    same = restorer(Identity(256), [], aligned=True, scale=1).restore(smooth_photo(256)[: shape[0] * 2, : shape[1] * 2])
    assert same.faces[0].restored


# -------------------------------------------------------------------------------------------------------- failing


class _Broken(Identity):
    def restore(self, crops: torch.Tensor) -> torch.Tensor:
        return crops * torch.nan


class _TooLarge(Identity):
    def restore(self, crops: torch.Tensor) -> torch.Tensor:
        raise torch.OutOfMemoryError("out of memory (in a test)")


@pytest.mark.parametrize(("model", "word"), [(_Broken(64), "NaN"), (_TooLarge(64), "memory")])
def test_a_face_that_fails_makes_the_photo_fail(model: Identity, word: str, tmp_path: Path) -> None:
    """Peers paste the unrestored crop and report success."""
    run = restorer(model, [face_at((60, 60), 20), face_at((140, 60), 20)], faces="1")
    with pytest.raises(FaceNotRestoredError, match=word) as caught:
        run.restore(smooth_photo(200))
    assert caught.value.faces == (1,)
    Image.fromarray(smooth_photo(200)).save(tmp_path / "in.png")
    record = run.restore_file(tmp_path / "in.png", tmp_path / "out.png", "PNG")
    assert record.status == "failed"
    assert record.error is not None
    assert record.error["kind"] == "FaceNotRestored"
    assert not (tmp_path / "out.png").exists()


def test_a_find_that_cannot_be_aligned_is_left_as_it_is_and_named() -> None:
    """Such a detection is hardly a face; the others of the photo are not to suffer for it."""
    flat = Face((10, 10, 50, 50), np.full((5, 2), 30, np.float32), 0.99)
    result = restorer(Identity(64), [flat, face_at((140, 60), 20)]).restore(smooth_photo(200))
    assert [face.restored for face in result.faces] == [False, True]
    assert "alignment" in str(result.faces[0].reason)
    assert any("Face 1" in line and "alignment" in line for line in result.record["warnings"])


def test_a_face_asked_for_by_its_number_that_cannot_be_aligned_makes_the_photo_fail() -> None:
    flat = Face((10, 10, 50, 50), np.full((5, 2), 30, np.float32), 0.99)
    with pytest.raises(FaceNotRestoredError, match="alignment"):
        restorer(Identity(64), [flat], faces="1").restore(smooth_photo(100))


@pytest.mark.parametrize(
    "options",
    [
        {"scale": 0}, {"scale": float("nan")}, {"scale": -2}, {"strength": 1.5}, {"quality": 0}, {"faces": "second"},
        {"faces": "0"}, {"min_score": 2}, {"tile": 1}, {"format": "gif"}, {"device": "tpu"}, {"precision": "int8"},
        {"max_faces": 0}, {"batch_size": 0}, {"seed": -1},
    ],
)  # fmt: skip
def test_options_out_of_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Restorer("none", **{"background": "lanczos", **options}).restore(smooth_photo(32))


# ------------------------------------------------------------------------------------------------------ the note


def test_the_note_tells_the_same_work_from_another(tmp_path: Path) -> None:
    photo = smooth_photo(64)
    Image.fromarray(photo).save(tmp_path / "in.png")
    first = Restorer("none", background="lanczos", scale=2)
    notes = [first.note("a" * 64), Restorer("none", background="lanczos", scale=2, tile=64).note("a" * 64)]
    assert notes[0].fingerprint == notes[1].fingerprint
    others = [
        first.note("b" * 64),
        Restorer("none", background="lanczos", scale=3).note("a" * 64),
        Restorer("none", background="realesr-general", scale=2).note("a" * 64),
        Restorer("gfpgan", background="lanczos", scale=2).note("a" * 64),
        Restorer("gfpgan", background="lanczos", scale=2, strength=0.5).note("a" * 64),
    ]
    assert len({note.fingerprint for note in [notes[0], *others]}) == len(others) + 1


# ---------------------------------------------------------------------------------- the same stages for aligned crops


class _Marking(Identity):
    """Remembers the sizes of its batches."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.batches: list[int] = []

    def restore(self, crops: torch.Tensor) -> torch.Tensor:
        self.batches.append(len(crops))
        return super().restore(crops)


def test_an_aligned_crop_keeps_the_photos_colours_unless_told_otherwise() -> None:
    photo = tinted(64, 64)
    kept = restorer(Colour(), [], aligned=True, scale=1).restore(photo).image.astype(int)
    taken = restorer(Colour(), [], aligned=True, scale=1, match_color=False).restore(photo).image.astype(int)
    distance = [np.abs(image.mean((0, 1)) - photo.mean((0, 1))).max() for image in (kept, taken)]
    assert distance[0] < distance[1] - 30  # a cast is taken back by 0.15 of the range at most


def test_an_aligned_crop_gets_grain() -> None:
    rng = np.random.default_rng(0)
    photo = np.clip(128 + 12 * rng.standard_normal((128, 128, 1)), 0, 255).astype(np.uint8).repeat(3, 2)

    class Smooth(Identity):
        def restore(self, crops: torch.Tensor) -> torch.Tensor:
            return crops.mean((2, 3), keepdim=True).expand(-1, -1, 128, 128).clone()

    plain, grained = (
        restorer(Smooth(128), [], aligned=True, scale=1, grain=grain).restore(photo).image.astype(float)
        for grain in (False, True)
    )
    assert plain.std() < 1
    assert 8 < grained.std() < 16


def test_an_aligned_crop_obeys_strength_and_faces() -> None:
    photo = tinted(64, 64)
    half = restorer(Colour(), [], aligned=True, scale=1, match_color=False, strength=0.5).restore(photo)
    assert np.abs(half.image.astype(int) - (photo.astype(int) + np.array([255, 0, 0])) / 2).max() <= 1
    other = restorer(Colour(), [], aligned=True, scale=1, faces="2").restore(photo)
    assert np.array_equal(other.image, photo)
    assert any("asks for face 2" in line for line in other.record["warnings"])
    assert other.faces[0].reason == "not chosen by faces=2"


def test_known_faces_are_not_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_pixels: np.ndarray) -> list[Any]:
        raise AssertionError("the faces are known")

    run = restorer(Identity(64), [])
    monkeypatch.setattr(run.components.detector(), "detect", refuse)
    result = run.restore(smooth_photo(200), faces=[face_at((60, 60), 20), face_at((140, 60), 20)])
    assert [face.restored for face in result.faces] == [True, True]
    assert result.record["detector"] is None
    assert restorer(Identity(64), []).restore(smooth_photo(200), faces=[]).record["warnings"] == []


def test_known_faces_are_part_of_the_fingerprint() -> None:
    """A run that looks for faces by itself does not take such a result for its own."""
    run, photo = restorer(Identity(64), [face_at((60, 60), 20)]), smooth_photo(200)
    given: list[list[Face] | None] = [None, [], [face_at((60, 60), 20)], [face_at((61, 60), 20)]]
    found = [run.restore(photo, faces=faces).note.fingerprint for faces in given]
    assert len(set(found)) == len(given)
    assert found[0] == run.note(run.restore(photo).photo.sha256).fingerprint


def test_other_options_are_checked_told_and_not_kept_without_end() -> None:
    run, photo = Restorer("none", background="lanczos", device="cpu"), smooth_photo(20)
    with pytest.raises(UsageError, match="format xyz is not known"):
        run.restore(photo, options=replace(run.options, format="xyz"))
    begun = run.new_record("a.png")
    assert run.restore(photo, options=replace(run.options, scale=3.0), record=begun).record["scale"] == 3.0
    first = run.components_for(replace(run.options, scale=3.0))
    for number in range(prepared.OTHERS):
        assert run.components_for(replace(run.options, scale=3.0)) is first
        run.components_for(replace(run.options, scale=4.0 + number))
    assert run.components_for(replace(run.options, scale=3.0)) is not first


def test_other_options_for_one_photo_load_nothing_again() -> None:
    model = _Marking(64)
    run = restorer(model, [face_at((60, 60), 20)])
    larger = run.restore(smooth_photo(100), options=replace(run.options, scale=3.0))
    assert larger.image.shape == (300, 300, 3)
    assert larger.record["scale"] == 3.0
    assert run.components_for(replace(run.options, scale=3.0)).face_model() is run.components.face_model() is model
    assert run.restore(smooth_photo(100)).image.shape == (200, 200, 3)


def test_a_result_tells_which_pixels_were_invented() -> None:
    result = restorer(Colour(), [face_at((60, 60), 20)], match_color=False).restore(smooth_photo(200))
    assert result.changed is not None
    assert result.changed.shape == result.image.shape[:2]
    plain = restorer(Colour(), [], match_color=False).restore(smooth_photo(200))
    assert plain.changed is None
    differs = (result.image != plain.image).any(2)
    assert differs.any()
    assert not (differs & (result.changed == 0)).any()


def test_a_record_repeats_the_notes_of_its_own_photo_only() -> None:
    """Networks are shared and keep their notes; the photos after one that did not fit are not said to lack memory."""
    run = Restorer("none", background="tiny-upscaler", scale=2, device="cpu")
    upscaler, _ = run.components.background((40, 40))

    class Full:
        def __init__(self) -> None:
            self.full = [False, True, False, True]
            self.work = upscaler.upscale

        def __call__(self, pixels: np.ndarray, size: tuple[int, int], on_tile: Any = None) -> np.ndarray:
            upscaler.notes["it did not fit"] += self.full.pop(0)  # type: ignore[attr-defined]
            return self.work(pixels, size, on_tile)

    upscaler.upscale = Full()  # type: ignore[method-assign]
    records = [run.restore(smooth_photo(40)).record for _ in range(4)]
    assert ["it did not fit" in record["warnings"] for record in records] == [False, True, False, True]


class _Colouring(Stage):
    """Makes the left half of a black-and-white photo reddish and the right half bluish, before anything else."""

    name = words = "colouring"
    order, weight, steps = 100, 0.1, ()

    def is_wanted(self, work: Work) -> bool:
        return True

    def run(self, canvas: Canvas, work: Work) -> Canvas:
        left = (np.arange(canvas.size[0]) < canvas.size[0] // 2)[:, None]
        return Canvas((canvas.pixels * np.where(left, [1, 0.8, 0.6], [0.6, 0.8, 1])).astype(np.uint8), canvas.alpha)


def test_faces_keep_the_colours_that_a_stage_before_gave_the_photo(monkeypatch: pytest.MonkeyPatch) -> None:
    grey = np.repeat(smooth_photo(200)[..., :1], 3, axis=2)
    run = restorer(Identity(128), [face_at((100, 100), 40)], scale=1)
    assert np.ptp(run.restore(grey).image, axis=2).max() == 0
    monkeypatch.setattr(story, "stages", lambda: (_Colouring(), *stages()))
    left, right = run.restore(grey).image[80:120, 80:120].reshape(40, 2, 20, 3).mean(axis=(0, 2))
    assert left[0] > left[2] + 20
    assert right[2] > right[0] + 20


def test_a_result_is_saved_as_its_own_options_say(tmp_path: Path) -> None:
    run = restorer(Identity(), [], quality=30)
    run.restore(smooth_photo(200)).save(tmp_path / "low.jpg")
    run.restore(smooth_photo(200), options=replace(run.options, quality=95)).save(tmp_path / "high.jpg")
    run.restore(smooth_photo(200)).save(tmp_path / "asked.jpg", quality=95)
    sizes = {name: (tmp_path / f"{name}.jpg").stat().st_size for name in ("low", "high", "asked")}
    assert sizes["low"] < 0.8 * sizes["high"]
    assert abs(sizes["asked"] - sizes["high"]) < 200  # the notes differ
