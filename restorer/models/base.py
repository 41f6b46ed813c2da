"""The small interface of a face restorer, which pipeline, command help, `restore models list` and docs all read."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from restorer.models.registry import Architecture, LoadedNetwork

if TYPE_CHECKING:
    import torch

Control = Literal["fidelity", "seed"]


@dataclass(frozen=True)
class Template:
    """Where the landmarks of a face stand in its aligned crop, as fractions of the crop's side, (x, y).

    `points` are left eye, right eye, nose, left mouth corner, right mouth corner (left as seen in the picture), in that
    order; `used` are the indices of those that the similarity is estimated from. With `mouth_centre` one more pair
    takes part: the mean of the two mouth corners, in the photo and here. `pairs` gives what an estimate needs.
    """

    name: str
    points: tuple[tuple[float, float], ...]
    used: tuple[int, ...] = (0, 1, 2, 3, 4)
    mouth_centre: bool = False

    def pairs(
        self, landmarks: Sequence[Sequence[float]], size: float
    ) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
        """Return the points that a similarity is estimated from, in the photo and in a crop of that side, in pixels.

        Args:
            landmarks: the five points of a face (x, y) in the photo, in the order of `points`.
            size: side of the crop.
        """
        photo = [(float(landmarks[i][0]), float(landmarks[i][1])) for i in self.used]
        crop = [(self.points[i][0] * size, self.points[i][1] * size) for i in self.used]
        if self.mouth_centre:
            for source, target, scale in ((landmarks, photo, 1.0), (self.points, crop, size)):
                target.append(
                    (
                        (float(source[3][0]) + float(source[4][0])) / 2 * scale,
                        (float(source[3][1]) + float(source[4][1])) / 2 * scale,
                    )
                )
        return photo, crop


@dataclass(frozen=True)
class CropSpec:
    """What a face restorer takes and gives: sizes in pixels, squares, RGB in [-1, 1].

    Attributes:
        input_size: side of the crop that the network takes.
        output_size: side of the picture that it returns.
        align_size: side at which the face is aligned; when larger than `input_size`, the crop is reduced to it by area
            averaging.
        template: None for a model that takes aligned crops only (`--aligned`).
    """

    input_size: int
    output_size: int
    align_size: int
    template: Template | None


class FaceModel(Architecture):
    """An architecture whose role is face restorer: a crop goes in, a restored crop comes out."""

    role = "face restorer"
    controls: ClassVar[tuple[Control, ...]] = ()
    bf16: ClassVar[bool] = True
    """Whether bfloat16 autocast keeps the output within the stated tolerance."""
    fp16: ClassVar[bool] = False

    @abstractmethod
    def crop(self, arguments: Mapping[str, Any]) -> CropSpec:
        """Return what the network of these arguments takes and gives."""

    def restore(
        self, loaded: LoadedNetwork, crops: torch.Tensor, *, fidelity: float | None = None, seed: int | None = None
    ) -> torch.Tensor:
        """Return restored crops (n, 3, output_size, output_size), unclamped, for crops (n, 3, input_size, input_size).

        Args:
            loaded: this architecture's network.
            crops: RGB in [-1, 1], on the network's device.
            fidelity: 0 = best looking, 1 = closest to the input; None = the model's own default. Only for models
                whose `controls` hold "fidelity"; the pipeline refuses it elsewhere.
            seed: draws other noise than the stored one; only for models whose `controls` hold "seed".
        """
        output: torch.Tensor = loaded.network(crops)
        return output


class FaceRestorer(Protocol):
    """What the pipeline needs of a restorer; an object of one's own may be given to `Restorer` in its place."""

    crop: CropSpec

    def restore(self, crops: torch.Tensor) -> torch.Tensor:
        """Map (n, 3, input_size, input_size) to (n, 3, output_size, output_size), both RGB in about [-1, 1]."""
        ...
