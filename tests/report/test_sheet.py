"""`--sheet`: a page for each photo, as a PDF or a TIFF, that shows it before and after and says what was used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageSequence

from restorer.bench.survive.samples import saved
from restorer.errors import OutputExistsError, UsageError
from restorer.report.sheet import MARK, Sheet
from tests.support.in_process import restore

PLAIN = ("--model", "none", "--background", "lanczos")


def folder(path: Path) -> Path:
    path.mkdir()
    for name, colour in (("a.png", (200, 30, 30)), ("b.png", (30, 30, 200))):
        (path / name).write_bytes(saved(Image.new("RGB", (60, 40), colour), "PNG"))
    return path


def test_the_command_writes_a_page_for_each_photo(tmp_path: Path, capsys: Any) -> None:
    photos = folder(tmp_path / "in")
    (photos / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no picture")
    sheet = tmp_path / "client.tif"
    done = restore(capsys, str(photos), "-o", str(tmp_path / "out"), "--sheet", str(sheet), *PLAIN, code=1)
    assert "Sheet: " in done.out + done.err
    with Image.open(sheet) as pages:
        assert len(list(ImageSequence.all_frames(pages))) == 2
        for number, colour in enumerate(((200, 30, 30), (30, 30, 200))):
            pages.seek(number)
            page = np.asarray(pages.convert("RGB")).astype(int)
            assert page.shape[1] > page.shape[0]
            near = (np.abs(page - colour).max(axis=2) < 12).mean(axis=0)
            middle = page.shape[1] // 2
            assert near[:middle].max() > 0.02  # before, at the left
            assert near[middle:].max() == near[:middle].max()  # after, at the right, as large
            assert (page[-300:] < 100).any()  # words below
    restore(capsys, str(photos), "-o", str(tmp_path / "out"), "--sheet", str(sheet), *PLAIN, code=1)
    with Image.open(sheet) as pages:  # the same photos again, done already, and its own file replaced
        assert len(list(ImageSequence.all_frames(pages))) == 2


def test_a_pdf_has_a_page_a_photo(tmp_path: Path, capsys: Any) -> None:
    photos, sheet = folder(tmp_path / "in"), tmp_path / "client.pdf"
    restore(capsys, str(photos), "-o", str(tmp_path / "out"), "--sheet", str(sheet), *PLAIN)
    content = sheet.read_bytes()
    assert content.startswith(b"%PDF")
    assert content.count(b"/Type /Page\n") == 2
    assert MARK.encode("utf-16-be") in content
    restore(capsys, str(photos), "-o", str(tmp_path / "out"), "--sheet", str(sheet), *PLAIN)


def test_a_file_of_somebody_else_stays(tmp_path: Path) -> None:
    other = tmp_path / "contract.pdf"
    other.write_bytes(b"%PDF-1.4 a contract")
    with pytest.raises(OutputExistsError):
        Sheet(other)
    with pytest.raises(UsageError, match=r"\.pdf or \.tif|PDF or a TIFF"):
        Sheet(tmp_path / "a.docx")
    assert Sheet(tmp_path / "new.pdf").write() is None  # no photo, no sheet
    assert not (tmp_path / "new.pdf").exists()
