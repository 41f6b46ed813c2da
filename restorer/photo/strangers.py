"""Files that are no readable pictures: what they look like, in words."""

from __future__ import annotations

UNSUPPORTED_SUFFIXES: frozenset[str] = frozenset(
    {".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dcr", ".dng", ".erf", ".fff", ".iiq", ".kdc", ".mef", ".mos", ".mrw"}
    | {".nef", ".nrw", ".orf", ".pef", ".raf", ".raw", ".rw2", ".rwl", ".sr2", ".srf", ".srw", ".x3f"}
    | {".exr", ".hdr", ".jp2", ".j2c", ".j2k", ".jpc", ".jpf", ".jpx", ".jxl", ".jxr", ".wdp", ".psb", ".psd", ".xcf"}
    | {".pbm", ".pgm", ".ppm", ".pnm", ".pam", ".pfm", ".tga", ".pcx", ".dds", ".sgi", ".qoi", ".ico", ".icns", ".svg"}
    | {".bpg", ".flif", ".pict", ".pct", ".emf", ".wmf", ".eps", ".wpg"}
    | {".kra", ".ora", ".clip", ".afphoto", ".pdn", ".psp", ".pspimage", ".sai", ".procreate", ".mng", ".jng", ".apng"}
    | {".ras", ".rgb", ".rgba", ".bw", ".xbm", ".xpm", ".cin", ".dpx", ".fits", ".jls", ".jph", ".heics", ".avifs"}
    | {".gpr", ".nksc", ".cap", ".eip", ".ari", ".bay", ".cine", ".kc2", ".mdc", ".ptx", ".pxn", ".rwz", ".srw"}
)
"""Suffixes of pictures that this tool cannot read (camera raw, layered, rarer kinds), so that a walk can name them."""

DOCUMENT_SUFFIXES = frozenset({".pdf", ".ai", ".indd", ".cdr", ".djvu"})
"""Suffixes of documents that people may expect a picture to be written as, and that are no pictures in a folder."""

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
_NO_PICTURES = frozenset({"a PDF", "a ZIP archive"})


def is_other_picture(head: bytes) -> bool:
    """Return whether a file's first bytes are those of a picture of a kind that is not read."""
    return _is_raw(head) or any(head.startswith(mark) for mark, what in _STRANGERS if what not in _NO_PICTURES)


def _is_raw(head: bytes) -> bool:
    return (head[:4] == b"II*\0" and head[8:10] == b"CR") or head[4:12] == b"ftypcrx "


def describe_stranger(head: bytes) -> str:
    """Say in words what a file that is no readable picture looks like."""
    for signature, words in _STRANGERS:
        if head.startswith(signature):
            return f"it is {words}, which this tool does not read"
    if _is_raw(head):
        return "it is a camera raw file, which this tool does not read"
    if not head.strip(b"\0"):
        return "it holds nothing but zeros"
    if all(byte >= 32 or byte in b"\t\r\n\f" for byte in head) and sum(byte < 128 for byte in head) * 2 > len(head):
        return f"it holds text ({head[:24].decode('utf-8', 'replace').split(chr(10))[0].strip()!r}...)"
    return "its content is that of no picture format this tool knows"
