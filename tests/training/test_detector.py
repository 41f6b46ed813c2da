"""The detector's training: labels, scenes, what each cell is asked for, and the run itself."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from restorer import weights
from restorer.errors import UnreadablePhotoError, UsageError
from restorer.models import REGISTRY
from restorer.models.base import Face
from restorer.models.tinydetector import fuse_scores
from restorer.networks.tinydetector import cells
from restorer.training.ageing import Ageing
from restorer.training.detecting import DetectorTrainer, calibrate
from restorer.training.labelling import AugmentedTeacher, Labels, known_faces
from restorer.training.loop import LOSSES, Place, run
from restorer.training.people import COLUMNS, part_of
from restorer.training.recipe import load_recipe, parse_recipe
from restorer.training.scenery import Scenery
from restorer.training.scenes import Composer, Scene, _put, mirrored
from restorer.training.targets import FACE, NOTHING, UNKNOWN, assign, overlaps
from restorer.training.train import train

CPU = Place(torch.device("cpu"))
BOX = np.array([78, 70, 178, 206], np.float32)
POINTS = np.array([[104, 124], [152, 124], [128, 152], [108, 178], [148, 178]], np.float32)
COLORS = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (0, 255, 255)]
SMALL = """
recipe = "detector"
name = "mine"
seed = 3
precision = "fp32"
log_every = 1
checkpoint_minutes = 0.0
size = 96
smallest = 10.0
steps = {steps}
batch = 4
workers = {workers}
lr = 4e-3
second_lr = 4e-3
end = 1.0
warmup = 5
ema_steps = 4.0
[data]
validation = 1
labels = "faces.json"
teacher = ""
[network]
widths = [8, 8, 16, 16, 16]
head = 16
"""


COMMON = ("precision", "sample_every", "log_every", "checkpoint_minutes")
"""What every recipe has."""


def drawn_face() -> np.ndarray:
    """Return a crop (256, 256, 3): a head, with a spot of its own colour at each landmark."""
    face = np.full((256, 256, 3), 60, np.uint8)
    cv2.ellipse(face, (128, 138), (60, 80), 0, 0, 360, (210, 170, 150), -1)
    for (x, y), color in zip(POINTS, COLORS, strict=True):
        cv2.circle(face, (int(x), int(y)), 11, color, -1)
    return face


def composer(size: int = 160, **given: Any) -> Composer:
    faces = {"faces": [drawn_face()], "boxes": BOX[None], "landmarks": POINTS[None], "backgrounds": [], "others": []}
    return Composer(**{**faces, **given}, size=size, smallest=10.0)


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four crops with their labels beside them, in faces.json."""
    folder = tmp_path_factory.mktemp("faces")
    names = {}
    for number in range(4):
        picture = cv2.convertScaleAbs(drawn_face(), alpha=1 - 0.1 * number)
        cv2.imwrite(str(folder / f"{number}.png"), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        names[f"{number}.png"] = [[*BOX.tolist(), *POINTS.ravel().tolist(), 0.99]]
    (folder / "faces.json").write_text(json.dumps(names), encoding="utf-8")
    return folder


def trainer_of(faces: Path, steps: int = 6, workers: int = 0, **changes: str) -> DetectorTrainer:
    text = SMALL.format(steps=steps, workers=workers)
    for old, new in changes.items():
        assert f"\n{old} = " in text
        text = "\n".join(f"{old} = {new}" if line.startswith(f"{old} = ") else line for line in text.splitlines())
    return DetectorTrainer(parse_recipe(text, faces, "test"), faces, CPU)


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / LOSSES).open(newline="", encoding="utf-8") as file:
        return [{key: value for key, value in row.items() if key != "seconds"} for row in csv.DictReader(file)]


# -------------------------------------------------------------------------------------------------- faces with papers


def test_faces_with_papers_are_held_apart_by_person_and_turned(faces: Path, tmp_path: Path) -> None:
    """What may not be learnt from is in no scene; persons for reporting are in none either."""
    named = {part: [f"n{i}" for i in range(200) if part_of(f"n{i}") == part] for part in ("training", "choosing")}
    persons = [*named["training"][:4], *named["choosing"][:2]]
    lines, known = [",".join(COLUMNS)], {}
    for number, person in enumerate([*persons, named["training"][5]]):
        file = f"{number}.png"
        (tmp_path / file).write_bytes((faces / "0.png").read_bytes())
        values = {
            "file": file,
            "source": "a",
            "person": person,
            "grade": "C" if number == 6 else "A",
            "native_px": "256",
        }
        lines.append(",".join(values.get(column, "") for column in COLUMNS))
        known[file] = [[*BOX.tolist(), *POINTS.ravel().tolist(), 0.99]]
    (tmp_path / "MANIFEST.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (tmp_path / "faces.json").write_text(json.dumps(known), encoding="utf-8")
    text = SMALL.format(steps=2, workers=0).replace("[data]", '[data]\ngrades = ["A"]\nturned = {}')

    def composers(turned: float) -> tuple[Composer, Composer]:
        recipe = parse_recipe(text.format(turned), tmp_path, "test")
        values = recipe.complete(DetectorTrainer.defaults | dict.fromkeys(COMMON, None))["data"]
        return Scenery(recipe, values, tmp_path, 96, 10.0, "cpu").composers()

    training, kept = composers(0.0)
    assert (len(training._faces), len(kept._faces)) == (4, 2)
    training, kept = composers(1.0)
    assert (len(training._faces), len(kept._faces)) == (8, 4)
    asides = [points[2, 0] - points[[0, 1], 0].mean() for points in training._landmarks]
    assert [abs(aside) > 3 for aside in asides] == [False] * 4 + [True] * 4


# --------------------------------------------------------------------------------------------------- labels


def test_a_teacher_who_is_interrupted_goes_on(faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("restorer.training.labelling.KEPT", 2)
    looks = 0

    def detect(pixels: np.ndarray) -> list[SimpleNamespace]:
        nonlocal looks
        looks += 1
        if looks == 4:
            raise KeyboardInterrupt
        return []

    files, labels = sorted(faces.glob("*.png")), tmp_path / "labels.json"
    with pytest.raises(KeyboardInterrupt):
        known_faces(files, faces, labels, lambda: SimpleNamespace(detect=detect))
    assert len(known_faces(files, faces, labels, lambda: SimpleNamespace(detect=detect))) == 4
    assert looks == 6  # the third, which was not kept yet, and the fourth


def test_the_teacher_looks_once(faces: Path, tmp_path: Path) -> None:
    seen = []

    def detect(pixels: np.ndarray) -> list[SimpleNamespace]:
        seen.append(pixels.shape)
        low = SimpleNamespace(box=(0, 0, 9, 9), landmarks=POINTS, score=0.4)
        return [low, SimpleNamespace(box=tuple(BOX), landmarks=POINTS, score=0.98)]

    files = sorted(faces.glob("*.png"))
    labels = tmp_path / "kept" / "labels.json"
    first = known_faces(files, faces, labels, lambda: SimpleNamespace(detect=detect))
    assert len(seen) == 4
    again = known_faces(files, faces, labels, lambda: pytest.fail("there is nothing left to look at"))
    for found in (first, again):
        assert found[files[2]].scores == pytest.approx([0.98, 0.4])
        assert np.allclose(found[files[2]].boxes[0], BOX)
        assert np.allclose(found[files[2]].landmarks[0], POINTS)


def test_landmarks_of_several_looks_are_their_mean_in_the_picture_s_own_pixels() -> None:
    """A teacher that sees all three pixels too far to the right is right on the mean of a look and its mirror image."""
    picture = drawn_face()

    def detect(pixels: np.ndarray) -> list[Face]:
        size = pixels.shape[0] / 256
        mirrored = pixels[int(124 * size), int(104 * size), 0] != picture[124, 104, 0]  # whose eye is on the left?
        points: np.ndarray = POINTS
        if mirrored:
            points = points[[1, 0, 2, 4, 3]] * [-1, 1] + [256, 0]
        box = tuple(BOX * size)
        return [
            Face(box, (points * size + [3 * size, 0]).astype(np.float32), 0.97),
            Face((0, 0, 20 * size, 20 * size), np.zeros((5, 2), np.float32), 0.4),
        ]

    once = detect(picture)[0].landmarks
    assert np.allclose(once - POINTS, [3, 0], atol=0.01)
    teacher = SimpleNamespace(detect=detect)
    face, other = AugmentedTeacher(teacher, [1.0, 0.5, 0.75]).detect(picture)
    assert np.allclose(face.landmarks, POINTS, atol=0.6)  # rounding of the sizes apart
    assert (face.box, face.score, other.score) == (tuple(BOX), 0.97, 0.4)
    assert AugmentedTeacher(SimpleNamespace(detect=lambda _: []), [1.0, 0.5]).detect(picture) == []


def test_a_look_that_finds_another_face_does_not_count() -> None:
    picture, looks = drawn_face(), []

    def detect(pixels: np.ndarray) -> list[Face]:
        looks.append(pixels.shape)
        if len(looks) > 1:
            return [Face((0, 0, 30, 30), np.full((5, 2), 15, np.float32), 0.9)]
        return [Face(tuple(BOX), POINTS, 0.97)]

    (face,) = AugmentedTeacher(SimpleNamespace(detect=detect), [1.0, 0.5]).detect(picture)
    assert looks == [(256, 256, 3), (256, 256, 3), (128, 128, 3), (128, 128, 3)]
    assert np.array_equal(face.landmarks, POINTS)


def test_a_file_that_holds_no_labels_is_named(faces: Path, tmp_path: Path) -> None:
    for text in ("[1, 2]", "{", '{"a.png": [[1, 2]]}'):
        labels = tmp_path / "labels.json"
        labels.write_text(text, encoding="utf-8")
        with pytest.raises(UsageError, match=r"labels\.json"):
            known_faces([], faces, labels, lambda: SimpleNamespace())
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    with pytest.raises(UnreadablePhotoError):
        known_faces([broken], tmp_path, None, lambda: SimpleNamespace(detect=lambda pixels: []))


# --------------------------------------------------------------------------------------------------- scenes


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("size", [40, 90])
def test_landmarks_are_where_the_face_was_put(size: int, mirror: bool) -> None:
    whole = composer()
    checked = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        scene = Scene(np.full((160, 160, 3), 90, np.uint8))
        whole._face(scene, rng, size, np.array([80.0, 76.0]), mask=np.full((128, 128), 255, np.uint8))
        if mirror:
            scene = mirrored(scene)
        for (x, y), color in zip(scene.landmarks[0], COLORS, strict=True):
            found = scene.picture[int(y), int(x)].astype(float)
            on, off = [value > 0 for value in color], [value == 0 for value in color]
            # Left and right change places in a mirror, so those pairs may bear each other's colours.
            spot = found[on].min() > found[off].max() + 40 if any(off) else True
            checked += bool(spot)
        x0, y0, x1, y1 = scene.boxes[0]
        assert max(x1 - x0, y1 - y0) == pytest.approx(size, abs=0.01)
    # Occluded ones (a share of 0.22) hide some; mirrored ones bear the other eye's colour.
    assert checked > 40 * 5 * 0.35


def test_the_left_eye_stays_the_left_one() -> None:
    """In each face that stands upright the first landmark is left of the second, mirrored or not."""
    whole, upright = composer(), 0
    for seed in range(60):
        scene = Scene(np.zeros((160, 160, 3), np.uint8))
        whole._face(scene, np.random.default_rng(seed), 60, np.array([80.0, 80.0]))
        left, right, _, mouth_left, mouth_right = scene.landmarks[0]
        if abs(right[1] - left[1]) < abs(right[0] - left[0]):
            upright += 1
            assert left[0] < right[0]
            assert mouth_left[0] < mouth_right[0]
    assert upright > 40


def test_scenes_follow_from_the_generator_alone() -> None:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (400, 500, 3)).astype(np.uint8)
    nothing = Labels(np.zeros((0, 4), np.float32), np.zeros((0, 5, 2), np.float32), np.zeros(0, np.float32))
    whole = composer(backgrounds=[(noise, nothing)], others=[noise[:200, :200]])
    kinds = set()
    for seed in range(40):
        first, again = (whole.draw(np.random.default_rng(seed)) for _ in range(2))
        assert np.array_equal(first.picture, again.picture)
        assert np.array_equal(first.boxes, again.boxes)
        assert first.picture.shape == (160, 160, 3)
        assert first.picture.dtype == np.uint8
        assert len(first.boxes) == len(first.landmarks) == len(first.wanted)
        assert (first.boxes[:, :2] < first.boxes[:, 2:]).all()
        assert ((first.boxes >= 0) & (first.boxes <= 160)).all()
        kinds.add(min(int(first.wanted.sum()), 2))
    assert kinds == {0, 1, 2}


def test_a_face_that_is_covered_is_no_longer_wanted() -> None:
    scene = Scene(np.zeros((100, 100, 3), np.uint8))
    points = np.array([[40, 40], [60, 40], [50, 50], [42, 60], [58, 60]], np.float32)
    scene.add(np.array([30, 30, 70, 70], np.float32), points, True)
    scene.cover(np.ones((10, 40), np.float32), 30, 35)  # the eyes
    assert scene.wanted.tolist() == [True]
    scene.cover(np.ones((25, 40), np.float32), 30, 35)  # eyes and nose
    assert scene.wanted.tolist() == [False]
    scene.cover(np.ones((60, 60), np.float32), 20, 20)
    assert len(scene.boxes) == 0


def test_a_face_beyond_the_edge_is_cut_and_given_up_when_little_is_left() -> None:
    scene = Scene(np.zeros((100, 100, 3), np.uint8))
    for left in (-10.0, -30.0, -60.0):
        scene.add(np.array([left, 10, left + 40, 50], np.float32), POINTS, True)
    assert scene.boxes.tolist() == [[0, 10, 30, 50], [0, 10, 10, 50]]
    assert scene.wanted.tolist() == [True, False]


def test_what_becomes_small_does_not_alias() -> None:
    stripes = np.zeros((256, 256, 3), np.uint8)
    stripes[:, ::2] = 255
    scene = Scene(np.full((64, 64, 3), 128, np.uint8))
    matrix = np.array([[0.1, 0, 10], [0, 0.1, 10]])
    _put(scene, [stripes], np.full((128, 128), 255, np.uint8), matrix, np.random.default_rng(1))
    assert scene.picture[14:30, 14:30].astype(float).std(axis=(0, 1)).max() < 6


def test_every_state_keeps_the_picture_s_form() -> None:
    ageing, picture = Ageing(), drawn_face()
    results = [ageing.draw(picture, np.random.default_rng(seed)) for seed in range(60)]
    assert {result.shape for result in results} == {picture.shape}
    assert {result.dtype for result in results} == {np.dtype(np.uint8)}
    grey = [result for result in results if np.ptp(result.astype(int), axis=2).max() <= 1]
    assert 3 <= len(grey) < 40


# --------------------------------------------------------------------------------------------------- targets


@pytest.mark.parametrize(("size", "stride"), [(20, 8), (40, 8), (60, 16), (110, 16), (200, 32)])
def test_a_face_is_asked_for_at_the_stride_of_its_size(size: int, stride: int) -> None:
    where = cells(256, 256).numpy()
    scene = Scene(np.zeros((256, 256, 3), np.uint8))
    middle = np.array([130.0, 122.0])
    box = np.concatenate([middle - size / 2, middle + size / 2]).astype(np.float32)
    scene.add(box, POINTS, True)
    what, boxes, landmarks = assign(scene, where)
    own = what == FACE
    assert own.any()
    assert set(where[own, 2]) == {stride}
    assert (np.abs(where[own, :2] - middle) <= max(0.2 * size, 0.75 * stride)).all()
    assert (boxes[own] == box).all()
    assert (landmarks[own] == POINTS).all()
    far = np.abs(where[:, :2] - middle).max(axis=1) > max(0.5 * size, 2 * stride)
    assert (what[far] == NOTHING).all()


def test_an_unwanted_face_is_neither_found_nor_background() -> None:
    where = cells(128, 128).numpy()
    scene = Scene(np.zeros((128, 128, 3), np.uint8))
    scene.add(np.array([30, 30, 70, 80], np.float32), POINTS, False)
    what, _, _ = assign(scene, where)
    inside = ((where[:, :2] > 31) & (where[:, :2] < [69, 79])).all(axis=1)
    assert (what[inside] == UNKNOWN).all()
    assert (what != FACE).all()
    assert (what == NOTHING).sum() > 200


def test_of_two_faces_the_nearer_one_has_the_cell() -> None:
    where = cells(128, 128).numpy()
    scene = Scene(np.zeros((128, 128, 3), np.uint8))
    for x in (40.0, 60.0):
        scene.add(np.array([x - 16, 40, x + 16, 72], np.float32), POINTS, True)
    what, boxes, _ = assign(scene, where)
    own = what == FACE
    assert set(boxes[own, 0]) == {24.0, 44.0}
    assert (np.abs(where[own, 0] - (boxes[own, 0] + 16)) <= 10).all()


def test_overlaps_are_those_of_the_textbook() -> None:
    box = torch.tensor([[0.0, 0, 10, 10]] * 3)
    other = torch.tensor([[0.0, 0, 10, 10], [5, 0, 15, 10], [20, 0, 30, 10]])
    shares, distance = overlaps(box, other)
    assert shares.tolist() == pytest.approx([1, 1 / 3, 0], abs=1e-5)
    assert distance.tolist() == pytest.approx([1, 1 / 3 - 25 / 325, -400 / 1000], abs=1e-5)


# --------------------------------------------------------------------------------------------------- training


@pytest.mark.slow
def test_the_losses_fall(faces: Path, tmp_path: Path) -> None:
    run(trainer_of(faces, steps=70, checkpoint_minutes="9.0"), tmp_path)
    found = rows(tmp_path)
    for name in ("box", "landmarks"):
        values = [float(row[name]) for row in found]
        assert np.mean(values[-15:]) < 0.75 * np.mean(values[:10]), name
    assert (tmp_path / "samples" / "0000070.jpg").is_file()


def test_a_stopped_run_goes_on_to_the_same_losses(faces: Path, tmp_path: Path) -> None:
    run(trainer_of(faces), tmp_path / "whole")
    run(trainer_of(faces), tmp_path / "parts", until=2)
    run(trainer_of(faces), tmp_path / "parts")
    assert rows(tmp_path / "parts") == rows(tmp_path / "whole")
    assert len(rows(tmp_path / "whole")) == 6


@pytest.mark.slow
def test_a_killed_run_with_a_process_for_the_scenes_goes_on(faces: Path, tmp_path: Path) -> None:
    recipe = faces / "killed.toml"
    recipe.write_text(SMALL.format(steps=400, workers=1), encoding="utf-8")
    out = tmp_path / "run"
    call = (
        "from pathlib import Path; from restorer.training.train import train; "
        f"train({str(recipe)!r}, data=Path({str(faces)!r}), out=Path({str(out)!r}), device='cpu')"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen([sys.executable, "-c", call], env=environment, cwd=tmp_path)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not ((out / LOSSES).is_file() and len(rows(out)) >= 4):
        time.sleep(0.05)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    helpers = [int(pid) for pid in children.read_text().split()] if children.is_file() else []
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    before = len(rows(out))
    assert 4 <= before < 400, "the run was to be killed in its middle"
    while time.monotonic() < deadline and any(Path(f"/proc/{pid}").exists() for pid in helpers):
        time.sleep(0.1)
    assert not [pid for pid in helpers if Path(f"/proc/{pid}").exists()], "it left processes behind"
    run(DetectorTrainer(load_recipe(recipe), faces, CPU), out, until=before + 1)
    run(trainer_of(faces, steps=400), tmp_path / "whole", until=before + 1)
    ours, theirs = rows(out), rows(tmp_path / "whole")
    assert [row["step"] for row in ours] == [row["step"] for row in theirs]
    for one, other in zip(ours, theirs, strict=True):
        assert float(one["landmarks"]) == pytest.approx(float(other["landmarks"]), rel=0.05, abs=0.01)


def test_the_result_is_a_detector_that_loads(faces: Path, tmp_path: Path) -> None:
    recipe = faces / "mine.toml"
    recipe.write_text(SMALL.format(steps=3, workers=0), encoding="utf-8")
    done = train(recipe, data=faces, out=tmp_path / "run", device="cpu")
    table = weights.resolve(str(done.files[0]))
    loaded = REGISTRY.load(table, weights.fetch(table))
    assert loaded.architecture.role == "face detector"
    assert loaded.network(torch.zeros(1, 3, 64, 96)).shape == (1, 8 * 12 + 4 * 6 + 2 * 3, 15)
    assert not any(".norm." in key for key in loaded.network.state_dict())


def test_calibration_brings_a_score_to_nine_tenths() -> None:
    from restorer.networks.tinydetector import TinyDetector

    torch.manual_seed(0)
    network = TinyDetector().eval()
    picture, points = torch.randn(1, 3, 64, 64), torch.rand(80, 5, 2) * 64

    def scores() -> np.ndarray:
        with torch.no_grad():
            first, (_, logits) = network(picture)[0, :80, 4], network.refine(picture[0], points)
            return fuse_scores(first.numpy(), logits.numpy())

    before = scores()
    calibrate(network, float(before[7]))
    after = scores()
    assert after[7] == pytest.approx(0.9, abs=1e-4)
    assert (np.diff(after[before.argsort()]) >= 0).all()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"validation": '1\nbackgrounds = "nowhere"'}, "nowhere"),
        ({"validation": '1\nothers = "nowhere"'}, "nowhere"),
        ({"labels": '""'}, "teacher"),
        ({"size": "100"}, "100 px"),
        ({"validation": "4"}, "none to train"),
    ],
)
def test_what_is_missing_is_said(faces: Path, change: dict[str, str], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        trainer_of(faces, **change)  # type: ignore[arg-type]


def test_crops_with_a_second_face_are_left_out(faces: Path, tmp_path: Path) -> None:
    held = json.loads((faces / "faces.json").read_text(encoding="utf-8"))
    held["0.png"].append([0, 0, 20, 20, *POINTS.ravel().tolist(), 0.8])
    held["1.png"][0][-1] = 0.5
    (faces / "others.json").write_text(json.dumps(held), encoding="utf-8")
    trainer = trainer_of(faces, labels='"others.json"')
    assert len(trainer.scenes._scenes._composer._faces) == 1
