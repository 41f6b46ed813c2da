"""The loop that every training goes through: steps, losses, samples, checkpoints, and how it resumes.

Everything random in step k follows from (seed, k, rank) alone, so a checkpoint needs no state of random generators: a
run that was killed and resumed draws the same data and the same noise as one that was not.
"""

from __future__ import annotations

import math
import signal
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from restorer.errors import InterruptedRunError, RestorerError, UsageError
from restorer.networks.stylegan2 import equalised_scales
from restorer.storage.pictures import save_picture
from restorer.training.checkpoints import CHECKPOINT, take_up, write_checkpoint
from restorer.training.curves import Losses, plot_losses
from restorer.training.datasets import Reader, picture_files, read_square
from restorer.training.people import HONEST, Rules, chosen, read_manifest
from restorer.training.recipe import Recipe, Values

LOSSES = "losses.csv"

COMMON: Values = {
    "precision": "bf16",
    "sample_every": 1000,
    "log_every": 20,
    "checkpoint_minutes": 4.0,
}


@dataclass(frozen=True)
class Place:
    """Where a process of a training computes: its device, and its rank among `world` processes (torchrun)."""

    device: torch.device
    rank: int = 0
    world: int = 1


class Trainer(ABC):
    """One kind of training. A subclass builds its networks and says what a step and a sample are."""

    kind: ClassVar[str]
    defaults: ClassVar[Values]
    travels: ClassVar[bool] = False
    """Whether it goes on without the optimisers' state, so that a run can be taken elsewhere as a few small files."""

    def __init__(self, recipe: Recipe, data: Path | None, place: Place) -> None:
        """Build everything for the recipe; `data` replaces the recipe's own folder of pictures."""
        self.recipe = recipe
        self.place = place
        self.values = recipe.complete({**COMMON, **self.defaults})
        if self.values["precision"] not in ("bf16", "fp32"):
            raise UsageError(f"The precision {self.values['precision']!r} is unknown.", 'Use "bf16" or "fp32".')
        folder = str(data) if data else self.values["data"]["folder"]
        if not folder:
            raise UsageError(f"The recipe {recipe.name!r} names no folder of pictures.", "Give one with --data.")
        self.folder = data.expanduser().resolve() if data else recipe.path(folder)

    @property
    @abstractmethod
    def total_steps(self) -> int:
        """How many steps the training has."""

    @abstractmethod
    def step(self, step: int) -> dict[str, Tensor]:
        """Do one step and return its losses; called with the random generators set for this step."""

    @abstractmethod
    def sample(self) -> Image.Image:
        """Return a sheet that shows where the training stands; must draw no random numbers of its own."""

    @abstractmethod
    def export(self, out: Path) -> list[Path]:
        """Write the result into the folder, fp16, in the form that this tool loads; return the files."""

    @abstractmethod
    def parts(self) -> dict[str, nn.Module | torch.optim.Optimizer]:
        """Return everything with a state, by a name of its own."""

    def extra_state(self) -> dict[str, Any]:
        """Return what else has to be kept: plain values and tensors only."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over a checkpoint's state: `extra` first, then the parts."""
        for name, part in self.parts().items():
            part.load_state_dict(state["parts"][name])

    def pack(self, out: Path) -> int:
        """Write all that the recipe reads into a new folder and return the bytes that it takes."""
        raise UsageError(
            f"What a recipe of the kind {self.kind!r} reads cannot be packed.", "Take its folders along as they are."
        )

    def pictures_of(self, step: int) -> int:
        """Return how many pictures the first `step` steps show."""
        return step * int(self.values["batch"])

    # ---------------------------------------------------------------------------------------------- for subclasses

    def find_pictures(self, size: int) -> tuple[list[Path], Reader]:
        """Return the files to train on and how to read them: middle squares, or aligned faces (`data.align`).

        Where the recipe has rules for a manifest (`PAPERS`), they are those of its training part that were taken large
        enough.

        Args:
            size: side of the largest pictures that will be asked for.
        """
        data = self.values["data"]
        if data.get("grades"):
            rows = chosen(read_manifest(self.folder), Rules.of(data), "training")
            return [row.file for row in rows if row.native * HONEST >= size], read_square
        files = picture_files(self.folder)
        if not self.values["data"]["align"]:
            return files, read_square
        from restorer.options import Options
        from restorer.pipeline.components import Components
        from restorer.training.aligning import AlignedFaces

        options = Options(model="none", detector=self.values["data"]["align"], device=str(self.place.device))
        faces = AlignedFaces(files, Components(options).detector(), size)
        return faces.files, faces

    def rng(self, step: int, stream: int = 0) -> np.random.Generator:
        """Return the generator of a step's data; it differs by rank, so that each process sees other pictures."""
        return np.random.default_rng([self.recipe.seed, step, self.place.rank, stream])

    def autocast(self) -> AbstractContextManager[object]:
        """Return the context for forward passes in the recipe's precision."""
        if self.values["precision"] == "fp32":
            return nullcontext()
        return torch.autocast(self.place.device.type, dtype=torch.bfloat16)

    def average(self, module: nn.Module) -> None:
        """Average the gradients of a module over all processes."""
        if self.place.world == 1:
            return
        gradients = [p.grad for p in module.parameters() if p.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        torch.distributed.all_reduce(flat)
        offset = 0
        for gradient in gradients:
            count = gradient.numel()
            gradient.copy_(flat[offset : offset + count].view_as(gradient) / self.place.world)
            offset += count

    def mean(self, value: Tensor) -> Tensor:
        """Return the mean of a value over all processes."""
        if self.place.world > 1:
            torch.distributed.all_reduce(value)
        return value / self.place.world

    def any_process(self, value: bool) -> bool:
        """Return whether the value is true in any process."""
        if self.place.world == 1:
            return value
        flag = torch.tensor(float(value), device=self.place.device)
        torch.distributed.all_reduce(flag)
        return bool(flag > 0)

    def per_process(self, batch: int) -> int:
        """Return this process's share of a batch."""
        if batch % self.place.world:
            raise UsageError(
                f"A batch of {batch} cannot be shared by {self.place.world} processes.", "Choose a multiple."
            )
        return batch // self.place.world


def adam(
    module: nn.Module,
    lr: float,
    betas: tuple[float, float],
    *,
    equalise_plain: bool = False,
    faster: Mapping[str, float] | None = None,
) -> torch.optim.Adam:
    """Return Adam over a module's trained parameters, each at the rate times its equalised scale.

    Args:
        module: what learns.
        lr: the learning rate of a parameter whose scale is 1.
        betas: of Adam.
        equalise_plain: treat torch's own convolutions and linear layers, too, as folded equalised ones (GFP-GAN, GPEN).
        faster: for the beginning of parameters' names, how many times the rate they learn at.
    """
    groups: dict[float, list[nn.Parameter]] = {}
    factors = equalised_scales(module)
    if equalise_plain:
        for path, part in module.named_modules():
            if isinstance(part, nn.Conv2d | nn.Linear):
                factors[f"{path}.weight".lstrip(".")] = part.weight[0].numel() ** -0.5
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            more = next((times for start, times in (faster or {}).items() if name.startswith(start)), 1.0)
            groups.setdefault(factors[name] * more, []).append(parameter)
    listed = [{"params": parameters, "lr": lr * factor, "factor": factor} for factor, parameters in groups.items()]
    # Adam's epsilon counts in units of the gradient, which equalising divides by the factor: 1e-8 stays negligible.
    return torch.optim.Adam(listed, lr=lr, betas=betas, eps=1e-8)


def set_rate(optimiser: torch.optim.Optimizer, lr: float) -> None:
    """Set the learning rate of an optimiser that `adam` made."""
    for group in optimiser.param_groups:
        group["lr"] = lr * group["factor"]


Module = TypeVar("Module", bound=nn.Module)


def placed(module: Module, device: torch.device) -> Module:
    """Move a module to a device, its convolutions in the layout that they are fastest in."""
    moved: Module = module.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return moved


def backward(loss: Tensor) -> None:
    """Add the loss's gradients to those of all parameters."""
    torch.autograd.backward([loss])


@torch.no_grad()
def follow(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Move an averaged copy (EMA) towards the network: decay 0 copies; buffers are copied."""
    ours = [parameter.detach() for parameter in average.parameters()]
    theirs = [parameter.detach() for parameter in network.parameters()]
    torch._foreach_lerp_(ours, theirs, 1 - decay)
    for a, b in zip(average.buffers(), network.buffers(), strict=True):
        a.copy_(b)


@contextmanager
def frozen(*modules: nn.Module) -> Iterator[None]:
    """Compute no gradients for the parameters of these modules meanwhile."""
    states = [[parameter.requires_grad for parameter in module.parameters()] for module in modules]
    for module in modules:
        module.requires_grad_(False)
    try:
        yield
    finally:
        for module, state in zip(modules, states, strict=True):
            for parameter, was in zip(module.parameters(), state, strict=True):
                parameter.requires_grad_(was)


Report = Callable[[int, int, float, Mapping[str, float]], None]


def run(
    trainer: Trainer,
    out: Path,
    *,
    resume: bool = True,
    until: int | None = None,
    time_limit: float | None = None,
    report: Report | None = None,
) -> int:
    """Train to the end (or to step `until`), writing losses, samples and checkpoints into `out`; return the steps done.

    Args:
        trainer: what to train.
        out: the run's folder.
        resume: go on from the folder's checkpoint; False begins anew.
        until: stop after this step, with a checkpoint.
        time_limit: stop after the step that ends later than so many seconds from now, with a checkpoint.
        report: called with (step, total, seconds, mean losses) whenever a row of losses is written.

    Raises:
        RestorerError: a loss is NaN or infinite; the last good checkpoint stays.
    """
    out.mkdir(parents=True, exist_ok=True)
    checkpoint, first = out / CHECKPOINT, trainer.place.rank == 0
    done = take_up(trainer, out) if resume else 0
    if first and not done:
        (out / LOSSES).unlink(missing_ok=True)
    losses = Losses(out / LOSSES, trainer.values["log_every"], done) if first else None
    last = min(until or trainer.total_steps, trainer.total_steps)
    began = saved = time.monotonic()
    step = done
    with _asked_to_stop() as asked:
        for step in range(done + 1, last + 1):
            torch.manual_seed(_mix(trainer.recipe.seed, step, trainer.place.rank))
            found = trainer.step(step)
            stop = trainer.any_process(bool(asked))
            now = time.monotonic()
            late = trainer.any_process(time_limit is not None and now - began > time_limit)
            if losses is not None:
                means = losses.add(step, trainer.pictures_of(step), now - began, found)
                if means is not None:
                    _check(means, step, checkpoint)
                    if report is not None:
                        report(step, trainer.total_steps, now - began, means)
                if step % trainer.values["sample_every"] == 0:
                    save_picture(trainer.sample(), out / "samples" / f"{step:07d}.jpg")
                if stop or now - saved > 60 * trainer.values["checkpoint_minutes"]:
                    write_checkpoint(trainer, step, checkpoint)
                    plot_losses(out / LOSSES, out / "losses.png")
                    saved = time.monotonic()
            if stop:
                raise InterruptedRunError(
                    f"The training stopped after step {step} of {trainer.total_steps}; its state is in {checkpoint}.",
                    "Give the same command again to go on.",
                )
            if late:
                break
    if losses is not None and step > done:
        write_checkpoint(trainer, step, checkpoint)
        save_picture(trainer.sample(), out / "samples" / f"{step:07d}.jpg")
        plot_losses(out / LOSSES, out / "losses.png")
    return step


@contextmanager
def _asked_to_stop() -> Iterator[list[int]]:
    """Yield a list that holds something once SIGINT or SIGTERM came: the step under way is finished and kept."""
    asked: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    former = {number: signal.signal(number, lambda n, _: asked.append(n)) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def _check(means: Mapping[str, float], step: int, checkpoint: Path) -> None:
    bad = [name for name, value in means.items() if not math.isfinite(value)]
    if bad:
        raise RestorerError(
            f"The loss {bad[0]!r} is NaN or infinite at step {step}.",
            f"Lower the learning rate; {checkpoint} still holds the last good state.",
        )


def _mix(seed: int, step: int, rank: int) -> int:
    """Return a seed for torch that differs for every step and rank."""
    return int(np.random.SeedSequence([seed, step, rank]).generate_state(1, np.uint64)[0] >> np.uint64(1))
