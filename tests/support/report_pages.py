"""Pages for the tests of the report: photos whose colours tell before from after."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from restorer.photo import Photo, photo_from_array
from restorer.report.writer import Report

BEFORE = (200, 30, 30)
AFTER = (30, 30, 200)


def plain(colour: tuple[int, int, int], size: tuple[int, int] = (300, 200)) -> Photo:
    """Return a photo of one colour."""
    return photo_from_array(np.full((size[1], size[0], 3), colour, np.uint8))


def record(name: str = "a.jpg", **changes: Any) -> dict[str, Any]:
    """Return the record of a photo that went well, with two faces, one of them left alone."""
    faces = [
        {"box": [60, 50, 110, 110], "landmarks": [], "score": 0.99, "restored": True, "reason": None},
        {"box": [180, 60, 200, 85], "landmarks": [], "score": 0.93, "restored": False, "reason": "not chosen"},
    ]
    return {
        "input": name, "output": f"out/{name}", "status": "ok", "model": "gfpgan-1.4", "detector": "retinaface-r50",
        "background": "lanczos", "mask": "ParseNetMask", "scale": 2.0, "input_size": [300, 200],
        "output_size": [600, 400], "device": "cpu", "precision": "bf16",
        "seconds": {"total": 3.25, "detect": 0.5, "restore": 2.0}, "faces": faces, "warnings": [], "error": None,
        "reason": None, **changes,
    }  # fmt: skip


def failed(name: str = "bad.jpg") -> dict[str, Any]:
    """Return the record of a photo that failed."""
    error = {"kind": "UnreadablePhoto", "message": f"{name} is truncated.", "remedy": "Copy it again."}
    return record(name, status="failed", output=None, error=error, faces=[], output_size=None)


def page(path: Path, *names: str) -> Path:
    """Write a page with some photos, then one that failed; return its file."""
    report = Report(path, photos=len(names) + 1)
    for name in names:
        report.add(record(name, warnings=["The format holds no alpha."]), plain(BEFORE), plain(AFTER, (600, 400)))
    report.add(failed())
    return report.write()
