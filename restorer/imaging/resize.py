"""Lanczos resampling of pictures of any depth, with pixel centres at +0.5."""

from __future__ import annotations

from restorer.imaging.colour import top_of
from restorer.imaging.libraries import Image, np


def resize(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resample by Lanczos, antialiased when it shrinks, with pixel centres at +0.5.

    Args:
        pixels: (h, w) or (h, w, c), uint8, uint16 or float32 in [0, 1].
        size: (width, height) of the result.

    Returns:
        The same type, rounded and clipped to its range.
    """
    if pixels.shape[1::-1] == tuple(size):
        return pixels.copy()
    if size[0] < pixels.shape[1] or size[1] < pixels.shape[0]:
        planes = pixels[..., None] if pixels.ndim == 2 else pixels
        reduced = np.stack([_reduce(planes[..., i], size) for i in range(planes.shape[2])], axis=-1)
        return reduced[..., 0] if pixels.ndim == 2 else reduced
    return _enlarge(pixels, size)


def _enlarge(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Enlarge by OpenCV's Lanczos (a = 4), whose weights are exact for all types but uint8: that goes through uint16.

    Pillow's would round 8-bit photos twice, once between the two axes.
    """
    import cv2

    result: np.ndarray
    if pixels.dtype == np.uint8:
        wide = cv2.resize(pixels.astype(np.uint16) * 255, size, interpolation=cv2.INTER_LANCZOS4)
        result = cv2.convertScaleAbs(wide, alpha=1 / 255)  # rounds
    else:
        result = cv2.resize(pixels, size, interpolation=cv2.INTER_LANCZOS4)
    return np.clip(result, 0, 1, out=result) if pixels.dtype.kind == "f" else result


def _reduce(plane: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Reduce one plane by Pillow's Lanczos (a = 3), which widens its kernel so that nothing aliases; in float."""
    floats = Image.fromarray(np.ascontiguousarray(plane, dtype=np.float32))
    return to_type(np.asarray(floats.resize(size, Image.Resampling.LANCZOS)), plane.dtype)


def to_type(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Clip to the range of the type, and round where it is an integer."""
    whole = dtype.kind == "u"
    clipped: np.ndarray = np.clip(np.rint(values) if whole else values, 0, top_of(dtype))
    return clipped.astype(dtype)


def resize_box(picture: np.ndarray, size: tuple[int, int], box: tuple[float, float, float, float]) -> np.ndarray:
    """Resample a part of a float picture; the filter sees beyond the box where the picture goes on."""
    whole = (round(box[0]), round(box[1]), round(box[2]), round(box[3]))
    if (
        all(float(edge) == exact for edge, exact in zip(whole, box, strict=True))
        and (whole[2] - whole[0], whole[3] - whole[1]) == size
    ):
        return picture[whole[1] : whole[3], whole[0] : whole[2]].copy()
    planes = [
        np.asarray(
            Image.fromarray(np.ascontiguousarray(picture[..., i])).resize(size, Image.Resampling.LANCZOS, box=box)
        )
        for i in range(3)
    ]
    return np.stack(planes, axis=-1)
