"""Photos that lie on their side or head: faces are found where they are, and upright photos are looked at once."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import restorer
from restorer.faces import turned
from restorer.faces.turned import lies_by, look_again, roll
from restorer.models.base import Face
from restorer.options import Options
from restorer.photo import read_photo
from restorer.pipeline.components import Components
from tests.support.in_process import restore
from tests.support.parts import face_at

PHOTO = np.zeros((60, 100, 3), np.uint8)


class Looks:
    """Finds the faces that it was told of, by how the picture is turned, which a mark in a corner tells."""

    def __init__(self, found: dict[int, list[Face]]) -> None:
        self.photo = PHOTO.copy()
        self.photo[0, 0] = 255
        self.found = found
        self.asked: list[int] = []

    def __call__(self, picture: np.ndarray) -> list[Face]:
        corners = [picture[0, 0], picture[-1, 0], picture[-1, -1], picture[0, -1]]
        quarters = next(number for number, corner in enumerate(corners) if corner.all())
        self.asked.append(quarters)
        return self.found.get(quarters, [])

    def all(self) -> list[Face]:
        return look_again(self(self.photo), self.photo, self, self)


@pytest.mark.parametrize("degrees", [-150, -90, -30, 0, 12, 90, 135])
def test_the_angle_of_a_face(degrees: float) -> None:
    assert roll(face_at((50, 50), 20, degrees).landmarks) == pytest.approx(degrees, abs=1)


def test_a_photo_with_a_face_that_surely_stands_is_looked_at_once() -> None:
    faces = [face_at((30, 30), 10, score=0.91), face_at((60, 30), 10, 30, score=0.98)]
    looks = Looks({0: faces, 1: [face_at((30, 30), 10, score=0.99)]})
    assert looks.all() == faces
    assert looks.asked == [0]


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_faces_of_a_photo_that_lies_come_back_to_their_places(quarters: int) -> None:
    """What stands in the picture that was turned counter-clockwise is turned clockwise by as much in the photo."""
    looks = Looks({quarters: [face_at((25, 20), 8, score=0.99), face_at((40, 30), 8, score=0.92)]})
    found = looks.all()
    assert looks.asked == [0, 1, 2, 3, quarters]
    assert len(found) == 2
    assert lies_by(found) == 90 * quarters
    height, width = looks.photo.shape[:2]
    places = {1: (width - 20, 25), 2: (width - 25, height - 20), 3: (20, height - 25)}
    middle = found[0].landmarks[[0, 1, 3, 4]].mean(axis=0)
    expected = face_at(places[quarters], 8, 90 * quarters if quarters < 3 else -90)
    assert middle == pytest.approx(expected.landmarks[[0, 1, 3, 4]].mean(axis=0), abs=1e-3)
    assert found[0].landmarks == pytest.approx(expected.landmarks, abs=1e-3)
    assert found[0].box == pytest.approx(expected.box, abs=4)


def test_a_face_on_its_head_that_was_taken_for_one_that_stands_is_seen_as_it_is() -> None:
    wrong = face_at((50, 30), 12, score=0.95)
    right = face_at((50, 30), 12, score=0.99)
    apart = face_at((10, 10), 4, score=0.93)
    found = Looks({0: [wrong, apart], 2: [right]}).all()
    assert len(found) == 2
    assert abs(abs(roll(found[0].landmarks)) - 180) < 1
    assert found[1] == apart


def test_what_is_not_sure_does_not_tell_how_a_photo_lies() -> None:
    weak = face_at((30, 30), 10, score=turned.SURE - 0.01)
    looks = Looks({1: [weak], 2: [weak, weak]})
    assert looks.all() == []
    assert lies_by([]) == 0
    assert lies_by([Face((0, 0, 9, 9), np.zeros((0, 2), np.float32), 1.0)]) == 0


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_the_face_of_a_portrait_that_lies_is_found_where_it_is(quarters: int) -> None:
    """By the built-in detector; the face is the upright photo's, turned."""
    photo = read_photo(Path(restorer.__file__).parent / "data" / "astronaut.webp").pixels
    detector = Components(Options(model="none", detector="tiny-detector", offline=True, device="cpu")).detector()
    upright = detector.detect(photo)
    lying = detector.detect(np.ascontiguousarray(np.rot90(photo, -quarters)))
    assert len(upright) == len(lying) == 1
    assert lies_by(upright) == 0
    assert lies_by(lying) == 90 * quarters
    back = turned._back(lying[0], 4 - quarters, photo.shape[:2] if quarters % 2 else photo.shape[1::-1])
    assert back.landmarks == pytest.approx(upright[0].landmarks, abs=0.05 * upright[0].size)


def test_the_command_says_how_a_photo_lies(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    photo = Image.open(Path(restorer.__file__).parent / "data" / "astronaut.webp").convert("RGB")
    photo.transpose(Image.Transpose.ROTATE_180).save(tmp_path / "a.png")
    said = restore(capsys, "faces", "a.png", "--offline", "--detector", "tiny-detector")
    assert "on its head" in said.out
    record = json.loads(
        restore(capsys, "a.png", "--offline", "--model", "tiny", "--scale", "1", "--always", "--json").out
    )
    assert [face["restored"] for face in record["faces"]] == [True]
    assert any("on its head" in warning for warning in record["warnings"])


def test_most_of_the_faces_say_how_a_photo_lies() -> None:
    lying, standing = face_at((30, 30), 10, 90), face_at((60, 30), 10)
    assert lies_by([lying, lying, standing]) == 90
    assert lies_by([lying, standing, standing]) == 0
    assert [word in turned.lies(angle) for angle, word in ((90, " clockwise"), (180, "head"), (270, "counter"))]
