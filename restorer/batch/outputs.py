"""What may stand where a result is to be: whose it is, whether it may be replaced, whether it can be written at all."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from restorer.errors import OutputExistsError, UnwritableOutputError
from restorer.photo import Note

_ELSEWHERE = "Choose another place with -o."


def is_original(target: Path) -> OutputExistsError:
    """Return the error for a result that would replace a photo of the run."""
    return OutputExistsError(
        target,
        f"{target} is one of the photos themselves; an original is never overwritten.",
        "Choose another -o or --name.",
    )


def in_the_way(target: Path, found: Note | None, wanted: Note | None) -> OutputExistsError:
    """Return the error for a file that must not be replaced, since it is no result of this photo.

    Args:
        target: the file.
        found: its note; None where it has none.
        wanted: the note that the result would have; None where nothing is taken as done.
    """
    if wanted is None:
        reason = " exists already."
    elif found is None:
        reason = " exists already and was not made from this photo with these options."
    elif found.input:
        reason = " exists already: it was not made from this photo, but from another photo."
    else:
        reason = f" exists already: it was made from another photo, or with other weights of {wanted.model}."
    return OutputExistsError(target, f"{target}{reason}", "Use --overwrite to replace it, or another -o or --name.")


def check_place(target: Path) -> None:
    """Refuse a photo before the work when its result could not be written; no folder is made yet.

    Raises:
        UnwritableOutputError: what is to be its folder is none, or may not be written to.
    """
    folder = existing_folder(target)
    if not folder.is_dir():
        raise _refused(target, f"{folder} is no folder.", _ELSEWHERE)
    if not os.access(folder, os.W_OK | os.X_OK):
        remedy = "Choose a folder that you may write to with -o, or change its permissions."
        raise _refused(target, f"the folder {folder} is read-only for you.", remedy)


def _refused(target: Path, cause: str, remedy: str) -> UnwritableOutputError:
    error = UnwritableOutputError(target, f"{target} cannot be written: {cause}", remedy)
    error.cause = cause
    return error


def existing_folder(target: Path) -> Path:
    """Return the innermost of the folders around a result that is there already, or what stands in its place."""
    return next(place for place in target.absolute().parents if os.path.lexists(place))


def make_folder(folder: Path) -> None:
    """Make a folder and those it lies in; raises `UnwritableOutputError` where that cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _refused(folder, f"the folder {folder} cannot be made: {error.strerror}.", _ELSEWHERE) from error


def try_folder(folder: Path) -> None:
    """Try whether a folder can be made, and leave none behind; raises `UnwritableOutputError` where it cannot be."""
    missing = [place for place in (folder, *folder.absolute().parents) if not os.path.lexists(place)]
    make_folder(folder)
    for place in missing:
        with suppress(OSError):  # another run has put something there meanwhile
            place.rmdir()
