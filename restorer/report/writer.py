"""`--report`: one HTML file that shows the photos of a run before and after, and needs nothing but itself."""

from __future__ import annotations

import base64
import datetime
import hashlib
import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from restorer.errors import OutputExistsError, RestorerError, UnwritableOutputError
from restorer.formatting import duration
from restorer.photo import PICTURE_SUFFIXES, Photo
from restorer.record import Record
from restorer.report.article import Pictures, article
from restorer.report.previews import Picture, sizes_for
from restorer.report.templates import render, resource
from restorer.storage.atomic import write_whole
from restorer.version import __version__

NAME = "report.html"
MARK = '<meta name="generator" content="restorer '
"""What every report has near its beginning; a file with it may be replaced."""


@dataclass(frozen=True)
class Link:
    """A photo of the page: its number, and how it is called."""

    number: int
    name: str


def place(out: Path | None, results: Iterable[Path], shard: str | None = None) -> Path:
    """Return where the report of a run goes: the folder that `-o` names, else the one that holds all results.

    Args:
        out: what `-o` says: a folder, or the one picture.
        results: the files that the run writes.
        shard: "I/N" where several machines share the photos; each then has a report of its own.
    """
    if out is not None:
        folder = out.parent if out.suffix.lower() in PICTURE_SUFFIXES and not out.is_dir() else out
    else:
        try:
            folder = Path(os.path.commonpath({result.absolute().parent for result in results}))
        except ValueError:  # nothing, or on several drives
            folder = Path.cwd()
    return folder / (f"report-{shard.replace('/', '-of-')}.html" if shard else NAME)


class Report:
    """A page that grows photo by photo and is written at the end.

    Args:
        path: the file.
        photos: how many there will be, at most; decides how large the pictures are (`previews.sizes_for`).
        overwrite: replace a file that is no report.
        told: lines about the run, which may grow while it works: they stand once on the page, not with every photo.
        intro: what the page says of the choice of its photos; "" = it has all.

    Raises:
        OutputExistsError: the file is there and is no report. Raised before the work, when a report is made.
    """

    def __init__(
        self, path: Path, photos: int = 1, *, overwrite: bool = False, told: Collection[str] = (), intro: str = ""
    ) -> None:
        self.path = path
        self._intro = intro
        self._told = told
        self._sizes = sizes_for(photos)
        self._articles: list[Markup] = []
        self._records: list[Mapping[str, Any]] = []
        if not overwrite:
            _check_free(path)

    def add(
        self, record: Record | Mapping[str, Any], before: Photo | Path | None = None, after: Photo | Path | None = None
    ) -> None:
        """Add a photo. Whatever is wrong with its pictures is said on the page; it stops nothing.

        Args:
            record: what became of it, also of one that failed or was skipped.
            before: the photo; None = the record's input is read again.
            after: the result; None = the record's output is read again.
        """
        facts = record.as_dict() if isinstance(record, Record) else record
        pictures = _pictures(facts, before, after)
        self._records.append(facts)
        own = [line for line in facts.get("warnings") or () if line not in self._told]
        self._articles.append(article(len(self._articles) + 1, {**facts, "warnings": own}, pictures, self._sizes))

    def write(self) -> Path:
        """Write the page, in full or not at all, and return its file.

        Raises:
            UnwritableOutputError: it cannot be written.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UnwritableOutputError(
                self.path, f"{self.path} cannot be written: {error.strerror}.", "Choose another place with -o."
            ) from error
        write_whole(self.path, self._page().encode("utf-8"))
        return self.path

    def _page(self) -> Markup:
        script = resource("page.js")
        return render(
            "page.html",
            version=__version__,
            digest=base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii"),
            title=f"{len(self._records)} photo{'' if len(self._records) == 1 else 's'}, before and after",
            style=Markup(resource("page.css")),
            script=Markup(script),
            intro=self._intro,
            figures=_figures(self._records),
            failures=[
                (each, _failure(record)) for each, record in self._numbered() if record.get("status") == "failed"
            ],
            notes=self._notes(),
            photos=self._articles,
            licenses={name: words for each in self._records for name, words in (each.get("licenses") or {}).items()},
            written=f"{datetime.datetime.now().astimezone():%Y-%m-%d %H:%M}",
        )

    def _numbered(self) -> list[tuple[Link, Mapping[str, Any]]]:
        return [(Link(i, str(record.get("input") or "-")), record) for i, record in enumerate(self._records, 1)]

    def _notes(self) -> dict[str, list[Link]]:
        """Return the warnings, each with the photos that it is about."""
        notes: dict[str, list[Link]] = {}
        for link, record in self._numbered():
            for note in record.get("warnings") or ():
                notes.setdefault(note, []).append(link)
        return notes


def _check_free(path: Path) -> None:
    """Raise `OutputExistsError` when a file is there that is no report."""
    if not path.exists():
        return
    if path.is_file():
        with path.open("rb") as file:
            if MARK.encode() in file.read(1000):
                return
    raise OutputExistsError(
        path, f"{path} exists already and is no report of this tool.", "Move it away, or use --overwrite."
    )


def _pictures(record: Mapping[str, Any], before: Photo | Path | None, after: Photo | Path | None) -> Pictures:
    """Return the pictures of a photo as far as they can be had."""
    problems = []

    def read(source: Photo | Path | None, field: str) -> Picture | None:
        name = record.get(field)
        if source is None and name not in (None, "-"):
            source = Path(str(name))
        if source is None:
            return None
        try:
            return Picture.read(source, record.get("page") if field == "input" else None)
        except RestorerError as error:
            problems.append(error.message)
        except OSError as error:
            problems.append(f"{name} cannot be read: {error.strerror or error}.")
        return None

    opened = read(before, "input"), read(after, "output") if record.get("status") != "failed" else None
    if record.get("status") == "failed":  # its own error says why it cannot be read
        problems.clear()
    others = [read(Path(str(name)), "variants") for name in record.get("variants") or ()]
    return Pictures(*opened, problem=" ".join(problems) or None, others=tuple(each for each in others if each))


def _figures(records: list[Mapping[str, Any]]) -> dict[str, str]:
    """Return the figures of the whole run by what they count."""
    status = [record.get("status") for record in records]
    faces = sum(bool(face.get("restored")) for record in records for face in record.get("faces") or ())
    earlier = [record.get("earlier") for record in records]
    times = [(before or record).get("seconds") or {} for record, before in zip(records, earlier, strict=True)]
    seconds = sum(float(each.get("total", 0)) for each in times)
    there = sum(before is not None for before in earlier)
    figures = {
        "restored": status.count("ok"),
        "restored earlier": there,
        "skipped": status.count("skipped") - there,
        "failed": status.count("failed"),
        "faces restored": faces,
    }
    shown = {title: str(count) for title, count in figures.items() if count or title in ("restored", "faces restored")}
    return {**shown, "spent on them": duration(seconds)}


def _failure(record: Mapping[str, Any]) -> str:
    return (record.get("error") or {}).get("message") or "failed"
