"""Reading a photo: its format by content, its metadata, its pixels, and the orientation applied exactly once."""

from __future__ import annotations

import hashlib
import io
import mmap
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
from PIL import features

from restorer.errors import UnreadablePhotoError
from restorer.photo import color, containers, decoding, exif, formats, ifd, tiff, xmp
from restorer.photo.damage import DAMAGE
from restorer.photo.decoding import Decoded, UndecodableError
from restorer.photo.model import Note, Photo, Pixels, grey_to_rgb

_TIFF_XMP, _TIFF_IPTC, _TIFF_PHOTOSHOP, _TIFF_ICC = 700, 33723, 34377, 34675
_MOST_DPI = 100_000.0
_PNG_COLOUR = frozenset({b"gAMA", b"cHRM", b"sRGB", b"cICP", b"mDCV", b"cLLI"})
_PNG_TEXT = frozenset({b"tEXt", b"zTXt", b"iTXt"})
_PNG_END = containers.png_chunk(b"IEND", b"")
_RAW_PROFILES = "Raw profile type "


def read_photo(source: Path | str | bytes) -> Photo:
    """Read a photo with everything that it carries.

    Args:
        source: a file, or a file's bytes. Content decides what it is; names and suffixes do not.

    Returns:
        The photo, upright, at its own depth; `Photo.warnings` says what could not be kept.

    Raises:
        UnreadablePhotoError: there is no such file, it is no picture, empty, cut off, or of a kind that is not read.
        MissingSupportError: it is HEIC, and pillow-heif is not installed.
    """
    path = None if isinstance(source, bytes) else Path(source)
    data = source if isinstance(source, bytes) else _read_file(Path(source))
    named = str(path) if path is not None else "The picture"
    kind = formats.sniff(data[:64])
    if not data:
        raise UnreadablePhotoError(path, f"{named} is empty (0 bytes).", "Copy the file again from where it came.")
    if kind is None:
        reason = formats.describe_stranger(data[:64])
        remedy = "Give a JPEG, PNG, WebP, TIFF, BMP or HEIC picture; export others as TIFF or PNG first."
        raise UnreadablePhotoError(path, f"{named} cannot be read as a photo: {reason}.", remedy)
    if kind == "HEIF":
        formats.check_heif(path)
    try:
        photo = _READERS[kind](data)
    except MemoryError as error:
        message = f"{named} does not fit into memory once it is decoded."
        raise UnreadablePhotoError(path, message, "Close other programs, or give a smaller copy.") from error
    except Exception as error:  # decoders raise nearly every class on a damaged file; the reason goes into the message
        message = f"{named} cannot be read as {kind}: {_reason(error)}."
        remedy = "Copy the file again from where it came, or export it anew as PNG or TIFF."
        raise UnreadablePhotoError(path, message, remedy) from error
    photo.path, photo.sha256 = path, hashlib.sha256(data).hexdigest()
    return photo


def _read_file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise UnreadablePhotoError(path, f"There is no file {path}.", "Check the name and the folder.") from error
    except IsADirectoryError as error:
        raise UnreadablePhotoError(path, f"{path} is a folder, not a photo.", "Give the photos inside it.") from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise UnreadablePhotoError(path, f"{path} cannot be opened: {reason}.", "Check its permissions.") from error


def _reason(error: Exception) -> str:
    """Return a decoder's complaint as the end of a sentence."""
    text = str(error).strip().rstrip(".")
    if isinstance(error, UndecodableError):
        return text
    return f"it is damaged or cut off ({text or type(error).__name__})"


class _Carried:
    """Gathers a photo from its parts: cleans the metadata, then turns the pixels upright once."""

    def __init__(self, format: str) -> None:
        self.format = format
        self.icc_profile: bytes | None = None
        self.photoshop: bytes | None = None
        self.dpi: tuple[float, float] | None = None
        self.native: list[tuple[str, bytes]] = []
        self.lossless = False
        self.warnings: list[str] = []
        self._exif: bytes | None = None
        self._xmp: bytes | None = None
        self._orientation: int | None = None

    def take_exif(self, block: bytes | None) -> None:
        """Take an EXIF block, with or without prefix."""
        if not block:
            return
        found = exif.clean(block)
        self._exif = found.data
        self.warnings += found.problems
        if found.has_orientation:
            self._orientation = found.orientation

    def take_xmp(self, packet: bytes | None) -> None:
        """Take an XMP packet."""
        if packet and packet.strip(b"\0 \r\n\t"):
            self._xmp = packet

    def take_dpi(self, found: tuple[float, float] | None) -> None:
        """Take a resolution, if it is one and there is none yet."""
        if self.dpi is None and found is not None and all(0 < value < _MOST_DPI for value in found):
            self.dpi = found

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
            native=tuple(self.native),
            lossless=self.lossless,
            bits=8 * decoded.pixels.itemsize,
            warnings=[*self.warnings, *decoded.warnings],
        )

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


# --------------------------------------------------------------------------------------------------- one per format


def _read_jpeg(data: bytes) -> Photo:
    parts = containers.split_jpeg(data)
    if parts.precision != 8:
        raise UndecodableError(f"it has {parts.precision} bits a channel, and 8 can be read")
    carried = _Carried("MPO" if parts.pictures > 1 else "JPEG")
    carried.warnings += parts.problems
    if parts.pictures > 1:
        carried.warnings.append(f"The file holds {parts.pictures} pictures; only the first was taken.")
    carried.icc_profile = parts.icc_profile
    carried.photoshop = containers.fresh_resources(parts.photoshop)
    carried.native = [("JPEG comment", comment) for comment in parts.comments]
    carried.take_exif(parts.exif)
    carried.take_xmp(parts.xmp)
    if parts.xmp and parts.extended_xmp:
        try:
            carried.take_xmp(xmp.merged(parts.xmp, parts.extended_xmp))
        except DAMAGE as error:
            carried.warnings.append(f"The extended part of the XMP is damaged ({error}); it was dropped.")
    with decoding.opened(parts.picture, "JPEG") as image:
        carried.take_dpi(_pillow_dpi(image.info))
        decoded = decoding.from_pillow(image, parts.icc_profile)
    return carried.photo(decoded)


def _read_png(data: bytes) -> Photo:
    carried = _Carried("PNG")
    picture: list[bytes] = [containers.PNG_SIGNATURE]
    head = key = b""
    for kind, start, end, sound in containers.png_chunks(data):
        payload = data[start:end] if kind != b"IDAT" else b""
        if kind in containers.PNG_CRITICAL:
            picture.append(data[start - 8 : end + 4])
            head, key = (payload if kind == b"IHDR" else head), (payload if kind == b"tRNS" else key)
        elif kind == b"acTL" and len(payload) >= 4:
            count = struct.unpack(">I", payload[:4])[0]
            if count > 1:
                carried.warnings.append(f"The animation has {count} frames; only the first picture was taken.")
        elif not sound:
            carried.warnings.append(f"The PNG's {kind.decode('latin-1')} chunk is damaged; it was dropped.")
        else:
            try:
                _take_png_chunk(carried, kind, payload)
            except (ValueError, struct.error) as error:
                name = kind.decode("latin-1")
                carried.warnings.append(f"The PNG's {name} chunk is damaged ({error}); it was dropped.")
    if len(head) < 13:
        raise UndecodableError("it is cut off before its header")
    width, height, bits, colour = struct.unpack(">IIBB", head[:10])
    decoding.check_size(width, height)
    if not picture[-1].endswith(_PNG_END):
        picture.append(_PNG_END)  # whether all pixels are there is for the decoder to say
    whole = b"".join(picture)
    if bits < 16:
        with decoding.opened(whole, "PNG") as image:
            return carried.photo(decoding.from_pillow(image))
    grey = colour in (0, 4)
    decoded = decoding.separated(decoding.from_opencv(whole), grey=grey)
    if decoded.pixels.dtype != np.uint16:
        raise UndecodableError("its 16 bits were not decoded as such")
    if colour == 0 and len(key) >= 2:  # OpenCV leaves the transparent level of grey pictures out
        level = struct.unpack(">H", key[:2])[0]
        decoded.alpha = np.where(decoded.pixels[..., 0] == level, 0, 65535).astype(np.uint16)
    return carried.photo(decoded)


def _take_png_chunk(carried: _Carried, kind: bytes, payload: bytes) -> None:
    """Sort one ancillary chunk; those that go stale (times, palettes' histograms, ...) are left out."""
    if kind == b"iCCP":
        carried.icc_profile = containers.inflate(payload.partition(b"\0")[2][1:])
    elif kind == b"eXIf":
        carried.take_exif(payload)
    elif kind == b"pHYs":
        across, down, unit = struct.unpack(">IIB", payload[:9])
        if unit == 1:
            carried.take_dpi((across * 0.0254, down * 0.0254))
    elif kind in _PNG_COLOUR:
        carried.native.append((f"PNG {kind.decode()}", payload))
    elif kind in _PNG_TEXT:
        keyword, text = containers.png_text(kind, payload)
        if keyword == "XML:com.adobe.xmp":
            carried.take_xmp(text)
        elif keyword.startswith(_RAW_PROFILES):
            _take_raw_profile(carried, keyword.removeprefix(_RAW_PROFILES), containers.raw_profile(text))
        else:
            carried.native.append((f"PNG {kind.decode()}", payload))


def _take_raw_profile(carried: _Carried, name: str, content: bytes) -> None:
    """Take what ImageMagick and exiftool put into PNG texts before there were chunks for it."""
    if name == "xmp" or content.startswith(b"http://ns.adobe.com/xap/1.0/\0"):
        carried.take_xmp(content.removeprefix(b"http://ns.adobe.com/xap/1.0/\0"))
    elif name in ("exif", "APP1"):
        carried.take_exif(content)
    elif name in ("icc", "icm"):
        carried.icc_profile = carried.icc_profile or content
    elif name in ("iptc", "8bim"):
        carried.photoshop = containers.fresh_resources(content)


def _read_webp(data: bytes) -> Photo:
    carried = _Carried("WEBP")
    # The lossless kind begins with a VP8L chunk, at once or as the first frame of the extended layout.
    carried.lossless = any(name == b"VP8L" for name, _, _ in _riff_chunks(data))
    with decoding.opened(data, "WEBP") as image:
        _take_pillow_info(carried, image)
        decoded = decoding.from_pillow(image)
    return carried.photo(decoded)


def _riff_chunks(data: bytes | mmap.mmap) -> list[tuple[bytes, int, int]]:
    """Return (name, start of the payload, its end) of a RIFF file's chunks."""
    found = []
    at = 12
    while at + 8 <= len(data):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        found.append((bytes(data[at : at + 4]), at + 8, min(at + 8 + size, len(data))))
        at += 8 + size + size % 2
    return found


def _read_tiff(data: bytes) -> Photo:
    page = tiff.first_page(data)
    carried = _Carried("TIFF")
    carried.icc_profile = page.bytes_of(_TIFF_ICC)
    block, problems = exif.from_tiff(page.data, page.directory)
    carried.warnings += problems
    carried.take_exif(block)
    carried.take_xmp(page.bytes_of(_TIFF_XMP))
    carried.take_dpi(exif.directory_resolution(page.directory))
    carried.photoshop = containers.fresh_resources(page.bytes_of(_TIFF_PHOTOSHOP) or b"")
    record = page.bytes_of(_TIFF_IPTC)
    if record is not None and containers.iptc_of(carried.photoshop or b"") is None:
        carried.photoshop = (carried.photoshop or b"") + containers.iptc_resource(record)
    decoded = tiff.decode(page, carried.icc_profile)
    told = page.orientation if exif.ORIENTATION in page.directory.entries else None
    return carried.photo(decoded, orientation=told)


def _read_by_pillow(data: bytes, kind: str) -> Photo:
    carried = _Carried(kind)
    with decoding.opened(data, *(("BMP", "DIB") if kind == "BMP" else (kind,))) as image:
        _take_pillow_info(carried, image)
        decoded = decoding.from_pillow(image)
    return carried.photo(decoded)


def _read_avif(data: bytes) -> Photo:
    if not features.check("avif"):
        raise UndecodableError("this installation of Pillow was built without AVIF")
    photo = _read_by_pillow(data, "AVIF")
    # The first "pixi" property lists the bits of each channel (ISO 23008-12, 6.5.6).
    at = data.find(b"pixi")
    if at >= 0 and max(data[at + 9 : at + 9 + min(data[at + 8], 4)], default=8) > 8:
        photo.warnings.append("AVIF of more than 8 bits a channel was reduced to 8.")
    return photo


def _read_heif(data: bytes) -> Photo:
    import pillow_heif

    with io.BytesIO(data) as stream:
        heif = pillow_heif.open_heif(stream, convert_hdr_to_8bit=False)
        decoding.check_size(*heif.size)
        pixels: Pixels = np.array(heif)
    info: dict[str, Any] = heif.info
    bits = int(info.get("bit_depth") or 8)
    carried = _Carried("HEIF")
    carried.icc_profile = info.get("icc_profile")
    carried.take_exif(info.get("exif"))
    carried.take_xmp(info.get("xmp"))
    nclx = info.get("nclx_profile") or {}
    if carried.icc_profile is None and nclx.get("color_primaries", 1) not in (1, 2, 5, 6):
        carried.warnings.append(
            "The HEIC names a wide colour space without a profile; the name could not be carried on."
        )
    if len(heif) > 1:
        carried.warnings.append(f"The file holds {len(heif)} pictures; only the main one was taken.")
    if pixels.dtype == np.uint16:  # the library shifts 10 and 12 bits up; white must become 65,535, not 65,472
        top = (1 << bits) - 1
        pixels = (((pixels >> (16 - bits)).astype(np.uint32) * 65535 + top // 2) // top).astype(np.uint16)
    if pixels.ndim == 3 and pixels.shape[2] == 2:
        decoded = Decoded(grey_to_rgb(pixels[..., 0]), pixels[..., 1].copy(), True)
    else:
        decoded = decoding.separated(pixels, grey=pixels.ndim == 2)
    if heif.premultiplied_alpha:
        decoded = decoding.unmultiplied(decoded)
    # The container's own rotation was applied by the decoder; EXIF's repeats it and must not be applied again.
    photo = carried.photo(decoded, oriented=False)
    photo.bits = bits
    return photo


def _take_pillow_info(carried: _Carried, image: Any) -> None:
    """Take what Pillow has found in an opened file."""
    carried.icc_profile = image.info.get("icc_profile")
    carried.take_exif(image.info.get("exif"))
    carried.take_xmp(image.info.get("xmp"))
    carried.take_dpi(_pillow_dpi(image.info))
    frames = getattr(image, "n_frames", 1)
    if frames > 1:
        carried.warnings.append(f"The animation has {frames} frames; only the first picture was taken.")


def _pillow_dpi(info: dict[Any, Any]) -> tuple[float, float] | None:
    found = info.get("dpi")
    return (float(found[0]), float(found[1])) if found else None


_READERS = {
    "JPEG": _read_jpeg,
    "PNG": _read_png,
    "WEBP": _read_webp,
    "TIFF": _read_tiff,
    "BMP": lambda data: _read_by_pillow(data, "BMP"),
    "GIF": lambda data: _read_by_pillow(data, "GIF"),
    "AVIF": _read_avif,
    "HEIF": _read_heif,
}


# ------------------------------------------------------------------------------------------------------------- notes


def read_note(path: Path | str) -> Note | None:
    """Return the note in the XMP of a file that this tool wrote, without decoding a pixel.

    None when there is no such file, it is no picture, or it has no note of ours.
    """
    try:
        with Path(path).open("rb") as stream:
            if os.fstat(stream.fileno()).st_size == 0:
                return None
            with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
                packet = _find_xmp(data)
        return xmp.note_of(packet) if packet else None
    except DAMAGE:
        return None  # out of reach or damaged: in either case no note says that the work is done


def _find_xmp(data: Any) -> bytes | None:
    """Return the XMP packet of a mapped file, reading only what leads to it."""
    kind = formats.sniff(bytes(data[:64]))
    if kind == "JPEG":
        prefix = b"http://ns.adobe.com/xap/1.0/\0"
        for marker, start, end in containers.jpeg_segments(data):
            if marker == 0xE1 and data[start : start + len(prefix)] == prefix:
                return bytes(data[start + len(prefix) : end])
    elif kind == "PNG":
        for name, start, end, _ in containers.png_chunks(data):
            if name == b"IDAT":
                return None  # this tool writes its note before the pixels
            if name == b"iTXt" and data[start : start + 17] == b"XML:com.adobe.xmp":
                return containers.png_text(name, bytes(data[start:end]))[1]
    elif kind == "WEBP":
        return next((bytes(data[start:end]) for name, start, end in _riff_chunks(data) if name == b"XMP "), None)
    elif kind == "TIFF":
        order, big, position = ifd.header(data)
        entry = ifd.read_directory(data, position, order, big).entries.get(_TIFF_XMP)
        return entry.raw if entry is not None else None
    elif kind == "HEIF" and formats.has_heif():
        import pillow_heif

        packet: bytes | None = pillow_heif.open_heif(io.BytesIO(data[:])).info.get("xmp")
        return packet
    return None
