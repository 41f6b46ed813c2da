"""What several photos at once bring: a folder restored by `--jobs` and `--threads` in several ways, in turns.

    python -m restorer.bench jobs PHOTO... --ways 1x2 2x1 2x2 --rounds 3 --json jobs.json

A way is JOBSxTHREADS. Each is a command of its own, from process start to its end, over copies of the photos. What is
printed: the median of its seconds, its processor seconds and its peak of memory, and whether its results are the same
bytes as those of the first way with as many threads.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from restorer.bench.tools.running import Finished, Weights, restore, weight_file

Way = tuple[int, int]
"""Photos at once, and threads of each."""


def way(text: str) -> Way:
    """Read JOBSxTHREADS of a command line."""
    jobs, _, threads = text.partition("x")
    if not (jobs.isdecimal() and threads.isdecimal() and int(jobs) and int(threads)):
        raise argparse.ArgumentTypeError(f"{text!r} is not JOBSxTHREADS, such as 2x1")
    return int(jobs), int(threads)


def measure(
    album: Path, ways: Sequence[Way], rounds: int, folder: Path, environment: Mapping[str, str], options: Sequence[str]
) -> list[dict[str, Any]]:
    """Restore a folder in each way in turns, and return the figures of each.

    Args:
        album: the folder.
        ways: how.
        rounds: how many times.
        folder: where results go.
        environment: variables of the commands.
        options: of the commands.
    """
    done: dict[Way, list[Finished]] = {each: [] for each in ways}
    made: dict[Way, dict[str, bytes]] = {}
    for _ in range(rounds):
        for each in ways:
            out = folder / f"out-{each[0]}x{each[1]}"
            more = ("--jobs", str(each[0]), "--threads", str(each[1]))
            done[each].append(restore([album], out, environment, *options, *more))
            made[each] = {path.name: path.read_bytes() for path in sorted(out.iterdir()) if path.name[0] != "."}
    first = {threads: made[jobs, threads] for jobs, threads in reversed(list(made))}
    return [
        {
            "jobs": each[0],
            "threads": each[1],
            "photos": len(made[each]),
            "seconds": statistics.median(run.seconds for run in runs),
            "processor_seconds": statistics.median(run.processor_seconds for run in runs),
            "peak_mib": max(run.peak_mib for run in runs),
            "same_bytes": made[each] == first[each[1]],
        }
        for each, runs in done.items()
    ]


def main(arguments: Sequence[str]) -> int:
    """Print what was measured; 1 where bytes differ that must not."""
    parser = argparse.ArgumentParser(
        prog="python -m restorer.bench jobs",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("photos", type=Path, nargs="+")
    parser.add_argument("--copies", type=int, default=4, help="of each photo")
    parser.add_argument("--ways", type=way, nargs="+", default=[(1, 2), (2, 1)], metavar="JOBSxTHREADS")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--weights", action="append", default=[], metavar="NAME=FILE", help="weights of a table")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "album").mkdir()
        for number in range(given.copies):
            for at, photo in enumerate(given.photos):
                shutil.copyfile(photo, folder / "album" / f"{number:03}-{at}{photo.suffix}")
        weights = Weights(dict(weight_file(text) for text in given.weights), folder)
        environment = weights.environment() if given.weights else {}
        options = ("--model", given.model, "--always")
        figures = measure(folder / "album", given.ways, given.rounds, folder, environment, options)
    for each in figures:
        print(
            f"{each['jobs']} x {each['threads']}: {each['seconds']:.1f} s, {each['processor_seconds']:.1f} processor "
            f"seconds, at most {each['peak_mib']:.0f} MiB, {each['photos']} photos, "
            f"{'the same bytes' if each['same_bytes'] else 'OTHER BYTES'}"
        )
    if given.json:
        given.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return 0 if all(each["same_bytes"] for each in figures) else 1
