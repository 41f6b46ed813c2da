"""`restore -` and `-o -`: one photo from stdin, or to stdout, by the same rules as files."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from restorer.batch.discovery import find_photos, names_picture
from restorer.batch.existing import Difference, settle
from restorer.batch.outputs import check_place, in_the_way, is_original, make_folder
from restorer.batch.reading import DONE, KEPT
from restorer.batch.walking import FolderPath
from restorer.cli import settings
from restorer.cli.paths import listed
from restorer.cli.request import PhotosRequest
from restorer.errors import UnreadablePhotoError, UsageError
from restorer.options import declared, outlines, sizes
from restorer.photo import check_output_size, output_format, read_note, read_photo, substitution
from restorer.pipeline.result import file_format, variant_paths
from restorer.storage.identity import Identity, identity

if TYPE_CHECKING:
    from restorer.pipeline.events import OnStage
    from restorer.pipeline.restorer import Restorer
    from restorer.record import Record

_STDIN = frozenset({"-", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"})
_STDOUT = frozenset({"-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"})


def name_of(request: PhotosRequest) -> str:
    """Return what the photo of a stream is called while it is worked on."""
    if _from_stdin(request):
        return "the photo from stdin"
    return Path(request.photos[0]).name if request.photos else "the photo"


def is_stream(request: PhotosRequest) -> bool:
    """Return whether the photo comes from stdin, or the result goes to stdout."""
    return any(photo in _STDIN for photo in request.photos) or _to_stdout(request)


def restore_stream(
    restorer: Restorer,
    request: PhotosRequest,
    show: Callable[[Record], None],
    kept: Callable[[Difference], None],
    *,
    on_stage: OnStage | None = None,
    json_lines: bool,
) -> int:
    """Restore one photo from stdin or to stdout; return the exit code.

    Args:
        restorer: what restores it.
        request: what the command line says about files.
        show: prints the record.
        kept: hears of a result that is there and was made otherwise than asked for, before `show`.
        on_stage: told how far the work is.
        json_lines: records go to stdout.

    Raises:
        UsageError: what was asked for goes with files only, or a picture would go to a terminal.
    """
    _check(request, json_lines=json_lines)
    source = _named(request)
    out = None if _to_stdout(request) else request.out
    if out is not None and not names_picture(out):
        raise UsageError(f"-o {out} names no picture, and a photo from stdin has no name.", "Use -o NAME.jpg.")
    if out is not None:
        output_format(
            "PNG", file_format(restorer.options), out.suffix
        )  # a name that nothing can be written to is wrong usage
    origin = _identity(sys.stdin) if source is None else identity(source)
    if out is None and restorer.options.variants > 1:
        raise UsageError("--variants makes several pictures, and stdout takes one.", "Name a file with -o.")
    if out is None and not request.dry_run:
        _check_stdout(origin)
    record = restorer.new_record(str(source or "-"))
    with record.capturing(source):
        data = _read(source)
        there = None if out is None else _there(restorer, request, data, out, origin)
        if there is None:
            record = _restore(restorer, request, data, out, record, on_stage)
        else:
            record.status, record.output = "skipped", str(out)
            record.reason = there if isinstance(there, str) else f"{KEPT}{there.made}"
            if not isinstance(there, str):
                kept(there)
    record.input = str(source or "-")
    show(record)
    if record.interrupted:  # a search, whose best until then has been written
        raise KeyboardInterrupt
    return 1 if record.status == "failed" else 0


def _read(source: Path | None) -> bytes:
    if source is None:
        return sys.stdin.buffer.read()
    try:
        return source.read_bytes()
    except OSError as error:
        message = f"{source} cannot be read: {error.strerror or error}."
        raise UnreadablePhotoError(source, message, "Check the file and its folder.") from error


def _restore(
    restorer: Restorer,
    request: PhotosRequest,
    data: bytes,
    out: Path | None,
    record: Record,
    on_stage: OnStage | None,
) -> Record:
    if out is not None:
        check_place(out)
    photo = read_photo(data)
    suffix = out.suffix if out else None
    format = output_format(photo.format, file_format(restorer.options), suffix)
    instead = substitution(photo.format, file_format(restorer.options), suffix)
    outlines.boxes(restorer.options.face, photo.size)  # one beyond the photo is wrong usage
    size = restorer.output_size(photo.size)
    check_output_size(format, *size, None)
    if request.dry_run:
        record.status, record.output, record.reason = "skipped", str(out or "-"), "dry run"
        record.input_size, record.output_size = photo.size, size
        record.scale = sizes.scale_of(restorer.options, photo.size)
        record.warn(*photo.warnings, *sizes.remarks(restorer.options, photo.size))
        restorer.components.say(record, instead)
        return record
    if out is not None:
        for other in variant_paths(out, restorer.options.variants)[1:]:
            if os.path.lexists(other) and not request.overwrite:
                raise in_the_way(other, None, None)
        make_folder(out.parent)
        return restorer.restore_file(data, out, format, photo=photo, overwrite=request.overwrite, on_stage=on_stage)
    result = io.BytesIO()
    record = restorer.restore_file(data, result, format, photo=photo, on_stage=on_stage)
    restorer.components.say(record, instead)
    if record.status == "ok":
        sys.stdout.buffer.write(result.getvalue())
        sys.stdout.buffer.flush()
    return record


def _there(
    restorer: Restorer, request: PhotosRequest, data: bytes, out: Path, origin: Identity | None
) -> Difference | str | None:
    """Return `DONE` where the result is there already, and what differs where it was made otherwise; None = neither.

    Raises:
        OutputExistsError: the file of that name must not be replaced.
    """
    if not os.path.lexists(out):
        return None
    if (origin is not None and identity(out) == origin) or _holds(out, data):  # a pipe tells no more than its bytes
        raise is_original(out)
    if request.overwrite:
        return None
    if not request.resume:
        raise in_the_way(out, None, None)
    return settle(out, read_note(out), restorer.note(hashlib.sha256(data).hexdigest())) or DONE


def _holds(file: Path, data: bytes) -> bool:
    try:
        return file.is_file() and file.stat().st_size == len(data) and file.read_bytes() == data
    except OSError:
        return False


def _from_stdin(request: PhotosRequest) -> bool:
    return any(photo in _STDIN for photo in request.photos)


def _to_stdout(request: PhotosRequest) -> bool:
    if request.out is None:
        return _from_stdin(request)
    return str(request.out) in _STDOUT and not isinstance(request.out, FolderPath)


def _named(request: PhotosRequest) -> Path | None:
    """Return the one photo that is named; None for stdin."""
    if _from_stdin(request):
        return None
    jobs = find_photos(request.photos, None, listed=listed(request.files_from)).jobs
    if len(jobs) != 1:
        raise UsageError(f"-o - writes one photo to stdout, but {len(jobs)} were given.", "Name a folder: -o restored/")
    if jobs[0].problem is not None:
        raise jobs[0].problem
    return jobs[0].source


def _check(request: PhotosRequest, *, json_lines: bool) -> None:
    """Refuse what goes with files only."""
    if _from_stdin(request):
        if len(request.photos) > 1 or request.files_from:
            raise UsageError("- reads one photo from stdin; it cannot be mixed with files.")
        if sys.stdin.isatty():
            raise UsageError(
                "- reads a photo from stdin, and stdin is this terminal.", "Use restore - < photo.jpg > restored.jpg"
            )
    if request.sheet:
        raise UsageError("--sheet shows files before and after; a photo from stdin or to stdout is none.")
    if request.report or request.report_sample:
        raise UsageError("--report shows files before and after; a photo from stdin or to stdout is none.")
    for flag in _only_for_files(request):
        raise UsageError(f"{flag} is for files; a photo from stdin or to stdout is none.", "Leave it out.")
    if json_lines and _to_stdout(request) and not request.dry_run:
        raise UsageError("--json prints records where the picture would go.", "Name a file with -o.")


def _only_for_files(request: PhotosRequest) -> list[str]:
    """Return the options of the command line that say nothing about a photo from stdin or to stdout."""
    configured = settings.load()  # restore.toml speaks of every run, so what it says is no error here
    found = []
    for name in ("name", "pages", "split", "shard", "retry_failed", "preview"):
        option, value = declared(PhotosRequest)[name], getattr(request, name)
        if value != option.default and not (option.long in configured and configured[option.long].value == value):
            found.append(f"--{option.long}")
    return found


def _check_stdout(origin: Identity | None) -> None:
    """Refuse to write a picture to a terminal, or into the photo that it is made from."""
    if sys.stdout.isatty():
        raise UsageError("The picture would go to this terminal.", "Use > FILE, or -o FILE.")
    if origin is not None and _identity(sys.stdout) == origin:
        raise UsageError("stdout leads into the photo itself; an original is never overwritten.", "Use another file.")


def _identity(stream: TextIO) -> Identity | None:
    """Return which file a stream reads or writes; None for pipes, devices, and streams without a file."""
    try:
        number = stream.fileno()
        return identity(number) if stat.S_ISREG(os.fstat(number).st_mode) else None
    except (OSError, ValueError, AttributeError):  # what a caller puts in the place of stdin need not be a file
        return None
