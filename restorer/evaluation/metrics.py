"""PSNR, SSIM, NIQE and identity of pictures; the first three are basicsr's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from restorer.evaluation.basicsr_compat import import_basicsr
from restorer.imaging.sheets import Picture
from restorer.imaging.tensors import to_tensor
from restorer.networks.mobilefacenet import aligning, crop_faces, load_mobilefacenet


def psnr(picture: Picture, truth: Picture) -> float:
    """Return the peak signal-to-noise ratio in dB over all three channels; infinite for equal pictures.

    Args:
        picture: RGB (h, w, 3), uint8.
        truth: the same shape and type.
    """
    return float(import_basicsr("basicsr.metrics.psnr_ssim").calculate_psnr(picture, truth, 0))


def ssim(picture: Picture, truth: Picture) -> float:
    """Return the structural similarity, the mean over the three channels; 1 for equal pictures, -1 at least.

    Args:
        picture: RGB (h, w, 3), uint8.
        truth: the same shape and type.
    """
    return float(import_basicsr("basicsr.metrics.psnr_ssim").calculate_ssim(picture, truth, 0))


def niqe(picture: Picture) -> float | None:
    """Return NIQE on the luma, lower is more natural.

    None for a picture below 192 px, which has too few blocks, and for one without any texture to judge.

    Args:
        picture: RGB (h, w, 3), uint8.
    """
    if min(picture.shape[:2]) < 192:
        return None
    # A flat block divides by zero; basicsr leaves it out afterwards. Where all are, nothing is left to compare.
    with np.errstate(all="ignore"):
        try:
            found = float(import_basicsr("basicsr.metrics.niqe").calculate_niqe(picture[..., ::-1], 0))
        except np.linalg.LinAlgError:
            return None
    return found if math.isfinite(found) else None


class Identity:
    """How alike two faces are, by MobileFaceNet on both aligned the same way.

    Args:
        weights: the published MobileFaceNet checkpoint.
    """

    def __init__(self, weights: Path) -> None:
        self._network = load_mobilefacenet(weights)

    def embed(self, pictures: Sequence[Picture], landmarks: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Return normalised embeddings (n, 256) of faces and their mirror images.

        Args:
            pictures: RGB, all of one size.
            landmarks: of each face (5, 2), pixels in edge coordinates.
        """
        matrices = torch.from_numpy(np.stack([aligning(points) for points in landmarks]))
        found = []
        with torch.inference_mode():
            for start in range(0, len(pictures), 32):
                faces = crop_faces(to_tensor(pictures[start : start + 32]), matrices[start : start + 32])
                found.append(torch.cat([self._network(faces), self._network(faces.flip(3))], dim=1))
        embeddings: NDArray[np.float32] = torch.nn.functional.normalize(torch.cat(found)).numpy()
        return embeddings
