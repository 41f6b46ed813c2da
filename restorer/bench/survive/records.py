"""Whether exit code, records, messages and files of a run say the same; walked over after every run of the campaign."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from restorer.batch.journal import NAME
from restorer.bench.survive.running import Ran
from restorer.errors import PhotoError
from restorer.photo import read_photo

FIELDS = frozenset(
    {"input", "output", "status", "model", "detector", "background", "scale", "input_size", "output_size", "device"}
    | {"precision", "seconds", "faces", "warnings", "error"}
)
"""What every record has."""
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\x9b\u202a-\u202e\u2066-\u2069]")
_NEVER = ("Traceback (most recent call last)", "Warning: ", "Segmentation fault", "Aborted")


def digests(folder: Path) -> dict[str, str]:
    """Return the hash of each file below a folder, and where each link leads, by its path seen from there."""
    found = {}
    for place, _, names in os.walk(folder):
        for name in names:
            path = Path(place, name)
            seen = os.path.relpath(path, folder)
            if path.is_symlink():
                found[seen] = f"-> {path.readlink()}"
            elif path.is_file():
                found[seen] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def check(ran: Ran, folder: Path, photos: Iterable[str], *, lines: bool = True) -> list[str]:
    """Return what does not agree in a run that was not disturbed.

    Args:
        ran: the run, with `--json`.
        folder: where it worked.
        photos: the paths that it was to take, as its records name them.
        lines: whether each failure must stand among its messages.
    """
    problems = said(ran)
    inputs = [record["input"] for record in ran.records]
    if sorted(set(inputs)) != sorted(set(photos)):
        missing, more = set(photos) - set(inputs), set(inputs) - set(photos)
        problems.append(f"no record of {sorted(missing)[:3]}, records of {sorted(more)[:3]}")
    for record in ran.records:
        problems += of_one(record, folder)
        if lines and record["status"] == "failed" and _plain(record["error"]["message"]) not in _plain(ran.err):
            problems.append(f"{record['input']}: its error is not among the messages")
    failed = sum(record["status"] == "failed" for record in ran.records)
    if ran.code != (1 if failed else 0):
        problems.append(f"exit code {ran.code} with {failed} failed photos")
    return problems


def said(ran: Ran) -> list[str]:
    """Return what must never be printed and was, and other signs of a run that went wrong as a whole."""
    problems = []
    if ran.hung:
        problems.append(f"it did not end within {ran.seconds:.0f} s")
    elif ran.code < 0:
        problems.append(f"it was ended by the signal {-ran.code}")
    elif ran.code not in (0, 1, 2, 3, 4, 130):
        problems.append(f"exit code {ran.code}")
    for sign in _NEVER:
        if sign in ran.out + ran.err:
            at = (ran.out + ran.err).index(sign)
            problems.append(f"it printed {(ran.out + ran.err)[at : at + 2000]!r}")
    if found := _CONTROL.search(ran.err):
        problems.append(f"control characters on the screen: {ran.err[max(found.start() - 40, 0) : found.end()]!r}")
    return problems


def of_one(record: Mapping[str, Any], folder: Path) -> list[str]:
    """Return what does not agree within one record, and with the file that it names."""
    name, status, error, output = record.get("input"), record.get("status"), record.get("error"), record.get("output")
    problems = []
    if missing := FIELDS - record.keys():
        problems.append(f"{name}: it lacks {', '.join(sorted(missing))}")
    if status not in ("ok", "failed", "skipped"):
        problems.append(f"{name}: the status {status!r}")
    if (status == "failed") != (error is not None):
        problems.append(f"{name}: {status} with the error {error}")
    if error is not None and not (error.get("kind") and error.get("message") and error.get("remedy")):
        problems.append(f"{name}: an error without kind, message or remedy: {error}")
    if status == "failed" and output is not None:
        problems.append(f"{name}: failed, with the output {output}")
    if status == "ok":
        problems += _of_result(record, folder)
    for face in record.get("faces", ()):
        if not face["restored"] and not face["reason"]:
            problems.append(f"{name}: a face that is not restored, without a reason")
    return problems


def _of_result(record: Mapping[str, Any], folder: Path) -> list[str]:
    output = record.get("output")
    if not output:
        return [f"{record['input']}: ok, without an output"]
    try:
        photo = read_photo(folder / output)
    except PhotoError as error:
        return [f"{record['input']}: ok, and its result cannot be read: {error}"]
    if list(photo.size) != list(record["output_size"]):
        return [f"{record['input']}: its result is {photo.size}, and the record says {record['output_size']}"]
    return []


def journal(out: Path) -> list[str]:
    """Return what is wrong with the journal of a folder: lines that are none, results that are not there."""
    problems, path = [], out / NAME
    if not path.exists():
        return []
    for line in path.read_bytes().split(b"\n")[:-1]:
        if not line:
            continue
        try:
            told = json.loads(line)
        except ValueError:
            continue  # of a run that was killed in the midst of it; it is passed over
        if told.get("status") == "ok" and not (out / told["result"]).exists():
            problems.append(f"the journal knows of {told['result']}, which is not there")
    return problems


def _plain(text: str) -> str:
    return " ".join(text.split())
