"""An upscaler whose result, brought back to the photo's size, is the photo, wherever the photo is good.

A network sharpens, smooths and cleans. Where a photo is blurred, noisy or squeezed, that is what it is for. Where it is
clean, any difference at the photo's own size is an error: detail that was lost, or an edge that was made harder. So the
result is reduced to the photo's size, and what it lacks there is enlarged and added (back-projection); what the network
adds beyond the photo's pixels stays. At the photo's own size nothing is left but the photo.

Where it is done is decided place by place: by as much as the difference exceeds the noise of the photo's evenest
places, and the more so, the sharper the photo; and wherever grain, or the dots of a print, would come out stronger.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from restorer.imaging.colour import LUMA, top_of
from restorer.imaging.libraries import cv2, np
from restorer.imaging.resize import to_type
from restorer.upscaling.lanczos import OnTile

if TYPE_CHECKING:
    from restorer.imaging.profiles import Colours
    from restorer.upscaling.tiles import NetworkUpscaler

STRIP, MARGIN = 512, 32
"""Rows of the photo that are worked on at once, and rows beyond them that are looked at."""
SAMPLE = 768
"""Side in pixels of the parts of the photo that are measured, at most `PARTS` in a row and in a column."""
PARTS = 3
UNSEEN = 1.8
"""Levels of noise that need no removing, as in a face (`restorer.faces.worth.NOISE`)."""
EVENER = 0.25
"""Of the parts, this share is evener than what is taken; a black border alone is not the photo."""
NOISE_SHARE = 1.5
"""What is less than this many times the noise is noise."""
UNSEEN_COLOUR = 0.5
"""Levels of noise in the colours that need no removing (`restorer.faces.worth.COLOUR_NOISE`)."""
SHARP, SOFT = 0.85, 0.95
"""Sigma of the photo's edges, in pixels, up to which it is sharp, and from which on it is soft; see `Quality.edge`.
Clean pictures reduced to half have 0.1 to 0.8, the same blurred by one pixel 0.9 to 1.7."""
CALM, STRONGER = 1.0, 1.25
"""By how many times stronger texture comes out, from which on it is held back, and from which on all of it is."""
BLOCKED, FINE_BLOCKS = 4.0, 0.6
"""Levels of JPEG's error for a level of blocks, beyond those of a JPEG that is as good as the photo."""
AS_EVEN = 3.0
"""Texture with up to this many times the energy of that which is everywhere counts as the same."""
_AROUND = 3.0
_TEXTURE = 1.2


@dataclass(frozen=True)
class _Judged:
    """How good a photo is; variances in levels of 255 squared.

    Attributes:
        noise: variance of the noise in its luma.
        colour_noise: of that in its colours.
        grain: of the texture which is everywhere.
        sharp: 0 to 1.
    """

    noise: float = 0.0
    colour_noise: float = 0.0
    grain: float = 0.0
    sharp: float = 0.0


class FaithfulUpscaler:
    """A network's upscaler, held to the photo where that is good.

    Args:
        upscaler: the network in tiles.
    """

    def __init__(self, upscaler: NetworkUpscaler) -> None:
        self.upscaler = upscaler
        self.name = upscaler.name
        self.network = upscaler.network

    @property
    def notes(self) -> Counter[str]:
        """What the network had to do otherwise; see `NetworkUpscaler.notes`."""
        return self.upscaler.notes

    def among(self, colours: Colours) -> FaithfulUpscaler:
        """Return the same upscaler for pictures whose values mean these colours; see `Learned.among`."""
        return FaithfulUpscaler(self.upscaler.among(colours))

    def upscale(self, pixels: np.ndarray, size: tuple[int, int], on_tile: OnTile | None = None) -> np.ndarray:
        """Return `pixels` at `size`; see `Background.upscale`."""
        result = self.upscaler.upscale(pixels, size, on_tile)
        hold(result, pixels)
        return result


def hold(result: np.ndarray, photo: np.ndarray) -> None:
    """Bring an enlarged photo back to the photo in place, wherever that is good.

    Args:
        result: (H, W, 3), uint8, uint16 or float32 in [0, 1], of any size.
        photo: (h, w, 3), of the same type.
    """
    judged = _judge(photo)
    height, high, wide = photo.shape[0], result.shape[0], result.shape[1]
    ends = [0]
    while ends[-1] < height:
        ends.append(min(ends[-1] + STRIP, height))
    done: list[tuple[slice, np.ndarray]] = []
    for start, stop in pairwise(ends):
        top, bottom = max(start - MARGIN, 0), min(stop + MARGIN, height)
        rows = slice(round(top * high / height), round(bottom * high / height))
        inner = slice(round(start * high / height), round(stop * high / height))
        held = _held(result[rows], photo[top:bottom], judged, wide)
        done.append((inner, held[inner.start - rows.start : inner.stop - rows.start]))
        if len(done) > 1:  # the next strip still looks at the last rows of this one
            where, what = done.pop(0)
            result[where] = what
    for where, what in done:
        result[where] = what


def _judge(photo: np.ndarray) -> _Judged:
    """Return how good a photo is.

    Noise is as strong in the finest grain as in coarser texture, which natural texture is not; what counts as noise is
    that finest grain, what colours have that luma has not, and what JPEG's blocks tell. Texture that is everywhere may
    be grain, paper, or a print's dots.
    """
    from restorer.imaging import quality

    parts = [part for part in _parts(photo) if min(part.shape[:2]) >= quality.LEAST_SIDE]
    if not parts:
        return _Judged()
    lumas = [quality.luma_of(part) for part in parts]
    found = [quality.measure(luma, quality.colours_of(part)) for luma, part in zip(lumas, parts, strict=True)]
    grain = float(np.quantile([quality.evenest(luma - _blurred(luma, 2 * _TEXTURE)) for luma in lumas], EVENER))
    noise = float(np.quantile([each.noise for each in found], EVENER)) ** 2
    colour_noise = float(np.quantile([each.colour_noise for each in found], EVENER))
    blocks = BLOCKED * max(float(np.median([each.blocks for each in found])) - FINE_BLOCKS, 0.0)
    edge = min(each.edge for each in found)
    sharp = 0.0 if not math.isfinite(edge) else min(max((SOFT - edge) / (SOFT - SHARP), 0.0), 1.0)
    tinted = colour_noise**2 if colour_noise > UNSEEN_COLOUR else 0.0
    return _Judged(max(noise - UNSEEN**2, 0.0) + blocks**2, tinted, grain, sharp)


def _parts(photo: np.ndarray) -> list[np.ndarray]:
    """Return at most nine parts of a photo, evenly laid; all of it where it is small."""
    spans = []
    for length in photo.shape[:2]:
        count = min(PARTS, -(-length // SAMPLE))
        starts = [round(i * max(length - SAMPLE, 0) / max(count - 1, 1)) for i in range(count)]
        spans.append([slice(start, start + SAMPLE) for start in starts])
    return [photo[rows, columns] for rows in spans[0] for columns in spans[1]]


def _held(result: np.ndarray, photo: np.ndarray, judged: _Judged, wide: int) -> np.ndarray:
    """Return a strip of the result (H, W, 3), held to its strip of the photo (h, w, 3)."""
    top, size = top_of(photo.dtype), (photo.shape[1], photo.shape[0])
    own = np.multiply(photo, 255 / top, dtype=np.float32)
    theirs = np.multiply(result, 255 / top, dtype=np.float32)
    same = result.shape[1::-1] == size
    seen = theirs if same else cv2.resize(theirs, size, interpolation=cv2.INTER_AREA)
    lacking = own - seen
    weight = _weight(own @ LUMA, seen @ LUMA, judged)
    if judged.colour_noise > 0:
        luma = (lacking @ LUMA)[..., None]
        colours = lacking - luma
        share = _beyond_noise(np.square(colours).max(2), judged.colour_noise)
        lacking = luma + colours * share[..., None]
    lacking *= weight[..., None]
    if not same:
        lacking = cv2.resize(lacking, (wide, result.shape[0]), interpolation=cv2.INTER_CUBIC)
    return to_type((theirs + lacking) * (top / 255), result.dtype)


def _beyond_noise(energy: np.ndarray, noise: float) -> np.ndarray:
    """Return which share of a difference's energy (h, w) around each place noise of a variance does not explain."""
    share: np.ndarray = np.clip(1 - NOISE_SHARE * noise / np.maximum(_blurred(energy, _AROUND), 1e-3), 0, 1)
    return share


def _weight(own: np.ndarray, seen: np.ndarray, judged: _Judged) -> np.ndarray:
    """Return how much of what the result lacks is given back, (h, w), 0 to 1.

    Args:
        own: luma of the photo, 0 to 255.
        seen: luma of the result at the photo's size.
        judged: how good the photo is.
    """
    detail = np.ones_like(own) if judged.noise == 0 else _beyond_noise((own - seen) ** 2, judged.noise)
    before, after = (_blurred((luma - _blurred(luma, 2 * _TEXTURE)) ** 2, _AROUND) for luma in (own, seen))
    gain = np.sqrt((after + 0.5) / (before + 0.5))
    alike = np.clip(2 - before / max(AS_EVEN * judged.grain, 1e-3), 0, 1)  # no edge, and no detail
    stronger = alike * np.clip((gain - CALM) / (STRONGER - CALM), 0, 1)
    weight: np.ndarray = np.maximum(judged.sharp * detail, stronger)
    return _blurred(weight, _AROUND / 2)


def _blurred(picture: np.ndarray, sigma: float) -> np.ndarray:
    blurred: np.ndarray = cv2.GaussianBlur(picture, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)
    return blurred
