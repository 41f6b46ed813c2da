"""Camera raw files, which are read where rawpy is installed: developed plainly, at 16 bits, in ProPhoto RGB."""

from __future__ import annotations

import io
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from restorer.errors import MissingSupportError
from restorer.formatting import install_line
from restorer.imaging.libraries import np
from restorer.photo import color
from restorer.photo.base import Format
from restorer.photo.builder import PhotoBuilder
from restorer.photo.decoding import Decoded, UndecodableError, check_size
from restorer.photo.model import Photo

# Those that do not begin like a TIFF; the others the TIFF's reader sends here.
_MARKS = (b"FUJIFILMCCD-RAW", b"IIRO", b"IIRS", b"MMOR", b"IIU\x00", b"FOVb")
_SUFFIXES = (
    *(".dng", ".nef", ".nrw", ".cr2", ".cr3", ".arw", ".sr2", ".srf", ".raf", ".orf", ".rw2", ".rwl", ".pef", ".srw"),
    *(".3fr", ".fff", ".iiq", ".mos", ".mef", ".mrw", ".erf", ".kdc", ".dcr", ".x3f", ".crw", ".gpr"),
)
DEVELOPED = (
    "The camera's raw file was developed plainly (its own white balance, no brightening, no sharpening) into "
    "ProPhoto RGB of 16 bits; its metadata was not taken along."
)


def is_there() -> bool:
    """Whether rawpy is installed."""
    return find_spec("rawpy") is not None


def remedy() -> str:
    """Return what to type where it is not."""
    return f"Type: {install_line('rawpy')}"


def _check(path: Path | str | None) -> None:
    if not is_there():
        named = path if path is not None else "This picture"
        raise MissingSupportError(path, f"{named} is a camera raw file, and rawpy is not installed.", remedy())


def _is_raw(head: bytes) -> bool:
    return head.startswith(_MARKS) or (head[:4] == b"II*\0" and head[8:10] == b"CR") or head[4:12] == b"ftypcrx "


def _size(path: Path) -> tuple[int, int] | None:
    if not is_there():
        return None
    import rawpy

    try:
        with rawpy.imread(str(path)) as raw:
            return int(raw.sizes.width), int(raw.sizes.height)
    except rawpy.LibRawError:
        return None  # the header is damaged; reading the photo says how


def read_raw(data: bytes) -> Photo:
    """Return a photo of a raw file's bytes.

    Raises:
        UndecodableError: rawpy is not installed, or does not know the camera.
    """
    if not is_there():
        raise UndecodableError("it is a camera raw file, and rawpy is not installed", remedy())
    import rawpy

    how: dict[str, Any] = {"use_camera_wb": True, "no_auto_bright": True, "output_bps": 16, "gamma": (1, 1)}
    try:
        with rawpy.imread(io.BytesIO(data)) as raw:
            check_size(int(raw.sizes.width), int(raw.sizes.height))
            light = raw.postprocess(output_color=rawpy.ColorSpace.ProPhoto, **how)
    except rawpy.LibRawError as error:
        reason = error.args[0].decode("utf-8", "replace") if error.args and isinstance(error.args[0], bytes) else error
        raise UndecodableError(
            f"it is a camera raw file that LibRaw cannot develop ({reason})",
            "Develop it with the camera maker's program, and give the 16-bit TIFF.",
        ) from error
    curve = np.rint((np.arange(65536) / 65535) ** (1 / color.PROPHOTO_GAMMA) * 65535).astype(np.uint16)
    builder = PhotoBuilder("RAW")
    builder.icc_profile = color.prophoto_profile()
    builder.warnings.append(DEVELOPED)
    return builder.photo(Decoded(curve[light]), oriented=False)  # LibRaw has turned the picture


FORMAT = Format(
    "RAW",
    "camera raw",
    _SUFFIXES if is_there() else (),  # without the library they are passed over in folders
    recognise=_is_raw,
    read=read_raw,
    size=_size,
    check=_check,
)
