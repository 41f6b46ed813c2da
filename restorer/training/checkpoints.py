"""The state of a training as files: whole, to go on as if nothing had been; or light, to be taken elsewhere."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from restorer.storage.atomic import write_atomic
from restorer.training.recipe import Recipe

CHECKPOINT = "checkpoint.pt"
LIGHT = "light"
"""The folder of a light state in the run's own."""


class Stateful(Protocol):
    """What is needed of a trainer."""

    recipe: Recipe
    place: Any

    def parts(self) -> Mapping[str, nn.Module | torch.optim.Optimizer]:
        """Return everything with a state, by a name of its own."""
        ...

    def extra_state(self) -> dict[str, Any]:
        """Return what else has to be kept."""
        ...

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over a state."""
        ...


def write_checkpoint(trainer: Stateful, step: int, path: Path) -> None:
    """Write everything that a resumed run needs; a kill at any moment leaves the former file or the new one."""
    state = {
        "step": step,
        "recipe": trainer.recipe.text,
        "extra": trainer.extra_state(),
        "parts": {name: part.state_dict() for name, part in trainer.parts().items()},
    }
    write_atomic(path, lambda file: torch.save(state, file), sweep=True)


def read_checkpoint(trainer: Stateful, path: Path) -> int:
    """Restore a trainer from its checkpoint and return how many steps were done."""
    state = torch.load(path, map_location=trainer.place.device, weights_only=True)
    trainer.restore(state)
    return int(state["step"])


def take_up(trainer: Stateful, out: Path) -> int:
    """Restore a trainer from what its run's folder holds and return how many steps were done; 0 if it holds nothing.

    A whole checkpoint goes before a light state, which stands for it where a run was brought from elsewhere.
    """
    if (out / CHECKPOINT).is_file():
        return read_checkpoint(trainer, out / CHECKPOINT)
    if (out / LIGHT / "state.json").is_file():
        return read_light(trainer, out / LIGHT)
    return 0


def write_light(trainer: Stateful, step: int, folder: Path) -> None:
    """Write the networks in fp16, a file each, without the optimisers: a quarter of a checkpoint.

    The folder is made beside its place and moved there, so that a kill leaves no half of it.
    """
    from safetensors.torch import save_file

    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for name, part in trainer.parts().items():
        if isinstance(part, nn.Module):
            state = part.state_dict()
            halves = {k: (v.half() if v.is_floating_point() else v).cpu().contiguous() for k, v in state.items()}
            save_file(halves, partial / f"{name}.safetensors")
    state_file = {"step": step, "extra": trainer.extra_state()}
    (partial / "state.json").write_text(json.dumps(state_file), encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    partial.replace(folder)


def read_light(trainer: Stateful, folder: Path) -> int:
    """Restore a trainer from a light state and return how many steps were done; its optimisers begin anew.

    A network's file may have been left behind where its average is there, to carry less.
    """
    from safetensors.torch import load_file

    state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    files = {name: folder / f"{name}.safetensors" for name in trainer.parts()}
    parts = {name: load_file(file) for name, file in files.items() if file.is_file()}
    trainer.restore({"step": state["step"], "extra": state["extra"], "parts": parts})
    return int(state["step"])
