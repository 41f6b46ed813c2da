"""Which detector, face restorer, mask and background a run uses: by name, by "auto", or as objects given by the caller.

Parts are loaded when they are first needed, so that a photo without faces costs no face network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from restorer import device as devices
from restorer import registry, weights
from restorer.background import Background, Lanczos, NetworkUpscaler
from restorer.errors import UsageError, WeightsUnavailableError
from restorer.models.base import CropSpec, FaceModel, FaceRestorer
from restorer.models.upscalers import UpscalerModel

if TYPE_CHECKING:
    import numpy as np
    import torch

    from restorer.faces.detect import Face
    from restorer.options import Options
    from restorer.weights import Table

Say = Callable[[str], None]
"""Tells the user one line."""

DETECTOR = "retinaface-r50"
PARSER = "parsenet"
GLEAN_FROM_SCALE = 8.0
CPU_BUDGET = 1e13
"""Operations that an automatically chosen background may cost on a CPU: below a minute on two cores."""


class Detector(Protocol):
    """What the pipeline needs of a detector; an object of one's own may be given to `Restorer` in its place."""

    def detect(self, pixels: np.ndarray) -> list[Face]:
        """Return the faces of a photo (h, w, 3), uint8 or uint16, in pixels of it."""
        ...


class Mask(Protocol):
    """What the pipeline needs of a mask; an object of one's own may be given to `Restorer` in its place."""

    def __call__(self, restored: torch.Tensor) -> np.ndarray:
        """Return how much of each restored crop (n, 3, s, s) is pasted: (n, t, t) float32 in [0, 1], any t."""
        ...


class NetworkRestorer:
    """A face restorer network with its precision, controls and second chances.

    A batch that does not fit into the device's memory is halved; an output with not-a-number is redone in fp32.
    """

    def __init__(
        self, loaded: registry.LoadedNetwork, device: devices.Device, *, fidelity: float | None, seed: int | None
    ) -> None:
        if not isinstance(loaded.architecture, FaceModel):
            raise TypeError(f"{loaded.table.name} is no face restorer")
        self.name = loaded.table.name
        self.crop: CropSpec = loaded.architecture.crop(loaded.arguments)
        self._model = loaded.architecture
        self._loaded = loaded
        self._device = device
        self._fidelity = fidelity
        self._seed = seed

    def restore(self, crops: torch.Tensor) -> torch.Tensor:
        """Return restored crops, float32, unclamped, on the CPU; see `FaceRestorer`."""
        import torch

        try:
            output = self._infer(crops, self._precision())
        except torch.OutOfMemoryError:
            if len(crops) == 1:
                raise
            torch.cuda.empty_cache()
            half = len(crops) // 2
            return torch.cat([self.restore(crops[:half]), self.restore(crops[half:])])
        broken = ~torch.isfinite(output).flatten(1).all(1)
        if broken.any() and self._precision() != "fp32":
            output[broken] = self._infer(crops[broken], "fp32")
        return output

    def _precision(self) -> devices.Precision:
        allowed = {"bf16": self._model.bf16, "fp16": self._model.fp16, "fp32": True}[self._device.precision]
        return self._device.precision if allowed else "fp32"

    def _infer(self, crops: torch.Tensor, precision: devices.Precision) -> torch.Tensor:
        import torch

        with torch.inference_mode(), self._device.autocast(precision):
            output = self._model.restore(
                self._loaded, crops.to(self._device.name), fidelity=self._fidelity, seed=self._seed
            )
        return output.float().cpu()


@dataclass
class Parts:
    """The parts of one run.

    Attributes:
        options: the choices of the run.
        say: tells the user one line (what auto chose).
        on_download: hears each step of a download; None = its size is logged.
        detector, restorer, mask, background: objects given by the caller; None = by the options.
    """

    options: Options
    say: Say = field(default=lambda _line: None)
    on_download: weights.OnProgress | None = None
    detector: Detector | None = None
    restorer: FaceRestorer | None = None
    mask: Mask | None = None
    background: Background | None = None

    def __post_init__(self) -> None:
        """Resolve names early: a wrong name is an error before any photo is read."""
        self._model_source, self.model = ("", _name(self.restorer)) if self.restorer else self._choose_model()
        self._loaded: dict[str, registry.LoadedNetwork] = {}
        self._said: set[str] = set()
        self._mask_warning: str | None = None
        self._device: devices.Device | None = None
        if self.detector is None and self.options.detector != "auto":
            self._role(self.options.detector, "face detector", "--detector")
        if self.background is None and self.options.background not in ("auto", "lanczos"):
            self._role(self.options.background, "upscaler", "--background")

    # ------------------------------------------------------------------------------------------------ names

    @property
    def faces_wanted(self) -> bool:
        """Whether there is a face stage at all."""
        return self.model != "none"

    @property
    def device(self) -> devices.Device:
        """The device and precision of the run, chosen on first use."""
        if self._device is None:
            self._device = devices.choose(self.options.device, self.options.precision)
        return self._device

    def used_device(self) -> devices.Device:
        """Return the device for the record; where no network ran, plain resampling on the CPU did not ask for torch."""
        if self._device is None and self.options.device == "auto" and self.options.precision == "auto":
            return devices.Device("cpu", "fp32")
        return self.device

    def detector_name(self) -> str | None:
        """Return the detector's name for the record; None where nothing is detected."""
        if not self.faces_wanted or self.options.aligned:
            return None
        if self.detector is not None:
            return _name(self.detector)
        return DETECTOR if self.options.detector == "auto" else weights.resolve(self.options.detector).name

    def _choose_model(self) -> tuple[str, str]:
        """Return what names the model for `weights.resolve`, and its name for the record."""
        name = self.options.model
        if name == "none":
            if self.options.fidelity is not None:
                raise UsageError("--fidelity needs a face restorer; --model none has none.")
            return "none", "none"
        if name == "auto":
            name = "glean-128" if self.options.scale >= GLEAN_FROM_SCALE else "gfpgan-1.4"
        table = self._role(name, "face restorer", "--model")
        architecture = registry.architecture_of(table)
        assert isinstance(architecture, FaceModel)
        for control in ("fidelity", "seed"):
            if getattr(self.options, control) is not None and control not in architecture.controls:
                having = [name for name in face_restorers() if control in controls(name)]
                raise UsageError(
                    f"{table.name} has no {control} control.",
                    f"Leave --{control} out" + (f", or use one of: {', '.join(having)}." if having else "."),
                )
        if (
            not self.options.aligned
            and architecture.crop({**architecture.defaults, **table.arguments}).template is None
        ):
            raise UsageError(
                f"{table.name} restores aligned crops only; it has no way to find its subject in a photo.",
                "Give it aligned crops with --aligned, or choose another --model.",
            )
        return name, table.name

    def model_hash(self) -> str | None:
        """Return what pins the face restorer's weights: the hash in its table; None for objects and "none"."""
        if not self._model_source or self.model == "none":
            return None
        return weights.resolve(self._model_source).wanted_hash

    def _role(self, name: str, role: registry.Role, option: str) -> Table:
        """Return the table of a name that must have a role."""
        table = weights.resolve(name)
        found = registry.architecture_of(table).role
        if found != role:
            raise UsageError(
                f"{option} {name}: {table.name} is a {found}, not a {role}.",
                f"`restore models list` shows the names whose role is {role}.",
            )
        return table

    # ---------------------------------------------------------------------------------------------- loading

    def load(self, name: str) -> registry.LoadedNetwork:
        """Return the network of a table, fetched, verified and on the device; once a run."""
        if name not in self._loaded:
            if self.options.device != "auto":
                self.device  # noqa: B018 - one that is not there is an error before any download
            table = weights.resolve(name)
            # Before torch is loaded, which takes seconds: missing weights are said at once.
            path = weights.fetch(table, offline=self.options.offline, on_progress=self.on_download)
            self._loaded[name] = registry.load(table, path, self.device.name)
        return self._loaded[name]

    def get_detector(self) -> Detector:
        """Return the detector; raises WeightsError when its weights cannot be had."""
        if self.detector is None:
            from restorer.faces.detect import RetinaFaceDetector

            name = DETECTOR if self.options.detector == "auto" else self.options.detector
            self.detector = RetinaFaceDetector(
                self.load(name), min_score=self.options.min_score, min_face=self.options.min_face
            )
        return self.detector

    def get_restorer(self) -> FaceRestorer:
        """Return the face restorer; raises WeightsError when its weights cannot be had."""
        if self.restorer is None:
            self.restorer = NetworkRestorer(
                self.load(self._model_source), self.device, fidelity=self.options.fidelity, seed=self.options.seed
            )
        return self.restorer

    def get_mask(self) -> tuple[Mask, str | None]:
        """Return the mask, and a warning where it is not the wanted one: without ParseNet a plain feathered edge."""
        if self.mask is None:
            from restorer.faces.mask import FeatherMask, ParseNetMask

            try:
                self.mask = ParseNetMask(self.load(PARSER), self.device.precision)
            except WeightsUnavailableError as error:
                self.mask = FeatherMask()
                self._mask_warning = f"Faces were pasted with a plain feathered edge: {error.message}"
        return self.mask, self._mask_warning

    def get_background(self, size: tuple[int, int]) -> tuple[Background, str | None]:
        """Return the upscaler for a photo of this size, and a line that says why where "auto" chose it."""
        if self.background is not None:
            return self.background, None
        name = self.options.background
        if name == "lanczos" or (name == "auto" and self.options.scale <= 1):
            return Lanczos(), None
        if name != "auto":
            return self._upscaler(name), None
        name, why = self._automatic_background(size)
        if name == "lanczos":
            return Lanczos(), why
        try:
            return self._upscaler(name), why
        except WeightsUnavailableError as error:
            return Lanczos(), f"Background: lanczos, because {name} cannot be had: {error.message}"

    def background_name(self, size: tuple[int, int]) -> str:
        """Return what a photo of this size is to be enlarged by, without loading anything."""
        if self.background is not None:
            return self.background.name
        name = self.options.background
        if name == "auto":
            name = "lanczos" if self.options.scale <= 1 else self._automatic_background(size)[0]
        return name if name == "lanczos" else weights.resolve(name).name

    def _upscaler(self, name: str) -> Background:
        return NetworkUpscaler(self.load(name), self.device, self.options.tile)

    def _automatic_background(self, size: tuple[int, int]) -> tuple[str, str]:
        """Choose by device and photo size: the large networks on a GPU, the compact one on a CPU while it is quick."""
        if self.device.kind != "cpu":
            name = "realesrgan-x2" if self.options.scale <= 2 else "realesrgan-x4"
            return name, f"Background: {name}, on {self.device.name}."
        architecture = registry.architecture_of(weights.resolve("realesr-general"))
        assert isinstance(architecture, UpscalerModel)
        if size[0] * size[1] * architecture.flops(architecture.defaults) <= CPU_BUDGET:
            return "realesr-general", "Background: realesr-general, the one that is quick on a CPU."
        return "lanczos", (
            f"Background: lanczos; a network would take minutes for {size[0]} x {size[1]} pixels on a CPU. "
            "--background realesr-general uses one all the same."
        )

    def tell(self, line: str | None) -> None:
        """Say a line, once a run."""
        if line and line not in self._said:
            self._said.add(line)
            self.say(line)


def _name(part: object) -> str:
    """Return the name of a part that the caller gave."""
    return str(getattr(part, "name", type(part).__name__))


def face_restorers() -> Iterable[str]:
    """Return the table names that `--model` takes."""
    return [name for name, table in weights.tables().items() if registry.architecture_of(table).role == "face restorer"]


def controls(name: str) -> tuple[str, ...]:
    """Return the controls that a face restorer has."""
    architecture = registry.architecture_of(weights.resolve(name))
    return architecture.controls if isinstance(architecture, FaceModel) else ()
