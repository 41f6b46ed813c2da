"""Several answers of a search on the report's page, side by side."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from restorer.record import FaceRecord, Record
from restorer.report.writer import Report


def test_answers_stand_side_by_side_with_how_well_they_agree(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("a.png", "a_restored.png", "a_restored_2.png")]
    for number, file in enumerate(files):
        Image.fromarray(np.full((40, 40, 3), 60 * number, np.uint8)).save(file)
    answers = [
        {"seed": 1, "error": 10.04, "allowed": 11.404, "met": True},
        {"seed": 2, "error": 12.46, "allowed": 11.404, "met": False},
    ]
    face = FaceRecord((0, 0, 40, 40), (), 1.0, restored=True, answers=answers)
    record = Record(
        str(files[0]), str(files[1]), model="pulse", faces=[face], task="super-resolution", prior="tiny-prior"
    )
    alone, page = Report(tmp_path / "one.html"), Report(tmp_path / "report.html")
    alone.add(record)
    assert "Answer 1" not in alone.write().read_text(encoding="utf-8")
    record.variants = [str(files[2])]
    page.add(record)
    text = page.write().read_text(encoding="utf-8")
    assert "<strong>Answer 1</strong> face 1: seed 1, 10.0 levels from the photo<" in text
    assert "<strong>Answer 2</strong> face 1: seed 2, 12.5 levels from the photo, 11.4 allowed<" in text
    assert "Searched in" in text
    assert "tiny-prior" in text
    files[2].unlink()  # an answer that is gone is said, and stops nothing
    gone = Report(tmp_path / "gone.html")
    gone.add(record)
    assert "a_restored_2.png" in gone.write().read_text(encoding="utf-8")
