"""Restoring the chosen faces: aligned, restored in batches, brought to the photo's tone, pasted back."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, cast

from restorer.engine import memory
from restorer.errors import FaceNotRestoredError, OutOfMemoryError, UsageError
from restorer.imaging.layers import flattened
from restorer.pipeline import fidelity, judging, personal, single_faces, whose
from restorer.pipeline.canvas import Canvas, Detection, Work
from restorer.pipeline.events import BATCH_ON_GPU, Counted, Step
from restorer.pipeline.searches import COLORIZE
from restorer.pipeline.stages import Stage

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import torch

    from restorer.faces.people import Match
    from restorer.faces.placement import Placement
    from restorer.imaging.layers import Layer
    from restorer.inversion.searcher import FaceSearcher
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
        """Whether a face is to be restored, or something is to be said of one that is not."""
        return bool(work.detections) or bool(work.options.adjust)

    def run(self, canvas: Canvas, work: Work) -> Canvas:
        """Return the canvas with the faces in it.

        Raises:
            FaceNotRestoredError: a face that was to be restored was not; none left as it was may pass for restored.
            UsageError: the model takes aligned crops only.
        """
        parts = [_Faces(canvas, each) for each in single_faces.parts(work)] if work.detections else []
        if work.blending is not None:
            work.blending.begin(canvas.pixels)
        for part in parts:
            part.choose()
        for part in parts:
            part.restore([face for other in parts if other is not part for face, _ in other.faces])
        single_faces.note(work)
        _check(work)
        for each in (canvas, *work.variants):
            if each.layers is not None:  # the picture is what its layers show, whose values and masks are rounded
                each.pixels = flattened(each.layers)
        return canvas


class _Faces:
    """The faces of one photo that one model restores, on their way.

    Attributes:
        faces: those that are restored, with their places; there once they were chosen.
    """

    def __init__(self, canvas: Canvas, work: Work) -> None:
        self.faces: list[tuple[Detection, Placement]] = []
        self._canvas = self._first = canvas
        self._begun = False
        self._known: list[tuple[Match | None, np.ndarray]] = []
        self._work = work
        model = work.components.face_model()
        self._model: FaceRestorer = model if work.wrap is None else work.wrap(model)
        self._crop: CropSpec = self._model.crop

    def choose(self) -> None:
        """Align them, and leave alone those that need nothing."""
        size, crop = self._canvas.size, self._crop
        self.faces = [each for each in self._aligned() if not judging.needs_nothing(self._work, size, crop, *each)]

    def restore(self, others: Sequence[Detection] = ()) -> None:
        """Restore all of them, batch by batch.

        Args:
            others: faces that other models restore, which may be their neighbours.
        """
        import numpy as np

        work, faces, crop = self._work, self.faces, self._crop
        work.record.warn(getattr(work.components.face_model(), "remark", None))
        beside = [place for place in (judging.placed(work, crop, face) for face in others) if place is not None]
        batch = work.options.batch_size or (1 if work.components.device.kind == "cpu" else BATCH_ON_GPU)
        batch = 1 if work.components.is_search else batch
        for start in range(0, len(faces), batch):
            work.tell(Counted(start, len(faces)))
            part = faces[start : start + batch]
            with work.record.timed("align"):
                cut = [placement.crop(self._pixels, self._crop) for _, placement in part]
                crops = [crop if work.colours is None else work.colours.seen(crop) for crop in cut]
            points = np.stack([self._points(face, placement) for face, placement in part])
            known = [whose.recognised(work, *each) for each in zip(crops, points, strict=True)]
            self._known = list(zip(known, points, strict=True))
            answers = self._answers(crops, part, start, len(faces))
            if answers and answers[0].ndim == 5:  # several fidelities, of which each face takes one
                answers = [fidelity.all_chosen(work, [face for face, _ in part], known, answers[0], crops, points)]
            for canvas, outputs in zip(self._canvases(len(answers)), answers, strict=False):
                self._canvas = canvas
                masks = self._masks(outputs, points, [face for face, _ in part])
                for i, (face, placement) in enumerate(part):
                    neighbours = [*(other for _, other in faces if other is not placement), *beside]
                    seen = cut[i], crops[i]
                    self._put_back(face, placement, seen, outputs[i], masks[i], points[i], neighbours, known[i])

    def _answers(
        self, crops: list[np.ndarray], part: list[tuple[Detection, Placement]], done: int, total: int
    ) -> list[torch.Tensor]:
        """Return what the model makes of some faces: an answer, or several, or none where it failed."""
        work = self._work
        if not work.components.is_search:
            outputs = self._run([self._prepared(*each) for each in zip(crops, part, strict=True)], part)
            work.record.task = work.options.task
            return [] if outputs is None else [outputs]
        from restorer.pipeline import answers

        face, placement = part[0]
        if work.record.interrupted:
            face.entry.wanted, face.entry.reason = False, "the search was interrupted before its turn"
            return []
        searcher = cast("FaceSearcher", self._model)
        try:
            match, points = self._known[0]
            found = answers.search(searcher, work, face, placement, (match, crops[0], points), done, total)
        except OutOfMemoryError as error:
            face.entry.reason = f"the memory of {work.components.device.name} does not suffice: {error.message}"
            return []
        return found + found[:1] * (1 + len(work.variants) - len(found))  # an interrupt may leave fewer

    def _canvases(self, count: int) -> list[Canvas]:
        """Return the canvases of so many answers, or of as many as the first face has."""
        first = self._first
        if not self._begun:
            self._begun = True
            for _ in range(count - 1):
                changed = None if first.changed is None else first.changed.copy()
                layers = None if first.layers is None else list(first.layers)
                self._work.variants.append(Canvas(first.pixels.copy(), first.alpha, changed, layers))
        return [first, *self._work.variants]

    def _prepared(self, crop: np.ndarray, face: tuple[Detection, Placement]) -> np.ndarray:
        """Return a crop as a network for the task was trained: without colours, or with its hole painted white."""
        import numpy as np

        from restorer.imaging.colour import LUMA

        work = self._work
        if work.options.task == COLORIZE:
            return np.repeat((crop @ LUMA)[..., None], 3, axis=2).astype(np.float32)
        if work.hole is None:
            return crop
        painted = face[1].crop(work.painted(self._pixels, 1.0), self._crop)
        return painted if work.colours is None else work.colours.seen(painted)

    @property
    def _pixels(self) -> np.ndarray:
        source = self._work.source
        return self._work.photo.pixels if source is None else source

    def _aligned(self) -> list[tuple[Detection, Placement]]:
        """Return the faces with their places; one whose landmarks allow no alignment is left, and named."""
        from restorer.faces import select

        work, template = self._work, self._crop.template
        if template is None and not work.options.aligned:
            raise UsageError(
                f"{work.components.model} restores aligned crops only.", "Give it such crops with --aligned."
            )
        found = []
        for face in work.detections:
            placement = judging.placed(work, self._crop, face)
            if placement is not None and self._is_touched(face, placement):
                found.append((face, placement))
            if placement is not None:
                continue
            face.entry.reason = "its landmarks allow no alignment"
            if select.numbers(work.options.faces) is None:  # hardly a face: its neighbours are not to suffer
                face.entry.wanted = False
                number = work.number_of(face.entry)
                work.record.warn(f"Face {number} was left as it is: {face.entry.reason}.")
        return found

    def _is_touched(self, face: Detection, placement: Placement) -> bool:
        """Whether a face is to be worked on: where there is a hole, only those that it touches."""
        hole = self._work.hole
        if hole is None or placement.crop(hole, self._crop).max() > 0.5:
            return True
        face.entry.wanted, face.entry.reason = False, "the hole does not touch it"
        return False

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
                if personal.learns(self._work):
                    return personal.restored(self._work, self._model, [face for face, _ in part], crops, self._known)
                return self._model.restore(stacked(crops)).detach().float().cpu()
            except (RuntimeError, MemoryError, OutOfMemoryError) as error:
                if not isinstance(error, OutOfMemoryError) and not memory.is_exhausted(error):
                    raise
                reason = f"the memory of {self._work.components.device.name} does not suffice: {error}".splitlines()[0]
        for face, _ in part:
            face.entry.reason = reason
        return None

    def _masks(self, outputs: torch.Tensor, points: np.ndarray, faces: list[Detection]) -> np.ndarray:
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
            return judging.masks(mask, outputs, points, faces)

    def _put_back(
        self,
        face: Detection,
        placement: Placement,
        crops: tuple[np.ndarray, np.ndarray],
        output: torch.Tensor,
        mask: np.ndarray,
        points: np.ndarray,
        neighbours: list[Placement],
        match: Match | None,
    ) -> None:
        """Bring one restored crop to the photo's tone, and paste it where it came from.

        `crops` are the photo's, in its own colours and as the model saw it.
        """
        import numpy as np

        from restorer.faces.blending import Pasted
        from restorer.faces.crops import to_picture

        work, canvas, (_, crop) = self._work, self._canvas, crops
        if not np.isfinite(output.numpy()).all():
            face.entry.reason = "the network returned NaN, also in fp32"
            return
        with work.record.timed("paste"):
            mask = mask * placement.ownership(neighbours, mask.shape[0])
            picture = judging.toned(work, to_picture(output, monochrome=work.stays_grey), crop, mask, placement)
            picture = judging.kept(work, self._crop, face, placement, picture)
        if canvas is not self._first:
            resembles = face.entry.restored
        elif resembles := self._resembles(face, crop, picture, points):
            whose.note(work, face, match, picture, points)
        if not resembles:
            return
        with work.record.timed("paste"):
            background, _ = work.components.background((self._pixels.shape[1], self._pixels.shape[0]))
            picture = placement.enlarged(picture, canvas.pixels, background.upscale)
            if work.colours is not None:
                picture = work.colours.back(picture, *crops)
            kept: list[Layer] = []
            wanted = None if canvas.layers is None else kept
            holding, strength = judging.holding(work, canvas, face), single_faces.strength(work, face)
            with canvas.only(work.hole):
                box = placement.paste(canvas.pixels, picture, mask, strength, canvas.marks(), wanted, holding)
            if work.blending is not None and canvas is self._first and box is not None:
                pasted = Pasted(placement, picture, mask, strength, holding, box)
                work.blending.faces[work.number_of(face.entry)] = pasted
            if canvas.layers is not None:
                named = f"Face {work.number_of(face.entry)}"
                canvas.layers += [replace(canvas.within(layer, work.hole), name=named) for layer in kept]
        face.entry.restored = True

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
