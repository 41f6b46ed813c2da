"""Lists of photos, as `--files-from` takes them: which bytes are names, whatever program wrote the file."""

from __future__ import annotations

import codecs
import os
import re
from pathlib import Path

# The mark of UTF-32 begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF8, None, 1),
    (codecs.BOM_UTF32_LE, "utf-32-le", 4),
    (codecs.BOM_UTF32_BE, "utf-32-be", 4),
    (codecs.BOM_UTF16_LE, "utf-16-le", 2),
    (codecs.BOM_UTF16_BE, "utf-16-be", 2),
)
_SEPARATED = re.compile(r"[\\/]|\.\w{2,}\Z")


def read_list(data: bytes) -> list[Path]:
    """Return the paths of a list, one a line, or separated by NUL bytes (as `find -print0` does); names are literal.

    Lines end as on any system, also each in its own way. UTF-16, which Windows PowerShell redirects into a file, is
    known by its mark; without one, by what could be no list of names otherwise (see `_unmarked`). What does not come in
    pairs of bytes is not UTF-16: there the two bytes of a mark are a name's.
    """
    for mark, encoding, size in _MARKS:
        if data.startswith(mark) and len(data) % size == 0:
            data = data.removeprefix(mark)
            return _lines(data.decode(encoding, "replace")) if encoding else _names(data)
    encoding = _unmarked(data)
    return _lines(data.decode(encoding)) if encoding else _names(data)


def _names(data: bytes) -> list[Path]:
    """Return the names in bytes, which need be text in no encoding."""
    if b"\0" in data:
        names = data.split(b"\0")
    elif b"\n" in data:
        names = [name.removesuffix(b"\r") for name in data.split(b"\n")]
    else:
        names = data.split(b"\r")
    return [Path(os.fsdecode(name)) for name in names if name]


def _lines(text: str) -> list[Path]:
    return [Path(name) for name in re.split(r"\r\n|[\r\n\0]", text) if name]


def _unmarked(data: bytes) -> str | None:
    """Return which UTF-16 a list without a mark is in; None where its NUL bytes separate names, or it has none.

    Read as names, a list in UTF-16 falls into single letters. It is taken for UTF-16 where its text has lines and no
    control codes, or is a single name with folders or a suffix: names of one letter, among them "." or "/", are none.
    """
    if b"\0" not in data or len(data) % 2:
        return None
    for encoding, latin in (("utf-16-le", data[1::2]), ("utf-16-be", data[::2])):
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        lines = re.split(r"\r\n|[\r\n]", text)
        if any(ord(char) < 32 and char != "\t" for line in lines for char in line):
            continue
        if len(lines) > 1 or (not latin.strip(b"\0") and _SEPARATED.search(text)):
            return encoding
    return None
