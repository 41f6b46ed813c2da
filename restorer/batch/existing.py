"""A result that is there: how it was made, and how that differs from what this run would do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from restorer.batch.outputs import in_the_way
from restorer.options import Options, declared
from restorer.options.sizes import SIZES
from restorer.photo import Note
from restorer.pipeline.provenance import outdoes

if TYPE_CHECKING:
    from restorer.pipeline.components import Components

PARTS = ("model", "detector", "background")
"""What takes part in a result and may be a built-in model."""


@dataclass(frozen=True)
class Difference:
    """What two results of one photo differ in, in words that can be typed where they are options.

    Attributes:
        made: how the one that is there was made.
        asked: what this run asks for.
        options: fields of `Options` that differ.
    """

    made: str
    asked: str
    options: tuple[str, ...] = ()


@dataclass
class Survey:
    """What stands where the results of a run are to be, as their notes tell before any photo is read.

    Attributes:
        done: how many seem to be what this run would make.
        others: how many were made otherwise, by what they differ in.
        builtin: how many a built-in model made, although this run would take a better one.
    """

    done: int = 0
    others: dict[Difference, int] = field(default_factory=dict)
    builtin: int = 0


def difference(found: Note, wanted: Note) -> Difference | None:
    """Return what tells two results apart but for their photo, as their notes tell it; None where nothing does."""
    if not found.version or (found.settings and found.settings == wanted.settings):
        return None  # a journal of an earlier version tells no more than the fingerprint
    made, asked = [], []
    if found.version != wanted.version:
        made.append(f"version {found.version}")
        asked.append(f"version {wanted.version}")
    if found.model != wanted.model:
        made.append(f"--model {found.model}")
        asked.append(f"--model {wanted.model}")
    names = [name for name in {**wanted.options, **found.options} if name not in SIZES]
    told = [(_sized(found), _sized(wanted)), *(((name, _of(found, name)), (name, _of(wanted, name))) for name in names)]
    told = [(one, other) for one, other in told if one != other]
    made += [_typed(*one) for one, _ in told]
    asked += [_typed(*other) for _, other in told]
    if not made and found.settings:
        made.append(f"other weights of {wanted.model}")
        asked.append("those that are here now")
    differing = [*(["model"] if found.model != wanted.model else []), *(name for pair in told for name, _ in pair)]
    return Difference(" ".join(made), " ".join(asked), tuple(dict.fromkeys(differing))) if made else None


def is_outdone(found: Note, wanted: Note, components: Components, size: Callable[[], tuple[int, int] | None]) -> bool:
    """Return whether built-in models had a part in a result for which this run takes better ones, all else equal.

    Args:
        found: the note of the result.
        wanted: that of this run's.
        components: of this run.
        size: asked for (width, height) of the photo where that decides; None where it cannot be told.
    """
    different = difference(found, wanted)
    if different is not None and (found.version != wanted.version or not set(different.options) <= set(PARTS)):
        return False
    parts = found.components or {"model": {"name": found.model}}
    return any(outdoes(components, part, str(parts[part].get("name")), size) for part in PARTS if part in parts)


def _of(note: Note, name: str) -> Any:
    """Return an option of a note; one at its default is not in there, and what was chosen is "auto"."""
    if name in note.components and not note.components[name].get("named", True):
        return "auto"
    option = declared(Options).get(name)
    return note.options.get(name, option.default if option is not None else None)


def _sized(note: Note) -> tuple[str, Any]:
    """Return which option says how large a result is, and its value; what the scale came to then says no more."""
    name = next((name for name in SIZES[1:] if note.options.get(name) is not None), SIZES[0])
    return name, _of(note, name)


def _typed(name: str, value: Any) -> str:
    """Return an option as it is typed."""
    flag = name.replace("_", "-")
    if isinstance(value, bool):
        option = declared(Options).get(name)
        usual = option is not None and option.default == value
        return f"--{flag}" if value else f"--no-{flag}" if not usual else f"without --{flag}"
    if value is None:
        return f"without --{flag}"
    return f"--{flag} {value:g}" if isinstance(value, float) else f"--{flag} {value}"


def settle(target: Path, found: Note | None, wanted: Note) -> Difference | None:
    """Return what a result of the same photo differs in from what this run would make; None where it is done.

    Args:
        target: the file.
        found: its note; None where it has none.
        wanted: the note that the result would have.

    Raises:
        OutputExistsError: it is no result of this photo.
    """
    if found is not None and found.fingerprint == wanted.fingerprint:
        return None
    different = None if found is None else difference(found, wanted)
    if found is None or different is None or found.input not in ("", wanted.input):
        raise in_the_way(target, found, wanted)
    return different
