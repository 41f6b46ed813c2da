"""What leaving good faces alone saves and costs: clean faces and degraded ones through the pipeline, with and without.

    python -m restorer.bench harm FOLDER --model tiny --limit 60 --degrade gfpgan strong --plot harm.png

Clean faces are those of the folder as they are, at --side pixels; degraded ones the same as `restore evaluate` degrades
them (--degrade, seed 0). "judged" is what the pipeline does, "always" what it does when told to restore all faces.
Detail is the energy of the Laplacian in the inner face, as a share of that of the plain enlargement. Of degraded faces
the share that is restored leaves out those that the draw left as they were (from 40 dB on): mixtures reach from clean
to hopeless. Limits are chosen on every second face of the sorted folder, from the first on (--part tuned), and figures
reported on the others (--part reported, the default); on every second person where a MANIFEST.csv says of each `file`
which `person` it shows. The plot shows for other limits of how finely a face must be resolved what share of clean faces
would be left alone, and of degraded ones, and what becomes of the PSNR of these.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from restorer.imaging.sheets import Picture

if TYPE_CHECKING:
    from PIL import Image

    from restorer.evaluation.metrics import Identity

LIMITS = (60.0, 80.0, 90.0, 100.0, 115.0, 130.0, 150.0, 180.0)
"""Resolved pixels across the crop that the curve goes through."""
INNER = (0.2, 0.3, 0.8, 0.9)
"""The part of an aligned face that is measured (left, top, right, bottom)."""
UNTOUCHED = 40.0
"""Decibels in the inner face from which on a face counts as left alone by its degradation."""
ENOUGH = 0.95
"""Share of the plain enlargement's detail that a clean face is to keep at least."""


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


@dataclass(frozen=True)
class Run:
    """What the pipeline made of some aligned faces, and which of them it restored."""

    images: list[Picture]
    restored: list[bool]


def run(pictures: Sequence[Picture], model: str, scale: float, *, always: bool = False) -> Run:
    """Restore aligned faces, with Lanczos around them."""
    from restorer.pipeline.restorer import Restorer

    restorer = Restorer(model, aligned=True, background="lanczos", scale=scale, always=always)
    done = [restorer.restore(picture) for picture in pictures]
    images = [np.asarray(each.image, np.uint8) for each in done]
    return Run(images, [each.faces[0].restored for each in done])


def kept(found: Run, pictures: Sequence[Picture]) -> dict[str, Any]:
    """Return how much detail clean faces have after a run, beside their plain enlargement."""
    from restorer.imaging.resize import resize

    plain = [resize(each, (image.shape[1], image.shape[0])) for each, image in zip(pictures, found.images, strict=True)]
    ratios = np.array(
        [detail(image) / max(detail(each), 1e-9) for image, each in zip(found.images, plain, strict=True)]
    )
    left = ~np.array(found.restored)
    return {
        "restored": float(np.mean(found.restored)),
        "detail": float(np.median(ratios)),
        "least": float(ratios.min()),
        "enough": float(np.mean(left | (ratios >= ENOUGH))),
    }


def likeness(images: Sequence[Picture], truths: Sequence[Picture], identity: Identity | None) -> dict[str, float]:
    """Return the means of PSNR, NIQE and MobileFaceNet's cosine over faces; what cannot be measured is left out."""
    from restorer.evaluation.basicsr_compat import folders
    from restorer.evaluation.metrics import niqe
    from restorer.models.templates import FACEXLIB

    pairs = list(zip(images, truths, strict=True))
    found = {"psnr": float(np.mean([fidelity(image, truth) for image, truth in pairs]))}
    natural = [niqe(image) for image in images] if folders() is not None else []
    known = [value for value in natural if value is not None]
    if known:
        found["niqe"] = float(np.mean(known))
    if identity is not None:
        points = [np.asarray(FACEXLIB.points, np.float32) * truth.shape[0] for truth in truths]
        ours, theirs = (identity.embed(list(each), points) for each in (images, truths))
        found["identity"] = float((ours * theirs).sum(1).mean())
    return found


def curve(
    clean: Sequence[Picture],
    degraded: Sequence[Picture],
    truths: Sequence[Picture] = (),
    always: Run | None = None,
) -> list[dict[str, float]]:
    """Return for other limits which share of clean and of degraded faces would be left alone.

    Args:
        clean: aligned faces.
        degraded: others.
        truths: what those should be.
        always: what the model makes of all of the degraded ones; with it, the PSNR that each limit would leave them.
    """
    from restorer.faces import worth
    from restorer.faces.placement import WholePlacement

    def resolved(pictures: Sequence[Picture]) -> np.ndarray:
        found = [
            worth.condition_of(picture, WholePlacement((picture.shape[1], picture.shape[0]))) for picture in pictures
        ]
        return np.array([each.resolved if each.clean else 0.0 for each in found])

    good, bad = resolved(clean), resolved(degraded)
    rows = [
        {"resolved": limit, "clean": float((good >= limit).mean()), "degraded": float((bad >= limit).mean())}
        for limit in LIMITS
    ]
    if always is not None:
        as_they_are, restored = (
            np.array([fidelity(each, truth) for each, truth in zip(part, truths, strict=True)])
            for part in (degraded, always.images)
        )
        for row in rows:
            row["psnr"] = float(np.where(bad >= row["resolved"], as_they_are, restored).mean())
    return rows


def plot(rows: Sequence[dict[str, float]], degradation: str) -> Image.Image:
    """Draw the curve: the shares that would be left alone, and, where it is known, the PSNR of degraded faces."""
    from PIL import Image, ImageDraw

    width, height, margin = 720, 420, 60
    image = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(image)
    limits = [row["resolved"] for row in rows]

    def place(limit: float, share: float) -> tuple[float, float]:
        across = (limit - limits[0]) / max(limits[-1] - limits[0], 1e-9)
        return margin + (width - 2 * margin) * across, height - margin - (height - 2 * margin) * share

    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        draw.line([place(limits[0], share), place(limits[-1], share)], fill="#dddddd")
        draw.text((margin - 38, place(limits[0], share)[1] - 6), f"{share:.0%}", fill="black")
    for limit in limits:
        draw.text((place(limit, 0)[0] - 10, height - margin + 8), f"{limit:g}", fill="black")
    draw.text((width / 2 - 130, height - 28), "resolved pixels across the crop, the limit", fill="black")
    lines = {"clean": ("#1b7f3b", "clean faces left alone"), "degraded": ("#b3261e", "degraded faces left alone")}
    for number, (name, (color, words)) in enumerate(lines.items()):
        draw.line([place(row["resolved"], row[name]) for row in rows], fill=color, width=3)
        draw.text((margin + number * 190, 14), words, fill=color)
    values = [row["psnr"] for row in rows if "psnr" in row]
    if values:
        low, high, color = min(values), max(values), "#1a4fa3"
        spread = max(high - low, 1e-6)
        draw.line([place(row["resolved"], (row["psnr"] - low) / spread) for row in rows], fill=color, width=2)
        draw.text((margin, 32), f"their PSNR, from {low:.2f} (0 %) to {high:.2f} dB (100 %)", fill=color)
    draw.text((width - margin - 130, 32), f"degraded: {degradation}", fill="black")
    return image


def part_of(files: Sequence[Path], second: bool) -> list[Path]:
    """Return every second file of a folder; every second person's where a MANIFEST.csv there tells persons.

    Args:
        files: sorted, of one folder.
        second: from the second on, not from the first on.
    """
    table = files[0].parent / "MANIFEST.csv" if files else Path()
    persons: dict[str, str] = {}
    if table.is_file():
        with table.open(newline="", encoding="utf-8") as lines:
            persons = {row["file"]: row.get("person") or row["file"] for row in csv.DictReader(lines) if "file" in row}
    shown = [persons.get(file.name, file.name) for file in files]
    places = {person: place for place, person in enumerate(sorted(set(shown)))}
    return [file for file, person in zip(files, shown, strict=True) if places[person] % 2 == second]


def _both(pictures: Sequence[Picture], model: str, scale: float) -> dict[str, Run]:
    return {name: run(pictures, model, scale, always=name == "always") for name in ("judged", "always")}


def main(arguments: list[str]) -> int:
    """Print the figures."""
    import torch

    from restorer.engine import device as devices
    from restorer.evaluation.degrading import NAMED
    from restorer.evaluation.metrics import Identity
    from restorer.storage.pictures import save_picture
    from restorer.training.datasets import picture_files, read_square

    options = _parser(sorted(NAMED)).parse_args(arguments)
    torch.set_num_threads(devices.allowed_cores())
    files = picture_files(options.folder)
    files = files if options.part == "all" else part_of(files, options.part == "reported")
    if options.limit:
        files = files[:: max(len(files) // options.limit, 1)][: options.limit]
    clean = [read_square(path, options.side) for path in files]
    identity = None if options.identity is None else Identity(options.identity)
    result: dict[str, Any] = {"model": options.model, "part": options.part, "side": options.side, "faces": len(clean)}
    result["clean"] = {
        scale: {name: kept(found, clean) for name, found in _both(clean, options.model, scale).items()}
        for scale in options.scale
    }
    result["degraded"] = {}
    for name in options.degrade:
        degrade = NAMED[name](options.side)
        pairs = [degrade(picture, np.random.default_rng([0, index])) for index, picture in enumerate(clean)]
        worse, truths = [pair.picture for pair in pairs], [pair.truth for pair in pairs]
        found = _both(worse, options.model, 1.0)
        touched = np.array([fidelity(*pair) < UNTOUCHED for pair in zip(worse, truths, strict=True)])
        rows: dict[str, Any] = {"input": {"untouched": int((~touched).sum())} | likeness(worse, truths, identity)}
        for kind, each in found.items():
            restored = float(np.mean(np.array(each.restored)[touched])) if touched.any() else 1.0
            rows[kind] = {"restored": restored} | likeness(each.images, truths, identity)
        result["degraded"][name] = rows
        if "curve" not in result:
            result["curve"] = curve(clean, worse, truths, found["always"])
    if options.plot is not None and "curve" in result:
        save_picture(plot(result["curve"], options.degrade[0]), options.plot)
    print(json.dumps(result) if options.json else table(result))
    return 0


def _parser(degradations: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m restorer.bench harm", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="clean aligned faces")
    parser.add_argument("--model", default="tiny", help="face restorer (default tiny)")
    parser.add_argument("--side", type=int, default=256, help="side that the faces are brought to (default 256)")
    parser.add_argument("--part", choices=("tuned", "reported", "all"), default="reported", help="which of the faces")
    parser.add_argument("--limit", type=int, default=0, help="only so many, evenly chosen")
    parser.add_argument("--scale", type=float, nargs="*", default=[1.0, 2.0], help="of clean faces (default 1 2)")
    parser.add_argument("--degrade", nargs="*", choices=degradations, default=["gfpgan"], help="default gfpgan")
    parser.add_argument("--identity", type=Path, help="MobileFaceNet's weights; without them, likeness is not measured")
    parser.add_argument("--plot", type=Path, help="draw the curve of the first degradation into this PNG")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    return parser


def table(result: dict[str, Any]) -> str:
    """Return the figures as a table."""
    lines = [
        f"{result['faces']} faces of {result['side']} px, {result['model']}",
        f"clean     run     restored  detail (least)  left alone or {ENOUGH:g}",
    ]
    for scale, found in result["clean"].items():
        for name, row in found.items():
            lines.append(
                f"scale {scale:<3g} {name:7} {row['restored']:8.1%}  {row['detail']:6.2f} ({row['least']:.2f})   "
                f"{row['enough']:8.1%}"
            )
    lines.append("degraded  run     restored  PSNR dB   NIQE  identity")
    for degradation, found in result["degraded"].items():
        for name, row in found.items():
            shares = f"{row['restored']:8.1%}" if "restored" in row else f"{row['untouched']:2} as was"
            figures = (f"{row[key]:7.{digits}f}" if key in row else "      -" for key, digits in _FIGURES)
            lines.append(f"{degradation:9} {name:7} {shares}  {' '.join(figures)}")
    for row in result.get("curve", ()):
        psnr = f", PSNR of these {row['psnr']:.2f} dB" if "psnr" in row else ""
        lines.append(
            f"left alone from {row['resolved']:g} px on: clean {row['clean']:.1%}, degraded {row['degraded']:.1%}{psnr}"
        )
    return "\n".join(lines)


_FIGURES = (("psnr", 2), ("niqe", 2), ("identity", 3))
