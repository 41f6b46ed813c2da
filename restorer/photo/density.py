"""Another resolution for a photo that is to be printed: wherever its metadata tells one."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

from restorer.photo import exif, photoshop, xmp
from restorer.photo.damage import DAMAGE
from restorer.photo.model import Photo


def printed(photo: Photo, dpi: float) -> Photo:
    """Return a photo that tells a resolution: it replaces that of EXIF and Photoshop's resources; XMP tells none then.

    Blocks that are damaged stay as they are; whoever writes them says so.

    Args:
        photo: any; it is not changed.
        dpi: dots per inch, the same both ways.
    """
    block, packet, resources = photo.exif, photo.xmp, photo.photoshop
    if block is not None:
        with suppress(*DAMAGE):
            block = exif.with_resolution(block, (dpi, dpi), anew=True)
    if packet is not None:
        with suppress(*DAMAGE):
            packet = xmp.without_resolution(packet)
    if resources is not None:
        resources = photoshop.with_resolution(resources, dpi)
    return replace(photo, dpi=(dpi, dpi), exif=block, xmp=packet, photoshop=resources)
