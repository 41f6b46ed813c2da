"""What finding and filling damage are worth on photographs with drawn damage, kind by kind.

    python -m restorer.bench repair FOLDER... --match "kodak_*" --finder runs/tiny-damage/tiny-damage.safetensors

Each photo gets each kind of damage by itself, drawn by the seed and its name. Of the mask: precision, recall and F1,
where a pixel within 2 pixels counts as right, and pixels that nothing is asked of (the foot of a shadow) do not count.
Of the filling: PSNR of the damaged pixels before, after finding by itself, with the true mask (each filler, and
OpenCV's Telea); and whether all pixels outside the mask stayed as they were. "lines" and "hats" are finders without a
network.
"""

from __future__ import annotations

import argparse
import json
import math
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from restorer.imaging.sheets import Picture, sheet
from restorer.repairing.filling import Painter, fill
from restorer.training.wear import prints
from restorer.training.wear.prints import Damaged, Where

TOLERANCE = 2  # pixels
TELEA = "true, Telea"
Find = Callable[[Picture], Where]


def lines(picture: Picture) -> Where:
    """Return what is thin, long and much lighter or darker than its neighbourhood usually is.

    Top and black hats of 9 pixels, opened by lines of 31 pixels in 16 directions: what is left where it stands out from
    its mean over 65 pixels, in pieces of at least 40 pixels.
    """
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (9, 9))
    found = np.zeros(grey.shape, bool)
    for hat in (cv2.MORPH_TOPHAT, cv2.MORPH_BLACKHAT):
        standing = cv2.morphologyEx(grey, hat, disc)
        opened = np.zeros_like(standing)
        for turn in range(16):
            opened = np.maximum(opened, cv2.morphologyEx(standing, cv2.MORPH_OPEN, _line(31, math.pi * turn / 16)))
        usual = cv2.blur(standing.astype(np.float32), (65, 65))
        found |= (opened > 3.6 * usual) & (opened > 18)
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(found.astype(np.uint8), connectivity=8)
    long = np.maximum(boxes[:, cv2.CC_STAT_WIDTH], boxes[:, cv2.CC_STAT_HEIGHT]) >= 40
    long[0] = False
    kept: Where = long[labels] if count > 1 else found
    return kept


def hats(picture: Picture) -> Where:
    """Return what is lighter or darker than what is around it by a fixed amount, after equalising its contrast."""
    grey = cv2.createCLAHE(2.0, (8, 8)).apply(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (9, 9))
    standing = np.maximum(
        cv2.morphologyEx(grey, cv2.MORPH_TOPHAT, disc), cv2.morphologyEx(grey, cv2.MORPH_BLACKHAT, disc)
    )
    found: Where = standing > 90
    return found


def _line(length: int, turn: float) -> np.ndarray:
    kernel = np.zeros((length, length), np.uint8)
    half, middle = length // 2, (length // 2, length // 2)
    off = round(half * math.cos(turn)), round(half * math.sin(turn))
    cv2.line(kernel, (middle[0] - off[0], middle[1] - off[1]), (middle[0] + off[0], middle[1] + off[1]), 1)
    return kernel


@dataclass
class Tally:
    """What one finder made of one kind of damage, over all photos.

    Attributes:
        found: pixels that were found and are asked of.
        right: of those, such as are damaged, or within 2 pixels of it.
        there: damaged pixels.
        seen: of those, such as were found, or within 2 pixels of it.
        before, after: summed squared errors of the damaged pixels, in levels of 255.
        kept: whether every pixel outside of what was found stayed as it was.
        seconds: in finding.
    """

    found: int = 0
    right: int = 0
    there: int = 0
    seen: int = 0
    before: float = 0.0
    after: float = 0.0
    kept: bool = True
    seconds: float = field(default=0.0, compare=False)

    def add(self, clean: Picture, given: Damaged, found: Where, filled: Picture) -> None:
        """Take in one photo."""
        asked = found & ~given.unsure
        self.found += int(asked.sum())
        self.right += int((asked & _near(given.mask)).sum())
        self.there += int(given.mask.sum())
        self.seen += int((given.mask & _near(found)).sum())
        self.before += _error(clean, given.picture, given.mask)
        self.after += _error(clean, filled, given.mask)
        self.kept &= bool(np.array_equal(filled[~found], given.picture[~found]))

    def row(self) -> dict[str, float | bool | None]:
        """Return the figures: shares, and PSNR in dB of the damaged pixels."""
        precision, recall = self.right / max(self.found, 1), self.seen / max(self.there, 1)
        return {
            "precision": precision,
            "recall": recall,
            "f1": 2 * precision * recall / max(precision + recall, 1e-9),
            "before": _psnr(self.before, self.there),
            "after": _psnr(self.after, self.there),
            "outside bit-equal": self.kept,
            "seconds": self.seconds,
        }


def _near(mask: Where) -> Where:
    side = 2 * TOLERANCE + 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    near: Where = cv2.dilate(mask.astype(np.uint8), disc) > 0
    return near


def _error(clean: Picture, picture: Picture, where: Where) -> float:
    return float(np.square(clean[where].astype(float) - picture[where]).sum())


def _psnr(error: float, pixels: int) -> float | None:
    return 10 * math.log10(255**2 * 3 * pixels / max(error, 1e-9)) if pixels else None


def telea(picture: Picture, mask: Where) -> Picture:
    """Return the picture filled by OpenCV's Telea with a radius of 3 pixels."""
    filled: Picture = np.asarray(cv2.inpaint(picture, mask.astype(np.uint8), 3, cv2.INPAINT_TELEA), np.uint8)
    return filled


def drawn(picture: Picture, name: str, kind: str, seed: int) -> Damaged:
    """Return a photo with damage of one kind; which, depends on the seed, its name and the kind alone."""
    rng = np.random.default_rng([seed, zlib.crc32(name.encode()), list(prints.KINDS).index(kind)])
    return prints.damage(picture, rng, [kind], unit=prints.unit_of(*picture.shape[:2]))


def finders(names: list[str]) -> dict[str, Find]:
    """Return what finds damage, by name: those without a network, and networks by table or file."""
    found: dict[str, Find] = {"lines": lines, "hats": hats}
    for name in names:
        found[Path(name).stem] = _by_network(name)
    return found


def _by_network(name: str) -> Find:
    from restorer import weights
    from restorer.engine.device import choose
    from restorer.engine.pool import POOL
    from restorer.repairing.finding import NetworkFinder, find

    finder = NetworkFinder(POOL.get(weights.resolve(name), choose("cpu"), offline=True))
    return lambda picture: find(finder, picture) > 0


def painters(names: list[str]) -> dict[str, Painter | None]:
    """Return what fills holes, by name: splines, and networks by table or file."""
    from restorer import weights
    from restorer.engine.device import choose
    from restorer.engine.pool import POOL
    from restorer.repairing.network_filling import NetworkPainter

    networks = {Path(name).stem: POOL.get(weights.resolve(name), choose("cpu"), offline=True) for name in names}
    return {"splines": None} | {name: NetworkPainter(network) for name, network in networks.items()}


def measure(
    photos: dict[str, Picture],
    seed: int,
    kinds: list[str],
    found_by: dict[str, Find],
    shown: Path | None = None,
    filled_by: dict[str, Painter | None] | None = None,
) -> dict[str, dict[str, Tally]]:
    """Return the tallies by kind and finder; what fills the true mask, and Telea, are rows of their own.

    Args:
        photos: clean photographs by name.
        seed: of the damage.
        kinds: of damage.
        found_by: the finders.
        shown: a folder for a sheet of each kind: damaged, what is damaged, what each finder found, filled by the last.
        filled_by: what fills, by name; the last of them fills what finders find. None = splines.
    """
    filled_by = filled_by or {"splines": None}
    last = list(filled_by.values())[-1]
    tallies: dict[str, dict[str, Tally]] = {}
    for kind in kinds:
        rows = tallies.setdefault(kind, {name: Tally() for name in (*found_by, *map(_true, filled_by), TELEA)})
        cells = []
        for name, clean in photos.items():
            given = drawn(clean, name, kind, seed)
            line = [given.picture, _shown(given.mask)]
            for finder, find in found_by.items():
                began = time.perf_counter()
                found = find(given.picture)
                rows[finder].seconds += time.perf_counter() - began
                filled = fill(given.picture, found.astype(np.uint8), last)
                rows[finder].add(clean, given, found, filled)
                line.append(_shown(found))
            for filler, painter in filled_by.items():
                filled = fill(given.picture, given.mask.astype(np.uint8), painter)
                rows[_true(filler)].add(clean, given, given.mask, filled)
            line.append(filled)
            rows[TELEA].add(clean, given, given.mask, telea(given.picture, given.mask))
            cells.append(line)
        if shown is not None:
            shown.mkdir(parents=True, exist_ok=True)
            sheet(cells[:6], ("damaged", "damage", *found_by, "true mask filled")).save(shown / f"{kind}.png")
    return tallies


def _true(filler: str) -> str:
    return f"true, {filler}"


def _shown(mask: Where) -> Picture:
    return np.repeat(np.where(mask, 255, 0).astype(np.uint8)[..., None], 3, axis=2)


def false_alarms(photos: dict[str, Picture], found_by: dict[str, Find]) -> dict[str, dict[str, float]]:
    """Return for each finder the share of pixels that it finds in each clean photo, where there are any."""
    return {
        name: {photo: share for photo, picture in photos.items() if (share := float(find(picture).mean())) > 0}
        for name, find in found_by.items()
    }


def main(arguments: list[str]) -> int:
    """Print the figures."""
    from restorer.training.datasets import picture_files, read_picture

    parser = argparse.ArgumentParser(
        prog="python -m restorer.bench repair", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("folders", type=Path, nargs="+", help="photographs that nothing is wrong with")
    parser.add_argument("--match", default="*", help='only files of such names, for example "kodak_*"')
    parser.add_argument("--limit", type=int, help="only so many photos")
    parser.add_argument("--kinds", default=",".join(prints.KINDS), help="kinds of damage, with commas between")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--finder", action="append", default=[], help="a damage finder's name or file; may be repeated")
    parser.add_argument("--filler", action="append", default=[], help="an inpainter's name or file; may be repeated")
    parser.add_argument("--filling", action="store_true", help="measure what fills the true mask alone, and no finder")
    parser.add_argument("--sheets", type=Path, help="a folder for sheets to look at")
    parser.add_argument("--clean", action="store_true", help="instead: what is found in the photos as they are")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args(arguments)
    unknown = sorted(set(kinds := options.kinds.split(",")) - set(prints.KINDS))
    if unknown:
        parser.error(f"there is no damage called {unknown[0]!r}; there are {', '.join(prints.KINDS)}")
    files = [path for folder in options.folders for path in picture_files(folder) if path.match(options.match)]
    photos = {path.name: read_picture(path) for path in files[: options.limit]}
    found_by = {} if options.filling else finders(options.finder)
    if options.clean:
        alarms = false_alarms(photos, found_by)
        print(json.dumps(alarms) if options.json else alarms_table(alarms, len(photos)))
        return 0
    tallies = measure(photos, options.seed, kinds, found_by, options.sheets, painters(options.filler))
    rows = {kind: {name: tally.row() for name, tally in named.items()} for kind, named in tallies.items()}
    print(json.dumps({"photos": len(photos), "kinds": rows}) if options.json else table(rows, len(photos)))
    return 0


def table(rows: dict[str, dict[str, dict[str, float | bool | None]]], photos: int) -> str:
    """Return the figures as a table."""
    lines = [
        f"{photos} photos",
        f"{'damage':13} {'found by':18} precision recall   F1    before  after  outside bit-equal",
    ]
    for kind, named in rows.items():
        for name, row in named.items():
            shares = f"{row['precision']:9.2f} {row['recall']:6.2f} {row['f1']:6.2f}"
            psnr = "       -      -" if row["before"] is None else f"{row['before']:7.2f} {row['after']:6.2f}"
            lines.append(f"{kind:13} {name:18} {shares} {psnr}  {'yes' if row['outside bit-equal'] else 'NO'}")
    return "\n".join(lines)


def alarms_table(alarms: dict[str, dict[str, float]], photos: int) -> str:
    """Return what was found in clean photos, the most first."""
    lines = []
    for name, found in alarms.items():
        lines.append(f"{name}: something in {len(found)} of {photos} clean photos")
        worst = sorted(found.items(), key=lambda item: -item[1])
        lines += [f"  {photo}: {share:.4%}" for photo, share in worst[:20]]
    return "\n".join(lines)
