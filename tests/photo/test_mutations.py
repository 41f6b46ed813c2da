"""Files with changed bytes are read or refused in words, whatever they are written as; nothing else comes of them.

`python -m restorer.bench survive` does the same to as many as there is time for, and sends them through the command.
"""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import pytest

from restorer.bench.survive.mutating import mutated
from restorer.bench.survive.samples import SUFFIXES, kinds, samples
from restorer.errors import PhotoError
from restorer.photo import FORMATS as WRITTEN
from restorer.photo import read_note, read_photo, write_photo
from restorer.photo.header import read_header
from tests.support.photo_files import NOTE

LARGEST = 2_000_000
TARGETS = [entry.name for entry in WRITTEN.values() if entry.writable]


def put_through(data: bytes, file: Path, target: str) -> str:
    """Do with a file what a run does, and return how it went; anything but our own errors about photos gets out."""
    file.write_bytes(data)
    read_header(file)
    read_note(file)
    try:
        photo = read_photo(file)
    except PhotoError:
        return "refused"
    if photo.size[0] * photo.size[1] > LARGEST:  # a header that lies; writing so much would only take time
        return "read"
    stream = io.BytesIO()
    write_photo(stream, photo.pixels, like=photo, format=target, alpha=photo.alpha, note=NOTE)
    assert read_photo(stream.getvalue()).size == photo.size
    return "read"


@pytest.mark.parametrize("kind", kinds())
def test_the_files_themselves_are_sound(kind: str, tmp_path: Path) -> None:
    for data in samples(kind):
        for target in TARGETS:
            assert put_through(data, tmp_path / f"a{SUFFIXES[kind]}", target) == "read"


def run(kind: str, count: int, seed: int, folder: Path) -> None:
    outcomes = {"read": 0, "refused": 0}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for number, data in enumerate(mutated(kind, seed, case) for case in range(count)):
            target = TARGETS[number % len(TARGETS)]
            outcomes[put_through(data, folder / f"a{SUFFIXES[kind]}", target)] += 1
    assert min(outcomes.values()) > count // 20, outcomes  # both ways were taken, or the changes tried nothing


@pytest.mark.parametrize("kind", kinds())
def test_changed_bytes(kind: str, tmp_path: Path) -> None:
    run(kind, 60, 1, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("kind", kinds())
def test_a_thousand_changed_files(kind: str, tmp_path: Path) -> None:
    run(kind, 1000, 2, tmp_path)
