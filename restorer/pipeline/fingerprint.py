"""What a result says of how it was made, and what tells the same work from another."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from restorer.imaging.libraries import np
from restorer.models.base import Face
from restorer.options import sizes
from restorer.photo import Note, Photo, xmp
from restorer.pipeline import cleaning
from restorer.pipeline.choice import AUTO
from restorer.pipeline.components import Components
from restorer.pipeline.holes import hash_of
from restorer.record import Record
from restorer.version import __version__


def note_of(
    components: Components, input_sha256: str, faces: Sequence[Face] | None = None, record: Record | None = None
) -> Note:
    """Return the note that a result carries: what was done, by what, and a fingerprint of input and weights.

    Args:
        components: what makes it.
        input_sha256: of the photo's bytes.
        faces: those that the caller knew; then they are part of the fingerprint.
        record: of the work, once it is done: what "auto" came to, and the faces; None = before it.
    """
    chosen = components.options
    scale = sizes.known_scale(chosen)
    named = {
        **chosen.changed(),
        **({} if scale is None else {"scale": scale}),
        "detector": chosen.detector,
        "background": chosen.background,
        **({} if chosen.clean is None else {"clean": chosen.clean}),
    }
    model = components.model
    facts: dict[str, Any] = {
        "input": input_sha256,
        "options": named,
        "model": model,
        "weights": components.model_hash(),
    }
    if chosen.min_likeness is not None or chosen.fidelity == "auto":
        facts["likeness"] = components.likeness_hash()
    cleaner = cleaning.table_of(chosen)
    if cleaner is not None:
        facts["clean"] = cleaner.wanted_hash
    if components.references is not None:
        facts["references"], facts["likeness"] = components.references.fingerprint(), components.likeness_hash()
    if chosen.hole is not None:
        facts["hole"] = hash_of(Path(chosen.hole))
    if chosen.damage is not None:
        facts["damage"] = hash_of(Path(chosen.damage), "mask")
    finder = components.finder_table() if chosen.repair == AUTO and chosen.damage is None else None
    if finder is not None:
        facts["finder"] = finder.wanted_hash
    if faces is not None:
        facts["faces"] = [[*map(float, face.box), *np.ravel(face.landmarks).tolist()] for face in faces]
    note = Note("restorer", __version__, model, _digest(facts), named, input=input_sha256)
    del facts["input"]
    note = replace(note, settings=_digest(facts)[:16])
    return note if record is None else _completed(note, record)


def of_a_result(photo: Photo) -> str | None:
    """Return a line about a photo that this tool made itself; None for others."""
    note = xmp.note_of(photo.xmp) if photo.xmp else None
    if note is None:
        return None
    scale = note.options.get("scale")
    how = f"model {note.model}" + (f", --scale {scale:g}" if isinstance(scale, float) else "")
    return f"It is a result of this tool already ({how}); what was invented there is restored once more."


def _digest(facts: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps([__version__, facts], sort_keys=True).encode()).hexdigest()


def _completed(note: Note, record: Record) -> Note:
    """Return a note with what the work came to: names in place of choices, hashes, faces."""
    options = {name: value for name, value in note.options.items() if name not in ("detector", "background")}
    if record.scale is not None:
        options["scale"] = record.scale
    options |= {name: part["name"] for name, part in record.components.items() if name in note.options}
    faces = [face.as_dict() for face in record.faces]
    for face in faces:
        del face["landmarks"]
    return replace(note, options=options, components=record.components, faces=faces)
