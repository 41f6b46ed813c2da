"""Reading checkpoints without running anything inside them, and finding the one state dict that counts.

Files are recognised by their content. safetensors hold nothing but tensors. PyTorch's files are pickles, which could
run any code; they are read with `weights_only=True`, which builds tensors and plain values and refuses the rest unrun.
Of TorchScript, which is a program, the tensors are taken and nothing is run (`restorer.weights.program_file`).
Large files are mapped, not read: a page comes from the disk when it is used.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import re
import struct
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from restorer.errors import CheckpointLayoutError, UnsafeCheckpointError
from restorer.weights import program_file
from restorer.weights.native_file import ALIGNMENT, header

if TYPE_CHECKING:
    import torch

WRAPPERS = (
    "params_ema", "g_ema", "generator_ema", "params", "state_dict", "net_state_dict", "params-ema", "model_state_dict",
    "model_state", "model", "net",
)  # fmt: skip
"""Where upstream projects put the state dict, best first: the running average (EMA) is the one to use."""

_PREFIX_EMA = "generator_ema."  # mmagic keeps both generators in one state dict, told apart by this prefix
_MOST_ENTRIES, _DEEPEST = 500_000, 64
"""Entries, those of what is held several times each time, and levels that a checkpoint may have."""
_SPARE = 2**26
_HARMLESS = re.compile(
    r"collections\.OrderedDict|torch\.\w+Storage|torch\._utils\._rebuild_\w+|torch\.Size|torch\.device"
)


@dataclass(frozen=True)
class Checkpoint:
    """The state dict of a file, and what else the file holds.

    Attributes:
        state: tensors by their upstream names, without "module." in front.
        wrapper: the entry of the file that it was found in; None where the file is the state dict.
        left: the other entries that hold tensors, with how many values each has.
    """

    state: dict[str, torch.Tensor]
    wrapper: str | None
    left: Mapping[str, int]


def load_state_dict(path: Path, table_name: str) -> dict[str, torch.Tensor]:
    """Return the tensors of a checkpoint on the CPU, by their upstream names, out of whatever wraps them.

    Args:
        path: safetensors, or PyTorch's .pth, .pt, .ckpt of either age.
        table_name: for the errors.

    Raises:
        UnsafeCheckpointError: it holds more than tensors and plain values; nothing of it was run.
        CheckpointLayoutError: it cannot be read, or holds no tensors.
    """
    return open_checkpoint(path, table_name).state


def load_parts(path: Path) -> dict[str, dict[str, torch.Tensor]]:
    """Return the tensors of the networks in the checkpoint of a training, by network; nothing where it is none.

    Raises:
        UnsafeCheckpointError: it holds more than tensors and plain values; nothing of it was run.
        CheckpointLayoutError: it cannot be read.
    """
    content = _read(path, path.name)
    _check_tree(content, path, path.name)
    parts = content.get("parts") if isinstance(content, dict) else None
    return dict(parts) if isinstance(parts, dict) else {}


def open_checkpoint(path: Path, table_name: str) -> Checkpoint:
    """Return the state dict of a file together with what else is in it; see `load_state_dict`.

    Args:
        path: a checkpoint, .pth, .pt, .ckpt or .safetensors.
        table_name: what errors call it.

    Raises:
        UnsafeCheckpointError: the file holds more than tensors and plain values.
        CheckpointLayoutError: there is no state dict in it.
    """
    tree = _read(path, table_name)
    _check_tree(tree, path, table_name)
    wrapper = None
    left: dict[str, int] = {}
    while wrapped := [key for key in WRAPPERS if isinstance(tree, Mapping) and _holds_tensors(tree.get(key))]:
        wrapper = wrapped[0]
        left |= {str(key): count for key, value in tree.items() if key != wrapper and (count := count_values(value))}
        tree = tree[wrapper]
    if not isinstance(tree, Mapping) or not _holds_tensors(tree):
        raise CheckpointLayoutError(
            table_name,
            f"{path.name} holds no state dict.",
            "Use the checkpoint itself, not an optimizer's state or a training log.",
        )
    state = _tensors(tree)
    _check_kinds(state, path, table_name)
    if any(key.startswith(_PREFIX_EMA) for key in state):
        wrapper, rest = _PREFIX_EMA.rstrip("."), state
        state = {key.removeprefix(_PREFIX_EMA): value for key, value in rest.items() if key.startswith(_PREFIX_EMA)}
        for key, value in rest.items():
            if not key.startswith(_PREFIX_EMA):
                left[key.split(".")[0]] = left.get(key.split(".")[0], 0) + value.numel()
    return Checkpoint(state, wrapper, left)


def aligned(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor as networks compute with it: contiguous, at a multiple of `ALIGNMENT` bytes.

    Where it lies so already, as all large tensors of our own files and of PyTorch's do, it stays what it is, mapped;
    any other is copied. Otherwise the last bits of a result would depend on the layout of a file.
    """
    whole = tensor.contiguous()
    return whole.clone() if whole.data_ptr() % ALIGNMENT else whole


def count_values(tree: Any) -> int:
    """Return how many numbers the tensors in a tree of mappings and lists hold."""
    if isinstance(tree, Mapping):
        return sum(count_values(value) for value in tree.values())
    if isinstance(tree, list | tuple):
        return sum(count_values(value) for value in tree)
    return _is_tensor(tree) and tree.numel()


def _check_tree(tree: Any, path: Path, table_name: str) -> None:
    """Refuse what holds itself, nests without end, or holds the same things so often that no walk over it would end.

    A pickle builds such things of a few bytes, and `weights_only` lets it.
    """
    left, queue = _MOST_ENTRIES, [(tree, 0)]
    while queue:
        value, depth = queue.pop()
        if isinstance(value, Mapping | list | tuple | set | frozenset):
            inside = value.values() if isinstance(value, Mapping) else value
            left -= 1 + len(inside)
            if left < 0 or depth > _DEEPEST:
                raise CheckpointLayoutError(
                    table_name,
                    f"{path} cannot be read as a checkpoint: its entries are nested without end.",
                    "Use a checkpoint of a state dict alone, from whoever published it.",
                )
            queue += [(each, depth + 1) for each in inside]


def _check_kinds(state: Mapping[str, torch.Tensor], path: Path, table_name: str) -> None:
    """Refuse tensors that are no plain arrays of numbers: sparse, quantized, complex, nested, or without content."""
    import torch

    for key, tensor in state.items():
        odd = tensor.is_meta or tensor.is_quantized or tensor.is_complex() or tensor.is_nested
        if odd or tensor.layout is not torch.strided:
            raise CheckpointLayoutError(
                table_name,
                f"{path} cannot be read as a checkpoint: {key} is no plain array of numbers.",
                "Ask whoever published it for one with dense tensors of floating-point numbers.",
            )


def _is_tensor(value: Any) -> bool:
    import torch

    return isinstance(value, torch.Tensor)


def _holds_tensors(tree: Any) -> bool:
    """Tell whether a value is a mapping that holds a tensor, directly or deeper."""
    return isinstance(tree, Mapping) and any(_is_tensor(value) or _holds_tensors(value) for value in tree.values())


def _tensors(tree: Mapping[Any, Any]) -> dict[str, torch.Tensor]:
    """Return the tensors of a state dict, without gradients and without "module.", which parallel training adds."""
    return {str(key).removeprefix("module."): value.detach() for key, value in tree.items() if _is_tensor(value)}


def _read(path: Path, table_name: str) -> Any:
    """Return what a file holds: tensors in mappings."""
    if header(path) is not None:
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(path, device="cpu")
        except SafetensorError as error:
            raise _damaged(path, table_name, error) from error
    zipped = zipfile.is_zipfile(path)
    if zipped and _is_program(path, table_name):
        try:
            return program_file.read(path)
        except pickle.UnpicklingError as error:
            raise _unsafe(path, table_name, f"a compiled program (TorchScript) with {error}") from error
        except Exception as error:  # a damaged archive raises whatever its parts do
            raise _damaged(path, table_name, error) from error
    import torch

    # Newer versions of torch.load judge a path by its suffix, which says nothing here; a handle has none.
    mapped = zipped and path.suffix != ".safetensors"
    try:
        with path.open("rb") as file:
            return torch.load(path if mapped else file, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        named = re.search(r"GLOBAL ([\w.]+)", str(error))
        wanted = [named[1]] if named else [name for name in _imports(path) if not _HARMLESS.fullmatch(name)]
        if wanted:
            raise _unsafe(path, table_name, f"a call of {', '.join(dict.fromkeys(wanted))}") from error
        raise _damaged(path, table_name, error) from error
    except Exception as error:  # a damaged pickle raises whatever the classes do that it is made of
        raise _damaged(path, table_name, error) from error


def _is_program(path: Path, table_name: str) -> bool:
    """Tell whether a zip file is TorchScript, which carries code; raise where it unpacks to far more than it is."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError, struct.error) as error:
        raise _damaged(path, table_name, error) from error
    if sum(entry.file_size for entry in entries) > 8 * path.stat().st_size + _SPARE:  # PyTorch does not compress
        raise CheckpointLayoutError(
            table_name,
            f"{path} cannot be read as a checkpoint: its archive unpacks to far more than its own size.",
            "Use a checkpoint as PyTorch writes it, from whoever published it.",
        )
    return program_file.is_program(path)


def _imports(path: Path) -> Iterator[str]:
    """Yield the functions and classes that a pickle would import, read from its instructions, without running them."""
    texts: list[str] = []
    try:
        data = path.read_bytes()
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                data = b"".join(archive.read(name) for name in archive.namelist() if name.endswith("data.pkl"))
        stream = io.BytesIO(data)
        while stream.tell() < len(data):  # PyTorch's old format is several pickles in a row, then raw numbers
            for instruction, argument, _position in pickletools.genops(stream):
                if instruction.name == "GLOBAL":
                    yield str(argument).replace(" ", ".")
                elif instruction.name == "STACK_GLOBAL" and len(texts) >= 2:
                    yield ".".join(texts[-2:])
                elif isinstance(argument, str):
                    texts.append(argument)
    except Exception:  # noqa: BLE001 - where the pickles end, or their damage begins
        return


def _unsafe(path: Path, table_name: str, what: str) -> UnsafeCheckpointError:
    return UnsafeCheckpointError(
        table_name,
        f"{path} holds more than weights: {what}. It was not run, and the file is not loaded.",
        "Ask whoever published it for a safetensors file, or for a checkpoint with tensors only.",
    )


def _damaged(path: Path, table_name: str, error: Exception) -> CheckpointLayoutError:
    """Return the error about a file that cannot be read, in words that do not need its reader's."""
    with path.open("rb") as stream:
        head = stream.read(512)
    remedy = "Check that the file is complete."
    if not head:
        reason = "it is empty"
    elif head.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        reason, remedy = "it is a web page", "Download the file itself, not the page that links to it."
    elif head.startswith(b"version https://git-lfs"):
        reason, remedy = "it only says where Git LFS keeps the file", "Fetch it with `git lfs pull`."
    elif _is_text(head):
        reason, remedy = "it is text", "Name the checkpoint itself, a .pth, .ckpt or .safetensors file."
    elif head.startswith(b"PK"):
        reason = "its archive is incomplete or damaged"
    elif isinstance(error, pickle.UnpicklingError | EOFError | KeyError | IndexError | ValueError):
        reason = "it is neither safetensors nor a PyTorch checkpoint, or damaged"
    else:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return CheckpointLayoutError(table_name, f"{path} cannot be read as a checkpoint: {reason.rstrip('.')}.", remedy)


def _is_text(head: bytes) -> bool:
    """Tell whether the first bytes of a file are text: letters, and no control codes but those of lines."""
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:  # not only a letter that is cut off
            return False
        text = head[: error.start].decode("utf-8")
    return all(char.isprintable() or char in "\t\r\n\f" for char in text)
