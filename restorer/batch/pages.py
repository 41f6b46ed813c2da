"""`--pages`: files that hold several pictures, each page a photo of its own with a result of its own name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from restorer.batch.discovery import Job
from restorer.errors import UnreadablePhotoError, UsageError
from restorer.photo.header import page_count

ALL = "all"


def on_pages(jobs: Sequence[Job], wanted: str | None) -> list[Job]:
    """Return the jobs with one for each page that is wanted of a file that holds several.

    Args:
        jobs: a file each.
        wanted: "all", or numbers from 1 such as "2,5" or "1-3"; None = as the files are read, their first page alone.

    Raises:
        UsageError: `wanted` is not understood, or one file was named for the results of several pages.
    """
    if wanted is None:
        return list(jobs)
    numbers = None if wanted == ALL else _numbers(wanted)
    found: list[Job] = []
    for job in jobs:
        count = 1 if job.problem is not None else page_count(job.source)
        pages = list(range(1, count + 1)) if numbers is None else numbers
        if job.target is not None and len(pages) > 1:
            raise UsageError(
                f"-o {job.target} names one picture, but {len(pages)} pages were asked for.",
                "Name a folder: -o restored/",
            )
        if count == 1 and pages[:1] == [1]:
            found.append(job)
            pages = pages[1:]
        found += [_page(job, number, count) for number in pages]
    return found


def _page(job: Job, number: int, count: int) -> Job:
    problem = job.problem
    if number > count:
        pages = "1 page" if count == 1 else f"{count} pages"
        problem = UnreadablePhotoError(job.source, f"{job.source} has {pages}; there is no page {number}.")
    return replace(job, page=number, place=f"{job.place}:p{number}", problem=problem)


def _numbers(text: str) -> list[int]:
    """Return the numbers of a text such as "2,5" or "1-3", each once, in their order."""
    found: set[int] = set()
    for part in text.replace(" ", "").split(","):
        first, dash, last = part.partition("-")
        ends = (first, last) if dash else (first, first)
        if not all(end.isdecimal() and len(end) < 6 and int(end) > 0 for end in ends) or int(ends[0]) > int(ends[1]):
            raise UsageError(f"--pages {text} is not understood.", "Use all, or numbers such as 2,5 or 1-3.")
        found |= set(range(int(ends[0]), int(ends[1]) + 1))
    return sorted(found)
