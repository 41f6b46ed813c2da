"""References: whose face it is, how near it comes to photos of that person, and what is said where nothing compares."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from restorer import Restorer
from restorer.errors import UsageError, WeightsUnavailableError
from restorer.faces import people
from restorer.faces.people import MOVED, SAME, Person, Portrait
from restorer.models.base import CropSpec, Face
from restorer.pipeline import references
from restorer.pipeline.components import Components
from restorer.pipeline.references import References, files_of
from tests.support.in_process import restore
from tests.support.parts import Detector, Everything, Identity, face_at
from tests.support.standins import table

Capture = pytest.CaptureFixture[str]
A, B = np.eye(2)


def portrait(name: str, *towards: float, size: float = 40.0) -> Portrait:
    """Return a portrait whose embedding lies in a plane, `towards` its two axes; none where nothing is given."""
    unit = np.array(towards) / np.linalg.norm(towards) if towards else None
    return Portrait(Path(name), name, np.zeros((5, 2)), size, unit)


# ------------------------------------------------------------------------------------------------- whose face it is


def test_a_face_is_of_the_person_of_the_nearest_portrait() -> None:
    one = Person("one", (portrait("a", 1, 0), portrait("b", 1, 0.3)))
    other = Person("other", (portrait("c", 0, 1), portrait("d")))
    found = people.match([one, other], np.array([0.28, 0.96]))
    assert found.person is other
    assert found.portrait is other.portraits[0]
    assert found.nearness == pytest.approx(0.96)
    assert found.again(A) == pytest.approx(0)  # only its own person counts from then on
    assert people.match([one, other], A).person is one


def test_a_face_that_is_too_far_from_everybody_is_nobody() -> None:
    one = Person("one", (portrait("a", 1, 0),))
    for nearness, known in ((SAME + 0.01, True), (SAME - 0.01, False), (-1.0, False)):
        face = np.array([nearness, (1 - nearness**2) ** 0.5])
        found = people.match([one], face)
        assert (found.person is one) == known
        assert found.nearness == pytest.approx(nearness)
        assert found.again(face) == pytest.approx(nearness)


def test_among_several_faces_the_one_like_the_others_is_taken() -> None:
    sure, like, stranger = portrait("a", 1, 0), portrait("b", 1, 0.2), portrait("b", 0, 1, size=90.0)
    person, lines = people.choose({Path("a"): [sure], Path("b"): [stranger, like], Path("c"): []}, "grandma")
    assert person.portraits == (sure, like)
    assert lines == ["The reference c shows no face that is found; it was passed over."]


def test_where_nothing_tells_the_largest_face_is_taken_and_said() -> None:
    small, large = portrait("b", 1, 0), portrait("b", 0, 1, size=90.0)
    for faces in ([small, large], [portrait("b"), portrait("b", size=90.0)]):
        person, lines = people.choose({Path("b"): faces}, "grandma")
        assert person.portraits == (faces[1],)
        assert lines == ["The reference b shows 2 faces; the largest was taken for grandma."]
    with pytest.raises(ValueError, match="grandma"):
        people.choose({Path("c"): []}, "grandma")


def test_a_photo_of_somebody_else_is_doubted() -> None:
    found = {Path(name): [portrait(name, *at)] for name, at in {"a": (1, 0), "b": (1, 0.1), "c": (0, 1)}.items()}
    person, lines = people.choose(found, "grandma")
    assert len(person.portraits) == 3
    assert lines == ["The reference c hardly resembles the other photos of grandma; is it the same person?"]
    assert people.choose({Path("a"): found[Path("a")], Path("c"): found[Path("c")]}, "x")[1] == []  # which of two?


# --------------------------------------------------------------------------------------------------- which photos


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """Two persons' folders and a photo beside them, of different content each."""
    for number, name in enumerate(("grandma/1.png", "grandma/deep/2.png", "grandpa/1.png", "alone.png")):
        path = tmp_path / "album" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(number)
        noise = Image.fromarray(rng.integers(0, 256, (24, 24, 3), np.uint8))
        noise.resize((240, 240), Image.Resampling.BICUBIC).save(path)
    (tmp_path / "album/grandma/notes.txt").write_text("no photo")
    (tmp_path / "album/grandma/.hidden.png").write_bytes(b"")
    return tmp_path / "album"


def test_each_folder_is_a_person_and_photos_by_name_are_one_together(album: Path) -> None:
    given = [str(album / "grandma"), str(album / "alone.png"), str(album / "grandpa/1.png")]
    assert files_of(given) == {
        "grandma": [album / "grandma/1.png", album / "grandma/deep/2.png"],
        "reference": [album / "alone.png", album / "grandpa/1.png"],
    }
    assert list(files_of([str(album / "grandma")] * 2)) == ["grandma", "grandma 2"]


def test_what_is_no_reference_is_wrong_usage_before_any_photo(album: Path, capsys: Capture) -> None:
    (album / "empty").mkdir()
    for wrong in ("nobody", "empty", "grandma/notes"):
        with pytest.raises(UsageError, match="reference"):
            Restorer("tiny", reference=album / wrong)
        done = restore(capsys, str(album / "alone.png"), "--model", "tiny", "--reference", str(album / wrong), code=2)
        assert f"--reference {album / wrong}" in done.err
    with pytest.raises(UsageError, match="reference compares restored faces"):
        Restorer("none", reference=album)
    with pytest.raises(UsageError, match="restores something else"):
        Restorer("glean-cat8", aligned=True, reference=album)
    assert Restorer("tiny", reference=[album / "grandma", str(album / "alone.png")]).options.reference == (
        str(album / "grandma"), str(album / "alone.png"),
    )  # fmt: skip


def test_the_content_of_the_photos_is_part_of_the_fingerprint_and_not_their_names(album: Path) -> None:
    def fingerprint(*given: str) -> str:
        return Restorer("tiny", reference=[str(album / each) for each in given]).note("0" * 64).fingerprint

    before = fingerprint("grandma")
    assert before != fingerprint() != fingerprint("grandpa") != before
    (album / "grandma").rename(album / "nana")
    (album / "nana/1.png").rename(album / "nana/9.png")
    assert fingerprint("nana") == before
    (album / "nana/9.png").write_bytes((album / "alone.png").read_bytes())
    assert fingerprint("nana") != before
    assert References.of([str(album / "nana"), str(album / "alone.png")]).words() == (
        "2 photos of nana, 1 photo of reference"
    )


# --------------------------------------------------------------------------------------------------- the pipeline


class Likeness:
    """Tells faces by how red they are, which a model can change."""

    def __init__(self) -> None:
        self.seen = 0

    def embedding(self, crop: np.ndarray, points: np.ndarray) -> np.ndarray:
        assert points.shape == (5, 2)
        assert 0 <= float(points.min()) <= float(points.max()) <= 1
        self.seen += 1
        angle = float(crop[..., 0].mean()) * np.pi / 2
        return np.array([np.cos(angle), np.sin(angle)])


class Reddened(Identity):
    """Adds some red to each crop."""

    name = "reddened"

    def __init__(self, red: float) -> None:
        super().__init__(64)
        self.red = red

    def restore(self, crops: torch.Tensor) -> torch.Tensor:
        return crops + torch.tensor([2 * self.red, 0, 0])[:, None, None]


@pytest.fixture
def likeness(monkeypatch: pytest.MonkeyPatch) -> Likeness:
    compares = Likeness()
    monkeypatch.setattr(Components, "recogniser", lambda _self: compares)
    monkeypatch.setattr(Components, "likeness_hash", lambda _self: "red")
    return compares


FACES = [face_at((60, 60), 30), face_at((180, 60), 30)]


def red(level: float, path: Path | None = None) -> np.ndarray:
    """Return a picture that is red by so much, written to a file where one is named."""
    photo = np.zeros((120, 240, 3), np.uint8)
    photo[..., 0] = round(255 * level)
    photo[..., 1:] = 80
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photo).save(path)
    return photo


def at_work(model: Any, faces: list[Face], **options: Any) -> Restorer:
    given = {"always": True, "background": "lanczos", "device": "cpu", "match_color": False, **options}
    return Restorer(model, detector=Detector(faces), mask=Everything(), **given)


def test_the_record_says_how_near_a_face_is_to_its_person(likeness: Likeness, tmp_path: Path) -> None:
    red(0.2, tmp_path / "calm/a.png")
    red(0.9, tmp_path / "angry/a.png")
    photo = red(0.3)
    photo[:, 120:, 0] = 255
    given = [tmp_path / "calm", tmp_path / "angry"]
    result = at_work(Reddened(0.05), FACES, reference=given).restore(photo)
    first, second = (face.reference for face in result.faces)
    assert first is not None
    assert second is not None
    assert (first["person"], second["person"]) == ("calm", "angry")
    assert first["photo"] == str(tmp_path / "calm/a.png")
    assert first["before"] == pytest.approx(np.cos(0.1 * np.pi / 2), abs=0.01)
    assert first["after"] == pytest.approx(np.cos(0.15 * np.pi / 2), abs=0.01)
    assert not first["moved_away"]
    assert result.record["faces"][0]["reference"] == first
    assert result.faces[0].restored
    assert at_work(Reddened(0.05), FACES).restore(photo).faces[0].reference is None


def test_a_face_that_moved_away_is_named_and_a_strangers_is_not(likeness: Likeness, tmp_path: Path) -> None:
    red(0.0, tmp_path / "pale.png")
    given = {"reference": tmp_path / "pale.png"}
    result = at_work(Reddened(0.4), FACES, **given).restore(red(0.1))
    nearness = result.faces[0].reference
    assert nearness is not None
    assert nearness["moved_away"]
    assert nearness["after"] < nearness["before"] - MOVED
    assert result.warnings[0] == "Face 1 moved away from the photos of reference: 0.99 near before, now 0.70."
    stranger = at_work(Reddened(0.1), FACES, **given).restore(red(0.9))
    nearness = stranger.faces[0].reference
    assert nearness is not None
    assert (nearness["person"], nearness["moved_away"]) == (None, False)
    assert stranger.warnings == []
    assert stranger.faces[0].restored
    plain = at_work(Reddened(0.1), FACES).restore(red(0.9))
    assert np.array_equal(stranger.image, plain.image)  # restored as usual


def test_references_are_looked_at_once_and_aligned_crops_are_compared_too(likeness: Likeness, tmp_path: Path) -> None:
    red(0.3, tmp_path / "a.png")
    own = at_work(Reddened(0.05), FACES[:1], reference=tmp_path / "a.png")
    own.restore(red(0.3))
    own.restore(red(0.3))
    assert likeness.seen == 1 + 2 * 2
    aligned = at_work(Identity(64), FACES[:1], reference=tmp_path / "a.png", aligned=True)
    nearness = aligned.restore(red(0.3)[:, :120]).faces[0].reference
    assert nearness is not None
    assert nearness["before"] == pytest.approx(1, abs=0.01)


def test_faces_of_a_photo_are_remembered_by_its_content(tmp_path: Path) -> None:
    compares, looked = Likeness(), []

    class Watched(Detector):
        def detect(self, pixels: np.ndarray) -> list[Face]:
            looked.append(pixels.shape)
            return super().detect(pixels)

    red(0.31, tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes())
    for path, key in (("a.png", "one"), ("a.png", "one"), ("b.png", "one"), ("a.png", "two"), ("a.png", "")):
        found = references.meet(References.of([str(tmp_path / path)]), Watched(FACES[:1]), compares, key)  # type: ignore[arg-type]
        assert found.persons[0].portraits[0].path == tmp_path / path
    assert len(looked) == compares.seen == 3
    crop, points = found.portrait(found.persons[0].portraits[0], CropSpec(64, 64, 64, Identity().crop.template))
    assert crop.shape == (64, 64, 3)
    assert np.abs(points - np.array(Identity().crop.template.points)).max() < 1e-3  # type: ignore[union-attr]


def test_references_without_any_face_are_wrong_usage_and_damaged_ones_are_passed_over(
    likeness: Likeness, tmp_path: Path
) -> None:
    red(0.3, tmp_path / "mia/a.png")
    with pytest.raises(UsageError, match="no photo of mia shows a face"):
        at_work(Identity(64), [], reference=tmp_path / "mia").restore(red(0.3))
    (tmp_path / "mia/b.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    said: list[str] = []
    own = at_work(Identity(64), FACES, reference=tmp_path / "mia", warn=said.append)
    assert own.restore(red(0.3)).faces[0].reference is not None
    assert len(said) == 2
    assert said[0].startswith("A reference was passed over:")
    assert "shows 2 faces" in said[1]


# ------------------------------------------------------------------------------------------- without a recogniser


def test_without_a_recogniser_faces_are_restored_and_it_is_said(tmp_path: Path, capsys: Capture) -> None:
    red(0.3, tmp_path / "a.png")
    result = at_work(Identity(64), FACES, reference=tmp_path / "a.png", offline=True).restore(red(0.3))
    assert all(face.restored and face.reference is None for face in result.faces)
    (line,) = (line for line in result.warnings if "Nothing compares" in line)
    assert "restore models pull mobilefacenet --accept-license" in line
    strict = at_work(Identity(64), FACES, reference=tmp_path / "a.png", offline=True, fallback=False)
    with pytest.raises(WeightsUnavailableError):
        strict.restore(red(0.3))
    barred = at_work(Identity(64), FACES, reference=tmp_path / "a.png", license="commercial").restore(red(0.3))
    assert any("Nothing compares" in line and "commercially" in line for line in barred.warnings)


# ------------------------------------------------------------------------------------------------- what is seen


def test_the_command_says_it_in_record_summary_and_report(
    likeness: Likeness, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Components, "detector", lambda _self: Detector(FACES))
    monkeypatch.setattr(Components, "face_model", lambda _self: Reddened(0.4))
    red(0.0, tmp_path / "pale/p.png")
    for name in ("one.png", "two.png"):
        red(0.1 if name == "one.png" else 0.11, tmp_path / "in" / name)
    common = ("--model", "tiny", "--background", "lanczos", "--offline", "--no-match-color", "--always")
    given = ("--reference", str(tmp_path / "pale"))
    out = tmp_path / "out"
    done = restore(capsys, str(tmp_path / "in"), *common, *given, "-o", str(out), "--report", "-v")
    assert f"  {tmp_path / 'in/one.png'}: face 1-2 moved away from the references" in done.err
    assert "restored, 0.70 near pale, 0.99 before" in done.err
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "0.70 near pale, 0.99 before" in page
    assert "Face 1 moved away from the photos of pale" in page
    again = restore(capsys, str(tmp_path / "in"), *common, *given, "-o", str(out), "--json")
    assert [json.loads(line)["reason"] for line in again.out.splitlines()] == ["done already"] * 2
    earlier = json.loads(again.out.splitlines()[0])["faces"][0]["reference"]
    assert (earlier["person"], earlier["moved_away"]) == ("pale", True)
    other = restore(capsys, str(tmp_path / "in"), *common, "-o", str(out))
    assert "made with other" in other.err or "made with" in other.err
    tried = restore(capsys, str(tmp_path / "in"), *common, *given, "-o", str(tmp_path / "new"), "--dry-run")
    assert "References: 1 photo of pale." in tried.err
    assert "mobilefacenet (4" in tried.err


def test_restore_toml_names_references(
    likeness: Likeness, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Components, "detector", lambda _self: Detector(FACES))
    monkeypatch.setattr(Components, "face_model", lambda _self: Reddened(0.05))
    monkeypatch.chdir(tmp_path)
    red(0.2, tmp_path / "refs/a.png")
    red(0.9, tmp_path / "b.png")
    red(0.25, tmp_path / "photo.png")
    Path("restore.toml").write_text('reference = ["refs", "b.png"]\n')
    done = restore(capsys, "photo.png", "--model", "tiny", "--background", "lanczos", "--offline", "--json", "--always")
    assert json.loads(done.out)["faces"][0]["reference"]["person"] == "refs"
    Path("restore.toml").write_text("reference = 3\n")
    assert "reference must be a text" in restore(capsys, "photo.png", code=2).err


# --------------------------------------------------------------------------------------------- the published weights


@pytest.mark.shared
def test_the_published_network_tells_two_people_apart(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "own.toml"
    own.write_text(table("mobilefacenet", "mobilefacenet", shared / "weights/mobilefacenet_068.ckpt"))
    monkeypatch.setenv("RESTORER_WEIGHTS", str(own))
    files = sorted((shared / "data/congress192").glob("*.jpg"))[:2]
    for name, file in zip(("one", "other"), files, strict=True):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.jpg").write_bytes(file.read_bytes())
    restorer = Restorer(
        "tiny",
        background="lanczos",
        device="cpu",
        offline=True,
        always=True,
        reference=[tmp_path / "other", tmp_path / "one"],
    )
    for name, file in zip(("one", "other"), files, strict=True):
        (face,) = restorer.restore(file).faces
        assert face.reference is not None
        assert face.reference["person"] == name
        assert face.reference["before"] > 0.95
        assert face.reference["after"] > 0.8
