"""Faces with papers: which rows may be learnt from, and who is held apart."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from restorer.errors import UsageError
from restorer.models.templates import FACEXLIB
from restorer.training.loop import Place
from restorer.training.people import (
    COLUMNS,
    MANIFEST,
    Portrait,
    Rules,
    attributions,
    chosen,
    held_apart,
    part_of,
    read_manifest,
)
from restorer.training.prior import PriorTrainer
from restorer.training.recipe import parse_recipe
from restorer.training.train import make_trainer
from restorer.training.traits import traits, weight

ROW = Portrait(Path("vv_1.webp"), "n_anna", "A", "CC0", "", 256, frozenset())


def write_rows(folder: Path, *rows: dict[str, object], columns: tuple[str, ...] = COLUMNS) -> None:
    """Write a manifest and the pictures that it names."""
    with (folder / MANIFEST).open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, restval="", extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    for row in rows:
        Image.new("RGB", (8, 8)).save(folder / str(row["file"]))


def test_a_manifest_is_read_with_its_flags_sorted_by_file(tmp_path: Path) -> None:
    common = {"grade": "A", "licence": "CC0"}
    write_rows(
        tmp_path,
        {"file": "b_2.png", "person": "n_b", "native_px": "300.6", "flags": "inferred c192", **common},
        {"file": "a_1.png", "person": "n_a", "native_px": "170", **common},
    )
    first, second = read_manifest(tmp_path)
    assert (first.file, first.person, first.native, first.flags) == (tmp_path / "a_1.png", "n_a", 170, frozenset())
    assert (second.source, second.native, second.flags) == ("b", 300, frozenset({"inferred", "c192"}))


def test_what_a_recipe_holds_apart_is_persons_where_pictures_have_papers(tmp_path: Path) -> None:
    persons = [f"n_{number}" for number in range(80)]
    common = {"grade": "A", "licence": "CC0"}
    write_rows(
        tmp_path,
        *(
            {"file": f"{name}.png", "person": name, "native_px": 100 + i % 2 * 100, **common}
            for i, name in enumerate(persons)
        ),
        {"file": "z.png", "person": "n_z", "native_px": 300, "grade": "C", "licence": "?"},
    )
    reported = [name for name in persons if part_of(name) == "reporting"]
    assert len(reported) >= 3
    head = 'recipe = "faceunet"\nname = "mine"\n[data]\n'
    papers = parse_recipe(head + 'grades = ["A", "B"]', tmp_path, "test")
    assert {file.stem for file in held_apart(tmp_path, papers)} == set(reported)
    large = {file.stem for file in held_apart(tmp_path, papers, 200)}
    assert large == {name for name in reported if persons.index(name) % 2}
    assert 0 < len(large) < len(reported)
    assert len(held_apart(tmp_path, parse_recipe(head + "validation = 7", tmp_path, "test"))) == 7


def test_a_folder_that_does_not_say_whose_its_pictures_are_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no MANIFEST\.csv"):
        read_manifest(tmp_path)
    write_rows(tmp_path, columns=COLUMNS[:-1])
    with pytest.raises(UsageError, match="no column 'flags'"):
        read_manifest(tmp_path)
    write_rows(tmp_path, {"file": "a.png", "native_px": "wide"})
    with pytest.raises(UsageError, match=r"native_px of a\.png as 'wide'"):
        read_manifest(tmp_path)
    write_rows(tmp_path, {"file": "a.png", "native_px": "1"})
    (tmp_path / "a.png").unlink()
    with pytest.raises(UsageError, match=r"names a\.png, which is not there"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    ("changes", "admitted"),
    [
        ({}, True),
        ({"grade": "B"}, True),
        ({"grade": "C"}, False),
        ({"flags": frozenset({"c192"})}, False),
        ({"flags": frozenset({"corners"})}, True),
        ({"flags": frozenset({"inferred"})}, False),
        ({"flags": frozenset({"inferred"}), "file": Path("house_1.webp")}, True),
        ({"flags": frozenset({"inferred", "c192"}), "file": Path("house_1.webp")}, False),
        ({"flags": frozenset({"inferred"}), "file": Path("household_1.webp")}, False),
        ({"flags": frozenset({"inferred"}), "licence": "public domain (sitter died 1905)"}, True),
        ({"flags": frozenset({"inferred"}), "licence": "public domain (sitter died 1906)"}, False),
        ({"flags": frozenset({"inferred"}), "licence": "photograph of 1880"}, False),
    ],
)
def test_rows_are_admitted_one_by_one(changes: dict[str, object], admitted: bool) -> None:
    rules = Rules(without=["c192"], inferred=["house"], died_by=1905)
    assert rules.admit(replace(ROW, **changes)) is admitted  # type: ignore[arg-type]


def test_without_exceptions_nothing_inferred_is_admitted() -> None:
    old = replace(ROW, flags=frozenset({"inferred"}), licence="public domain (sitter died 1870)")
    assert not Rules().admit(old)


def test_persons_are_held_apart_and_always_the_same_ones() -> None:
    rows = [replace(ROW, person=f"n_{index % 700}", file=Path(f"x_{index}.webp")) for index in range(1400)]
    parts = {part: chosen(rows, Rules(), part) for part in ("training", "choosing", "reporting")}
    assert sum(len(part) for part in parts.values()) == 1400
    persons = [{row.person for row in part} for part in parts.values()]
    assert not persons[0] & persons[1] | persons[0] & persons[2] | persons[1] & persons[2]
    assert 0.04 < len(persons[1]) / 700 < 0.10
    assert 0.04 < len(persons[2]) / 700 < 0.10
    # Weights that are chosen and reported once must not learn from these persons later.
    assert [part_of(f"n_{index}") for index in (0, 2, 4, 6, 26)] == PARTS


PARTS = ["training", "choosing", "reporting", "choosing", "reporting"]


def test_what_has_to_be_named_is_named_once() -> None:
    rows = [ROW, replace(ROW, grade="B", attribution="B by C"), replace(ROW, grade="B", licence="CC BY 4.0")]
    assert attributions([*rows, *rows]) == ["B by C", "vv: CC BY 4.0"]


# ----------------------------------------------------------------------------------------------------- traits


def face(skin: tuple[int, int, int] = (225, 185, 160), back: tuple[int, int, int] = (200, 200, 200)) -> np.ndarray:
    """Return a picture (256, 256, 3) of an oval with eyes where FFHQ has them."""
    picture = np.full((256, 256, 3), back, np.uint8)
    cv2.ellipse(picture, (128, 150), (80, 115), 0, 0, 360, skin, -1)
    for x, y in np.array(FACEXLIB.points[:2]) * 256:
        cv2.circle(picture, (int(x), int(y)), 5, (40, 30, 30), -1)
    return cv2.GaussianBlur(picture, (0, 0), 1)


def test_dark_skin_has_a_low_tone_and_grey_pictures_have_none() -> None:
    light, dark = traits(face()), traits(face((85, 55, 40)))
    assert light.tone is not None
    assert dark.tone is not None
    assert dark.tone < 0 < 40 < light.tone
    assert traits(np.full((256, 256, 3), 128, np.uint8)).tone is None


def test_a_beard_and_glasses_stand_out() -> None:
    bare, bearded, bespectacled = face(), face(), face()
    noise = np.random.default_rng(0).normal(70, 40, (256, 256, 1))
    bearded[190:] = np.clip(noise, 0, 255).astype(np.uint8)[190:]
    for x in (96, 160):
        cv2.circle(bespectacled, (x, 122), 24, (20, 20, 20), 3)
    cv2.line(bespectacled, (118, 118), (138, 118), (20, 20, 20), 3)
    assert traits(bearded).beard > 1.35 > traits(bare).beard
    assert traits(bespectacled).glasses > 1.0 > traits(bare).glasses


def test_a_blue_wall_is_seen_and_drawn_less_often() -> None:
    factors = {"dark": 2.0, "beard": 3.0, "glasses": 5.0, "wall": 0.5}
    wall, plain = traits(face(back=(60, 80, 190))), traits(face())
    assert plain.wall < 0.5 < wall.wall
    assert weight(wall, factors) == 0.5
    assert weight(plain, factors) == 1.0
    assert weight(traits(face((85, 55, 40))), factors) == 2.0


# --------------------------------------------------------------------------------------------------- trainings


PRIOR = """
recipe = "prior"
name = "mine"
[data]
folder = "."
grades = ["A"]
[network]
style_dim = 8
n_mlp = 1
narrow = 0.03125
channel_multiplier = 1.0
[discriminator]
narrow = 0.03125
channel_multiplier = 1.0
[[stages]]
size = 8
pictures = 4
batch = 4
"""


def test_a_prior_learns_from_the_rows_that_may_be_learnt_from(tmp_path: Path) -> None:
    common = {"grade": "A", "licence": "CC0"}
    rows = [{"file": f"x_{i}.png", "person": f"n_{i}", "native_px": 8, **common} for i in range(8)]
    rows += [{**rows[0], "file": "small.png", "native_px": 4}, {**rows[0], "file": "bought.png", "grade": "C"}]
    write_rows(tmp_path, *rows)
    trainer = make_trainer(parse_recipe(PRIOR, tmp_path, "test"), None, Place(torch.device("cpu")))
    assert isinstance(trainer, PriorTrainer)
    assert [path.name for path in trainer.files] == ["x_0.png", "x_1.png", "x_3.png", "x_5.png", "x_7.png"]
