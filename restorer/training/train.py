"""Carrying out a recipe: which trainer, on which device, with how many processes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import torch

from restorer.errors import DeviceUnavailableError, UsageError
from restorer.storage.atomic import write_atomic
from restorer.training.checkpoints import LIGHT, write_light
from restorer.training.damage_finding import DamageTrainer
from restorer.training.dcgan import DCGANTrainer
from restorer.training.detecting import DetectorTrainer
from restorer.training.faceunet import FaceUNetTrainer
from restorer.training.inpainting import InpaintingTrainer
from restorer.training.loop import Place, Report, Trainer, run
from restorer.training.prior import PriorTrainer
from restorer.training.recipe import Recipe, load_recipe
from restorer.training.restorers import GFPGANTrainer, GLEANTrainer, GPENTrainer, LightGLEANTrainer
from restorer.training.upscaling import UpscalerTrainer

TRAINERS: dict[str, type[Trainer]] = {
    trainer.kind: trainer
    for trainer in (
        PriorTrainer,
        DCGANTrainer,
        GLEANTrainer,
        LightGLEANTrainer,
        GFPGANTrainer,
        GPENTrainer,
        DetectorTrainer,
        UpscalerTrainer,
        FaceUNetTrainer,
        DamageTrainer,
        InpaintingTrainer,
    )
}


@dataclass(frozen=True)
class Trained:
    """What a training left behind: its folder, the steps done of all, and the files of the result."""

    folder: Path
    steps: int
    total: int
    files: tuple[Path, ...]


def make_trainer(recipe: Recipe, data: Path | None, place: Place) -> Trainer:
    """Return the trainer of a recipe; raises `UsageError` when its kind is unknown."""
    if recipe.kind not in TRAINERS:
        raise UsageError(
            f"The recipe {recipe.name!r} is of the kind {recipe.kind!r}, which is unknown.",
            f"Kinds are: {', '.join(TRAINERS)}.",
        )
    return TRAINERS[recipe.kind](recipe, data, place)


def train(
    recipe: str | Path,
    *,
    data: Path | None = None,
    out: Path | None = None,
    device: str = "auto",
    resume: bool = True,
    until: int | None = None,
    time_limit: float | None = None,
    report: Report | None = None,
) -> Trained:
    """Train by a recipe and write the result into `out` (default `runs/NAME`), within `time_limit` seconds if given.

    Started by torchrun, each process takes its share of every batch on its own GPU.

    Raises:
        UsageError: the recipe, the data or the device does not fit.
    """
    loaded = load_recipe(recipe)
    place = _place(device)
    folder = out or Path("runs") / loaded.name
    trainer = make_trainer(loaded, data, place)
    if place.rank == 0:
        write_atomic(folder / "recipe.toml", loaded.text)
    steps = run(trainer, folder, resume=resume, until=until, time_limit=time_limit, report=report)
    files = trainer.export(folder) if place.rank == 0 else []
    if place.rank == 0 and trainer.travels:
        write_light(trainer, steps, folder / LIGHT)
    return Trained(folder, steps, trainer.total_steps, tuple(files))


def pack(recipe: str | Path, out: Path, *, data: Path | None = None) -> int:
    """Write all that a recipe reads into a new folder and return the bytes that it takes.

    Raises:
        UsageError: the recipe or the data does not fit, or there is too much of it.
    """
    return make_trainer(load_recipe(recipe), data, Place(torch.device("cpu"))).pack(out)


def _place(device: str) -> Place:
    """Return where this process computes; joins the others when torchrun started it."""
    world, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise DeviceUnavailableError("There is no CUDA device here.", "Use --device cpu.")
    if world > 1:
        if device == "cuda":
            device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
        if not torch.distributed.is_initialized():
            torch.distributed.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    return Place(torch.device(device), rank, world)
