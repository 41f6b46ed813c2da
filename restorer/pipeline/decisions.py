"""The names of one run: what the options and "auto" come to, decided when it is first asked for, and said once."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Concatenate, ParamSpec, Protocol, TypeVar

from restorer import weights
from restorer.engine import device as devices
from restorer.engine.choice import check as check_engine
from restorer.engine.device import Device
from restorer.engine.pool import engines
from restorer.errors import LicenseForbidsError, UnknownTableError, UsageError, worded
from restorer.formatting import nearest
from restorer.models import REGISTRY
from restorer.models.base import Detector, DetectorArchitecture, FaceRestorer, UpscalerArchitecture
from restorer.models.importer.named import upscaler_named
from restorer.options import Options, declared, sizes
from restorer.pipeline import adjusted, cleaning, fallbacks, printed, searches
from restorer.pipeline import choice as choices
from restorer.pipeline.choice import AUTO, NONE, Available, Choice
from restorer.pipeline.fallbacks import Replacement
from restorer.pipeline.references import References
from restorer.upscaling import RESAMPLERS
from restorer.upscaling.lanczos import Background
from restorer.weights.table import CHECKPOINT_SUFFIXES

if TYPE_CHECKING:
    import numpy as np
    import torch

    from restorer.record import Record
    from restorer.weights import Absence, Table

_log = logging.getLogger(__name__)
D = TypeVar("D", bound="Decisions")
P = ParamSpec("P")
T = TypeVar("T")
Notify = Callable[[str], None]
"""Tells the user one line."""


class Mask(Protocol):
    """What the pipeline needs of a mask; an object of one's own may be given to `Restorer` in its place."""

    def __call__(self, restored: torch.Tensor, landmarks: np.ndarray) -> np.ndarray:
        """Return how much of each restored crop (n, 3, s, s) is pasted: (n, t, t) float32 in [0, 1], any t.

        The landmarks (n, 5, 2) are given as shares of the crop's side.
        """
        ...


@dataclass(frozen=True)
class Given:
    """Objects that the caller gave in place of what options name; None = by the options."""

    detector: Detector | None = None
    face_model: FaceRestorer | None = None
    mask: Mask | None = None
    background: Background | None = None


def alone(method: Callable[Concatenate[D, P], T]) -> Callable[Concatenate[D, P], T]:
    """Let one thread at a time into these methods, so that what they decide or load, they do once."""

    @wraps(method)
    def locked(self: D, /, *args: P.args, **kwargs: P.kwargs) -> T:
        with self._lock:
            return method(self, *args, **kwargs)

    return locked


class Decisions:
    """What a run's options come to: which names, which device; nothing is loaded for it.

    Args:
        options: the choices of the run.
        notify: tells the user one line (what "auto" chose); None = it is logged.
        given: objects in place of what the options name.
        warn: tells a line that even a quiet run says (built-in models take over); None = as `notify`, and without that
            it is logged as a warning.

    Raises:
        UsageError: a name is of another role, or a model lacks what the options ask of it.
        UnknownTableError: no weights.toml has a table of that name.
    """

    def __init__(
        self, options: Options, notify: Notify | None = None, given: Given | None = None, warn: Notify | None = None
    ) -> None:
        self.options = options
        self.given = given or Given()
        self.told: set[str] = set()
        self._notify = notify or _log.info
        self._warn = warn or notify or _log.warning
        self._lock = threading.RLock()
        self._available = Available(weights.tables(), _Missing(self), options.license)
        self._choice: Choice | None = None
        self._replaced: list[Replacement] = []
        self._fallbacks: list[str] = []
        self._device: Device | None = None
        self.engine = check_engine(options.engine, options.device, lambda: list(engines()))
        self._references: References | None = None
        self._check()

    def _check(self) -> None:
        """Check names early: a wrong one is an error before any photo is read. What "auto" means waits for its need."""
        options, given, tables = self.options, self.given, self._available.tables
        if given.face_model is None and options.model == NONE:
            choices.check_no_faces(options)  # first: what makes no sense is not asked for its licence
        _check_parts(options, given, tables)
        if given.face_model is not None:
            choices.check_likeness(options, self.model, given.face_model.crop)
        elif options.model != NONE:
            name = options.model if options.model != AUTO else choices.wanted(tables, "face restorer", options.scale)
            table = searches.with_prior(options, _named("model", name))
            choices.check_model(options, table, tables)
            if options.model != AUTO:
                choices.check_license(options, table, "face restorer", tables)
                choices.check_likeness(options, table.name, choices.crop_of(table))
        for each in adjusted.all_options(options, tables):
            Decisions(each, self._notify, self._given_for(each), self._warn)
        if options.reference:
            self.references  # noqa: B018 - a name that leads nowhere is wrong usage before any photo is read

    def _given_for(self, options: Options) -> Given:
        """Return the objects that hold also where a face is restored by other options."""
        return self.given if options.model == self.options.model else replace(self.given, face_model=None)

    # ------------------------------------------------------------------------------------------------ names

    @alone
    def choice(self) -> Choice:
        """Return what "auto" means for model, detector and mask; decided when it is first asked for, once a run."""
        if self._choice is None:
            choice = choices.choose(self._resolved(), self._available)
            self._fall_back(choice.replaced)
            if choice.barred is not None:
                if not self.options.fallback:
                    raise LicenseForbidsError("auto", choice.barred, "Leave --license or --no-fallback out.")
                self._fallbacks.append(choice.barred)
            self._choice = choice
        return self._choice

    @alone
    def _fall_back(self, replaced: Sequence[Replacement]) -> None:
        """Take in what built-in models replace.

        Raises:
            WeightsUnavailableError: the options forbid it.
        """
        new = [each for each in replaced if each not in self._replaced]
        if not new:
            return
        if not self.options.fallback:
            raise fallbacks.no_fallback(new)
        for reason in fallbacks.fallback_reasons(new):
            _log.info("%s", reason)
        self._replaced += new
        line = fallbacks.fallback_line(new)
        self._fallbacks += [line] if line not in self._fallbacks else []

    def _resolved(self) -> Options:
        """Return the options with the names of tables in place of aliases and of objects."""
        options, given = self.options, self.given
        model, detector = options.model, options.detector
        if given.face_model is not None:
            model = name_of(given.face_model)
        elif model not in (AUTO, NONE):
            table = weights.resolve(model)
            # A file of one's own is not the table of that name: `restore train tiny` writes a tiny.safetensors.
            model = table.name if self._available.tables.get(table.name) == table else model
        if given.detector is not None:
            detector = name_of(given.detector)
        elif detector != AUTO:
            detector = weights.resolve(detector).name
        return replace(options, model=model, detector=detector)

    @property
    def model(self) -> str:
        """The face restorer's name for the record; "auto" is decided when it is first asked for."""
        if self.given.face_model is not None:
            return name_of(self.given.face_model)
        if self.options.model == NONE or self.barred:
            return NONE
        if self.options.model != AUTO:
            return weights.resolve(self.options.model).name
        return self.choice().model

    @property
    def faces_wanted(self) -> bool:
        """Whether there is a face stage at all."""
        return self.given.face_model is not None or (self.options.model != NONE and not self.barred)

    @property
    def barred(self) -> bool:
        """Whether faces stay as they are since no weights that the licence allows can be had."""
        asked = self.options.license != choices.ANY and self.options.model != NONE and self.given.face_model is None
        return asked and self.choice().barred is not None

    @property
    def mask_name(self) -> str:
        """The mask that is meant for this run: a face parser's table, or "landmarks"."""
        return self.choice().mask

    def detector_name(self) -> str | None:
        """Return the detector's name for the record; None where nothing is detected."""
        if not self.faces_wanted or self.options.aligned:
            return None
        if self.given.detector is not None:
            return name_of(self.given.detector)
        if self.options.detector != AUTO:
            return weights.resolve(self.options.detector).name
        return self.choice().detector

    @property
    def usable(self) -> Mapping[str, Table]:
        """The tables that "auto" may take."""
        return self._available.usable

    def _decides(self) -> bool:
        """Whether "auto" is to be decided for the model or the detector."""
        model = self.given.face_model is None and self.options.model == AUTO
        detector = self.given.detector is None and self.options.detector == AUTO and not self.options.aligned
        return model or detector

    def model_hash(self) -> str | None:
        """Return what pins the face restorer's weights: the hash in its table; None for objects and "none"."""
        if self.given.face_model is not None or self.model == NONE:
            return None
        return self.model_table().wanted_hash

    def model_table(self) -> Table:
        """Return the face restorer's table, also of a file of one's own."""
        return searches.table_of(self.options, self.options.model if self.options.model != AUTO else self.model)

    def detector_table(self) -> Table:
        """Return the detector's table, also of a file of one's own; there must be one."""
        return weights.resolve(self.options.detector if self.options.detector != AUTO else str(self.choice().detector))

    def background_table(self, name: str) -> Table:
        """Return the table of an upscaler that `background_name` gave, also of a file of one's own."""
        return upscaler_named(self.options.background if self.options.background != AUTO else name)

    @property
    @alone
    def references(self) -> References | None:
        """The photos of the people in the photos, hashed once a run; None where none were given."""
        if self._references is None and self.options.reference:
            self._references = References.of(self.options.reference)
        return self._references

    def likeness_hash(self) -> str | None:
        """Return what pins the weights that faces are compared by; None where they are not compared."""
        options = self.options
        tried = options.fidelity == "auto" or options.variants > 1
        if options.min_likeness is None and not options.reference and not tried:
            return None
        return self._available.tables[choices.recogniser(self._available.tables)].wanted_hash

    @property
    @alone
    def device(self) -> Device:
        """The device and precision of the run, chosen on first use."""
        if self._device is None:
            options = self.options
            self._device = devices.choose(options.device, options.precision, low_memory=options.low_memory)
        return self._device

    def used_device(self) -> Device:
        """Return the device for the record; where no network ran, plain resampling on the CPU did not ask for torch."""
        if self._device is None and self.options.device == AUTO and self.options.precision == AUTO:
            return Device("cpu", "fp32")
        return self.device

    def background_name(self, size: tuple[int, int]) -> str:
        """Return what a photo of this size is to be enlarged by, without loading anything."""
        if self.given.background is not None:
            return self.given.background.name
        return self._background_choice(size)[0]

    def _background_choice(self, size: tuple[int, int]) -> tuple[str, str | None]:
        """Return the name of what enlarges a photo of this size, and why; asks for the device only where it counts."""
        options = self.options
        if options.background in RESAMPLERS:
            return options.background, None
        if options.background != AUTO:
            return self.background_table(options.background).name, None
        kind = self.device.kind if sizes.scale_of(options, size) > 1 else "cpu"
        found = choices.choose(self._resolved(), self._available, size=size, device=kind)
        self._fall_back(found.replaced)
        assert found.background is not None
        return found.background, found.why

    @alone
    def notify_once(self, line: str | None) -> None:
        """Say a line, once a run."""
        if line and (line := worded(line)) not in self.told:
            self.told.add(line)
            self._notify(line)

    @alone
    def warn_once(self, line: str | None) -> None:
        """Say a line that even a quiet run says, once a run."""
        if line and (line := worded(line)) not in self.told:
            self.told.add(line)
            self._warn(line)

    def say(self, record: Record, line: str | None) -> None:
        """Write a warning into a photo's record, and say it, once a run."""
        if line:
            self.notify_once(line)
            record.warn(line)


class _Missing(Mapping[str, "Absence"]):
    """Why tables that "auto" may choose cannot be had, by name; asked once, of all at once, when it is first read."""

    def __init__(self, decisions: Decisions) -> None:
        self._decisions = decisions
        self._found: dict[str, Absence] | None = None

    def _asked(self) -> dict[str, Absence]:
        if self._found is None:
            options, tables = self._decisions.options, self._decisions.usable
            names = choices.candidates(tables, options.scale)
            self._found = weights.missing([tables[name] for name in names], offline=options.offline)
        return self._found

    def __getitem__(self, name: str) -> Absence:
        return self._asked()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._asked())

    def __len__(self) -> int:
        return len(self._asked())


def name_of(part: object) -> str:
    """Return the name of a part that the caller gave."""
    return str(getattr(part, "name", type(part).__name__))


def _check_parts(options: Options, given: Given, tables: Mapping[str, Table]) -> None:
    """Check what is not about the face restorer; see `Decisions`."""
    sizes.check(options)
    if options.aligned and options.face:
        raise UsageError("With --aligned all of a photo is one face; --face names another.", "Leave one out.")
    if given.detector is None and options.detector != AUTO:
        table = _named("detector", options.detector)
        REGISTRY.of_role(DetectorArchitecture, table, f"--detector {options.detector}")
        choices.check_license(options, table, "face detector", tables)
    if given.background is None and options.background not in (AUTO, *RESAMPLERS):
        table = _named("background", options.background)
        REGISTRY.of_role(UpscalerArchitecture, table, f"--background {options.background}")
        choices.check_license(options, table, "upscaler", tables)
    printed.check(options, tables)
    cleaner = cleaning.check(options, tables)
    if cleaner is not None:
        choices.check_license(options, cleaner, "upscaler", tables)
    if options.min_likeness is not None:
        choices.check_license(options, tables[choices.recogniser(tables)], "face recogniser", tables, "--min-likeness")


def _named(field: str, name: str) -> Table:
    """Return the table that an option names.

    Raises:
        UnknownTableError: there is none; with all that the option takes, the nearest first.
    """
    try:
        return upscaler_named(name) if field == "background" else weights.resolve(name)
    except UnknownTableError as error:
        option = declared(Options)[field]
        tables = [each for each in weights.tables().values() if _role_of(each) == option.role]
        known = [word for word, _meaning in option.words]
        known += [each for table in tables for each in (table.name, *table.aliases)]
        near = nearest(name, known)
        if Path(name).name != name or Path(name).suffix in CHECKPOINT_SUFFIXES:  # a file was meant
            raise
        remedy = f"--{option.long} takes {', '.join(known)}."
        if near:
            remedy = f"Did you mean {' or '.join(near)}? `restore models list` shows all names."
        message = f"--{option.long} {name}: there is nothing of that name."
        raise UnknownTableError(name, message, remedy, suggestions=near) from error


def _role_of(table: Table) -> str | None:
    architecture = REGISTRY.get(table.architecture)
    return None if architecture is None else architecture.role
