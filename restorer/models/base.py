"""What an architecture is: how its checkpoints look, what its networks take and give. One class a role.

Nothing here imports torch at its top: the command's help and `restore models list` read these classes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import nn

    from restorer.weights import Table

    StateDict = dict[str, torch.Tensor]
    Shapes = Mapping[str, tuple[int, ...]]

Role = Literal[
    "face restorer", "prior", "face detector", "face parser", "face recogniser", "upscaler", "damage finder",
    "inpainter", "colorizer",
]  # fmt: skip
Control = Literal["fidelity", "seed"]
Precision = Literal["fp32", "bf16", "fp16"]


class RunningNetwork(Protocol):
    """A network at work, as `restorer.engine` gives it: tensors on the CPU go in, tensors on the CPU come out."""

    def __call__(self, *tensors: torch.Tensor, precision: Precision | None = None, **controls: Any) -> Any:
        """Run the network; see `restorer.engine.network.Network`."""
        ...


class Architecture(ABC):
    """A kind of network that checkpoints exist for.

    A module of `restorer.models` names its own in `ARCHITECTURES`; the registry finds them there.

    Attributes:
        name: what a table's `architecture` names.
        role: what its networks are for.
        defaults: the reference implementation's own argument names with the official values; a table's `arguments` may
            set only these.
        bf16, fp16: whether its networks keep their tolerance in that precision; elsewhere they compute in fp32.
        pictures: whether a picture goes in and a picture comes out, so that one of a single colour is a failure of
            half precision, and is computed again in fp32.
        channels_last: whether its inputs and weights are laid out with a pixel's channels side by side on a CPU, where
            the networks themselves do not see to it.
        read_whole: whether only a checkpoint's tensors tell what its network is, so that `read` makes it of them, and
            neither `convert` nor `build` has anything to do.
        unexportable: why no file of another format can hold its networks; None where one can.
    """

    name: ClassVar[str]
    role: ClassVar[Role]
    defaults: ClassVar[Mapping[str, Any]] = {}
    bf16: ClassVar[bool] = False
    fp16: ClassVar[bool] = False
    pictures: ClassVar[bool] = False
    channels_last: ClassVar[bool] = False
    read_whole: ClassVar[bool] = False
    unexportable: ClassVar[str | None] = None

    def infer(self, shapes: Shapes) -> dict[str, Any]:
        """Return the arguments that the checkpoint's own shapes tell; an unfit checkpoint gives a partial dict."""
        return {}

    def convert(self, state: StateDict, arguments: Mapping[str, Any]) -> StateDict:
        """Return the state dict under the network's own names, without branches that never reach the output."""
        return state

    def read(self, state: StateDict) -> tuple[nn.Module, dict[str, Any]]:
        """Return the network of a checkpoint with its weights, and its arguments; only where `read_whole`.

        Raises:
            ValueError: it is no checkpoint of this architecture.
        """
        raise NotImplementedError(self.name)

    def bears(self, precision: Precision, arguments: Mapping[str, Any]) -> bool:
        """Whether the network of these arguments keeps its tolerance in a precision."""
        return {"fp32": True, "bf16": self.bf16, "fp16": self.fp16}[precision]

    @abstractmethod
    def build(self, arguments: Mapping[str, Any]) -> nn.Module:
        """Return the network; called on torch's meta device, so it must not compute with its parameters."""


@dataclass(frozen=True)
class LoadedNetwork:
    """A network in eval mode, with what it was made from."""

    network: nn.Module
    table: Table
    architecture: Architecture
    arguments: Mapping[str, Any] = field(default_factory=dict)
    path: Path | None = None


# ------------------------------------------------------------------------------------------------------ restoring


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


class FaceArchitecture(Architecture):
    """An architecture whose role is face restorer: a crop goes in, a restored crop comes out.

    Attributes:
        controls: which of a run's controls have an effect.
        remark: what the record of every photo says in which such a network restored a face.
        learns_from: from how many photos of a person on it restores that person's faces by them; 0 = it never does.
    """

    role = "face restorer"
    controls: ClassVar[tuple[Control, ...]] = ()
    remark: ClassVar[str | None] = None
    learns_from: ClassVar[int] = 0
    bf16 = True
    pictures = True

    @abstractmethod
    def crop(self, arguments: Mapping[str, Any]) -> CropSpec:
        """Return what the network of these arguments takes and gives."""

    def restore(
        self, network: RunningNetwork, crops: torch.Tensor, *, fidelity: float | None = None, seed: int | None = None
    ) -> torch.Tensor:
        """Return restored crops (n, 3, output_size, output_size), unclamped, for crops (n, 3, input_size, input_size).

        Args:
            network: this architecture's network at work.
            crops: RGB in [-1, 1].
            fidelity: 0 = best looking, 1 = closest to the input; None = the model's own default. Only for models
                whose `controls` hold "fidelity"; the pipeline refuses it elsewhere.
            seed: draws other noise than the stored one; only for models whose `controls` hold "seed".
        """
        output: torch.Tensor = network(crops)
        return output

    def restore_person(
        self,
        network: RunningNetwork,
        crop: torch.Tensor,
        points: torch.Tensor,
        references: torch.Tensor,
        reference_points: torch.Tensor,
    ) -> torch.Tensor:
        """Return a restored crop (1, 3, output_size, output_size) by photos of the person; where it `learns_from` them.

        Args:
            network: this architecture's network at work.
            crop: (1, 3, input_size, input_size), RGB in [-1, 1].
            points: landmarks (1, 5, 2) as shares of the crop's side.
            references: of the same person, (k, 3, input_size, input_size), aligned alike.
            reference_points: (k, 5, 2).
        """
        raise NotImplementedError(self.name)


class FaceRestorer(Protocol):
    """What the pipeline needs of a restorer; an object of one's own may be given to `Restorer` in its place."""

    crop: CropSpec

    def restore(self, crops: torch.Tensor) -> torch.Tensor:
        """Map (n, 3, input_size, input_size) to (n, 3, output_size, output_size), both RGB in about [-1, 1]."""
        ...


# ------------------------------------------------------------------------------------- upscaling, parsing, recognising


class UpscalerArchitecture(Architecture):
    """An architecture whose role is upscaler; its networks are called with pictures and one of its factors.

    Attributes:
        overlap: input pixels by which a tile reaches beyond its own; further off a pixel hardly influences another.
        tile: side of a tile in input pixels that keeps the activations of one tile near a gigabyte.
        grid: tiles begin at multiples of this many input pixels, and `overlap` is one: what the network's coarsest
            level sees as a pixel, so that a tile gives what the whole photo would give there.
    """

    role = "upscaler"
    bf16 = True
    fp16 = True
    pictures = True
    channels_last = True
    overlap: ClassVar[int] = 16
    tile: ClassVar[int] = 256
    grid: ClassVar[int] = 1

    def tiles(self, arguments: Mapping[str, Any]) -> tuple[int, int, int]:
        """Return `tile`, `overlap` and `grid` for the network of these arguments."""
        return self.tile, self.overlap, self.grid

    @abstractmethod
    def flops(self, arguments: Mapping[str, Any]) -> float:
        """Return the floating-point operations per input pixel, for estimates."""

    @abstractmethod
    def factors(self, arguments: Mapping[str, Any]) -> tuple[int, ...]:
        """Return the factors by which the network can enlarge, the smallest first."""

    def convert(self, state: StateDict, arguments: Mapping[str, Any]) -> StateDict:
        """Put the upstream names below the wrapper that maps the value range."""
        return {f"net.{key}": value.float() for key, value in state.items()}


PASTED = frozenset({
    "skin", "nose", "glasses", "left-eye", "right-eye", "left-brow", "right-brow", "left-ear", "right-ear", "mouth",
    "upper-lip", "lower-lip", "hair", "earring",
})  # fmt: skip
"""The classes that belong to a restored face. Neck, necklace, clothes and hat are the background upscaler's."""


class ParserArchitecture(Architecture):
    """An architecture whose role is face parser: a crop in [-1, 1] goes in, logits of `classes` come out."""

    role = "face parser"
    bf16 = True
    fp16 = True
    classes: ClassVar[tuple[str, ...]]

    @property
    def kept(self) -> tuple[int, ...]:
        """The numbers of the classes that are pasted, in this network's own order."""
        return tuple(number for number, name in enumerate(self.classes) if name in PASTED)

    def logits(self, network: RunningNetwork, pictures: torch.Tensor) -> torch.Tensor:
        """Return logits (n, classes, t, t), any t, of pictures (n, 3, 512, 512) in [-1, 1], fine enough for masks."""
        found: torch.Tensor = network(pictures)
        return found


class RecogniserArchitecture(Architecture):
    """An architecture whose role is face recogniser; on the CPU in fp32 a face is judged alike anywhere."""

    role = "face recogniser"


# ------------------------------------------------------------------------------------------------------ detection

TILE = 1920
"""Side in pixels of a view's tiles; a view that is not larger is one tile."""
TILE_UP_TO = 256
"""Pixels of a view; tiles overlap by so much that each smaller face is whole in one of them."""


@dataclass(frozen=True)
class Face:
    """A face in a photo, in pixels of the upright photo, in edge coordinates: the first pixel's centre is at 0.5.

    Attributes:
        box: x0, y0, x1, y1, within the photo.
        landmarks: (5, 2) float32: left eye, right eye, nose, left and right corner of the mouth, as seen in the
            picture; of a face that the photo cuts they may lie outside it.
        score: 0 to 1.
    """

    box: tuple[float, float, float, float]
    landmarks: np.ndarray
    score: float

    @property
    def size(self) -> float:
        """The longer side of the box in pixels, which depends less on the pose than the shorter one."""
        return max(self.box[2] - self.box[0], self.box[3] - self.box[1])


@dataclass(frozen=True)
class View:
    """One size at which a photo is scanned for faces; sizes of faces are pixels of the view.

    Attributes:
        scale: pixels of the view for one of the photo.
        frame: width of the empty frame around it, as a share of the long side.
        smallest, largest: sizes of the faces that are taken from it.
    """

    scale: float
    frame: float = 0.0
    smallest: float = 0.0
    largest: float = float("inf")


class DetectorArchitecture(Architecture):
    """An architecture whose role is face detector: at which sizes it scans a photo, what it sees in a part of it."""

    role = "face detector"

    @abstractmethod
    def views(self, longest: int, min_face: float | None) -> Iterator[View]:
        """Yield the views of a photo by its long side in pixels, coarsest first.

        Args:
            longest: of the photo.
            min_face: faces are wanted from this many pixels of the photo on; None = those that are found anyway.
        """

    def glances(self, longest: int) -> Iterator[View]:
        """Yield the views by which is seen whether a photo has faces at all; fewer ones where a view takes long.

        Args:
            longest: of the photo, its long side in pixels.
        """
        yield from self.views(longest, None)

    @abstractmethod
    def detect_region(
        self, network: RunningNetwork, region: np.ndarray, view: View, min_score: float
    ) -> Iterator[Face]:
        """Yield the faces of a part of the photo, in pixels of that part.

        Args:
            network: this architecture's network at work.
            region: (h, w, 3) RGB, uint8 or uint16.
            view: at which size it is scanned.
            min_score: detections below this are no faces, 0 to 1.
        """

    def same_face(self, face: Face, other: Face) -> bool:
        """Whether two detections of several views are one face, beyond what their boxes tell."""
        return False


class Detector(Protocol):
    """What finds faces; an object of one's own may be given to `Restorer` in its place."""

    def detect(self, pixels: np.ndarray) -> Sequence[Face]:
        """Return the faces of a photo (h, w, 3), uint8 or uint16, in pixels of it."""
        ...
