"""Files that are no readable pictures: what they look like, in words."""

from __future__ import annotations

UNSUPPORTED_SUFFIXES: frozenset[str] = frozenset(
    {".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dng", ".erf", ".exr", ".iiq", ".jp2", ".j2k", ".jpf", ".jxl", ".mrw"}
    | {".nef", ".nrw", ".orf", ".pef", ".psb", ".psd", ".raf", ".rw2", ".srw", ".xcf"}
)
"""Suffixes of pictures that this tool cannot read (camera raw, layered, rarer kinds), so that a walk can name them."""

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
