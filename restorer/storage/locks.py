"""Locks on open files, by which runs that work on one folder at the same time know of each other.

They belong to the open file, so that a process that is killed leaves none behind. Where a file system or a platform
has no such locks, the answer says so, and whoever asked goes by other signs.
"""

from __future__ import annotations

import errno
import os

if os.name == "nt":

    def try_lock(descriptor: int, *, wait: bool = False) -> bool | None:
        """Return None: open files cannot be deleted on Windows, which serves the same purpose."""
        return None

    def unlock(descriptor: int) -> None:
        """Do nothing."""

else:
    import fcntl

    _MISSING = frozenset({errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL, errno.EBADF})

    def try_lock(descriptor: int, *, wait: bool = False) -> bool | None:
        """Take a file for this process alone.

        Args:
            descriptor: the open file, open for writing (network file systems want that).
            wait: until whoever has it gives it back.

        Returns:
            True when it was taken, False when someone else has it, None when there are no locks here.
        """
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno in _MISSING:
                return None
            raise
        return True

    def unlock(descriptor: int) -> None:
        """Give a file back."""
        fcntl.flock(descriptor, fcntl.LOCK_UN)
