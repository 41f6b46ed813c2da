"""A picture format is one module of `restorer.photo.formats`: an imaginary one is added to a copy of the package.

Nothing else is touched, and yet it is found in folders, read, written, asked for by --format, and counted beforehand.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import restorer

PACKAGE = Path(restorer.__file__).parent

PLAIN = '''
"""Plain pictures: a line of words, then RGB as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from restorer.photo.base import EncodeChoices, EncodeInput, Format
from restorer.photo.builder import PhotoBuilder
from restorer.photo.decoding import Decoded, UndecodableError
from restorer.photo.model import Photo


def _size(path: Path) -> tuple[int, int] | None:
    with path.open("rb") as stream:
        _, width, height = stream.readline().split()[:3]
    return int(width), int(height)


def _read(data: bytes) -> Photo:
    line, _, rest = data.partition(b"\\n")
    _, width, height, *told = line.split()
    shape = (int(height), int(width), 3)
    if len(rest) < shape[0] * shape[1] * 3:
        raise UndecodableError("it is cut off before its last pixels")
    builder = PhotoBuilder("PLAIN")
    builder.take_xmp(_find_xmp(data))
    return builder.photo(Decoded(np.frombuffer(rest, np.uint8, count=shape[0] * shape[1] * 3).reshape(shape)))


def _find_xmp(data: Any) -> bytes | None:
    at = data.find(b"<?xpacket begin")
    return bytes(data[at:]) if at >= 0 else None


def _encode(given: EncodeInput, choices: EncodeChoices) -> bytes:
    height, width = given.pixels.shape[:2]
    return f"PLAIN {width} {height}\\n".encode() + given.pixels.tobytes() + (given.xmp or b"")


FORMAT = Format(
    "PLAIN",
    "Plain",
    (".plain",),
    recognise=lambda head: head.startswith(b"PLAIN "),
    read=_read,
    size=_size,
    find_xmp=_find_xmp,
    requests=("plain",),
    encode=_encode,
    max_side=3000,
    holds=frozenset({"xmp"}),
    bytes_per_pixel=3.0,
    encoding_seconds=0.01,
    compressed=False,
)
'''


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the package, whose formats have one more file."""
    root = tmp_path_factory.mktemp("copy")
    package = root / "restorer"
    package.mkdir()
    for entry in PACKAGE.iterdir():
        if entry.name != "photo":
            (package / entry.name).symlink_to(entry, target_is_directory=entry.is_dir())
    (root / "weights.toml").symlink_to(PACKAGE.parent / "weights.toml")
    shutil.copytree(PACKAGE / "photo", package / "photo", ignore=shutil.ignore_patterns("__pycache__"))
    (package / "photo" / "formats" / "plain.py").write_text(PLAIN, "utf-8")
    return root


DRIVER = """
import contextlib, io, json, sys
from restorer.cli import main
for line in sys.stdin:
    out, err, code = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main([*json.loads(line), "--offline", "--model", "none", "--background", "lanczos"])
        except SystemExit as ended:
            code = ended.code or 0
    print(json.dumps([code, out.getvalue(), err.getvalue()]))
"""


def run(copy: Path, *commands: list[str], code: int = 0) -> list[str]:
    """Carry out commands by the copied package, in one process; return what each printed, errors behind the rest."""
    lines = "".join(json.dumps(command) + "\n" for command in commands)
    done = python(copy, DRIVER, lines)
    texts = []
    for command, line in zip(commands, done.splitlines(), strict=True):
        ended, out, err = json.loads(line)
        assert ended == code, (command, out, err)
        texts.append(out + err)
    return texts


def python(copy: Path, script: str, given: str = "") -> str:
    environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, input=given, capture_output=True, text=True, env=environment, cwd=copy, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_is_found_read_written_and_recognised_when_it_is_done(copy: Path, tmp_path: Path) -> None:
    album, out = tmp_path / "album", tmp_path / "out"
    album.mkdir()
    (album / "a.plain").write_bytes(b"PLAIN 32 24\n" + bytes(range(48)) * 48)
    first, again = run(copy, *[[str(album), "-o", str(out), "--json"]] * 2)
    record = json.loads(first.splitlines()[0])
    assert (record["status"], record["input_size"], record["output_size"]) == ("ok", [32, 24], [64, 48])
    assert (out / "a_restored.plain").read_bytes().startswith(b"PLAIN 64 48\n")
    assert json.loads(again.splitlines()[0])["status"] == "skipped"
    # By its content alone, and by the note in its own result.
    shutil.copy(album / "a.plain", album / "without a name")
    shutil.copy(out / "a_restored.plain", album / "a result.plain")
    (text,) = run(copy, [str(album), "-o", str(tmp_path / "o2"), "--json"])
    records = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    assert {Path(record["input"]).name for record in records} == {"a.plain", "without a name"}


def test_it_is_asked_for_by_name_and_by_suffix(copy: Path, tmp_path: Path) -> None:
    source, png = tmp_path / "a.plain", str(tmp_path / "b.png")
    source.write_bytes(b"PLAIN 32 24\n" + bytes(32 * 24 * 3))
    run(
        copy,
        [str(source), "-o", png],
        [png, "-o", str(tmp_path), "--format", "plain", "--name", "c"],
        [png, "-o", str(tmp_path / "d.plain")],
    )
    assert (tmp_path / "c.plain").read_bytes()[:12] == (tmp_path / "d.plain").read_bytes()[:12] == b"PLAIN 128 96"
    (refused,) = run(copy, [png, "-o", str(tmp_path), "--format", "plane"], code=2)
    assert "plain" in refused


def test_its_limits_its_costs_and_its_damage_are_known(copy: Path, tmp_path: Path) -> None:
    script = """
from restorer.batch.estimate import expected_bytes
from restorer.photo import PICTURE_SUFFIXES, format_requests
from restorer.cli.declared import names_of
print(expected_bytes("PLAIN", 1000, 2.0), ".plain" in PICTURE_SUFFIXES)
print("plain" in format_requests(), "plain" in names_of("picture format"))
"""
    assert python(copy, script).split() == ["3000.0", "True", "True", "True"]
    (tmp_path / "wide.plain").write_bytes(b"PLAIN 1600 2\n" + bytes(1600 * 2 * 3))
    (tmp_path / "cut.plain").write_bytes(b"PLAIN 32 24\nabc")
    out = str(tmp_path / "out.plain")
    large, cut = run(copy, *([str(tmp_path / name), "-o", out] for name in ("wide.plain", "cut.plain")), code=1)
    assert "at most 3,000 px a side" in large
    assert "cut off" in cut
