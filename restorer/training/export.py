"""Writing what a training made: one fp16 safetensors file that says itself what it is, and a table that names it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from restorer.storage.atomic import write_atomic
from restorer.storage.digest import sha256_of
from restorer.training.recipe import Recipe
from restorer.version import __version__
from restorer.weights.native_file import FileHeader, write

TABLE = "weights.toml"


def write_model(
    out: Path,
    recipe: Recipe,
    architecture: str,
    arguments: Mapping[str, Any],
    state: Mapping[str, Tensor],
    license_: str = "",
    trained_for: str = "",
) -> list[Path]:
    """Write `NAME.safetensors` (fp16) and a `weights.toml` with its table into the folder; return both paths.

    `--model` takes the file as it is; the table is for a weights.toml of one's own.
    """
    file = out / f"{recipe.name}.safetensors"
    about = FileHeader(
        architecture,
        dict(arguments),
        license=license_ or None,
        trained_for=trained_for or None,
        origin=f"recipe {recipe.name}, seed {recipe.seed}",
        origin_sha256=hashlib.sha256(recipe.text.encode()).hexdigest(),
        tool=f"restore train {__version__}",
    )
    write({key: value.half() if value.is_floating_point() else value for key, value in state.items()}, file, about)
    lines = [
        f'["{recipe.name}"]',
        f'architecture = "{architecture}"',
        f"arguments = {{ {', '.join(f'{key} = {_toml(value)}' for key, value in arguments.items())} }}",
        f'sources = ["file:{file.name}"]',
        f'sha256 = "{sha256_of(file)}"',
        f"size = {file.stat().st_size}",
        *([f"license = {_toml(license_)}"] if license_ else []),
        *([f"trained_for = {_toml(trained_for)}"] if trained_for else []),
    ]
    table = out / TABLE
    write_atomic(table, "\n".join(lines) + "\n")
    return [file, table]


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    return repr(value)
