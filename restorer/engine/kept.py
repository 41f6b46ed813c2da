"""Exported networks in the cache folder: written once, with what torch makes of some inputs, and how engines did.

A folder a network: `model.onnx`, `check.npz` (inputs, and what torch makes of them), `about.json`, which is written
last and without which nothing counts, and a small file for each engine that was compared. Its name holds a digest of
all that decides what is in it; files of other versions of the same weights are removed when new ones are written.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from restorer import models, networks
from restorer.errors import ExportError
from restorer.imaging.libraries import np
from restorer.models import REGISTRY
from restorer.models.exporter import OPSET, SEEDS, Draft
from restorer.models.exporter.difference import Difference, Run, apart
from restorer.storage.atomic import write_atomic
from restorer.storage.folders import cache_folder
from restorer.version import __version__
from restorer.weights import Table, fingerprint

_log = logging.getLogger(__name__)
_MODEL, _CHECK, _ABOUT = "model.onnx", "check.npz", "about.json"
_WRITERS = ("torch", "onnx", "onnxscript")
"""The distributions that decide what is written."""


@dataclass(frozen=True)
class Kept:
    """An exported network.

    Attributes:
        folder: of its files.
        about: of what it was made; a "reason" in place of all else where it could not be.
    """

    folder: Path
    about: Mapping[str, Any]

    @property
    def model(self) -> Path:
        """The ONNX file."""
        return self.folder / _MODEL

    @property
    def reason(self) -> str | None:
        """Why there is none."""
        return self.about.get("reason")

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the pictures that it takes, one of them."""
        return tuple(self.about["shape"])

    @property
    def controls(self) -> tuple[str, ...]:
        """The controls that it takes, in their order."""
        return tuple(self.about["controls"])

    def example(self) -> list[Any]:
        """Return inputs as the file takes them: a picture, and a value of each control."""
        return self._stored()[f"input.{SEEDS[0]}"]

    def compared(self, run: Run) -> Difference:
        """Return how far what runs it lies from torch."""
        parts = self._stored()
        found = [apart(run(parts[f"input.{seed}"]), parts[f"output.{seed}"]) for seed in SEEDS]
        return Difference(max(each.largest for each in found), max(each.rms for each in found))

    def _stored(self) -> dict[str, list[Any]]:
        parts: dict[str, list[Any]] = {}
        with np.load(self.folder / _CHECK) as stored:
            for name in stored.files:
                parts.setdefault(name.rpartition(".")[0], []).append(stored[name])
        return parts

    def outcome(self, key: str) -> Mapping[str, Any] | None:
        """Return what was written down of an engine that was compared; None where none was."""
        return _read(self.folder / f"{key}.json")

    def conclude(self, key: str, outcome: Mapping[str, Any]) -> None:
        """Write down how an engine did."""
        write_atomic(self.folder / f"{key}.json", json.dumps(outcome))


def find(table: Table, path: Path) -> Kept | None:
    """Return the exported network of a table's verified file, where it was made already."""
    folder = _folder(table, path)
    about = _read(folder / _ABOUT)
    if about is None or ("reason" not in about and about["size"] != _size(folder / _MODEL)):
        return None
    return Kept(folder, about)


def prepare(table: Table, path: Path) -> Kept:
    """Return the exported network of a table's verified file, made now where it was not before.

    Processes that want the same one wait for the first. One that cannot be exported is kept as that, with the reason.

    Raises:
        WeightsError: the file does not fit its table.
        OSError: the cache cannot be written.
    """
    from filelock import FileLock

    folder = _folder(table, path)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        found = find(table, path)
        if found is not None:
            return found
        _log.info("writing %s for other engines into %s", table.name, folder)
        about: dict[str, Any] = {"name": table.name, "sha256": fingerprint(table, path)}
        loaded = REGISTRY.load(table, path)
        about["arguments"] = dict(loaded.arguments)
        try:
            draft = Draft.of(loaded)
        except ExportError as error:
            about["reason"] = error.message
        else:
            write_atomic(folder / _MODEL, draft.data)
            write_atomic(folder / _CHECK, _checks(draft))
            about |= {"size": len(draft.data), "shape": draft.traced.shape, "controls": draft.traced.controls}
        write_atomic(folder / _ABOUT, json.dumps(about))
        for other, told in _all():
            if other != folder and (told["name"], told["sha256"]) == (about["name"], about["sha256"]):
                _remove(other)
        return Kept(folder, json.loads(json.dumps(about)))  # as it is read


def of_table(name: str) -> list[tuple[Path, int]]:
    """Return the folders of a table's exported networks, with their bytes."""
    return [(folder, _bytes(folder)) for folder, told in _all() if told["name"] == name]


def drop(name: str) -> int:
    """Remove a table's exported networks; return the bytes that this freed."""
    freed = 0
    for folder, size in of_table(name):
        freed += size if _remove(folder) else 0
    return freed


def _checks(draft: Draft) -> bytes:
    parts: dict[str, Any] = {}
    for seed, outputs in zip(SEEDS, draft.wanted, strict=True):
        inputs = [value.numpy() for value in draft.traced.example(seed).values()]
        for kind, values in (("input", inputs), ("output", outputs)):
            parts |= {f"{kind}.{seed}.{number}": value for number, value in enumerate(values)}
    stream = io.BytesIO()
    np.savez(stream, **parts)
    return stream.getvalue()


def _folder(table: Table, path: Path) -> Path:
    arguments = json.dumps(dict(table.arguments), sort_keys=True, default=str)
    facts = [table.architecture, arguments, fingerprint(table, path), str(OPSET), _code()]
    facts += [f"{name} {_version(name)}" for name in _WRITERS]
    digest = hashlib.sha256("\n".join(facts).encode()).hexdigest()[:16]
    plain = re.sub(r"[^\w.+-]", "_", table.name)
    return cache_folder() / "engines" / f"{plain}-{digest}"


@cache
def _code() -> str:
    """Return what tells this version of our networks, and of what exports them, from others."""
    found = hashlib.sha256(__version__.encode())
    for package in (networks, models):
        for file in sorted(Path(package.__path__[0]).rglob("*.py")):
            found.update(file.read_bytes())
    return found.hexdigest()


@cache
def _version(name: str) -> str:
    return version(name)


def _all() -> list[tuple[Path, Mapping[str, Any]]]:
    """Return the folders that are whole, with what each is of."""
    folders = sorted((cache_folder() / "engines").glob(f"*/{_ABOUT}"))
    told = [(file.parent, _read(file)) for file in folders]
    return [(folder, about) for folder, about in told if about is not None]


def _remove(folder: Path) -> bool:
    """Remove a folder, what makes it count first; return whether that could be done."""
    try:
        (folder / _ABOUT).unlink(missing_ok=True)
        shutil.rmtree(folder)
    except OSError as error:  # on Windows, files that someone works with
        _log.info("%s stays: %s", folder, error)
        return False
    return True


def _bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _size(path: Path) -> int | None:
    return path.stat().st_size if path.is_file() else None


def _read(path: Path) -> dict[str, Any] | None:
    """Return what a small file of ours says; None where it is not there, or is no JSON."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return found if isinstance(found, dict) else None
