"""Files that ask for much more than they are: of time, of memory, of pixels; each is read in a process of its own.

What a file may cost is bounded by what it is: `bound` says how much memory, and half a minute is the most time.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from restorer.bench.survive import sandbox
from restorer.bench.survive.counting import Tally
from restorer.bench.survive.samples import exif_block, jpeg, png, samples, saved, scene
from restorer.bench.survive.sandbox import Died, Job, Marker
from restorer.errors import PhotoError
from restorer.photo import Note, jpeg_segments, png_chunks, read_photo, write_photo
from restorer.photo.color import srgb_profile
from restorer.photo.header import page_count, read_header

if TYPE_CHECKING:
    from restorer.bench.survive.campaign import Plan

MIB = 2**20
_WORKER = 6 * 2**30
_NOTE = Note("restorer", "0.1.0", "none", "5a" * 32, {"scale": 2.0})


def bound(size: int, pixels: int) -> float:
    """Return the MiB that reading a file may take: 256, 32 bytes for each byte of it, 16 for each pixel it claims."""
    return 256 + (32 * size + 16 * pixels) / MIB


# ------------------------------------------------------------------------------------------------- pictures' sizes


def zeros_png(width: int, height: int, bits: int = 8, colour: int = 0) -> bytes:
    """Return a PNG of zeros, whatever its size: a million times as large once it is unpacked."""
    channels = {0: 1, 2: 3, 4: 2, 6: 4}[colour]
    row = 1 + (width * channels * bits + 7) // 8
    packer = zlib.compressobj(9)
    piece, left, out = bytes(max(row, MIB)), row * height, []
    while left > 0:
        out.append(packer.compress(piece[:left]))
        left -= len(piece)
    packed = b"".join((*out, packer.flush()))
    head = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", packed), (b"IEND", b""))
    return png_chunks.PNG_SIGNATURE + b"".join(png_chunks.png_chunk(*chunk) for chunk in chunks)


def claims(data: bytes, width: int, height: int) -> bytes:
    """Return a JPEG, or a PNG, of which the header claims another size."""
    changed = bytearray(data)
    if data.startswith(b"\x89PNG"):
        struct.pack_into(">II", changed, 16, width, height)
        struct.pack_into(">I", changed, 29, zlib.crc32(changed[12:29]))
        return bytes(changed)
    for marker, start, _ in jpeg_segments.jpeg_segments(data):
        if marker in (0xC0, 0xC2):
            struct.pack_into(">HH", changed, start + 1, height, width)
    return bytes(changed)


def many_scans(count: int, side: int) -> bytes:
    """Return a progressive JPEG in which one short scan is repeated, each over the whole picture."""
    data = bytearray(saved(Image.fromarray(scene(16, 16)), "JPEG", progressive=True))
    scans = [at for at in range(len(data) - 1) if data[at] == 0xFF and data[at + 1] == 0xDA]
    last = bytes(data[scans[-1] : -2])
    whole = claims(bytes(data[:-2]) + last * count + b"\xff\xd9", side, side)
    return whole


def jpeg_of_restarts(count: int) -> bytes:
    """Return a JPEG whose coded data are restart markers."""
    data = saved(Image.fromarray(scene()), "JPEG", restart_marker_rows=1)
    return data[:-2] + b"\xff\xd0" * count + b"\xff\xd9"


# --------------------------------------------------------------------------------------------------- TIFF and EXIF


def tiff(entries: list[tuple[int, int, int, bytes]], body: bytes = b"", following: int = 0) -> bytes:
    """Return a TIFF: a body behind the header, then a directory of (tag, kind, count, four bytes of its value)."""
    at = 8 + len(body)
    table = b"".join(
        struct.pack("<HHI", tag, kind, count) + value.ljust(4, b"\0") for tag, kind, count, value in entries
    )
    return (
        b"II*\0" + struct.pack("<I", at) + body + struct.pack("<H", len(entries)) + table + struct.pack("<I", following)
    )


def tiff_of_pages(count: int, share: int) -> bytes:
    """Return a TIFF with a chain of directories, each of which has a tag whose value is most of the file."""
    size = 8 + count * 30
    whole = [b"II*\0" + struct.pack("<I", 8)]
    for number in range(count):
        following = 8 + (number + 1) * 30 if number + 1 < count else 0
        entries = struct.pack("<HHIHHHI", 2, 256, 3, 1, 1, 0, 0)[:14] + struct.pack("<HHII", 700, 7, size * share, 0)
        whole.append(entries + struct.pack("<I", following))
    data = b"".join(whole)
    return data + bytes(size * share - len(data)) if size * share > len(data) else data


def tiff_of_one_strip_many_times(strips: int) -> bytes:
    """Return a TIFF all of whose strips are the same bytes, which unpack to 64 MiB."""
    packed = zlib.compress(bytes(64 * MIB), 9)
    offsets = struct.pack("<I", 8) * strips
    counts = struct.pack("<I", len(packed)) * strips
    body = packed + offsets + counts
    at = 8 + len(packed)
    entries = [
        (256, 3, 1, struct.pack("<H", 8)), (257, 4, 1, struct.pack("<I", strips)), (258, 3, 1, struct.pack("<H", 8)),
        (259, 3, 1, struct.pack("<H", 8)), (262, 3, 1, struct.pack("<H", 1)), (273, 4, strips, struct.pack("<I", at)),
        (277, 3, 1, struct.pack("<H", 1)), (278, 4, 1, struct.pack("<I", 1)),
        (279, 4, strips, struct.pack("<I", at + 4 * strips)),
    ]  # fmt: skip
    return tiff(entries, body)


def tall_cut_tiff(width: int, height: int, there: int) -> bytes:
    """Return a cut TIFF of zeros that claims far more rows than it has."""
    packed = zlib.compress(bytes(width * there), 9)
    strips = -(-height // there)
    offsets = struct.pack("<I", 8) + struct.pack("<I", 2**31) * (strips - 1)
    counts = struct.pack("<I", len(packed)) * strips
    at = 8 + len(packed)
    entries = [
        (256, 4, 1, struct.pack("<I", width)), (257, 4, 1, struct.pack("<I", height)),
        (258, 3, 1, struct.pack("<H", 8)), (259, 3, 1, struct.pack("<H", 8)), (262, 3, 1, struct.pack("<H", 1)),
        (273, 4, strips, struct.pack("<I", at)), (277, 3, 1, struct.pack("<H", 1)),
        (278, 4, 1, struct.pack("<I", there)), (279, 4, strips, struct.pack("<I", at + 4 * strips)),
    ]  # fmt: skip
    return tiff(entries, packed + offsets + counts)


def exif_of_tags(count: int) -> bytes:
    """Return EXIF with so many tags."""
    entries = b"".join(struct.pack("<HHII", 50000 + number % 9000, 3, 1, number) for number in range(count))
    return b"II*\0\x08\0\0\0" + struct.pack("<H", count & 0xFFFF) + entries + bytes(4)


def exif_with_spread_thumbnail(strips: int) -> bytes:
    """Return EXIF whose thumbnail claims to lie in very many pieces, beside directories of very many tags."""
    tags = 4000
    first = struct.pack("<H", tags) + b"".join(struct.pack("<HHII", 41000 + i, 3, 1, 0) for i in range(tags))
    second_at = 8 + len(first) + 4
    lists_at = second_at + 2 + 24 + 4
    second = struct.pack("<HHHIIHHII", 2, 273, 4, strips, lists_at, 279, 4, strips, lists_at + 4 * strips)
    lists = struct.pack("<I", second_at) * strips + struct.pack("<I", 1) * strips
    return b"II*\0\x08\0\0\0" + first + struct.pack("<I", second_at) + second + bytes(4) + lists


# ------------------------------------------------------------------------------------------------------ other blocks


def png_with(*chunks: tuple[bytes, bytes]) -> bytes:
    """Return a small PNG with chunks of one's own."""
    return png_chunks.join_png(saved(Image.fromarray(scene()), "PNG"), chunks)


def xmp_of_properties(count: int, *, attributes: bool = False) -> bytes:
    """Return XMP with so many properties."""
    head = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    if attributes:
        own = b" ".join(b'd:a%d="1"' % number for number in range(count))
        inside = b'<rdf:Description rdf:about="" xmlns:d="urn:d" ' + own + b"/>"
    else:
        own = b"".join(b"<d:a%d>%s</d:a%d>" % (number, b"x" * 40, number) for number in range(count))
        inside = b'<rdf:Description rdf:about="" xmlns:d="urn:d">' + own + b"</rdf:Description>"
    return head + inside + b"</rdf:RDF></x:xmpmeta>"


def box(name: bytes, payload: bytes) -> bytes:
    """Return a box of the ISO base media file format."""
    return struct.pack(">I", 8 + len(payload)) + name + payload


def with_boxes(kind: str, extra: bytes) -> bytes:
    """Return a HEIC or AVIF with more boxes behind its own; nothing where none can be made here."""
    found = samples(kind)
    return found[0] + extra if found else b""


def items_without_size(items: int) -> bytes:
    """Return a table of items' places in which each has 65,535 pieces that take no bytes."""
    entry = struct.pack(">HHH", 1, 0, 65535)
    table = bytes(4) + bytes((0, 0)) + struct.pack(">H", items) + entry * items
    return box(b"meta", bytes(4) + box(b"iloc", table))


def many_owners(tables: int, size: int) -> bytes:
    """Return tables of properties that each claim to go on to the end of the file."""
    own = box(b"ipma", bytes(4) + struct.pack(">I", 65535)) * tables
    return box(b"meta", bytes(4) + box(b"iprp", own + box(b"free", bytes(size))))


def huge_profile() -> bytes:
    """Return an ICC profile that claims to be 4 GB."""
    profile = bytearray(srgb_profile())
    struct.pack_into(">I", profile, 0, 0xFFFFFFFF)
    return bytes(profile)


def files() -> dict[str, Callable[[], bytes]]:
    """Return what makes each file."""
    small = saved(Image.fromarray(scene()), "JPEG")
    spaces = b"Raw profile type xmp\0\nx 9 " + b" " * 400_000 + b"!"
    return {
        "PNG of zeros, 60,000 x 60,000": lambda: zeros_png(60_000, 60_000, 1),
        "PNG of zeros, 10,000 x 10,000": lambda: zeros_png(10_000, 10_000, 8, 2),
        "PNG of zeros, 6,000 x 6,000, 16-bit RGBA": lambda: zeros_png(6_000, 6_000, 16, 6),
        "PNG of zeros, cut": lambda: zeros_png(10_000, 10_000, 8, 0)[:-40],
        "PNG that claims 0 x 0": lambda: claims(saved(Image.fromarray(scene()), "PNG"), 0, 0),
        "PNG that claims 2,147,483,647 px a side": lambda: claims(samples("PNG")[2], 2**31 - 1, 2**31 - 1),
        "PNG of 1 x 1": lambda: png(scene(1, 1), 2),
        "PNG of 1 x 5,000": lambda: png(scene(5000, 1), 2),
        "PNG of 5,000 x 1": lambda: png(scene(1, 5000), 2),
        "JPEG that claims 65,500 x 16,000": lambda: claims(small, 65_500, 16_000),
        "JPEG that claims 0 rows": lambda: claims(small, 48, 0),
        "JPEG of 3,000 scans over 4 megapixels": lambda: many_scans(3_000, 2_000),
        "JPEG of 20,000 scans over 100 megapixels": lambda: many_scans(20_000, 10_000),
        "JPEG of 4,000,000 restart markers": lambda: jpeg_of_restarts(4_000_000),
        "JPEG with 65,000 segments": lambda: small[:2] + b"\xff\xe5\0\6abcd" * 65_000 + small[2:],
        "JPEG with 1,000,000 fill bytes": lambda: small[:2] + b"\xff" * 1_000_000 + small[2:],
        "TIFF of 8,000 pages of 1 MB tags": lambda: tiff_of_pages(8_000, 4),
        "TIFF of 60,000 strips that are the same 64 MiB": lambda: tiff_of_one_strip_many_times(60_000),
        "TIFF cut to a twentieth of 4 gigapixels": lambda: tall_cut_tiff(20_000, 200_000, 10_100),
        "TIFF whose directory follows itself": lambda: tiff([(256, 3, 1, b"\1\0")], following=8),
        "EXIF of 10,000 tags in a PNG": lambda: png_with((b"eXIf", exif_of_tags(10_000))),
        "EXIF of 4,000 tags in a JPEG": lambda: jpeg_segments.join_jpeg(small, exif=exif_of_tags(4_000)),
        "EXIF behind 2,000,000 prefixes": lambda: png_with((b"eXIf", b"Exif\0\0" * 2_000_000 + exif_block())),
        "EXIF with a thumbnail in 400,000 pieces": lambda: png_with((b"eXIf", exif_with_spread_thumbnail(400_000))),
        "PNG with 2,000 texts that swell to 16 MiB": lambda: png_with(
            *[(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(2**24), 9))] * 2_000
        ),
        "PNG with 400 profiles that swell to 127 MiB": lambda: png_with(
            *[(b"iCCP", b"p\0\0" + zlib.compress(bytes(127 * MIB), 9))] * 400
        ),
        "PNG with a raw profile of spaces": lambda: png_with((b"tEXt", spaces)),
        "PNG with 500,000 chunks": lambda: png_with(*[(b"abCd", b"")] * 500_000),
        "ICC that claims 4 GB": lambda: jpeg_segments.join_jpeg(small, icc_profile=huge_profile()),
        "XMP of 150,000 attributes": lambda: png_with((b"iTXt", _text(xmp_of_properties(150_000, attributes=True)))),
        "XMP of 90,000 properties": lambda: png_with((b"iTXt", _text(xmp_of_properties(90_000)))),
        "WebP with 64 MiB of zeros behind it": lambda: _grown(samples("WEBP")[0], bytes(64 * MIB)),
        "GIF of 20,000 frames": lambda: samples("GIF")[0][:-1] + _frame() * 20_000 + b";",
        "HEIC with 2,000,000 boxes": lambda: with_boxes("HEIC", box(b"abcd", b"") * 2_000_000),
        "AVIF with 2,000,000 boxes": lambda: with_boxes("AVIF", box(b"abcd", b"") * 2_000_000),
        "HEIC with items of 65,535 pieces": lambda: with_boxes("HEIC", items_without_size(60_000)),
        "AVIF with items of 65,535 pieces": lambda: with_boxes("AVIF", items_without_size(60_000)),
        "HEIC with 60,000 tables of owners": lambda: with_boxes("HEIC", many_owners(60_000, 400_000)),
        "AVIF with 60,000 tables of owners": lambda: with_boxes("AVIF", many_owners(60_000, 400_000)),
        "JPEG inside its own EXIF, comment and profile": lambda: jpeg_segments.join_jpeg(
            jpeg(), exif=exif_block()[:-40] + jpeg()[:40_000], comments=[jpeg()[:60_000]], icc_profile=jpeg()
        ),
    }  # fmt: skip


def _text(content: bytes) -> bytes:
    return b"XML:com.adobe.xmp\0\0\0\0\0" + content


def _frame() -> bytes:
    data = saved(Image.new("P", (2, 2)), "GIF")
    return data[data.index(b",") : -1]


def _grown(data: bytes, rest: bytes) -> bytes:
    """Return a RIFF file with more behind it, which its header counts too."""
    return data[:4] + struct.pack("<I", len(data) - 8 + len(rest)) + data[8:] + rest


# ----------------------------------------------------------------------------------------------------------- trying


def read_and_write(file: Path, size: int) -> str:
    """Do with a file what a run does, but for restoring it; return how it went.

    Args:
        file: the photo.
        size: of the file.

    Raises:
        Exception: what no file may raise.
    """
    read_header(file)
    page_count(file)
    try:
        photo = read_photo(file)
    except PhotoError as error:
        if not error.message or not error.remedy:
            raise AssertionError(f"an error without words or remedy: {error!r}") from error
        return "refused"
    if photo.size[0] * photo.size[1] <= 4_000_000:
        write_photo(io.BytesIO(), photo.pixels, like=photo, format="JPEG", alpha=photo.alpha, note=_NOTE)
    return "read with a warning" if photo.warnings else "read"


def attempt(plan: Plan) -> Tally:
    """Read every file, each in a process of its own."""
    made, tally = files(), Tally("bombs")
    names = list(made)

    def one(job: Job, marker: Marker) -> Any:
        (file := plan.folder / "bomb").write_bytes(data := made[job.kind]())
        if not data:
            return ("not made here", 0.0, 0.0, len(data), 0)
        size = read_header(file).size or (0, 0)
        peak = sandbox.Peak()
        marker.begin(job.first)
        outcome = read_and_write(file, len(data))
        taken = marker.spent
        marker.pause()
        return (outcome, taken, peak.grown(), len(data), size[0] * size[1])

    for name, (_, answer) in _alone(names, one):
        if isinstance(answer, Died):
            tally.lose("bomb", name, answer.words)
            continue
        outcome, seconds, mib, size, pixels = answer
        if mib > bound(size, min(pixels, 2**30)):
            tally.lose("bomb", name, f"{mib:,.0f} MiB for {size:,} bytes and {pixels:,} pixels")
        else:
            tally.add("bomb", outcome, name, seconds, mib)
    return tally


def _alone(names: list[str], one: sandbox.Try) -> Iterator[tuple[str, tuple[Job, Any]]]:
    for number, name in enumerate(names):
        for answer in sandbox.run([Job(name, 0, number, number + 1)], one, memory=_WORKER):
            yield name, answer
