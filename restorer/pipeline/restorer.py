"""The story of one photo: open it, send it through the stages, and hand on what became of it.

`Restorer.restore` tells it from a photo to pixels, `Restorer.restore_file` from file to file. What happens on the way
stands in `restorer.pipeline.stages`, a file each; with what it happens, in `restorer.pipeline.components`.
"""

from __future__ import annotations

import io
import os
from collections.abc import Generator, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from restorer.imaging import alike
from restorer.models.base import Face
from restorer.options import Options, sizes
from restorer.photo import Note, Photo, Source, open_photo, output_format
from restorer.pipeline.canvas import Canvas, Work, Wrap
from restorer.pipeline.components import Components
from restorer.pipeline.events import OnStage, unheard
from restorer.pipeline.fingerprint import note_of, of_a_result
from restorer.pipeline.judging import note_what_was_done
from restorer.pipeline.many import OnProgress, Outcome, outcomes
from restorer.pipeline.prepared import Prepared
from restorer.pipeline.provenance import at_work, described, limits
from restorer.pipeline.result import Result, check_size, check_target, file_format, variant_paths, write_mask
from restorer.pipeline.running import instead, used
from restorer.pipeline.stages import stages
from restorer.record import Record

if TYPE_CHECKING:
    from restorer.faces.blending import Blending


class Restorer(Prepared):
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

    # -------------------------------------------------------------------------------------------- from file to file

    def restore_file(
        self,
        source: Source,
        target: Path | str | BinaryIO,
        format: str | None = None,
        *,
        photo: Photo | None = None,
        overwrite: bool = False,
        on_stage: OnStage | None = None,
    ) -> Record:
        """Restore one file into another; what goes wrong with the photo stands in the record, and no file is left.

        Args:
            source: the photo's file, or whatever else `restore` takes.
            target: the file to write, or a binary stream.
            format: what to write, as Pillow names it; None = by the target's name, and where that says nothing, as the
                option `format` says.
            photo: the photo, when it has been read already.
            overwrite: replace a file that is there; the photo itself is never replaced.
            on_stage: told how far the work is.

        Raises:
            WeightsError: weights are missing or not verified; no other photo would fare better.
            UsageError: the options cannot be met on this machine.
        """
        where = Path(target) if isinstance(target, str) else target
        path = Path(source) if isinstance(source, (str, os.PathLike)) else None
        record = self.new_record("-" if path is None else os.fspath(cast("str | Path", source)))
        with record.capturing(path):
            with record.timed("total"), record.timed("read"):
                opened = open_photo(source) if photo is None else photo
            check_target(where, opened, overwrite=overwrite)
            suffix = where.suffix if isinstance(where, Path) else ""
            format = format or output_format(opened.format, file_format(self.options), suffix or None)
            result = self.restore(opened, record=record, format=format, on_stage=on_stage)
            with record.timed("total"), record.timed("write"):
                lost = result.save(where, format=format, overwrite=overwrite)
                if isinstance(where, Path) and result.damage is not None and record.repair is not None:
                    record.repair["mask"] = write_mask(where, result.damage, result.note, overwrite=overwrite)
                others = variant_paths(where, 1 + len(result.variants))[1:] if isinstance(where, Path) else []
                for number, other in enumerate(others, 1):
                    result.save(other, format=format, overwrite=overwrite, variant=number)
            record.warn(*lost)
            record.output = str(where) if isinstance(where, Path) else "-"
            record.variants = [str(other) for other in others]
        return record

    def restore_bytes(self, data: bytes, *, on_stage: OnStage | None = None) -> tuple[bytes, Record]:
        """Restore a picture file's bytes into another's, in the format that the option `format` says.

        Args:
            data: the photo's file.
            on_stage: told how far the work is.

        Returns:
            The result's file and the record; no bytes where the photo failed, and the record says by what.

        Raises:
            WeightsError: weights are missing or not verified; no other photo would fare better.
            UsageError: the options cannot be met on this machine.
        """
        stream = io.BytesIO()
        record = self.restore_file(data, stream, on_stage=on_stage)
        return (stream.getvalue() if record.status == "ok" else b""), record

    def restore_many(
        self, photos: Iterable[Source], *, total: int | None = None, on_progress: OnProgress | None = None
    ) -> Generator[Outcome, None, None]:
        """Restore photos one after the other, and hand each on as soon as it and those before it are done.

        A photo that cannot be restored is an outcome too, with a record that says why, and the others go on. Photos are
        taken from `photos` only as they are needed, so that it may be a generator without end. On a CPU one photo is in
        memory at a time; on a GPU a few are worked on together, and their faces share the batches of the network.

        Args:
            photos: whatever `restore` takes, one after the other.
            total: how many there are, for `on_progress`; None = as many as their length says.
            on_progress: hears how much is done, from 0.0 to 1.0, only ever more. Where nobody knows how many there are,
                it hears the beginning and the end.

        Returns:
            An iterator over what became of them, in their order. What stops early closes it.

        Raises:
            WeightsError: weights are missing or not verified; no other photo would fare better.
            UsageError: the options cannot be met on this machine, or `photos` is a single photo.
        """
        return outcomes(self, photos, total=total, on_progress=on_progress)

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
        blending: Blending | None = None,
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
            blending: takes in what is pasted, so that a face can be blended in anew by another strength.

        Raises:
            PhotoError: the photo cannot be read, or a face that was to be restored was not.
            WeightsError: weights are missing or not verified.
        """
        components = self.components_for(options)
        options = components.options
        named = os.fspath(photo) if isinstance(photo, (str, os.PathLike)) else "-"
        known, record = record is not None, record or self.new_record(named, options)
        progress, before = on_stage or unheard, components.notes()
        with record.timed("total"):
            with record.timed("read"):
                opened = open_photo(photo)
            if not known and opened.path is not None:
                record.input = str(opened.path)
            record.warn(*opened.warnings, of_a_result(opened))
            for line in components.fallbacks():
                components.warn_once(line)
                record.warn(line)
            record.input_size = opened.size
            size = self.output_size(opened.size, options)
            record.warn(*sizes.remarks(options, opened.size))
            if format is not None:
                check_size(format, size, opened, opened.path)
            known_faces = None if faces is None else list(faces)
            work = Work(opened, options, components, record, size, known_faces, wrap=wrap, blending=blending)
            canvas = Canvas(opened.pixels, opened.alpha)
            for stage in stages():
                if stage.is_wanted(work):
                    progress(stage.name, 0)
                    work.tell = partial(progress, stage.name)
                    canvas = stage.run(canvas, work)
            record.warn(*components.fallbacks(), *(components.notes() - before))
            note_what_was_done(work, canvas)
            record.change = alike.change(opened.pixels, canvas.pixels)
            self._conclude(record, components, size)
            if faces is not None:
                record.detector = None
            record.licenses = limits(components, record)
            record.components = described(components, record)
            record.networks = components.facts(at_work(components, record))
            record.engine = used(components, record, components.is_search)
            components.say(record, instead(components, record))
        note = self.note(opened.sha256, options, faces, record)
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
            work.damage if options.save_mask else None,
        )

    def _conclude(self, record: Record, components: Components, size: tuple[int, int]) -> None:
        """Write into the record with what the work was done, which "auto" may have decided on the way."""
        record.model, record.detector = components.model, components.detector_name()
        device = components.used_device()
        record.device, record.precision = device.name, "fp32" if components.is_search else device.precision
        record.output_size = size
        if record.input_size is not None:
            record.scale = sizes.scale_of(components.options, record.input_size)

    def output_size(self, size: tuple[int, int], options: Options | None = None) -> tuple[int, int]:
        """Return the size (width, height) of the result for a photo of `size`; at least one pixel."""
        return sizes.result_size(options or self.options, size)

    # ------------------------------------------------------------------------------------------------ what was done

    def new_record(self, source: str, options: Options | None = None) -> Record:
        """Return an empty record of one photo with the names of the run."""
        components = self.components_for(options)
        scale = sizes.known_scale(components.options)
        return Record(source, model=components.model, detector=components.detector_name(), scale=scale)

    def note(
        self,
        input_sha256: str,
        options: Options | None = None,
        faces: Sequence[Face] | None = None,
        record: Record | None = None,
    ) -> Note:
        """Return the note that the result carries: what was done, by what, and a fingerprint of input and weights.

        Args:
            input_sha256: of the photo's bytes.
            options: other ones than the restorer's.
            faces: those that the caller knew; then they are part of the fingerprint.
            record: of the work, once it is done: what "auto" came to, and the faces; None = before it.
        """
        return note_of(self.components_for(options), input_sha256, faces, record)
