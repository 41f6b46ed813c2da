"""What `--tone auto` makes of faded photographs, and of those that nothing is wrong with.

    python -m restorer.bench tone FOLDER... --match "kodak_*"

Each photo is measured as it is (it should not change at all), in sepia (it should stay sepia), and faded by known
curves; what comes back is compared with the photo in CIEDE2000, the mean over all pixels at --side pixels.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from restorer.imaging.sheets import Picture

CURVES: dict[str, tuple[tuple[float, ...], tuple[float, ...], float]] = {
    "dull": ((0.2, 0.2, 0.2), (0.7, 0.7, 0.7), 1.0),
    "pale": ((0.3, 0.3, 0.3), (0.85, 0.85, 0.85), 1.0),
    "yellowed": ((0.2, 0.19, 0.14), (0.85, 0.8, 0.6), 1.0),
    "red": ((0.3, 0.18, 0.2), (0.85, 0.62, 0.62), 1.1),
    "blue": ((0.16, 0.2, 0.26), (0.62, 0.7, 0.8), 0.9),
    "nearly gone": ((0.35, 0.3, 0.24), (0.72, 0.65, 0.5), 1.0),
}
"""How photographs are faded: where black and white end up in each channel, and the gamma of what lies between."""
SEPIA = (1.0, 0.86, 0.68)
"""What white is in sepia; other greys in proportion."""


def faded(picture: Picture, name: str) -> Picture:
    """Return a picture (h, w, 3), uint8, faded by the curve of a name."""
    black, white, gamma = CURVES[name]
    low, high = np.array(black), np.array(white)
    result: Picture = np.rint(255 * (low + (high - low) * (picture / 255) ** gamma)).astype(np.uint8)
    return result


def in_sepia(picture: Picture) -> Picture:
    """Return a picture in sepia."""
    from restorer.imaging.colour import LUMA

    result: Picture = np.rint((picture @ LUMA)[..., None] * np.array(SEPIA)).astype(np.uint8)
    return result


def measure(picture: Picture) -> dict[str, Any]:
    """Return the mean differences of one photo: how much it changes as it is and in sepia, how faded ones come back."""
    from restorer.evaluation.difference import mean_difference
    from restorer.imaging import fading

    def treated(given: Picture) -> Picture:
        found = fading.measure(given)
        return fading.apply(given, found.levels) if found.is_faded else given

    row: dict[str, Any] = {"untouched": mean_difference(picture, treated(picture))}
    sepia = in_sepia(picture)
    row["sepia"] = mean_difference(sepia, treated(sepia))
    for name in CURVES:
        worse = faded(picture, name)
        after = treated(worse)
        row[name] = {
            "before": mean_difference(picture, worse),
            "after": mean_difference(picture, after),
            "found": not np.array_equal(worse, after),
        }
    return row


def summary(rows: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return the figures over all photos."""
    found: dict[str, Any] = {}
    for name in ("untouched", "sepia"):
        values = np.array([row[name] for row in rows.values()])
        found[name] = {"most": float(values.max()), "changed": int((values > 0).sum()), "photos": len(values)}
    for name in CURVES:
        before, after = (np.array([row[name][key] for row in rows.values()]) for key in ("before", "after"))
        found[name] = {
            "before": float(before.mean()),
            "after": float(after.mean()),
            "cut": float(1 - after.mean() / before.mean()),
            "worse": int((after > before).sum()),
            "found": sum(row[name]["found"] for row in rows.values()),
        }
    return found


def main(arguments: list[str]) -> int:
    """Print the figures."""
    from restorer.imaging.resize import resize
    from restorer.photo import read_photo
    from restorer.training.datasets import picture_files

    parser = argparse.ArgumentParser(
        prog="python -m restorer.bench tone", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", type=Path, nargs="+", help="photographs that nothing is wrong with")
    parser.add_argument("--match", default="*", help='only files of such names, for example "kodak_*"')
    parser.add_argument("--side", type=int, default=384, help="longer side that they are brought to (default 384)")
    parser.add_argument("--each", action="store_true", help="name every photo that changes as it is")
    parser.add_argument("--json", action="store_true", help="print the figures of each photo as JSON")
    options = parser.parse_args(arguments)
    rows: dict[str, dict[str, Any]] = {}
    for path in (each for folder in options.folders for each in picture_files(folder) if each.match(options.match)):
        photo = read_photo(path)
        pixels = photo.pixels if photo.pixels.dtype == np.uint8 else (photo.pixels / 257).astype(np.uint8)
        scale = min(1.0, options.side / max(photo.size))
        size = max(1, round(photo.size[0] * scale)), max(1, round(photo.size[1] * scale))
        rows[path.name] = measure(np.ascontiguousarray(resize(pixels, size)))
    if options.json:
        print(json.dumps({"photos": rows, "summary": summary(rows)}))
        return 0
    print(table(summary(rows)))
    if options.each:
        for name, row in rows.items():
            if row["untouched"] > 0:
                print(f"changed as it is: {name} ({row['untouched']:.2f})")
    return 0


def table(found: dict[str, Any]) -> str:
    """Return the figures as a table."""
    lines = [
        f"{name:12} {found[name]['changed']} of {found[name]['photos']} change, by {found[name]['most']:.2f} at most"
        for name in ("untouched", "sepia")
    ]
    lines.append("faded         found  before  after   cut  worse")
    for name in CURVES:
        row = found[name]
        lines.append(
            f"{name:12} {row['found']:6d}  {row['before']:6.2f} {row['after']:6.2f}  {row['cut']:4.0%} "
            f"{row['worse']:6d}"
        )
    return "\n".join(lines)
