"""From a file's parts to a photo: metadata cleaned, pixels turned upright once."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from restorer.photo import color, decoding, exif, exif_pixels, isobmff, photoshop, xmp
from restorer.photo.damage import DAMAGE, look_at_it
from restorer.photo.decoding import Decoded
from restorer.photo.model import Photo

_MOST_NAMES = 8
_MOST_DPI = 100_000.0
_FILM = re.compile(rb"ftyp(?:mp4|isom|iso[2-9]|avc1|qt  |MSNV|3gp|M4V|dash)|moov.{4}mvhd", re.DOTALL)


class PhotoBuilder:
    """Gathers a photo from its parts: cleans the metadata, then turns the pixels upright once."""

    def __init__(self, format: str) -> None:
        self.format = format
        self.icc_profile: bytes | None = None
        self.photoshop: bytes | None = None
        self.dpi: tuple[float, float] | None = None
        self.format_specific: list[tuple[str, bytes]] = []
        self.lossless = False
        self.warnings: list[str] = []
        self._exif: bytes | None = None
        self._xmp: bytes | None = None
        self._orientation: int | None = None

    def take_exif(self, block: bytes | None) -> None:
        """Take an EXIF block, with or without prefix."""
        if not block:
            return
        try:
            found = exif.clean(block)
        except DAMAGE as error:
            self.warnings.append(f"The EXIF block is damaged ({error}) and was dropped.")
            return
        self._exif = found.data
        self.warnings += found.problems
        if found.has_orientation:
            self._orientation = found.orientation

    def take_xmp(self, packet: bytes | None) -> None:
        """Take an XMP packet."""
        if packet and packet.strip(b"\0 \r\n\t"):
            self._xmp = packet

    def take_photoshop(self, block: bytes) -> None:
        """Take image resources; what they alone tell of profile, EXIF and XMP too. Comes after these."""
        self.icc_profile = self.icc_profile or photoshop.resource(block, photoshop.ICC_RESOURCE)
        if self._exif is None:
            self.take_exif(photoshop.resource(block, photoshop.EXIF_RESOURCE))
        if self._xmp is None:
            self.take_xmp(photoshop.resource(block, photoshop.XMP_RESOURCE))
        self.photoshop, problems = photoshop.fresh_resources(block)
        self.warnings += problems

    def take_dpi(self, found: tuple[float, float] | None) -> None:
        """Take a resolution, if it is one and there is none yet."""
        if self.dpi is None and found is not None and all(0 < value < _MOST_DPI for value in found):
            self.dpi = found

    def take_boxes(self, found: isobmff.Contents) -> None:
        """Take what a HEIF's or AVIF's boxes tell of its colours, and say what else they hold."""
        title = "HEIC" if self.format == "HEIF" else self.format
        if not self.icc_profile:
            self.format_specific += isobmff.colour_chunks(found)
        if found.blanked:
            self.warnings.append(look_at_it(title))
        if found.lost:
            self.warnings.append(f"Parts of the {title} were dropped: {', '.join(found.lost)}.")
        self.warn_of_rest(found.rest)

    def warn_of_unknown(self, title: str, parts: Iterable[str]) -> None:
        """Name parts of a file that are not known here, each once, and not more than a few of them."""
        names = list(dict.fromkeys(parts))
        if len(names) > _MOST_NAMES:
            names = [*names[:_MOST_NAMES], f"and {len(names) - _MOST_NAMES} more"]
        if names:
            self.warnings.append(f"Parts of the {title} that are not known here were dropped: {', '.join(names)}.")

    def warn_of_rest(self, rest: bytes) -> None:
        """Say what was behind the picture in its file, and is not in the result.

        Args:
            rest: the bytes behind its end; padding is no loss.
        """
        if not rest.strip(b"\0\xff \r\n\t"):
            return
        if b"MotionPhoto_Data" in rest or _FILM.search(rest):
            self.warnings.append("The photo carried a short video; only its picture was taken.")
        elif rest.lstrip(b"\0").startswith(b"\xff\xd8\xff"):
            self.warnings.append("The file holds further pictures behind the first; only the first was taken.")
        else:
            self.warnings.append(f"{len(rest):,} bytes of other data behind the picture were dropped.")

    def photo(self, decoded: Decoded, *, orientation: int | None = None, oriented: bool = True) -> Photo:
        """Return the photo.

        Args:
            decoded: pixels as they lie in the file.
            orientation: what the container itself says; goes before EXIF.
            oriented: False when the decoder has turned the picture already, whatever EXIF and XMP say.
        """
        turn = orientation or self._orientation
        packet = self._xmp
        if packet is not None:
            try:
                if turn is None:
                    turn = xmp.orientation(packet)
                packet, warnings = xmp.clean(packet, rotated=oriented and turn not in (None, 1))
                self.warnings += warnings
            except DAMAGE as error:
                self.warnings.append(f"The XMP is damaged ({error}) and was dropped.")
                packet = None
        turn = turn if oriented and turn else 1
        if self.dpi is None and self._exif is not None:
            self.take_dpi(exif.resolution(self._exif))
        if self._exif is not None and exif.tells_only_resolution(self._exif):
            self._exif = None
        if self.dpi is not None and turn >= 5:
            self.dpi = (self.dpi[1], self.dpi[0])
        if self.photoshop is not None and turn != 1:
            self.photoshop, problems = photoshop.turned(self.photoshop, sideways=turn >= 5)
            self.warnings += problems
        self._turn_exif(turn if oriented else self._orientation or 1, decoded.pixels.shape[1::-1], lying=oriented)
        alpha = decoded.alpha
        return Photo(
            decoding.upright(decoded.pixels, turn),
            None if alpha is None else decoding.upright(alpha, turn),
            decoded.grey,
            format=self.format,
            icc_profile=self._profile(decoded),
            exif=self._exif,
            xmp=packet,
            photoshop=self.photoshop,
            dpi=self.dpi,
            format_specific=tuple(self.format_specific),
            lossless=self.lossless,
            bits=8 * decoded.pixels.itemsize,
            warnings=list(dict.fromkeys([*self.warnings, *decoded.warnings])),
        )

    def _turn_exif(self, turn: int, size: tuple[int, int], *, lying: bool) -> None:
        """Set right what EXIF tells of the picture as it lay; a decoder may have turned it already (not `lying`)."""
        if self._exif is None or turn == 1:
            return
        if not lying and turn >= 5:
            size = size[1], size[0]
        try:
            self._exif = exif_pixels.turned(self._exif, turn, size)
        except DAMAGE as error:
            self.warnings.append(f"The EXIF block is damaged ({error}) and was dropped.")
            self._exif = None

    def _profile(self, decoded: Decoded) -> bytes | None:
        """Return the profile that fits the decoded pixels: as a rule the file's own, byte for byte."""
        if decoded.new_profile is not None or not self.icc_profile:
            return decoded.new_profile
        space = color.profile_space(self.icc_profile)
        if space in ("RGB", "GRAY"):
            return self.icc_profile
        what = "no ICC profile" if space is None else f"one for {space}, not for this picture"
        self.warnings.append(f"What the file calls its ICC profile is {what}; it was dropped.")
        return None


def take_pillow_info(builder: PhotoBuilder, image: Any) -> None:
    """Take what Pillow has found in an opened file."""
    builder.icc_profile = image.info.get("icc_profile")
    builder.take_exif(image.info.get("exif"))
    builder.take_xmp(image.info.get("xmp"))
    builder.take_dpi(pillow_dpi(image.info))
    frames = getattr(image, "n_frames", 1)
    if frames > 1:
        builder.warnings.append(f"The animation has {frames} frames; only the first picture was taken.")


def pillow_dpi(info: dict[Any, Any]) -> tuple[float, float] | None:
    """Return the resolution that Pillow has found, in dots per inch (horizontal, vertical)."""
    found = info.get("dpi")
    return (float(found[0]), float(found[1])) if found else None
