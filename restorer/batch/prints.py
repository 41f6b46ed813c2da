"""`--split auto`: scans that hold several prints, each print a photo of its own with a result of its own name."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from restorer.errors import RestorerError, UsageError
from restorer.imaging import prints
from restorer.photo import Photo, read_photo

if TYPE_CHECKING:
    from restorer.batch.discovery import Job
    from restorer.imaging.prints import Print

AUTO = "auto"


def on_prints(jobs: Sequence[Job], split: str) -> list[Job]:
    """Return the jobs with one for each print of a scan that plainly holds several; each scan is read for it.

    Args:
        jobs: a file, or a page of one, each.
        split: "auto", or "none": as they are.

    Raises:
        UsageError: one file was named for the results of several prints.
    """
    if split != AUTO:
        return list(jobs)
    return [part for job in jobs for part in _parts(job)]


def _parts(job: Job) -> list[Job]:
    """Return a job for each print; the job itself, with a word about why, where its scan stays whole."""
    if job.problem is not None:
        return [job]
    try:
        photo = read_photo(job.source, page=job.page)
    except (OSError, RestorerError):
        return [job]  # it fails when its turn comes, and says why
    found, reason = prints.find(photo.pixels)
    if not found:
        return [replace(job, remark=f"--split leaves it whole: {reason}.")]
    if job.target is not None:
        raise UsageError(
            f"-o {job.target} names one picture, but {job.source} shows {len(found)} prints.",
            "Name a folder: -o restored/",
        )
    return [
        replace(job, place=f"{job.place}:print{number}", part=each, number=number, parts=len(found))
        for number, each in enumerate(found, 1)
    ]


def part_digest(sha256: str, part: Print | None) -> str:
    """Return what stands for the bytes of a print: made of its scan's hash and its place; the hash without a place."""
    if part is None:
        return sha256
    return hashlib.sha256(f"{sha256} {part.centre} {part.size} {part.angle}".encode()).hexdigest()


def cut(photo: Photo, part: Print) -> Photo:
    """Return a print of a scan as a photo of its own, with all that the scan's file carries."""
    return replace(
        photo,
        pixels=prints.cut(photo.pixels, part),
        alpha=None if photo.alpha is None else prints.cut(photo.alpha, part),
        sha256=part_digest(photo.sha256, part),
    )
