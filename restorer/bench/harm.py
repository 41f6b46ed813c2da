"""What leaving good faces alone saves and costs: clean faces and degraded ones through the pipeline, with and without.

    python -m restorer.bench harm FOLDER --model tiny --limit 60 --curve

Clean faces are those of the folder as they are, at --side pixels; degraded ones the same under the evaluation's
degradation (GFP-GAN's formula, seed 0). Limits are chosen on every second face of the sorted folder, from the first on
(--part tuned), and figures reported on the others (--part reported, the default). The curve shows for other limits of
how finely a face must be resolved: what share of clean faces would be left alone, and what share of degraded ones.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from restorer.imaging.sheets import Picture

LIMITS = (60.0, 80.0, 90.0, 100.0, 115.0, 130.0, 150.0, 180.0)
"""Resolved pixels across the crop that the curve goes through."""
INNER = (0.2, 0.3, 0.8, 0.9)
"""The part of an aligned face that is measured (left, top, right, bottom)."""


def detail(picture: Picture) -> float:
    """Return the variance of the Laplacian in the inner face."""
    import cv2

    from restorer.imaging.quality import luma_of

    return float(cv2.Laplacian(_inner(luma_of(picture)), cv2.CV_32F).var())


def fidelity(picture: Picture, truth: Picture) -> float:
    """Return the PSNR in the inner face, at most 60 dB."""
    mean = float(np.mean((_inner(picture).astype(np.float64) - _inner(truth)) ** 2))
    return min(60.0, 10 * float(np.log10(255**2 / max(mean, 1e-9))))


def _inner(picture: np.ndarray) -> np.ndarray:
    height, width = picture.shape[:2]
    left, top, right, bottom = INNER
    return picture[round(top * height) : round(bottom * height), round(left * width) : round(right * width)]


def measure(pictures: list[Picture], truths: list[Picture], model: str, scale: float) -> dict[str, Any]:
    """Return how many faces were left alone, and what the run made of them, with and without leaving any alone.

    Args:
        pictures: aligned faces.
        truths: what they should be, of the same size.
        model: a face restorer's name.
        scale: of the result; PSNR is measured at 1 only.
    """
    from restorer.imaging.resize import resize
    from restorer.pipeline.restorer import Restorer

    size = round(pictures[0].shape[0] * scale)
    given: dict[str, Any] = {"aligned": True, "background": "lanczos", "scale": scale}
    plain = [resize(picture, (size, size)) for picture in pictures]
    result: dict[str, Any] = {"faces": len(pictures)}
    restorers = {"judged": Restorer(model, **given), "always": Restorer(model, **given, always=True)}
    for name, restorer in restorers.items():
        images, restored = [], []
        for picture in pictures:
            done = restorer.restore(picture)
            images.append(np.asarray(done.image, np.uint8))
            restored.append(done.faces[0].restored)
        ratios = [detail(image) / max(detail(each), 1e-9) for image, each in zip(images, plain, strict=True)]
        row = {"restored": float(np.mean(restored)), "detail": float(np.median(ratios)), "least": float(np.min(ratios))}
        if scale == 1:
            row["psnr"] = float(np.mean([fidelity(image, truth) for image, truth in zip(images, truths, strict=True)]))
        result[name] = row
    if scale == 1:
        result["input"] = {
            "psnr": float(np.mean([fidelity(each, truth) for each, truth in zip(pictures, truths, strict=True)]))
        }
    return result


def curve(clean: list[Picture], degraded: list[Picture]) -> list[dict[str, float]]:
    """Return for other limits which share of clean and of degraded faces would be left alone."""
    from restorer.faces import worth
    from restorer.faces.placement import WholePlacement

    def resolved(picture: Picture) -> float:
        found = worth.condition_of(picture, WholePlacement((picture.shape[1], picture.shape[0])))
        return found.resolved if found.clean else 0.0

    found = {name: np.array([resolved(picture) for picture in part]) for name, part in _parts(clean, degraded)}
    return [
        {"resolved": limit} | {name: float((values >= limit).mean()) for name, values in found.items()}
        for limit in LIMITS
    ]


def _parts(clean: list[Picture], degraded: list[Picture]) -> list[tuple[str, list[Picture]]]:
    return [("clean", clean), ("degraded", degraded)]


def main(arguments: list[str]) -> int:
    """Print the figures."""
    import torch

    from restorer.engine import device as devices
    from restorer.training.datasets import picture_files, read_square
    from restorer.training.degradations import DEFAULTS, Degradation

    parser = argparse.ArgumentParser(
        prog="python -m restorer.bench harm", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="clean aligned faces")
    parser.add_argument("--model", default="tiny", help="face restorer (default tiny)")
    parser.add_argument("--side", type=int, default=256, help="side that the faces are brought to (default 256)")
    parser.add_argument("--part", choices=("tuned", "reported", "all"), default="reported", help="which of the faces")
    parser.add_argument("--limit", type=int, default=0, help="only so many, evenly chosen")
    parser.add_argument("--curve", action="store_true", help="other limits as well")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args(arguments)
    torch.set_num_threads(devices.allowed_cores())
    files = picture_files(options.folder)
    files = {"tuned": files[::2], "reported": files[1::2], "all": files}[options.part]
    if options.limit:
        files = files[:: max(len(files) // options.limit, 1)][: options.limit]
    clean = [read_square(path, options.side) for path in files]
    degrade = Degradation.of(DEFAULTS, options.side)
    worse = [degrade(picture, np.random.default_rng([0, index])).enlarged() for index, picture in enumerate(clean)]
    result: dict[str, Any] = {"model": options.model, "part": options.part, "side": options.side}
    result["clean"] = {scale: measure(clean, clean, options.model, scale) for scale in (1.0, 2.0)}
    result["degraded"] = {1.0: measure(worse, clean, options.model, 1.0)}
    if options.curve:
        result["curve"] = curve(clean, worse)
    print(json.dumps(result) if options.json else table(result))
    return 0


def table(result: dict[str, Any]) -> str:
    """Return the figures as a table."""
    lines = ["faces     scale  run     restored  detail (least)  PSNR dB (input)"]
    for kind in ("clean", "degraded"):
        for scale, found in result[kind].items():
            for run in ("judged", "always"):
                row = found[run]
                psnr = f"{row['psnr']:.2f} ({found['input']['psnr']:.2f})" if "psnr" in row else "-"
                lines.append(
                    f"{kind:9} {scale:<6g} {run:7} {row['restored']:8.1%}  "
                    f"{row['detail']:6.2f} ({row['least']:.2f})   {psnr}"
                )
    for row in result.get("curve", ()):
        lines.append(
            f"left alone from {row['resolved']:g} px on: clean {row['clean']:.1%}, degraded {row['degraded']:.1%}"
        )
    return "\n".join(lines)
