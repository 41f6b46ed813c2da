"""Albums as people have them: nested folders, copies, odd names, every format, broken files, and files beside them."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

ROOT = Path(__file__).resolve().parents[3]
FOLDERS = ("", "1930s", "1930s/Großmutter im Garten", "weddings & feasts/two\nlines", "日本/東京", "[scans] 100%")
STEMS = (
    *("a b", "Tante Zoë", "o\u0308l", "öl", "line\nend", "-x", "[1]", "~", "{stem}", "%s", "a'b\"c"),
    *("👩\u200d👩\u200d👧", "\u05e9\u05dc\u05d5\u05dd", "IMG", "img"),
)
SUFFIXES = (".jpg", ".png", ".JPEG", ".webp", ".tif", ".bmp")
SIDE_FILES = ("MANIFEST.csv", "Thumbs.db", ".DS_Store", "notes.txt", "desktop.ini")

Draw = Callable[[Path, int, random.Random], object]
"""Writes the photo of a number as a file, in the format of its suffix."""


@dataclass
class Album:
    """Photos below a folder, as paths seen from there."""

    folder: Path
    good: list[Path] = field(default_factory=list)
    broken: list[Path] = field(default_factory=list)


def picture(path: Path, size: tuple[int, int] = (24, 16), seed: int = 0) -> Path:
    """Write a picture of noise in the format of its suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def noise(path: Path, number: int, rng: random.Random) -> None:
    """Write a small picture of noise."""
    picture(path, (rng.randint(8, 40), rng.randint(8, 40)), seed=number)


def photographs(sources: Sequence[Image.Image], side: int) -> Draw:
    """Return what writes random crops of photographs, of which the longer side has `side` pixels."""

    def draw(path: Path, number: int, rng: random.Random) -> None:
        source = sources[number % len(sources)]
        share = rng.uniform(0.7, 1.0)
        width, height = round(source.width * share), round(source.height * share)
        x, y = rng.randint(0, source.width - width), rng.randint(0, source.height - height)
        part = source.crop((x, y, x + width, y + height))
        ImageOps.contain(part, (side, side), Image.Resampling.LANCZOS).save(path)

    return draw


def album(folder: Path, good: int, broken: int, seed: int = 0, draw: Draw = noise) -> Album:
    """Make an album; a tenth of its photos are copies of others, a tenth have names of 200 characters."""
    rng = random.Random(seed)
    made = Album(folder)
    while len(made.good) < good:
        number = len(made.good)
        stem = rng.choice(STEMS) if number % 3 else f"{rng.choice(STEMS)}{number}"
        if number % 10 == 7:
            stem = f"{number:03}" + "x" * 197
        path = folder / rng.choice(FOLDERS) / (stem + SUFFIXES[number % len(SUFFIXES)])
        if path.exists():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        same = [other for other in made.good if other.suffix == path.suffix]
        if number % 10 == 5 and same:
            path.write_bytes((folder / rng.choice(same)).read_bytes())
        else:
            draw(path, number, rng)
        made.good.append(path.relative_to(folder))
    sample = picture(folder / ".hidden.png", (60, 60)).read_bytes()
    contents = (
        b"",
        b"This is a letter, not a picture.",
        sample[:400],
        b"\0" * 500,
        sample[:40] + b"x" * 900,
        b"%PDF-1.4",
    )
    for number in range(broken):
        path = folder / FOLDERS[number % len(FOLDERS)] / f"broken {number}{SUFFIXES[number % len(SUFFIXES)]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(contents[number % len(contents)])
        made.broken.append(path.relative_to(folder))
    for name in SIDE_FILES:
        (folder / name).write_bytes(b"file,repository\n")
    return made


def files(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder, hidden ones too, by its path seen from there."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def command(*arguments: str, module: str = "restorer") -> list[str]:
    """Return the command line of a run in a process of its own."""
    return [sys.executable, "-m", module, *arguments]


def environment() -> dict[str, str]:
    """Return the environment in which a process finds this package wherever it runs; it computes in one thread."""
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": paths, "COLUMNS": "200", "OMP_NUM_THREADS": "1"}
