"""Figures by group: who belongs to which, what is averaged, and that few pictures get no figure."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from restorer.errors import UsageError
from restorer.evaluation.groups import FEWEST, grouped, groups_of, means
from tests.support.basicsr import needs_basicsr
from tests.support.in_process import restore


def files(folder: Path, count: int) -> list[Path]:
    return [folder / f"{index}.png" for index in range(count)]


def test_a_picture_belongs_to_every_group_that_the_table_names(tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text("file,groups\n0.png,woman glasses\n1.png,man;beard\n2.png,\nelsewhere.png,man\n")
    assert groups_of(files(tmp_path, 4), str(table)) == {
        "woman": [0], "glasses": [0], "man": [1], "beard": [1], "-": [2, 3],
    }  # fmt: skip


def test_a_column_of_the_manifest_is_a_group_too(tmp_path: Path) -> None:
    (tmp_path / "MANIFEST.csv").write_text("file,flags\n0.png,c192|inferred\n1.png,inferred\n")
    assert groups_of(files(tmp_path, 2), "flags") == {"c192": [0], "inferred": [0, 1]}
    with pytest.raises(UsageError, match="no column 'colour'"):
        groups_of(files(tmp_path, 2), "colour")
    with pytest.raises(UsageError, match="There is no"):
        groups_of(files(tmp_path / "elsewhere", 2), "flags")


def test_means_leave_out_what_was_not_measured() -> None:
    values = {"psnr": np.array([20.0, 30.0, 40.0]), "identity": np.array([0.5, np.nan, 0.7])}
    values |= {"detail": np.array([1.0, 9.0, 2.0]), "niqe": np.full(3, np.nan)}
    row = means("tiny", values)
    assert (row.method, row.psnr, row.detail, row.niqe, row.distance) == ("tiny", 30, 2, None, None)
    assert row.identity == pytest.approx(0.6)
    some = means("tiny", values, [1, 2])
    assert (some.psnr, some.identity, some.detail) == (35, 0.7, 5.5)


def test_few_pictures_get_their_number_only() -> None:
    values = {"input": {"psnr": np.arange(20.0)}}
    few, many = grouped(values, {"many": range(FEWEST), "few": range(FEWEST - 1)})
    assert (few.name, few.pictures, few.rows) == ("few", FEWEST - 1, [])
    assert (many.name, many.pictures, many.rows[0].psnr, many.faces) == ("many", FEWEST, 3.5, None)


def test_where_likeness_was_measured_the_faces_found_are_counted() -> None:
    likeness = np.array([1.0, np.nan, 1.0, 1.0])
    values = {"input": {"identity": np.full(4, 0.5)}, "truth": {"identity": likeness}}
    assert [part.faces for part in grouped(values, {"a": [0, 1, 2], "b": [1], "c": [3]})] == [2, 0, 1]


@needs_basicsr
def test_the_command_gives_figures_by_group(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    with (tmp_path / "MANIFEST.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "colour"])
        for index in range(FEWEST + 1):
            small = Image.fromarray(rng.integers(0, 256, (24, 24, 3)).astype(np.uint8))
            small.resize((64, 64), Image.Resampling.BICUBIC).save(tmp_path / f"{index}.png")
            writer.writerow([f"{index}.png", "grey" if index else "colour"])
    command = ["evaluate", "tiny", str(tmp_path), "--size", "64", "--degrade", "mild", "--offline", "--by", "colour"]
    record = json.loads(restore(capsys, *command, "--json").out)
    one, rest = record["groups"]
    assert one == {"group": "colour", "pictures": 1, "faces": None, "rows": []}
    assert (rest["group"], rest["pictures"]) == ("grey", FEWEST)
    assert [row["method"] for row in rest["rows"]] == [row["method"] for row in record["rows"]]
    assert 10 < rest["rows"][0]["psnr"] < 60
    assert rest["rows"][0]["psnr"] != record["rows"][0]["psnr"]
    words = [line.split() for line in restore(capsys, *command).out.splitlines()]
    lines = [line for line in words if line[:1] in (["colour"], ["grey"])]
    assert lines[0] == ["colour", "1"]
    assert [line[:3] for line in lines[1:]] == [["grey", "8", "input"], ["grey", "8", "tiny"]]
    assert "no column 'nothing'" in restore(capsys, *command[:-1], "nothing", code=2).err
