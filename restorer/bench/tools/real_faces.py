"""Searches on photographs of real faces: how near PULSE comes to them, what mGANprior makes of them, task by task."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from restorer.engine.device import choose
from restorer.engine.pool import POOL
from restorer.faces.align import estimate, extract
from restorer.faces.detect import FaceDetector
from restorer.imaging.sheets import Picture
from restorer.imaging.tensors import to_pictures, to_tensor
from restorer.inversion.course import Limits
from restorer.inversion.operators import Reduction, grey
from restorer.inversion.priors import StyleGAN2Prior
from restorer.inversion.pulse import PulseSearch, PulseSettings, draw_start
from restorer.inversion.searcher import FaceSearcher, Wish, load_searcher
from restorer.models import REGISTRY, load_network
from restorer.models.templates import EYES_AND_MOUTH
from restorer.networks.stylegan2 import StyleGAN2Generator
from restorer.training.datasets import SUFFIXES, read_picture
from restorer.weights import Table, resolve

LONGEST = 512
"""Pictures are looked at at this size: faces of 128 px need no more."""
NOISE = 25.0
HOLES = {"inpaint": (0.34, 0.56, 0.68, 0.83), "inpaint an eye": (0.52, 0.36, 0.8, 0.52)}
"""Rectangles in shares of an aligned face's side (left, top, right, bottom): nose and mouth; an eye."""
TASKS = ("colorize", *HOLES, "denoise", "super-resolution")
FACTOR = 4


def aligned_faces(places: Sequence[Path], count: int, size: int) -> Iterator[tuple[str, Picture]]:
    """Yield file names and the largest face of each, as FFHQ's are aligned, (size, size, 3).

    Args:
        places: files, or folders, of whose sorted pictures the first `count` with a face are taken.
        count: how many of a folder.
        size: side of the faces.
    """
    detector = FaceDetector(POOL.get(resolve("tiny-detector"), choose("cpu")))
    for place in places:
        files = (
            sorted(each for each in place.iterdir() if each.suffix.lower() in SUFFIXES) if place.is_dir() else [place]
        )
        taken = 0
        for file in files:
            if taken == count:
                break
            pixels = read_picture(file)
            factor = max(pixels.shape[:2]) // LONGEST
            if factor > 1:
                shape = [length // factor for length in pixels.shape[:2]]
                pixels = to_pictures(F.interpolate(to_tensor([pixels]), shape, mode="area"))[0]
            faces = sorted(detector.detect(pixels), key=lambda face: face.box[3] - face.box[1])
            matrix = estimate(faces[-1].landmarks, EYES_AND_MOUTH, size) if faces else None
            if matrix is not None:
                taken += 1
                yield file.stem, np.rint(255 * extract(pixels, matrix, size)).clip(0, 255).astype(np.uint8)


def pulse_reaches(
    network: StyleGAN2Generator, faces: Sequence[tuple[str, Picture]], side: int, steps: int = 100, batch: int = 4
) -> dict[str, Any]:
    """Return how near PULSE comes to real faces that were reduced to a side: levels of each, what is allowed."""
    prior, settings = StyleGAN2Prior(network), PulseSettings()
    seen = Reduction(prior.size, side)
    errors: dict[str, float] = {}
    for start in range(0, len(faces), batch):
        names, pictures = zip(*faces[start : start + batch], strict=True)
        target = seen((to_tensor(pictures) + 1) / 2)
        drawn = draw_start(prior, list(range(start, start + len(names))), settings)
        search = PulseSearch(prior, target, seen, drawn, steps, settings)
        found = search.run(Limits(steps, patience=15))
        errors.update((name, round(each.error, 2)) for name, each in zip(names, found, strict=True))
    allowed = 255 * math.sqrt(settings.eps)
    return {
        "side": side,
        "steps": steps,
        "allowed": round(allowed, 2),
        "met": sum(each <= allowed for each in errors.values()),
        "mean": round(sum(errors.values()) / len(errors), 2),
        "levels": errors,
    }


def mganprior() -> FaceSearcher:
    """Return mGANprior's search of the built-in prior, as `--model mganprior` takes it."""
    table = resolve("mganprior")

    def load(table: Table) -> nn.Module:
        network: nn.Module = load_network(table.name, offline=True)
        return network

    return load_searcher(table, load, REGISTRY.arguments(table))


def tasks_of(
    searcher: FaceSearcher, name: str, face: Picture, steps: int | None, tasks: Sequence[str] = TASKS
) -> tuple[list[dict[str, Any]], list[Picture]]:
    """Return what mGANprior makes of a face: a row of figures for each task, and the pictures for a sheet.

    Args:
        searcher: of mGANprior.
        name: of the face.
        face: as large as the prior's pictures.
        steps: of each search; None = its own number.
        tasks: of TASKS.
    """
    truth = to_tensor([face])
    rows, pictures = [], [face]
    for which, task in enumerate(tasks):
        wish, shown = _wish(truth, task, which, steps)
        begin = time.monotonic()
        found = searcher.search(wish)[0]
        answer = found.picture[None].clamp(-1, 1)
        pictures += to_pictures(torch.cat([shown, answer]))
        rows.append(
            {
                "face": name,
                "task": task,
                "input": _decibels(shown, truth),
                "answer": _decibels(answer, truth),
                "seconds": round(time.monotonic() - begin, 1),
            }
        )
    return rows, pictures


def _wish(truth: Tensor, task: str, seed: int, steps: int | None) -> tuple[Wish, Tensor]:
    """Return what is searched for, and what the photo shows, (1, 3, s, s) in [-1, 1]."""
    size, hole = truth.shape[-1], None
    seen = shown = truth
    if task == "colorize":
        seen = shown = grey(truth).expand_as(truth)
    elif task == "denoise":
        noise = torch.randn(truth.shape, generator=torch.Generator().manual_seed(seed))
        seen = shown = (truth + NOISE / 127.5 * noise).clamp(-1, 1)
    elif task == "super-resolution":
        seen = Reduction(size, size // FACTOR)(truth).clamp(-1, 1)
        shown = F.interpolate(seen, (size, size), mode="bicubic").clamp(-1, 1)
    else:
        left, top, right, bottom = (round(share * size) for share in HOLES[task])
        hole = torch.zeros(size, size)
        hole[top:bottom, left:right] = 1
        seen = shown = torch.where(hole > 0, torch.zeros_like(truth), truth)
    return Wish((seen[0] + 1) / 2, task.split()[0], seeds=(seed,), hole=hole, steps=steps), shown


def _decibels(picture: Tensor, truth: Tensor) -> float:
    return round(10 * math.log10(4 / max(float((picture - truth).square().mean()), 1e-9)), 2)
