"""Whether a restored face still is the person of the photo: the cosine of two embeddings by MobileFaceNet.

Chen et al., "MobileFaceNets: Efficient CNNs for Accurate Real-Time Face Verification on Mobile Devices" (2018). Both
faces are reduced to the 112 x 96 pixels that the network reads, so that sharpness alone makes no difference.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import torch

    from restorer.models.base import RunningNetwork


class Likeness:
    """Compares a face of the photo with its restored version.

    Args:
        network: MobileFaceNet, float32, on the CPU: there a face is judged alike on every machine.
    """

    def __init__(self, network: RunningNetwork) -> None:
        self._network = network

    def __call__(self, before: np.ndarray, after: np.ndarray, points: np.ndarray) -> float:
        """Return the cosine of the two embeddings, of a face and its mirror image; 0 where it is below 0.

        Args:
            before: aligned crop of the photo, (s, s, 3) RGB float32 in [0, 1].
            after: the same crop restored, (t, t, 3), any t.
            points: the face's landmarks (5, 2) as shares of the crop's side.
        """
        import torch

        found = self._embed(torch.cat([_crop_112x96(before, points), _crop_112x96(after, points)]))
        cosine = torch.nn.functional.cosine_similarity(found[:1], found[1:]).item()
        return min(max(cosine, 0.0), 1.0)

    def embedding(self, crop: np.ndarray, points: np.ndarray) -> np.ndarray:
        """Return what a face is recognised by, (256,) of unit length: the product of two of them is their cosine.

        Args:
            crop: aligned crop, (s, s, 3) RGB float32 in [0, 1].
            points: the face's landmarks (5, 2) as shares of the crop's side.
        """
        found = self._embed(_crop_112x96(crop, points))[0]
        unit: np.ndarray = (found / found.norm().clamp_min(1e-12)).numpy()
        return unit

    def _embed(self, faces: torch.Tensor) -> torch.Tensor:
        """Return the embeddings (n, 256) of faces (n, 3, 112, 96) and of their mirror images, in double precision."""
        import torch

        with torch.inference_mode():
            return torch.cat([self._network(faces), self._network(faces.flip(3))], dim=1).double()


def reason(likeness: float, least: float) -> str:
    """Return why a face was left as it was, with as many digits as tell the two figures apart."""
    digits = next((digits for digits in range(2, 9) if round(likeness, digits) < least), 9)
    asked = f"{least:.2f}" if round(least, 2) == least else str(least)
    return f"left as it was: likeness {likeness:.{digits}f} below {asked}"


def _crop_112x96(crop: np.ndarray, points: np.ndarray) -> torch.Tensor:
    """Return the (1, 3, 112, 96) that the network reads of a crop, in [-1, 1]; a larger crop is reduced first."""
    import cv2
    import numpy as np
    import torch

    from restorer.networks.mobilefacenet import aligning, crop_faces

    matrix = aligning(points * crop.shape[0])
    step = float(np.hypot(matrix[0, 0], matrix[1, 0]))  # pixels of the crop for one of the network's
    if step > 1:  # sampled as it is, a large crop would show its grain as other detail than a small one
        side = max(1, round(crop.shape[0] / step))
        crop = cv2.resize(crop, (side, side), interpolation=cv2.INTER_AREA)
        matrix = aligning(points * side)
    picture = torch.from_numpy(np.ascontiguousarray(crop, np.float32)).permute(2, 0, 1)[None] * 2 - 1
    return crop_faces(picture, torch.from_numpy(matrix)[None])
