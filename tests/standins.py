"""Checkpoints for tests: deterministic stand-in weights in the layouts of the real files, and tables that name them."""

from __future__ import annotations

import hashlib
import json
import zlib
from pathlib import Path
from typing import Any

import torch


def fill(record: Path) -> dict[str, torch.Tensor]:
    """Return the stand-in state dict of a golden record: each tensor follows from its key and shape."""
    described = json.loads(record.read_text())
    state = {}
    for key, (shape, mean, deviation) in described["keys"].items():
        generator = torch.Generator().manual_seed(zlib.crc32(key.encode()))
        state[key] = mean + deviation * torch.randn(shape, generator=generator)
    return state | {key: torch.tensor(value) for key, value in described["constants"].items()}


def save(state: dict[str, Any], path: Path, wrapper: str | None = None) -> Path:
    """Write a checkpoint as upstream does: a pickle, its state dict below `wrapper` where there is one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({wrapper: state} if wrapper else state, path)
    return path


def sha256(path: Path) -> str:
    """Return the hash of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def table(name: str, architecture: str, path: Path, source: str | None = None, **arguments: Any) -> str:
    """Return a weights.toml table for a file; `source` replaces the file as the source."""
    given = ", ".join(f"{key} = {json.dumps(value)}" for key, value in arguments.items())
    return (
        f'["{name}"]\narchitecture = "{architecture}"\narguments = {{ {given} }}\n'
        f'sources = ["{source or f"file:{path}"}"]\nsha256 = "{sha256(path)}"\nsize = {path.stat().st_size}\n\n'
    )
