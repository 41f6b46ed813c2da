"""The identity network in a training: loaded where the recipe names its weights, and where it looks in a picture."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from restorer.errors import UsageError
from restorer.models.templates import FACEXLIB
from restorer.networks.mobilefacenet import MobileFaceNet, aligning, load_mobilefacenet
from restorer.training.recipe import Recipe


def load_identity(recipe: Recipe, given: str, device: torch.device) -> MobileFaceNet | None:
    """Return the network with the weights that a recipe names, or None where it names none.

    Raises:
        UsageError: there is no such file.
    """
    if not given:
        return None
    path = recipe.path(given)
    if not path.is_file():
        raise UsageError(
            f"There are no identity weights at {path}.", 'Correct identity_weights, or set it to "" to do without.'
        )
    return load_mobilefacenet(path).to(device)


def identity_crops(size: int, matrices: NDArray[np.float64]) -> Tensor:
    """Return for each picture the matrix (2, 3) from MobileFaceNet's crop to its pixels, (n, 2, 3) float32.

    Args:
        size: side of the pictures, in which faces stand as in the FFHQ template before they were moved.
        matrices: (n, 2, 3), how each was moved.
    """
    face = aligning(np.array(FACEXLIB.points) * size)
    full = np.vstack([face, [0, 0, 1]])
    return torch.from_numpy(np.stack([matrix @ full for matrix in matrices])).float()
