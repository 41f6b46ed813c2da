"""`--report`: one HTML file that shows the photos of a run before and after, and needs nothing but itself."""

from __future__ import annotations

import base64
import datetime
import hashlib
import os
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from restorer.errors import OutputExistsError, RestorerError, UnwritableOutputError
from restorer.formatting import duration
from restorer.photo import PICTURE_SUFFIXES, Photo
from restorer.record import Record
from restorer.report.article import Pictures, article
from restorer.report.markup import Html, element, fill
from restorer.report.previews import Picture, sizes_for
from restorer.storage.atomic import write_whole
from restorer.version import __version__

NAME = "report.html"
MARK = '<meta name="generator" content="restorer '
"""What every report has near its beginning; a file with it may be replaced."""


def place(out: Path | None, results: Sequence[Path], shard: str | None = None) -> Path:
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
            folder = Path(os.path.commonpath([result.absolute().parent for result in results]))
        except ValueError:  # nothing, or on several drives
            folder = Path.cwd()
    return folder / (f"report-{shard.replace('/', '-of-')}.html" if shard else NAME)


class Report:
    """A page that grows photo by photo and is written at the end.

    Args:
        path: the file.
        photos: how many there will be, at most; decides how large the pictures are (`previews.sizes_for`).
        overwrite: replace a file that is no report.

    Raises:
        OutputExistsError: the file is there and is no report. Raised before the work, when a report is made.
    """

    def __init__(self, path: Path, photos: int = 1, *, overwrite: bool = False) -> None:
        self.path = path
        self._sizes = sizes_for(photos)
        self._articles: list[Html] = []
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
        self._articles.append(article(len(self._articles) + 1, facts, pictures, self._sizes))

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

    def _page(self) -> Html:
        script = _resource("page.js")
        digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
        title = f"{len(self._records)} photo{'' if len(self._records) == 1 else 's'}, before and after"
        return fill(
            _resource("page.html"),
            {
                "version": Html(__version__),
                "digest": Html(digest),
                "title": Html(title),
                "style": Html(_resource("page.css")),
                "script": Html(script),
                "summary": _summary(self._records),
                "contents": _to_look_at(self._records),
                "photos": Html("\n".join(self._articles)),
                "written": Html(f"{datetime.datetime.now().astimezone():%Y-%m-%d %H:%M}"),
            },
        )


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
            return Picture.read(source)
        except RestorerError as error:
            problems.append(error.message)
        except OSError as error:
            problems.append(f"{name} cannot be read: {error.strerror or error}.")
        return None

    opened = read(before, "input"), read(after, "output") if record.get("status") != "failed" else None
    if record.get("status") == "failed":  # its own error says why it cannot be read
        problems.clear()
    return Pictures(*opened, problem=" ".join(problems) or None)


def _summary(records: list[Mapping[str, Any]]) -> Html:
    """Return the figures of the whole run."""
    status = [record.get("status") for record in records]
    faces = sum(bool(face.get("restored")) for record in records for face in record.get("faces") or ())
    seconds = sum(float((record.get("seconds") or {}).get("total", 0)) for record in records)
    figures = {
        "restored": status.count("ok"),
        "skipped": status.count("skipped"),
        "failed": status.count("failed"),
        "faces restored": faces,
    }
    shown = {title: str(count) for title, count in figures.items() if count or title in ("restored", "faces restored")}
    shown["spent on them"] = duration(seconds)
    pairs = (element("div", element("dt", title), element("dd", value)) for title, value in shown.items())
    return element("dl", pairs, class_="figures")


def _to_look_at(records: list[Mapping[str, Any]]) -> Html:
    """Return links to the photos that failed, and the notes with the photos that each is about; nothing without any."""
    lines, notes = [], dict[str, list[Html]]()
    for number, record in enumerate(records, 1):
        link = element("a", element("bdi", str(record.get("input") or "-")), href=f"#photo-{number}")
        if record.get("status") == "failed":
            message = (record.get("error") or {}).get("message") or "failed"
            lines.append(element("li", link, " ", element("span", message), class_="failed"))
        for note in record.get("warnings") or ():
            notes.setdefault(note, []).append(link)
    for note, links in notes.items():
        if len(links) == 1:
            lines.append(element("li", links[0], " ", element("span", note)))
        else:
            about = element("summary", f"{len(links)} photos: {note}")
            lines.append(
                element("li", element("details", about, element("ul", [element("li", each) for each in links])))
            )
    if not lines:
        return Html("")
    heading = element("h2", "Worth a look", id="worth-a-look")
    return element("nav", heading, element("ul", lines), class_="contents", aria_labelledby="worth-a-look")


def _resource(name: str) -> str:
    return (resources.files("restorer.report") / name).read_text(encoding="utf-8")
