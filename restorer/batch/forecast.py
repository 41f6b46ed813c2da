"""What is said before a long run: how many photos, how much will be written, and about how long it takes.

The time is guessed from the networks' numbers of operations and a short trial of how many of them this machine does in
a second; faces are not known yet, so each photo is taken to have one.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from restorer import weights
from restorer.batch.estimate import Estimate, Load, Rates
from restorer.models import REGISTRY
from restorer.models.base import FaceArchitecture, UpscalerArchitecture
from restorer.pipeline.choice import LANDMARKS
from restorer.upscaling import RESAMPLERS

if TYPE_CHECKING:
    from restorer.batch.discovery import Job
    from restorer.engine.device import Device
    from restorer.models.base import Architecture
    from restorer.pipeline.restorer import Restorer

# Seconds for a megapixel of the result, measured on one core of a server; a guess is all they serve.
LANCZOS = 0.04
ENCODING = {"JPEG": 0.02, "PNG": 0.14, "WEBP": 0.35, "TIFF": 0.08, "BMP": 0.01, "HEIF": 1.0}
DETECTOR_VIEW = (1216, 928)  # pixels, about what the detector looks at of any large photo
PARSER_VIEW = (512, 512)


@dataclass(frozen=True)
class Forecast:
    """What is expected of a run.

    Attributes:
        photos: of the run.
        there: how many results seem to be there already.
        megabytes: to be written.
        rates: to go by until photos are done.
        loads: what each photo is expected to cost.
    """

    photos: int
    there: int
    megabytes: float
    rates: Rates
    loads: Sequence[Load] = field(repr=False, default=())

    @property
    def seconds(self) -> float:
        """The guess for the whole run."""
        return Estimate(self.loads, self.rates, 0.0).left(0.0)


def forecast(restorer: Restorer, jobs: Sequence[Job], loads: Sequence[Load], *, trial: bool = True) -> Forecast:
    """Return what is expected of a run.

    Args:
        restorer: what will do it.
        jobs: the photos, with their headers.
        loads: of each.
        trial: try the machine, which loads torch, where networks take part.
    """
    pairs = zip(jobs, loads, strict=True)
    work = [(job, job.header.size, load) for job, load in pairs if job.header.size and load.work]
    megapixels = sum(load.megapixels for _, _, load in work)
    plain = sum(load.megapixels * (LANCZOS + ENCODING.get(job.format or "", 0.1)) for job, _, load in work)
    rates = Rates(megapixel=plain / megapixels if megapixels else 0.1)
    if trial and work:
        background = sum(_background_operations(restorer, size) for _, size, _ in work)
        photo, face = _face_operations(restorer)
        if background or photo or face:
            speed = _operations_per_second(restorer.components.device)
            rates = Rates(rates.photo + photo / speed, rates.megapixel + background / speed / megapixels, face / speed)
    megabytes = sum(load.output_megabytes for _, _, load in work)
    return Forecast(len(jobs), sum(load.skipped for load in loads), megabytes, rates, loads)


def _background_operations(restorer: Restorer, size: tuple[int, int]) -> float:
    """Return the operations that enlarge a photo of this size; 0 without a network."""
    if restorer.components.given.background is not None:
        return 0.0
    name = restorer.components.background_name(size)
    if name in RESAMPLERS:
        return 0.0
    table = weights.resolve(name)
    architecture = REGISTRY.of_role(UpscalerArchitecture, table)
    return architecture.flops(REGISTRY.arguments(table)) * size[0] * size[1]


def _face_operations(restorer: Restorer) -> tuple[float, float]:
    """Return the operations of a photo (finding its faces) and of each face; a caller's own parts count nothing."""
    components = restorer.components
    if not components.faces_wanted or components.given.face_model is not None or components.given.detector is not None:
        return 0.0, 0.0
    table = components.model_table()
    architecture, arguments = REGISTRY.of_role(FaceArchitecture, table), REGISTRY.arguments(table)
    side = architecture.crop(arguments).input_size
    face = _operations(architecture, arguments, (side, side))
    detector = components.detector_name()
    if detector is None:
        return 0.0, face
    return _operations_of(detector, DETECTOR_VIEW), face + (
        _operations_of(components.mask_name, PARSER_VIEW) if components.mask_name != LANDMARKS else 0.0
    )


def _operations_of(name: str, view: tuple[int, int]) -> float:
    table = weights.resolve(name)
    return _operations(REGISTRY.architecture_of(table), REGISTRY.arguments(table), view)


def _operations(architecture: Architecture, arguments: Mapping[str, Any], size: tuple[int, int]) -> float:
    """Count the operations of one picture's way through a network, on torch's meta device: without any numbers."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"):
        network = architecture.build(arguments).requires_grad_(False).eval()
        picture = torch.empty(1, 3, size[1], size[0])
    counter = FlopCounterMode(display=False)
    with torch.inference_mode(), counter:
        network(picture)
    return float(counter.get_total_flops())


def _operations_per_second(device: Device) -> float:
    """Time a convolution like those of the networks, on the device and in the precision of the run."""
    import torch

    channels, side = 64, 256 if device.kind == "cpu" else 1024
    layer = torch.nn.Conv2d(channels, channels, 3, padding=1).to(device.name)
    picture = torch.zeros(1, channels, side, side, device=device.name)
    best = float("inf")
    with torch.inference_mode(), device.autocast():
        for _ in range(4):
            begin = time.perf_counter()
            layer(picture)[0, 0, 0, 0].item()  # waits for a GPU
            best = min(best, time.perf_counter() - begin)
    return 2 * 9 * channels**2 * side**2 / best
