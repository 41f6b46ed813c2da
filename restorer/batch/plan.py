"""The list of a long run, made once: which photos there are, what their results are called, and whose they are.

A plan is a file of JSON lines. The first says what the names were made by; each other one is a photo. It is written
folder by folder and read line by line; a part of a shared run passes over the lines of others without parsing them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby, islice
from pathlib import Path
from typing import Any, BinaryIO

from restorer.batch.discovery import Job, Places, distinct
from restorer.batch.gathering import Entry, Finder, PassedOver
from restorer.batch.naming import NameTemplate, assign
from restorer.batch.parts import Part, digest_of
from restorer.errors import UnreadablePhotoError, UsageError
from restorer.photo.header import Header, measured
from restorer.storage.atomic import write_atomic

VERSION = 1
_HEAD = b'{"part": "'
_FIRST = b'{"plan": '
MOST_KEPT = 10_000
"""Photos of a plan up to which they are kept in memory."""


@dataclass(frozen=True)
class Naming:
    """What the names of a plan were made by, which must be what a run by that plan goes by.

    Attributes:
        name: the template, as `--name` takes it.
        format: as `--format` takes it.
        scale: of the results; None where each has its own.
    """

    name: str
    format: str
    scale: float | None


@dataclass
class Planned:
    """How a plan was made.

    Attributes:
        photos: how many are in it.
        bytes: of all of them.
        passed: what was left out.
    """

    photos: int
    bytes: int
    passed: PassedOver


def write_plan(folders: Sequence[Path], path: Path, naming: Naming) -> Planned:
    """Write the plan of all photos in some folders and below them; memory does not grow with their number.

    Args:
        folders: those that a run would be given.
        path: the plan; it is replaced in one step.
        naming: what the results are called by.

    Raises:
        UsageError: the template has an unknown field, or one that a plan cannot know.
        OSError: the plan cannot be written.
    """
    if "{model}" in naming.name:
        raise UsageError(
            "--name of a plan cannot hold {model}: which model a run takes, it decides itself.",
            "Use {stem} and {scale}.",
        )
    template = NameTemplate(naming.name, "", naming.scale)
    finder = Finder(None)
    places = Places(distinct(folders, plain=True), Path())
    planned = Planned(0, 0, finder.passed)

    def fill(stream: BinaryIO) -> None:
        stream.write(_line({"plan": VERSION, "name": naming.name, "format": naming.format, "scale": naming.scale}))
        entries = finder.stream(folders)
        for _, group in groupby(entries, key=lambda entry: (entry.folder, entry.below)):
            for job in _named(list(group), places, template, naming.format):
                planned.photos += 1
                planned.bytes += job.header.bytes
                stream.write(_line(_told(job)))

    write_atomic(path, fill)
    return planned


def _named(entries: Sequence[Entry], places: Places, template: NameTemplate, requested: str) -> list[Job]:
    """Return the photos of one folder with the names of their results, as seen from the output folder."""
    jobs = []
    for entry in entries:
        folder, place = places.of(entry)
        header = measured(entry.header, entry.source)
        jobs.append(Job(entry.source, folder, place, header=header, problem=entry.problem))
    return assign(jobs, template, requested=requested)


def _told(job: Job) -> dict[str, Any]:
    assert job.target is not None
    result = job.target.as_posix()
    header = job.header
    told: dict[str, Any] = {"part": digest_of(result), "source": str(job.source), "place": job.place, "result": result}
    told |= {"format": job.format, "kind": header.format, "size": header.size, "bytes": header.bytes}
    if job.problem is not None:
        told |= {"problem": job.problem.message}
    return told


def _line(value: dict[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=True).encode() + b"\n"


def is_plan(path: Path) -> bool:
    """Return whether a file begins as a plan does."""
    try:
        with path.open("rb") as stream:
            return stream.read(len(_FIRST)) == _FIRST
    except OSError:
        return False


class Line:
    """A photo of a plan as its line tells it, for who looks at millions of them: making a path takes longer than that.

    Args:
        told: what the line holds.
        out: the output folder, as what names in it are put after; None = results stand beside their photos.
        journal: the folder whose journal remembers how the photo went.

    Attributes:
        source: the photo's file.
        target: the result's file.
        place, format, header, journal: as those of a `Job`.
        trouble: why there is nothing to read, where the plan knows that.
    """

    __slots__ = ("format", "header", "journal", "place", "source", "target", "trouble")

    def __init__(self, told: Mapping[str, Any], out: str | None, journal: Path) -> None:
        size = told["size"]
        self.source: str = told["source"]
        self.target = _target(told, out)
        self.place: str = told["place"]
        self.format: str | None = told["format"]
        self.header = Header(told["kind"], tuple(size) if size else None, told["bytes"])
        self.journal = journal
        self.trouble: str | None = told.get("problem")

    @property
    def problem(self) -> UnreadablePhotoError | None:
        """Why there is nothing to read, where the plan knows that."""
        return UnreadablePhotoError(Path(self.source), self.trouble, None) if self.trouble else None

    @property
    def job(self) -> Job:
        """The photo as what works on it takes it."""
        target = Path(self.target)
        return Job(
            Path(self.source), target.parent, self.place, target, format=self.format, header=self.header,
            journal=self.journal, problem=self.problem,
        )  # fmt: skip


def read_plan(path: Path, out: Path | None, naming: Naming, part: Part | None = None) -> Iterator[Line]:
    """Yield the photos of a plan, or of a part of it, with the files that they will write.

    Args:
        path: the plan.
        out: the output folder; None = results stand beside their photos.
        naming: what this run calls its results by.
        part: the part that is this machine's, by the hash of the result's path; None = all.

    Raises:
        UsageError: it is damaged, was written by another version, or its names were made by other options.
    """
    place = None if out is None else os.path.join(out, "")  # noqa: PTH118 - ends as a folder does
    folder, journal = "", out or Path()
    with path.open("rb") as stream:
        _check_first(path, stream.readline(), naming)
        for number, line in enumerate(stream, 2):
            if part is not None and not _is_in(line, part):
                continue
            try:
                told = json.loads(line.decode())
                if out is None and folder != (own := os.path.dirname(told["source"])):  # noqa: PTH120 - quicker
                    folder, journal = own, Path(own)
                yield Line(told, place, journal)
            except (ValueError, KeyError, TypeError) as error:
                message = f"The plan {path} cannot be read at line {number}."
                raise UsageError(message, "Make it again with `restore plan`.") from error


def _target(told: Mapping[str, Any], out: str | None) -> str:
    """Return the file that a photo's result is, by the line of a plan; `out` ends as a folder does."""
    source: str = told["source"]
    result: str = told["result"]
    if out is None:
        return os.path.join(os.path.dirname(source), os.path.basename(result))  # noqa: PTH118, PTH119, PTH120 - quicker
    return result if os.path.isabs(result) else out + result  # noqa: PTH117 - likewise


class PlannedJobs(Collection[Job]):
    """The photos of a plan, or of a part of it; those of a long one are read anew each time.

    Args:
        path: the plan.
        out: the output folder; None = results stand beside their photos.
        naming: what this run calls its results by.
        part: the part that is this machine's; None = all.

    Attributes:
        out: as it was given.

    Raises:
        UsageError: as `read_plan`, here for the first `MOST_KEPT` photos, for others when they are read.
    """

    def __init__(self, path: Path, out: Path | None, naming: Naming, part: Part | None = None) -> None:
        self.out = out
        self._read = partial(read_plan, path, out, naming, part)
        first = list(islice(self._read(), MOST_KEPT + 1))
        self._kept = first if len(first) <= MOST_KEPT else None
        self._count = len(first) if self._kept is not None else _count(path, part)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Job]:
        return (line.job for line in self.lines())

    def __contains__(self, job: object) -> bool:
        return any(job == each for each in self)

    def lines(self) -> Iterator[Line]:
        """Yield the photos as their lines tell them."""
        return self._read() if self._kept is None else iter(self._kept)


def _count(path: Path, part: Part | None) -> int:
    """Return how many photos a plan, or a part of it, has."""
    with path.open("rb") as stream:
        next(stream, None)
        return sum(part is None or _is_in(line, part) for line in stream)


def _is_in(line: bytes, part: Part) -> bool:
    """Return whether a line is about a part; what does not tell it at once may be."""
    begin = len(_HEAD)
    return not line.startswith(_HEAD) or part.has(line[begin : begin + 8].decode("ascii", "replace"))


def _check_first(path: Path, line: bytes, naming: Naming) -> None:
    try:
        first = json.loads(line)
        made = Naming(first["name"], first["format"], first["scale"])
        version = first["plan"]
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"The plan {path} cannot be read.", "Make it again with `restore plan`.") from error
    if version != VERSION:
        raise UsageError(f"The plan {path} was made by another version.", "Make it again with `restore plan`.")
    same_scale = made.scale == naming.scale or "{scale}" not in made.name
    if made.name != naming.name or made.format != naming.format or not same_scale:
        raise UsageError(
            f"The plan {path} was made with --name {made.name} --format {made.format} --scale {made.scale:g}, "
            "and its names go by that.",
            "Give the run the same options, or make another plan.",
        )
