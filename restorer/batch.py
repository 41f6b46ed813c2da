"""Many photos: find them, name their outputs, and restore one after the other without one harming another."""

from __future__ import annotations

import glob
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from restorer.errors import OutputExistsError, RestorerError, UnreadablePhotoError, UnwritableOutputError, UsageError
from restorer.photo import PICTURE_SUFFIXES, Photo, output_format, read_note, read_photo
from restorer.pipeline import OnStage, Restorer
from restorer.record import Record

SUFFIXES = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp", "TIFF": ".tif", "BMP": ".bmp", "HEIF": ".heic"}
"""The suffix of an output whose format is not that of its input's name."""


@dataclass(frozen=True)
class Job:
    """One photo to restore.

    Attributes:
        source: the photo's file.
        folder: where the output goes.
        target: the output's file, where the user named it; otherwise it is found from the name template.
    """

    source: Path
    folder: Path
    target: Path | None = None


@dataclass
class Summary:
    """How a run ended, photo by photo."""

    records: list[Record] = field(default_factory=list)
    seconds: float = 0.0

    def count(self, status: str) -> int:
        """Return how many photos ended with a status."""
        return sum(record.status == status for record in self.records)

    @property
    def failed(self) -> list[Record]:
        """The records of the photos that failed."""
        return [record for record in self.records if record.status == "failed"]


def find_photos(arguments: Sequence[str], out: Path | None) -> list[Job]:
    """Return a job for each photo that the arguments name: files, folders (recursively) and globs, in a stable order.

    Inside folders, hidden files and folders, files without a picture's suffix, what lies in the output folder, and
    pictures that carry this tool's own note are passed over.

    Raises:
        UsageError: an argument names nothing, or `out` names a file for several photos.
    """
    found: dict[Path, Path] = {}  # photo -> its place below the output folder
    folders = False
    for argument in arguments:
        path = Path(argument)
        if path.is_dir():
            folders = True
            for photo in _walk(path, out):
                found.setdefault(photo, photo.parent.relative_to(path))
        elif path.exists() or path.is_symlink():
            found.setdefault(path, Path())
        else:
            matches = _matches(argument)
            if not matches:
                raise UsageError(
                    f"{argument}: there is no such file or folder.",
                    "Check the name; quote names with spaces. `restore --help` lists the commands.",
                )
            for match in map(Path, matches):
                for photo in _walk(match, out) if match.is_dir() else [match]:
                    found.setdefault(photo, Path())
                folders |= match.is_dir()
    if out is not None and out.suffix.lower() in PICTURE_SUFFIXES and not out.is_dir():
        if len(found) == 1 and not folders:
            return [Job(next(iter(found)), out.parent, out)]
        raise UsageError(
            f"-o {out} names one picture, but {len(found)} photos were given.", "Name a folder: -o restored/"
        )
    return [Job(photo, out / below if out else photo.parent) for photo, below in found.items()]


def _matches(pattern: str) -> list[str]:
    """Return what a glob names, in order; nothing when it is no glob."""
    # pathlib cannot take a pattern that begins with a root or a drive.
    return sorted(glob.glob(pattern, recursive=True)) if glob.has_magic(pattern) else []  # noqa: PTH207


def _walk(folder: Path, out: Path | None) -> Iterator[Path]:
    """Yield the pictures below a folder in the order of their names."""
    skip = out.resolve() if out else None
    for root, folders, files in os.walk(folder):
        here = Path(root)
        folders[:] = sorted(
            name for name in folders if not name.startswith(".") and (skip is None or (here / name).resolve() != skip)
        )
        for name in sorted(files):
            path = here / name
            if name.startswith(".") or path.suffix.lower() not in PICTURE_SUFFIXES:
                continue
            if read_note(path) is None:
                yield path


class Batch:
    """A run over many photos with one `Restorer`.

    Args:
        restorer: what restores them.
        name: template of an output's name without suffix: {stem}, {model}, {scale}.
        overwrite: replace outputs that exist.
        dry_run: read each photo and say what would be done, but do not do it.

    Raises:
        UsageError: the template has an unknown field, or would put an output into another folder.
    """

    def __init__(
        self, restorer: Restorer, *, name: str = "{stem}_restored", overwrite: bool = False, dry_run: bool = False
    ) -> None:
        self._restorer = restorer
        self._name = name
        self._overwrite = overwrite
        self._dry_run = dry_run
        self._claimed: dict[str, Path] = {}
        self._stem("probe")

    def run(
        self,
        jobs: Iterable[Job],
        *,
        on_start: Callable[[Job], OnStage | None] | None = None,
        on_record: Callable[[Record], None] | None = None,
    ) -> Summary:
        """Restore each photo; a bad one is recorded and the next one taken.

        Args:
            jobs: the photos.
            on_start: told before each photo; returns what is told how far that photo is.
            on_record: told how each photo ended.

        Raises:
            WeightsError: weights are missing or not verified.
            KeyboardInterrupt: the user interrupts; the photo in hand leaves nothing behind.
        """
        summary, begin = Summary(), time.perf_counter()
        for job in jobs:
            stage = on_start(job) if on_start else None
            record = self._one(job, stage)
            summary.records.append(record)
            if on_record:
                on_record(record)
        summary.seconds = time.perf_counter() - begin
        return summary

    def _one(self, job: Job, on_stage: OnStage | None) -> Record:
        """Restore one photo, or find that it is done, or why it cannot be."""
        record = self._restorer.new_record(str(job.source))
        try:
            with record.timed("read"):
                photo = read_photo(job.source)
            record.input_size, record.output_size = photo.size, self._restorer.output_size(photo.size)
            target, format = self._target(job, photo)
            if self._is_done(photo, target, record):
                return record
            if self._dry_run:
                record.status, record.reason, record.output = "skipped", "dry run", str(target)
                record.warn(*photo.warnings)
                return record
            _make_folder(target.parent)
            done = self._restorer.restore_file(job.source, target, format, photo=photo, on_stage=on_stage)
            done.seconds["read"] = done.seconds.get("read", 0.0) + record.seconds["read"]
            done.seconds["total"] = done.seconds.get("total", 0.0) + record.seconds["read"]
            return done
        except RestorerError as error:
            if error.exit_code != 1:
                raise
            record.fail(error)
        except OSError as error:  # the file vanished, or its folder cannot be read
            record.fail(UnreadablePhotoError(job.source, f"{job.source} cannot be read: {error.strerror or error}."))
        return record

    def _is_done(self, photo: Photo, target: Path, record: Record) -> bool:
        """Return whether the output is there and made by the same input, options and model; refuse any other one."""
        if self._overwrite or not target.exists():
            if target.exists() and photo.path is not None and target.samefile(photo.path):
                raise OutputExistsError(
                    target, f"{target} is the photo itself; the original is never overwritten.", "Choose another -o."
                )
            return False
        note = read_note(target)
        if note is not None and note.fingerprint == self._restorer.note(photo.sha256).fingerprint:
            record.status, record.output, record.reason = "skipped", str(target), "done already"
            return True
        raise OutputExistsError(
            target,
            f"{target} exists already and was not made from this photo with these options.",
            "Use --overwrite to replace it, or another -o or --name.",
        )

    def _target(self, job: Job, photo: Photo) -> tuple[Path, str]:
        """Return the output's file and format; no two photos of a run share one, whatever the disk thinks of case."""
        requested = self._restorer.options.format
        if job.target is not None:
            format = output_format(photo.format, requested, job.target.suffix)
            return self._claim(job.target, job.source), format
        format = output_format(photo.format, requested, None)
        suffix = job.source.suffix
        if format != photo.format or suffix.lower() not in PICTURE_SUFFIXES:
            suffix = SUFFIXES[format]
        path = job.folder / f"{self._stem(job.source.stem)}{suffix}"
        if self._claimed.get(_key(path), job.source) != job.source:
            path = job.folder / f"{self._stem(job.source.name.replace('.', '_'))}{suffix}"
        return self._claim(path, job.source), format

    def _claim(self, path: Path, source: Path) -> Path:
        if self._claimed.setdefault(_key(path), source) != source:
            raise OutputExistsError(
                path,
                f"{path} is already the output of {self._claimed[_key(path)]} in this run.",
                "Use a --name that tells them apart, or restore them into different folders.",
            )
        return path

    def _stem(self, stem: str) -> str:
        scale = f"{self._restorer.options.scale:g}"
        try:
            name = self._name.format(stem=stem, model=self._restorer.parts.model, scale=scale)
        except (KeyError, IndexError, ValueError) as error:
            raise UsageError(
                f"--name {self._name!r} has a field that is not known: {error}.", "Use {stem}, {model} and {scale}."
            ) from error
        if not name or "/" in name or os.sep in name or "\0" in name:
            raise UsageError(f"--name {self._name!r} makes no file name.", "Use -o to choose the folder.")
        return name


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UnwritableOutputError(
            folder, f"The folder {folder} cannot be made: {error.strerror}.", "Choose another place with -o."
        ) from error


def _key(path: Path) -> str:
    return os.path.normpath(path.absolute()).casefold()
