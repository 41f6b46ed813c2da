"""Which detector, face restorer, mask and background a run uses: by name, by "auto", or as objects given by the caller.

Parts are loaded when they are first needed, so that a photo without faces costs no face network. What "auto" chooses
and cannot have, the models that are built in replace, and say so; what is named outright is never replaced.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import wraps
from typing import TYPE_CHECKING, Concatenate, ParamSpec, Protocol, TypeVar

from restorer import weights
from restorer.engine import device as devices
from restorer.engine.inference import NetworkRestorer
from restorer.errors import UsageError, WeightsUnavailableError
from restorer.models import registry
from restorer.models.base import FaceModel, FaceRestorer
from restorer.models.upscalers import UpscalerModel
from restorer.upscaling.lanczos import Background, Lanczos
from restorer.upscaling.tiles import NetworkUpscaler

if TYPE_CHECKING:
    import numpy as np
    import torch

    from restorer.batch.lanes import FaceBatcher
    from restorer.faces.detect import Face
    from restorer.faces.likeness import Likeness
    from restorer.options import Options
    from restorer.weights import Table

P = ParamSpec("P")
T = TypeVar("T")
Say = Callable[[str], None]
"""Tells the user one line."""

DETECTOR = "retinaface-r50"
PARSER = "parsenet"
RECOGNISER = "mobilefacenet"
BUILT_IN = "tiny"
BUILT_IN_DETECTOR = "tiny-detector"
BUILT_IN_UPSCALER = "tiny-upscaler"
GLEAN_FROM_SCALE = 8.0
UPSCALERS = ("realesrgan-x2", "realesrgan-x4", "realesr-general")
CPU_BUDGET = 1e13
"""Operations that an automatically chosen background may cost on a CPU: below a minute on two cores."""


class Detector(Protocol):
    """What the pipeline needs of a detector; an object of one's own may be given to `Restorer` in its place."""

    def detect(self, pixels: np.ndarray) -> list[Face]:
        """Return the faces of a photo (h, w, 3), uint8 or uint16, in pixels of it."""
        ...


class Mask(Protocol):
    """What the pipeline needs of a mask; an object of one's own may be given to `Restorer` in its place."""

    def __call__(self, restored: torch.Tensor, landmarks: np.ndarray) -> np.ndarray:
        """Return how much of each restored crop (n, 3, s, s) is pasted: (n, t, t) float32 in [0, 1], any t.

        The landmarks (n, 5, 2) are given as shares of the crop's side.
        """
        ...


def _alone(method: Callable[Concatenate[Parts, P], T]) -> Callable[Concatenate[Parts, P], T]:
    """Let one thread at a time into these methods of `Parts`, so that what they decide or load, they do once."""

    @wraps(method)
    def locked(self: Parts, /, *args: P.args, **kwargs: P.kwargs) -> T:
        with self._lock:
            return method(self, *args, **kwargs)

    return locked


@dataclass
class Parts:
    """The parts of one run.

    Attributes:
        options: the choices of the run.
        say: tells the user one line (what auto chose).
        on_download: hears each step of a download; None = its size is logged.
        detector, restorer, mask, background: objects given by the caller; None = by the options.
        told: the lines that were said.
        gathering: what several threads share around the face restorer; None = each calls it by itself.
    """

    options: Options
    say: Say = field(default=lambda _line: None)
    on_download: weights.OnProgress | None = None
    detector: Detector | None = None
    restorer: FaceRestorer | None = None
    mask: Mask | None = None
    background: Background | None = None

    def __post_init__(self) -> None:
        """Check names early: a wrong one is an error before any photo is read. What "auto" means waits for its need."""
        self._lock = threading.RLock()
        self._loaded: dict[str, registry.LoadedNetwork] = {}
        self.gathering: FaceBatcher | None = None
        self.told: set[str] = set()
        self._mask_warning: str | None = None
        self._likeness: Likeness | None = None
        self._device: devices.Device | None = None
        self._missing: dict[str, str] | None = None
        self._fallbacks: list[str] = []
        self._detector_source = self.options.detector
        self._model: str | None = None
        self._model_source = ""
        if self.restorer is not None:
            self._model = _name(self.restorer)
        elif self.options.model != "auto":
            self._model_source, self._model = self._check_model(self.options.model)
        else:
            self._check_model(wanted_model(self.options.scale))
        self._check_likeness()
        self._only_built_in = self.restorer is None and self._model == BUILT_IN
        if self.detector is None and self.options.detector != "auto":
            self._role(self.options.detector, "face detector", "--detector")
        if self.background is None and self.options.background not in ("auto", "lanczos"):
            self._role(self.options.background, "upscaler", "--background")

    # ------------------------------------------------------------------------------------------------ names

    @property
    def model(self) -> str:
        """The face restorer's name for the record; "auto" is decided when it is first asked for."""
        if self._model is None:
            self._decide()
        assert self._model is not None
        return self._model

    @property
    def faces_wanted(self) -> bool:
        """Whether there is a face stage at all."""
        return self._model != "none"

    @property
    def parser(self) -> str | None:
        """The face parser that the mask is meant to come from; None where it is drawn from the landmarks."""
        return None if self.model == BUILT_IN else PARSER

    @_alone
    def fallbacks(self) -> list[str]:
        """Return a line for each choice of "auto" that a built-in model replaces, decided by now.

        Raises:
            WeightsError: the model was named, or a likeness asked for, and its weights cannot be had. They are not done
                without, not even where no face would need them: that is said before the work.
        """
        if self.options.min_likeness is not None:
            self.get_likeness()
        if self.faces_wanted:
            self._decide()
        if self._fallbacks and self.restorer is None and self.options.model not in ("auto", "none"):
            weights.fetch(weights.resolve(self._model_source), offline=self.options.offline)
        return list(self._fallbacks)

    @property
    @_alone
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
        self._decide()
        return weights.resolve(self._detector_source).name

    @_alone
    def _decide(self) -> None:
        """Decide what "auto" means for model and detector: the wanted one, or the built-in one where it is missing."""
        replaced: list[tuple[str, str, str]] = []
        if self._model is None:
            wanted = wanted_model(self.options.scale)
            reason = self._missing_tables().get(weights.resolve(wanted).name)
            if reason is not None:
                replaced.append((weights.resolve(wanted).name, BUILT_IN, reason))
            self._model_source, self._model = self._check_model(BUILT_IN if reason is not None else wanted)
        if self._detector_source == "auto" and self.detector is None and not self.options.aligned:
            reason = None if self._only_built_in else self._missing_tables().get(DETECTOR)
            if reason is not None:
                replaced.append((DETECTOR, BUILT_IN_DETECTOR, reason))
            self._detector_source = BUILT_IN_DETECTOR if reason is not None or self._only_built_in else DETECTOR
        if replaced:
            self._fallbacks.append(_replacement(replaced))

    @_alone
    def _missing_tables(self) -> dict[str, str]:
        """Return why tables that "auto" may choose cannot be had, by name; asked once a run, of all at once."""
        if self._missing is None:
            names = [wanted_model(self.options.scale), DETECTOR, PARSER, *UPSCALERS]
            self._missing = weights.missing([weights.resolve(name) for name in names], offline=self.options.offline)
        return self._missing

    def _check_model(self, name: str) -> tuple[str, str]:
        """Return what names the model for `weights.resolve`, and its name for the record."""
        if name == "none":
            if self.options.fidelity is not None:
                raise UsageError("--fidelity needs a face restorer; --model none has none.")
            return "none", "none"
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

    def _check_likeness(self) -> None:
        """Refuse --min-likeness where there is no face, or none of a person, that could be compared."""
        if self.options.min_likeness is None or self._model is None:
            return
        if self._model == "none":
            raise UsageError("--min-likeness compares restored faces; --model none restores none.", "Leave it out.")
        if self.restorer is not None:
            crop = self.restorer.crop
        else:
            table = weights.resolve(self._model_source)
            architecture = registry.architecture_of(table)
            assert isinstance(architecture, FaceModel)
            crop = architecture.crop({**architecture.defaults, **table.arguments})
        if crop.template is None:
            raise UsageError(
                f"--min-likeness compares the faces of people; {self._model} restores something else.", "Leave it out."
            )

    def likeness_hash(self) -> str | None:
        """Return what pins the weights that faces are compared by; None where they are not compared."""
        return None if self.options.min_likeness is None else weights.resolve(RECOGNISER).wanted_hash

    def model_hash(self) -> str | None:
        """Return what pins the face restorer's weights: the hash in its table; None for objects and "none"."""
        if self.model == "none" or not self._model_source:
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

    @_alone
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

    @_alone
    def get_detector(self) -> Detector:
        """Return the detector; raises WeightsError when its weights cannot be had."""
        if self.detector is None:
            from restorer.faces.tiny import detector_for

            self._decide()
            loaded = self._load_or_replace(self._detector_source, self.options.detector, BUILT_IN_DETECTOR)
            self._detector_source = loaded.table.name if self.options.detector == "auto" else self._detector_source
            self.detector = detector_for(loaded, min_score=self.options.min_score, min_face=self.options.min_face)
        return self.detector

    @_alone
    def get_restorer(self) -> FaceRestorer:
        """Return the face restorer; raises WeightsError when its weights cannot be had."""
        if self.restorer is None:
            self._decide()
            loaded = self._load_or_replace(self._model_source, self.options.model, BUILT_IN)
            if self.options.model == "auto":
                self._model_source = self._model = loaded.table.name
            self.restorer = NetworkRestorer(loaded, self.device, fidelity=self.options.fidelity, seed=self.options.seed)
        return self.restorer if self.gathering is None else self.gathering.around(self.restorer)

    def _load_or_replace(self, name: str, asked: str, built_in: str) -> registry.LoadedNetwork:
        """Return a network; for "auto" the built-in one where a host answered but did not have the file after all."""
        try:
            return self.load(name)
        except WeightsUnavailableError as error:
            if asked != "auto" or name == built_in:
                raise
            line = f"{error.message} The built-in model {built_in} takes its place."
            self._fallbacks.append(line)
            self.tell(line)
            return self.load(built_in)

    @_alone
    def get_mask(self) -> tuple[Mask, str | None]:
        """Return the mask, and a line where it is not the wanted one: without ParseNet it is drawn from landmarks."""
        if self.mask is None:
            from restorer.faces.mask import LandmarkMask, ParseNetMask

            if self.parser is None:
                self.mask = LandmarkMask()
                return self.mask, None
            try:
                self.mask = ParseNetMask(self.load(self.parser), self.device.precision)
            except WeightsUnavailableError as error:
                self.mask = LandmarkMask()
                self._mask_warning = f"Faces were pasted by masks drawn from their landmarks: {error.message}"
        return self.mask, self._mask_warning

    @_alone
    def get_likeness(self) -> Likeness:
        """Return what compares faces, always on the CPU; raises WeightsError when its weights cannot be had."""
        if self._likeness is None:
            table = weights.resolve(RECOGNISER)
            try:
                path = weights.fetch(table, offline=self.options.offline, on_progress=self.on_download)
            except WeightsUnavailableError as error:
                error.remedy = f"{error.remedy} Or leave --min-likeness out."
                raise
            from restorer.faces.likeness import Likeness

            self._likeness = Likeness(registry.load(table, path).network)
        return self._likeness

    @_alone
    def get_background(self, size: tuple[int, int]) -> tuple[Background, str | None]:
        """Return the upscaler for a photo of this size, and a line that says why where "auto" chose it."""
        if self.background is not None:
            return self.background, None
        if self.options.background not in ("auto", "lanczos"):
            return self._upscaler(self.options.background), None
        name, why = self._chosen_background(size)
        if name == "lanczos":
            return Lanczos(), why
        try:
            return self._upscaler(name), why
        except WeightsUnavailableError as error:
            name, why = self._built_in_background(size, error.message)
            return (Lanczos() if name == "lanczos" else self._upscaler(name)), why

    def background_name(self, size: tuple[int, int]) -> str:
        """Return what a photo of this size is to be enlarged by, without loading anything."""
        if self.background is not None:
            return self.background.name
        name = self.options.background
        if name in ("auto", "lanczos"):
            return self._chosen_background(size)[0]
        return weights.resolve(name).name

    def _upscaler(self, name: str) -> Background:
        return NetworkUpscaler(self.load(name), self.device, self.options.tile)

    def _chosen_background(self, size: tuple[int, int]) -> tuple[str, str | None]:
        """Return what "auto" takes for a photo of this size, or lanczos as asked for, and a line that says why."""
        if self.options.background == "lanczos" or self.options.scale <= 1:
            return "lanczos", None
        if self._only_built_in:
            return self._built_in_background(size, "")
        name, why = self._automatic_background(size)
        if name == "lanczos":
            return name, why
        reason = self._missing_tables().get(name)
        if reason is None:
            return name, why
        return self._built_in_background(size, f"{name} is neither on this machine nor reachable ({reason}).")

    def _built_in_background(self, size: tuple[int, int], because: str) -> tuple[str, str | None]:
        """Return the built-in upscaler, or lanczos for a photo that it would take minutes for."""
        if self.device.kind != "cpu" or self._quick_on_cpu(BUILT_IN_UPSCALER, size):
            line = f"{because} The built-in model {BUILT_IN_UPSCALER} enlarges the background." if because else None
            return BUILT_IN_UPSCALER, line
        return "lanczos", (
            f"{because} Background: lanczos; a network would take minutes for {size[0]} x {size[1]} pixels.".strip()
        )

    def _quick_on_cpu(self, name: str, size: tuple[int, int]) -> bool:
        """Return whether an upscaler enlarges a photo of this size on a CPU within `CPU_BUDGET`."""
        table = weights.resolve(name)
        architecture = registry.architecture_of(table)
        assert isinstance(architecture, UpscalerModel)
        return size[0] * size[1] * architecture.flops({**architecture.defaults, **table.arguments}) <= CPU_BUDGET

    def _automatic_background(self, size: tuple[int, int]) -> tuple[str, str]:
        """Choose by device and photo size: the large networks on a GPU, the compact one on a CPU while it is quick."""
        if self.device.kind != "cpu":
            name = "realesrgan-x2" if self.options.scale <= 2 else "realesrgan-x4"
            return name, f"Background: {name}, on {self.device.name}."
        if self._quick_on_cpu("realesr-general", size):
            return "realesr-general", "Background: realesr-general, the one that is quick on a CPU."
        return "lanczos", (
            f"Background: lanczos; a network would take minutes for {size[0]} x {size[1]} pixels on a CPU. "
            "--background realesr-general uses one all the same."
        )

    @_alone
    def tell(self, line: str | None) -> None:
        """Say a line, once a run."""
        if line and line not in self.told:
            self.told.add(line)
            self.say(line)


def wanted_model(scale: float) -> str:
    """Return the face restorer that "auto" takes for a scale where it can be had."""
    return "glean-128" if scale >= GLEAN_FROM_SCALE else "gfpgan-1.4"


def _replacement(replaced: Sequence[tuple[str, str, str]]) -> str:
    """Return the line about (wanted, built-in, reason) that the user reads once, and each record holds."""
    reasons = dict.fromkeys(reason for _, _, reason in replaced)
    wanted = " and ".join(name for name, _, _ in replaced)
    taken = " and ".join(name for _, name, _ in replaced)
    places = "model {} takes its place" if len(replaced) == 1 else "models {} take their place"
    return (
        f"Neither on this machine nor reachable: {wanted} ({'; '.join(reasons)}). The built-in {places.format(taken)}."
    )


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
