"""Writing a file so that nobody ever sees half of it: beside the target, flushed, then renamed."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from restorer.errors import OutputExistsError, UnwritableOutputError
from restorer.storage import temporary

_REMEDIES = {
    errno.ENOSPC: "Free some space on that disk, or choose another place with -o.",
    errno.EDQUOT: "Free some of your quota, or choose another place with -o.",
    errno.EACCES: "Choose a folder that you may write to with -o, or change its permissions.",
    errno.EPERM: "Choose a folder that you may write to with -o, or change its permissions.",
    errno.EROFS: "Choose another place with -o; this one is read-only.",
    errno.ENOENT: "Make the folder first, or choose another one with -o.",
    errno.ENOTDIR: "Choose another place with -o; a part of this one is a file.",
    errno.EISDIR: "Choose another name with -o or --name.",
    errno.ENODEV: "Choose another name with -o or --name.",
    errno.ENAMETOOLONG: "Choose a shorter name with -o or --name.",
}


Content = bytes | memoryview | str | Callable[[BinaryIO], object]
"""What a file holds: bytes, text (written as UTF-8), or what writes it into a stream."""


def write_atomic(
    target: Path, content: Content, *, durable: bool = True, through_links: bool = False, sweep: bool = False
) -> None:
    """Write a file's whole content, or leave the target as it was; its folder is made where there is none.

    The content goes to a hidden `.part` file in the target's folder, is flushed to the disk and renamed over the
    target. The `.part` file is removed on any failure, an interrupt included.

    Args:
        target: the file.
        content: all of it.
        durable: flush file and folder, so that it is there also after a power cut; without, it may be the former one.
        through_links: where the target is a link, write what it points to; otherwise the link itself is replaced.
        sweep: remove what killed processes left in the folder; for folders that are not large.

    Raises:
        OSError: no permission, a full disk, a folder, a pipe or a device in the target's place.
    """
    if through_links and target.is_symlink():
        target = Path(os.path.realpath(target))
    target.parent.mkdir(parents=True, exist_ok=True)
    _write(target, content, durable=durable)
    if sweep:
        temporary.remove_abandoned(target.parent)


def _write(target: Path, content: Content, *, durable: bool, replace: bool = True) -> None:
    _check_place(target)
    with temporary.part_in(target.parent) as part:
        if callable(content):
            content(part.stream)
        else:
            part.stream.write(content.encode() if isinstance(content, str) else content)
        part.move_to(target, durable=durable, replace=replace)
    if durable:
        _flush_folder(target.parent)


def _check_place(target: Path) -> None:
    """Raise `OSError` where a file would take the place of what is none: root's `/dev/null` would be gone."""
    try:
        mode = target.stat().st_mode
    except OSError:  # nothing there, or what writing says itself
        return
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "a folder of that name is in the way")
    if not stat.S_ISREG(mode):
        raise OSError(errno.ENODEV, "a pipe or a device of that name is in the way")


def write_whole(target: Path, content: Content, *, replace: bool = True) -> None:
    """Write a result as `write_atomic` does, into a folder that is there, with errors in words.

    Args:
        target: the file.
        content: all of it.
        replace: whether a file that is there is replaced.

    Raises:
        OutputExistsError: something is there, and is not to be replaced.
        UnwritableOutputError: no permission, a full disk, a folder in the target's place, no such folder.
    """
    try:
        _write(target, content, durable=True, replace=replace)
    except FileExistsError as error:
        raise OutputExistsError(target, f"{target} exists already.", "Use --overwrite to replace it.") from error
    except OSError as error:
        reason = error.strerror or str(error)
        remedy = _REMEDIES.get(error.errno or 0, "Choose another place with -o.")
        raise UnwritableOutputError(target, f"{target} cannot be written: {reason}.", remedy) from error


def _flush_folder(folder: Path) -> None:
    """Make the rename itself last through a power cut, where folders can be flushed."""
    if os.name == "nt":
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except PermissionError:
        return  # a folder that may be written but not read; the file itself is whole
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):  # network file systems may not know it
            raise
    finally:
        os.close(descriptor)
