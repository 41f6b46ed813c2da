"""How well searches reach what a prior itself drew, and how quickly: PULSE's goal, mGANprior's codes, steps a second.

    python -m restorer.bench inversion [--pulse N] [--codes 1 5 10 20] [--plot FILE] [--json]

Everything is done on the built-in prior with pictures that it drew itself, so that an answer is known to be there.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from restorer.engine.device import apply_threads, configure_threads
from restorer.imaging.sheets import Picture
from restorer.inversion.codes import StyleGAN2CodePrior
from restorer.inversion.course import Limits
from restorer.inversion.mganprior import CodeSearch, CodeSettings, draw_codes
from restorer.inversion.operators import Reduction, whole
from restorer.inversion.priors import StyleGAN2Prior
from restorer.inversion.pulse import PulseSearch, PulseSettings, draw_start
from restorer.models import load_network
from restorer.networks.stylegan2 import StyleGAN2Generator

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


def codes_reach(network: StyleGAN2Generator, codes: int, pictures: int, steps: int = 300) -> dict[str, Any]:
    """Return how near mGANprior comes to the prior's own pictures with so many codes, in dB, and a step's seconds."""
    prior = StyleGAN2CodePrior(network)
    settings = CodeSettings(codes=codes, layer=8)
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


def steps_a_second(network: StyleGAN2Generator, steps: int = 10) -> dict[str, Any]:
    """Return what a step of PULSE takes for one picture: four side by side, and one after the other."""
    prior, settings = StyleGAN2Prior(network), PulseSettings()
    seen = Reduction(prior.size, prior.size // FACTOR)
    target = seen((drawn(network, [0]) + 1) / 2)

    def timed(seeds: list[int]) -> float:
        search = PulseSearch(prior, target, seen, draw_start(prior, seeds, settings), 100, settings)
        search.step()  # the first one makes room
        begin = time.monotonic()
        for _ in range(steps):
            search.step()
        return (time.monotonic() - begin) / steps

    together = min(timed(list(range(BATCH))) for _ in range(3)) / BATCH
    alone = min(sum(timed([seed]) for seed in range(BATCH)) for _ in range(3)) / BATCH
    times = round(alone / together, 2)
    return {"batch": BATCH, "together": round(together, 4), "one_by_one": round(alone, 4), "times": times}


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
    parser.add_argument("--speed", action=argparse.BooleanOptionalAction, default=True, help="time a step")
    parser.add_argument("--plot", type=Path, help="a picture of dB against codes")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    given = parser.parse_args(arguments)
    configure_threads()
    apply_threads()
    network = load_network("tiny-prior", offline=True)
    assert isinstance(network, StyleGAN2Generator)
    result: dict[str, Any] = {"threads": torch.get_num_threads()}
    if given.pulse:
        result["pulse"] = pulse_meets(network, given.pulse)
    result["codes"] = [codes_reach(network, codes, given.pictures, given.steps) for codes in given.codes]
    if given.speed:
        result["speed"] = steps_a_second(network)
    if given.plot and result["codes"]:
        from PIL import Image

        from restorer.storage.pictures import save_picture

        save_picture(Image.fromarray(plot(result["codes"])), given.plot)
    print(json.dumps(result, indent=None if given.json else 2))
    return 0
