"""The floor that a restorer with a prior has to stand above: a plain U-Net that learns the same pairs by L1 alone.

    python -m restorer.bench floor train faces256 floor.pt
    python -m restorer.bench floor measure floor.pt FOLDER --identity-weights FILE --detector NAME

It sees the training pictures of the recipe `tiny` under that recipe's degradation, in squares cut out of them, and is
measured as `restore evaluate` measures: the rows of `tiny` are above it, on the same degraded pictures.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from restorer.models.base import CropSpec

WIDTHS = (32, 64, 128, 256)
SIDE = 256
"""Side of the pictures; `CROP` is that of the squares that it learns from."""
CROP = 128


class UNet(nn.Module):
    """Two convolutions a level, halved by averaging, enlarged bilinearly; its output is added to its input.

    Ronneberger et al., "U-Net" (2015), without the valid-padding cuts.
    """

    def __init__(self, widths: Sequence[int] = WIDTHS) -> None:
        super().__init__()
        self.down = nn.ModuleList(_level(inner, outer) for inner, outer in pairwise((3, *widths)))
        rising = list(pairwise(reversed(widths)))
        self.up = nn.ModuleList(_level(coarse + fine, fine) for coarse, fine in rising)
        self.last = nn.Conv2d(widths[0], 3, 3, padding=1)
        for parameter in self.last.parameters():  # it begins with the identity
            nn.init.zeros_(parameter)

    def forward(self, pictures: Tensor) -> Tensor:
        """Return restored pictures (n, 3, h, w) in about [-1, 1]; sides are multiples of 8."""
        features, kept = pictures, []
        for number, level in enumerate(self.down):
            features = level(F.avg_pool2d(features, 2) if number else features)
            kept.append(features)
        for level, fine in zip(self.up, reversed(kept[:-1]), strict=True):
            wide = F.interpolate(features, scale_factor=2.0, mode="bilinear", align_corners=False)
            features = level(torch.cat([wide, fine], dim=1))
        result: Tensor = pictures + self.last(features)
        return result


def _level(inner: int, outer: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inner, outer, 3, padding=1),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(outer, outer, 3, padding=1),
        nn.LeakyReLU(0.2, inplace=True),
    )


class Floor:
    """The trained U-Net as what `evaluate` takes for a restorer."""

    crop = CropSpec(SIDE, SIDE, SIDE, None)

    def __init__(self, file: Path) -> None:
        self.network = UNet().eval().to(memory_format=torch.channels_last)
        self.network.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))

    def restore(self, crops: Tensor) -> Tensor:
        """Return restored pictures of (n, 3, 256, 256) in [-1, 1]."""
        with torch.inference_mode():
            output: Tensor = self.network(crops.contiguous(memory_format=torch.channels_last))
        return output


def train(folder: Path, out: Path, *, steps: int, batch: int, lr: float) -> None:
    """Train the U-Net on the training pictures of the recipe `tiny`, seed 0, and write its weights.

    Args:
        folder: the pictures; those that the recipe keeps for validation are left out.
        out: file for the weights.
        steps: of AdamW, whose rate falls from `lr` to 0 by half a cosine.
        batch: squares a step.
        lr: the first rate.
    """
    from restorer.training.datasets import PictureSet, picture_files, split
    from restorer.training.degradations import Degradation
    from restorer.training.pairs import PairMaker
    from restorer.training.recipe import load_recipe

    torch.manual_seed(0)
    recipe = load_recipe("tiny")
    data = recipe.values["data"]
    pictures = PictureSet(split(picture_files(folder), data["validation"], recipe.seed)[0], SIDE)
    degradation = Degradation.of(recipe.values["degradation"], SIDE)
    pairs = PairMaker(pictures, degradation, data, batch, lambda step: np.random.default_rng([0, step]))
    network = UNet().to(memory_format=torch.channels_last)
    print(f"{sum(parameter.numel() for parameter in network.parameters()):,} numbers", flush=True)
    optimiser = torch.optim.AdamW(network.parameters(), lr=lr)
    began, losses = time.perf_counter(), []
    for step in range(1, steps + 1):
        for group in optimiser.param_groups:
            group["lr"] = lr * 0.5 * (1 + math.cos(math.pi * step / steps))
        made = pairs.of(step)
        top, left = np.random.default_rng([1, step]).integers(0, SIDE - CROP + 1, 2)
        degraded, clean = (part[..., top : top + CROP, left : left + CROP] for part in (made.degraded, made.clean))
        with torch.autocast("cpu", torch.bfloat16):
            output = network(degraded.contiguous(memory_format=torch.channels_last))
        loss = F.l1_loss(output.float(), clean)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses.append(float(loss.detach()))
        if step % 50 == 0:
            seconds = time.perf_counter() - began
            print(f"{step}/{steps}  {seconds:.0f} s  L1 {np.mean(losses[-50:]):.4f}", flush=True)
            torch.save(network.state_dict(), out)
    torch.save(network.state_dict(), out)


def measure(file: Path, folder: Path, model: str, kept_by: str, identity: Path | None, detector: str) -> None:
    """Print the rows of a model, and the floor's, on the same degraded pictures; the last line is JSON."""
    from restorer.evaluation.evaluate import Judges, evaluate
    from restorer.options import Options
    from restorer.pipeline.components import Components
    from restorer.training.datasets import picture_files
    from restorer.training.people import held_apart
    from restorer.training.recipe import load_recipe

    components = Components(Options(model=model, detector=detector, aligned=True))
    files = held_apart(folder, load_recipe(kept_by)) if kept_by else picture_files(folder)
    finder = components.detector() if identity is not None else None
    rows: list[dict[str, Any]] = []
    for name, restorer in ((model, components.face_model()), ("u-net", Floor(file))):
        found = evaluate(restorer, name, files, degrade="tiny", judges=Judges(identity, finder))
        known = {row["method"] for row in rows}
        rows += [row for row in found.as_json()["rows"] if row["method"] not in known]
    for row in rows:
        figures = (row["psnr"], row["ssim"], row["niqe"], row["identity"])
        print(f"{row['method']:10}" + "".join(f"{'-' if value is None else f'{value:.3f}':>10}" for value in figures))
    print(json.dumps({"folder": folder.name, "pictures": len(files), "rows": rows}))


def main(arguments: list[str]) -> int:
    """Train or measure."""
    from restorer.engine.device import allowed_cores

    parser = argparse.ArgumentParser(
        prog="python -m restorer.bench floor", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    training = commands.add_parser("train", help="train the U-Net")
    training.add_argument("folder", type=Path, help="faces of 256 px")
    training.add_argument("out", type=Path, help="file for its weights")
    training.add_argument("--steps", type=int, default=2500)
    training.add_argument("--batch", type=int, default=16)
    training.add_argument("--lr", type=float, default=1e-3)
    training.add_argument("--threads", type=int, default=allowed_cores())
    measuring = commands.add_parser("measure", help="print its row below those of a model")
    measuring.add_argument("file", type=Path, help="the U-Net's weights")
    measuring.add_argument("folder", type=Path, help="clean pictures of faces")
    measuring.add_argument("--model", default="tiny", help="the model above it (default tiny)")
    measuring.add_argument("--kept-by", default="", help="only the pictures that this recipe keeps for validation")
    measuring.add_argument("--identity-weights", type=Path, help="MobileFaceNet checkpoint")
    measuring.add_argument("--detector", default="auto", help="finds the faces for the identity")
    given = parser.parse_args(arguments)
    if given.command == "train":
        torch.set_num_threads(given.threads)
        train(given.folder, given.out, steps=given.steps, batch=given.batch, lr=given.lr)
    else:
        torch.set_num_threads(allowed_cores())
        measure(given.file, given.folder, given.model, given.kept_by, given.identity_weights, given.detector)
    return 0
