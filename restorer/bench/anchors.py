"""A sheet of degraded faces beside published answers of large models and the answers of one's own.

    python -m restorer.bench anchors FOLDER --model tiny tiny-free --sheet anchors.png

FOLDER holds pictures of aligned faces called FACE__WHO (`child__input.png`, `child__GFPGAN.webp`). What is called input
goes through each model; whatever else is there of the same face stands beside it. To look at: nothing is measured.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from restorer.errors import UsageError
from restorer.imaging.sheets import Picture, sheet
from restorer.training.datasets import picture_files, read_square

INPUT = "input"
SIDE = 256


def answers(folder: Path, side: int) -> dict[str, dict[str, Picture]]:
    """Return for each face the pictures of it by who made them, the input first, brought to one side.

    Raises:
        UsageError: there is no input.
    """
    faces: dict[str, dict[str, Picture]] = {}
    for path in picture_files(folder):
        face, separator, who = path.stem.partition("__")
        if separator:
            faces.setdefault(face, {})[who] = read_square(path, side)
    faces = {face: {INPUT: shown.pop(INPUT), **shown} for face, shown in faces.items() if INPUT in shown}
    if not faces:
        raise UsageError(f"{folder} has no picture called FACE__{INPUT}.")
    return faces


def named(picture: Picture, name: str) -> Picture:
    """Return a copy of a picture with a name written into its upper left corner."""
    canvas = np.array(picture, np.uint8)
    cv2.rectangle(canvas, (0, 0), (9 * len(name) + 6, 17), (0, 0, 0), -1)
    cv2.putText(canvas, name, (3, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (255, 255, 0), 1, cv2.LINE_AA)
    return canvas


def rows(faces: Mapping[str, Mapping[str, Picture]], own: Sequence[str]) -> list[list[Picture]]:
    """Return the pictures as a table, one row a face: the input, one's own, the others; names written in."""
    order = {who: place for place, who in enumerate([INPUT, *own])}
    table = []
    for face, shown in faces.items():
        who = sorted(shown, key=lambda name: order.get(name, len(order)))
        table.append([named(shown[name], face if name == INPUT else name) for name in who])
    return table


def main(arguments: Sequence[str]) -> int:
    """Write the sheet."""
    import torch

    from restorer.engine import device as devices
    from restorer.imaging.tensors import to_pictures, to_tensor
    from restorer.options import Options
    from restorer.pipeline.components import Components
    from restorer.storage.pictures import save_picture

    parser = argparse.ArgumentParser(
        prog="python -m restorer.bench anchors",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, help="pictures called FACE__WHO")
    parser.add_argument("--model", nargs="+", default=["tiny", "tiny-free"], help="face restorers (default both)")
    parser.add_argument("--match", nargs="*", default=["*"], help="only faces of such names")
    parser.add_argument("--sheet", type=Path, required=True, help="picture to write")
    options = parser.parse_args(arguments)
    torch.set_num_threads(devices.allowed_cores())
    faces = answers(options.folder, SIDE)
    faces = {face: shown for face, shown in faces.items() if any(Path(face).match(each) for each in options.match)}
    for name in options.model:
        restorer = Components(Options(model=name, aligned=True)).face_model()
        side = restorer.crop.input_size
        for shown in faces.values():
            taken = np.asarray(cv2.resize(shown[INPUT], (side, side), interpolation=cv2.INTER_AREA), np.uint8)
            (answer,) = to_pictures(restorer.restore(to_tensor([taken])))
            shown[name] = np.asarray(cv2.resize(answer, (SIDE, SIDE), interpolation=cv2.INTER_AREA), np.uint8)
    save_picture(sheet(rows(faces, options.model)), options.sheet)
    print(f"{len(faces)} faces, each beside {len(options.model)} answers of one's own: {options.sheet}")
    return 0
