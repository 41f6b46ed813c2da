"""What a result says of how it was made, and what tells the same work from another."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from restorer.imaging.libraries import np
from restorer.models.base import Face
from restorer.photo import Note
from restorer.pipeline.components import Components
from restorer.pipeline.holes import hash_of
from restorer.version import __version__


def note_of(components: Components, input_sha256: str, faces: Sequence[Face] | None = None) -> Note:
    """Return the note that a result carries: what was done, by what, and a fingerprint of input and weights.

    Args:
        components: what makes it.
        input_sha256: of the photo's bytes.
        faces: those that the caller knew; then they are part of the fingerprint.
    """
    chosen = components.options
    named = {
        **chosen.changed(),
        "scale": chosen.scale,
        "detector": chosen.detector,
        "background": chosen.background,
    }
    model = components.model
    facts: dict[str, Any] = {
        "input": input_sha256,
        "options": named,
        "model": model,
        "weights": components.model_hash(),
    }
    if chosen.min_likeness is not None:
        facts["likeness"] = components.likeness_hash()
    if chosen.hole is not None:
        facts["hole"] = hash_of(Path(chosen.hole))
    if faces is not None:
        facts["faces"] = [[*map(float, face.box), *np.ravel(face.landmarks).tolist()] for face in faces]
    digest = hashlib.sha256(json.dumps([__version__, facts], sort_keys=True).encode()).hexdigest()
    return Note(tool="restorer", version=__version__, model=model, options=named, fingerprint=digest)
