"""Measures an upscaler against bicubic: PSNR on photographs reduced first, NIQE on photographs as they are, and time.

The photographs are reduced by 2 and by 4, cleanly (area average) and with the recipe's mild degradation, seed 0.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from restorer.imaging.sheets import Picture

Enlarge = Callable[[Picture, tuple[int, int]], Picture]
NATURAL_SIDE = 480
"""Photographs for NIQE are cut to a middle square of at most this side."""


def bicubic(picture: Picture, size: tuple[int, int]) -> Picture:
    """Return the picture at (width, height) by OpenCV's bicubic interpolation."""
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC), np.uint8)


def measure_pairs(
    files: list[Path], enlarge: Enlarge, degradation: Callable[[Picture, int, np.random.Generator], Picture] | None
) -> dict[int, dict[str, float]]:
    """Return for the factors 2 and 4 the mean PSNR of bicubic and of the upscaler, and its largest shift of colour.

    Args:
        files: clean photographs.
        enlarge: the upscaler.
        degradation: what happens to them; None reduces cleanly.
    """
    from restorer.evaluation.metrics import psnr
    from restorer.training.mild import reduce
    from restorer.training.upscaling import read

    found: dict[int, dict[str, float]] = {}
    for factor in (2, 4):
        plain, ours, shifts = [], [], []
        for index, path in enumerate(files):
            clean = read(path)
            height, width = (length - length % factor for length in clean.shape[:2])
            clean = np.ascontiguousarray(clean[:height, :width])
            if degradation is None:
                small = np.rint(reduce(clean.astype(np.float32), factor, cv2.INTER_AREA)).astype(np.uint8)
            else:
                small = degradation(clean, factor, np.random.default_rng([0, index]))
            result = enlarge(small, (width, height))
            plain.append(psnr(bicubic(small, (width, height)), clean))
            ours.append(psnr(result, clean))
            shifts.append(float(abs(result.mean((0, 1)) - small.mean((0, 1))).max()))
        found[factor] = {
            "bicubic": float(np.mean(plain)),
            "upscaler": float(np.mean(ours)),
            "worst": float(np.min(np.array(ours) - np.array(plain))),
            "shift": float(np.max(shifts)),
        }
    return found


def measure_natural(files: list[Path], enlarge: Enlarge, factor: int) -> dict[str, float]:
    """Return the mean NIQE of photographs enlarged by bicubic and by the upscaler."""
    from restorer.evaluation.metrics import niqe
    from restorer.training.upscaling import read

    values: dict[str, list[float]] = {"bicubic": [], "upscaler": []}
    for path in files:
        photo = read(path)
        height, width = photo.shape[:2]
        side = min(height, width, NATURAL_SIDE)
        top, left = (height - side) // 2, (width - side) // 2
        square = np.ascontiguousarray(photo[top : top + side, left : left + side])
        size = (side * factor, side * factor)
        pair = niqe(bicubic(square, size)), niqe(enlarge(square, size))
        if all(value is not None and np.isfinite(value) for value in pair):
            for name, value in zip(values, pair, strict=True):
                values[name].append(float(value or 0))
    return {name: float(np.mean(numbers)) for name, numbers in values.items()} | {"photos": len(values["bicubic"])}


def overshoot(enlarge: Enlarge, factor: int) -> float:
    """Return by how many levels of 255 an enlargement passes the two greys beside a sharp slanted edge: its ringing."""
    dark, bright, side, finer = 60, 190, 96, 8
    y, x = np.mgrid[: side * finer, : side * finer]
    sharp = np.where(3 * (x - side * finer / 2) > y - side * finer / 2, bright, dark).astype(np.float32)
    edge = np.asarray(cv2.resize(sharp, (side, side), interpolation=cv2.INTER_AREA))
    picture = np.repeat(np.rint(edge).astype(np.uint8)[..., None], 3, axis=2)
    inner = slice(8 * factor, (side - 8) * factor)
    result = enlarge(picture, (side * factor, side * factor))[inner, inner].astype(float)
    return float(max(result.max() - bright, dark - result.min(), 0.0))


def main(arguments: list[str]) -> int:
    """Print the figures."""
    import torch

    from restorer import weights
    from restorer.engine import device as devices
    from restorer.engine.pool import POOL
    from restorer.training.datasets import picture_files
    from restorer.training.mild import MILD, MildDegradation
    from restorer.training.recipe import load_recipe
    from restorer.upscaling.tiles import NetworkUpscaler

    parser = argparse.ArgumentParser(prog="python -m restorer.bench upscaler", description=__doc__)
    parser.add_argument("folder", type=Path, help="clean photographs")
    parser.add_argument("--pattern", default="*", help="only files of such names")
    parser.add_argument("--upscaler", default="tiny-upscaler", help="table or file (default tiny-upscaler)")
    parser.add_argument("--recipe", default="tiny-upscaler", help="recipe of the degradation")
    parser.add_argument("--photos", type=Path, help="degraded photographs for NIQE")
    parser.add_argument("--limit", type=int, default=0, help="only so many of those, evenly chosen")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args(arguments)
    torch.set_num_threads(devices.allowed_cores())
    device = devices.choose("auto", "auto")
    table = weights.resolve(options.upscaler)
    network = NetworkUpscaler(POOL.get(table, device))

    def enlarge(picture: Picture, size: tuple[int, int]) -> Picture:
        return np.asarray(network.upscale(picture, size), np.uint8)

    values = {**MILD, **load_recipe(options.recipe).values.get("degradation", {})}
    files = [path for path in picture_files(options.folder) if path.match(options.pattern)]
    mild = MildDegradation.of({**values, "clean": 0.0})
    result: dict[str, Any] = {
        "upscaler": table.name,
        "photos": len(files),
        "degraded": measure_pairs(files, enlarge, mild),
        "clean": measure_pairs(files, enlarge, None),
    }
    if options.photos is not None:
        some = picture_files(options.photos)
        some = some[:: max(len(some) // options.limit, 1)][: options.limit] if options.limit else some
        result["niqe"] = {factor: measure_natural(some, enlarge, factor) for factor in (2, 4)}
    result["overshoot"] = {
        factor: {"bicubic": overshoot(bicubic, factor), "upscaler": overshoot(enlarge, factor)} for factor in (2, 4)
    }
    megapixel = np.zeros((1000, 1000, 3), np.uint8)
    enlarge(megapixel, (2000, 2000))
    began = time.perf_counter()
    enlarge(megapixel, (2000, 2000))
    result["seconds_a_megapixel"] = time.perf_counter() - began
    if options.json:
        print(json.dumps(result))
        return 0
    print(f"{result['photos']} photos, {table.name} on {device.name}, {device.precision}")
    for what in ("degraded", "clean"):
        for factor, row in result[what].items():
            print(
                f"{what:9} x{factor}: bicubic {row['bicubic']:.2f} dB, {table.name} {row['upscaler']:.2f} dB "
                f"({row['upscaler'] - row['bicubic']:+.2f}, worst {row['worst']:+.2f}); mean colour moves by at most "
                f"{row['shift']:.2f} levels"
            )
    for factor, row in result.get("niqe", {}).items():
        print(f"NIQE x{factor} on {row['photos']:.0f} photos: {row['bicubic']:.2f}, {row['upscaler']:.2f}")
    for factor, row in result["overshoot"].items():
        print(f"Levels beyond an edge, x{factor}: {row['bicubic']:.0f}, {row['upscaler']:.0f}")
    print(f"1 megapixel to twice its size: {result['seconds_a_megapixel']:.2f} s")
    return 0
