"""The tensors inside a TorchScript file, which is a program: they are taken out of it, and nothing of it is run.

Such a file is a zip: a pickle that describes objects, the bytes of their tensors, and code beside them. The code is not
looked at. The pickle is read by a reader that knows a handful of names, each of which stands for a function of this
module; any other name ends it.
"""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

_TYPES = {
    "FloatStorage": "float32",
    "DoubleStorage": "float64",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
}
_LISTS = ("build_intlist", "build_doublelist", "build_boollist", "build_tensorlist", "restore_type_tag")
_DEEPEST = 64  # objects inside objects
_MOST_VISITS = 500_000  # what is held several times counts each time, or a few bytes would take years


def is_program(path: Path) -> bool:
    """Tell whether a zip file is TorchScript, which carries code."""
    with zipfile.ZipFile(path) as archive:
        return any("/code/" in name or name.endswith("/constants.pkl") for name in archive.namelist())


def read(path: Path) -> dict[str, torch.Tensor]:
    """Return the tensors of a TorchScript file by the names of the objects that hold them, "encoder.conv.weight".

    Raises:
        pickle.UnpicklingError: it names anything but tensors, plain values and objects of its own.
        ValueError: a tensor reaches beyond its bytes, or objects are nested without end.
        KeyError: a part of it is missing.
    """
    with zipfile.ZipFile(path) as archive:
        described = [name for name in archive.namelist() if name.endswith("data.pkl") and name.count("/") == 1]
        if len(described) != 1:
            raise KeyError("data.pkl")
        root = described[0].removesuffix("data.pkl")
        if f"{root}byteorder" in archive.namelist() and archive.read(f"{root}byteorder") == b"big":
            raise ValueError("its numbers begin with their highest byte")
        with archive.open(described[0]) as stream:
            tree = _Reader(stream, archive, root).load()
    return dict(_tensors(tree, "", 0, [_MOST_VISITS]))


class _Object:
    """An object of the program: what it holds by name, and nothing that it could do."""

    def __init__(self, *_given: object) -> None:
        self.held: Any = {}

    def __setstate__(self, state: Any) -> None:
        self.held = state


class _Reader(pickle.Unpickler):
    """Reads the description; its names are those of `_known` alone."""

    def __init__(self, stream: Any, archive: zipfile.ZipFile, root: str) -> None:
        super().__init__(stream)
        self._archive, self._root = archive, root
        self._bytes: dict[str, torch.Tensor] = {}

    def find_class(self, module: str, name: str) -> Any:
        """Return what stands for a name."""
        if module.split(".")[0] == "__torch__":
            return _Object
        if (module, name) in (("torch._utils", "_rebuild_tensor_v2"), ("torch._utils", "_rebuild_tensor")):
            return _rebuilt
        if module == "torch" and name in _TYPES:
            return _TYPES[name]
        if (module, name) == ("collections", "OrderedDict"):
            return dict
        if module == "torch.jit._pickle" and name in _LISTS:
            return _same
        raise pickle.UnpicklingError(f"GLOBAL {module}.{name}")

    def persistent_load(self, pid: Any) -> Any:
        """Return the numbers that a tensor is made of, flat."""
        import torch

        _kind, dtype, key, _place, count = pid
        if not isinstance(dtype, str) or not isinstance(key, str) or not isinstance(count, int):
            raise pickle.UnpicklingError("a storage is described in another way than PyTorch's")
        if key not in self._bytes:
            data = bytearray(self._archive.read(f"{self._root}data/{key}"))
            kind = getattr(torch, dtype)
            whole = torch.frombuffer(data, dtype=kind) if data else torch.empty(0, dtype=kind)
            if len(whole) < count:
                raise ValueError(f"a tensor of {count} numbers has bytes for {len(whole)}")
            self._bytes[key] = whole
        return self._bytes[key]


def _rebuilt(
    storage: torch.Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_rest: object
) -> torch.Tensor:
    """Return a tensor of a shape on its numbers."""
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True)) if all(size) else 0
    if min((offset, *size, *stride)) < 0 or last >= max(len(storage), 1):
        raise ValueError("a tensor reaches beyond its bytes")
    return storage.as_strided(size, stride, offset)


def _same(value: Any, *_rest: object) -> Any:
    return value


def _tensors(value: Any, name: str, depth: int, left: list[int]) -> Iterator[tuple[str, torch.Tensor]]:
    import torch

    left[0] -= 1
    if depth > _DEEPEST or left[0] < 0:
        raise ValueError("its objects are nested without end")
    if isinstance(value, torch.Tensor):
        yield name, value
        return
    held = value.held if isinstance(value, _Object) else value
    if isinstance(held, Mapping):
        for key, each in held.items():
            yield from _tensors(each, f"{name}.{key}" if name else str(key), depth + 1, left)
