"""What `restore models export` does: bring the weights, write the file, and say what goes in and out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from restorer import weights
from restorer.cli.console import messages, say
from restorer.cli.downloads import ProgressBar
from restorer.errors import OutputExistsError
from restorer.models import REGISTRY
from restorer.models.exporter import check_packages, export, shape_of
from restorer.weights.progress import megabytes

if TYPE_CHECKING:
    from restorer.weights import Table

SUFFIX = ".onnx"


def write(table: Table, out: Path | None, *, side: int | None, overwrite: bool, offline: bool) -> None:
    """Write the network of a table.

    Raises:
        RestorerError: as `restorer.models.exporter.export`, or the weights cannot be had.
    """
    target = Path(f"{table.name}{SUFFIX}") if out is None else out
    check_packages()
    shape_of(REGISTRY.architecture_of(table), REGISTRY.arguments(table), side)  # before anything is fetched
    if target.exists() and not overwrite:
        raise OutputExistsError(target, f"{target} exists already.", "Use --overwrite to replace it, or -o NAME.onnx.")
    with ProgressBar(messages) as on_progress:
        path = weights.fetch(table, offline=offline, on_progress=on_progress)
    say(f"Writing {table.name} and comparing it with torch, which takes a while ...")
    done = export(REGISTRY.load(table, path), target, side=side, overwrite=overwrite)
    say(f"Wrote {done.path} ({megabytes(done.size)}): {_words(done.inputs)} → {_words(done.outputs)}.")
    say(f"ONNX Runtime and torch agree to {done.difference:.1e} of the deviation.")
    if table.license:
        say(f"Licence of the weights: {table.license}")


def _words(shapes: Mapping[str, tuple[int, ...]]) -> str:
    """Return shapes by name: "pictures 1 x 3 x 512 x 512, fidelity"."""
    return ", ".join(f"{name} {' x '.join(map(str, shape))}".rstrip() for name, shape in shapes.items())
