"""Finding the faces of a photo, and choosing those that are restored."""

from __future__ import annotations

from typing import TYPE_CHECKING

from restorer.engine.memory import trim_heap
from restorer.errors import worded
from restorer.formatting import ranges
from restorer.models.base import Face
from restorer.pipeline.canvas import Canvas, Detection, Work
from restorer.pipeline.events import Step
from restorer.pipeline.pointed import outlined
from restorer.pipeline.stages import Stage
from restorer.record import FaceRecord

if TYPE_CHECKING:
    import numpy as np

    from restorer.faces.outlined import Outlined


class DetectStage(Stage):
    """Detects, writes every face into the record, and notes those that are to be restored."""

    name = "detect"
    words = "looking for faces"
    order = 200
    weight = 0.1
    steps = (Step("detect", "megapixel", "looking for faces"),)

    def is_wanted(self, work: Work) -> bool:
        """Whether there is a face stage at all."""
        return work.components.faces_wanted

    def run(self, canvas: Canvas, work: Work) -> Canvas:
        """Return the canvas as it is; the faces are in `work.detections` and in the record."""
        from restorer.faces.turned import lies, lies_by

        with work.record.timed("detect"):
            seen = canvas.pixels if work.colours is None else work.colours.picture(canvas.pixels)
            faces = [_whole(canvas)] if work.options.aligned else self._found(seen, work)
            if angle := lies_by(faces):
                work.record.warn(lies(angle))
            pointed = outlined(work.components, work.options.face, seen, faces) if work.options.face else []
            if not faces and not pointed and work.faces is None:
                work.record.warn("No face was found; only the picture as a whole was enlarged.")
            self._choose(faces, pointed, canvas, work)
        trim_heap()
        return canvas

    def _found(self, pixels: np.ndarray, work: Work) -> list[Face]:
        if work.faces is not None:
            return work.faces
        return list(work.components.detector().detect(pixels))

    def _choose(self, faces: list[Face], pointed: list[Outlined], canvas: Canvas, work: Work) -> None:
        from restorer.faces import select
        from restorer.faces.outlined import joined
        from restorer.faces.placement import WholePlacement

        options, record = work.options, work.record
        found = len(faces)
        faces, named = joined(faces, pointed)
        reasons = select.choose(
            faces, work.photo.size, faces=options.faces, min_face=options.min_face, max_faces=options.max_faces,
            insisted=named,
        )  # fmt: skip
        missing = select.missing(options.faces, len(faces))
        if missing:
            which = f"face{'s' if len(missing) > 1 else ''} {ranges(missing)}"
            record.warn(f"--faces asks for {which}, but {len(faces)} were found.")
        if not (options.aligned or options.always or work.insists):
            doubted = self._doubted(canvas.pixels, faces[:found], reasons[:found], work)
            reasons = [each if i not in named else reasons[i] for i, each in enumerate([*doubted, *reasons[found:]])]
        for number, (face, reason) in enumerate(zip(faces, reasons, strict=True)):
            points = tuple((float(x), float(y)) for x, y in face.landmarks)
            entry = FaceRecord(face.box, points, face.score, wanted=reason is None, reason=reason and worded(reason))
            record.faces.append(entry)
            if number in named:
                entry.pointed, entry.detector = named[number].how, named[number].detector
                record.warn(*_remark(number, entry, seen=face.score > 0))
            if reason is None:
                placement = WholePlacement(work.photo.size) if options.aligned else None
                work.detections.append(Detection(entry, face.landmarks, placement, insisted=number in named))

    @staticmethod
    def _doubted(pixels: np.ndarray, faces: list[Face], reasons: list[str | None], work: Work) -> list[str | None]:
        """Return the reasons with those of detections that are hardly faces, and say how many these are."""
        from restorer.faces.plausible import implausible
        from restorer.models.templates import FACEXLIB

        doubts = implausible(pixels, faces, FACEXLIB)
        count = sum(doubt is not None for doubt in doubts)
        if count:
            work.record.warn(
                f"{count} of {len(faces)} finds are hardly faces (a pattern, or lettering) and were left as they were; "
                "--faces NUMBERS or --always restores them all the same."
            )
        return [reason or doubt for reason, doubt in zip(reasons, doubts, strict=True)]


def _remark(number: int, entry: FaceRecord, *, seen: bool) -> list[str]:
    """Return a line about a face that was pointed at, where it should be looked at."""
    if seen or not entry.wanted:
        return []
    return [f"Face {number + 1} was pointed at, and {entry.pointed}. Look at it."]


def _whole(canvas: Canvas) -> Face:
    """Return an aligned crop as a face: all of it, found for sure, with its landmarks where the model has them."""
    import numpy as np

    width, height = canvas.size
    return Face((0.0, 0.0, float(width), float(height)), np.empty((0, 2), np.float32), 1.0)


STAGE = DetectStage()
