"""Drawn pictures, such as contact sheets and plots, as files."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from restorer.storage.atomic import write_atomic


def save_picture(image: Image.Image, path: Path, quality: int = 92) -> None:
    """Write a picture so that a viewer never opens half of it.

    Args:
        image: what was drawn.
        path: the file; ".jpg" makes it a JPEG, anything else a PNG.
        quality: of a JPEG, 1 to 100.

    Raises:
        OSError: it cannot be written.
    """
    kind = "JPEG" if path.suffix == ".jpg" else "PNG"
    write_atomic(path, lambda file: image.save(file, format=kind, quality=quality), durable=False)
