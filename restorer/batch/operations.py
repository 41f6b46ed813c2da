"""How much a run has to compute, and how much this machine computes in a second: what an estimate is guessed from."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from restorer import weights
from restorer.engine import memory
from restorer.engine.device import Device
from restorer.models import REGISTRY
from restorer.models.base import FaceArchitecture, UpscalerArchitecture
from restorer.models.searching import SearchArchitecture
from restorer.pipeline import cleaning
from restorer.pipeline.choice import LANDMARKS
from restorer.upscaling import RESAMPLERS

if TYPE_CHECKING:
    from restorer.models.base import Architecture
    from restorer.pipeline.restorer import Restorer
    from restorer.weights import Table

DETECTOR_VIEW = (1216, 928)  # pixels, about what the detector scans of any large photo
SEARCH_PASSES = 3  # ways through the prior that a step costs: one there, two back
PARSER_VIEW = (512, 512)


def has_networks(restorer: Restorer) -> bool:
    """Tell whether networks, or parts of a caller's own, may take part: what they cost is not known untried."""
    components = restorer.components
    options = components.options
    return components.faces_wanted or options.background not in RESAMPLERS or options.clean is not None


def background_operations(restorer: Restorer, size: tuple[int, int]) -> float:
    """Return the operations that clean and enlarge a photo of this size; 0 without a network."""
    if restorer.components.given.background is not None:
        return 0.0
    name = restorer.components.background_name(size)
    taken = [] if name in RESAMPLERS else [restorer.components.background_table(name)]
    cleaner = cleaning.table_of(restorer.options)
    taken += [cleaner] if cleaner is not None else []
    each = (REGISTRY.of_role(UpscalerArchitecture, table).flops(REGISTRY.arguments(table)) for table in taken)
    return sum(each, 0.0) * size[0] * size[1]


def face_operations(restorer: Restorer) -> tuple[float, float]:
    """Return the operations of a photo (finding its faces) and of each face; a caller's own parts count nothing."""
    components = restorer.components
    if not components.faces_wanted or components.given.face_model is not None or components.given.detector is not None:
        return 0.0, 0.0
    table = components.model_table()
    architecture, arguments = REGISTRY.of_role(FaceArchitecture, table), REGISTRY.arguments(table)
    if isinstance(architecture, SearchArchitecture):
        options = restorer.options
        prior = REGISTRY[arguments["prior_architecture"]]
        once = _operations_of_prior(prior, arguments["prior_arguments"])
        face = once * SEARCH_PASSES * (options.steps or architecture.steps_of(arguments)) * options.variants
    else:
        side = architecture.crop(arguments).input_size
        face = _operations(architecture, arguments, (side, side))
    if components.detector_name() is None:
        return 0.0, face
    if components.mask_name != LANDMARKS:
        face += _operations_of(weights.resolve(components.mask_name), PARSER_VIEW)
    return _operations_of(components.detector_table(), DETECTOR_VIEW), face


def _operations_of_prior(architecture: Architecture, arguments: Mapping[str, Any]) -> float:
    """Count the operations of one picture that a prior draws, on torch's meta device."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"):
        network: Any = architecture.build(arguments).requires_grad_(False).eval()
        latent = torch.empty(1, network.style_dim)
    counter = FlopCounterMode(display=False)
    with torch.inference_mode(), counter:
        network(latent)
    return float(counter.get_total_flops())


def _operations_of(table: Table, view: tuple[int, int]) -> float:
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


def operations_per_second(device: Device) -> float:
    """Time a convolution like those of the networks, on the device and in the precision of the run."""
    import torch

    channels, side = 64, 256 if device.kind == "cpu" else 1024
    best = float("inf")
    try:
        layer = torch.nn.Conv2d(channels, channels, 3, padding=1).to(device.name)
        picture = torch.zeros(1, channels, side, side, device=device.name)
        with torch.inference_mode(), device.autocast():
            for _ in range(4):
                begin = time.perf_counter()
                layer(picture)[0, 0, 0, 0].item()  # waits for a GPU
                best = min(best, time.perf_counter() - begin)
    except RuntimeError as error:
        if device.kind == "cpu" or not memory.is_exhausted(error):
            raise
        return operations_per_second(Device("cpu", "fp32"))  # which will do what a full GPU cannot
    return 2 * 9 * channels**2 * side**2 / best
