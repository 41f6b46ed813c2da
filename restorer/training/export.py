"""Writing what a training made: fp16 safetensors, and the weights.toml table that this tool loads it by."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from restorer.training.recipe import Recipe

TABLE = "weights.toml"


def write_model(
    out: Path,
    recipe: Recipe,
    architecture: str,
    arguments: Mapping[str, Any],
    state: Mapping[str, Tensor],
    license_: str,
) -> list[Path]:
    """Write `NAME.safetensors` (fp16) and a `weights.toml` with its table into the folder; return both paths."""
    from safetensors.torch import save

    tensors = {
        key: (value.half() if value.is_floating_point() else value).detach().cpu().contiguous()
        for key, value in state.items()
    }
    content = save(tensors, {"architecture": architecture, "recipe": recipe.name, "seed": str(recipe.seed)})
    file = out / f"{recipe.name}.safetensors"
    _write(file, content)
    lines = [
        f'["{recipe.name}"]',
        f'architecture = "{architecture}"',
        f"arguments = {{ {', '.join(f'{key} = {_toml(value)}' for key, value in arguments.items())} }}",
        f'sources = ["file:{file.name}"]',
        f'sha256 = "{hashlib.sha256(content).hexdigest()}"',
        f"size = {len(content)}",
    ]
    if license_:
        lines.append(f"license = {_toml(license_)}")
    table = out / TABLE
    _write(table, ("\n".join(lines) + "\n").encode())
    return [file, table]


def half_rounded(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a state dict as fp16 files hold it, back in its own precision."""
    return {
        key: value.half().to(value.dtype) if value.dtype == torch.float32 else value for key, value in state.items()
    }


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    return repr(value)


def _write(path: Path, content: bytes) -> None:
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)
