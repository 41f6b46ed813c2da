"""Photos and results of a run that lie in stores, as the driver sees them: what there is, and what is known of it."""

from __future__ import annotations

import glob
import hashlib
import os
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from restorer.batch.gathering import Entry
from restorer.batch.journal import Journal
from restorer.batch.lines import NAME, is_journal
from restorer.batch.walking import is_kept_back
from restorer.cluster.stores import is_store, opened, patiently, read_bytes, url, write_bytes
from restorer.errors import UsageError
from restorer.photo import FORMATS, PICTURE_SUFFIXES
from restorer.photo.header import Header
from restorer.storage.atomic import write_atomic


class Remote:
    """What the driver knows of the stores of a run.

    Args:
        out: the output folder, which is passed over among the photos; None = results stand beside them.
    """

    def __init__(self, out: Path | None) -> None:
        self._out = out if out is not None and is_store(out) else None
        self._folder = Path(tempfile.mkdtemp(prefix="restorer-journals-"))
        self._mirrors: dict[Path, Path] = {}

    def close(self) -> None:
        """Remove what was brought here."""
        shutil.rmtree(self._folder, ignore_errors=True)

    # ---------------------------------------------------------------------------------------------------- what there is

    def found(self, arguments: Sequence[str], listed: Sequence[Path]) -> list[Entry]:
        """Return the photos that arguments and a list name in stores; what is not in one is passed over.

        The entries of a list are taken as they stand, below the folder that they have in common: nothing is asked.
        """
        entries = [entry for argument in arguments if is_store(argument) for entry in self._entries(argument)]
        away = [Path(url(path)) for path in listed if is_store(path)]
        common = Path(os.path.commonpath([path.parent for path in away])) if away else Path()
        for path in away:
            entries.append(Entry(path, None, path.parent.relative_to(common), header=header_of(path, 0)))
        return entries

    def _entries(self, argument: str) -> list[Entry]:
        """Return the photos that an argument names in a store.

        What a file is, its name says: to look into each would be a question to the store for each. Sizes in pixels are
        guesses by the bytes; only estimates and blocks go by them.

        Raises:
            UsageError: there is nothing of that name.
        """
        system, path = opened(argument)
        top = Path(url(argument))
        if glob.has_magic(path):
            found = patiently(lambda: system.glob(path, detail=True))
            chosen = [self._entry(self._seen(top, path, name), info, None) for name, info in sorted(found.items())]
        elif patiently(lambda: system.isdir(path)):
            found = patiently(lambda: system.find(path, detail=True))
            names = sorted(found)
            own = Journal(self.mirror(top), targets=top).results() if any(map(_is_line, names)) else set()
            chosen = [
                self._entry(place, found[name], top)
                for name in names
                if (place := self._seen(top, path, name)).resolve() not in own and self._is_wanted(place, top)
            ]
        elif patiently(lambda: system.exists(path)):
            chosen = [self._entry(top, patiently(lambda: system.info(path)), None)]
        else:
            raise UsageError(f"{url(argument)}: there is no such file or folder.", "Check the name and the store.")
        return chosen

    def _seen(self, top: Path, path: str, name: str) -> Path:
        """Return where an object is, of which the store tells the `name`; `path` is that of `top` there."""
        scheme = url(top).partition("://")[0]
        below = name.strip("/").removeprefix(path.strip("/")).strip("/") if not glob.has_magic(path) else None
        return top / below if below else Path(f"{scheme}://{name.strip('/')}")

    def _is_wanted(self, place: Path, top: Path) -> bool:
        inside = self._out is not None and self._out != top and place.is_relative_to(self._out)
        parts = place.relative_to(top).parts
        return not inside and place.suffix.lower() in PICTURE_SUFFIXES and not any(map(is_kept_back, parts))

    def _entry(self, place: Path, info: dict[str, Any], top: Path | None) -> Entry:
        below = Path() if top is None else place.parent.relative_to(top)
        return Entry(place, top, below, header=header_of(place, int(info.get("size") or 0)))

    # --------------------------------------------------------------------------------------------------- what is known

    def mirror(self, folder: Path) -> Path:
        """Return a folder of this machine's disk with what the journals of a store's folder say."""
        if folder not in self._mirrors:
            here = self._folder / hashlib.sha256(str(folder).encode()).hexdigest()[:16]
            here.mkdir(parents=True)
            self._mirrors[folder] = here
            for name in _journals(folder):
                write_atomic(here / name, read_bytes(folder / name), durable=False)
        return self._mirrors[folder]

    def merge(self) -> None:
        """Let the journals of the workers become lines of the common ones, in the stores."""
        for folder in self._mirrors:
            names = [name for name in _journals(folder) if name != NAME]
            if not names:
                continue
            common = b""
            with suppress(FileNotFoundError):
                common = read_bytes(folder / NAME)
            lines = b"".join(_whole(read_bytes(folder / name)) for name in names)
            write_bytes(folder / NAME, _whole(common) + lines, replace=True)
            system, path = opened(folder)
            for name in names:
                with suppress(FileNotFoundError):
                    patiently(partial(system.rm_file, f"{path.rstrip('/')}/{name}"))


def header_of(place: Path, size: int) -> Header:
    """Return what the name and the bytes of a file tell of it."""
    suffix = place.suffix.lower()
    kind = next((name for name, each in FORMATS.items() if suffix in each.suffixes), None)
    number = int(hashlib.sha256(url(place).encode()).hexdigest()[:15], 16)
    if kind is None:
        return Header(None, None, size, (-1, number))
    pixels = max(size / FORMATS[kind].bytes_per_pixel, 1.0)
    height = max(round((pixels * 0.75) ** 0.5), 1)
    return Header(kind, (max(round(pixels / height), 1), height), size, (-1, number))


def _journals(folder: Path) -> list[str]:
    """Return the names of the journals in a store's folder."""
    system, path = opened(folder)
    try:
        found: list[str] = patiently(lambda: system.ls(path, detail=False))
    except FileNotFoundError:
        return []
    return sorted(name for each in found if is_journal(name := each.rstrip("/").rpartition("/")[2]))


def _is_line(name: str) -> bool:
    return is_journal(name.rpartition("/")[2])


def _whole(lines: bytes) -> bytes:
    return lines if not lines or lines.endswith(b"\n") else lines + b"\n"
