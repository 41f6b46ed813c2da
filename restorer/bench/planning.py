"""How long it takes to plan very many photos, to look at a finished folder again, and to start a small part of a run.

    python -m restorer.bench planning --photos 30000 --finished 5000 --parts 1000

Photos are small pictures of noise, each with other bytes. Figures are those of whole commands, from process start to
end: wall and processor seconds, and the peak of the memory. On a busy machine the processor seconds are what they cost.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from restorer.bench.tools.albums import picture
from restorer.bench.tools.running import Finished, run

_PLAIN = ("--offline", "--model", "none", "--background", "lanczos", "-q")
_FOLDER = 500
"""Photos of a folder."""


def photos(folder: Path, count: int) -> None:
    """Write so many photos, in folders of 500: a JPEG with a comment of its own each."""
    folder.mkdir(parents=True)
    sample = picture(folder / "sample.jpg", (64, 48)).read_bytes()
    (folder / "sample.jpg").unlink()
    for number in range(count):
        place = folder / f"{number // _FOLDER:04}"
        if number % _FOLDER == 0:
            place.mkdir()
        comment = f"{number:08}".encode()
        (place / f"{number:06}.jpg").write_bytes(sample[:2] + b"\xff\xfe\x00\x0a" + comment + sample[2:])


def main(arguments: Sequence[str]) -> int:
    """Print what was measured; write the figures as JSON where that is asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m restorer.bench planning",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--photos", type=int, default=30_000, help="photos that are planned")
    parser.add_argument("--finished", type=int, default=5000, help="photos of the folder that is done")
    parser.add_argument("--parts", type=int, default=1000, help="parts of the run by the plan; the first is started")
    parser.add_argument("--json", type=Path, help="file for the figures")
    given = parser.parse_args(arguments)
    found: dict[str, Finished] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        plan, out = str(folder / "plan.jsonl"), str(folder / "out")
        photos(folder / "many", given.photos)
        photos(folder / "finished", given.finished)
        found[f"plan of {given.photos:,} photos"] = _restore("plan", str(folder / "many"), "-o", plan)
        part = ("--shard", f"1/{given.parts}", *_PLAIN, "-o", out, "--files-from", plan)
        found[f"part 1/{given.parts} of it, to its end"] = _restore(*part)
        done = (str(folder / "finished"), "-o", str(folder / "done"), *_PLAIN)
        found[f"{given.finished:,} photos, restored"] = _restore(*done)
        found[f"{given.finished:,} photos, all done already"] = _restore(*done)
    for name, each in found.items():
        print(f"{name:40}{each.seconds:9.2f} s{each.processor_seconds:9.2f} processor s{each.peak_mib:8.0f} MiB")
    if given.json:
        figures = {
            name: {"seconds": each.seconds, "processor_seconds": each.processor_seconds, "peak_mib": each.peak_mib}
            for name, each in found.items()
        }
        given.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return 0


def _restore(*arguments: str) -> Finished:
    return run([sys.executable, "-m", "restorer", *arguments])
