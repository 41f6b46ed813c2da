"""The story of one photo: open, find faces, enlarge, restore each face, paste it back, save.

`Restorer.restore` tells it from a photo to pixels, `Restorer.restore_file` from file to file. The parts (detector, face
restorer, mask, background) come from `restorer.pipeline.parts`; what happens is written into a `Record` on the way.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from restorer import weights
from restorer.engine.device import give_back_memory
from restorer.errors import FaceNotRestoredError, UsageError
from restorer.faces import align, likeness, paste, select, tone
from restorer.faces.crops import (
    crop_of,
    enlarged,
    from_unit,
    pitch,
    relative,
    stacked,
    to_picture,
    to_unit,
)
from restorer.faces.mask import share
from restorer.imaging.alpha import spread_colours
from restorer.imaging.colour import looks_grey
from restorer.imaging.resize import resize
from restorer.models.base import CropSpec, FaceRestorer
from restorer.options import OptionFields, Options
from restorer.photo import (
    Note,
    Photo,
    check_output_size,
    output_format,
    photo_from_array,
    read_photo,
    requested_format,
    write_photo,
)
from restorer.pipeline.parts import Detector, Mask, Parts, Say
from restorer.record import FaceRecord, Record
from restorer.upscaling.lanczos import Background
from restorer.version import __version__

if TYPE_CHECKING:
    import torch
    from typing_extensions import Unpack

OnStage = Callable[[str, float], None]
"""Called with the stage ("detect", "background", "restore", "write") and how far it is, 0 to 1."""


@dataclass(frozen=True)
class Result:
    """A restored photo.

    Attributes:
        image: (H, W, 3) RGB, uint8 or uint16 as the photo was.
        alpha: (H, W) of the same type, or None.
        photo: what was opened, with all that it carries.
        faces: every detected face: box, landmarks, score, whether and why not it was restored.
        record: the record of the photo as plain values, as `--json` prints it.
    """

    image: np.ndarray
    alpha: np.ndarray | None
    photo: Photo
    faces: tuple[FaceRecord, ...]
    record: dict[str, Any]
    note: Note

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds by stage."""
        return dict(self.record["seconds"])

    def save(
        self,
        target: Path | str | BinaryIO,
        *,
        format: str | None = None,
        quality: int | None = None,
        strip_metadata: bool = False,
    ) -> list[str]:
        """Write the photo with everything that the input carried; return warnings about what the format cannot hold.

        Args:
            target: a file, written beside and renamed, or a binary stream.
            format: "JPEG", "PNG", "WEBP", "TIFF", "BMP" or "HEIF"; None = by the file's suffix, PNG without one.
            quality: of JPEG, WebP and HEIC, 1 to 100; None = 95, and a lossless WebP stays lossless.
            strip_metadata: drop everything but the colour profile.

        Raises:
            UnwritableOutputError: the file cannot be written; nothing is left of it.
            UsageError: the suffix is no picture's, or of a kind that is not written.
            PhotoTooLargeError: the format cannot hold a picture of this size.
        """
        where = Path(target) if isinstance(target, str) else target
        if format is None:
            suffix = where.suffix if isinstance(where, Path) else ""
            format = output_format(self.photo.format, "keep", suffix) if suffix else "PNG"
        size = self.image.shape[1], self.image.shape[0]
        _check_size(format, size, self.photo, where if isinstance(where, Path) else None)
        return write_photo(
            where,
            self.image,
            like=self.photo,
            format=format,
            alpha=self.alpha,
            quality=quality,
            note=self.note,
            strip_metadata=strip_metadata,
        )


class Restorer:
    """Restores photos with one choice of parts; networks are loaded on first use and kept.

    Args:
        model: "auto", "none", a table or alias of a face restorer, a file of one's own, or an object with `crop` and
            `restore` (see `restorer.models.base.FaceRestorer`).
        detector: "auto", a table, or an object with `detect`.
        background: "auto", "lanczos", a table, or an object with `upscale`.
        mask: None (ParseNet, or an outline drawn from the landmarks for the built-in model and where ParseNet's weights
            cannot be had), or an object that maps restored crops to masks (see `restorer.pipeline.parts.Mask`).
        say: called with each line that the user should read (what "auto" chose).
        on_download: hears each step of a download of weights; None = its size is logged.
        options: the other fields of `Options`, for example `scale=4`.

    Raises:
        UsageError: an option is unknown, of a wrong type or out of its range, or one that the model does not have.
        UnknownTableError: no weights.toml has a table of that name.
    """

    def __init__(
        self,
        model: str | FaceRestorer = "auto",
        *,
        detector: str | Detector = "auto",
        background: str | Background = "auto",
        mask: Mask | None = None,
        say: Say | None = None,
        on_download: weights.OnProgress | None = None,
        **options: Unpack[OptionFields],
    ) -> None:
        names = {"model": model, "detector": detector, "background": background}
        named: dict[str, Any] = {key: value for key, value in names.items() if isinstance(value, str)}
        self.options = Options.of(**named, **options)
        requested_format(self.options.format)  # an unknown one is no error of a photo
        self.parts = Parts(
            self.options,
            say or (lambda _line: None),
            on_download=on_download,
            detector=None if isinstance(detector, str) else detector,
            restorer=None if isinstance(model, str) else model,
            background=None if isinstance(background, str) else background,
            mask=mask,
        )

    # -------------------------------------------------------------------------------------------- from file to file

    def restore_file(
        self,
        source: Path | bytes,
        target: Path | BinaryIO,
        format: str,
        *,
        photo: Photo | None = None,
        on_stage: OnStage | None = None,
    ) -> Record:
        """Restore one file into another; what goes wrong with the photo stands in the record, and no file is left.

        Args:
            source: the photo's file, or its bytes.
            target: the file to write, or a binary stream.
            format: what to write, as Pillow names it.
            photo: the photo, when it has been read already.
            on_stage: told how far the work is.

        Raises:
            WeightsError: weights are missing or not verified; no other photo would fare better.
            UsageError: the options cannot be met on this machine.
        """
        record = self.new_record("-" if isinstance(source, bytes) else str(source))
        with record.capturing(source if isinstance(source, Path) else None):
            with record.timed("total"):
                result = self._restore(source if photo is None else photo, record, on_stage, format)
                with record.timed("write"):
                    options = self.options
                    lost = result.save(
                        target, format=format, quality=options.quality, strip_metadata=options.strip_metadata
                    )
            record.warn(*lost)
            record.output = str(target) if isinstance(target, Path) else "-"
        return record

    def restore(
        self,
        photo: Path | str | bytes | np.ndarray | Photo,
        *,
        on_stage: OnStage | None = None,
        record: Record | None = None,
        format: str | None = None,
    ) -> Result:
        """Restore one photo.

        Args:
            photo: a file, its bytes, pixels (h, w, 3) RGB uint8 or uint16, or a `Photo`.
            on_stage: told how far the work is.
            record: what is written into on the way, so that it can be read also when an error ends the work.
            format: what the result will be written in; a size that it cannot hold is refused before the work.

        Raises:
            PhotoError: the photo cannot be read, or a face that was to be restored was not.
            WeightsError: weights are missing or not verified.
        """
        source = Path(photo) if isinstance(photo, str) else photo
        record = record or self.new_record(str(source) if isinstance(source, Path) else "-")
        with record.timed("total"):
            result = self._restore(source, record, on_stage, format)
        result.record["seconds"] = record.as_dict()["seconds"]
        return result

    # --------------------------------------------------------------------------------------------- the story itself

    def _restore(
        self,
        source: Path | bytes | np.ndarray | Photo,
        record: Record,
        on_stage: OnStage | None,
        format: str | None = None,
    ) -> Result:
        progress = on_stage or (lambda _stage, _share: None)
        with record.timed("read"):
            photo = _open(source)
        record.warn(*photo.warnings)
        for line in self.parts.fallbacks():
            self.parts.tell(line)
            record.warn(line)
        record.input_size = photo.size
        size = self.output_size(photo.size)
        if format is not None:
            _check_size(format, size, photo, photo.path)

        progress("detect", 0)
        with record.timed("detect"):
            faces = self._find_faces(photo, record)
        give_back_memory()
        progress("background", 0)
        with record.timed("background"):
            background, why = self.parts.get_background(photo.size)
            self.parts.tell(why)
            record.background = background.name
            pixels = photo.pixels if size == photo.size else spread_colours(photo.pixels, photo.alpha)
            image = background.upscale(pixels, size, lambda done, total: progress("background", done / max(total, 1)))
            if not image.flags.writeable:  # Pillow's arrays are not, and an object of the caller's may do as it likes
                image = image.copy()
            alpha = resize(photo.alpha, size) if photo.alpha is not None else None

        if self.options.aligned and self.parts.faces_wanted:
            self._restore_aligned(photo, image, record)
        elif faces:
            self._restore_faces(photo, faces, image, background, record, progress)
        self._check_faces(photo, record)
        record.warn(*self.parts.fallbacks())
        record.model, record.detector = self.parts.model, self.parts.detector_name()
        device = self.parts.used_device()
        record.device, record.precision = device.name, device.precision
        record.output_size = size
        return Result(image, alpha, photo, tuple(record.faces), record.as_dict(), self.note(photo.sha256))

    def output_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the size of the result for a photo of `size`; at least one pixel."""
        return max(1, round(size[0] * self.options.scale)), max(1, round(size[1] * self.options.scale))

    def _find_faces(self, photo: Photo, record: Record) -> list[tuple[FaceRecord, np.ndarray]]:
        """Detect, write every face into the record, and return those that are to be restored."""
        if not self.parts.faces_wanted or self.options.aligned:
            return []
        found = self.parts.get_detector().detect(photo.pixels)
        options = self.options
        reasons = select.choose(
            found, photo.size, faces=options.faces, min_face=options.min_face, max_faces=options.max_faces
        )
        for number in select.missing(options.faces, len(found)):
            record.warn(f"--faces asks for face {number}, but {len(found)} were found.")
        chosen = []
        for face, reason in zip(found, reasons, strict=True):
            points = tuple((float(x), float(y)) for x, y in face.landmarks)
            entry = FaceRecord(face.box, points, face.score, wanted=reason is None, reason=reason)
            record.faces.append(entry)
            if reason is None:
                chosen.append((entry, face.landmarks))
        if not found:
            record.warn("No face was found; only the picture as a whole was enlarged.")
        return chosen

    def _restore_faces(
        self,
        photo: Photo,
        faces: list[tuple[FaceRecord, np.ndarray]],
        image: np.ndarray,
        background: Background,
        record: Record,
        progress: Callable[[str, float], None],
    ) -> None:
        """Restore the chosen faces in batches and paste each into the enlarged photo."""
        restorer = self.parts.get_restorer()
        mask, warning = self.parts.get_mask()
        record.warn(warning)
        record.mask = type(mask).__name__
        template = restorer.crop.template
        if template is None:
            raise UsageError(f"{self.parts.model} restores aligned crops only.", "Give it such crops with --aligned.")
        aligned = []
        for entry, landmarks in faces:
            matrix = align.estimate(landmarks, template, restorer.crop.align_size)
            if matrix is None:
                entry.reason = "its landmarks allow no alignment"
                if select.numbers(self.options.faces) is None:  # hardly a face: its neighbours are not to suffer
                    entry.wanted = False
                    number = next(i for i, each in enumerate(record.faces, 1) if each is entry)
                    record.warn(f"Face {number} was left as it is: {entry.reason}.")
            else:
                aligned.append((entry, matrix, relative(landmarks, matrix, restorer.crop.align_size)))
        batch = self.options.batch_size or (1 if self.parts.device.kind == "cpu" else 16)
        for start in range(0, len(aligned), batch):
            progress("restore", start / len(aligned))
            part = aligned[start : start + batch]
            with record.timed("align"):
                crops = [crop_of(photo, matrix, restorer.crop) for _, matrix, _ in part]
            with record.timed("restore"):
                outputs = self._run(restorer, stacked(crops), [entry for entry, _, _ in part])
            if outputs is None:
                continue
            with record.timed("mask"):
                masks = mask(outputs, np.stack([points for _, _, points in part]))
            for (entry, matrix, points), crop, output, weight in zip(part, crops, outputs, masks, strict=True):
                if not np.isfinite(output.numpy()).all():
                    entry.reason = "the network returned not-a-number, also in fp32"
                    continue
                with record.timed("paste"):
                    neighbours = [other for _, other, _ in aligned if other is not matrix]
                    weight = weight * share(matrix, neighbours, restorer.crop.align_size, weight.shape[0])
                    face = to_picture(output, monochrome=self._stays_grey(photo))
                    face = self._toned(face, crop, weight, matrix, restorer.crop)
                if not self._resembles(crop, face, points, entry, record):
                    continue
                with record.timed("paste"):
                    face = enlarged(face, matrix, restorer.crop, image, photo, background)
                    paste.paste(
                        image, face, weight, matrix, photo.size, restorer.crop.align_size, self.options.strength
                    )
                entry.restored = True

    def _toned(
        self, face: np.ndarray, original: np.ndarray, weight: np.ndarray, matrix: np.ndarray, crop: CropSpec
    ) -> np.ndarray:
        """Give a restored crop the colours of the crop it was made from, and its grain where that is asked for."""
        if self.options.match_color:
            face = tone.match_color(face, original, weight)
        if self.options.grain:
            pixel = pitch(matrix) * face.shape[0] / crop.align_size
            face = tone.add_grain(face, original, weight, pixel=pixel, seed=self.options.seed or 0)
        return face

    def _resembles(
        self, before: np.ndarray, after: np.ndarray, points: np.ndarray, entry: FaceRecord, record: Record
    ) -> bool:
        """Return whether a restored crop is as like the photo's as asked for; if not, the face stays as it was."""
        least = self.options.min_likeness
        if least is None:
            return True
        with record.timed("likeness"):
            entry.likeness = self.parts.get_likeness()(before, after, points)
        if entry.likeness >= least:
            return True
        entry.wanted, entry.reason = False, likeness.reason(entry.likeness, least)
        return False

    def _stays_grey(self, photo: Photo) -> bool:
        """Return whether faces are made black and white: they keep the colours of the photo, unless asked otherwise."""
        return self.options.match_color and looks_grey(photo.pixels)

    def _run(self, restorer: FaceRestorer, crops: torch.Tensor, entries: list[FaceRecord]) -> torch.Tensor | None:
        """Return restored crops, or None with the reason in each face's record when memory does not suffice."""
        import torch

        try:
            return restorer.restore(crops).detach().float().cpu()
        except torch.OutOfMemoryError as error:
            for entry in entries:
                entry.reason = f"the memory of {self.parts.device.name} does not suffice: {error}".splitlines()[0]
            return None

    def _restore_aligned(self, photo: Photo, image: np.ndarray, record: Record) -> None:
        """Restore a photo that is one aligned face crop; a crop that is not square is padded to one and cut back."""
        restorer = self.parts.get_restorer()
        width, height = photo.size
        side = max(width, height)
        left, top = (side - width) // 2, (side - height) // 2
        padding = ((top, side - height - top), (left, side - width - left), (0, 0))
        square = np.pad(to_unit(photo.pixels), padding, mode="symmetric" if side < 2 * min(width, height) else "edge")
        size = restorer.crop.input_size
        entry = FaceRecord((0.0, 0.0, float(width), float(height)), (), 1.0, wanted=True)
        record.faces.append(entry)
        crop = resize(square, (size, size))
        with record.timed("restore"):
            outputs = self._run(restorer, stacked([crop]), [entry])
        if outputs is None:
            return
        if not np.isfinite(outputs.numpy()).all():
            entry.reason = "the network returned not-a-number, also in fp32"
            return
        face = to_picture(outputs[0], monochrome=self._stays_grey(photo))
        if restorer.crop.template and not self._resembles(
            crop, face, np.array(restorer.crop.template.points), entry, record
        ):
            return
        with record.timed("paste"):
            unit = face.shape[0] / side
            cut = face[
                round(top * unit) : round((top + height) * unit), round(left * unit) : round((left + width) * unit)
            ]
            restored = resize(np.ascontiguousarray(cut), (image.shape[1], image.shape[0]))
            blended = to_unit(image) * (1 - self.options.strength) + restored * self.options.strength
            image[...] = from_unit(blended, image.dtype)
        entry.restored = True

    def _check_faces(self, photo: Photo, record: Record) -> None:
        """Fail the photo when a face that was to be restored was not: a face left as it was must not pass for one."""
        failed = [(i, face.reason) for i, face in enumerate(record.faces, 1) if face.wanted and not face.restored]
        if failed:
            numbers, reasons = zip(*failed, strict=True)
            raise FaceNotRestoredError(
                photo.path,
                f"{_label(photo)}: face {', '.join(map(str, numbers))} could not be restored: {reasons[0]}.",
                "Leave it out with --faces, or try another --model, --device or a smaller --batch-size.",
                faces=numbers,
                reasons=[str(reason) for reason in reasons],
            )

    # ------------------------------------------------------------------------------------------------ what was done

    def new_record(self, source: str) -> Record:
        """Return an empty record of one photo with the names of the run."""
        return Record(source, model=self.parts.model, detector=self.parts.detector_name(), scale=self.options.scale)

    def note(self, input_sha256: str) -> Note:
        """Return the note that the result carries: what was done, by what, and a fingerprint of input and weights."""
        options = {
            **self.options.changed(),
            "scale": self.options.scale,
            "detector": self.options.detector,
            "background": self.options.background,
        }
        model = self.parts.model
        facts = {"input": input_sha256, "options": options, "model": model, "weights": self.parts.model_hash()}
        if self.options.min_likeness is not None:
            facts["likeness"] = self.parts.likeness_hash()
        digest = hashlib.sha256(json.dumps([__version__, facts], sort_keys=True).encode()).hexdigest()
        return Note(tool="restorer", version=__version__, model=model, options=options, fingerprint=digest)


def _open(source: Path | bytes | np.ndarray | Photo) -> Photo:
    if isinstance(source, Photo):
        return source
    return photo_from_array(source) if isinstance(source, np.ndarray) else read_photo(source)


def _check_size(format: str, size: tuple[int, int], photo: Photo, path: Path | None) -> None:
    """Raise `PhotoTooLargeError` when a format cannot hold the photo at this size."""
    check_output_size(format, *size, path, channels=3 if photo.alpha is None else 4, bits=photo.bits)


def _label(photo: Photo) -> str:
    return str(photo.path) if photo.path else "The photo"
