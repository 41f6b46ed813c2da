"""The shell of HEIF and AVIF files: boxes of the ISO base media file format (ISO 14496-12, 23008-12)."""

from __future__ import annotations

_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_HEIF_BRANDS = frozenset({b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"hevm", b"hevs", b"mif1", b"msf1"})


def brands(head: bytes) -> set[bytes]:
    """Return the brands that a file's first bytes name, none when it is no such file."""
    if head[4:8] != b"ftyp":
        return set()
    end = min(len(head), int.from_bytes(head[:4], "big"))
    return {head[8:12], *(head[at : at + 4] for at in range(16, end, 4))}


def is_avif(head: bytes) -> bool:
    """Whether the brands say AVIF."""
    return bool(_AVIF_BRANDS & brands(head))


def is_heif(head: bytes) -> bool:
    """Whether the brands say HEIF, and not AVIF, which is a kind of it."""
    return bool(_HEIF_BRANDS & brands(head)) and not is_avif(head)
