"""What happens to the print as a whole: `--repair` and `--tone`, through the command and through `Restorer`."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from restorer import Restorer
from restorer.bench.tone import faded
from restorer.errors import UsageError
from restorer.evaluation.ageing import age, photograph, wear
from restorer.imaging.fading import Levels, apply
from restorer.imaging.resize import resize
from restorer.models.damageunet import DamageUNetArchitecture
from restorer.models.finders import SecondLook
from restorer.photo import read_photo
from restorer.training.wear import screens
from tests.support.in_process import restore

Capture = pytest.CaptureFixture[str]
PLAIN = ("--model", "none", "--background", "lanczos", "--scale", "1", "--offline")


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    return np.ascontiguousarray(resize(photograph(), (256, 256)))


def test_the_command_says_what_it_measured_and_did(
    photo: np.ndarray, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The numbers of the record, applied by whoever reads it, give the result; a good photo stays as it is."""
    monkeypatch.chdir(tmp_path)
    old = faded(photo, "yellowed")
    Image.fromarray(old).save("old.png")
    Image.fromarray(photo).save("good.png")
    lines = restore(capsys, "old.png", "good.png", *PLAIN, "--tone", "auto", "--json").out.splitlines()
    first, second = (json.loads(line) for line in lines)
    told = first["tone"]
    assert told["done"] is True
    levels = Levels(*(tuple(told["levels"][name]) for name in ("black", "white", "gamma")))
    assert np.array_equal(read_photo(Path("old_restored.png")).pixels, apply(old, levels))
    assert (second["tone"]["done"], second["reason"]) == (False, "nothing to do")
    assert "levels" not in second["tone"]
    assert np.array_equal(read_photo(Path("good_restored.png")).pixels, photo)
    Image.fromarray(old).save("other.png")
    assert json.loads(restore(capsys, "other.png", *PLAIN, "--json").out)["tone"] is None
    assert "--tone perhaps" in restore(capsys, "old.png", "--tone", "perhaps", code=2).err


def test_depth_alpha_and_grey_keep_their_promises(photo: np.ndarray) -> None:
    restorer = Restorer("none", background="lanczos", scale=1, tone="auto")
    deep = faded(photo, "dull").astype(np.uint16) * 257
    alpha = np.zeros((256, 256, 1), np.uint16)
    alpha[20:] = 65535
    result = restorer.restore(np.concatenate([deep, alpha], axis=2))
    assert result.record.tone is not None
    assert result.record.tone["done"]
    assert result.image.dtype == np.uint16
    assert result.alpha is not None
    assert np.array_equal(result.alpha, alpha[..., 0])
    grey = np.repeat(faded(photo, "dull")[..., :1], 3, axis=2)
    image = restorer.restore(grey).image
    assert np.ptp(image) > 1.2 * np.ptp(grey)
    assert np.array_equal(image[..., 0], image[..., 1])


def test_a_mask_is_filled_and_saved_and_nothing_else_changes(
    photo: np.ndarray, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    mask = np.zeros(photo.shape[:2], np.uint8)
    mask[:, 60:62] = 255
    worn = np.where(mask[..., None] > 0, 255, photo).astype(np.uint8)
    Image.fromarray(worn).save("old.png")
    Image.fromarray(mask).save("drawn.png")
    Image.fromarray(mask[:100]).save("small.png")
    look = restore(capsys, "old.png", *PLAIN, "--mask", "drawn.png", "--save-mask", "--dry-run", "--json")
    told = json.loads(look.out)["repair"]
    assert (told["finder"], told["mask"], told["done"]) == ("mask", "old_restored_mask.png", False)
    assert told["damaged"] == pytest.approx(2 / 256, abs=1e-5)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "drawn.png", "old.png", "old_restored_mask.png", "small.png",
    ]  # fmt: skip
    assert np.array_equal(read_photo(Path("old_restored_mask.png")).pixels[..., 0], mask)
    done = restore(capsys, "old.png", *PLAIN, "--mask", "drawn.png", "--save-mask", "--overwrite", "--json")
    assert json.loads(done.out)["repair"]["done"] is True
    after = read_photo(Path("old_restored.png")).pixels
    assert np.array_equal(after[mask == 0], photo[mask == 0])
    assert np.abs(after[mask > 0].astype(int) - photo[mask > 0]).mean() < 20
    wrong = restore(capsys, "old.png", *PLAIN, "--mask", "small.png", "--overwrite", code=2).err
    assert "small.png is 256 x 100 pixels, the photo 256 x 256" in wrong
    # Neither the mask nor the result is a photo of the next run over the folder.
    Path("drawn.png").unlink()
    Path("small.png").unlink()
    lines = restore(capsys, ".", *PLAIN, "--repair", "none", "--overwrite", "--json", "-o", "out").out.splitlines()
    assert [json.loads(line)["input"] for line in lines] == ["old.png"]


def test_a_screen_goes_before_anything_else_sees_the_photo() -> None:
    photo = photograph()
    worn = np.clip(np.rint(screens.silk(photo.astype(np.float32), 5.5, 20, 12)), 0, 255).astype(np.uint8)
    restorer = Restorer("none", background="lanczos", scale=1, repair="auto")
    result = restorer.restore(worn)
    assert result.record.repair is not None
    assert any(abs(wave["period"] - 5.5) < 0.2 for wave in result.record.repair["screen"])
    assert np.abs(result.image.astype(int) - photo).mean() < 0.5 * np.abs(worn.astype(int) - photo).mean()
    clean = restorer.restore(photo)
    assert clean.record.repair is not None
    assert clean.record.repair["done"] is False
    assert np.array_equal(clean.image, photo)


def test_filled_places_count_as_invented_and_another_mask_is_another_result(photo: np.ndarray, tmp_path: Path) -> None:
    notes = []
    for column in (20, 30):
        mask = np.zeros(photo.shape[:2], np.uint8)
        mask[:, column] = 255
        Image.fromarray(mask).save(tmp_path / "mask.png")
        restorer = Restorer("none", background="lanczos", scale=2, damage=str(tmp_path / "mask.png"))
        result = restorer.restore(photo)
        assert result.changed is not None
        assert set(np.nonzero(result.changed)[1]) == {2 * column, 2 * column + 1}
        notes.append(restorer.note("0" * 64).fingerprint)
    assert notes[0] != notes[1]
    with pytest.raises(UsageError, match="mask"):
        Restorer("none", damage=str(tmp_path / "none.png")).note("0" * 64)


@pytest.mark.parametrize("deep", [False, True])
def test_auto_mends_a_scratched_print_and_leaves_a_clean_one_alone(deep: bool) -> None:
    clean = age(photograph())
    worn = wear(clean)
    top = 257 if deep else 1
    given = worn.astype(np.uint16) * 257 if deep else worn
    result = Restorer("none", background="lanczos", scale=1, repair="auto", save_mask=True).restore(given)
    told = result.record.repair
    assert told is not None
    assert (told["finder"], told["filler"], told["done"], told["floor"]) == ("tiny-damage", "splines", True, 0.003)
    assert (
        told["damaged"] > told["confirmed"] > 4 * told["floor"]
    )  # of what is thin half does not show at half the size
    assert result.damage is not None
    assert result.image.dtype == given.dtype
    assert np.array_equal(result.image[result.damage == 0], given[result.damage == 0])
    scratched = (worn.astype(int) - clean).min(axis=2) > 40
    assert (result.damage[scratched] > 0).mean() > 0.5
    before, after = (np.abs(one / top - clean.astype(float))[scratched].mean() for one in (given, result.image))
    assert after < 0.6 * before
    alone = Restorer("none", background="lanczos", scale=1, repair="auto").restore(clean)
    assert alone.record.repair is not None
    assert alone.record.repair["damaged"] < alone.record.repair["floor"]
    assert alone.record.repair["done"] is False
    assert np.array_equal(alone.image, clean)


def test_below_the_floor_a_finder_is_believed_if_it_was_named() -> None:
    worn = age(photograph())
    cv2.line(worn, (200, 20), (207, 55), (250, 246, 240), 1, cv2.LINE_AA)
    for repair, done in (("auto", False), ("tiny-damage", True)):
        told = Restorer("none", background="lanczos", scale=1, repair=repair).restore(worn).record.repair
        assert told is not None
        assert (told["finder"], told["done"], "floor" in told) == ("tiny-damage", done, not done)
        assert 0 < told["damaged"] < 0.003


def test_auto_fills_nothing_that_does_not_show_at_half_the_size(monkeypatch: pytest.MonkeyPatch) -> None:
    worn = wear(age(photograph()))
    monkeypatch.setattr(DamageUNetArchitecture, "second", SecondLook(2, 1.1))  # nothing is so sure
    result = Restorer("none", background="lanczos", scale=1, repair="auto").restore(worn)
    told = result.record.repair
    assert told is not None
    assert (told["done"], told["confirmed"]) == (False, 0)
    assert told["damaged"] > told["floor"]
    assert np.array_equal(result.image, worn)


def test_auto_fills_nothing_in_a_photo_of_a_few_pixels() -> None:
    worn = np.ascontiguousarray(wear(age(photograph()))[:249])
    told = Restorer("none", background="lanczos", scale=1, repair="auto").restore(worn).record.repair
    assert told is not None
    assert (told["done"], told["smallest"]) == (False, 250)
    assert told["damaged"] > told["floor"]
