"""The work on single faces that are restored in their own way, and what the record says of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from restorer.formatting import ranges
from restorer.options import Options
from restorer.options.adjusting import adjustments
from restorer.pipeline.adjusted import options_of

if TYPE_CHECKING:
    from restorer.pipeline.canvas import Detection, Work


def parts(work: Work) -> Iterator[Work]:
    """Yield the work on the faces that one model restores with one fidelity, the run's own first."""
    if not work.options.adjust:
        yield work
        return
    components = work.components
    said, tables = adjustments(work.options.adjust), components.tables
    plain = options_of(work.options, None, tables)
    groups: dict[Options, list[Detection]] = {plain: []}
    for face in work.detections:
        options = options_of(work.options, said.get(work.number_of(face.entry)), tables)
        groups.setdefault(options, []).append(face)
    for options, faces in groups.items():
        if not faces:
            continue
        if options == plain:
            yield replace(work, detections=faces)
            continue
        own = replace(options, adjust=work.options.adjust)
        yield replace(work, options=own, components=components.adjusted(options), detections=faces, wrap=None)


def strength(work: Work, face: Detection) -> float:
    """Return how much of a restored face is blended in."""
    said = adjustments(work.options.adjust).get(work.number_of(face.entry)) if work.options.adjust else None
    return work.options.strength if said is None or said.strength is None else said.strength


def note(work: Work) -> None:
    """Write into the record which faces were restored in their own way, and which were not although that was said."""
    said, faces = adjustments(work.options.adjust), work.record.faces
    beyond = [number for number in said if number > len(faces)]
    if beyond:
        which = f"face{'s' if len(beyond) > 1 else ''} {ranges(beyond)}"
        work.record.warn(f"--adjust speaks of {which}, but {len(faces)} were found.")
    for number, each in said.items():
        if number in beyond:
            continue
        face = faces[number - 1]
        if face.restored:
            face.adjusted = each.said()
        elif not face.wanted:
            work.record.warn(f"--adjust speaks of face {number}, which was left as it is: {face.reason}.")
