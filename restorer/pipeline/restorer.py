"""The story of one photo: open it, send it through the stages, and hand on what became of it.

`Restorer.restore` tells it from a photo to pixels, `Restorer.restore_file` from file to file. What happens on the way
stands in `restorer.pipeline.stages`, a file each; with what it happens, in `restorer.pipeline.components`.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from restorer import weights
from restorer.errors import OptionTypeError, UsageError
from restorer.imaging.libraries import np
from restorer.models.base import Detector, Face, FaceRestorer
from restorer.options import OptionFields, Options
from restorer.photo import Note, Photo, Source, open_photo, requested_format
from restorer.pipeline.canvas import Canvas, Work
from restorer.pipeline.components import Components
from restorer.pipeline.decisions import Given, Mask, Notify, name_of
from restorer.pipeline.events import OnStage, unheard
from restorer.pipeline.holes import hash_of
from restorer.pipeline.result import Result, check_size, variant_paths
from restorer.pipeline.stages import stages
from restorer.record import Record
from restorer.upscaling.lanczos import Background
from restorer.version import __version__

if TYPE_CHECKING:
    from typing_extensions import Unpack

Wrap = Callable[[FaceRestorer], FaceRestorer]
"""Puts something around a face restorer, so that several photos share its batches."""
OTHERS = 16
"""Sets of other options that a restorer keeps components for; those that were made first go."""


class Restorer:
    """Restores photos with one choice of components; networks are loaded on first use and kept.

    Args:
        model: "auto", "none", a table or alias of a face restorer, a file of one's own, or an object with `crop` and
            `restore` (see `restorer.models.base.FaceRestorer`).
        detector: "auto", a table, or an object with `detect`.
        background: "auto", "lanczos", a table, or an object with `upscale`.
        mask: None (ParseNet, or an outline drawn from the landmarks for the built-in model and where ParseNet's weights
            cannot be had), or an object that maps restored crops to masks (see `restorer.pipeline.decisions.Mask`).
        notify: called with each line that the user should read (what "auto" chose); None = it is logged.
        warn: called with each line that even a quiet program should say (built-in models take over); None = `notify`,
            and without that it is logged as a warning.
        on_download: hears each step of a download of weights; None = its size is logged.
        options: the other fields of `Options`, for example `scale=4`.

    Raises:
        UsageError: an option is unknown, of a wrong type or out of its range, or one that the model does not have.
        UnknownTableError: no weights.toml has a table of that name.
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
        self._others: dict[Options, Components] = {}
        self._guard = threading.Lock()
        self.components = self._components(self.options)

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
        return Components(options, self._notify, on_download=self._on_download, given=self._given, warn=self._warn)

    def components_for(self, options: Options | None) -> Components:
        """Return what works with other options than this restorer's; networks that are loaded already are shared."""
        if options is None or options == self.options:
            return self.components
        with self._guard:
            if options not in self._others:
                self._others[options] = self._components(options)
                if len(self._others) > OTHERS:
                    del self._others[next(iter(self._others))]
            return self._others[options]

    # -------------------------------------------------------------------------------------------- from file to file

    def restore_file(
        self,
        source: Path | bytes,
        target: Path | BinaryIO,
        format: str,
        *,
        photo: Photo | None = None,
        overwrite: bool = False,
        on_stage: OnStage | None = None,
    ) -> Record:
        """Restore one file into another; what goes wrong with the photo stands in the record, and no file is left.

        Args:
            source: the photo's file, or its bytes.
            target: the file to write, or a binary stream.
            format: what to write, as Pillow names it.
            photo: the photo, when it has been read already.
            overwrite: replace a file that is there; the photo itself is never replaced.
            on_stage: told how far the work is.

        Raises:
            WeightsError: weights are missing or not verified; no other photo would fare better.
            UsageError: the options cannot be met on this machine.
        """
        record = self.new_record("-" if isinstance(source, bytes) else str(source))
        with record.capturing(source if isinstance(source, Path) else None):
            result = self.restore(source if photo is None else photo, record=record, format=format, on_stage=on_stage)
            with record.timed("total"), record.timed("write"):
                lost = result.save(target, format=format, overwrite=overwrite)
                others = variant_paths(target, 1 + len(result.variants))[1:] if isinstance(target, Path) else []
                for number, other in enumerate(others, 1):
                    result.save(other, format=format, overwrite=overwrite, variant=number)
            record.warn(*lost)
            record.output = str(target) if isinstance(target, Path) else "-"
            record.variants = [str(other) for other in others]
        return record

    # --------------------------------------------------------------------------------------------- the story itself

    def restore(
        self,
        photo: Source,
        *,
        options: Options | None = None,
        faces: Sequence[Face] | None = None,
        on_stage: OnStage | None = None,
        record: Record | None = None,
        format: str | None = None,
        wrap: Wrap | None = None,
    ) -> Result:
        """Restore one photo.

        Args:
            photo: a file, its bytes or an open stream, pixels (h, w, 3) RGB, uint8, uint16 or float in [0, 1], a
                picture of Pillow's, or a `Photo`; see `restorer.photo.open_photo`.
            options: other ones than the restorer's, for this photo; networks that are loaded are not loaded again.
            faces: those of the photo, where they are known; None = they are looked for.
            on_stage: told how far the work is.
            record: what is written into on the way, so that it can be read also when an error ends the work.
            format: what the result will be written in; a size that it cannot hold is refused before the work.
            wrap: puts something around the face restorer, so that several photos share its batches.

        Raises:
            PhotoError: the photo cannot be read, or a face that was to be restored was not.
            WeightsError: weights are missing or not verified.
        """
        components = self.components_for(options)
        options = components.options
        named = os.fspath(photo) if isinstance(photo, (str, os.PathLike)) else "-"
        known, record = record is not None, record or self.new_record(named, options)
        progress = on_stage or unheard
        before = components.notes()
        with record.timed("total"):
            with record.timed("read"):
                opened = open_photo(photo)
            if not known and opened.path is not None:
                record.input = str(opened.path)
            record.warn(*opened.warnings)
            for line in components.fallbacks():
                components.warn_once(line)
                record.warn(line)
            record.input_size = opened.size
            size = self.output_size(opened.size, options)
            if format is not None:
                check_size(format, size, opened, opened.path)
            work = Work(
                opened, options, components, record, size, faces=None if faces is None else list(faces), wrap=wrap
            )
            canvas = Canvas(opened.pixels, opened.alpha)
            for stage in stages():
                if stage.is_wanted(work):
                    progress(stage.name, 0)
                    work.tell = partial(progress, stage.name)
                    canvas = stage.run(canvas, work)
            record.warn(*components.fallbacks(), *(components.notes() - before))
            self._conclude(record, components, size)
            if faces is not None:
                record.detector = None
            record.licenses = components.limits(record)
        note = self.note(opened.sha256, options, faces)
        return Result(
            canvas.pixels,
            canvas.alpha,
            opened,
            tuple(record.faces),
            record,
            replace(note, license="; ".join(f"{name}: {words}" for name, words in record.licenses.items())),
            canvas.changed,
            options,
            tuple(canvas.layers or ()),
            tuple(each.pixels for each in work.variants),
            tuple(tuple(each.layers or ()) for each in work.variants),
        )

    def _conclude(self, record: Record, components: Components, size: tuple[int, int]) -> None:
        """Write into the record with what the work was done, which "auto" may have decided on the way."""
        record.model, record.detector = components.model, components.detector_name()
        device = components.used_device()
        record.device, record.precision = device.name, "fp32" if components.is_search else device.precision
        record.scale, record.output_size = components.options.scale, size

    def output_size(self, size: tuple[int, int], options: Options | None = None) -> tuple[int, int]:
        """Return the size (width, height) of the result for a photo of `size`; at least one pixel."""
        scale = (options or self.options).scale
        return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))

    # ------------------------------------------------------------------------------------------------ what was done

    def new_record(self, source: str, options: Options | None = None) -> Record:
        """Return an empty record of one photo with the names of the run."""
        components = self.components_for(options)
        return Record(
            source, model=components.model, detector=components.detector_name(), scale=components.options.scale
        )

    def note(self, input_sha256: str, options: Options | None = None, faces: Sequence[Face] | None = None) -> Note:
        """Return the note that the result carries: what was done, by what, and a fingerprint of input and weights.

        Args:
            input_sha256: of the photo's bytes.
            options: other ones than the restorer's.
            faces: those that the caller knew; then they are part of the fingerprint.
        """
        components = self.components_for(options)
        chosen = components.options
        named = {
            **chosen.changed(),
            "scale": chosen.scale,
            "detector": chosen.detector,
            "background": chosen.background,
        }
        model = components.model
        facts: dict[str, Any] = {
            "input": input_sha256,
            "options": named,
            "model": model,
            "weights": components.model_hash(),
        }
        if chosen.min_likeness is not None:
            facts["likeness"] = components.likeness_hash()
        if chosen.hole is not None:
            facts["hole"] = hash_of(Path(chosen.hole))
        if faces is not None:
            facts["faces"] = [[*map(float, face.box), *np.ravel(face.landmarks).tolist()] for face in faces]
        digest = hashlib.sha256(json.dumps([__version__, facts], sort_keys=True).encode()).hexdigest()
        return Note(tool="restorer", version=__version__, model=model, options=named, fingerprint=digest)


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
