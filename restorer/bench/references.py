"""How surely a face is known from other photos of its person, and whether photos of a person choose a better fidelity.

    python -m restorer.bench references FACES --identity mobilefacenet.ckpt --without n_smith --sheet sheet.png

FACES is a folder of clean aligned faces with a MANIFEST.csv (docs/training.md) whose column `person` tells who has
several pictures; ids of `--without` are left out, since several people of one name stand behind them. Nearness is what
`--reference` means by it: the cosine of MobileFaceNet's embeddings of aligned faces, to the nearest of a person's
pictures, known from `restorer.faces.people.SAME` on. Of each person the first picture by its name is degraded as
`restore evaluate` degrades it (seed 0), and restored by --model; the others are its references.

With a model that has the knob, or with `--way` of `restorer.bench fidelity` for one that has none, each face is also
restored at the fidelities that "auto" tries, and the one nearest to its references is compared with the model's own
default, by the network that chose it and by dlib's recogniser, which did not (where it is installed).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from restorer.imaging.sheets import Picture, sheet

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from restorer.evaluation.judge import Judge
    from restorer.evaluation.metrics import Identity

    Answers = Callable[[Tensor], tuple[Tensor, list[Tensor]]]

SHOWN = 8
"""Faces of a sheet."""
ENOUGH = 0.8
"""Share of the faces that are to come nearer to their references."""


@dataclass(frozen=True)
class Known:
    """A person with several pictures.

    Attributes:
        person: the manifest's id.
        pictures: RGB uint8, of one size; the first is restored, the others are references.
    """

    person: str
    pictures: list[Picture]


def known_of(folder: Path, side: int, limit: int, without: Sequence[str]) -> list[Known]:
    """Return the persons of a folder that have two pictures or more, evenly chosen.

    Args:
        folder: of aligned faces, with a manifest.
        side: that pictures are brought to; those taken at less than three quarters of it do not count.
        limit: so many persons; 0 for all.
        without: ids that are left out.
    """
    from restorer.training.datasets import read_square
    from restorer.training.people import read_manifest

    files: dict[str, list[Path]] = {}
    for row in read_manifest(folder):
        if row.native >= 0.75 * side and row.person not in without:
            files.setdefault(row.person, []).append(row.file)
    several = sorted((person, sorted(found)) for person, found in files.items() if len(found) > 1)
    several = several[:: max(len(several) // limit, 1)][:limit] if limit else several
    return [Known(person, [read_square(path, side) for path in found]) for person, found in several]


def embedded(pictures: Sequence[Picture], identity: Identity) -> np.ndarray:
    """Return the embeddings (n, 256) of aligned pictures."""
    from restorer.models.templates import FACEXLIB

    return identity.embed(pictures, [np.asarray(FACEXLIB.points, np.float32) * len(each) for each in pictures])


def thresholds(
    of_persons: Sequence[np.ndarray], degraded: np.ndarray, restored: np.ndarray, same: float
) -> dict[str, Any]:
    """Return how surely faces are known.

    Args:
        of_persons: embeddings of each person's pictures (k, 256); of the first picture comes what follows.
        degraded: embeddings (persons, 256) of it, degraded.
        restored: the same of what the model made of that.
        same: from so near on a face is taken for a person's.

    Returns:
        For pairs of one person and of two: "pairs", "median" and the share "known"; for degraded faces the shares
        "known" and "taken" (for another, at the nearest of all), and how much nearer they are restored: "median",
        "worst" (the first percentile), and the share that "moved" away as the record means it.
    """
    from restorer.faces.people import MOVED

    inner, outer = [], []
    for place, ours in enumerate(of_persons):
        inner += list((ours @ ours.T)[np.triu_indices(len(ours), 1)])
        for theirs in of_persons[place + 1 :]:
            outer += list((ours @ theirs.T).ravel())
    references = [each[1:] for each in of_persons]

    def near(faces: np.ndarray) -> np.ndarray:
        return np.array([[float((each @ face).max()) for each in references] for face in faces])

    before, after = near(degraded), near(restored)
    own = np.eye(len(references), dtype=bool)
    best = np.where(own, before, -1).max(1), np.where(own, -1, before).max(1)
    gain = after[own] - before[own]
    pairs = {
        name: {"pairs": len(found), "median": float(np.median(found)), "known": float((np.array(found) >= same).mean())}
        for name, found in (("one person", inner), ("two", outer))
        if found
    }
    shares = {
        "faces": len(degraded),
        "known": float(((best[0] >= same) & (best[0] >= best[1])).mean()),
        "taken": float(((best[1] >= same) & (best[1] > best[0])).mean()),
        "pairs of two": float((before[~own] >= same).mean()) if len(references) > 1 else 0.0,
    }
    return {
        "pairs": pairs,
        "degraded": shares,
        "restored": {
            "median": float(np.median(gain)),
            "worst": float(np.percentile(gain, 1)),
            "moved": float((gain < -MOVED).mean()),
        },
    }


def choice(near: np.ndarray, default: np.ndarray, judged: np.ndarray | None, judged_default: np.ndarray | None) -> Any:
    """Return how often the value that is nearest to the references is nearer to them than the default.

    Args:
        near: (faces, values) how near each answer is to the references.
        default: (faces,) the same of the model's default.
        judged: (faces, values) dlib's distance to the references, where it judges; not a number where it sees no face.
        judged_default: (faces,) of the default.
    """
    from restorer.faces.restoring import TRIED

    best = near.argmax(1)
    gain = near.max(1) - default
    found = {
        "faces": len(near),
        "nearer": float((gain > 0).mean()),
        "median": float(np.median(gain)),
        "chosen": {f"{value:g}": int((best == place).sum()) for place, value in enumerate(TRIED)},
        "passes": bool((gain > 0).mean() >= ENOUGH),
    }
    if judged is not None and judged_default is not None:
        apart = judged_default - judged[np.arange(len(near)), best]
        seen = apart[np.isfinite(apart)]
        found["judge"] = {"faces": len(seen), "nearer": float((seen > 0).mean()), "mean": float(seen.mean())}
    return found


def answers_of(model: str, way: str, average_of: Sequence[Tensor]) -> Answers | None:
    """Return what gives a model's default answer and those at the fidelities tried; None where it has no knob.

    Raises:
        UsageError: the model has no such way.
    """
    from restorer.bench.tools.blending import ways
    from restorer.errors import UsageError
    from restorer.faces.restoring import TRIED
    from restorer.models import REGISTRY
    from restorer.models.base import FaceArchitecture
    from restorer.weights import fetch, resolve

    found = resolve(model)
    loaded = REGISTRY.load(found, fetch(found))
    network: Any = loaded.network
    assert isinstance(loaded.architecture, FaceArchitecture)
    if "fidelity" in loaded.architecture.controls:
        return lambda face: (network(face), [network(face, fidelity=value) for value in TRIED])
    if not way:
        return None
    known = {each.name: each for each in ways(network, loaded.architecture.name, average_of)}
    if way not in known:
        raise UsageError(f"{model} has no way {way!r}.", f"Use one of: {', '.join(known) or 'none'}.")

    def run(face: Tensor) -> tuple[Tensor, list[Tensor]]:
        several = known[way].run(face, [1.0, *TRIED])
        return several[0], several[1:]

    return run


def nearest_of(judge: Judge, answer: Picture, references: Sequence[Picture]) -> float:
    """Return dlib's distance of a face to the nearest of its references; not a number where it sees none."""
    found = [float(judge.distances([answer], [each])[0]) for each in references]
    seen = [each for each in found if np.isfinite(each)]
    return min(seen) if seen else float("nan")


def plot(near: np.ndarray, default: np.ndarray, title: str) -> Image.Image:
    """Draw each face as a dot: how near its default is across, how near the chosen one upwards."""
    from PIL import Image, ImageDraw

    side, margin = 460, 54
    low = float(min(near.max(1).min(), default.min())) - 0.02
    image = Image.new("RGB", (side, side), "white")
    draw = ImageDraw.Draw(image)
    draw.text((10, 8), title, fill="black")

    def place(value: float) -> float:
        return margin + (value - low) / (1.0 - low) * (side - 2 * margin)

    for value in (low, 1.0):
        draw.text((place(value) - 10, side - margin + 8), f"{value:.2f}", fill="black")
        draw.text((10, side - place(value) - 6), f"{value:.2f}", fill="black")
    draw.rectangle((margin, margin, side - margin, side - margin), outline="#bbbbbb")
    draw.line([(margin, side - margin), (side - margin, margin)], fill="#999999")
    for across, up in zip(default, near.max(1), strict=True):
        x, y = place(float(across)), side - place(float(up))
        draw.ellipse((x - 2, y - 2, x + 2, y + 2), fill="#1a4fa3")
    draw.text((side / 2 - 90, side - 24), "nearness of the default", fill="black")
    draw.text((10, 26), "nearness of the chosen one, upwards; above the line it is nearer", fill="black")
    return image


def main(arguments: list[str]) -> int:
    """Print the figures."""
    import torch

    from restorer.bench.fidelity import judge_at_hand
    from restorer.engine.device import apply_threads, configure_threads
    from restorer.evaluation.degrading import NAMED
    from restorer.evaluation.metrics import Identity
    from restorer.faces.people import SAME
    from restorer.imaging.tensors import to_pictures, to_tensor
    from restorer.models import load_network
    from restorer.pipeline.choice import crop_of
    from restorer.storage.pictures import save_picture
    from restorer.weights import resolve

    options = _parser(sorted(NAMED)).parse_args(arguments)
    configure_threads()
    apply_threads()
    side = crop_of(resolve(options.model)).input_size
    persons = known_of(options.folder, side, options.limit, options.without)
    identity, degrade = Identity(options.identity), NAMED[options.degrade](side)
    worse = [
        degrade(each.pictures[0], np.random.default_rng([0, number])).picture for number, each in enumerate(persons)
    ]
    of_persons = [embedded(each.pictures, identity) for each in persons]
    network: Any = load_network(options.model)
    with torch.inference_mode():
        plain = [to_pictures(network(to_tensor([each])))[0] for each in worse]
        result: dict[str, Any] = {"persons": len(persons), "model": options.model, "side": side, "same": SAME}
        result |= thresholds(of_persons, embedded(worse, identity), embedded(plain, identity), SAME)
        answers = answers_of(options.model, options.way, [to_tensor([each]) for each in worse[:16]])
        if answers is not None:
            judge = judge_at_hand() if options.judge else None
            rows, tried, near = [], [], []
            for each, theirs, bad in zip(persons, of_persons, worse, strict=True):
                default, several = answers(to_tensor([bad]))
                pictures = [to_pictures(found)[0] for found in (default, *several)]
                near.append((embedded(pictures, identity) @ theirs[1:].T).max(1))
                if judge is not None:
                    tried.append([nearest_of(judge, picture, each.pictures[1:]) for picture in pictures])
                rows.append(
                    (each.pictures[1], bad, pictures[0], pictures[1 + int(near[-1][1:].argmax())], each.pictures[0])
                )
            table_ = np.array(near)
            judged = np.array(tried) if tried else None
            result["choice"] = choice(
                table_[:, 1:], table_[:, 0], None if judged is None else judged[:, 1:],
                None if judged is None else judged[:, 0],
            )  # fmt: skip
            if options.plot is not None:
                save_picture(plot(table_[:, 1:], table_[:, 0], f"{options.model} {options.way}"), options.plot)
            if options.sheet is not None:
                step = max(len(rows) // SHOWN, 1)
                labels = ("reference", "input", "default", "chosen", "truth")
                save_picture(sheet(rows[::step][:SHOWN], labels), options.sheet)
    print(json.dumps(result) if options.json else table(result))
    return 0


def table(result: Mapping[str, Any]) -> str:
    """Return the figures as a table."""
    lines = [f"{result['persons']} persons, {result['side']} px, {result['model']}; known from {result['same']:g} on"]
    for name, row in result["pairs"].items():
        lines.append(f"pairs of {name}: {row['pairs']}, median {row['median']:.2f}, known {row['known']:.2%}")
    row = result["degraded"]
    lines.append(
        f"degraded: {row['faces']} faces, known {row['known']:.1%}, taken for another {row['taken']:.2%}, "
        f"pairs of two {row['pairs of two']:.2%}"
    )
    row = result["restored"]
    lines.append(
        f"restored they are nearer by {row['median']:+.3f} (median), one in a hundred by {row['worst']:+.3f}; "
        f"moved away {row['moved']:.1%}"
    )
    found = result.get("choice")
    if found is None:
        return "\n".join([*lines, f"{result['model']} has no fidelity to choose"])
    lines.append(
        f"chosen by references: {found['faces']} faces, nearer than the default {found['nearer']:.1%}, by "
        f"{found['median']:+.3f} (median); chosen {found['chosen']}; {'passes' if found['passes'] else 'does not pass'}"
    )
    if "judge" in found:
        row = found["judge"]
        lines.append(f"by dlib: {row['faces']} faces, nearer {row['nearer']:.1%}, by {row['mean']:+.4f} (mean)")
    return "\n".join(lines)


def _parser(degradations: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m restorer.bench references", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("folder", type=Path, help="clean aligned faces with a MANIFEST.csv")
    parser.add_argument("--identity", type=Path, required=True, help="MobileFaceNet's weights")
    parser.add_argument("--model", default="tiny", help="face restorer, or a file of one (default tiny)")
    parser.add_argument("--way", default="", help="of `restorer.bench fidelity`, for a model without a knob")
    parser.add_argument("--limit", type=int, default=0, help="only so many persons, evenly chosen")
    parser.add_argument("--without", nargs="*", default=[], help="persons that are left out, by their ids")
    parser.add_argument("--degrade", choices=degradations, default="gfpgan", help="default gfpgan")
    parser.add_argument("--no-judge", dest="judge", action="store_false", help="without dlib")
    parser.add_argument("--plot", type=Path, help="draw each face's default and choice into this PNG")
    parser.add_argument("--sheet", type=Path, help="write some faces as a picture: reference, input, default, chosen")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    return parser
