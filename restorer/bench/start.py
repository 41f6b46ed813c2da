"""How long commands take that restore nothing: the least of several runs, wall and processor seconds.

    python -m restorer.bench start --runs 9 --json start.json

The least is what the command costs; the rest is what else the machine did meanwhile.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from restorer.bench.tools.running import run

COMMANDS = (
    ("--version",),
    ("--help",),
    ("completion", "suggest", "--", "--model", "g"),
    ("models", "list"),
    ("config",),
)


def main(arguments: Sequence[str]) -> int:
    """Measure, print a line a command, and write the figures as JSON where that is asked for."""
    parser = argparse.ArgumentParser(prog="python -m restorer.bench start", description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args(arguments)
    figures = {}
    for command in COMMANDS:
        runs = [run([sys.executable, "-m", "restorer", *command]) for _ in range(given.runs)]
        seconds, processor = min(each.seconds for each in runs), min(each.processor_seconds for each in runs)
        name = " ".join(("restore", *command))
        figures[name] = {"seconds": seconds, "processor_seconds": processor}
        print(f"{name:48}{seconds:8.2f} s{processor:8.2f} processor seconds")
    if given.json:
        given.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return 0
