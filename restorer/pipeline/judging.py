"""Where the faces of a photo are, which are left alone because they are good, and what a restored one keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from restorer.imaging.colour import LUMA, looks_grey
from restorer.imaging.libraries import np
from restorer.imaging.resize import resize
from restorer.pipeline.canvas import Canvas, Detection, Work
from restorer.record import NEEDS_NOTHING, NOTHING_TO_DO

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from restorer.faces.holding import Holding
    from restorer.faces.placement import Placement
    from restorer.models.base import CropSpec
    from restorer.pipeline.decisions import Mask


def needs_nothing(work: Work, size: tuple[int, int], crop: CropSpec, face: Detection, placement: Placement) -> bool:
    """Find out how good a face is; leave one alone that no network would make better, unless it was named.

    Args:
        work: of the photo.
        size: (width, height) of the result.
        crop: what the face restorer takes and gives.
        face: its condition is written into it, and why it is left alone into its record.
        placement: where it is.
    """
    from restorer.faces import worth

    if not _is_judged(work):
        return False
    with work.record.timed("align"):
        face.condition = worth.condition_of(_pixels(work), placement)
    scale = size[0] / work.photo.size[0]
    if (
        work.insists
        or face.insisted
        or not worth.needs_nothing(face.condition, output_size=crop.output_size, scale=scale)
    ):
        return False
    face.entry.wanted, face.entry.reason = False, NEEDS_NOTHING
    return True


def kept(work: Work, crop: CropSpec, face: Detection, placement: Placement, picture: np.ndarray) -> np.ndarray:
    """Return a restored crop (S, S, 3) with the photo's own detail where that is finer; as large as in the photo."""
    from restorer.faces import detail, worth

    condition = face.condition
    if condition is None:
        return picture
    share = 0.0 if work.insists or face.insisted else worth.kept(condition)
    side = max(picture.shape[0], min(round(condition.side), detail.LARGEST))
    if not detail.is_kept(side, crop.input_size, share):
        return picture
    photo = placement.at(_pixels(work), side)
    if work.colours is not None:
        photo = work.colours.seen(photo)
    if work.stays_grey:
        photo = np.repeat((photo @ LUMA)[..., None], 3, axis=2)
    blocks = condition.quality.blocks if condition.quality is not None else 0.0
    return detail.keep(resize(picture, (side, side)), photo, input_size=crop.input_size, share=share, blocks=blocks)


def holding(work: Work, canvas: Canvas, face: Detection) -> Holding | None:
    """Return what a restored face has to keep of the enlarged photo below it; None where that is nothing."""
    from restorer.faces import detail, worth
    from restorer.faces.holding import Holding

    condition = face.condition
    if condition is None:
        return None
    scale = canvas.size[0] / work.photo.size[0]
    # A face beyond the largest crop comes back without what is finer; there, the canvas is all that there is.
    step = condition.side * scale / detail.LARGEST
    finest = 0.8 * step if condition.side > detail.LARGEST else 0.0
    share = 0.0 if work.insists else worth.held(condition)
    return Holding(share, scale, finest) if share > 0 or finest > 0 else None


def placed(work: Work, crop: CropSpec, face: Detection) -> Placement | None:
    """Return where a face is, as a model takes it; None where its landmarks allow no alignment."""
    from restorer.faces import align
    from restorer.faces.placement import Placement

    if face.placement is not None or face.landmarks is None or crop.template is None:
        return face.placement
    matrix = align.estimate(face.landmarks, crop.template, crop.align_size)
    return None if matrix is None else Placement(work.photo.size, matrix, crop.align_size, work.components.sampling)


def toned(work: Work, face: np.ndarray, original: np.ndarray, mask: np.ndarray, placement: Placement) -> np.ndarray:
    """Give a restored crop the colours of the crop it was made from, and its grain where that is asked for."""
    from restorer.faces import tone

    options = work.options
    if work.keeps_colours:
        face = tone.match_color(face, original, mask)
    if options.grain:
        pixel = placement.pixel(face.shape[0])
        face = tone.add_grain(face, original, mask, pixel=pixel, seed=options.seed or 0)
    return face


def masks(mask: Mask, outputs: torch.Tensor, points: np.ndarray, faces: Sequence[Detection]) -> np.ndarray:
    """Return how much of each restored crop is pasted, (n, t, t); a drawn mask holds the head of a bad face too.

    Args:
        mask: draws or finds it.
        outputs: the restored crops (n, 3, s, s).
        points: their landmarks (n, 5, 2), as shares of the crop's side.
        faces: as many.
    """
    from restorer.faces import worth
    from restorer.faces.mask import LandmarkMask

    if not isinstance(mask, LandmarkMask):
        return mask(outputs, points)
    return mask.drawn(points, [0.0 if face.condition is None else worth.head(face.condition) for face in faces])


def note_what_was_done(work: Work, canvas: Canvas) -> None:
    """Write into the record that nothing was to be done, where the photo came out as it went in."""
    if np.array_equal(canvas.pixels, work.photo.pixels):
        work.record.reason = NOTHING_TO_DO


def _pixels(work: Work) -> np.ndarray:
    return work.photo.pixels if work.source is None else work.source


def _is_judged(work: Work) -> bool:
    """Whether a good face may be left alone: not where it is to be coloured, filled in or searched for."""
    options = work.options
    other = options.task is not None or options.hole is not None or work.components.is_search
    return not (options.always or other) and (options.match_color or not looks_grey(_pixels(work)))
