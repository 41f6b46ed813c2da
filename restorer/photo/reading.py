"""Reading a photo: its format by content, then what the format's own module makes of it."""

from __future__ import annotations

import hashlib
import mmap
import os
import stat
from pathlib import Path

from restorer.errors import NotEnoughMemoryError, UnreadablePhotoError
from restorer.photo import formats, strangers, xmp
from restorer.photo.base import Format
from restorer.photo.damage import DAMAGE, quiet_libraries
from restorer.photo.decoding import UndecodableError
from restorer.photo.model import Note, Photo, origin_of, page_digest

_SMALL = 2**16
"""Bytes of a file that is read as a whole where a small part of it is wanted."""


def read_photo(source: Path | str | bytes, *, page: int | None = None) -> Photo:
    """Read a photo with everything that it carries.

    Args:
        source: a file, or a file's bytes. Content decides what it is; names and suffixes do not.
        page: of a file that holds several, from 1, without thumbnails and masks; None = the first.

    Returns:
        The photo, upright, at its own depth; `Photo.warnings` says what could not be kept.

    Raises:
        UnreadablePhotoError: there is no such file, it is no picture, empty, cut off, or of a kind that is not read.
        NotEnoughMemoryError: it does not fit into memory.
        MissingSupportError: what its format needs is not installed (pi-heif for HEIC).
    """
    path = None if isinstance(source, bytes) else Path(source)
    data = source if isinstance(source, bytes) else _read_file(Path(source))
    named = str(path) if path is not None else "The picture"
    kind = formats.sniff(data[:64])
    if not data:
        raise UnreadablePhotoError(path, f"{named} is empty (0 bytes).", "Copy the file again from where it came.")
    if kind is None:
        reason = strangers.describe_stranger(data[:64])
        remedy = "Give a JPEG, PNG, WebP, TIFF, BMP or HEIC picture; export others as TIFF or PNG first."
        raise UnreadablePhotoError(path, f"{named} cannot be read as a photo: {reason}.", remedy)
    formats.FORMATS[kind].check(path)
    try:
        with quiet_libraries():
            photo = _read(formats.FORMATS[kind], data, page)
    except MemoryError as error:
        message = f"{named} does not fit into memory once it is decoded."
        raise NotEnoughMemoryError(path, message, "Close other programs, or give a smaller copy.") from error
    except Exception as error:  # decoders raise nearly every class on a damaged file; the reason goes into the message
        message = f"{named} cannot be read as {formats.FORMATS[kind].title}: {_reason(error)}."
        anew = "Copy the file again from where it came, or export it anew as PNG or TIFF."
        remedy = getattr(error, "remedy", None) or anew
        raise UnreadablePhotoError(path, message, remedy) from error
    photo.path, photo.sha256 = path, page_digest(hashlib.sha256(data).hexdigest(), page)
    photo.origin = None if path is None else origin_of(path)
    return photo


def _read(format: Format, data: bytes, page: int | None) -> Photo:
    if page is None:
        return format.read(data)
    if format.read_page is not None:
        return format.read_page(data, page)
    if page > 1:
        raise UndecodableError(f"it has no page {page}", "Take a page that it has.")
    return format.read(data)


def _read_file(path: Path) -> bytes:
    try:
        mode = path.stat().st_mode
        if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):  # /dev/zero has no end
            raise UnreadablePhotoError(path, f"{path} is a device, not a photo.", "Give the photos themselves.")
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


def read_note(path: Path | str) -> Note | None:
    """Return the note in the XMP of a file that this tool wrote, without decoding a pixel.

    None when there is no such file, it is no picture, or it has no note of ours.
    """
    try:
        with open(path, "rb", buffering=0, opener=_at_once) as stream:
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                return None
            kind = formats.sniff(stream.read(64))
            return None if kind is None else note_in(stream.fileno(), os.fstat(stream.fileno()).st_size, kind)
    except (OSError, ValueError):
        return None


def _at_once(path: str, flags: int) -> int:
    """Open a file without waiting for whoever writes into it, should it be a pipe."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def note_in(descriptor: int, size: int, kind: str) -> Note | None:
    """Return the note in an open file; None where it has none, or is damaged: then no note says that work is done.

    Args:
        descriptor: of the file.
        size: bytes.
        kind: a key of `FORMATS`.
    """
    if size == 0:
        return None
    try:
        if size <= _SMALL:  # reading it costs less than to map it
            os.lseek(descriptor, 0, os.SEEK_SET)
            packet = formats.FORMATS[kind].find_xmp(os.read(descriptor, size))
        else:
            with mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ) as data, quiet_libraries():
                packet = formats.FORMATS[kind].find_xmp(data)
        return xmp.note_of(packet) if packet else None
    except DAMAGE:
        return None
