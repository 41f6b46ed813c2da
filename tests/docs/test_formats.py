"""The words about picture formats keep up with the formats: the help line, and the two tables of docs/formats.md."""

from __future__ import annotations

import re
from pathlib import Path

from restorer.options import Options, declared
from restorer.photo import FORMATS, format_requests

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "formats.md").read_text("utf-8")


def test_the_help_names_what_is_written() -> None:
    words = re.findall(r"\w+", declared(Options)["format"].help)
    assert set(words) - {"or"} == set(format_requests())


def test_the_tables_name_every_format() -> None:
    read, written = PAGE.split("## What is written")
    rows = {
        cell.strip() for line in read.splitlines() if line.startswith("| ") for cell in line.split("|")[1].split(",")
    }
    heads = next(line for line in written.splitlines() if line.startswith("| | "))
    columns = {cell.strip() for cell in heads.split("|")} - {""}
    for entry in FORMATS.values():
        assert entry.title in rows, entry.title
        assert entry.writable == (entry.title in columns), entry.title


def test_the_table_tells_what_each_format_holds() -> None:
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in PAGE.splitlines() if line.startswith("| ")]
    heads = next(cells for cells in lines if cells[0] == "" and "JPEG" in cells)
    table = {cells[0]: dict(zip(heads, cells, strict=False)) for cells in lines if len(cells) == len(heads)}
    for entry in FORMATS.values():
        if not entry.writable:
            continue
        assert table["transparency"][entry.title] == ("yes" if entry.alpha else "no"), entry.title
        assert table["bits a channel"][entry.title].split(", ")[-1] == str(entry.bits), entry.title
        rows = {"ICC profile": "icc", "EXIF, with GPS and maker note": "exif", "IPTC (Photoshop's)": "iptc"}
        rows |= {"XMP, and the note of what was done": "xmp", "resolution (dots per inch)": "dpi"}
        for row, kind in rows.items():
            assert (table[row][entry.title] != "no") == (kind in entry.holds), (row, entry.title)
