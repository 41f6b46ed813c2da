"""Writing a file so that nobody ever sees half of it: beside the target, flushed, then renamed."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from restorer.errors import UnwritableOutputError
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
    errno.ENAMETOOLONG: "Choose a shorter name with -o or --name.",
}


def write_whole(target: Path, content: bytes | memoryview) -> None:
    """Write a file's whole content, or leave the target as it was.

    The content goes to a hidden `.part` file in the target's folder, is flushed to the disk and renamed over the
    target. The `.part` file is removed on any failure, an interrupt included.

    Raises:
        UnwritableOutputError: no permission, a full disk, a folder in the target's place, no such folder.
    """
    try:
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, "a folder of that name is in the way")
        with temporary.part_in(target.parent) as part:
            part.stream.write(content)
            part.move_to(target)
        _flush_folder(target.parent)
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
