"""Paths as the command line spells them, where the spelling says more than the path."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path

from restorer.batch.lists import read_list
from restorer.batch.walking import FolderPath
from restorer.errors import UsageError


def out_path(text: str | Path) -> Path:
    """Return what -o names; a slash at its end says that it is a folder, and "-" alone is stdout."""
    spelled = str(text)
    if "://" in spelled:  # in a store; as a path it keeps one of its slashes
        return Path(spelled)
    if spelled.endswith(("/", os.sep)):
        return FolderPath(spelled)
    return Path(spelled).absolute() if spelled != "-" == str(Path(spelled)) else Path(spelled)


def own_command() -> str:
    """Return what starts this command again in the same shell: its name where the PATH has it, else its path."""
    given = Path(sys.argv[0])
    if given.stem not in ("restore", "restore-photos", "__main__"):  # a program of somebody's own that calls this one
        return "restore"
    if given.stem == "__main__":
        return f"{shlex.quote(sys.executable)} -m restorer"
    found = shutil.which(given.stem)
    if found is not None and given.exists() and given.samefile(found):
        return given.stem
    return shlex.quote(str(given)) if given.is_file() else "restore"


def listed(files_from: Path | None) -> list[Path]:
    """Return the entries of a list, "-" is stdin; raises `UsageError` when it cannot be read."""
    if files_from is None:
        return []
    if str(files_from) == "-":
        return read_list(sys.stdin.buffer.read())
    try:
        content = files_from.read_bytes()
    except OSError as error:
        message = f"--files-from {files_from} cannot be read: {error.strerror}."
        raise UsageError(message, "Check the name.") from error
    from restorer.photo.formats import sniff

    if sniff(content[:64]) is not None:
        raise UsageError(f"--files-from {files_from} is a picture, not a list.", "Name photos without --files-from.")
    return read_list(content)
