"""Files of our own: safetensors that say what they are, as `restore models import` and `restore train` write them.

Their header holds the architecture, its arguments, where they come from, and the sha256 of the tensors behind it, so
that one file alone can be named, verified and loaded. The tensors bear the network's own key names (`layout`), which
spares the architecture's translation.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from restorer.errors import UnwritableOutputError
from restorer.storage.digest import sha256_of

if TYPE_CHECKING:
    import torch

LAYOUT = "restorer"
_LARGEST_HEADER = 100_000_000  # the format's own limit, bytes
_PENDING = "0" * 64


@dataclass(frozen=True)
class About:
    """What a file of our own says about itself.

    Attributes:
        architecture: an entry of `restorer.models.registry`.
        arguments: all arguments of its network.
        payload_sha256: of everything behind the header; filled in by `write`.
        license, trained_for: shown to the user.
        origin: the file it was made from, or the recipe.
        origin_sha256: of that file.
        tool: what wrote it.
    """

    architecture: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    payload_sha256: str = _PENDING
    license: str | None = None
    trained_for: str | None = None
    origin: str | None = None
    origin_sha256: str | None = None
    tool: str | None = None


def header(path: Path) -> tuple[int, Mapping[str, Any]] | None:
    """Return where the tensors begin (bytes) and the header of a safetensors file; None when it is none."""
    with path.open("rb") as file:
        start = file.read(8)
        if len(start) < 8:
            return None
        (length,) = struct.unpack("<Q", start)
        if length > min(_LARGEST_HEADER, path.stat().st_size - 8):
            return None
        try:
            content = json.loads(file.read(length))
        except ValueError:
            return None
    return (8 + length, content) if isinstance(content, dict) else None


def read(path: Path) -> About | None:
    """Return what a file of our own says about itself; None for any other file."""
    found = header(path)
    metadata = found[1].get("__metadata__") if found else None
    if not isinstance(metadata, dict) or metadata.get("layout") != LAYOUT:
        return None
    try:
        arguments = json.loads(metadata.get("arguments", "{}"))
    except ValueError:
        return None
    if "architecture" not in metadata or "payload_sha256" not in metadata or not isinstance(arguments, dict):
        return None
    texts = {key: metadata.get(key) for key in ("license", "trained_for", "origin", "origin_sha256", "tool")}
    return About(metadata["architecture"], arguments, metadata["payload_sha256"], **texts)


def payload_start(path: Path) -> int:
    """Return where the tensors of a safetensors file begin; 0 for any other file."""
    found = header(path)
    return found[0] if found else 0


def write(state: Mapping[str, torch.Tensor], path: Path, about: About) -> None:
    """Write a file of our own: beside its target, flushed, then renamed. The same tensors give the same bytes.

    Args:
        state: tensors under the network's own names.
        path: where the file goes; what is there is replaced.
        about: what it says about itself; the hash is filled in here.

    Raises:
        UnwritableOutputError: the folder cannot be written, or the disk is full.
    """
    from safetensors.torch import save_file

    metadata = {
        "format": "pt",
        "layout": LAYOUT,
        "architecture": about.architecture,
        "arguments": json.dumps(dict(about.arguments), sort_keys=True),
        "payload_sha256": _PENDING,
    }
    for key in ("license", "trained_for", "origin", "origin_sha256", "tool"):
        if (value := getattr(about, key)) is not None:
            metadata[key] = value
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.touch()
        mode = part.stat().st_mode  # as the user's umask has it; safetensors would keep others out
        save_file(_separate(state), part, metadata=metadata)
        part.chmod(mode)
        _finish(part)
        part.replace(path)
    except OSError as error:
        raise UnwritableOutputError(
            path, f"{path} cannot be written: {error}.", "Choose another place with -o, or free space on the disk."
        ) from error
    finally:
        part.unlink(missing_ok=True)


def _separate(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return contiguous tensors that share no memory, which the format demands."""
    seen: set[int] = set()
    result = {}
    for key, value in state.items():
        tensor = value.detach().cpu().contiguous()
        place = tensor.untyped_storage().data_ptr()
        result[key] = tensor.clone() if place in seen else tensor
        seen.add(place)
    return result


def _finish(path: Path) -> None:
    """Put the payload's sha256 into the header, whose metadata the library leaves in random order, and sort that.

    The header keeps its length, so the tensors stay where they are.
    """
    found = header(path)
    assert found is not None
    start, content = found
    metadata = {**content["__metadata__"], "payload_sha256": sha256_of(path, start)}
    tensors = {key: value for key, value in content.items() if key != "__metadata__"}
    text = json.dumps(
        {"__metadata__": dict(sorted(metadata.items())), **tensors}, separators=(",", ":"), ensure_ascii=False
    ).encode()
    if len(text) > start - 8:
        raise ValueError(f"the header of {path} grew")
    with path.open("r+b") as file:
        file.seek(8)
        file.write(text.ljust(start - 8))  # the format fills up with blanks
        file.flush()
        os.fsync(file.fileno())
