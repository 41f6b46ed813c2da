"""The choices of one run, checked once, shared by the command, the Python API and the note in every result."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import Any

from restorer.errors import UsageError

NEUTRAL = frozenset({"device", "offline", "batch_size", "tile"})
"""Options that change how a result is made, not what it is; they stay out of its fingerprint."""


@dataclass(frozen=True)
class Options:
    """What a run shall do with each photo.

    Attributes:
        model: "auto", "none" (no face stage at all), a table or alias of a face restorer, or a file of one's own.
        scale: output size over input size, above 0.
        fidelity: 0 = best looking, 1 = closest to the input; None = the model's default. Only where a model has it.
        strength: how much of the restored face is blended over the upscaled original, 0 to 1.
        faces: "all", "largest", "center", or numbers such as "2,5" (as `restore faces` counts).
        min_face: faces whose box is smaller than this many pixels of the photo (its longer side) are left alone.
        max_faces: restore at most this many, the largest first.
        min_score: detections below this score are no faces, 0 to 1.
        min_likeness: a face whose restored version is less like the face in the photo than this is left as it was, 0 to
            1 (see `restorer.faces.likeness`); None = faces are not compared, which needs weights of its own.
        aligned: each photo is one aligned face crop; nothing is detected.
        detector: "auto" or a table whose role is face detector.
        background: "auto", "lanczos" or a table whose role is upscaler.
        device: "auto", "cpu", "cuda", "cuda:N" or "mps".
        precision: "auto", "fp32", "bf16" or "fp16".
        batch_size: faces that are restored together, on a GPU those of several photos; None = by device.
        tile: side of an upscaler's tile in input pixels; None = by network.
        match_color: give restored faces the brightness and colours that the photo has there; a black-and-white photo
            stays so.
        grain: give restored faces the grain that the photo has there.
        seed: draws other noise than the stored one in models that have noise; None = the stored one.
        format: "keep", "png", "jpg", "webp" or "tiff".
        quality: of JPEG, WebP and HEIC, 1 to 100; None = 95, and a lossless WebP stays lossless.
        strip_metadata: drop everything but the colour profile.
        offline: never reach for the network.

    Raises:
        UsageError: a value is out of its range.
    """

    model: str = "auto"
    scale: float = 2.0
    fidelity: float | None = None
    strength: float = 1.0
    faces: str = "all"
    min_face: float | None = None
    max_faces: int | None = None
    min_score: float = 0.9
    min_likeness: float | None = None
    aligned: bool = False
    detector: str = "auto"
    background: str = "auto"
    device: str = "auto"
    precision: str = "auto"
    batch_size: int | None = None
    tile: int | None = None
    match_color: bool = True
    grain: bool = False
    seed: int | None = None
    format: str = "keep"
    quality: int | None = None
    strip_metadata: bool = False
    offline: bool = False

    def __post_init__(self) -> None:
        """Check every range, naming the option as the command spells it."""
        if not (math.isfinite(self.scale) and self.scale > 0):
            raise UsageError(
                f"--scale {self.scale:g} makes no picture.", "Use a number above 0, for example --scale 4."
            )
        for name in ("fidelity", "strength", "min_score", "min_likeness"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise UsageError(f"--{name.replace('_', '-')} {value:g} is outside its range.", "Use 0 to 1.")
        if self.quality is not None and not 1 <= self.quality <= 100:
            raise UsageError(f"--quality {self.quality} is outside its range.", "Use 1 to 100.")
        for name, least in (("max_faces", 1), ("batch_size", 1), ("tile", 32), ("min_face", 1), ("seed", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise UsageError(f"--{name.replace('_', '-')} {value:g} is too small.", f"Use at least {least}.")
        if self.faces not in ("all", "largest", "center"):
            numbers = self.faces.replace(" ", "").split(",")
            if not all(number.isdecimal() and int(number) > 0 for number in numbers):
                raise UsageError(
                    f"--faces {self.faces} is not understood.",
                    "Use all, largest, center, or numbers such as 2,5 as `restore faces PHOTO` counts them.",
                )
        if self.format not in ("keep", "png", "jpg", "jpeg", "webp", "tiff", "tif"):
            raise UsageError(f"--format {self.format} is not known.", "Use keep, png, jpg, webp or tiff.")

    def changed(self) -> dict[str, Any]:
        """Return the options that decide what the result is and that differ from their defaults."""
        defaults = {field.name: field.default for field in fields(self)}
        return {
            name: value
            for name, value in asdict(self).items()
            if value != defaults[name] and name not in NEUTRAL and name not in ("model", "detector", "background")
        }
