"""Restoring the chosen faces: aligned, restored in batches, brought to the photo's tone, pasted back."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from restorer.engine import memory
from restorer.errors import FaceNotRestoredError, OutOfMemoryError, UsageError
from restorer.imaging.layers import flattened
from restorer.pipeline.canvas import Canvas, Detection, Work
from restorer.pipeline.events import BATCH_ON_GPU, Counted, Step
from restorer.pipeline.stages import Stage

if TYPE_CHECKING:
    import numpy as np
    import torch

    from restorer.faces.placement import Placement
    from restorer.imaging.layers import Layer
    from restorer.models.base import CropSpec, FaceRestorer


class FacesStage(Stage):
    """Restores each chosen face and pastes it into the enlarged photo."""

    name = "restore"
    words = "restoring faces"
    order = 400
    weight = 0.55
    steps = (
        Step("align", "face", "aligning faces"),
        Step("restore", "face", "restoring faces"),
        Step("mask", "face", "outlining faces"),
        Step("likeness", "face", "comparing faces"),
        Step("paste", "face", "pasting faces"),
    )

    def is_wanted(self, work: Work) -> bool:
        """Whether a face is to be restored."""
        return bool(work.detections)

    def run(self, canvas: Canvas, work: Work) -> Canvas:
        """Return the canvas with the faces in it.

        Raises:
            FaceNotRestoredError: a face that was to be restored was not; none left as it was may pass for restored.
            UsageError: the model takes aligned crops only.
        """
        _Faces(canvas, work).restore()
        _check(work)
        if canvas.layers is not None:  # the picture is what its layers show, whose values and masks are rounded
            canvas.pixels = flattened(canvas.layers)
        return canvas


class _Faces:
    """The faces of one photo on their way."""

    def __init__(self, canvas: Canvas, work: Work) -> None:
        self._canvas = canvas
        self._work = work
        model = work.components.face_model()
        self._model: FaceRestorer = model if work.wrap is None else work.wrap(model)
        self._crop: CropSpec = self._model.crop

    def restore(self) -> None:
        """Restore all of them, batch by batch."""
        import numpy as np

        work = self._work
        faces = self._aligned()
        batch = work.options.batch_size or (1 if work.components.device.kind == "cpu" else BATCH_ON_GPU)
        for start in range(0, len(faces), batch):
            work.tell(Counted(start, len(faces)))
            part = faces[start : start + batch]
            with work.record.timed("align"):
                cut = [placement.crop(self._pixels, self._crop) for _, placement in part]
                crops = [crop if work.colours is None else work.colours.seen(crop) for crop in cut]
            outputs = self._run(crops, part)
            if outputs is None:
                continue
            points = np.stack([self._points(face, placement) for face, placement in part])
            masks = self._masks(outputs, points)
            for i, (face, placement) in enumerate(part):
                neighbours = [other for _, other in faces if other is not placement]
                self._put_back(face, placement, (cut[i], crops[i]), outputs[i], masks[i], points[i], neighbours)

    @property
    def _pixels(self) -> np.ndarray:
        source = self._work.source
        return self._work.photo.pixels if source is None else source

    def _aligned(self) -> list[tuple[Detection, Placement]]:
        """Return the faces with their places; one whose landmarks allow no alignment is left, and named."""
        from restorer.faces import align, select
        from restorer.faces.placement import Placement

        work, template = self._work, self._crop.template
        if template is None and not work.options.aligned:
            raise UsageError(
                f"{work.components.model} restores aligned crops only.", "Give it such crops with --aligned."
            )
        found = []
        for face in work.detections:
            placement = face.placement
            if placement is None and face.landmarks is not None and template is not None:
                matrix = align.estimate(face.landmarks, template, self._crop.align_size)
                placement = None if matrix is None else Placement(work.photo.size, matrix, self._crop.align_size)
            if placement is not None:
                found.append((face, placement))
                continue
            face.entry.reason = "its landmarks allow no alignment"
            if select.numbers(work.options.faces) is None:  # hardly a face: its neighbours are not to suffer
                face.entry.wanted = False
                number = work.number_of(face.entry)
                work.record.warn(f"Face {number} was left as it is: {face.entry.reason}.")
        return found

    def _points(self, face: Detection, placement: Placement) -> np.ndarray:
        """Return a face's landmarks (5, 2) as they lie in its crop; those of the template for an aligned crop."""
        import numpy as np

        if face.landmarks is not None and len(face.landmarks):
            return placement.relative(face.landmarks)
        template = self._crop.template
        return np.array(template.points) if template is not None else np.zeros((5, 2))

    def _run(self, crops: list[np.ndarray], part: list[tuple[Detection, Placement]]) -> torch.Tensor | None:
        """Return restored crops, or None with the reason in each face's record when memory does not suffice."""
        from restorer.faces.crops import stacked

        with self._work.record.timed("restore"):
            try:
                return self._model.restore(stacked(crops)).detach().float().cpu()
            except (RuntimeError, MemoryError, OutOfMemoryError) as error:
                if not isinstance(error, OutOfMemoryError) and not memory.is_exhausted(error):
                    raise
                reason = f"the memory of {self._work.components.device.name} does not suffice: {error}".splitlines()[0]
        for face, _ in part:
            face.entry.reason = reason
        return None

    def _masks(self, outputs: torch.Tensor, points: np.ndarray) -> np.ndarray:
        """Return how much of each crop is pasted, (n, t, t); all of an aligned one."""
        import numpy as np

        work = self._work
        if work.options.aligned:
            return np.ones((len(outputs), 8, 8), np.float32)
        mask, warning = work.components.mask()
        work.components.warn_once(warning)
        work.record.warn(warning)
        work.record.mask = getattr(mask, "record_name", type(mask).__name__)
        work.record.mask_name = getattr(mask, "name", type(mask).__name__)
        with work.record.timed("mask"):
            return mask(outputs, points)

    def _put_back(
        self,
        face: Detection,
        placement: Placement,
        crops: tuple[np.ndarray, np.ndarray],
        output: torch.Tensor,
        mask: np.ndarray,
        points: np.ndarray,
        neighbours: list[Placement],
    ) -> None:
        """Bring one restored crop to the photo's tone, and paste it where it came from.

        `crops` are the photo's, in its own colours and as the model saw it.
        """
        import numpy as np

        from restorer.faces.crops import to_picture

        work, canvas, (_, crop) = self._work, self._canvas, crops
        if not np.isfinite(output.numpy()).all():
            face.entry.reason = "the network returned NaN, also in fp32"
            return
        with work.record.timed("paste"):
            mask = mask * placement.ownership(neighbours, mask.shape[0])
            picture = self._toned(to_picture(output, monochrome=work.stays_grey), crop, mask, placement)
        if not self._resembles(face, crop, picture, points):
            return
        with work.record.timed("paste"):
            background, _ = work.components.background((self._pixels.shape[1], self._pixels.shape[0]))
            picture = placement.enlarged(picture, canvas.pixels, background.upscale)
            if work.colours is not None:
                picture = work.colours.back(picture, *crops)
            kept: list[Layer] = []
            wanted = None if canvas.layers is None else kept
            placement.paste(canvas.pixels, picture, mask, work.options.strength, canvas.marks(), wanted)
            if canvas.layers is not None:
                canvas.layers += [replace(layer, name=f"Face {work.number_of(face.entry)}") for layer in kept]
        face.entry.restored = True

    def _toned(self, face: np.ndarray, original: np.ndarray, mask: np.ndarray, placement: Placement) -> np.ndarray:
        """Give a restored crop the colours of the crop it was made from, and its grain where that is asked for."""
        from restorer.faces import tone

        options = self._work.options
        if options.match_color:
            face = tone.match_color(face, original, mask)
        if options.grain:
            pixel = placement.pixel(face.shape[0])
            face = tone.add_grain(face, original, mask, pixel=pixel, seed=options.seed or 0)
        return face

    def _resembles(self, face: Detection, before: np.ndarray, after: np.ndarray, points: np.ndarray) -> bool:
        """Return whether a restored crop is as like the photo's as asked for; if not, the face stays as it was."""
        from restorer.faces import likeness

        least = self._work.options.min_likeness
        if least is None or self._crop.template is None:
            return True
        entry = face.entry
        with self._work.record.timed("likeness"):
            entry.likeness = self._work.components.likeness()(before, after, points)
        if entry.likeness >= least:
            return True
        entry.wanted, entry.reason = False, likeness.reason(entry.likeness, least)
        return False


def _check(work: Work) -> None:
    """Fail the photo when a face that was to be restored was not."""
    failed = [(i, face.reason) for i, face in enumerate(work.record.faces, 1) if face.wanted and not face.restored]
    if failed:
        numbers, reasons = zip(*failed, strict=True)
        raise FaceNotRestoredError(
            work.photo.path,
            f"{work.photo.path or 'The photo'}: face {', '.join(map(str, numbers))} could not be restored: "
            f"{reasons[0]}.",
            "Leave it out with --faces, or try another --model, --device or a smaller --batch-size.",
            faces=numbers,
            reasons=[str(reason) for reason in reasons],
        )


STAGE = FacesStage()
