"""Features that tell how alike two faces look: those of a recogniser, or of the discriminator of a training."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from restorer.errors import CheckpointLayoutError
from restorer.inversion.mganprior import Features
from restorer.models.templates import EYES_AND_MOUTH
from restorer.networks.discriminator import StyleGAN2Discriminator
from restorer.networks.mobilefacenet import MobileFaceNet, aligning, crop_faces
from restorer.weights import Table, resolve
from restorer.weights.checkpoint import load_parts


def features_of(name: str, load: Callable[[Table], nn.Module], place: Tensor) -> Features:
    """Return the features of a recogniser's table, or of the discriminator in the checkpoint of a training.

    Args:
        name: of the table, or the checkpoint's file.
        load: gives the network of a table.
        place: a tensor of the device and type that they work in.

    Raises:
        WeightsError: there is no such table or file, or it is something else.
    """
    if Path(name).is_file():
        return _of_discriminator(_discriminator(Path(name)).to(place))
    network = load(resolve(name))
    if not isinstance(network, MobileFaceNet):
        raise CheckpointLayoutError(name, f"{name} has no features of faces.", 'Use perceptual = "mobilefacenet".')
    return _of_recogniser(network.to(place), place)


def _of_recogniser(network: MobileFaceNet, place: Tensor) -> Features:
    """Return the features of the face in pictures that are aligned as FFHQ's are."""

    def features(pictures: Tensor) -> list[Tensor]:
        points = np.array(EYES_AND_MOUTH.points) * pictures.shape[-1]
        matrix = torch.from_numpy(aligning(points)).to(place)
        rgb = pictures if pictures.shape[1] == 3 else pictures.expand(-1, 3, -1, -1)
        return network.features(crop_faces(rgb, matrix[None].expand(len(rgb), -1, -1)))

    return features


def _of_discriminator(network: StyleGAN2Discriminator) -> Features:
    """Return the features of pictures, brought to the side that the discriminator judges."""

    def features(pictures: Tensor) -> list[Tensor]:
        rgb = pictures if pictures.shape[1] == 3 else pictures.expand(-1, 3, -1, -1)
        if rgb.shape[-1] != network.size:
            rgb = F.interpolate(rgb, (network.size, network.size), mode="bilinear", antialias=True)
        return network.features(rgb)

    return features


def _discriminator(path: Path) -> StyleGAN2Discriminator:
    """Return the discriminator of a training's checkpoint; its size and widths are those of its tensors."""
    state: Mapping[str, Any] = load_parts(path).get("discriminator", {})
    sides = sorted(int(found[1]) for key in state if (found := re.fullmatch(r"blocks\.(\d+)\.conv1\.weight", key)))
    try:
        narrow = state["blocks.8.conv2.weight"].shape[0] / 512
        wide = [side for side in sides if side >= 64]
        factor = state[f"blocks.{wide[0]}.conv1.weight"].shape[0] / narrow / (16384 // wide[0]) if wide else 2.0
        network = StyleGAN2Discriminator(sides[-1], channel_multiplier=factor, narrow=narrow)
        network.load_state_dict(state)
    except (KeyError, IndexError, RuntimeError) as error:
        raise CheckpointLayoutError(
            path.name,
            f"{path} holds no discriminator: {str(error).splitlines()[0]}",
            "Use the checkpoint that `restore train` keeps beside a prior.",
        ) from error
    if not math.isfinite(factor):
        raise CheckpointLayoutError(path.name, f"{path} holds no discriminator.", "Check the file.")
    return network.eval().requires_grad_(False)
