"""Files with changed bytes are read or refused in words, whatever they are written as; nothing else comes of them."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import pytest

from restorer.errors import PhotoError
from restorer.photo import FORMATS as WRITTEN
from restorer.photo import read_note, read_photo, write_photo
from restorer.photo.header import read_header
from tests.support.in_process import restore
from tests.support.mutations import FORMATS, SUFFIXES, mutated, samples
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


@pytest.mark.parametrize("format", FORMATS)
def test_the_files_themselves_are_sound(format: str, tmp_path: Path) -> None:
    for data in samples(format):
        for target in TARGETS:
            assert put_through(data, tmp_path / f"a{SUFFIXES[format]}", target) == "read"


def run(format: str, count: int, seed: int, folder: Path) -> None:
    outcomes = {"read": 0, "refused": 0}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for number, data in enumerate(mutated(format, count, seed)):
            target = TARGETS[number % len(TARGETS)]
            outcomes[put_through(data, folder / f"a{SUFFIXES[format]}", target)] += 1
    assert min(outcomes.values()) > count // 20, outcomes  # both ways were taken, or the changes tried nothing


@pytest.mark.parametrize("format", FORMATS)
def test_changed_bytes(format: str, tmp_path: Path) -> None:
    run(format, 60, 1, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("format", FORMATS)
def test_a_thousand_changed_files(format: str, tmp_path: Path) -> None:
    run(format, 1000, 2, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("format", FORMATS)
def test_a_thousand_changed_files_by_the_command(
    format: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = mutated(format, 1000, 3)
    for number in range(10):
        folder, out = tmp_path / f"in{number}", tmp_path / f"out{number}"
        folder.mkdir()
        for index in range(100):
            (folder / f"{index:03}{SUFFIXES[format]}").write_bytes(next(files))
        (folder / f"good{SUFFIXES[format]}").write_bytes(samples(format)[0])
        arguments = ["--offline", "--model", "none", "--background", "lanczos", "-o", str(out)]
        done = restore(capsys, str(folder), *arguments, code=None)
        assert done.code in (0, 1)
        assert "Traceback" not in done.out + done.err
        assert "Warning:" not in done.err
        assert len(list(out.glob("good*"))) == 1
