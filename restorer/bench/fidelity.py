"""Whether a knob from "best looking" to "closest to the photo" does what it says, on real faces that no training saw.

    python -m restorer.bench fidelity FACES --model tiny --identity mobilefacenet.ckpt --plot fidelity.png

FACES is a folder of clean aligned faces; with a MANIFEST.csv (docs/training.md) those persons are taken who are held
apart, one picture of each. They are degraded as `restore evaluate` degrades them, and restored at several values of
the knob: the model's own where it has one, and each way of `restorer.bench.tools.blending`, in which 1 is the network
as it was trained. PSNR is that of the inner face, identity the cosine of MobileFaceNet, and the distance that
of dlib's recogniser, which took part in no training (where it is installed); all against the truth. Looks are NIQE
(from 192 px on) and the detail in the inner face as a share of the truth's.

A knob passes that brings every mean of PSNR, identity and distance nearer to the truth at each step from 0 to 1, by
more than chance from one end to the other (twice the standard error of the differences, face by face), and whose 0
looks at least as natural as its 1. With --keep FILE, what was measured is written down face by face, and an
interrupted run goes on.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from restorer.bench import harm
from restorer.imaging.sheets import Picture

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from restorer.bench.tools.blending import Way
    from restorer.evaluation.judge import Judge
    from restorer.evaluation.metrics import Identity

VALUES = (0.0, 0.25, 0.5, 0.75, 1.0)
NEARER = {"psnr": 1, "identity": 1, "distance": -1}
"""What has to come nearer to the truth, and whether that is upwards or downwards."""
LOOKS = "niqe"
NAMES = {
    "psnr": "PSNR, dB", "identity": "identity", "distance": "dlib's distance", "niqe": "NIQE", "detail": "detail",
}  # fmt: skip
MEAN_OF = 16
"""Faces whose mean is blended towards."""
COLOURS = ("#1b7f3b", "#b3261e", "#1a4fa3", "#a36a1a", "#6a1aa3", "#444444")

Measured = Mapping[str, float]
"""One answer's figures by name; what could not be measured is left out."""


@dataclass(frozen=True)
class Measures:
    """What compares an answer with the truth."""

    identity: Identity | None
    judge: Judge | None

    def of(self, answer: Picture, truth: Picture) -> dict[str, float]:
        """Return the figures of an answer."""
        from restorer.evaluation.basicsr_compat import folders
        from restorer.evaluation.metrics import niqe
        from restorer.models.templates import FACEXLIB

        found = {"psnr": harm.fidelity(answer, truth), "detail": harm.detail(answer) / harm.detail(truth)}
        natural = niqe(answer) if folders() is not None else None
        if natural is not None:
            found["niqe"] = natural
        if self.identity is not None:
            points = [np.asarray(FACEXLIB.points, np.float32) * len(truth)] * 2
            ours, theirs = self.identity.embed([answer, truth], points)
            found["identity"] = float(ours @ theirs)
        if self.judge is not None:
            distance = float(self.judge.distances([answer], [truth])[0])
            if np.isfinite(distance):
                found["distance"] = distance
        return found


def verdict(rows: Sequence[Sequence[Measured]]) -> dict[str, Any]:
    """Return whether a knob does what it says.

    Args:
        rows: for each face its figures at each of `VALUES`.

    Returns:
        "means" by measure (one for each value), "gain" and "error" by measure (from the first value to the last, and
        its standard error), "rises" by measure (whether it comes nearer at each step, by more than chance in all),
        "looks" (whether 0 is as natural as 1; None where that was not measured), and "passes".
    """
    names = [name for name in NAMES if all(name in each for row in rows for each in row)]
    table = {name: np.array([[each[name] for each in row] for row in rows]) for name in names}
    means = {name: values.mean(0) for name, values in table.items()}
    gains = {name: values[:, -1] - values[:, 0] for name, values in table.items()}
    errors = {
        name: float(gain.std(ddof=1) / len(gain) ** 0.5) if len(gain) > 1 else np.inf for name, gain in gains.items()
    }
    rises = {
        name: bool((np.diff(means[name]) * sign > 0).all() and gains[name].mean() * sign > 2 * errors[name])
        for name, sign in NEARER.items()
        if name in table
    }
    looks = bool(means[LOOKS][0] <= means[LOOKS][-1]) if LOOKS in table else None
    judged = {"psnr"} < set(rises)
    return {
        "means": {name: [round(float(value), 4) for value in values] for name, values in means.items()},
        "gain": {name: round(float(gain.mean()), 4) for name, gain in gains.items()},
        "error": {name: round(errors[name], 4) for name in names},
        "rises": rises,
        "looks": looks,
        "passes": judged and all(rises.values()) and looks is not False,
    }


def faces_of(folder: Path, side: int, limit: int, part: str) -> list[Path]:
    """Return pictures of a folder: one of each person that is held apart where there is a manifest, else all.

    Args:
        folder: of aligned faces.
        side: that they are brought to; persons whose picture was taken much smaller are left out.
        limit: so many, evenly chosen; 0 for all.
        part: "choosing", "reporting" or "apart" for both.
    """
    from restorer.training.datasets import picture_files
    from restorer.training.people import MANIFEST, part_of, read_manifest

    if not (folder / MANIFEST).is_file():
        files = picture_files(folder)
    else:
        parts = ("choosing", "reporting") if part == "apart" else (part,)
        persons = {
            row.person: row.file
            for row in read_manifest(folder)
            if row.native >= 0.75 * side and part_of(row.person) in parts
        }
        files = sorted(persons.values())
    return files[:: max(len(files) // limit, 1)][:limit] if limit else files


def measure(
    faces: Iterable[tuple[str, Tensor, Picture]], several: Sequence[Way], measures: Measures, keep: Path | None
) -> dict[str, list[list[Measured]]]:
    """Return by the names of the ways, face by face, the figures at each value.

    Args:
        faces: a name, the degraded face (1, 3, s, s) in [-1, 1], and the truth.
        several: the ways.
        measures: what compares.
        keep: what was measured, by an earlier run too; None = nothing is kept.
    """
    import torch

    from restorer.imaging.tensors import to_pictures

    known: dict[tuple[str, str], list[Measured]] = {}
    if keep is not None and keep.is_file():
        lines = map(json.loads, keep.read_text(encoding="utf-8").splitlines())
        known = {(line["way"], line["face"]): line["figures"] for line in lines}
    found: dict[str, list[list[Measured]]] = {way.name: [] for way in several}
    for name, degraded, truth in faces:
        for way in several:
            if (way.name, name) not in known:
                with torch.inference_mode():
                    answers = [to_pictures(answer)[0] for answer in way.run(degraded, VALUES)]
                known[way.name, name] = [measures.of(answer, truth) for answer in answers]
                if keep is not None:
                    line = {"way": way.name, "face": name, "figures": known[way.name, name]}
                    with keep.open("a", encoding="utf-8") as stream:
                        stream.write(json.dumps(line) + "\n")
            found[way.name].append(known[way.name, name])
    return found


def plot(title: str, result: Mapping[str, Mapping[str, Any]]) -> Image.Image:
    """Draw each measure over the knob, a line for each way."""
    from PIL import Image, ImageDraw

    names = [name for name in NAMES if any(name in way["means"] for way in result.values())]
    width, height, margin = 300, 250, 44
    image = Image.new("RGB", (width * len(names), height + 40 + 16 * len(result)), "white")
    draw = ImageDraw.Draw(image)
    draw.text((12, 8), title, fill="black")
    for column, name in enumerate(names):
        known = {way: each["means"][name] for way, each in result.items() if name in each["means"]}
        low, high = min(map(min, known.values())), max(map(max, known.values()))
        left, top, spread = column * width + margin, 52, max(high - low, 1e-9)
        right, bottom = (column + 1) * width - 16, height
        draw.rectangle((left, top, right, bottom), outline="#bbbbbb")
        draw.text((left, top - 16), NAMES[name], fill="black")
        for value, at in ((high, top), (low, bottom - 10)):
            draw.text((column * width + 4, at), f"{value:.3g}", fill="black")
        draw.text((left - 3, bottom + 4), "0", fill="black")
        draw.text((right - 6, bottom + 4), "1", fill="black")
        for number, way in enumerate(result):
            if way not in known:
                continue
            points = [
                (left + value * (right - left), bottom - (mean - low) / spread * (bottom - top))
                for value, mean in zip(VALUES, known[way], strict=True)
            ]
            draw.line(points, fill=COLOURS[number % len(COLOURS)], width=2)
    for number, (way, each) in enumerate(result.items()):
        words = f"{way}: {'passes' if each['passes'] else 'does not pass'}"
        draw.text((margin, height + 28 + 16 * number), words, fill=COLOURS[number % len(COLOURS)])
    return image


def table(head: str, result: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the figures as a table."""
    lines = [head, f"{'way':18} {'measure':16} " + " ".join(f"{value:>8g}" for value in VALUES) + "   0 to 1"]
    for way, each in result.items():
        for name, means in each["means"].items():
            figures = " ".join(f"{value:8.4g}" for value in means)
            rises = {True: "nearer at each step", False: "not nearer at each step", None: ""}[each["rises"].get(name)]
            gain = f"{each['gain'][name]:+.4f} (error {each['error'][name]:.4f})"
            lines.append(f"{way:18} {NAMES[name]:16} {figures}   {gain}  {rises}".rstrip())
        lines.append(f"{way:18} {'passes' if each['passes'] else 'does not pass'}")
    return "\n".join(lines)


def judge_at_hand() -> Judge | None:
    """Return dlib's recogniser; None where it is not installed, which is said."""
    from restorer.errors import MissingPackageError
    from restorer.evaluation.judge import Judge

    try:
        return Judge()
    except MissingPackageError as error:
        print(f"{error.message} {error.remedy}", file=sys.stderr)
        return None


def _own(architecture: Any, network: Any) -> list[Way]:
    """Return the knob that a model has; none where it has none."""
    from restorer.bench.tools.blending import Way

    if "fidelity" not in architecture.controls:
        return []
    return [Way("its own", lambda pictures, values: [network(pictures, fidelity=value) for value in values])]


def main(arguments: list[str]) -> int:
    """Print the figures."""
    from restorer.bench.tools.blending import ways
    from restorer.engine.device import apply_threads, configure_threads
    from restorer.evaluation.degrading import NAMED
    from restorer.evaluation.metrics import Identity
    from restorer.imaging.tensors import to_tensor
    from restorer.models import REGISTRY
    from restorer.models.base import FaceArchitecture
    from restorer.storage.pictures import save_picture
    from restorer.training.datasets import read_square
    from restorer.weights import fetch, resolve

    options = _parser(sorted(NAMED)).parse_args(arguments)
    configure_threads()
    apply_threads()
    loaded = REGISTRY.load(*(lambda found: (found, fetch(found)))(resolve(options.model)))
    architecture = loaded.architecture
    assert isinstance(architecture, FaceArchitecture)
    side = architecture.crop(loaded.arguments).input_size
    files = faces_of(options.folder, side, options.limit, options.part)
    degrade = NAMED[options.degrade](side)

    def face(number: int, path: Path) -> tuple[str, Tensor, Picture]:
        pair = degrade(read_square(path, side), np.random.default_rng([0, number]))
        return path.name, to_tensor([pair.picture]), pair.truth

    faces = (face(*each) for each in enumerate(files))
    average_of = [face(*each)[1] for each in enumerate(files[:MEAN_OF])]
    several = _own(architecture, loaded.network)
    several += ways(loaded.network, architecture.name, average_of)
    several = [way for way in several if not options.ways or way.name in options.ways]
    identity = None if options.identity is None else Identity(options.identity)
    found = measure(faces, several, Measures(identity, judge_at_hand() if options.judge else None), options.keep)
    result = {name: verdict(rows) for name, rows in found.items()}
    head = f"{len(files)} faces of {side} px ({options.part}), {options.degrade}, {options.model}"
    if options.plot is not None:
        save_picture(plot(head, result), options.plot)
    print(json.dumps({"faces": len(files), "model": options.model, "values": VALUES, "ways": result})
          if options.json else table(head, result))  # fmt: skip
    return 0


def _parser(degradations: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m restorer.bench fidelity", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("folder", type=Path, help="clean aligned faces")
    parser.add_argument("--model", default="tiny", help="face restorer, or a file of one (default tiny)")
    parser.add_argument("--ways", nargs="*", default=[], help="only these, by their names in the table")
    parser.add_argument("--part", choices=("choosing", "reporting", "apart"), default="apart", help="which persons")
    parser.add_argument("--limit", type=int, default=0, help="only so many, evenly chosen")
    parser.add_argument("--degrade", choices=degradations, default="gfpgan", help="default gfpgan")
    parser.add_argument("--identity", type=Path, help="MobileFaceNet's weights; without them it does not judge")
    parser.add_argument("--no-judge", dest="judge", action="store_false", help="without dlib")
    parser.add_argument("--plot", type=Path, help="draw the figures into this PNG")
    parser.add_argument("--keep", type=Path, help="write figures down face by face, and go on where a run ended")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    return parser
