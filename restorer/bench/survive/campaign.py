"""The campaign: which parts there are, how long each is given, and the table of what came of them.

    python -m restorer.bench survive --hours 1 --seed 7 --json seven.json
    python -m restorer.bench survive --parts pictures,luck --hours 0.2 --seed 8 --add runs/ --json runs/eight.json
    python -m restorer.bench survive --hours 0 --add runs/ --detail       nothing is tried; what was, is added up

Parts that try cases from an endless supply (pictures, command, luck, soak) share the hours; the others try all that
they have once, whatever the seed. A part that was not reached within the hours is left out, and said to be.
"""

from __future__ import annotations

import argparse
import importlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from restorer.bench.survive.counting import Report, Tally

PARTS = {
    "bombs": 0.0,
    "pictures": 0.5,
    "guided": 0.1,
    "command": 0.2,
    "luck": 0.2,
    "kills": 0.3,
    "weights": 0.1,
    "downloads": 0.0,
    "crowds": 0.0,
    "devices": 0.05,
    "company": 0.0,
    "soak": 0.2,
    "serving": 0.1,
}
"""The parts, in the order in which they are tried, each with its share of the hours; 0 for those that try all."""
_ROOM = 2**31  # bytes


@dataclass(frozen=True)
class Plan:
    """What a part is given.

    Attributes:
        seed: decides which cases are tried.
        seconds: that it may take, about.
        folder: an empty one for its work; it goes afterwards.
        keep: a folder for files that were lost over; None = they are not kept.
    """

    seed: int
    seconds: float
    folder: Path
    keep: Path | None = None


def workplace() -> str | None:
    """Return where parts work: in memory where the system has such a folder with room, else None.

    What they try is none of the disk's doing (a power cut is played from what was asked for), and a disk takes longer
    to write a thousand small files than they take to be tried.
    """
    place = Path("/dev/shm")
    if place.is_dir() and os.access(place, os.W_OK) and shutil.disk_usage(place).free > _ROOM:
        return str(place)
    return None


def attempt(name: str, plan: Plan) -> Tally:
    """Try a part."""
    module = importlib.import_module(f"restorer.bench.survive.{name}")
    tally: Tally = module.attempt(plan)
    return tally


def campaign(names: Sequence[str], hours: float, seed: int, keep: Path | None = None) -> Report:
    """Try parts, one after the other, and return what came of them."""
    report, begin = Report(), time.monotonic()
    total = sum(PARTS[name] for name in names) or 1.0
    for name in names:
        with tempfile.TemporaryDirectory(prefix="survive-", dir=workplace()) as folder:
            plan = Plan(seed, 3600 * hours * PARTS[name] / total, Path(os.path.realpath(folder)), keep)
            print(f"{name} ...", file=sys.stderr)
            report.add(attempt(name, plan), seed)
    report.hours = (time.monotonic() - begin) / 3600
    return report


def _files(given: Sequence[Path]) -> list[Path]:
    return [file for path in given for file in (sorted(path.glob("*.json")) if path.is_dir() else [path])]


def main(arguments: Sequence[str]) -> int:
    """Print the table; return 1 where anything was lost."""
    parser = argparse.ArgumentParser(
        prog="python -m restorer.bench survive",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--hours", type=float, default=0.1, help="for the parts without an end (default: 0.1)")
    parser.add_argument("--seed", type=int, default=0, help="which cases are tried (default: 0)")
    parser.add_argument("--parts", default=",".join(PARTS), help=f"some of {','.join(PARTS)} (default: all)")
    parser.add_argument("--add", type=Path, action="append", default=[], metavar="FILE", help="JSON of earlier runs")
    parser.add_argument("--json", type=Path, help="file for the figures of this run alone")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep the files that were lost over")
    parser.add_argument("--detail", action="store_true", help="print each kind of case too")
    given = parser.parse_args(arguments)
    names = [name for name in given.parts.split(",") if name]
    if unknown := [name for name in names if name not in PARTS]:
        parser.error(f"there is no part {', '.join(unknown)}; parts are {', '.join(PARTS)}")
    if os.name == "nt":
        parser.error("the campaign forks processes, which Windows cannot")
    report = campaign(names, given.hours, given.seed, given.keep) if given.hours > 0 else Report()
    if given.json is not None and report.tallies:
        report.save(given.json)
    for path in _files(given.add):
        if given.json is not None and path.resolve() == given.json.resolve():
            continue
        for left_out in report.take(Report.load(path)):
            print(f"{path}: left out, it is in the sum already: {left_out}", file=sys.stderr)
    print(report.table())
    print(f"\n{report.hours:.2f} hours of one core")
    if given.detail or report.losses:
        print("\n" + report.detail())
    return 1 if report.losses else 0
