"""How the cost of `restore` grows with faces, pixels and photos, each measured alone.

    python -m restorer.bench growth PHOTO --plots docs/images --json growth.json

PHOTO should show many faces. Faces: the photo with --max-faces 0, 1, 2, 4 and so on. Pixels: results of growing
--scale, without faces. Photos: copies of it, reduced, in one run. Each is a command of its own, from process start to
the written file; weights are found or made as in `python -m restorer.bench speed`.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from restorer.bench.speed import DETECTOR, MODEL, prepare
from restorer.bench.tools.running import curve, records, restore

FACES = (1, 2, 4, 8, 16, 32)
MEGAPIXELS = (1, 4, 16, 36, 64)
PHOTOS = (1, 2, 4, 8, 16)
_SMALL = 640
"""Longest side in pixels of the copies that stand for many photos."""


def point(photos: Sequence[Path], out: Path, environment: Mapping[str, str], options: Sequence[str]) -> dict[str, Any]:
    """Run the command once, and return seconds, peak of the memory, faces and megapixels of the results.

    Raises:
        SystemExit: a photo was not restored.
    """
    finished = restore(photos, out, environment, *options)
    faces = pixels = 0
    for record in records(finished):
        told: Any = record
        if told["status"] != "ok":
            raise SystemExit(f"{told['input']}: {told['error']}")
        faces += sum(face["restored"] for face in told["faces"])
        pixels += told["output_size"][0] * told["output_size"][1]
    return {
        "faces": faces,
        "megapixels": pixels / 1e6,
        "seconds": finished.seconds,
        "peak_mib": finished.peak_mib,
    }


def by_faces(photo: Path, folder: Path, environment: Mapping[str, str], options: Sequence[str]) -> list[dict[str, Any]]:
    """Measure the photo with more and more of its faces, up to all."""
    found: list[dict[str, Any]] = []
    for count in FACES:
        more = (*options, "--scale", "2", "--max-faces", str(count))
        found.append(point([photo], folder / "faces.png", environment, more))
        if found[-1]["faces"] < count:
            break
    return found


def by_pixels(
    photo: Path, folder: Path, environment: Mapping[str, str], options: Sequence[str]
) -> list[dict[str, Any]]:
    """Measure results of more and more pixels, without faces."""
    from PIL import Image

    with Image.open(photo) as opened:
        area = opened.width * opened.height / 1e6
    return [
        point(
            [photo],
            folder / "pixels.png",
            environment,
            (*options, "--model", "none", "--scale", f"{(megapixels / area) ** 0.5:.4f}"),
        )
        for megapixels in MEGAPIXELS
    ]


def by_photos(
    photo: Path, folder: Path, environment: Mapping[str, str], options: Sequence[str]
) -> list[dict[str, Any]]:
    """Measure more and more copies of the photo, reduced and with two faces each, as one run."""
    from PIL import Image

    small = folder / "small.png"
    with Image.open(photo) as opened:
        picture = opened.convert("RGB")
        picture.thumbnail((_SMALL, _SMALL))
        picture.save(small)
    found = []
    for count in PHOTOS:
        album = folder / f"album-{count}"
        album.mkdir()
        for number in range(count):
            shutil.copyfile(small, album / f"{number:03}.png")
        more = (*options, "--scale", "2", "--max-faces", "2")
        found.append({"photos": count, **point([album], folder / f"out-{count}", environment, more)})
    return found


def main(arguments: Sequence[str]) -> int:
    """Print what was measured; write JSON and plots."""
    parser = argparse.ArgumentParser(
        prog="python -m restorer.bench growth",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("photo", type=Path)
    parser.add_argument("--weights", action="append", default=[], metavar="NAME=FILE", help="weights of a table")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--plots", type=Path, help="folder for the plots (SVG)")
    given = parser.parse_args(arguments)
    options = ("--detector", DETECTOR, "--background", "lanczos", "--precision", given.precision, "--always")
    restoring = ("--model", MODEL, *options)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        environment = prepare(given.weights, None, folder).environment()
        print("faces ...", file=sys.stderr)
        report = {"faces": by_faces(given.photo, folder, environment, restoring)}
        print("pixels ...", file=sys.stderr)
        report["megapixels"] = by_pixels(given.photo, folder, environment, options)
        print("photos ...", file=sys.stderr)
        report["photos"] = by_photos(given.photo, folder, environment, restoring)
    for kind, rows in report.items():
        for row in rows:
            print(f"{row[kind]:8.1f} {kind:11} {row['seconds']:8.1f} s {row['peak_mib']:8.0f} MiB")
        if given.plots:
            points = [(float(row[kind]), float(row["seconds"])) for row in rows]
            curve(given.plots / f"growth-{kind}.svg", f"Seconds by {kind}", kind, "seconds", points)
            points = [(float(row[kind]), float(row["peak_mib"])) for row in rows]
            curve(given.plots / f"memory-{kind}.svg", f"Memory by {kind}", kind, "peak MiB", points)
    if given.json:
        given.json.write_text(json.dumps(report, indent=1) + "\n")
    return 0
