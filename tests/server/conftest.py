"""Photos and services for the tests of the server; parts that need no weights stand in for networks."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from restorer.options import Options
from restorer.pipeline.components import Components
from restorer.server.limits import Limits
from restorer.server.service import Service
from tests.support.parts import Colour, Detector, Everything, face_at

PLAIN = Options(model="none", background="lanczos", offline=True)
BROKEN = b"\x89PNG\r\n\x1a\n" + bytes(300)
"""A file that begins as a picture does, and is none."""
Start = Callable[..., Service]


def picture(size: tuple[int, int] = (96, 64), seed: int = 0, format: str = "PNG") -> bytes:
    """Return a small picture's file, smooth and in colours."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(60, 200, (6, 6, 3)).astype(np.uint8))
    stream = io.BytesIO()
    small.resize(size, Image.Resampling.BICUBIC).save(stream, format)
    return stream.getvalue()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start services, and end them after the test."""
    started: list[Service] = []

    def begin(options: Options = PLAIN, *, limits: Limits | None = None, out: Path | None = None) -> Service:
        service = Service(options, limits=limits, out=out, parent=tmp_path)
        started.append(service)
        return service

    yield begin
    for service in started:
        service.close()


@pytest.fixture
def two_faces(monkeypatch: pytest.MonkeyPatch) -> Colour:
    """Let every photo have two faces, which are painted red; return what paints them."""
    painter = Colour()
    found = Detector([face_at((40, 50), 16), face_at((110, 50), 16)])
    for name, part in (("detector", found), ("face_model", painter)):
        monkeypatch.setattr(Components, name, lambda _self, part=part: part)
    monkeypatch.setattr(Components, "mask", lambda _self: (Everything(), None))
    return painter
