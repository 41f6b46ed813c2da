"""PNG, and the first picture of an animated one."""

from __future__ import annotations

import struct
import zlib
from typing import Any

from restorer.imaging.libraries import np
from restorer.photo import decoding, png_chunks, png_salvage
from restorer.photo.base import EncodeChoices, EncodeInput, Format
from restorer.photo.builder import PhotoBuilder
from restorer.photo.channels import channels_of, opencv_file, pillow_image, saved, with_rgb_for_alpha
from restorer.photo.damage import DAMAGE, look_at_it
from restorer.photo.decoding import Decoded, UndecodableError
from restorer.photo.model import Photo

_COLOUR = frozenset({b"gAMA", b"cHRM", b"sRGB", b"cICP", b"mDCV", b"cLLI"})
_TEXT = frozenset({b"tEXt", b"zTXt", b"iTXt"})
# What says nothing of a still picture that is more than its pixels: background, significant bits, suggested palettes,
# the time of the last change; frames, which are a warning of their own; how Apple's decoder is to be fed.
_SILENT = frozenset({b"bKGD", b"sBIT", b"sPLT", b"hIST", b"tIME", b"fcTL", b"fdAT", b"iDOT"})
_KNOWN = frozenset({b"iCCP", b"eXIf", b"pHYs"}) | _COLOUR | _TEXT | _SILENT
_UNKNOWN = {
    "caBX": "Content Credentials (C2PA), which would not hold for the result",
    "gdAT": "a gain map",
    "gmAP": "a gain map",
    "mkBT": "the layers of Fireworks",
    "mkBS": "the layers of Fireworks",
}
_END = png_chunks.png_chunk(b"IEND", b"")
_COLOUR_AT_16 = (0, 2, 4, 6)
_MOST_SIDE = 1_000_000  # pixels, libpng's own limit
_COMMENTS = frozenset({"GIF comment"})
_RAW_PROFILES = "Raw profile type "
_STEP = 2**24
_LEVEL = 2  # measured on photographs: level 6 takes five times as long for a file 11 % smaller
# What sRGB, which every reader takes a picture without profile for, has in these chunks.
_SRGB_GAMMA, _SRGB_PRIMARIES = 45455, (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)


def _read_png(data: bytes) -> Photo:
    builder = PhotoBuilder("PNG")
    picture = _sorted(builder, data)
    head, key = picture.get(b"IHDR", b""), picture.get(b"tRNS", b"")
    if len(head) < 13:
        raise UndecodableError("it is cut off before its header")
    width, height, bits, colour = struct.unpack(">IIBB", head[:10])
    decoding.check_size(width, height)
    if not picture.is_sound:
        raise UndecodableError("its header is damaged")
    if b"CgBI" in picture:
        return builder.photo(_decoded_apple(picture.file(), bits, colour))
    left, more = png_salvage.salvaged(data) if b"IEND" not in picture else None, 0
    if left is None:
        more = _surplus(picture.file(), head)
        left = png_salvage.salvaged(picture.without_end()) if more < 0 else None
    if left is None:
        if more:
            builder.warnings.append(look_at_it("PNG"))
        trimmed = png_salvage.salvaged(picture.without_end()) if more and bits == 16 else None
        return builder.photo(_decoded(trimmed.file if trimmed else picture.file(), bits, colour, key))
    decoded = _decoded(left.file, bits, colour, key)
    if left.is_whole:
        builder.warnings.append("The PNG's end marker is missing; all its pixels are there.")
    else:
        left.fill(decoded)
    return builder.photo(decoded)


def _decoded(whole: bytes, bits: int, colour: int, key: bytes) -> Decoded:
    """Return the pixels of a PNG that is whole.

    Args:
        whole: the file, without metadata.
        bits: of a channel.
        colour: the PNG's colour type.
        key: the payload of its tRNS chunk.
    """
    if bits < 16:
        with decoding.opened(whole, "PNG") as image:
            return decoding.from_pillow(image)
    grey = colour in (0, 4)
    decoded = decoding.separated(decoding.from_opencv(_for_opencv(whole)), grey=grey)
    if decoded.pixels.dtype != np.uint16:
        raise UndecodableError("its 16 bits were not decoded as such")
    if colour == 0 and len(key) >= 2:  # OpenCV leaves the transparent level of grey pictures out
        level = struct.unpack(">H", key[:2])[0]
        decoded.alpha = np.where(decoded.pixels[..., 0] == level, 0, 65535).astype(np.uint16)
    return decoded


def _surplus(whole: bytes, head: bytes) -> int:
    """Return by how many bytes the pixels' data are longer than the header tells; below zero: so many are missing.

    Pillow leaves rows that are missing black, and says nothing. Damage of another kind is left to the decoder.
    """
    told = png_salvage.length_of_rows(head)
    inflater, count = zlib.decompressobj(), 0
    for kind, start, end, _ in png_chunks.png_chunks(whole):
        part = whole[start:end] if kind == b"IDAT" else b""
        while part and not inflater.eof and count <= told:
            try:
                count += len(inflater.decompress(part, _STEP))
            except zlib.error:
                return 0
            part = inflater.unconsumed_tail
    return count - told if inflater.eof or count > told else 0


def _for_opencv(whole: bytes) -> bytes:
    """Return a PNG of 16 bits a channel as OpenCV's decoder takes it without a word; of others it complains on stderr.

    Raises:
        UndecodableError: its header or its pixels are damaged, or their data end too early.
        zlib.error: their data are damaged.
    """
    spans = [(kind, start, end) for kind, start, end, _ in png_chunks.png_chunks(whole)]
    head = next(whole[start:end] for kind, start, end in spans if kind == b"IHDR")
    width, height, bits, colour = struct.unpack(">IIBB", head[:10])
    if len(head) != 13 or bits != 16 or colour not in _COLOUR_AT_16 or not min(width, height) > 0:
        raise UndecodableError("its header is damaged")
    if max(width, height) > _MOST_SIDE:
        reason = f"it has {max(width, height):,} pixels on a side, and {_MOST_SIDE:,} are the most at 16 bits"
        raise UndecodableError(reason, "Give parts of it.")
    kept = _pixel_chunks(whole, spans, png_salvage.FilterBytes(head))
    key = [whole[start:end] for kind, start, end in spans if kind == b"tRNS" and colour == 2 and end - start == 6]
    parts = [png_chunks.png_chunk(b"IHDR", head), *(png_chunks.png_chunk(b"tRNS", each) for each in key[:1])]
    return b"".join((png_chunks.PNG_SIGNATURE, *parts, *kept, _END))


def _pixel_chunks(whole: bytes, spans: list[tuple[bytes, int, int]], filters: png_salvage.FilterBytes) -> list[bytes]:
    """Return the chunks of the pixels, without what lies behind the end of their data; raises as `_for_opencv` does."""
    inflater, kept = zlib.decompressobj(), []
    for kind, start, end in spans:
        if kind != b"IDAT" or inflater.eof:
            continue
        if zlib.crc32(whole[start - 4 : end]) != int.from_bytes(whole[end : end + 4], "big"):
            raise UndecodableError("it is damaged: the check sum of its pixels is wrong")
        part = whole[start:end]
        while part and not inflater.eof:
            filters.check(inflater.decompress(part, _STEP))
            part = inflater.unconsumed_tail
        spare = len(inflater.unused_data)
        kept.append(png_chunks.png_chunk(b"IDAT", whole[start : end - spare]) if spare else whole[start - 8 : end + 4])
    if not inflater.eof:
        raise UndecodableError("it is cut off before its last pixels")
    return kept


class _Critical(dict[bytes, bytes]):
    """The chunks that make the picture: their payloads by name (not of the pixels), and a file of them alone.

    `is_sound` says whether the header's check sum holds.
    """

    def __init__(self) -> None:
        super().__init__()
        self.is_sound = True
        self.chunks: list[bytes] = [png_chunks.PNG_SIGNATURE]

    def file(self) -> bytes:
        """Return a PNG for decoders; an end that was cut off is put there: whether all pixels are, they say."""
        return b"".join(self.chunks if self.chunks[-1].endswith(_END) else [*self.chunks, _END])

    def without_end(self) -> bytes:
        """Return the file without its end marker."""
        return b"".join(chunk for chunk in self.chunks if chunk[4:8] != b"IEND")


def _sorted(builder: PhotoBuilder, data: bytes) -> _Critical:
    """Give the metadata to the builder, and return what makes the picture."""
    critical = _Critical()
    unknown: dict[str, None] = {}
    unpacker, end = png_chunks.Unpacker(), 0
    for kind, start, end, sound in png_chunks.png_chunks(data):
        payload = data[start:end] if kind != b"IDAT" else b""
        name = kind.decode("latin-1")
        if kind == b"IHDR":
            if kind in critical:
                raise UndecodableError("its header stands there twice")
            critical.is_sound = sound
        if kind == b"tRNS" and not sound:
            builder.warnings.append("The PNG's tRNS chunk is damaged; it was dropped.")
        elif kind in png_chunks.PNG_CRITICAL:
            critical.setdefault(kind, payload)
            critical.chunks.append(data[start - 8 : end + 4])
        elif kind == b"CgBI":
            critical[kind] = payload
        elif kind == b"acTL" and len(payload) >= 4:
            count = struct.unpack(">I", payload[:4])[0]
            if count > 1:
                builder.warnings.append(f"The animation has {count} frames; only the first picture was taken.")
        elif not sound:
            builder.warnings.append(f"The PNG's {name} chunk is damaged; it was dropped.")
        elif kind not in _KNOWN:
            unknown[_UNKNOWN.get(name, f"the chunk {name!r}")] = None
        else:
            try:
                _take_png_chunk(builder, kind, payload, unpacker)
            except DAMAGE as error:
                builder.warnings.append(f"The PNG's {name} chunk is damaged ({error}); it was dropped.")
    builder.warn_of_unknown("PNG", unknown)
    if b"IEND" in critical:
        builder.warn_of_rest(data[end + 4 :])
    return critical


def _decoded_apple(whole: bytes, bits: int, colour: int) -> Decoded:
    """Decode the PNG that Apple's tools make for telephones: bare Deflate, blue first, alpha multiplied in."""
    if bits != 8 or colour not in (2, 6):
        raise UndecodableError(f"it is an optimised PNG of Apple's with {bits} bits of the colour type {colour}")
    spans = [(kind, start, end) for kind, start, end, _ in png_chunks.png_chunks(whole)]
    packed = b"".join(whole[start:end] for kind, start, end in spans if kind == b"IDAT")
    head = next(whole[start:end] for kind, start, end in spans if kind == b"IHDR")
    width, height = struct.unpack(">II", head[:8])
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    rows = inflater.decompress(packed, (4 * width + 8) * height * 2 + 1024)
    again = struct.pack(">BB", 0x78, 0x01) + packed + struct.pack(">I", zlib.adler32(rows))
    chunks = [(b"IHDR", head), (b"IDAT", again), (b"IEND", b"")]
    plain = png_chunks.PNG_SIGNATURE + b"".join(png_chunks.png_chunk(kind, payload) for kind, payload in chunks)
    with decoding.opened(plain, "PNG") as image:
        decoded = decoding.from_pillow(image)
    decoded.pixels = np.ascontiguousarray(decoded.pixels[..., ::-1])
    if decoded.alpha is not None and bool((decoded.alpha == 255).all()):
        decoded.alpha = None  # the kind has alpha always, also where the picture had none
    return decoding.unmultiplied(decoded)


def _take_png_chunk(builder: PhotoBuilder, kind: bytes, payload: bytes, unpacker: png_chunks.Unpacker) -> None:
    """Sort one ancillary chunk; those that go stale (times, palettes' histograms, ...) are left out."""
    if kind == b"iCCP":
        builder.icc_profile = unpacker.inflate(payload.partition(b"\0")[2][1:])
    elif kind == b"eXIf":
        builder.take_exif(payload)
    elif kind == b"pHYs":
        across, down, unit = struct.unpack(">IIB", payload[:9])
        if unit == 1:
            builder.take_dpi((across * 0.0254, down * 0.0254))
        elif across != down:
            builder.warnings.append(f"The PNG's pixels are not square ({down}:{across}); that was dropped.")
    elif kind in _COLOUR:
        builder.format_specific.append((f"PNG {kind.decode()}", payload))
    elif kind in _TEXT:
        keyword, text = png_chunks.png_text(kind, payload, unpacker)
        if keyword == "XML:com.adobe.xmp":
            builder.take_xmp(text)
        elif keyword.startswith(_RAW_PROFILES):
            _take_raw_profile(builder, keyword.removeprefix(_RAW_PROFILES), png_chunks.raw_profile(text))
        else:
            builder.format_specific.append((f"PNG {kind.decode()}", payload))


def _take_raw_profile(builder: PhotoBuilder, name: str, content: bytes) -> None:
    """Take what ImageMagick and exiftool put into PNG texts before there were chunks for it."""
    if name == "xmp" or content.startswith(b"http://ns.adobe.com/xap/1.0/\0"):
        builder.take_xmp(content.removeprefix(b"http://ns.adobe.com/xap/1.0/\0"))
    elif name in ("exif", "APP1"):
        builder.take_exif(content)
    elif name in ("icc", "icm"):
        builder.icc_profile = builder.icc_profile or content
    elif name in ("iptc", "8bim"):
        builder.take_photoshop(content)


def _find_xmp(data: Any) -> bytes | None:
    for name, start, end, _ in png_chunks.png_chunks(data):
        if name == b"IDAT":
            return None  # this tool writes its note before the pixels
        if name == b"iTXt" and data[start : start + 17] == b"XML:com.adobe.xmp":
            return png_chunks.png_text(name, bytes(data[start:end]))[1]
    return None


def _encode_png(given: EncodeInput, choices: EncodeChoices) -> bytes:
    channels = channels_of(given)
    if channels.ndim == 3 and channels.shape[2] == 2 and channels.dtype == np.uint8:
        picture = saved(pillow_image(channels), "PNG", compress_level=_LEVEL)
    else:
        import cv2

        parameters = [cv2.IMWRITE_PNG_COMPRESSION, _LEVEL, cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_ALL_FILTERS]
        picture = opencv_file(".png", with_rgb_for_alpha(channels), parameters)
    chunks: list[tuple[bytes, bytes]] = []
    if given.icc_profile is not None:
        chunks.append((b"iCCP", b"ICC Profile\0\0" + zlib.compress(given.icc_profile, 9)))
    for kind, payload in given.format_specific:
        if kind in _COMMENTS:
            chunks.append(_comment(payload))
        elif kind.startswith("PNG ") and not (kind == "PNG sRGB" and given.icc_profile is not None):
            chunks.append((kind[4:].encode(), payload))
    if given.dpi is not None:
        chunks.append((b"pHYs", struct.pack(">IIB", *(max(round(value / 0.0254), 1) for value in given.dpi), 1)))
    if given.exif is not None:
        chunks.append((b"eXIf", given.exif))
    if given.xmp is not None:
        chunks.append((b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + given.xmp))
    return png_chunks.join_png(picture, chunks)


def _comment(text: bytes) -> tuple[bytes, bytes]:
    """Return the chunk for a comment: UTF-8 where it is that and more than ASCII, else as it is, as Latin-1."""
    text = text.replace(b"\0", b" ")
    try:
        text.decode("utf-8")
        plain = text.isascii()
    except UnicodeDecodeError:
        plain = True
    return (b"tEXt", b"Comment\0" + text) if plain else (b"iTXt", b"Comment\0\0\0\0\0" + text)


def _describe(kind: str, payload: bytes, has_profile: bool) -> str | None:
    """Name a chunk that another format has no place for; None when nothing is lost without it."""
    if kind in png_chunks.PNG_COLOUR_KINDS:
        if kind == "PNG sRGB" or has_profile:
            return None
        if kind == "PNG gAMA":
            return None if payload[:4] == struct.pack(">I", _SRGB_GAMMA) else "the PNG's gamma"
        if kind == "PNG cHRM":
            return None if payload[:32] == struct.pack(">8I", *_SRGB_PRIMARIES) else "the PNG's primaries"
        if kind == "PNG cICP":
            return "the colour space that the photo names without a profile (cICP)"
        return f"the PNG's {kind[4:]} chunk"
    return f"the PNG text {payload.partition(bytes(1))[0].decode('latin-1')!r}"


FORMAT = Format(
    "PNG",
    "PNG",
    (".png", ".apng"),
    recognise=lambda head: head.startswith(png_chunks.PNG_SIGNATURE),
    read=_read_png,
    size=decoding.size_by_pillow("PNG"),
    find_xmp=_find_xmp,
    requests=("png",),
    encode=_encode_png,
    describe=_describe,
    takes=_COMMENTS,
    max_side=2**31 - 1,
    bits=16,
    alpha=True,
    holds=frozenset({"icc", "exif", "xmp", "dpi"}),
    offered=True,
    bytes_per_pixel=1.05,
    encoding_seconds=0.14,
    lossless=True,
)
