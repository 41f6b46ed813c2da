"""Files of our own: safetensors that say what they are, as `restore models import` and `restore train` write them.

Their header holds the architecture, its arguments, where they come from, and the sha256 of the tensors behind it, so
that one file alone can be named, verified and loaded. The tensors bear the network's own key names (`layout`), which
spares the architecture's translation.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from restorer.errors import UnwritableOutputError
from restorer.storage.atomic import write_atomic

if TYPE_CHECKING:
    import torch

LAYOUT = "restorer"
ALIGNMENT = 64
"""Bytes. Where tensors lie at multiples of this, a mapped file computes the last bits that memory computes: kernels of
linear algebra take other paths for other addresses, and promise equal results only from here on."""
_DTYPES = {
    "float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16", "bool": "BOOL", "uint8": "U8",
    "int64": "I64", "int32": "I32", "int16": "I16", "int8": "I8",
}  # fmt: skip
"""The format's names of torch's types."""
_LARGEST_HEADER = 100_000_000  # the format's own limit, bytes
_PENDING = "0" * 64


@dataclass(frozen=True)
class FileHeader:
    """What a file of our own says about itself.

    Attributes:
        architecture: an entry of `restorer.models.registry`.
        arguments: all arguments of its network.
        payload_sha256: of everything behind the header; filled in by `write`.
        license, trained_for: shown to the user.
        commercial: whether the licence allows commercial use without doubt; None = nobody has said so.
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
    commercial: bool | None = None


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
        except (ValueError, RecursionError):  # no JSON, or lists in lists without end
            return None
    return (8 + length, content) if isinstance(content, dict) else None


def read(path: Path) -> FileHeader | None:
    """Return what a file of our own says about itself; None for any other file."""
    found = header(path)
    metadata = found[1].get("__metadata__") if found else None
    if not isinstance(metadata, dict) or metadata.get("layout") != LAYOUT:
        return None
    try:
        arguments = json.loads(metadata.get("arguments", "{}"))
    except (ValueError, TypeError, RecursionError):
        return None
    named = all(isinstance(metadata.get(key), str) for key in ("architecture", "payload_sha256"))
    if not named or not isinstance(arguments, dict):
        return None
    texts = {key: metadata.get(key) for key in ("license", "trained_for", "origin", "origin_sha256", "tool")}
    commercial = {"true": True, "false": False}.get(str(metadata.get("commercial")))
    return FileHeader(metadata["architecture"], arguments, metadata["payload_sha256"], **texts, commercial=commercial)


def payload_start(path: Path) -> int:
    """Return where the tensors of a safetensors file begin; 0 for any other file."""
    found = header(path)
    return found[0] if found else 0


def write(state: Mapping[str, torch.Tensor], path: Path, about: FileHeader) -> None:
    """Write a file of our own: beside its target, flushed, then renamed. The same tensors give the same bytes.

    Args:
        state: tensors under the network's own names.
        path: where the file goes; what is there is replaced.
        about: what it says about itself; the hash is filled in here.

    Raises:
        UnwritableOutputError: the folder cannot be written, or the disk is full.
    """

    def into(file: BinaryIO) -> None:
        for piece in _pieces(state, about):
            file.write(piece)

    try:
        write_atomic(path, into, sweep=True)
    except OSError as error:
        raise UnwritableOutputError(
            path, f"{path} cannot be written: {error}.", "Choose another place with -o, or free space on the disk."
        ) from error


def _pieces(state: Mapping[str, torch.Tensor], about: FileHeader) -> Iterator[bytes | memoryview]:
    """Yield what a file of our own consists of: the header's length, the header, the tensors.

    The tensors begin at a multiple of `ALIGNMENT`. The format allows no gaps between them, so those whose size is a
    multiple of it come first: they all lie at multiples, and only the small rest behind them does not.
    """
    tensors = {key: value.detach().cpu().contiguous() for key, value in state.items()}
    order = sorted(tensors, key=lambda key: (tensors[key].nbytes % ALIGNMENT != 0, -tensors[key].itemsize, key))
    entries: dict[str, Any] = {}
    digest, end = hashlib.sha256(), 0
    for key in order:
        start, end = end, end + tensors[key].nbytes
        entries[key] = {
            "dtype": _DTYPES[str(tensors[key].dtype).removeprefix("torch.")],
            "shape": list(tensors[key].shape),
            "data_offsets": [start, end],
        }
        digest.update(_bytes(tensors[key]))
    metadata = {
        "format": "pt",
        "layout": LAYOUT,
        "architecture": about.architecture,
        "arguments": json.dumps(dict(about.arguments), sort_keys=True),
        "payload_sha256": digest.hexdigest(),
    }
    for name in ("license", "trained_for", "origin", "origin_sha256", "tool"):
        if (value := getattr(about, name)) is not None:
            metadata[name] = value
    if about.commercial is not None:
        metadata["commercial"] = "true" if about.commercial else "false"
    content = {"__metadata__": dict(sorted(metadata.items())), **entries}
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-(8 + len(text)) % ALIGNMENT)  # the format fills up with blanks
    yield struct.pack("<Q", len(text)) + text
    for key in order:
        yield _bytes(tensors[key])


def _bytes(tensor: torch.Tensor) -> memoryview:
    """Return the memory of a contiguous tensor, without a copy."""
    import torch

    return tensor.reshape(-1).view(torch.uint8).numpy().data
