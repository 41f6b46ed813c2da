"""Names of files that strangers send: only ever a name, never a place, and nothing that a terminal would obey."""

from __future__ import annotations

import re
import unicodedata

LONGEST = 120
"""Letters of a name that are kept, so that with what is put behind it, it stays a name on any disk."""
_NEVER = re.compile(r'[<>:"|?*\x00-\x1f\x7f-\x9f]')
_RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?")
"""Names that Windows keeps for devices."""


def clean(name: str | None) -> str:
    """Return a name that is safe on any disk and in any listing, as like the given one as can be.

    Folders in front of it are left out, as are signs that steer a terminal or turn the direction of writing; what
    nothing is left of is called "photo".
    """
    last = re.split(r"[/\\]", name or "")[-1]
    visible = "".join(each for each in last if unicodedata.category(each) not in ("Cc", "Cf", "Cs", "Co", "Cn"))
    kept = _NEVER.sub("_", visible).strip().strip(".").strip()
    if _RESERVED.fullmatch(kept):
        kept = f"_{kept}"
    stem, dot, suffix = kept.rpartition(".")
    if len(kept) > LONGEST:
        kept = f"{stem[: LONGEST - len(suffix) - 1]}{dot}{suffix}" if dot and len(suffix) < 10 else kept[:LONGEST]
    return kept or "photo"
