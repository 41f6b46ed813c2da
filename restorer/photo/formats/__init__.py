"""Which picture formats there are: one module each, found by walking this package; no list is kept by hand.

A module's `FORMAT` (`restorer.photo.base.Format`) declares how its files are recognised, read and written, what they
can hold, and what they cost. Here is what follows from all of them together.
"""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from restorer.errors import MissingSupportError, PhotoTooLargeError, UnsuitableFormatError, UsageError
from restorer.photo.base import Format

if TYPE_CHECKING:
    from collections.abc import Callable

    from restorer.photo.model import Photo


def _found() -> dict[str, Format]:
    modules = [importlib.import_module(f"{__name__}.{entry.name}") for entry in pkgutil.iter_modules(__path__)]
    return {module.FORMAT.name: module.FORMAT for module in modules}


FORMATS: dict[str, Format] = _found()

PICTURE_SUFFIXES: frozenset[str] = frozenset(
    suffix for entry in FORMATS.values() for suffix in (*entry.suffixes, *entry.other_suffixes)
)
"""Suffixes, lower case and with their dot, of the files that folder walking takes for photos."""


def sniff(head: bytes) -> str | None:
    """Return the format that a file's first bytes (64 are enough) show, or None; its name plays no part."""
    return next((entry.name for entry in FORMATS.values() if entry.recognise(head)), None)


def format_requests(*, spellings: bool = False) -> tuple[str, ...]:
    """Return the values of `--format`: "keep" and one for each format that is written.

    Args:
        spellings: also their other spellings ("jpeg" beside "jpg").
    """
    written = [entry for entry in FORMATS.values() if entry.writable]
    return ("keep", *(word for entry in written for word in (entry.requests if spellings else entry.requests[:1])))


def listed(words: list[str], joint: str = "and") -> str:
    """Return words as a sentence lists them: "a, b and c"."""
    return f" {joint} ".join([*([", ".join(words[:-1])] if words[1:] else []), *words[-1:]])


def keepers(keeps: Callable[[Format], bool]) -> str:
    """Return the titles of the offered and other written formats that keep something, as a sentence lists them."""
    return listed([entry.title for entry in FORMATS.values() if entry.writable and keeps(entry)])


def requested_format(requested: str) -> Format | None:
    """Return the format that a value of `--format` asks for, None for "keep"; any other text is a `UsageError`."""
    wanted = requested.lower().lstrip(".")
    asked = next((entry for entry in FORMATS.values() if entry.writable and wanted in entry.requests), None)
    if wanted != "keep" and asked is None:
        raise UsageError(f"--format {requested} is not known.", f"Use {listed(list(format_requests()), 'or')}.")
    return asked


def output_format(photo_or_format: Photo | str, requested: str, suffix_of_target: str | None = None) -> str:
    """Return the name of the format that a result is written in.

    Args:
        photo_or_format: the `Photo`, or the name of its format ("JPEG", "MPO", ...).
        requested: one of `format_requests(spellings=True)`.
        suffix_of_target: the suffix (or name) of the file that the user named, None when he named none.

    Returns:
        A key of `FORMATS`. "keep" follows the target's suffix where there is one, else the input's format; a format
        that is read but not written (GIF, AVIF) becomes PNG, which loses nothing; one that this installation cannot
        write becomes what `Format.instead` names, and `substitution` says so.

    Raises:
        UsageError: the request is unknown, the suffix is no picture's or that of a format that is not written, or both
            contradict each other.
        MissingSupportError: what the result needs is not installed.
    """
    given = photo_or_format if isinstance(photo_or_format, str) else photo_or_format.format
    asked = requested_format(requested)
    named = _named_by(suffix_of_target) if suffix_of_target else None
    if asked is None:
        result = named or _kept(given.upper())
    elif named is not None and named is not asked:
        raise UnsuitableFormatError(
            f"The output's name asks for {named.title}, and --format for {asked.title}.",
            "Leave one of them out, or let them agree.",
        )
    else:
        result = asked
    result.check_writing(suffix_of_target)
    return result.name


def _named_by(target: str) -> Format:
    suffix = (PurePath(target).suffix or target).lower()
    named = next((entry for entry in FORMATS.values() if entry.writable and suffix in entry.suffixes), None)
    if named is None:
        words = listed([entry.suffixes[0] for entry in FORMATS.values() if entry.writable], "or")
        raise UnsuitableFormatError(
            f"Files that end in {suffix!r} cannot be written.", f"Let the output end in {words}."
        )
    return named


def _kept(given: str) -> Format:
    """Return the format that "keep" means for a photo's format."""
    own = _own(given)
    return FORMATS["PNG"] if own is None else FORMATS[own.instead] if _lacking(own) else own


def _own(given: str) -> Format | None:
    """Return the format that a photo's format is written in, None where it is only read."""
    return next((entry for entry in FORMATS.values() if entry.writable and given in (entry.name, *entry.aliases)), None)


def _lacking(entry: Format) -> MissingSupportError | None:
    """Return what this installation lacks for writing a format that another one may stand for."""
    try:
        entry.check_writing(None)
    except MissingSupportError as error:
        return error if entry.instead else None
    return None


def substitution(given: str, requested: str, suffix_of_target: str | None = None) -> str | None:
    """Return a line where "keep" gives another format than the photo's, since this installation cannot write that.

    The arguments are those of `output_format`.
    """
    own = _own(given.upper()) if requested_format(requested) is None and not suffix_of_target else None
    error = _lacking(own) if own is not None else None
    if own is None or error is None:
        return None
    return f"{error.message} The result is a {FORMATS[own.instead].title}. {error.remedy}"


def suffix_for(format: str, input_suffix: str = "") -> str:
    """Return the suffix of a new file: the input's own spelling (".JPEG") where it fits the format, else the usual."""
    suffixes = FORMATS[format].suffixes
    return input_suffix if input_suffix.lower() in suffixes else suffixes[0]


def check_output_size(
    format: str, width: int, height: int, path: Path | str | None, *, channels: int = 3, bits: int = 8
) -> None:
    """Raise `PhotoTooLargeError` when a format cannot hold a result; meant to be asked before the work.

    Args:
        format: a key of `FORMATS`.
        width: pixels of the result.
        height: pixels of the result.
        path: the photo that the error names.
        channels: 1, 3 or 4 (colour and alpha).
        bits: 8 or 16 a channel.
    """
    chosen = FORMATS[format]
    if chosen.fits(width, height, channels, bits):
        return
    deepest = sorted(FORMATS.values(), key=lambda entry: (-entry.bits, -len(entry.holds)))
    others = [e.requests[0] for e in deepest if e.offered and e is not chosen and e.fits(width, height, channels, bits)]
    limit = (
        f"{chosen.max_side:,} px a side"
        if max(width, height) > chosen.max_side
        else f"{chosen.max_bytes or 0:,} bytes of pixels"
    )
    named = path if path is not None else "the photo"
    remedy = (
        f"Add --format {' or --format '.join(others)}, or use a smaller --scale."
        if others
        else "Use a smaller --scale."
    )
    raise PhotoTooLargeError(
        path,
        f"The result of {named} would be {width:,} x {height:,} px, and a {format} file holds at most {limit}.",
        remedy,
    )
