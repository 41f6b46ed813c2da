"""How long commands take to start: such that restore nothing, and the first photo.

    python -m restorer.bench start --runs 9 --json start.json
    python -m restorer.bench start --photo PHOTO --against OTHER [--unpacked] --json start.json

The first prints the least of several runs, which is what a command costs; the rest is what else the machine did.

The second restores one photo with the built-in models, offline, from the start of the process to its end, by this
source tree and by another (a checkout of an earlier commit) in turns, and prints medians, and the median of the rounds'
ratios. With --unpacked no module is compiled beforehand, as after an installation that leaves that to the first start.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import restorer
from restorer.bench.tools.running import Finished, run

COMMANDS = (
    ("--version",),
    ("--help",),
    ("completion", "suggest", "--", "--model", "g"),
    ("models", "list"),
    ("config",),
)
FIRST = ("--model", "tiny", "--offline", "--overwrite", "-q")
"""Options of the first photo."""


def main(arguments: Sequence[str]) -> int:
    """Measure, print a line a command, and write the figures as JSON where that is asked for."""
    parser = argparse.ArgumentParser(prog="python -m restorer.bench start", description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--photo", type=Path, help="restore this one in place of the commands")
    parser.add_argument("--against", type=Path, help="another source tree, which takes turns with this one")
    parser.add_argument("--unpacked", action="store_true", help="without compiled modules")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args(arguments)
    if given.photo is None:
        figures = _commands(given.runs)
    else:
        here = Path(restorer.__file__).parents[1]
        trees = {"this": here} | ({"other": given.against} if given.against else {})
        figures = first_photo(given.photo, trees, given.runs, unpacked=given.unpacked)
    if given.json:
        given.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return 0


def _commands(runs: int) -> dict[str, dict[str, float]]:
    figures = {}
    for command in COMMANDS:
        done = [run([sys.executable, "-m", "restorer", *command]) for _ in range(runs)]
        seconds, processor = min(each.seconds for each in done), min(each.processor_seconds for each in done)
        name = " ".join(("restore", *command))
        figures[name] = {"seconds": seconds, "processor_seconds": processor}
        print(f"{name:48}{seconds:8.2f} s{processor:8.2f} processor seconds")
    return figures


def first_photo(
    photo: Path, trees: dict[str, Path], rounds: int, *, unpacked: bool = False
) -> dict[str, dict[str, float]]:
    """Restore a photo by each source tree in turns, print what that takes, and return it.

    Args:
        photo: the photo.
        trees: source trees by name; the others are compared with the first.
        rounds: how many times each takes its turn; one more comes before, which fills caches and is not counted.
        unpacked: without compiled modules.

    Raises:
        SystemExit: a tree is none, or could not restore the photo.
    """
    for tree in trees.values():
        if not (tree / "restorer" / "__main__.py").is_file():
            raise SystemExit(f"{tree} is no source tree of this tool.")
    done: dict[str, list[Finished]] = {name: [] for name in trees}
    for number in range(rounds + 1):
        for name, tree in trees.items():
            done[name].append(_once(photo.resolve(), tree.resolve(), unpacked))
            last = done[name][-1]
            took = f"{last.seconds:.2f} s, {last.processor_seconds:.2f} processor seconds"
            print(f"round {number}: {name} {took}", file=sys.stderr)
    figures: dict[str, dict[str, float]] = {}
    first = next(iter(done))
    for name, all_runs in done.items():
        counted = all_runs[1:]
        seconds, processor = ([getattr(each, kind) for each in counted] for kind in ("seconds", "processor_seconds"))
        ratios = [mine.seconds / its.seconds for mine, its in zip(done[first][1:], counted, strict=True)]
        figures[name] = {
            "seconds": statistics.median(seconds),
            "least": min(seconds),
            "most": max(seconds),
            "processor_seconds": statistics.median(processor),
            "first_of_it": statistics.median(ratios),
        }
        told = figures[name]
        print(
            f"{name:8}{told['seconds']:8.2f} s ({told['least']:.2f} to {told['most']:.2f})"
            f"{told['processor_seconds']:8.2f} processor seconds; {first} takes {told['first_of_it']:.2f} of it"
        )
    return figures


def _once(photo: Path, tree: Path, unpacked: bool) -> Finished:
    """Restore a photo by a source tree, in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {"PYTHONPATH": str(tree), "RESTORER_CONFIG": str(Path(folder) / "config")}
        # Where the tree's own compiled modules could not be kept, each run would compile them again.
        environment["PYTHONDONTWRITEBYTECODE"] = "1" if unpacked else ""
        if unpacked:
            environment["PYTHONPYCACHEPREFIX"] = str(Path(folder) / "compiled")
        command = [sys.executable, "-m", "restorer", str(photo), "-o", f"{folder}/out.png", *FIRST]
        return run(command, environment, folder)  # the working folder comes before every source tree
