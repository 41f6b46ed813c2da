"""Globs, where no shell has expanded them: in quotes, and on Windows."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from restorer.batch.walking import Walk, is_kept_back

ANY_DEPTH = "**"
"""The part of a glob that stands for any number of folders."""


def matches(pattern: str) -> list[Path]:
    """Return what a glob names, in order, each once; nothing when it is no glob.

    A part of the path that exists as it is written is no pattern: brackets in a folder's name are that name. What is
    hidden, or kept back by a system, is named only by a part that begins with its dot, or that is its name.
    """
    if not glob.has_magic(pattern):
        return []
    path = Path(pattern)
    base = Path(path.anchor)
    found = sorted(set(_matches(base, path.parts[1:] if path.anchor else path.parts)))
    only_folders = pattern.endswith(("/", os.sep))
    return [each for each in found if each != base and (not only_folders or each.is_dir())]


def _matches(base: Path, parts: tuple[str, ...]) -> Iterator[Path]:
    if not parts:
        yield base
        return
    part, rest = parts[0], parts[1:]
    if part == ANY_DEPTH:
        walk = Walk()
        for folder in chain(walk.below(base), walk.linked()):
            yield from _matches(folder.path, rest)
            if not rest:
                yield from (folder.path / name for name in folder.files if not is_kept_back(name))
    elif os.path.lexists(base / part):
        yield from _matches(base / part, rest)
    elif glob.has_magic(part):
        for name in glob.glob(part, root_dir=base):  # noqa: PTH207 - pathlib's minds neither case nor hidden files
            if not is_kept_back(name) or part.startswith("."):
                yield from _matches(base / name, rest)
