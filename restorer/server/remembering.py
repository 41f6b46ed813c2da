"""A restorer that remembers what its networks said, so that what needs no network comes at once.

A slider that is moved asks for the same photo again and again. The faces that were found in it, what the network made
of each, their outlines and the enlarged picture are the same as before; only the pasting is new. What is remembered is
what goes in and comes out of each part, by a hash of what went in, so a result is the same to the last bit whether a
part worked or was remembered.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from restorer.models.base import CropSpec, Detector, Face, FaceRestorer
from restorer.options import Options
from restorer.pipeline.components import Components
from restorer.pipeline.decisions import Mask
from restorer.pipeline.restorer import Restorer
from restorer.server.memory import Memory, fingerprint
from restorer.upscaling.lanczos import Background, Learned, OnTile

if TYPE_CHECKING:
    import numpy as np
    import torch
    from typing_extensions import Self

    from restorer.imaging.profiles import Colours


class RememberingRestorer(Restorer):
    """A `Restorer` whose parts remember.

    Args:
        memory: what is remembered, of all options.
        given: as `Restorer` takes it.
    """

    def __init__(self, memory: Memory, **given: Any) -> None:
        self._memory = memory
        super().__init__(**given)

    def _kind(self) -> Callable[..., Components]:
        return partial(_RememberingComponents, memory=self._memory)


class _RememberingComponents(Components):
    def __init__(self, *args: Any, memory: Memory, **given: Any) -> None:
        super().__init__(*args, **given)
        self._memory = memory

    def _key(self, what: str, part: object) -> tuple[object, ...]:
        """Return what tells the answers of a part from those of others: its weights, and the choices it works by."""
        network = getattr(part, "network", None)
        weights = None if network is None else (network.table.wanted_hash, network.device.name, network.precision)
        options = self.options
        chosen = (options.fidelity, options.seed, options.min_score, options.min_face, options.tile, options.always)
        return (
            what,
            getattr(part, "name", type(part).__name__),
            weights,
            options.device,
            options.engine,
            options.precision,
            chosen,
        )

    def _like(self, options: Options) -> Self:
        given = self._given_for(options)
        return type(self)(options, self._notify, on_download=self._on_download, given=given,
                                      warn=self._warn, memory=self._memory)  # fmt: skip

    def detector(self) -> Detector:
        part = super().detector()
        return _Detector(part, self._memory, self._key("faces", part))

    def face_model(self) -> FaceRestorer:
        part = super().face_model()
        return part if self.is_search else _FaceRestorer(part, self._memory, self._key("restored", part))

    def mask(self) -> tuple[Mask, str | None]:
        from restorer.faces.mask import LandmarkMask

        part, warning = super().mask()
        if isinstance(part, LandmarkMask):  # it asks no network, and its outline is drawn by more than a crop shows
            return part, warning
        return _Mask(part, self._memory, self._key("mask", part)), warning

    def background(self, size: tuple[int, int]) -> tuple[Background, str | None]:
        part, why = super().background(size)
        kind = _LearnedBackground if isinstance(part, Learned) else _Background
        return kind(part, self._memory, self._key("background", part)), why


class _Remembering:
    """A part with its memory; what else the part has, it has too."""

    def __init__(self, part: Any, memory: Memory, key: tuple[object, ...]) -> None:
        self._part, self._memory, self._key = part, memory, key
        self.name: str = getattr(part, "name", type(part).__name__)

    def __getattr__(self, name: str) -> Any:
        if name in ("_part", "among"):
            raise AttributeError(name)
        return getattr(self._part, name)


class _Detector(_Remembering):
    def detect(self, pixels: np.ndarray) -> list[Face]:
        key = (*self._key, *fingerprint(pixels))
        found: list[Face] = self._memory.get(key, lambda: list(self._part.detect(pixels)), _size_of)
        return list(found)


class _FaceRestorer(_Remembering):
    def __init__(self, part: FaceRestorer, memory: Memory, key: tuple[object, ...]) -> None:
        super().__init__(part, memory, key)
        self.crop: CropSpec = part.crop

    def restore(self, crops: torch.Tensor) -> torch.Tensor:
        key = (*self._key, *fingerprint(crops.numpy()))
        made = self._memory.get(
            key, lambda: self._part.restore(crops).detach().float().cpu(), lambda faces: 4 * faces.numel()
        )
        answer: torch.Tensor = made.clone()
        return answer


class _Mask(_Remembering):
    @property
    def record_name(self) -> str:
        return str(getattr(self._part, "record_name", type(self._part).__name__))

    def __call__(self, restored: torch.Tensor, landmarks: np.ndarray) -> np.ndarray:
        key = (*self._key, *fingerprint(restored.numpy()), *fingerprint(landmarks))
        made = self._memory.get(key, lambda: self._part(restored, landmarks), lambda mask: mask.nbytes)
        answer: np.ndarray = made.copy()
        return answer


class _Background(_Remembering):
    def upscale(self, pixels: np.ndarray, size: tuple[int, int], on_tile: OnTile | None = None) -> np.ndarray:
        key = (*self._key, size, *fingerprint(pixels))
        made = self._memory.get(key, lambda: self._part.upscale(pixels, size, on_tile), lambda picture: picture.nbytes)
        answer: np.ndarray = made.copy()
        return answer


class _LearnedBackground(_Background):
    def among(self, colours: Colours) -> Background:
        key = (*self._key, *fingerprint(colours.seen(_probe())), *fingerprint(colours.own(_probe())))
        return _Background(self._part.among(colours), self._memory, key)


def _probe() -> np.ndarray:
    """Return colours (n, 3) from all over the cube, float32; what becomes of them tells two profiles apart."""
    import numpy as np

    steps = np.linspace(0.0, 1.0, 9, dtype=np.float32)
    return np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(-1, 3)


def _size_of(faces: list[Face]) -> int:
    """Return the bytes that a list of faces takes, roughly."""
    return 1000 * (1 + len(faces))
