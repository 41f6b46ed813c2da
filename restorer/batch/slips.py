"""Which file may have been meant by a name that names none."""

from __future__ import annotations

import os
from pathlib import Path

from restorer.formatting import nearest

MOST = 5000
"""Names of a folder that are compared letter by letter; of more only those that differ in case or suffix are seen."""


def meant(path: Path) -> Path | None:
    """Return the path that may have been meant by one that does not exist: the nearest name in each folder of it."""
    place, changed = Path(path.anchor), False
    for part in path.relative_to(path.anchor).parts:
        if os.path.lexists(place / part):
            place /= part
            continue
        try:
            names = sorted(each.name for each in place.iterdir())
        except OSError:  # a file, or a folder that may not be read
            return None
        found = _nearest(part, [name for name in names if not name.startswith(".")])
        if found is None:
            return None
        place, changed = place / found, True
    return place if changed else None


def _nearest(name: str, names: list[str]) -> str | None:
    """Return the name of a folder that is nearest to another one; None where none is near."""
    for same in (lambda each: each.lower(), lambda each: Path(each).stem.lower()):
        alike = [each for each in names if same(each) == same(name)]
        if alike:
            return alike[0]
    stems = {Path(each).stem: each for each in reversed(names[:MOST])}
    near = nearest(name, names[:MOST], 0.7) or [stems[each] for each in nearest(Path(name).stem, stems, 0.8)]
    return near[0] if near else None
