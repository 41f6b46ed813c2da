"""The work on one photo for a server: looked at, restored, written; the restorer is loaded when it is first needed."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING

from restorer.errors import OutputExistsError
from restorer.options import Options
from restorer.photo import Photo, output_format, substitution, suffix_for
from restorer.pipeline.components import Components
from restorer.pipeline.events import Counted
from restorer.pipeline.result import file_format
from restorer.pipeline.stages import stages
from restorer.record import Record
from restorer.server import looking
from restorer.server.jobs import CancelledWork, Job, Upload
from restorer.server.memory import Memory
from restorer.server.refusals import NotReadyError
from restorer.server.remembering import RememberingRestorer
from restorer.storage.atomic import write_whole
from restorer.storage.digest import sha256_of
from restorer.weights.progress import Progress, announcement

if TYPE_CHECKING:
    from restorer.faces.blending import Box
    from restorer.pipeline.restorer import Restorer

EVERY = 0.1
"""Seconds between two events about how far a job is."""
TRIES = 1000
"""Names that are tried for a file that is saved."""


class Worker:
    """Does what a service is asked for, with one restorer for all.

    Args:
        options: what holds where a request says nothing.
        memory: what the restorer remembers.
        notice: hears what everybody should read, such as what is downloaded.
        opened: gives the photo of an upload.
    """

    def __init__(
        self,
        options: Options,
        memory: Memory,
        notice: Callable[[str], None],
        opened: Callable[[Upload], Photo],
    ) -> None:
        self._notice, self._opened, self._memory = notice, opened, memory
        self.restorer: Restorer = RememberingRestorer(
            memory, notify=notice, warn=notice, on_download=self._downloading, **options.values()
        )

    def _downloading(self, step: Progress) -> None:
        if step.stage == "start":
            self._notice(announcement(step))
        elif step.stage == "done":
            self._notice(f"{step.table} is here.")

    def check(self, options: Options) -> None:
        """Raise what is wrong with options that do not go together, or name what is not there."""
        self.restorer.components_for(options)

    def warm(self) -> None:
        """Load torch and what finds faces, where that needs no download."""
        import torch

        from restorer import weights
        from restorer.engine.device import apply_threads

        apply_threads()
        torch.zeros(1)
        components: Components = self.restorer.components
        chosen = components.options.detector
        if chosen != "auto" and not weights.missing([weights.resolve(chosen)], offline=True):
            components.detector()

    def look(self, upload: Upload) -> None:
        """See what a photo shows; what is found is written into it."""
        from restorer.imaging import fading, screens
        from restorer.imaging.colour import looks_grey

        record = Record(upload.name)
        with record.capturing(upload.name):
            photo = self._opened(upload)
            upload.size, upload.warnings = photo.size, list(photo.warnings)
            looking.write_small(photo, upload.thumbnail)
            upload.grey = bool(looks_grey(photo.pixels, None))
            upload.faded = fading.measure(photo.pixels, photo.alpha).is_faded
            upload.screened = bool(screens.find(photo.pixels, quick=True))
            found = looking.find_faces(self.restorer, photo, self.restorer.options)
            upload.faces = looking.faces_of(found)
        upload.error = record.error

    def restore(self, job: Job, folder: Path, tell: Callable[[], None]) -> None:
        """Restore the photo of a job into a folder; what goes wrong with it stands in the record.

        Raises:
            CancelledWork: nobody wants it any more.
            WeightsError: weights are missing.
            UsageError: the options cannot be met.
        """
        from restorer.faces.blending import Blending

        upload, options = job.upload, job.options
        record = job.record = self.restorer.new_record(upload.name, options)
        course = _Course(job, tell)
        course("read", 0.0)
        with record.capturing(upload.name):
            with record.timed("total"), record.timed("read"):
                photo = self._opened(upload)
            upload.size = photo.size
            format = output_format(photo.format, file_format(options), None)
            record.warn(substitution(photo.format, file_format(options)))
            blending = Blending() if job.attended and not options.layers else None
            result = self.restorer.restore(
                photo, options=options, record=record, format=format, on_stage=course, blending=blending
            )
            if blending is not None and blending.faces:
                self._memory.put(_blending_of(job), (job, blending), blending.bytes)
            course("write", 0.0)
            with record.timed("total"), record.timed("write"):
                folder.mkdir(mode=0o700, exist_ok=True)
                job.name = result_name(upload, format)
                target = folder / f"result{Path(job.name).suffix}"
                record.warn(*result.save(target, format=format))
            job.bytes, job.output = target.stat().st_size, target
            record.output = job.name
            if options.model != "none" and not job.aside:
                upload.faces = looking.faces_of(record)

    def blended(self, job: Job, face: int, strength: float, also: Collection[int] = ()) -> tuple[Box, bytes]:
        """Return what a face's part of a result looks like with another strength: its box, and a picture's file.

        Args:
            job: whose result it is.
            face: its number.
            strength: of it, and of the faces `also` where they reach into that part.
            also: numbers of faces.

        Raises:
            NotReadyError: what it takes is kept no longer; another job for the photo brings it again.
        """
        from restorer.faces.blending import Blending
        from restorer.photo import color

        kept = self._memory.peek(_blending_of(job))
        blending: Blending | None = kept[1] if kept is not None and kept[0] is job else None
        if blending is None or face not in blending.faces:
            raise NotReadyError("This face cannot be shown in another way at the moment.", "Restore the photo anew.")
        box, pixels = blending.again(face, strength, also)
        profile = color.profile_meant(self._opened(job.upload))
        return box, looking.as_file(pixels, profile)

    @staticmethod
    def save(source: Path, target: Path) -> Path:
        """Write a copy of a file under a name that is free; one that holds the same bytes already is taken as it is.

        Raises:
            UnwritableOutputError: it cannot be written.
            OutputExistsError: there is no free name.
        """
        content = source.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        target.parent.mkdir(parents=True, exist_ok=True)
        for number in range(1, TRIES):
            place = target if number == 1 else target.with_name(f"{target.stem}_{number}{target.suffix}")
            try:
                write_whole(place, content, replace=False)
            except OutputExistsError:
                if place.is_file() and sha256_of(place) == digest:
                    return place
                continue
            return place
        raise OutputExistsError(target, f"{target} and its like exist already.", "Choose another folder with -o.")


def result_name(upload: Upload, format: str) -> str:
    """Return what the result of a photo is called, as the command line calls it."""
    name = Path(upload.name)
    return f"{name.stem}_restored{suffix_for(format, name.suffix)}"


def _blending_of(job: Job) -> tuple[str, ...]:
    """Return under which name the faces of a job's result are remembered: those of a try beside those of the photo."""
    return ("try" if job.aside else "blending"), job.upload.identity


class _Course:
    """Hears how far a photo is, tells it on, and ends the work when nobody wants it any more."""

    def __init__(self, job: Job, tell: Callable[[], None]) -> None:
        self._job, self._tell = job, tell
        self._told = 0.0
        self._stages = {stage.name: stage for stage in stages()}
        whole = sum(stage.weight for stage in self._stages.values())
        self._before: dict[str, float] = {}
        share = 0.0
        for name, stage in self._stages.items():
            self._before[name] = share / whole
            share += stage.weight
        self._whole = whole

    def __call__(self, stage: str, fraction: float) -> None:
        job = self._job
        if not job.wanted:
            raise CancelledWork
        now = time.monotonic()
        if stage == job.stage and now - self._told < EVERY:
            return
        self._told = now
        known = self._stages.get(stage)
        if known is not None:
            job.share = self._before[stage] + known.weight / self._whole * min(float(fraction), 1.0)
        elif stage == "write":
            job.share = 0.97
        job.stage, job.words = stage, known.words if known is not None else ""
        if isinstance(fraction, Counted):
            job.words += f": {fraction.done} / {fraction.total}" if fraction.total > 1 else ""
        took = now - job.began
        job.left = took * (1 - job.share) / job.share if job.share > 0.1 and took > 0.5 else None
        self._tell()
