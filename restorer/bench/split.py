"""How exactly several prints on one scan are found and cut: scans made of photographs, where it is known.

    python -m restorer.bench split FOLDER --scans 20

Each scan has two to six prints, some with a white border, tilted up to 10 degrees, on a white, a grey and a black lid
in turn, with the lid's shading, its noise, dust, and the shadows of prints. A print is right where each corner lies
within 1 % of its sides.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from restorer.imaging.prints import Print
from restorer.imaging.sheets import Picture

LIDS = {"white": 244.0, "grey": 128.0, "black": 14.0}
LONG, SHORT = 1800, 1300
"""Sides of a made scan in pixels."""
TILT = 10.0
ALLOWED = 0.01


def made(photos: Sequence[Picture], lid: str, rng: np.random.Generator) -> tuple[Picture, list[Print]]:
    """Return a scan (h, w, 3), uint8, of two to six of the photographs, and where they lie.

    Args:
        photos: (h, w, 3), uint8, each at least 300 pixels a side.
        lid: "white", "grey" or "black".
        rng: decides everything else.
    """
    import cv2

    count = int(rng.integers(2, 7))
    columns, rows = (2, 1) if count == 2 else (2, 2) if count <= 4 else (3, 2)
    height, width = SHORT, LONG
    y, x = np.mgrid[:height, :width].astype(np.float32)
    shade = rng.uniform(-4, 4) * (x / width - 0.5) + rng.uniform(-4, 4) * (y / height - 0.5)
    scan = np.repeat((LIDS[lid] + shade + rng.normal(0, 1.2, (height, width)))[..., None], 3, axis=2).astype(np.float32)
    scan += rng.uniform(-2, 2, 3).astype(np.float32)
    cells = rng.permutation(columns * rows)[:count]
    places = []
    for cell in sorted(cells.tolist()):
        photo = photos[int(rng.integers(len(photos)))]
        if rng.random() < 0.4:
            photo = _framed(photo)
        room = width / columns, height / rows
        angle = float(rng.uniform(-TILT, TILT))
        cos, sin = math.cos(math.radians(angle)), abs(math.sin(math.radians(angle)))
        tall, wide = photo.shape[:2]
        most = min((room[0] - 60) / (wide * cos + tall * sin), (room[1] - 60) / (wide * sin + tall * cos))
        scale = most * float(rng.uniform(0.75, 1.0))
        size = round(wide * scale), round(tall * scale)
        shift = [(each - 60) / 2 * (1 - scale / most) for each in room]
        middle = tuple(
            (place + 0.5) * each + float(rng.uniform(-1, 1)) * slack * 0.5
            for place, each, slack in zip((cell % columns, cell // columns), room, shift, strict=True)
        )
        place = Print((middle[0], middle[1]), (float(size[0]), float(size[1])), angle)
        _lay(scan, np.asarray(cv2.resize(photo, size, interpolation=cv2.INTER_AREA), np.uint8), place)
        places.append(place)
    for _ in range(int(rng.integers(5, 40))):  # dust
        centre = int(rng.integers(width)), int(rng.integers(height))
        level = float(rng.uniform(0, 255))
        cv2.circle(scan, centre, int(rng.integers(1, 3)), (level, level, level), -1, cv2.LINE_AA)
    return np.clip(np.rint(scan), 0, 255).astype(np.uint8), places


def _framed(photo: Picture) -> Picture:
    """Return a photograph with the white border of a print."""
    height, width = photo.shape[:2]
    framed = np.empty((height + 24, width + 24, 3), np.uint8)
    framed[:] = (232, 228, 214)
    framed[12:-12, 12:-12] = photo
    return framed


def _lay(scan: np.ndarray, photo: Picture, place: Print) -> None:
    """Lay a photograph on a scan, with the shadow of its lower right edges."""
    import cv2

    corners = np.array(place.corners(), np.float32)
    size = photo.shape[1], photo.shape[0]
    own = np.array([(0, 0), (size[0], 0), size, (0, size[1])], np.float32) - 0.5
    matrix = cv2.getAffineTransform(own[:3], corners[:3] - 0.5)
    whole = scan.shape[1], scan.shape[0]
    cover = cv2.warpAffine(np.ones(photo.shape[:2], np.float32), matrix, whole, flags=cv2.INTER_LINEAR)
    shadow = cv2.GaussianBlur(np.roll(cover, (2, 2), (0, 1)), (0, 0), 2.5)
    scan *= (1 - 0.12 * shadow)[..., None]
    turned = cv2.warpAffine(photo.astype(np.float32), matrix, whole, flags=cv2.INTER_LINEAR)
    # At a print's edge the turned picture is already mixed with black, in proportion to what it covers.
    scan *= (1 - cover)[..., None]
    scan += turned


def error(found: Print, truth: Print) -> float:
    """Return the largest distance of a corner from where it should be, as a share of the shorter side."""
    apart = np.array(found.corners()) - np.array(truth.corners())
    return float(np.hypot(*apart.T).max() / min(truth.size))


def measure(scan: Picture, places: Sequence[Print]) -> dict[str, Any]:
    """Return whether all prints of a scan were found, and the error of each."""
    from restorer.imaging import prints

    found, reason = prints.find(scan)
    errors = []
    for truth in places:
        near = [each for each in found if math.dist(each.centre, truth.centre) < min(truth.size) / 4]
        errors.append(min((error(each, truth) for each in near), default=math.inf))
    right = len(found) == len(places) and all(each <= ALLOWED for each in errors)
    return {"prints": len(places), "found": len(found), "reason": reason, "errors": errors, "right": right}


def main(arguments: list[str]) -> int:
    """Print the figures."""
    from restorer.photo import read_photo
    from restorer.training.datasets import picture_files

    parser = argparse.ArgumentParser(
        prog="python -m restorer.bench split", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="photographs that the scans are made of")
    parser.add_argument("--scans", type=int, default=20, help="how many (default 20)")
    parser.add_argument("--match", default="*", help='only files of such names, for example "kodak_*"')
    parser.add_argument("--json", action="store_true", help="print the figures of each scan as JSON")
    options = parser.parse_args(arguments)
    files = [path for path in picture_files(options.folder) if path.match(options.match)][:40]
    photos = [np.asarray(read_photo(path).pixels, np.uint8) for path in files]
    rows = []
    for number in range(options.scans):
        lid = list(LIDS)[number % len(LIDS)]
        scan, places = made(photos, lid, np.random.default_rng([0, number]))
        rows.append({"scan": number, "lid": lid, **measure(scan, places)})
    if options.json:
        print(json.dumps(rows))
        return 0
    for row in rows:
        worst = max(row["errors"])
        print(
            f"{row['scan']:3} {row['lid']:6} {row['found']} of {row['prints']} prints, worst corner {worst:.2%}"
            + ("" if row["right"] else f"  WRONG {row['reason'] or ''}")
        )
    print(f"{sum(row['right'] for row in rows)} of {len(rows)} scans right")
    return 0
