"""An album with everything that albums have, restored undisturbed, and then killed again and again.

    python -m restorer.bench album
    python -m restorer.bench album PHOTO... --side 400 --kills 50 --seed 3

300 photos (crops of the given ones, reduced), nested, copied, with odd names, 12 of them broken, with a Thumbs.db and
its like among them, are restored by the built-in model: once undisturbed, and once killed at twenty random moments and
started again each time. Then the pictures must be the same to the byte, nothing may be left but them and the journal,
nothing may have been restored twice but what was in hand at a kill, and the time that was said to be left must have
been right within 30 % from one fifth of the way on. That is judged in processor seconds, since other programs may take
a share of the machine that nobody can foretell; what it was by the clock is shown too.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from restorer.batch.journal import NAME
from restorer.bench.tools.albums import SIDE_FILES, Album, album, files, photographs
from restorer.bench.tools.watching import Moment, Run, run

GOOD, BROKEN, KILLS, SIDE = 288, 12, 20, 160
PLACE = ("--offline", "--device", "cpu")
"""On a CPU the bytes of a photo never depend on its neighbours."""
OPTIONS = ("--model", "tiny", *PLACE)
IN_FLIGHT = 2
"""Photos that a kill may cost: one that is being restored, and one that is being written."""
STEPS = 5
"""Changes to the disk that a photo makes, about."""
OFF, SETTLED, ENDING, ROUNDING = 0.3, 0.2, 0.9, 1.0
"""How far off an estimate may be, from which share of the time on, until which, and the seconds it is rounded by."""

_LEFT = re.compile(r"^(\d+) of \d+ photos, about (.+) left\.$")
_UNITS = {"ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0}


# ------------------------------------------------------------------------------------------------- undisturbed


def check_results(made: Album, done: Run, out: Path) -> list[str]:
    """Return what is wrong with an undisturbed run: outputs, named failures, exit code, noise, what is left."""
    problems = []
    if done.code != 1:
        problems.append(f"exit code {done.code}, not 1: {done.said[-500:]}")
    status = {record["input"]: record["status"] for record in done.records}
    if len(done.records) != len(made.good) + len(made.broken) or len(status) != len(done.records):
        problems.append(f"{len(done.records)} records of {len(status)} photos, not {len(made.good) + len(made.broken)}")
    failed = {name for name, how in status.items() if how == "failed"}
    if failed != {str(made.folder / path) for path in made.broken}:
        problems.append(f"these failed: {sorted(failed)}")
    summary = done.said[done.said.rfind(f"{len(made.good)} photos restored") :]
    if f"{len(made.broken)} failed" not in summary or not all(path.name in summary for path in made.broken):
        problems.append("the summary does not name every failure")
    problems += [f"{name} was spoken of" for name in SIDE_FILES if name in done.said]
    results = files(out)
    if results.pop(NAME, None) is None:
        problems.append("there is no journal")
    if len(results) != len(made.good):
        problems.append(f"{len(results)} files beside the journal, not {len(made.good)}")
    if {Path(name).parent for name in results} != {path.parent for path in made.good}:
        problems.append("the tree is not that of the photos")
    return problems


@dataclass
class Foretold:
    """How far off the time was that was said to be left, as a share of what was left.

    Attributes:
        worst: at most, in processor seconds.
        worst_by_clock: at most, in seconds of the clock.
        count: how often it was said between a fifth and nine tenths of the work.
        problems: what was beyond the limit.
    """

    worst: float = 0.0
    worst_by_clock: float = 0.0
    count: int = 0
    problems: list[str] = field(default_factory=list)


def check_estimate(done: Run) -> Foretold:
    """Return how right the run was about the time that it had left."""
    begin = next((at for at, line in done.lines if re.match(r"^\d+ photos: ", line)), None)
    if begin is None:
        return Foretold(problems=["nothing was said before the run"])
    end = next((at for at, line in done.lines if re.match(r"^\d+ photos? restored", line)), done.seconds)
    first, last = done.spent(begin), done.spent(end)
    found = Foretold()
    for at, line in done.lines:
        match, now = _LEFT.match(line), done.spent(at)
        if match is None or not SETTLED <= (now - first) / (last - first) <= ENDING:
            continue
        left, true, pace = seconds_of(match[2]), last - now, (now - first) / (at - begin)
        off = max(abs(left - true / pace) - ROUNDING, 0.0) / (true / pace)
        found.count += 1
        found.worst = max(found.worst, off)
        found.worst_by_clock = max(found.worst_by_clock, max(abs(left - (end - at)) - ROUNDING, 0.0) / (end - at))
        if off > OFF:
            share = (now - first) / (last - first)
            found.problems.append(
                f"after {share:.0%} of the work {left:.0f} s were said, {true / pace:.0f} s were left"
            )
    if not found.count:
        found.problems.append("the time left was never said")
    return found


def seconds_of(words: str) -> float:
    """Return the seconds of a duration in words: "3 min 20 s"."""
    parts = words.split()
    return sum(float(value) * _UNITS[unit] for value, unit in zip(parts[::2], parts[1::2], strict=True))


# ------------------------------------------------------------------------------------------------------ killed


@dataclass
class Killed:
    """How the runs went that were killed, and the last one, which was not.

    Attributes:
        moments: when each was killed.
        runs: the killed ones and the last one.
        again: restorations of photos that had been begun before.
        early: kills before any photo was begun.
        problems: what is wrong.
    """

    moments: list[Moment] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    again: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def early(self) -> int:
        return sum(not each.begun for each in self.runs[:-1])


def kill_and_rerun(
    made: Album, folder: Path, calm: Run, kills: int, seed: int, options: Sequence[str] = OPTIONS
) -> Killed:
    """Restore an album into FOLDER/out, killed so often, and compare with FOLDER/calm, where an undisturbed run was."""
    result, rng, out = Killed(), random.Random(seed), folder / "out"
    arguments = (str(made.folder), "-o", "out", *options)
    expected = {name: content for name, content in files(folder / "calm").items() if name != NAME}
    before: dict[str, tuple[int, int]] = {}
    for number in range(kills):
        moment = _moment(rng, number, calm, share=(len(expected) - len(before)) / len(expected) / (kills - number + 1))
        done = run(folder, arguments, moment)
        result.moments.append(moment)
        result.runs.append(done)
        if done.code != -9:
            result.problems.append(f"kill {number + 1} came too late: exit code {done.code}: {done.said[-500:]}")
            break
        for name, content in files(out).items() if out.exists() else ():
            if name != NAME and not name.endswith(".part") and content != expected.get(name):
                result.problems.append(f"kill {number + 1} left {name!r}, which is no finished result")
        before = _compared(before, out, result.problems)
    last = run(folder, arguments)
    result.runs.append(last)
    if (last.code, last.count("failed")) != (1, len(made.broken)):
        result.problems.append(
            f"the last run ended with {last.code}, {last.count('failed')} failed: {last.said[-500:]}"
        )
    _compared(before, out, result.problems)
    _check_twice(made, result)
    left = files(out)
    result.problems += [] if left.pop(NAME, None) is not None else ["there is no journal"]
    result.problems += [f"{name!r} is left over" for name in sorted(left.keys() - expected.keys())]
    result.problems += [f"{name!r} is missing" for name in sorted(expected.keys() - left.keys())]
    same = expected.keys() & left.keys()
    result.problems += [f"{name!r} differs" for name in sorted(same) if left[name] != expected[name]]
    return result


def _moment(rng: random.Random, number: int, calm: Run, share: float) -> Moment:
    """Return when to kill next, so that about a `share` of the album is done until then.

    Moments are counted in photos and their changes to the disk: a machine is quick at one time and slow at another.
    """
    first, most = calm.first or 0.0, max(1, round(1.6 * share * len(calm.begun)))
    kind = number % 4
    if kind in (0, 2):
        return Moment(step=rng.randint(1, STEPS * most))
    photos, delay = rng.randint(1, most), rng.uniform(0, 2 * (calm.seconds - first) / len(calm.begun))
    return Moment(photos=photos, delay=delay, seconds=rng.uniform(0, first) if kind == 3 else None)


def _compared(before: dict[str, tuple[int, int]], out: Path, problems: list[str]) -> dict[str, tuple[int, int]]:
    """Return what each result is on the disk; a problem for each that was there before and is another file now."""
    found = {}
    for path in out.rglob("*") if out.exists() else ():
        if path.is_file() and path.name != NAME and path.suffix != ".part":
            told = path.stat()
            found[path.relative_to(out).as_posix()] = (told.st_ino, told.st_mtime_ns)
    problems += [f"{name!r} was written again" for name, was in before.items() if found.get(name) != was]
    return found


def _check_twice(made: Album, result: Killed) -> None:
    """Count what was restored again; only what was in flight at a kill may have been."""
    seen: Counter[str] = Counter()
    for done in result.runs:
        result.again += sum(seen[photo] > 0 for photo in done.begun)
        seen.update(done.begun)
    for number, done in enumerate(result.runs[:-1]):
        later = {photo for each in result.runs[number + 1 :] for photo in each.begun}
        for photo in sorted(later & set(done.begun[:-IN_FLIGHT])):
            result.problems.append(f"{photo} was restored again, although it was not in flight at kill {number + 1}")
    reported = Counter(r["input"] for each in result.runs for r in each.records if r["status"] == "ok")
    result.problems += [f"{photo} was reported {count} times" for photo, count in reported.items() if count > 1]
    if len(seen) != len(made.good):
        result.problems.append(f"{len(seen)} photos were begun, not {len(made.good)}")


# ----------------------------------------------------------------------------------------------------- command


def main(arguments: Sequence[str]) -> int:
    """Print what was checked; return 1 when something was wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m restorer.bench album",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("photos", type=Path, nargs="*", help="photos to take crops of; default: that of restore demo")
    parser.add_argument("--side", type=int, default=SIDE, help=f"pixels of the longer side (default {SIDE})")
    parser.add_argument("--good", type=int, default=GOOD, help=f"photos that are whole (default {GOOD})")
    parser.add_argument("--broken", type=int, default=BROKEN, help=f"broken ones (default {BROKEN})")
    parser.add_argument("--kills", type=int, default=KILLS, help=f"how often to kill (default {KILLS})")
    parser.add_argument("--seed", type=int, default=0, help="of names, crops and moments (default 0)")
    parser.add_argument("--model", default="tiny", help="of the runs (default tiny)")
    parser.add_argument("--folder", type=Path, help="where to work, and leave all; default: a temporary folder")
    parser.add_argument("--json", type=Path, help="file for the figures")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(given.folder or temporary).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            parser.error(f"{folder} is not empty")
        rows = torture(given, folder)
    for title, figure, problems in rows:
        print(f"{title:26}{figure:58} {'FAILED' if problems else 'ok'}")
        for problem in problems[:5]:
            print(f"    {problem}")
        if len(problems) > 5:
            print(f"    and {len(problems) - 5} more")
    if given.json:
        told = [{"check": title, "figure": figure, "problems": problems} for title, figure, problems in rows]
        given.json.write_text(json.dumps(told, indent=1) + "\n")
    return 1 if any(problems for _, _, problems in rows) else 0


def torture(given: argparse.Namespace, folder: Path) -> list[tuple[str, str, list[str]]]:
    """Make the album and do all that the page above says; return (check, figure, problems) for each."""
    options = ("--model", given.model, *PLACE)
    print("making the album ...", file=sys.stderr)
    made = album(
        folder / "album", given.good, given.broken, given.seed, photographs(_sources(given.photos), given.side)
    )
    photos = files(made.folder)
    print("an undisturbed run ...", file=sys.stderr)
    calm = run(folder, (str(made.folder), "-o", "calm", *options), every=0.5)
    wrong = check_results(made, calm, folder / "calm")
    told = check_estimate(calm)
    off = f"at worst {told.worst:.0%} off, by the clock {told.worst_by_clock:.0%}; said {told.count} times"
    outcome = f"{calm.count('ok')} outputs, {calm.count('failed')} failures named, exit {calm.code}"
    rows = [
        ("undisturbed", f"{calm.seconds:.0f} s, {outcome}", wrong),
        ("time left, from 1/5 on", off, told.problems),
    ]
    if wrong:
        return rows
    print(f"{given.kills} runs that are killed ...", file=sys.stderr)
    killed = kill_and_rerun(made, folder, calm, given.kills, given.seed, options)
    kills = len(killed.runs) - 1
    changed = [] if files(made.folder) == photos else ["the album itself was changed"]
    seconds = sum(each.seconds for each in killed.runs)
    inside = sum(bool(each.step) for each in killed.moments)
    return [
        *rows,
        ("killed", f"{kills} times ({inside} at a change to the disk, {killed.early} before a photo)", killed.problems),
        ("restored again", f"{killed.again} photos, at most {IN_FLIGHT * kills} in flight; {seconds:.0f} s in all", []),
        ("the photos themselves", "unchanged" if not changed else "changed", changed),
    ]


def _sources(photos: Sequence[Path]) -> list[Image.Image]:
    """Return the pictures to take crops of."""
    if not photos:
        from restorer.evaluation.ageing import photograph

        return [Image.fromarray(photograph())]
    return [Image.open(path).convert("RGB") for path in photos]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
