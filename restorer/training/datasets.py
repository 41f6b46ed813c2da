"""Pictures of a folder as training data: read once, reduced, split, and drawn in an order that the seed decides."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from restorer.errors import UnreadablePhotoError, UsageError
from restorer.imaging.sheets import Picture

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})
_MEMORY = 4 << 30

Reader = Callable[[Path, int], Picture]


def picture_files(folder: Path) -> list[Path]:
    """Return the pictures of a folder and its subfolders, sorted by their relative names.

    Raises:
        UsageError: the folder is not there or holds no picture.
    """
    if not folder.is_dir():
        raise UsageError(f"There is no folder {folder}.", "Give the folder of pictures with --data.")
    files = [path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file()]
    if not files:
        raise UsageError(f"The folder {folder} holds no pictures.", f"Known suffixes: {', '.join(sorted(SUFFIXES))}.")
    return sorted(files, key=lambda path: path.relative_to(folder).as_posix())


def split(files: Sequence[Path], validation: int, seed: int) -> tuple[list[Path], list[Path]]:
    """Return (training, validation) files; which ones are kept for validation depends on the seed and the names only.

    Raises:
        UsageError: nothing would be left to train on.
    """
    if validation >= len(files):
        raise UsageError(
            f"{validation} of {len(files)} pictures are to be kept for validation, which leaves none to train on.",
            "Give more pictures, or set data.validation lower.",
        )
    kept = set(np.random.default_rng(seed).permutation(len(files))[:validation].tolist())
    return (
        [path for index, path in enumerate(files) if index not in kept],
        [path for index, path in enumerate(files) if index in kept],
    )


def read_picture(path: Path) -> np.ndarray:
    """Return a picture upright, (h, w, 3) uint8 RGB; raises `UnreadablePhotoError` when it is none."""
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as image:
            return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    except (OSError, ValueError) as error:
        raise UnreadablePhotoError(path, f"{path} cannot be read: {error}.", "Take it out of the folder.") from error


def read_square(path: Path, size: int) -> Picture:
    """Return the picture's middle square, reduced (or enlarged) to (size, size, 3), RGB.

    Raises:
        UnreadablePhotoError: the file is no picture.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as image:
            upright = ImageOps.exif_transpose(image).convert("RGB")
    except (OSError, ValueError) as error:
        raise UnreadablePhotoError(path, f"{path} cannot be read: {error}.", "Take it out of the folder.") from error
    side = min(upright.size)
    left, top = (upright.width - side) / 2, (upright.height - side) / 2
    box = (left, top, left + side, top + side)
    return np.asarray(upright.resize((size, size), Image.Resampling.LANCZOS, box=box))


class PictureSet:
    """Square pictures of one size, kept in memory while they fit (4 GiB), read when needed otherwise.

    Args:
        files: the pictures.
        size: side that they are brought to.
        read: reads one of them at a size; by default its middle square.
    """

    def __init__(self, files: Sequence[Path], size: int, read: Reader = read_square) -> None:
        self.files = list(files)
        self.size = size
        self._read = read
        self._pictures: NDArray[np.uint8] | None = None
        if len(self.files) * size * size * 3 <= _MEMORY:
            self._pictures = np.empty((len(self.files), size, size, 3), np.uint8)
            with ThreadPoolExecutor(4) as pool:
                for index, picture in enumerate(pool.map(lambda path: read(path, size), self.files)):
                    self._pictures[index] = picture

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Picture:
        """Return one picture (size, size, 3), RGB."""
        if self._pictures is None:
            return self._read(self.files[index], self.size)
        found: Picture = self._pictures[index]
        return found

    def draw(self, count: int, rng: np.random.Generator, *, mirror: bool) -> list[Picture]:
        """Return `count` pictures drawn with replacement, each mirrored or not where that is asked for."""
        indices = rng.integers(0, len(self), count)
        flips = rng.random(count) < 0.5
        return [
            self[int(index)][:, ::-1] if mirror and flip else self[int(index)]
            for index, flip in zip(indices, flips, strict=True)
        ]
