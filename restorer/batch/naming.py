"""What results are called: by the template, within a file name's length, and no two of a run alike on any disk."""

from __future__ import annotations

import hashlib
import os
import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from restorer.batch.discovery import Job
from restorer.errors import MissingSupportError, UsageError
from restorer.photo import PICTURE_SUFFIXES, output_format, suffix_for
from restorer.storage.identity import key

LONGEST = 255
"""Bytes of a file's name that the usual file systems allow."""
FIELDS = ("stem", "model", "scale")


@dataclass(frozen=True)
class NameTemplate:
    """The name of a result without its suffix.

    Attributes:
        text: with the fields {stem}, {model} and {scale}.
        model: what stands for {model}.
        scale: what stands for {scale}; None where each photo has its own.

    Raises:
        UsageError: a field is not known, nothing can stand for it, or the text would put results into another folder.
    """

    text: str
    model: str
    scale: float | None

    def __post_init__(self) -> None:
        """Try the template once."""
        try:
            fields = [field for _, field, _, _ in string.Formatter().parse(self.text) if field is not None]
            unknown = [field for field in fields if field not in FIELDS]
            name = "" if unknown else self._fill("probe")
        except (KeyError, IndexError, ValueError) as error:
            raise UsageError(f"--name {self.text!r} is not understood: {error}.", _REMEDY) from error
        if self.scale is None and "scale" in fields:
            raise UsageError(
                f"--name {self.text!r} asks for the scale, and without --scale each photo has its own.",
                "Use {stem} and {model}.",
            )
        if unknown:
            raise UsageError(f"--name {self.text!r} has a field that is not known: {unknown[0]!r}.", _REMEDY)
        if not name.strip() or any(mark in name for mark in ("/", os.sep, "\0")):
            raise UsageError(f"--name {self.text!r} makes no file name.", "Use -o to choose the folder.")

    @property
    def tells_apart(self) -> bool:
        """Whether photos of different stems get different names."""
        return self._fill("a") != self._fill("b")

    def name(self, stem: str, suffix: str, *, apart: bool = False) -> str:
        """Return a file's name; a stem that makes it too long is cut, and a mark tells it from its like.

        Args:
            stem: of the photo.
            suffix: of the result, with its dot.
            apart: let the stem show in any case.

        Raises:
            UsageError: the name is too long even for a stem of one letter.
        """

        def fill(stem: str) -> str:
            filled = self._fill(stem)
            return (f"{filled}_{stem}" if apart and not self.tells_apart else filled) + suffix

        name = fill(stem)
        if _length(name) <= LONGEST:
            return name
        mark = f"~{hashlib.sha256(os.fsencode(stem)).hexdigest()[:8]}"
        for end in range(len(stem) - 1, 0, -1):
            name = fill(stem[:end] + mark)
            if _length(name) <= LONGEST:
                return name
        raise UsageError(f"--name {self.text!r} is too long for a file's name.", "Use a shorter one.")

    def _fill(self, stem: str) -> str:
        return self.text.format(stem=stem, model=self.model, scale="" if self.scale is None else f"{self.scale:g}")


_REMEDY = "Use {stem}, {model} and {scale}."


def _length(name: str) -> int:
    return len(os.fsencode(name))


Candidate = Callable[[Job, str], Path]
"""Makes the path of a result, given its photo and its suffix."""


def assign(
    jobs: Sequence[Job],
    template: NameTemplate,
    *,
    requested: str,
    owned: Callable[[Job, Path], bool] = lambda _job, _path: False,
) -> list[Job]:
    """Return the jobs with target and format, no two targets alike.

    A name that several photos would get goes to none of them, so that it does not depend on who comes first: the
    photo's suffix joins the stem (a_jpg_restored.png beside a_png_restored.png), then the name of its folder, then a
    mark made of its path. Only a photo that has the name from an earlier run keeps it.

    Args:
        jobs: all photos of the run, with their headers; parts of a run (`restorer.batch.discovery.shard`) then agree
            on names.
        template: what results are called.
        requested: `--format`.
        owned: whether an earlier run made this file from this photo.

    Raises:
        UsageError: the format does not go with the name of the result that the user gave.
    """
    chosen = [_format(job, requested) for job in jobs]
    targets: dict[int, Path] = {i: job.target for i, job in enumerate(jobs) if job.target is not None}
    taken = {key(path) for path in targets.values()}
    left = [i for i in range(len(jobs)) if i not in targets]
    for candidate in _candidates(template):
        groups: dict[str, list[tuple[int, Path]]] = {}
        for i in left:
            path = candidate(jobs[i], _suffix(jobs[i], chosen[i]))
            groups.setdefault(key(path), []).append((i, path))
        left = []
        for name, members in groups.items():
            holders = members if len(members) == 1 else [each for each in members if owned(jobs[each[0]], each[1])][:1]
            if name in taken:
                holders = []
            for i, path in holders:
                targets[i] = path
                taken.add(name)
            left += [i for i, _ in members if i not in targets]
        left.sort()
    for i in left:  # not even the whole path tells them apart on a disk that minds no case
        for number in range(2, len(jobs) + 2):
            stem = f"{jobs[i].stem}-{number}"
            path = jobs[i].folder / template.name(stem, _suffix(jobs[i], chosen[i]), apart=True)
            if key(path) not in taken:
                targets[i] = path
                taken.add(key(path))
                break
    return [replace(job, target=targets[i], format=chosen[i]) for i, job in enumerate(jobs)]


def _candidates(template: NameTemplate) -> list[Candidate]:
    def made(stem: Callable[[Job], str], *, apart: bool = True) -> Candidate:
        return lambda job, suffix: job.folder / template.name(stem(job), suffix, apart=apart)

    return [
        made(lambda job: job.stem, apart=False),
        made(_with_suffix),
        made(lambda job: f"{job.source.absolute().parent.name}_{_with_suffix(job)}"),
        made(lambda job: f"{_with_suffix(job)}-{_mark(job.place)}"),  # the same wherever the album is
        made(lambda job: f"{_with_suffix(job)}-{_mark(job.source.absolute())}"),
    ]


def _with_suffix(job: Job) -> str:
    name = job.source.name.replace(".", "_")
    return name + job.mark


def _mark(path: str | Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:8]


def _format(job: Job, requested: str) -> str | None:
    """Return the format of a result; None where that cannot be told before the photo is read, and fails to be."""
    own = job.header.format
    if own is None and requested == "keep" and job.target is None:
        return None
    try:
        return output_format(own or "PNG", requested, job.target.suffix if job.target else None)
    except MissingSupportError:
        return None  # reading or writing this photo will say so


def _suffix(job: Job, format: str | None) -> str:
    suffix = job.source.suffix
    if format is None:
        return suffix if suffix.lower() in PICTURE_SUFFIXES else ""
    return suffix_for(format, suffix)
