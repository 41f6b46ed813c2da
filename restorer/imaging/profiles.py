"""Colours between a photo's own space and sRGB, which is what networks have learned from.

What LittleCMS says of some hundred samples (`restorer.imaging.icc`) makes curves and a matrix, or a grid where a
profile is more than these, and the pixels go through those in floating point, there and back.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import lru_cache

from restorer.imaging.colour import top_of
from restorer.imaging.icc import WHITE, UnusableProfileError, measured
from restorer.imaging.libraries import ImageCms, cv2, np

SAME = 1 / 255
"""A space that differs from sRGB by no more than this anywhere is sRGB: its photos are left as they are."""
CHUNK = 1 << 16
"""Pixels that are converted at a time, in float64."""
_NODES = 52  # a side of a grid: every fifth of the 255 steps of 8 bits, which LittleCMS is asked in
_PART = 2048  # nodes that are searched for at a time: against all starts at once they would be half a gibibyte
_BACK_NODES, _STEPS = 33, 8  # a side of the grid that leads back, and steps of the search for each of its nodes
_INSIDE = 2e-4  # what comes back nearer than this was not cut off: a twentieth of a level of 8 bits
_SIMILAR, _ANOTHER = 0.1, 0.3  # differences up to which a colour is the same one, and from which it is another; by eye
_SEPARABLE = 1e-3  # of white: what a matrix with curves may differ from the profile
# Linear sRGB to XYZ, adapted to D50 by Bradford's matrix (the colorants of the usual sRGB profiles).
_SRGB = ((0.436066, 0.385151, 0.143082), (0.222488, 0.716873, 0.060608), (0.013916, 0.097076, 0.714096))

Convert = Callable[["np.ndarray"], "np.ndarray"]


class Colours:
    """A photo's own colours, there and back.

    Networks see sRGB. What they return goes back, and what lies outside of sRGB, which they could not be shown, is put
    back on top of it: of such a colour only what the network changed is changed.

    Args:
        name: of the profile.
        there: own values (n, 3), float64 in [0, 1], to sRGB's, not clipped.
        back: sRGB's values (n, 3), float64 in [0, 1], to own ones in [0, 1].
        exact: whether the way back leads to where it began, for all that sRGB holds.
    """

    def __init__(self, name: str, there: Convert, back: Convert, *, exact: bool = True) -> None:
        self.name = name
        self._exact = exact
        self._there = there
        self._back = back

    def seen(self, own: np.ndarray) -> np.ndarray:
        """Return own values (..., 3), float in [0, 1] or unsigned integers, as sRGB, float32 cut to [0, 1]."""
        return _converted(own, lambda values: np.clip(self._there(values), 0, 1))

    def own(self, seen: np.ndarray) -> np.ndarray:
        """Return sRGB's values (..., 3), float in [0, 1], as own ones, float32 in [0, 1]."""
        return _converted(seen, lambda values: self._back(np.clip(values, 0, 1)))

    def back(self, made: np.ndarray, own: np.ndarray, seen: np.ndarray) -> np.ndarray:
        """Return what a network made of a picture in own colours, with what sRGB does not hold of the picture's.

        Where the network has made another colour altogether, nothing of that is left to be kept.

        Args:
            made: float32 (H, W, 3), sRGB in [0, 1].
            own: (h, w, 3), the picture in own values, float in [0, 1] or unsigned integers.
            seen: the same as sRGB, as `seen` gives it: what the network was shown.

        Returns:
            float32 (H, W, 3) in [0, 1].
        """
        values = self.own(made)
        rest = self.rest(own, seen)
        if rest is None:
            return values
        size = made.shape[1::-1]
        wide, shown = (cv2.resize(part, size, interpolation=cv2.INTER_LINEAR) for part in (rest, seen))
        moved = np.abs(made - shown).max(axis=2, keepdims=True)
        kept = np.clip((_ANOTHER - moved) / (_ANOTHER - _SIMILAR), 0, 1)
        whole: np.ndarray = np.clip(values + wide * kept, 0, 1)
        return whole

    def rest(self, own: np.ndarray, seen: np.ndarray) -> np.ndarray | None:
        """Return what of own values (..., 3) sRGB does not hold, float32; None where it holds all of them.

        Where the way back is not exact, what it misses is in there too.

        Args:
            own: float in [0, 1] or unsigned integers.
            seen: the same as sRGB, as `seen` gives it.
        """
        touched = ((seen <= 0) | (seen >= 1)).any(axis=-1) if self._exact else np.ones(seen.shape[:-1], bool)
        if not touched.any():
            return None
        found = np.zeros(own.shape, np.float32)
        values = own[touched].astype(np.float32) / top_of(own.dtype)
        left = values - self.own(seen[touched])
        found[touched] = np.where(np.abs(left).max(axis=-1, keepdims=True) > _INSIDE, left, 0)
        return found if found.any() else None

    def picture(self, own: np.ndarray) -> np.ndarray:
        """Return a picture (h, w, 3) of unsigned integers as sRGB of the same type."""
        result = np.empty_like(own)
        for row in range(0, len(own), rows := max(1, CHUNK // max(own.shape[1], 1))):
            part = self.seen(own[row : row + rows])
            result[row : row + rows] = np.rint(part * top_of(own.dtype))
        return result


def _converted(values: np.ndarray, convert: Convert) -> np.ndarray:
    """Return values (..., 3) converted chunk by chunk, float32."""
    scale = 1.0 / top_of(values.dtype)
    flat = values.reshape(-1, values.shape[-1])
    result = np.empty((len(flat), 3), np.float32)
    for start in range(0, len(flat), CHUNK):
        result[start : start + CHUNK] = convert(flat[start : start + CHUNK] * np.float64(scale))
    return result.reshape(*values.shape[:-1], 3)


def encoded(linear: np.ndarray) -> np.ndarray:
    """Return light as sRGB's values (IEC 61966-2-1); negative light as negative values."""
    size = np.abs(linear)
    values: np.ndarray = np.where(size <= 0.0031308, 12.92 * size, 1.055 * size ** (1 / 2.4) - 0.055)
    signed: np.ndarray = np.copysign(values, linear)
    return signed


def decoded(values: np.ndarray) -> np.ndarray:
    """Return sRGB's values, not negative, as light."""
    linear: np.ndarray = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    return linear


# ------------------------------------------------------------------------------------------------- from a profile


@lru_cache(maxsize=4)  # of tables, each is 2 MiB
def colours_of(profile: bytes, *, grey: bool = False) -> Colours | None:
    """Return the colours of a photo with a profile; None for sRGB, and for what cannot be told from it.

    Args:
        profile: an ICC profile for RGB or for grey.
        grey: whether the photo is black and white: then its three channels, equal or nearly, each follow the grey axis,
            and equal ones stay equal to the last bit.

    Raises:
        UnusableProfileError: LittleCMS cannot read it, or it has no way back.
    """
    space = profile[16:20].decode("latin-1").strip()
    samples = np.arange(256, dtype=np.uint8)
    if space == "GRAY":
        tones = measured(profile, samples[:, None])[:, 1]
    elif space == "RGB":
        if not grey:
            return _of_rgb(profile)
        tones = measured(profile, np.repeat(samples[:, None], 3, axis=1))[:, 1]
    else:
        raise UnusableProfileError(f"it is one for {space or 'nothing'}")
    name = _name(profile)
    if tones[-1] - tones[0] < 0.1:
        raise UnusableProfileError("its curve is flat")
    curve = _Curve(tones / tones[-1])
    if _is_srgb(found := Colours(name, lambda v: encoded(curve(v)), lambda v: curve.inverse(decoded(v)))):
        return None
    return found


def _is_srgb(colours: Colours) -> bool:
    steps = np.linspace(0, 1, 18)
    ramp = np.repeat(np.linspace(0, 1, 256)[:, None], 3, axis=1)
    nodes = np.concatenate([ramp, np.stack(np.meshgrid(steps, steps, steps), -1).reshape(-1, 3)])
    return bool(np.abs(colours.seen(nodes) - nodes).max() <= SAME)


def _name(profile: bytes) -> str:
    try:
        return str(ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(profile)))).strip()
    except (ImageCms.PyCMSError, OSError):
        return "a profile without a name"


class _Curve:
    """A tone curve through samples at equal steps, and its inverse; made to rise where it does not."""

    def __init__(self, samples: np.ndarray) -> None:
        self._at = np.linspace(0, 1, len(samples))
        self._values = np.maximum.accumulate(samples) + np.linspace(0, 1e-9, len(samples))

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Return the light of values in [0, 1]."""
        found: np.ndarray = np.interp(values, self._at, self._values)
        return found

    def inverse(self, light: np.ndarray) -> np.ndarray:
        found: np.ndarray = np.interp(light, self._values, self._at)
        return found


class _Matrix:
    """Three curves and a matrix to XYZ, and back."""

    def __init__(self, profile: bytes) -> None:
        self.black = measured(profile, np.zeros((1, 3), np.uint8))[0]
        # What a channel adds to the two others: no axis falls below zero there, where the library would cut it.
        ends = measured(profile, np.array([[255, 255, 255], [0, 255, 255], [255, 0, 255], [255, 255, 0]], np.uint8))
        columns, self.curves = [], []
        for channel in range(3):
            samples = np.zeros((256, 3), np.uint8)
            samples[:, channel] = np.arange(256)
            full = ends[0] - ends[1 + channel]
            axis = int(full.argmax())
            if full[axis] < 1e-3:
                raise UnusableProfileError("one of its channels gives no light")
            columns.append(full)
            self.curves.append(_Curve((measured(profile, samples)[:, axis] - self.black[axis]) / full[axis]))
        self.matrix = np.stack(columns, axis=1)
        if abs(np.linalg.det(self.matrix)) < 1e-6:
            raise UnusableProfileError("its channels do not tell colours apart")
        self._inverse = np.linalg.inv(self.matrix)

    def xyz(self, own: np.ndarray) -> np.ndarray:
        light = np.stack([curve(own[:, i]) for i, curve in enumerate(self.curves)], axis=1)
        found: np.ndarray = light @ self.matrix.T + self.black
        return found

    def own(self, xyz: np.ndarray) -> np.ndarray:
        light = (xyz - self.black) @ self._inverse.T
        return np.stack([curve.inverse(light[:, i]) for i, curve in enumerate(self.curves)], axis=1)


class _Grid:
    """A profile that is more than curves and a matrix: sRGB at the nodes of a cube, and a cube that leads back.

    The nodes of the second are searched for in the first (Gauss and Newton's way, damped as Levenberg and Marquardt's).
    """

    def __init__(self, profile: bytes) -> None:
        grid = _linear_to_srgb(measured(profile, _cube(_NODES).reshape(-1, 3)))
        self._grid = grid.reshape(*3 * (_NODES,), 3).astype(np.float32)  # it is kept: half the bytes, far below a step
        wanted = _cube(_BACK_NODES).reshape(-1, 3) / 255.0
        starts = _cube(12).reshape(-1, 3) / 255.0
        shown = self.there(starts)
        parts = [wanted[start : start + _PART] for start in range(0, len(wanted), _PART)]
        nearest = [((shown**2).sum(1) - 2 * part @ shown.T).argmin(axis=1) for part in parts]
        found = [self._search(part, starts[near]) for part, near in zip(parts, nearest, strict=True)]
        self._back = np.concatenate(found).reshape(*3 * (_BACK_NODES,), 3).astype(np.float32)

    def there(self, own: np.ndarray) -> np.ndarray:
        return interpolated(self._grid, own)

    def back(self, seen: np.ndarray) -> np.ndarray:
        return interpolated(self._back, seen)

    def _search(self, wanted: np.ndarray, found: np.ndarray) -> np.ndarray:
        """Return own values whose sRGB is nearest to the wanted one, from where the search begins."""
        step = 1 / (_NODES - 1)
        damping = np.full(len(found), 1e-3)
        missed = wanted - self.there(found)
        for _ in range(_STEPS):
            sides = np.where(found + step <= 1, step, -step)
            slopes = np.stack(
                [(self.there(found + sides * axis) - wanted + missed) / sides[:, i, None] for i, axis in _axes()], -1
            )
            normal = slopes.swapaxes(1, 2) @ slopes + damping[:, None, None] * np.eye(3)
            moved = np.linalg.solve(normal, slopes.swapaxes(1, 2) @ missed[..., None])[..., 0]
            tried = np.clip(found + moved, 0, 1)
            left = wanted - self.there(tried)
            better = (left**2).sum(1) < (missed**2).sum(1)
            found = np.where(better[:, None], tried, found)
            missed = np.where(better[:, None], left, missed)
            damping = np.where(better, damping / 4, damping * 8)
        return found


def _axes() -> list[tuple[int, np.ndarray]]:
    return list(enumerate(np.eye(3)))


def _cube(side: int) -> np.ndarray:
    """Return the nodes (side, side, side, 3) of a cube of colours, uint8; even where side - 1 divides 255."""
    steps = np.rint(np.linspace(0, 255, side)).astype(np.uint8)
    return np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), -1)


def _of_rgb(profile: bytes) -> Colours | None:
    nodes = _cube(6).reshape(-1, 3)
    space = _Matrix(profile)
    if np.abs(space.xyz(nodes / 255.0).clip(0) - measured(profile, nodes)).max() > _SEPARABLE:
        grid = _Grid(profile)
        found = Colours(_name(profile), grid.there, grid.back, exact=False)
    else:
        to_xyz = _srgb_to_xyz()
        found = Colours(
            _name(profile),
            lambda own: _linear_to_srgb(space.xyz(own)),
            lambda seen: space.own(decoded(seen) @ to_xyz.T),
        )
    return None if _is_srgb(found) else found


def _srgb_to_xyz() -> np.ndarray:
    """Return the matrix (3, 3) from linear sRGB to XYZ under D50, white to white."""
    matrix = np.array(_SRGB)
    matrix *= (np.array(WHITE) / matrix.sum(axis=1))[:, None]
    return matrix


def _linear_to_srgb(xyz: np.ndarray) -> np.ndarray:
    """Return XYZ under D50 as sRGB's values, not clipped."""
    return encoded(xyz @ np.linalg.inv(_srgb_to_xyz()).T)


def interpolated(grid: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Return what lies between a grid's nodes, linear along each axis.

    Args:
        grid: (k, ..., k, c), n axes of k nodes from 0 to 1.
        at: (m, n), float in [0, 1].

    Returns:
        (m, c)
    """
    axes, nodes = at.shape[1], grid.shape[0]
    flat = grid.reshape(-1, grid.shape[-1])
    place = at * (nodes - 1)
    low = np.clip(np.floor(place).astype(np.int64), 0, nodes - 2)  # beyond the cube the last cells go on
    share = place - low
    strides = nodes ** np.arange(axes - 1, -1, -1)
    found = np.zeros((len(at), grid.shape[-1]))
    for corner in range(1 << axes):
        bits = (corner >> np.arange(axes)) & 1
        weight = np.where(bits, share, 1 - share).prod(axis=1)
        found += flat[(low + bits) @ strides] * weight[:, None]
    return found
