"""Changed files that are chosen by what they reach: coverage-guided, by atheris, on the parsers of `restorer.photo`.

A file that gets to a line, or a branch, which none before it got to is kept, and changed again. Half of the changes are
those of `mutating`, which know a format's parts; the others are libFuzzer's. Needs atheris (`pip install atheris`),
which is made for Linux and macOS; each format has a process of its own, for so many seconds.

    python -m restorer.bench.survive.guided JPEG 7 600 FOLDER
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from restorer.bench.survive.counting import Tally

if TYPE_CHECKING:
    from restorer.bench.survive.campaign import Plan

MISSING = "not tried: atheris is not installed"
_LONGEST = 20_000  # bytes of a file
_LEAST = 5.0  # seconds for a format
_MORE = 120.0  # seconds beyond its own after which a process hangs


def attempt(plan: Plan) -> Tally:
    """Try every format for its share of the time."""
    from restorer.bench.survive.samples import kinds

    tally = Tally("guided")
    if importlib.util.find_spec("atheris") is None:
        tally.notes[MISSING] = 1
        return tally
    names = kinds()
    for kind in names:
        try_kind(kind, plan, max(plan.seconds / len(names), _LEAST), tally)
    return tally


def try_kind(kind: str, plan: Plan, seconds: float, tally: Tally) -> None:
    """Let files of a format be tried in a process of their own, and count them."""
    (folder := plan.folder / kind).mkdir()
    words = [sys.executable, "-m", __name__, kind, str(plan.seed), str(int(seconds)), str(folder)]
    try:
        ran = subprocess.run(words, capture_output=True, timeout=10 * (seconds + _MORE), check=False)
    except subprocess.TimeoutExpired as error:
        tally.lose(kind, f"{kind}-{plan.seed}", f"it did not end: {(error.stderr or b'')[-500:]!r}")
        return
    said = ran.stderr.decode("utf-8", "replace")
    tried = re.search(r"stat::number_of_executed_units: (\d+)", said)
    reached = re.findall(r"cov: (\d+) ft: (\d+)", said)
    tally.outcomes[f"{kind}: survived"] += int(tried[1]) if tried else 0
    tally.notes[f"places reached, {kind}"] = int(reached[-1][0]) if reached else 0
    slowest = re.search(r"stat::slowest_unit_time_sec: +(\d+)", said)
    if slowest:
        tally.seconds = max(tally.seconds, (float(slowest[1]), kind))
    if ran.returncode != 0 or not tried:
        tally.lose(kind, f"{kind}-{plan.seed}", f"exit code {ran.returncode}: {_harm(said)}")
        for found in folder.glob("found-*"):
            if plan.keep is not None:
                plan.keep.mkdir(parents=True, exist_ok=True)
                (plan.keep / f"{kind}-{plan.seed}-{found.name}").write_bytes(found.read_bytes())


def _harm(said: str) -> str:
    """Return the traceback, or the error, in what a process said."""
    places = [said.find(sign) for sign in ("Uncaught Python exception", "ERROR: ")]
    at = next((place for place in places if place >= 0), 0)
    return said[at : at + 3000]


def main(arguments: list[str]) -> None:
    """Be the process of a format; never returns.

    Args:
        arguments: the format, the seed, seconds, and a folder for its files.
    """
    kind, seed, seconds, place = arguments[0], int(arguments[1]), int(arguments[2]), Path(arguments[3])
    atheris: Any = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["restorer.photo"]):
        pictures = importlib.import_module("restorer.bench.survive.pictures")
    import numpy as np

    from restorer.bench.survive import mutating, sandbox
    from restorer.bench.survive.samples import SUFFIXES, samples

    (corpus := place / "corpus").mkdir()
    for number, data in enumerate(samples(kind)):
        (corpus / f"{number}").write_bytes(data)
    file, count = place / f"a{SUFFIXES[kind]}", iter(range(1 << 62))

    def one(data: bytes) -> None:
        file.write_bytes(data)
        pictures.put_through(file, next(count))

    def change(data: bytes, most: int, number: int) -> bytes:
        rng = np.random.default_rng(number)
        if rng.integers(2):
            return bytes(atheris.Mutate(data, most))
        return mutating.changed(data, kind, rng)[:most]

    options = {
        "max_total_time": seconds, "seed": seed + 1, "max_len": _LONGEST, "timeout": int(sandbox.LIMIT_SECONDS * 4),
        "rss_limit_mb": 0, "malloc_limit_mb": 0, "print_final_stats": 1, "artifact_prefix": f"{place}/found-",
    }  # fmt: skip
    sandbox.limit_memory(pictures.MEMORY)
    given = [sys.argv[0], *(f"-{name}={value}" for name, value in options.items()), str(corpus)]
    atheris.Setup(given, one, custom_mutator=change)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1:])
