"""What a result says of how it was made, and what tells the same work from another."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from restorer.engine.choice import TORCH
from restorer.imaging.libraries import np
from restorer.models.base import Face
from restorer.options import Options, declared, sizes
from restorer.options.adjusting import adjustments
from restorer.photo import Note, Photo, xmp
from restorer.pipeline import cleaning, pointed
from restorer.pipeline.adjusted import table_of
from restorer.pipeline.choice import NONE
from restorer.pipeline.components import Components
from restorer.pipeline.holes import hash_of
from restorer.pipeline.running import meant
from restorer.record import Record
from restorer.version import __version__

_PLACE = "photo"
"""Stands for the hash of the photo in what all photos of a run have in common."""


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
    chosen, model = components.options, components.model
    more: dict[str, Any] = {}
    if (
        chosen.min_likeness is not None
        or chosen.fidelity == "auto"
        or (chosen.variants > 1 and components.recogniser_is_here())
    ):
        more["likeness"] = components.likeness_hash()
    cleaner = cleaning.table_of(chosen)
    if cleaner is not None:
        more["clean"] = cleaner.wanted_hash
    if components.references is not None:
        more["references"], more["likeness"] = components.references.fingerprint(), components.likeness_hash()
    if chosen.face:
        more["detectors"] = pointed.hashes_at_hand(components)
    models = {each.model for each in adjustments(chosen.adjust).values() if each.model is not None}
    if models:
        more["adjusted"] = {name: table_of(name, components.tables).wanted_hash for name in sorted(models)}
    if chosen.hole is not None:
        more["hole"] = hash_of(Path(chosen.hole))
    if chosen.damage is not None:
        more["damage"] = hash_of(Path(chosen.damage), "mask")
    finder = components.finder_table() if chosen.repair != NONE and chosen.damage is None else None
    if finder is not None:
        more["finder"] = finder.wanted_hash
    filler = components.filler_table() if chosen.repair != NONE or chosen.damage is not None else None
    if filler is not None:
        more["filler"] = filler.wanted_hash
    colourer = components.colourer_table()
    if colourer is not None:
        more["colorizer"] = colourer.wanted_hash
    if (engine := meant(components)) != TORCH:
        more["engine"] = engine
    if faces is not None:
        more["faces"] = [[*map(float, face.box), *np.ravel(face.landmarks).tolist()] for face in faces]
    of_run = _of_run(__version__, chosen, model, components.model_hash(), json.dumps(more))
    fingerprint = hashlib.sha256(of_run.of(input_sha256).encode()).hexdigest()
    note = Note("restorer", __version__, model, fingerprint, of_run.named, input=input_sha256)
    note = replace(note, settings=of_run.settings)
    return note if record is None else _completed(note, record)


def of_a_result(photo: Photo) -> str | None:
    """Return a line about a photo that this tool made itself; None for others."""
    note = xmp.note_of(photo.xmp) if photo.xmp else None
    if note is None:
        return None
    scale = note.options.get("scale")
    how = f"model {note.model}" + (f", --scale {scale:g}" if isinstance(scale, float) else "")
    return f"It is a result of this tool already ({how}); what was invented there is restored once more."


@dataclass(frozen=True)
class _OfRun:
    """What the notes of all photos of a run have in common.

    Attributes:
        named: the options.
        text: what the fingerprint is made of, with `_PLACE` where the photo's hash stands.
        settings: a short digest of all but the photo.
    """

    named: dict[str, Any]
    text: str
    settings: str

    def of(self, input_sha256: str) -> str:
        """Return what the fingerprint of a photo is made of; quotes inside of options are escaped, this key's not."""
        return self.text.replace(f'"input": "{_PLACE}"', f'"input": "{input_sha256}"', 1)


@lru_cache(maxsize=64)
def _of_run(version: str, chosen: Options, model: str, weights: str | None, more: str) -> _OfRun:
    """Return what the notes of a run have in common; thousands of finished photos are compared with it.

    Args:
        version: of this tool.
        chosen: the options.
        model: the face restorer.
        weights: its hash.
        more: other facts that decide the result, as JSON.
    """
    scale = sizes.known_scale(chosen)
    named: dict[str, Any] = {
        **chosen.changed(),
        **({} if scale is None else {"scale": scale}),
        "detector": chosen.detector,
        "background": chosen.background,
        **({} if chosen.clean is None else {"clean": chosen.clean}),
    }
    for name in {"hole", "damage"} & set(named):
        named[name] = Path(named[name]).name  # their hashes decide; where they lie is nobody's business
    for name, value in named.items():
        if declared(Options)[name].kind is float and isinstance(value, int):
            named[name] = float(value)  # 2 is 2.0, to whoever compares and in writing
    facts: dict[str, Any] = {"input": _PLACE, "options": named, "model": model, "weights": weights, **json.loads(more)}
    text = _text(version, facts)
    del facts["input"]
    return _OfRun(named, text, hashlib.sha256(_text(version, facts).encode()).hexdigest()[:16])


def _text(version: str, facts: Mapping[str, Any]) -> str:
    return json.dumps([version, facts], sort_keys=True)


def _completed(note: Note, record: Record) -> Note:
    """Return a note with what the work came to: names in place of choices, hashes, faces."""
    options = {name: value for name, value in note.options.items() if name not in ("detector", "background")}
    if record.scale is not None:
        options["scale"] = record.scale
    options |= {name: part["name"] for name, part in record.components.items() if name in note.options}
    faces = [face.as_dict() for face in record.faces]
    for face in faces:
        del face["landmarks"]
    guessed = record.colorize is not None and record.colorize["done"]
    colours = f"guessed by {record.colorize['by']}" if guessed and record.colorize is not None else ""
    return replace(note, options=options, components=record.components, faces=faces, colours=colours)
