"""How well searches reach what a prior itself drew, and how quickly: PULSE's goal, mGANprior's codes, steps a second.

    python -m restorer.bench inversion [--pulse N] [--codes 1 5 10 20] [--plot FILE] [--json]
    python -m restorer.bench inversion --pulse 0 --codes --no-speed --faces PHOTO... [--side 16] [--sheet FILE]

The first is done on the built-in prior with pictures that it drew itself, so that an answer is known to be there; the
second on real faces, of which the prior can draw only what it can.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import json
import math
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from restorer.bench.tools import real_faces
from restorer.engine.device import apply_threads, configure_threads
from restorer.imaging.sheets import Picture, sheet
from restorer.inversion.codes import StyleGAN2CodePrior
from restorer.inversion.course import Limits
from restorer.inversion.mganprior import CodeSearch, CodeSettings, draw_codes
from restorer.inversion.mganprior_faces import MANNERS
from restorer.inversion.operators import Reduction, whole
from restorer.inversion.priors import StyleGAN2Prior
from restorer.inversion.pulse import PulseSearch, PulseSettings, draw_start
from restorer.models import load_network
from restorer.networks.filters import fir_blur
from restorer.networks.stylegan2 import StyledConv, StyleGAN2Generator
from restorer.storage.pictures import save_picture

FACTOR = 8
BATCH = 4


def drawn(network: StyleGAN2Generator, seeds: Sequence[int]) -> Tensor:
    """Return a picture of the prior for each seed, (n, 3, size, size) in [-1, 1]; searches draw others."""
    z = [torch.randn(1, network.style_dim, generator=torch.Generator().manual_seed(10_000 + seed)) for seed in seeds]
    with torch.no_grad():
        pictures: Tensor = network(torch.cat(z))
    return pictures.clamp(-1, 1)


def pulse_meets(network: StyleGAN2Generator, count: int, steps: int = 100) -> dict[str, Any]:
    """Return for how many of so many seeds PULSE meets its eps on the prior's own pictures, reduced 8 times."""
    prior, settings = StyleGAN2Prior(network), PulseSettings()
    seen = Reduction(prior.size, prior.size // FACTOR)
    errors, taken, begin = [], [], time.monotonic()
    for start in range(0, count, BATCH):
        seeds = list(range(start, min(start + BATCH, count)))
        target = seen((drawn(network, seeds) + 1) / 2)
        search = PulseSearch(prior, target, seen, draw_start(prior, seeds, settings), steps, settings)
        for each in search.run(Limits(steps, patience=15)):
            errors.append(each.error)
            taken.append(each.steps)
    allowed = 255 * math.sqrt(settings.eps)
    return {
        "seeds": count,
        "met": sum(error <= allowed for error in errors),
        "allowed": round(allowed, 2),
        "worst": round(max(errors), 2),
        "steps": round(sum(taken) / count, 1),
        "seconds": round((time.monotonic() - begin) / count, 2),
    }


def codes_reach(
    network: StyleGAN2Generator, codes: int, pictures: int, steps: int = 300, layer: int = MANNERS["reconstruct"].layer
) -> dict[str, Any]:
    """Return how near mGANprior comes to the prior's own pictures with so many codes, in dB, and a step's seconds."""
    prior = StyleGAN2CodePrior(network)
    settings = CodeSettings(codes=codes, layer=layer)
    seeds = list(range(pictures))
    search = CodeSearch(prior, drawn(network, seeds), whole, draw_codes(prior, seeds, settings), settings)
    begin = time.monotonic()
    found = search.run(Limits(steps))
    decibels = [20 * math.log10(255 / each.error) for each in found]
    return {
        "codes": codes,
        "pictures": pictures,
        "steps": steps,
        "psnr": round(sum(decibels) / len(decibels), 2),
        "worst": round(min(decibels), 2),
        "seconds_a_step": round((time.monotonic() - begin) / steps / pictures, 4),
    }


class PlainConv(StyledConv):
    """The same convolution in the form in which it was published, for comparison.

    Each picture's weights are modulated and demodulated, all of them are one grouped convolution, in torch's usual
    memory layout, and every gradient is autograd's.
    """

    def forward(self, x: Tensor, latent: Tensor, noise: Tensor) -> Tensor:
        """Map features as `StyledConv` does."""
        count, channels = x.shape[:2]
        weight = self.weight.transpose(0, 1) if self.transposed else self.weight
        weight = weight[None] * self.modulation(latent)[:, None, :, None, None]
        weight = weight * torch.rsqrt(weight.square().sum((2, 3, 4), keepdim=True) + 1e-8)
        x = x.contiguous().view(1, count * channels, *x.shape[2:])
        if self.transposed:
            weight = weight.transpose(1, 2).flatten(0, 1)
            x = F.conv_transpose2d(x, weight, stride=2, groups=count)
            x = fir_blur(x.view(count, -1, *x.shape[2:]), 1, gain=4.0)
        else:
            x = F.conv2d(x, weight.flatten(0, 1), padding=1, groups=count)
            x = x.view(count, -1, *x.shape[2:])
        x = x + noise * self.noise_gain + self.bias[:, None, None]
        return F.leaky_relu(x, 0.2) * math.sqrt(2)


def plain_form(network: StyleGAN2Generator) -> StyleGAN2Generator:
    """Return a copy of a generator whose convolutions are `PlainConv`; the pictures are the same."""
    plain = copy.deepcopy(network)
    for module in plain.modules():
        if isinstance(module, StyledConv):
            module.__class__ = PlainConv
    return plain


def steps_a_second(network: StyleGAN2Generator, steps: int = 4, rounds: int = 8) -> dict[str, Any]:
    """Return what a step of PULSE takes for one picture: four side by side, one by one, and in the plain loop.

    The plain loop takes one picture after another through `PlainConv`. All three take turns, so that whatever else the
    machine does meets them alike; the median of the rounds counts.
    """
    settings = PulseSettings()

    def begun(network: StyleGAN2Generator, seeds: list[int]) -> PulseSearch:
        prior = StyleGAN2Prior(network)
        seen = Reduction(prior.size, prior.size // FACTOR)
        target = seen((drawn(network, [0]) + 1) / 2)
        search = PulseSearch(prior, target, seen, draw_start(prior, seeds, settings), 10_000, settings)
        search.step()  # the first one makes room
        return search

    plain = plain_form(network)
    manners = {
        "together": [begun(network, list(range(BATCH)))],
        "one_by_one": [begun(network, [seed]) for seed in range(BATCH)],
        "plain_loop": [begun(plain, [seed]) for seed in range(BATCH)],
    }
    seconds: dict[str, list[float]] = {name: [] for name in manners}
    for _ in range(rounds):
        for name, searches in manners.items():
            begin = time.monotonic()
            for search in searches:
                for _ in range(steps):
                    search.step()
            seconds[name].append((time.monotonic() - begin) / steps / BATCH)
    usual = {name: statistics.median(each) for name, each in seconds.items()}
    return {
        "batch": BATCH,
        **{name: round(each, 4) for name, each in usual.items()},
        "times_one_by_one": round(usual["one_by_one"] / usual["together"], 2),
        "times_plain_loop": round(usual["plain_loop"] / usual["together"], 2),
    }


def plot(rows: Sequence[dict[str, Any]]) -> Picture:
    """Return a plot of dB against the number of codes, as a picture (h, w, 3)."""
    import cv2
    import numpy as np

    width, height, left, bottom = 480, 320, 60, 40
    canvas = np.full((height, width, 3), 255, np.uint8)
    values = [row["psnr"] for row in rows]
    low, high = math.floor(min(values) - 1), math.ceil(max(values) + 1)
    most = max(row["codes"] for row in rows)

    def place(codes: float, value: float) -> tuple[int, int]:
        x = left + codes / most * (width - left - 20)
        return round(x), round(height - bottom - (value - low) / (high - low) * (height - bottom - 20))

    def write(text: str, x: int, y: int) -> None:
        cv2.putText(canvas, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (0, 0, 0), 1, cv2.LINE_AA)

    for value in range(low, high + 1, max(1, (high - low) // 6)):
        cv2.line(canvas, place(0, value), place(most, value), (225, 225, 225), 1)
        write(f"{value} dB", 8, place(0, value)[1] + 4)
    points = [place(row["codes"], row["psnr"]) for row in rows]
    for first, second in itertools.pairwise(points):
        cv2.line(canvas, first, second, (180, 90, 30), 2, cv2.LINE_AA)
    for row, point in zip(rows, points, strict=True):
        cv2.circle(canvas, point, 4, (180, 90, 30), -1, cv2.LINE_AA)
        write(str(row["codes"]), point[0] - 6, height - 20)
    write("codes", width // 2, height - 4)
    return canvas


def real_tasks(
    faces: Sequence[tuple[str, Picture]], tasks: Sequence[str], steps: int | None, path: Path | None
) -> list[dict[str, Any]]:
    """Return a row for each real face and task of mGANprior's, and write a sheet of the pictures: a face a row."""
    searcher, rows, pictures = real_faces.mganprior(), [], []
    for name, face in faces if tasks else []:
        figures, shown = real_faces.tasks_of(searcher, name, face, steps, tasks)
        rows += figures
        pictures.append(shown)
        if path is not None:
            save_picture(sheet(pictures, ["", *(word for task in tasks for word in (task, ""))]), path)
    return rows


def main(arguments: list[str]) -> int:
    """Run the measurement."""
    parser = argparse.ArgumentParser(
        prog="python -m restorer.bench inversion",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--pulse", type=int, default=100, metavar="N", help="seeds of PULSE; 0 leaves it out")
    parser.add_argument("--codes", type=int, nargs="*", default=[1, 5, 10, 20], help="numbers of codes of mGANprior")
    parser.add_argument("--pictures", type=int, default=2, help="pictures for mGANprior")
    parser.add_argument("--steps", type=int, default=300, help="of mGANprior")
    parser.add_argument(
        "--layer", type=int, default=MANNERS["reconstruct"].layer, help="behind which mGANprior joins codes"
    )
    parser.add_argument("--speed", action=argparse.BooleanOptionalAction, default=True, help="time a step")
    parser.add_argument("--plot", type=Path, help="a picture of dB against codes")
    parser.add_argument("--faces", type=Path, nargs="*", default=[], help="photos of real faces, or folders of them")
    parser.add_argument("--count", type=int, default=6, help="faces of each folder")
    parser.add_argument(
        "--side", type=int, nargs="*", default=[16], help="PULSE: to which sides real faces are reduced"
    )
    parser.add_argument("--tasks", nargs="*", default=list(real_faces.TASKS), help="of mGANprior on real faces")
    parser.add_argument("--face-steps", type=int, help="of mGANprior on real faces (default: its own)")
    parser.add_argument("--sheet", type=Path, help="a picture of what mGANprior makes of real faces")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    given = parser.parse_args(arguments)
    configure_threads()
    apply_threads()
    network = load_network("tiny-prior", offline=True)
    assert isinstance(network, StyleGAN2Generator)
    result: dict[str, Any] = {"threads": torch.get_num_threads()}
    if given.pulse:
        result["pulse"] = pulse_meets(network, given.pulse)
    result["codes"] = [codes_reach(network, codes, given.pictures, given.steps, given.layer) for codes in given.codes]
    if given.speed:
        result["speed"] = steps_a_second(network)
    if given.faces:
        faces = list(real_faces.aligned_faces(given.faces, given.count, network.size))
        result["real_faces"] = [real_faces.pulse_reaches(network, faces, side) for side in given.side]
        result["tasks"] = real_tasks(faces, given.tasks, given.face_steps, given.sheet)
    if given.plot and result["codes"]:
        save_picture(Image.fromarray(plot(result["codes"])), given.plot)
    print(json.dumps(result, indent=None if given.json else 2))
    return 0
