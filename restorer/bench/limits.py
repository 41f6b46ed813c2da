"""What a run of `restore` keeps to: memory of a large result, and the time of a folder beside that of its networks.

    python -m restorer.bench limits PHOTO --memory        the photo at 1.6 megapixels, --scale 8: 100 megapixels
    python -m restorer.bench limits PHOTO --folder 40     so many copies of the photo, as one run

The folder's time after start-up is that of the whole run less that of a run on one photo; beside it stand the seconds
of detector, restorer and parser of the other photos. Weights are found or made as in `python -m restorer.bench speed`.
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

from restorer.bench.speed import DETECTOR, MODEL, NETWORK_STAGES, prepare
from restorer.bench.tools.running import Finished, records, restore

MEGAPIXELS, SCALE = 100, 8


def networks_seconds(finished: Finished) -> float:
    """Return the seconds of detector, restorer and parser of all photos of a run.

    Raises:
        SystemExit: a photo was not restored.
    """
    total = 0.0
    for record in records(finished):
        told: Any = record
        if told["status"] != "ok":
            raise SystemExit(f"{told['input']}: {told['error']}")
        total += sum(told["seconds"].get(stage, 0.0) for stage in NETWORK_STAGES)
    return total


def large(photo: Path, folder: Path, environment: Mapping[str, str], options: Sequence[str]) -> dict[str, Any]:
    """Restore the photo to `MEGAPIXELS` at `SCALE`, and return size, seconds and peak of the memory."""
    from PIL import Image

    with Image.open(photo) as opened:
        factor = (MEGAPIXELS * 1e6 / SCALE**2 / (opened.width * opened.height)) ** 0.5
        size = round(opened.width * factor), round(opened.height * factor)
        opened.convert("RGB").resize(size, Image.Resampling.LANCZOS).save(folder / "large.png")
    finished = restore([folder / "large.png"], folder / "large-out.png", environment, *options, "--scale", str(SCALE))
    networks_seconds(finished)
    record: Any = records(finished)[0]
    width, height = record["output_size"]
    return {
        "megapixels": width * height / 1e6,
        "faces": sum(face["restored"] for face in record["faces"]),
        "seconds": finished.seconds,
        "peak_mib": finished.peak_mib,
    }


def many(
    photo: Path, count: int, folder: Path, environment: Mapping[str, str], options: Sequence[str]
) -> dict[str, Any]:
    """Restore copies of the photo as one run, and return its seconds after start-up beside those of the networks."""
    album = folder / "album"
    album.mkdir()
    copies = [Path(shutil.copyfile(photo, album / f"{number:03}{photo.suffix}")) for number in range(count)]
    first = restore(copies[:1], folder / "one.png", environment, *options, "--scale", "2")
    whole = restore([album], folder / "album-out", environment, *options, "--scale", "2")
    wall, networks = whole.seconds - first.seconds, networks_seconds(whole) - networks_seconds(first)
    return {
        "photos": count,
        "seconds": whole.seconds,
        "after_start_up": wall,
        "networks": networks,
        "ratio": wall / networks,
        "peak_mib": whole.peak_mib,
    }


def main(arguments: Sequence[str]) -> int:
    """Print what was measured."""
    parser = argparse.ArgumentParser(
        prog="python -m restorer.bench limits",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("photo", type=Path)
    parser.add_argument("--memory", action="store_true", help=f"measure a result of {MEGAPIXELS} megapixels")
    parser.add_argument("--folder", type=int, metavar="N", help="measure a run over N copies of the photo, 2 or more")
    parser.add_argument("--weights", action="append", default=[], metavar="NAME=FILE", help="weights of a table")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--json", type=Path, help="file for the figures")
    given = parser.parse_args(arguments)
    if not given.memory and (given.folder or 0) < 2:
        parser.error("give --memory, or --folder with 2 or more")
    options = (
        "--model",
        MODEL,
        "--detector",
        DETECTOR,
        "--background",
        "lanczos",
        "--precision",
        given.precision,
        "--always",
    )
    report: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        environment = prepare(given.weights, None, folder).environment()
        if given.memory:
            print("a large result ...", file=sys.stderr)
            report["large"] = found = large(given.photo, folder, environment, options)
            print(
                f"{found['megapixels']:.0f} megapixels with {found['faces']} faces: {found['seconds']:.1f} s, "
                f"at most {found['peak_mib']:.0f} MiB"
            )
        if given.folder:
            print("a folder ...", file=sys.stderr)
            report["folder"] = found = many(given.photo, given.folder, folder, environment, options)
            print(
                f"{found['photos']} photos: {found['after_start_up']:.1f} s after start-up, {found['ratio']:.2f} times "
                f"the {found['networks']:.1f} s of the networks; at most {found['peak_mib']:.0f} MiB"
            )
    if given.json:
        given.json.write_text(json.dumps(report, indent=1) + "\n")
    return 0
