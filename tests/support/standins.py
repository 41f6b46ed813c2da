"""Tables of weights.toml for checkpoint files that tests make."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any


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
