"""What is in a picture file? Decoding, metadata, encoding, and all that a photo carries besides its pixels."""

from restorer.photo.base import Format
from restorer.photo.decoding import MAX_PIXELS
from restorer.photo.formats import (
    FORMATS,
    PICTURE_SUFFIXES,
    check_output_size,
    format_requests,
    output_format,
    requested_format,
    substitution,
    suffix_for,
)
from restorer.photo.model import Note, Photo, page_digest, photo_from_array
from restorer.photo.reading import read_note, read_photo
from restorer.photo.sources import Source, open_photo
from restorer.photo.strangers import UNSUPPORTED_SUFFIXES
from restorer.photo.writing import DEFAULT_QUALITY, WriteOptions, write_photo

__all__ = [
    "DEFAULT_QUALITY",
    "FORMATS",
    "MAX_PIXELS",
    "PICTURE_SUFFIXES",
    "UNSUPPORTED_SUFFIXES",
    "Format",
    "Note",
    "Photo",
    "Source",
    "WriteOptions",
    "check_output_size",
    "format_requests",
    "open_photo",
    "output_format",
    "page_digest",
    "photo_from_array",
    "read_note",
    "read_photo",
    "requested_format",
    "substitution",
    "suffix_for",
    "write_photo",
]
