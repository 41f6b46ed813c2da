"""Single faces that are restored in their own way: `--adjust 2:strength=0.5,model=gpen-512`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from restorer.errors import OptionValueError, UsageError
from restorer.formatting import number

NAMES = ("model", "strength", "fidelity")
"""What may be said of one face, in the order in which it is written."""

_HOW = "Write it as NUMBER:NAME=VALUE, such as 2:strength=0.5 or 3:model=gpen-512,fidelity=0.3."
_PART = re.compile(r"\s*(?:(?P<number>\d{1,5})\s*:)?\s*(?P<name>[a-z]+)\s*=\s*(?P<value>[\w.+-]+)\s*", re.ASCII)


@dataclass(frozen=True)
class Adjustment:
    """How one face is restored; None = as all others.

    Attributes:
        number: of the face, from 1.
        model: the face restorer, the name of a table.
        strength: how much of the restored face is blended in, 0 to 1.
        fidelity: 0 to 1, or "auto", for models that have it.
    """

    number: int
    model: str | None = None
    strength: float | None = None
    fidelity: float | str | None = None

    def said(self) -> dict[str, Any]:
        """Return what is said, by name."""
        return {name: getattr(self, name) for name in NAMES if getattr(self, name) is not None}

    def __str__(self) -> str:
        """Return it as it is typed."""
        values = ((name, f"{value:.10g}" if isinstance(value, float) else value) for name, value in self.said().items())
        return f"{self.number}:{','.join(f'{name}={value}' for name, value in values)}"


def adjustments(texts: Iterable[str]) -> dict[int, Adjustment]:
    """Return what is said of single faces, by their numbers; of what is said twice, the last counts.

    Raises:
        OptionValueError: a text is none of that kind, or a value is out of its range.
    """
    found: dict[int, dict[str, Any]] = {}
    for text in texts:
        face = 0
        for part in text.split(","):
            match = _PART.fullmatch(part)
            face = face if match is None or match["number"] is None else int(match["number"])
            if match is None or not face or match["name"] not in NAMES:
                raise _wrong(f"--adjust {text} is not understood.", _HOW)
            found.setdefault(face, {})[match["name"]] = _value(match["name"], match["value"], text)
    return {face: Adjustment(face, **found[face]) for face in sorted(found)}


def adjustments_as_text(given: Any) -> Any:
    """Return adjustments as texts that are always written alike, one a face; what cannot be any as it came.

    Args:
        given: a text, several, or what is said by number: {2: {"strength": 0.5}}.

    Raises:
        OptionValueError: a text is none of that kind, or a value is out of its range.
    """
    if isinstance(given, Mapping):
        given = [_written(face, said) for face, said in given.items()]
    if isinstance(given, str):
        given = [given]
    if not isinstance(given, (list, tuple)) or not all(isinstance(each, str) for each in given):
        return given
    return tuple(str(each) for each in adjustments(given).values())


def _written(face: object, said: object) -> object:
    """Return what is said of one face as a text; as it came where it is of another type."""
    if not isinstance(said, Mapping):
        return said
    return f"{face}:{','.join(f'{name}={value}' for name, value in said.items())}"


def _value(name: str, text: str, whole: str) -> str | float:
    if name == "model" or (name == "fidelity" and text == "auto"):
        return text
    try:
        value = number(text, f"--adjust {name}")
    except UsageError as error:
        raise _wrong(error.message, error.remedy) from error
    if not 0 <= value <= 1:
        raise _wrong(f"--adjust {whole}: {name} {value:g} is outside its range.", "Use 0 to 1.")
    return float(value)


def _wrong(message: str, remedy: str | None) -> OptionValueError:
    return OptionValueError("adjust", message, remedy)
