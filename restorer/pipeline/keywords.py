"""The options as keywords of `Restorer`, for type checkers and editors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import TypedDict


class OptionFields(TypedDict, total=False):
    """The fields of `Options` that `Restorer(model, **options)` takes, for type checkers; a test keeps them equal."""

    scale: float
    long_side: int | None
    megapixels: float | None
    print: str | None
    fidelity: float | str | None
    strength: float
    faces: str | int | Sequence[int]
    face: str | Sequence[str] | Sequence[float] | Sequence[Sequence[float]]
    adjust: str | Sequence[str] | Mapping[int, Mapping[str, float | str]]
    min_face: float | None
    max_faces: int | None
    min_score: float
    min_likeness: float | None
    reference: str | PathLike[str] | Sequence[str | PathLike[str]]
    aligned: bool
    prior: str | None
    task: str | None
    hole: str | None
    variants: int
    steps: int | None
    time_limit: float | None
    always: bool
    repair: str
    damage: str | None
    save_mask: bool
    tone: str
    colorize: str
    color_strength: float
    clean: str | None
    device: str
    engine: str
    precision: str
    batch_size: int | None
    low_memory: bool
    tile: int | None
    match_color: bool
    grain: bool
    seed: int | None
    format: str
    quality: int | None
    strip_metadata: bool
    layers: bool
    offline: bool
    license: str
    fallback: bool
