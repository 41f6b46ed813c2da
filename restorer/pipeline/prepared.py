"""What a restorer is made of: choices, objects that were given, and what is loaded for them, in every process anew."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from restorer import weights
from restorer.engine.device import start_after_fork
from restorer.errors import OptionTypeError, UsageError
from restorer.models.base import Detector, FaceRestorer
from restorer.options import Options
from restorer.photo import requested_format
from restorer.pipeline.components import Components
from restorer.pipeline.decisions import Given, Mask, Notify, name_of
from restorer.pipeline.keywords import OptionFields
from restorer.upscaling.lanczos import Background

if TYPE_CHECKING:
    from typing_extensions import Unpack

OTHERS = 16
"""Sets of other options that a restorer keeps components for; those that were made first go."""

_STATE = ("options", "_given", "_notify", "_warn", "_on_download")
"""What makes a restorer what it is."""
_METHODS = {"model": ("crop", "restore"), "detector": ("detect",), "background": ("upscale",), "mask": ("__call__",)}
"""What the objects need that may stand in the place of a name."""


def _check_part(part: str, value: object) -> None:
    """Raise `OptionTypeError` for an object that cannot be what it was given as."""
    if part == "mask" and value is None:
        return
    lacking = [name for name in _METHODS[part] if not hasattr(value, name)]
    if lacking or isinstance(value, type):
        wanted = " and ".join(f"`{name}`" for name in _METHODS[part])
        name = "" if part == "mask" else "a name or "
        message = f"{part} must be {name}an object with {wanted}, not {value!r}."
        raise OptionTypeError(part, message, "Give an object of the class." if isinstance(value, type) else None)


class Prepared:
    """A restorer before its first photo; see `restorer.pipeline.restorer.Restorer`.

    It may be copied and pickled: choices and given objects go along, networks are loaded, or shared, where it arrives.
    """

    def __init__(
        self,
        model: str | Path | FaceRestorer = "auto",
        *,
        detector: str | Path | Detector = "auto",
        background: str | Path | Background = "auto",
        mask: Mask | None = None,
        notify: Notify | None = None,
        warn: Notify | None = None,
        on_download: weights.OnProgress | None = None,
        **options: Unpack[OptionFields],
    ) -> None:
        given = {"model": model, "detector": detector, "background": background}
        named: dict[str, Any] = {key: str(value) for key, value in given.items() if isinstance(value, (str, Path))}
        for part, value in {**given, "mask": mask}.items():
            if part not in named:
                _check_part(part, value)
        self.options = Options.of(**named, **options)
        self._notify, self._warn = notify, warn
        self._on_download = on_download
        self._given = Given(
            detector=None if isinstance(detector, (str, Path)) else detector,
            face_model=None if isinstance(model, (str, Path)) else model,
            background=None if isinstance(background, (str, Path)) else background,
            mask=mask,
        )
        self._begin()

    def _begin(self) -> None:
        """Begin without any network loaded, in this process."""
        self._others: dict[Options, Components] = {}
        self._guard = threading.Lock()
        self._process = os.getpid()
        self._own = self._components(self.options)

    def __getstate__(self) -> dict[str, Any]:
        """Return what goes to another process, or into a copy: choices and objects that were given, no networks."""
        return {name: getattr(self, name) for name in _STATE}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._begin()

    def __repr__(self) -> str:
        """Return the model and what else differs from the defaults, as it is written."""
        given = self._given
        parts = {"detector": given.detector, "background": given.background, "mask": given.mask}
        words = [repr(self.options.model) if given.face_model is None else name_of(given.face_model)]
        words += [f"{name}={name_of(part)}" for name, part in parts.items() if part is not None]
        for name, value in self.options.values().items():
            if name != "model" and value != getattr(Options, name):
                words.append(f"{name}={value!r}")
        return f"{type(self).__name__}({', '.join(words)})"

    def _components(self, options: Options) -> Components:
        asked = requested_format(options.format)  # an unknown one is no error of a photo
        if options.layers and asked is not None and not asked.layers:
            raise UsageError(
                f"--layers writes a TIFF, and --format {options.format} asks for another file.",
                "Leave one of them out.",
            )
        kind = self._kind()
        return kind(options, self._notify, on_download=self._on_download, given=self._given, warn=self._warn)

    def _kind(self) -> Callable[..., Components]:
        """Return what makes the components of a set of options; who shares more than networks has another."""
        return Components

    @property
    def components(self) -> Components:
        """What works with the options of this restorer: detector, face restorer, mask and upscaler."""
        return self.components_for(None)

    def components_for(self, options: Options | None) -> Components:
        """Return what works with other options than this restorer's; networks that are loaded already are shared.

        Raises:
            DeviceUnavailableError: this process was forked from one whose networks are on a GPU.
        """
        if self._process != os.getpid():
            self._start_in_fork()
        if options is None or options == self.options:
            return self._own
        with self._guard:
            if options not in self._others:
                self._others[options] = self._components(options)
                if len(self._others) > OTHERS:
                    del self._others[next(iter(self._others))]
            return self._others[options]

    def _start_in_fork(self) -> None:
        """Begin anew in a process that was forked: locks may be held there by threads that did not come along."""
        start_after_fork(self._own.device_in_use)
        self._inherited = self._own  # its networks are in memory that both processes share, as long as one holds them
        self._begin()
