"""Which picture formats there are, what each can hold, and how a file tells which one it is."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Literal

from restorer.errors import MissingSupportError, PhotoTooLargeError, UsageError

if TYPE_CHECKING:
    from restorer.photo.model import Photo

Metadata = Literal["icc", "exif", "xmp", "iptc", "dpi"]

HEIF_REMEDY = 'Install it with: pip install "restorer[heif]"'


@dataclass(frozen=True)
class Format:
    """A format that is read, and for most also written.

    Attributes:
        name: as in `Photo.format`.
        suffixes: the first is the one that new files get.
        max_side: pixels a side that the format, as the library writes it, can hold; 0 for a format that is only read.
        max_bytes: bytes of uncompressed pixels, None where there is no limit below the side's.
        bits: most bits a channel that a written file keeps.
        alpha: whether a written file keeps transparency.
        holds: the metadata that a written file keeps.
    """

    name: str
    suffixes: tuple[str, ...]
    max_side: int = 0
    max_bytes: int | None = None
    bits: int = 8
    alpha: bool = False
    holds: frozenset[Metadata] = frozenset()

    @property
    def writable(self) -> bool:
        """Whether files of this format are written."""
        return self.max_side > 0


_FOUR_GIB = 2**32 - 2**20  # a margin of 1 MiB is left for headers and metadata

FORMATS: dict[str, Format] = {
    entry.name: entry
    for entry in (
        # The JPEG standard ends at 65,535; libjpeg, which Pillow and OpenCV write with, at 65,500.
        Format(
            "JPEG", (".jpg", ".jpeg", ".jpe", ".jfif"), 65_500, holds=frozenset({"icc", "exif", "xmp", "iptc", "dpi"})
        ),
        Format("PNG", (".png", ".apng"), 2**31 - 1, None, 16, True, frozenset({"icc", "exif", "xmp", "dpi"})),
        Format("WEBP", (".webp",), 16_383, None, 8, True, frozenset({"icc", "exif", "xmp", "dpi"})),
        Format(
            "TIFF", (".tif", ".tiff"), 2**31 - 1, _FOUR_GIB, 16, True, frozenset({"icc", "exif", "xmp", "iptc", "dpi"})
        ),
        Format("BMP", (".bmp", ".dib"), 2**31 - 1, _FOUR_GIB, 8, False, frozenset({"dpi"})),
        # Coded in whole blocks of 8 below 65,536. (Strips of 16 pixels and less end at 4,216; those fail on writing.)
        Format("HEIF", (".heic", ".heif", ".hif"), 65_528, None, 10, True, frozenset({"icc", "exif", "xmp", "dpi"})),
        Format("AVIF", (".avif",)),
        Format("GIF", (".gif",)),
    )
}

PICTURE_SUFFIXES: frozenset[str] = frozenset(suffix for entry in FORMATS.values() for suffix in entry.suffixes)
"""Suffixes, lower case and with their dot, of the files that folder walking takes for photos."""

UNSUPPORTED_SUFFIXES: frozenset[str] = frozenset(
    {".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dng", ".erf", ".exr", ".iiq", ".jp2", ".j2k", ".jpf", ".jxl", ".mrw"}
    | {".nef", ".nrw", ".orf", ".pef", ".psb", ".psd", ".raf", ".rw2", ".srw", ".xcf"}
)
"""Suffixes of pictures that this tool cannot read (camera raw, layered, rarer kinds), so that a walk can name them."""

_REQUESTS = {"png": "PNG", "jpg": "JPEG", "jpeg": "JPEG", "webp": "WEBP", "tiff": "TIFF", "tif": "TIFF"}
_REQUESTS |= {"bmp": "BMP", "heic": "HEIF", "heif": "HEIF"}

_HEIF_BRANDS = frozenset({b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"hevm", b"hevs", b"mif1", b"msf1"})
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_BMP_HEADER_SIZES = frozenset({12, 16, 40, 52, 56, 64, 108, 124})

_STRANGERS = (
    (b"8BPS", "a Photoshop document"),
    (b"%PDF", "a PDF"),
    (b"\xff\x0a", "a JPEG XL picture"),
    (b"\x00\x00\x00\x0cJXL ", "a JPEG XL picture"),
    (b"\x00\x00\x00\x0cjP  ", "a JPEG 2000 picture"),
    (b"\xff\x4f\xff\x51", "a JPEG 2000 picture"),
    (b"FUJIFILMCCD-RAW", "a camera raw file"),
    (b"IIRO", "a camera raw file"),
    (b"IIRS", "a camera raw file"),
    (b"IIU\x00", "a camera raw file"),
    (b"\x76\x2f\x31\x01", "an OpenEXR picture"),
    (b"gimp xcf", "a GIMP document"),
    (b"PK\x03\x04", "a ZIP archive"),
)


def sniff(head: bytes) -> str | None:
    """Return the format that a file's first bytes (64 are enough) show, or None; its name plays no part."""
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+") and head[8:10] != b"CR":
        return "TIFF"
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _BMP_HEADER_SIZES:
        return "BMP"
    if head[:6] in (b"GIF87a", b"GIF89a"):
        return "GIF"
    if head[4:8] == b"ftyp":
        brands = [
            head[8:12],
            *(head[at : at + 4] for at in range(16, min(len(head), int.from_bytes(head[:4], "big")), 4)),
        ]
        if _AVIF_BRANDS.intersection(brands):
            return "AVIF"
        if _HEIF_BRANDS.intersection(brands):
            return "HEIF"
    return None


def describe_stranger(head: bytes) -> str:
    """Say in words what a file that is no readable picture looks like."""
    for signature, words in _STRANGERS:
        if head.startswith(signature):
            return f"it is {words}, which this tool does not read"
    if (head[:4] == b"II*\0" and head[8:10] == b"CR") or head[4:12] == b"ftypcrx ":
        return "it is a camera raw file, which this tool does not read"
    if not head.strip(b"\0"):
        return "it holds nothing but zeros"
    if all(byte >= 32 or byte in b"\t\r\n\f" for byte in head) and sum(byte < 128 for byte in head) * 2 > len(head):
        return f"it holds text ({head[:24].decode('utf-8', 'replace').split(chr(10))[0].strip()!r}...)"
    return "its content is that of no picture format this tool knows"


def has_heif() -> bool:
    """Whether pillow-heif is installed."""
    return find_spec("pillow_heif") is not None


def check_heif(path: Path | str | None) -> None:
    """Raise `MissingSupportError` when HEIC files cannot be read and written here."""
    if not has_heif():
        named = path if path is not None else "This picture"
        raise MissingSupportError(path, f"{named} is a HEIC picture, and pillow-heif is not installed.", HEIF_REMEDY)


def output_format(photo_or_format: Photo | str, requested: str, suffix_of_target: str | None = None) -> str:
    """Return the name of the format that a result is written in.

    Args:
        photo_or_format: the `Photo`, or the name of its format ("JPEG", "MPO", ...).
        requested: "keep", "png", "jpg", "webp" or "tiff", as `--format` has it; "bmp" and "heic" too.
        suffix_of_target: the suffix (or name) of the file that the user named, None when he named none.

    Returns:
        A key of `FORMATS`. "keep" follows the target's suffix where there is one, else the input's format; a format
        that is read but not written (GIF, AVIF) becomes PNG, which loses nothing.

    Raises:
        UsageError: the request is unknown, the suffix is no picture's or that of a format that is not written, or both
            contradict each other.
        MissingSupportError: the result is to be HEIC, and pillow-heif is not installed.
    """
    given = photo_or_format if isinstance(photo_or_format, str) else photo_or_format.format
    given = given.upper()
    wanted = requested.lower().lstrip(".")
    if wanted != "keep" and wanted not in _REQUESTS:
        raise UsageError(f"There is no output format {requested!r}.", "Use --format keep, png, jpg, webp or tiff.")
    named: str | None = None
    if suffix_of_target:
        suffix = (PurePath(suffix_of_target).suffix or suffix_of_target).lower()
        named = next((entry.name for entry in FORMATS.values() if suffix in entry.suffixes), None)
        if named is None or not FORMATS[named].writable:
            raise UsageError(
                f"Files that end in {suffix!r} cannot be written.", "Let the output end in .png, .jpg, .webp or .tif."
            )
    if wanted == "keep":
        kept = "JPEG" if given == "MPO" else given
        result = named or (kept if kept in FORMATS and FORMATS[kept].writable else "PNG")
    else:
        result = _REQUESTS[wanted]
        if named is not None and named != result:
            raise UsageError(
                f"The output's name asks for {named}, and --format for {result}.",
                "Leave one of them out, or let them agree.",
            )
    if result == "HEIF":
        check_heif(suffix_of_target)
    return result


def suffix_for(format: str, input_suffix: str = "") -> str:
    """Return the suffix of a new file: the input's own spelling (".JPEG") where it fits the format, else the usual."""
    suffixes = FORMATS[format].suffixes
    return input_suffix if input_suffix.lower() in suffixes else suffixes[0]


def _fits(format: Format, width: int, height: int, channels: int, bits: int) -> bool:
    # Rows of a BMP are padded to four bytes; a channel holds 8 bits there whatever came in.
    sample = 2 if bits > 8 and format.bits > 8 else 1
    size = (width * channels * sample + 3) * height
    return max(width, height) <= format.max_side and (format.max_bytes is None or size <= format.max_bytes)


def check_output_size(
    format: str, width: int, height: int, path: Path | str | None, *, channels: int = 3, bits: int = 8
) -> None:
    """Raise `PhotoTooLargeError` when a format cannot hold a result; meant to be asked before the work.

    Args:
        format: a key of `FORMATS`.
        width: pixels of the result.
        height: pixels of the result.
        path: the photo that the error names.
        channels: 1, 3 or 4 (colour and alpha).
        bits: 8 or 16 a channel.
    """
    chosen = FORMATS[format]
    if _fits(chosen, width, height, channels, bits):
        return
    others = _holders((width, height, channels, bits), but=chosen)
    limit = (
        f"{chosen.max_side:,} px a side"
        if max(width, height) > chosen.max_side
        else f"{chosen.max_bytes or 0:,} bytes of pixels"
    )
    named = path if path is not None else "the photo"
    remedy = (
        f"Add --format {' or --format '.join(others)}, or use a smaller --scale."
        if others
        else "Use a smaller --scale."
    )
    raise PhotoTooLargeError(
        path,
        f"The result of {named} would be {width:,} x {height:,} px, and a {format} file holds at most {limit}.",
        remedy,
    )


def _holders(result: tuple[int, int, int, int], but: Format) -> Collection[str]:
    """Return the `--format` values whose files hold a result of (width, height, channels, bits)."""
    offered = {"tiff": FORMATS["TIFF"], "png": FORMATS["PNG"], "jpg": FORMATS["JPEG"]}
    return [name for name, entry in offered.items() if entry is not but and _fits(entry, *result)]
