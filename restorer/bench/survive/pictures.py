"""Changed files of every format through the reader and all of their metadata; some written again, some compared."""

from __future__ import annotations

import io
import re
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from restorer.bench.survive import comparing, sandbox
from restorer.bench.survive.bombs import bound
from restorer.bench.survive.counting import Tally
from restorer.bench.survive.mutating import mutated
from restorer.bench.survive.samples import SUFFIXES, kinds
from restorer.bench.survive.sandbox import Died, Job, Marker
from restorer.errors import PhotoError
from restorer.photo import FORMATS, Note, Photo, read_note, read_photo, write_photo
from restorer.photo.header import page_count, read_header

if TYPE_CHECKING:
    from restorer.bench.survive.campaign import Plan

SLICE = 250
"""Cases that a worker tries before it tells of them."""
LARGE = 2_000_000
"""Pixels beyond which a file, which claims more than it is, is only read."""
MEMORY = 1536 * 2**20
"""Bytes that a worker may take; a picture that claims more is then refused as one that does not fit into memory."""
_WRITTEN, _COMPARED = 8, 4  # each so many
_NOTE = Note("restorer", "0.1.0", "none", "5a" * 32, {"scale": 2.0})
_OURS = re.compile(r"Traceback|0x[0-9a-f]{8}")


class Trial:
    """Tries files of one kind in a worker, and counts.

    Args:
        folder: for the file.
        keep: for files that were lost over; None = they are not kept.
    """

    def __init__(self, folder: Path, keep: Path | None) -> None:
        self._folder, self._keep = folder, keep

    def __call__(self, job: Job, marker: Marker) -> Tally:
        """Try the cases of a job."""
        tally, peak, silence = Tally("pictures"), sandbox.Peak(), sandbox.Silence()
        file = self._folder / f"a{SUFFIXES[job.kind]}"
        for number in range(job.first, job.last):
            data, case = mutated(job.kind, job.seed, number), case_of(job, number)
            file.write_bytes(data)
            marker.begin(number)
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                outcome, photo = put_through(file, number)
            seconds, mib = marker.spent, peak.grown()
            said = silence.said()
            if photo is not None and number % _COMPARED == 0:
                outcome = compared(data, photo)
                silence.said()  # the other decoder's
            marker.pause()
            if words := _harm(outcome, mib, file, data) or (said and f"it printed {said[:300]!r}"):
                tally.lose(job.kind, case, words)
                keep(self._keep, case, data)
            else:
                tally.add(job.kind, outcome, case, seconds, mib)
        return tally


def _harm(outcome: str, mib: float, file: Path, data: bytes) -> str:
    """Return what is wrong with how a case ended; "" for nothing."""
    if mib > bound(len(data), 0):
        width, height = read_header(file).size or (0, 0)
        if mib > bound(len(data), min(width * height, 2**30)):
            return f"{mib:.0f} MiB for {len(data)} bytes that claim {width} x {height} pixels"
    return "another decoder sees another picture" if outcome == "read, and another decoder differs" else ""


def case_of(job: Job, number: int) -> str:
    """Return a case's name, by which it is found again."""
    return f"{job.kind}-{job.seed}-{number}"


def keep(folder: Path | None, case: str, data: bytes) -> None:
    """Keep the file of a case that was lost over."""
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{case}{SUFFIXES[case.split('-')[0]]}").write_bytes(data)


def put_through(file: Path, number: int) -> tuple[str, Photo | None]:
    """Do with a file what a run does to its file, and return how it went.

    Args:
        file: the photo.
        number: of the case; some are written again.

    Returns:
        The outcome, and the photo where its pixels are not doubted.

    Raises:
        Exception: what no file may raise.
    """
    read_header(file)
    read_note(file)
    page_count(file)
    try:
        photo = read_photo(file)
    except PhotoError as error:
        if not error.remedy or _OURS.search(error.message) or str(file) not in error.message:
            raise AssertionError(
                f"an error that does not say what it must: {error.message!r}, {error.remedy!r}"
            ) from error
        return "refused", None
    if photo.size[0] * photo.size[1] > LARGE:
        return "read, large", None
    if number % _WRITTEN == 0:
        _write(photo, number)
    return ("read, with a doubt", None) if comparing.is_doubted(photo) else ("read", photo)


def compared(data: bytes, photo: Photo) -> str:
    """Return how a file that was read comes out beside another decoder."""
    found = comparing.verdict(data, photo)
    return {"agrees": "read, and another decoder agrees", "differs": "read, and another decoder differs"}.get(
        found, "read, and another decoder refuses"
    )


def _write(photo: Photo, number: int) -> None:
    """Write a photo again, and read what was written."""
    width, height = photo.size
    fitting = (
        entry
        for entry in FORMATS.values()
        if entry.writable and entry.fits(width, height, 4, 8 * photo.pixels.itemsize)
    )
    targets = [entry.name for entry in fitting if entry.name != "HEIF"]
    stream = io.BytesIO()
    format = targets[number // _WRITTEN % len(targets)]
    write_photo(stream, photo.pixels, like=photo, format=format, alpha=photo.alpha, note=_NOTE)
    again = read_photo(stream.getvalue())
    if again.size != photo.size:
        raise AssertionError(f"written as {photo.size}, it is read as {again.size}")


def attempt(plan: Plan) -> Tally:
    """Try changed files of all kinds in turn, until the time is up."""
    tally, begin = Tally("pictures"), time.monotonic()
    names = kinds()  # they are made before processes are forked

    def jobs() -> Iterator[Job]:
        number = 0
        while time.monotonic() - begin < plan.seconds:
            for kind in names:
                yield Job(kind, plan.seed, number, number + SLICE)
            number += SLICE

    for job, answer in sandbox.run(jobs(), Trial(plan.folder, plan.keep), memory=MEMORY):
        if isinstance(answer, Died):
            case = case_of(job, answer.number)
            tally.lose(job.kind, case, answer.words)
            if answer.number >= 0:
                keep(plan.keep, case, mutated(job.kind, job.seed, answer.number))
        else:
            tally.take(answer)
    return tally
