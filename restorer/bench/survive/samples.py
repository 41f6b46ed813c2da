"""Small sound files of every format, with all the metadata that photos carry: what the mutations begin with."""

from __future__ import annotations

import io
import struct
import zlib
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, features

from restorer.imaging.icc import WHITE, description, icc_profile, xyz_tag
from restorer.photo import FORMATS, Photo, ifd, jpeg_segments, photoshop, png_chunks, read_photo, write_photo
from restorer.photo.color import srgb_profile

Array = npt.NDArray[Any]

SUFFIXES = {
    "JPEG": ".jpg", "MPO": ".mpo", "PNG": ".png", "TIFF": ".tif", "BigTIFF": ".tif", "WEBP": ".webp", "HEIC": ".heic",
    "AVIF": ".avif", "GIF": ".gif", "BMP": ".bmp",
}  # fmt: skip
"""Of each kind of file, the suffix."""

XMP = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="uuid:1"'
    ' xmlns:tiff="http://ns.adobe.com/tiff/1.0/" xmlns:exif="http://ns.adobe.com/exif/1.0/"'
    ' xmlns:dc="http://purl.org/dc/elements/1.1/" tiff:Orientation="6" exif:PixelXDimension="48">'
    "<tiff:ImageLength>32</tiff:ImageLength><exif:SubjectArea><rdf:Seq><rdf:li>24</rdf:li><rdf:li>16</rdf:li></rdf:Seq>"
    '</exif:SubjectArea><dc:title><rdf:Alt><rdf:li xml:lang="x-default">Anna &amp; Emil</rdf:li></rdf:Alt></dc:title>'
    '</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
).encode()
IPTC = b"\x1c\x02\x78\x00\x0bGrandmother\x1c\x02\x50\x00\x04Emil"


def scene(height: int = 32, width: int = 48, *, deep: bool = False) -> Array:
    """Return a smooth picture (h, w, 3) in colour, of 8 or 16 bits."""
    y, x = np.mgrid[0:height, 0:width]
    planes = (x / width, y / height, (x / width + 2 * y / height) / 3)
    pixels: Array = np.rint(np.stack(planes, -1) * (58981 if deep else 229)).astype(np.uint16 if deep else np.uint8)
    return pixels


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    """Return a file as Pillow writes it."""
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def exif_block(orientation: int = 6) -> bytes:
    """Return EXIF as cameras write it: a camera, a place, a maker's note, and a thumbnail in a second directory."""
    tree: ifd.Tree = {
        271: ifd.Value(2, b"Leica\0"), 274: ifd.shorts(orientation), 282: ifd.rational(300, 1),
        283: ifd.rational(300, 1), 296: ifd.shorts(2), 315: ifd.Value(2, b"Emil Larsen\0"),
        ifd.EXIF: {
            36867: ifd.Value(2, b"1931:05:01 12:00:00\0"), 37396: ifd.shorts(24, 16, 8, 8),
            37500: ifd.Value(7, b"MAKER\0\1\2" * 8), 40962: ifd.shorts(48), 40963: ifd.longs(32),
            41486: ifd.rational(1000, 1), ifd.INTEROP: {1: ifd.Value(2, b"R03\0")},
        },
        ifd.GPS: {1: ifd.Value(2, b"N\0"), 2: ifd.Value(5, struct.pack("<6I", 59, 1, 54, 1, 30, 1))},
    }  # fmt: skip
    block = ifd.pack_tree(tree)
    thumbnail = saved(Image.new("RGB", (16, 12), "red"), "JPEG")
    first = ifd.read_directory(block, 8, "<")
    position = len(block)
    entries = struct.pack("<HHIIHHII", 513, 4, 1, position + 30, 514, 4, 1, len(thumbnail))
    data = bytearray(block + struct.pack("<H", 2) + entries + bytes(4) + thumbnail)
    data[first.next_position : first.next_position + 4] = struct.pack("<I", position)
    return bytes(data)


def scanner_profile(number: int) -> bytes:
    """Return a profile of a table that no matrix with curves makes, as scanners have it, another for each number."""
    steps = np.linspace(0, 1, 5)
    r, g, b = np.meshgrid(steps, steps, steps, indexing="ij")
    lab = 65280 * (0.25 * r + 0.6 * g + 0.15 * b), 32768 + 17000 * (r - g + r * b / 4), 32768 + 15000 * (g - b)
    lut = b"mft2" + bytes(4) + bytes((3, 3, 5, 0)) + struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    lut += struct.pack(">2H", 2, 2) + 3 * struct.pack(">2H", 0, 65535)
    lut += np.rint(np.stack(lab, -1)).astype(">u2").tobytes() + 3 * struct.pack(">2H", 0, 65535)
    blocks = {b"desc": description(f"scanner {number}"), b"wtpt": xyz_tag(WHITE), b"A2B0": lut}
    return icc_profile("scnr", "RGB ", blocks, connection="Lab ")


def jpeg(picture: bytes | None = None) -> bytes:
    """Return a JPEG with all that a JPEG can carry."""
    resources = b"8BIM\x04\x0c\0\0" + struct.pack(">I", 6) + b"thumb." + photoshop.iptc_resource(IPTC)
    base = picture or saved(Image.fromarray(scene()), "JPEG", quality=90, dpi=(300, 300))
    return jpeg_segments.join_jpeg(
        base, exif=exif_block(), xmp=XMP, icc_profile=srgb_profile(), photoshop=resources, comments=[b"scanned by Emil"]
    )


def png(array: Array, colour: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """Return a PNG of 8 or 16 bits by PNG colour type (0 grey, 2 RGB, 4 grey and alpha, 6 RGBA)."""
    height, width = array.shape[:2]
    values = array.astype(">u2") if array.dtype == np.uint16 else array
    rows = b"".join(b"\0" + values[y].tobytes() for y in range(height))
    head = struct.pack(">IIBBBBB", width, height, 8 * array.itemsize, colour, 0, 0, 0)
    parts = [(b"IHDR", head), *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return png_chunks.PNG_SIGNATURE + b"".join(png_chunks.png_chunk(name, payload) for name, payload in parts)


def big_tiff() -> bytes:
    """Return a BigTIFF of 8-bit RGB in two strips, with XMP and a profile."""
    pixels = scene().tobytes()
    values: list[tuple[int, int, bytes]] = [
        (256, 3, struct.pack("<H", 48)), (257, 3, struct.pack("<H", 32)), (258, 3, struct.pack("<3H", 8, 8, 8)),
        (259, 3, struct.pack("<H", 1)), (262, 3, struct.pack("<H", 2)), (273, 16, struct.pack("<2Q", 16, 16 + 2304)),
        (274, 3, struct.pack("<H", 1)), (277, 3, struct.pack("<H", 3)), (278, 3, struct.pack("<H", 16)),
        (279, 16, struct.pack("<2Q", 2304, 2304)), (315, 2, b"Emil Larsen\0"), (700, 1, XMP),
        (34675, 7, srgb_profile()),
    ]  # fmt: skip
    sizes = {1: 1, 2: 1, 3: 2, 7: 1, 16: 8}
    at = 16 + len(pixels)
    behind, entries, tail = at + 8 + 20 * len(values) + 8, b"", b""
    for tag, kind, raw in values:
        inline = raw.ljust(8, b"\0") if len(raw) <= 8 else struct.pack("<Q", behind + len(tail))
        entries += struct.pack("<HHQ", tag, kind, len(raw) // sizes[kind]) + inline
        tail += b"" if len(raw) <= 8 else raw
    head = b"II+\0" + struct.pack("<HHQ", 8, 0, at)
    return head + pixels + struct.pack("<Q", len(values)) + entries + bytes(8) + tail


def _written(photo: Photo, format: str) -> bytes:
    stream = io.BytesIO()
    write_photo(stream, photo.pixels, like=photo, format=format, alpha=photo.alpha)
    return stream.getvalue()


def kinds() -> list[str]:
    """Return the kinds of files that this installation can make."""
    return [kind for kind in SUFFIXES if samples(kind)]


@cache
def samples(kind: str) -> tuple[bytes, ...]:
    """Return sound files of a kind, of several depths and codings; none where this installation makes none."""
    picture, clear = Image.fromarray(scene()), Image.fromarray(np.dstack([scene(), scene()[..., 0]]))
    blocks: dict[str, Any] = {"exif": b"Exif\0\0" + exif_block(), "xmp": XMP, "icc_profile": srgb_profile()}
    if kind == "JPEG":
        codings: tuple[dict[str, Any], ...] = ({"progressive": True}, {"restart_marker_rows": 1}, {"subsampling": 0})
        plain = [saved(picture, "JPEG", **coding) for coding in codings]
        return (jpeg(), *plain, saved(picture.convert("CMYK"), "JPEG"), jpeg(saved(picture.convert("L"), "JPEG")))
    if kind == "MPO":
        return (saved(picture, "MPO", save_all=True, append_images=[picture], exif=blocks["exif"]),)
    if kind == "PNG":
        text = (b"tEXt", b"Author\0Emil"), (b"zTXt", b"Comment\0\0" + zlib.compress(b"scanned" * 9))
        deep = png(scene(deep=True), 2, *text, (b"eXIf", exif_block()), (b"pHYs", struct.pack(">IIB", 1, 1, 1)))
        frames = saved(picture, "PNG", save_all=True, append_images=[picture.rotate(180)])
        whole = _written(read_photo(jpeg()), "PNG")
        return (whole, deep, saved(picture.quantize(16), "PNG"), saved(clear, "PNG"), frames)
    if kind == "TIFF":
        ways = ("raw", "tiff_lzw", "jpeg", "tiff_adobe_deflate", "packbits")
        pages = saved(picture, "TIFF", save_all=True, append_images=[picture.convert("L")])
        return (
            _written(read_photo(jpeg()), "TIFF"), _written(read_photo(png(scene(deep=True), 2)), "TIFF"), pages,
            *(saved(picture, "TIFF", compression=way) for way in ways), saved(picture.convert("1"), "TIFF"),
        )  # fmt: skip
    if kind == "BigTIFF":
        return (big_tiff(),)
    if kind == "WEBP":
        film = saved(picture, "WEBP", save_all=True, append_images=[picture.rotate(180)])
        return (saved(picture, "WEBP", **blocks), saved(clear, "WEBP", lossless=True), saved(picture, "WEBP"), film)
    if kind == "HEIC":
        return _heic(picture, blocks)
    if kind == "AVIF":
        return (saved(picture, "AVIF", **blocks), saved(clear, "AVIF")) if features.check("avif") else ()
    if kind == "GIF":
        pair = [Image.new("P", (48, 32), colour) for colour in (1, 2)]
        return (
            saved(picture.quantize(64), "GIF", comment=b"Anna"),
            saved(pair[0], "GIF", save_all=True, append_images=pair[1:]),
        )
    return (
        saved(picture, "BMP", dpi=(300, 300)), saved(picture.quantize(16), "BMP"), saved(picture.convert("1"), "BMP"),
    )  # fmt: skip


def _heic(picture: Image.Image, blocks: dict[str, Any]) -> tuple[bytes, ...]:
    if not FORMATS["HEIF"].writable:
        return ()
    try:
        import pillow_heif
    except ModuleNotFoundError:
        return ()
    stream = io.BytesIO()
    pillow_heif.from_pillow(picture).save(stream, **blocks)
    return stream.getvalue(), _written(read_photo(jpeg()), "HEIF")
