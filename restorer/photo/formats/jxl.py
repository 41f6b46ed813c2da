"""JPEG XL, which is read where pillow-jxl-plugin is installed."""

from __future__ import annotations

import importlib
from importlib.util import find_spec
from pathlib import Path

from restorer.errors import MissingSupportError
from restorer.formatting import install_line
from restorer.photo import decoding
from restorer.photo.base import Format
from restorer.photo.builder import PhotoBuilder, take_pillow_info
from restorer.photo.model import Photo

_MARKS = (b"\xff\x0a", b"\x00\x00\x00\x0cJXL \r\n\x87\n")


def _is_there() -> bool:
    return find_spec("pillow_jxl") is not None


def _check(path: Path | str | None) -> None:
    if not _is_there():
        named = path if path is not None else "This picture"
        message = f"{named} is a JPEG XL picture, and pillow-jxl-plugin is not installed."
        raise MissingSupportError(path, message, f"Type: {install_line('pillow-jxl-plugin')}")


def _size(path: Path) -> tuple[int, int] | None:
    if not _is_there():
        return None
    importlib.import_module("pillow_jxl")  # which tells Pillow of the format
    return decoding.size_by_pillow("JXL")(path)


def _read_jxl(data: bytes) -> Photo:
    importlib.import_module("pillow_jxl")
    builder = PhotoBuilder("JXL")
    with decoding.opened(data, "JXL") as image:
        take_pillow_info(builder, image)
        decoded = decoding.from_pillow(image)
    builder.warnings.append("JPEG XL is read with 8 bits a channel; what it holds beyond was rounded.")
    return builder.photo(decoded, oriented=False)  # the decoder has turned the picture


FORMAT = Format(
    "JXL",
    "JPEG XL",
    (".jxl",) if _is_there() else (),  # without the library they are passed over in folders
    recognise=lambda head: head.startswith(_MARKS),
    read=_read_jxl,
    size=_size,
    check=_check,
)
