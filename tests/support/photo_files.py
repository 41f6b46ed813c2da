"""Picture files for the tests of reading and writing, made on the spot; some as `restorer.bench survive` makes them."""

from __future__ import annotations

import io
import struct
from dataclasses import fields
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms

from restorer.bench.survive.samples import IPTC, saved, scene
from restorer.photo import Note, Photo, WriteOptions, ifd, jpeg_segments, photoshop, read_photo, write_photo
from restorer.photo.color import srgb_profile

Array = npt.NDArray[Any]

NOTE = Note("restorer", "0.1.0", "gfpgan-1.4", "5a" * 32, {"scale": 2.0, "seed": None, "model": "gfpgan-1.4"})

XMP = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="uuid:1"'
    ' xmlns:tiff="http://ns.adobe.com/tiff/1.0/" xmlns:exif="http://ns.adobe.com/exif/1.0/"'
    ' xmlns:dc="http://purl.org/dc/elements/1.1/" tiff:Orientation="1" exif:PixelXDimension="48"'
    ' dc:source="line one&#10;line two"><tiff:ImageLength>32</tiff:ImageLength>'
    '<dc:title><rdf:Alt><rdf:li xml:lang="x-default">Grandmother &amp; Emil, 1931</rdf:li></rdf:Alt></dc:title>'
    '</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
).encode()


def three(grey: Array) -> Array:
    """Return (h, w) as three equal channels."""
    return np.dstack([grey] * 3)


def ramp_alpha(height: int = 32, width: int = 48, *, deep: bool = False) -> Array:
    """Return an alpha channel (h, w) from transparent to opaque."""
    top = 65535 if deep else 255
    row = np.rint(np.linspace(0, top, width)).astype(np.uint16 if deep else np.uint8)
    return np.repeat(row[None], height, axis=0)


def written(photo: Photo, format: str, **options: Any) -> tuple[bytes, list[str]]:
    """Return what `write_photo` makes of a photo's own pixels, and its warnings."""
    stream = io.BytesIO()
    options.setdefault("alpha", photo.alpha)
    how = WriteOptions(**{each.name: options.pop(each.name) for each in fields(WriteOptions) if each.name in options})
    warnings = write_photo(stream, photo.pixels, like=photo, format=format, how=how, **options)
    return stream.getvalue(), warnings


def again(photo: Photo, format: str, **options: Any) -> Photo:
    """Write a photo's own pixels and read them again."""
    return read_photo(written(photo, format, **options)[0])


def tiff16(array: Array, **tags: int) -> bytes:
    """Return a 16-bit TIFF as OpenCV writes it: (h, w), (h, w, 3) RGB or (h, w, 4) RGBA."""
    if array.ndim == 3:
        array = cv2.cvtColor(array, cv2.COLOR_RGBA2BGRA if array.shape[2] == 4 else cv2.COLOR_RGB2BGR)
    encoded, content = cv2.imencode(".tiff", array)
    assert encoded
    return bytes(content)


def exif_block(orientation: int | None = None, *, order: ifd.Order = "<", thumbnail: bool = False) -> bytes:
    """Return an EXIF block with artist, camera, position, maker note and dimensions, as a camera writes it."""
    tree: ifd.Tree = {
        271: ifd.Value(2, b"Leica\0"),
        315: ifd.Value(2, b"Emil Larsen\0"),
        282: ifd.rational(300, 1),
        283: ifd.rational(300, 1),
        296: ifd.shorts(2),
        ifd.EXIF: {
            36867: ifd.Value(2, b"1931:05:01 12:00:00\0"),
            37500: ifd.Value(7, b"MAKER\0\1\2" * 8),
            40962: ifd.shorts(48),
            40963: ifd.longs(32),
        },
        ifd.GPS: {1: ifd.Value(2, b"N\0"), 2: ifd.Value(5, struct.pack("<6I", 59, 1, 54, 1, 30, 1))},
    }
    if orientation is not None:
        tree[274] = ifd.shorts(orientation)
    block = ifd.pack_tree(tree)
    if order == ">":
        block = _in_big_endian(tree)
    return _with_thumbnail(block, order) if thumbnail else block


def _in_big_endian(tree: ifd.Tree) -> bytes:
    empty = b"MM\0*" + struct.pack(">I", 8) + struct.pack(">HI", 0, 0)
    return ifd.append_directory(empty, ifd.read_directory(empty, 8, ">"), tree)


def _with_thumbnail(block: bytes, order: ifd.Order) -> bytes:
    """Append a second directory and a JPEG thumbnail, as cameras have it."""
    thumbnail = saved(Image.new("RGB", (16, 12), "red"), "JPEG")
    first = ifd.read_directory(block, ifd.header(block)[2], order)
    position = len(block) + len(block) % 2
    behind = position + 2 + 2 * 12 + 4
    entries = struct.pack(f"{order}HHIIHHII", 513, 4, 1, behind, 514, 4, 1, len(thumbnail))
    second = struct.pack(f"{order}H", 2) + entries + bytes(4)
    data = bytearray(block.ljust(position, b"\0") + second + thumbnail)
    data[first.next_position : first.next_position + 4] = struct.pack(f"{order}I", position)
    return bytes(data)


def grey_profile() -> bytes:
    """Return an ICC profile for grey with a gamma of 1.8, laid out by hand (ICC.1 section 8.3.4)."""
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, int(1.8 * 256)) + bytes(2)
    white = b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061)
    text = b"desc" + bytes(4) + struct.pack(">I", 5) + b"Grey\0" + bytes(78)
    text += bytes(-len(text) % 4)
    blocks = ((b"desc", text), (b"wtpt", white), (b"kTRC", curve))
    offset, table, body = 128 + 4 + 12 * len(blocks), struct.pack(">I", len(blocks)), b""
    for name, block in blocks:
        table += name + struct.pack(">II", offset + len(body), len(block))
        body += block
    header = bytearray(srgb_profile()[:128])
    header[0:4] = struct.pack(">I", offset + len(body))
    header[8:12] = b"\2\x40\0\0"
    header[12:24] = b"mntrGRAYXYZ "
    return bytes(header) + table + body


def cmyk_profile() -> bytes:
    """Return an ICC profile for CMYK that maps every ink to a colour far from the plain formula's.

    A device link is no use here, so it is an output profile with one small table from CMYK to Lab.
    """
    corners = []
    for c in (0, 1):
        for m in (0, 1):
            for y in (0, 1):
                for k in (0, 1):
                    light = 100 * (1 - 0.3 * c - 0.25 * m - 0.05 * y) * (1 - 0.8 * k)
                    corners.append((light, 60 * (m - c) * (1 - k), 60 * (y - c) * (1 - k)))
    table = b"".join(
        struct.pack(">3H", int(L / 100 * 65280), int((a + 128) * 256), int((b + 128) * 256)) for L, a, b in corners
    )
    identity = struct.pack(">2H", 0, 65535)
    matrix = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    lut = b"mft2" + bytes(4) + bytes((4, 3, 2, 0)) + matrix + struct.pack(">2H", 2, 2)
    lut += identity * 4 + table + identity * 3
    lut += bytes(-len(lut) % 4)
    white = b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061)
    text = b"desc" + bytes(4) + struct.pack(">I", 5) + b"Inks\0" + bytes(78)
    text += bytes(-len(text) % 4)
    blocks = ((b"desc", text), (b"wtpt", white), (b"A2B0", lut), (b"A2B1", lut))
    offset, directory, body = 128 + 4 + 12 * len(blocks), struct.pack(">I", len(blocks)), b""
    for name, block in blocks:
        directory += name + struct.pack(">II", offset + len(body), len(block))
        body += block
    header = bytearray(srgb_profile()[:128])
    header[0:4] = struct.pack(">I", offset + len(body))
    header[8:12] = b"\2\x40\0\0"
    header[12:24] = b"prtrCMYKLab "
    data = bytes(header) + directory + body
    ImageCms.getOpenProfile(io.BytesIO(data))  # a profile that the library does not take would test nothing
    return data


def jpeg(
    *,
    block: bytes | None = None,
    packet: bytes | None = None,
    profile: bytes | None = None,
    resources: bytes | None = None,
    comment: bytes | None = None,
    dpi: tuple[float, float] = (300, 300),
) -> bytes:
    """Return a JPEG with this metadata."""
    picture = saved(Image.fromarray(scene()), "JPEG", quality=95, dpi=dpi)
    comments = [comment] if comment else []
    return jpeg_segments.join_jpeg(
        picture, exif=block, xmp=packet, icc_profile=profile, photoshop=resources, comments=comments
    )


def full(orientation: int | None = None) -> Photo:
    """Return a JPEG photo that carries all there is."""
    resources = b"8BIM\x04\x0c\0\0" + struct.pack(">I", 6) + b"thumb." + photoshop.iptc_resource(IPTC)
    return read_photo(
        jpeg(
            block=exif_block(orientation, thumbnail=True),
            packet=XMP,
            profile=srgb_profile(),
            resources=resources,
            comment=b"scanned by Emil",
        )
    )


def tags(block: bytes | None) -> ifd.Tree:
    """Return the tags of an EXIF block."""
    assert block is not None
    order, _, position = ifd.header(block)
    reading = ifd.read_tree(block, ifd.read_directory(block, position, order))
    assert reading.problems == []
    return reading.tree
