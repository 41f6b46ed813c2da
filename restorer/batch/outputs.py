"""What may stand where a result is to be: whose it is, whether it may be replaced, whether it can be written at all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from restorer.errors import OutputExistsError, UnwritableOutputError
from restorer.photo import Note


def is_original(target: Path) -> OutputExistsError:
    """Return the error for a result that would replace a photo of the run."""
    return OutputExistsError(
        target,
        f"{target} is one of the photos themselves; an original is never overwritten.",
        "Choose another -o or --name.",
    )


def in_the_way(target: Path, found: Note | None, wanted: Note | None) -> OutputExistsError:
    """Return the error for a file that must not be replaced, which says what tells it from the result.

    Args:
        target: the file.
        found: its note; None where it has none.
        wanted: the note that the result would have; None where nothing is taken as done.
    """
    if wanted is None:
        reason = " exists already."
    elif found is None:
        reason = " exists already and was not made from this photo with these options."
    else:
        reason = f" exists already: {_difference(found, wanted)}."
    return OutputExistsError(target, f"{target}{reason}", "Use --overwrite to replace it, or another -o or --name.")


def _difference(found: Note, wanted: Note) -> str:
    """Return in words what two notes differ in; what they do not hold must be it where all else agrees."""
    lines = []
    if found.version != wanted.version:
        lines.append(f"version {found.version} of this tool made it, and this is {wanted.version}")
    if found.model != wanted.model:
        lines.append(f"it was made with model {found.model}, and this run takes {wanted.model}")
    names = [name for name in {**found.options, **wanted.options} if _value(found, name) != _value(wanted, name)]
    lines += [
        f"it was made with --{name.replace('_', '-')} {_value(found, name)}, not {_value(wanted, name)}"
        for name in sorted(names)
    ]
    return "; ".join(lines) or f"it was made from another photo, or with other weights of {wanted.model}"


def _value(note: Note, name: str) -> Any:
    """Return an option of a note as it is typed; one at its default is not in there."""
    value = note.options.get(name, "its default")
    return {True: "on", False: "off"}.get(value, value) if isinstance(value, bool) else value


def check_place(target: Path) -> None:
    """Refuse a photo before the work when its result could not be written; no folder is made yet.

    Raises:
        UnwritableOutputError: what is to be its folder is none, or may not be written to.
    """
    folder = existing_folder(target)
    if not folder.is_dir():
        raise UnwritableOutputError(
            target, f"{target} cannot be written: {folder} is no folder.", "Choose another place with -o."
        )
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UnwritableOutputError(
            target,
            f"{target} cannot be written: the folder {folder} is read-only for you.",
            "Choose a folder that you may write to with -o, or change its permissions.",
        )


def existing_folder(target: Path) -> Path:
    """Return the innermost of the folders around a result that is there already, or what stands in its place."""
    return next(place for place in target.absolute().parents if os.path.lexists(place))


def make_folder(folder: Path) -> None:
    """Make a folder and those it lies in; raises `UnwritableOutputError` where that cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UnwritableOutputError(
            folder, f"The folder {folder} cannot be made: {error.strerror}.", "Choose another place with -o."
        ) from error
