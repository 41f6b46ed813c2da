"""HEIC and HEIF: read by pi-heif, which is always there, and written by pillow-heif, which brings an encoder (GPL)."""

from __future__ import annotations

import importlib
import io
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from restorer.errors import MissingSupportError
from restorer.formatting import install_line
from restorer.imaging.colour import Pixels, grey_to_rgb
from restorer.imaging.libraries import np
from restorer.photo import decoding, isobmff
from restorer.photo.base import EncodeChoices, EncodeInput, Format
from restorer.photo.builder import PhotoBuilder
from restorer.photo.channels import channels_of, exif_with_resolution, to_bits, with_rgb_for_alpha
from restorer.photo.decoding import Decoded
from restorer.photo.model import Photo

_COLOUR = "PNG cICP"
_BT601, _BT2020 = 6, 9  # of H.273
READERS = "pillow_heif", "pi_heif"  # the first is newer


def reader() -> str | None:
    """Return the module that reads HEIC; None where there is none."""
    return next((name for name in READERS if find_spec(name) is not None), None)


def has_writer() -> bool:
    """Whether pillow-heif is installed."""
    return find_spec("pillow_heif") is not None


def _library() -> Any:
    name = reader()
    assert name is not None  # `_check_reading` has seen to it
    return importlib.import_module(name)


def _opened(data: bytes, **choices: Any) -> Any:
    """Return an open HEIC.

    Raises:
        ValueError: it is damaged where pi-heif 1.4 would end the whole process: it makes texts of the items' kinds
            and does not look whether it could.
    """
    if reader() == "pi_heif" and isobmff.has_unreadable_kinds(data):
        raise ValueError("the kind of an item in it is no text")
    return _library().open_heif(io.BytesIO(data), **choices)


def _check_reading(path: Path | str | None) -> None:
    if reader() is None:
        named = path if path is not None else "This picture"
        remedy = f"Type: {install_line('pi-heif')}"
        raise MissingSupportError(path, f"{named} is a HEIC picture, and pi-heif is not installed.", remedy)


def _check_writing(path: Path | str | None) -> None:
    if not has_writer():
        remedy = f"To have HEIC, type: {install_line('pillow-heif')}"
        raise MissingSupportError(path, "HEIC is written by pillow-heif, and that is not installed.", remedy)


def _size(path: Path) -> tuple[int, int] | None:
    if reader() is None:
        return None
    width, height = _opened(path.read_bytes()).size
    return int(width), int(height)


def _read_heif(data: bytes) -> Photo:
    heif = _opened(data, convert_hdr_to_8bit=False)
    decoding.check_size(*heif.size)
    pixels: Pixels = np.array(heif)
    info: dict[str, Any] = heif.info
    bits = int(info.get("bit_depth") or 8)
    builder = PhotoBuilder("HEIF")
    builder.icc_profile = info.get("icc_profile")
    builder.take_exif(info.get("exif"))
    builder.take_xmp(info.get("xmp"))
    builder.take_boxes(isobmff.contents(data))
    if len(heif) > 1:
        builder.warnings.append(f"The file holds {len(heif)} pictures; only the main one was taken.")
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
    photo = builder.photo(decoded, oriented=False)
    photo.bits = bits
    return photo


def _find_xmp(data: Any) -> bytes | None:
    if reader() is None:
        return None
    packet: bytes | None = _opened(bytes(data[:])).info.get("xmp")
    return packet


def _encode_heif(given: EncodeInput, choices: EncodeChoices) -> bytes:
    import pillow_heif

    channels = channels_of(given)
    if given.grey and given.alpha is not None:
        channels = with_rgb_for_alpha(channels)
    mode = "L" if channels.ndim == 2 else {3: "RGB", 4: "RGBA"}[channels.shape[2]]
    if channels.dtype == np.uint16:  # the library takes the upper 10 bits
        channels = (to_bits(channels, 10) << 6).astype("<u2")
        mode += ";16"
    height, width = channels.shape[:2]
    heif = pillow_heif.from_bytes(mode, (width, height), channels.tobytes())
    metadata: dict[str, Any] = {"exif": exif_with_resolution(given), "xmp": given.xmp, "icc_profile": given.icc_profile}
    stream = io.BytesIO()
    meant = next((payload for kind, payload in given.format_specific if kind == _COLOUR), None)
    if meant is not None and given.icc_profile is None:
        metadata |= {"color_primaries": meant[0], "transfer_characteristics": meant[1]}
        metadata["matrix_coefficients"] = _BT2020 if meant[0] == _BT2020 else _BT601
    present = {name: value for name, value in metadata.items() if value is not None}
    heif.save(stream, quality=choices.quality, chroma=int(choices.subsampling.replace(":", "")), **present)
    return stream.getvalue()


FORMAT = Format(
    "HEIF",
    "HEIC",
    (".heic", ".heif", ".hif"),
    recognise=isobmff.is_heif,
    read=_read_heif,
    size=_size,
    find_xmp=_find_xmp,
    check=_check_reading,
    check_writing=_check_writing,
    instead="JPEG",
    requests=("heic", "heif"),
    encode=_encode_heif,
    takes=frozenset({_COLOUR}),
    max_side=65_528,  # coded in whole blocks of 8 below 65,536; strips of 16 pixels and less end at 4,216 on writing
    bits=10,
    alpha=True,
    holds=frozenset({"icc", "exif", "xmp", "dpi"}),
    bytes_per_pixel=0.2,
    encoding_seconds=1.0,
)
