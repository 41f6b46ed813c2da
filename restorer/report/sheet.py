"""`--sheet`: a sheet for the client, PDF or TIFF, a page a photo: before, after, and what was used."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont, ImageOps

from restorer.errors import OutputExistsError, RestorerError, UnwritableOutputError, UsageError
from restorer.record import Record
from restorer.report.previews import Picture
from restorer.storage.atomic import write_whole
from restorer.version import __version__

SUFFIXES = (".pdf", ".tif", ".tiff")
MARK = "restorer comparison sheet"
"""What every sheet says of itself; a file with it may be replaced."""
_DPI = 150
_SIZE = 1754, 1240  # A4, lying
_MARGIN, _GAP = 70, 40
_PICTURE = (_SIZE[0] - 2 * _MARGIN - _GAP) // 2, 830
_QUALITY = 92


class Sheet:
    """Pages that are gathered photo by photo and written at the end.

    Args:
        path: the file, .pdf or .tif.
        overwrite: replace a file that is no sheet.

    Raises:
        UsageError: the suffix is another one.
        OutputExistsError: the file is there and is no sheet.
    """

    def __init__(self, path: Path, *, overwrite: bool = False) -> None:
        if path.suffix.lower() not in SUFFIXES:
            raise UsageError(f"--sheet {path}: a sheet is a PDF or a TIFF.", "Let its name end in .pdf or .tif.")
        if path.exists() and not overwrite and not _is_sheet(path):
            raise OutputExistsError(path, f"{path} exists and is no sheet.", "Choose another name, or --overwrite.")
        self.path = path
        self._pages: list[bytes] = []

    def add(self, record: Record | Mapping[str, Any]) -> None:
        """Add the page of a photo that has a result; others have none."""
        facts = record.as_dict() if isinstance(record, Record) else record
        if not facts["output"] or facts["status"] == "failed" or facts.get("reason") == "dry run":
            return
        stream = io.BytesIO()
        _page(facts).save(stream, "JPEG", quality=_QUALITY, subsampling=0)
        self._pages.append(stream.getvalue())

    def write(self) -> Path | None:
        """Write the sheet and return where it is; None where no photo has a result.

        Raises:
            UnwritableOutputError: it cannot be written.
        """
        if not self._pages:
            return None
        first, *others = (Image.open(io.BytesIO(page)) for page in self._pages)
        stream = io.BytesIO()
        if self.path.suffix.lower() == ".pdf":
            told = {"title": "Before and after", "keywords": MARK, "producer": f"restorer {__version__}"}
            first.save(stream, "PDF", save_all=True, append_images=others, resolution=_DPI, quality=_QUALITY, **told)
        else:
            first.save(
                stream,
                "TIFF",
                save_all=True,
                append_images=others,
                dpi=(_DPI, _DPI),
                compression="tiff_adobe_deflate",
                tiffinfo={305: MARK},
            )
        try:
            write_whole(self.path, stream.getvalue())
        except OSError as error:
            message = f"{self.path} cannot be written: {error.strerror or error}."
            raise UnwritableOutputError(self.path, message, "Choose another name.") from error
        return self.path


def _is_sheet(path: Path) -> bool:
    if not path.is_file():  # a pipe or a device, which would be waited for
        return False
    try:
        content = path.read_bytes()
        return MARK.encode() in content or MARK.encode("utf-16-be") in content  # as a PDF writes it
    except OSError:
        return False


def _page(facts: Mapping[str, Any]) -> Image.Image:
    """Return the page of one photo."""
    page = Image.new("RGB", _SIZE, "white")
    draw = ImageDraw.Draw(page)
    number = f", page {facts['page']}" if facts.get("page") else ""
    draw.text((_MARGIN, 42), f"{Path(facts['input']).name}{number}", fill="black", font=_font(34))
    sides = (("Before", facts["input"], facts.get("page")), ("After", facts["output"], None))
    for column, (title, file, source_page) in enumerate(sides):
        left = _MARGIN + column * (_PICTURE[0] + _GAP)
        try:
            picture = Picture.read(Path(file), source_page)
        except (RestorerError, OSError) as error:
            _paragraph(draw, left, 150, str(error), 60)
            continue
        shown = ImageOps.contain(picture.image(max(_PICTURE)), _PICTURE, Image.Resampling.BICUBIC)
        size = f"{title}: {picture.size[0]} x {picture.size[1]} pixels"
        draw.text((left, 100), size, fill="#444444", font=_font(22))
        page.paste(shown, (left, 140), shown if shown.mode == "RGBA" else None)
    top = 140 + _PICTURE[1] + 20
    for line in _facts(facts):
        top = _paragraph(draw, _MARGIN, top, line, 150)
    return page


def _facts(facts: Mapping[str, Any]) -> list[str]:
    """Return what was used, a line each."""
    faces = facts["faces"]
    restored = sum(bool(face["restored"]) for face in faces)
    how = f" by {facts['background']}" if facts["background"] else ", in an earlier run"
    lines = [f"Enlarged {facts['scale']:g} times{how}."]
    if facts["model"] != "none":
        if faces:
            by = f"{restored} of {len(faces)} restored by {facts['model']}, found by {facts['detector']}"
            lines.append(f"Faces: {by}.")
        lines.append("What a model draws in a face is likely, not certain: it was learned from other people's faces.")
    terms = facts.get("licenses") or {}
    lines += [f"Licence of {name}: {text}." for name, text in terms.items()]
    lines += [f"Note: {line}" for line in facts["warnings"][:3]]
    return [*lines, f"Made with restorer {__version__}."]


def _paragraph(draw: ImageDraw.ImageDraw, left: int, top: int, text: str, width: int) -> int:
    """Write a text, wrapped; return where the next one begins."""
    for line in textwrap.wrap(text, width):
        draw.text((left, top), line, fill="#222222", font=_font(20))
        top += 27
    return top


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
