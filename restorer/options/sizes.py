"""How large a result is: so many times as large, a long side, megapixels, or what a print on paper takes."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, Protocol

from restorer.errors import OptionValueError, UsageError
from restorer.formatting import number

Size = tuple[int, int]
"""Width and height in pixels."""

SIZES = ("scale", "long_side", "megapixels", "print")
"""Options that say how large a result is; one of them may be given."""

SCALE = 2.0
"""What `scale` is where nothing is said."""
DPI = 300.0
"""Dots per inch of a print, where nothing is said of them; what photo labs print at."""
LEAST_DPI, MOST_DPI = 30.0, 4800.0
LEAST_SIDE, MOST_SIDE = 1.0, 1000.0
"""Centimetres of a paper's side."""
SAME_SHAPE = 0.01
"""By which share of its side a print may be narrower than the paper, and nobody sees it."""

_CENTIMETRES = {"cm": 1.0, "mm": 0.1, "in": 2.54}
_UNITS = {"": "", "inch": "in", "inches": "in", '"': "in", "″": "in"}
_PAPERS = {"a2": (42.0, 59.4), "a3": (29.7, 42.0), "a4": (21.0, 29.7), "a5": (14.8, 21.0), "a6": (10.5, 14.8)}
_NUMBER = r"([0-9]+(?:[.,][0-9]+)?)"
_SIDES = re.compile(
    rf"{_NUMBER}\s*(cm|mm|in(?:ch(?:es)?)?|[\"″])?\s*[x×*]\s*{_NUMBER}\s*(cm|mm|in(?:ch(?:es)?)?|[\"″])?"
)
_DOTS = re.compile(rf"{_NUMBER}\s*(?:dpi|ppi)?")
_HOW = "Write it like 20x30cm, 8x12in@240 or A4; without @ it is 300 dots per inch."


class Sized(Protocol):
    """The fields of `restorer.options.Options` that say how large a result is."""

    @property
    def scale(self) -> float: ...
    @property
    def long_side(self) -> int | None: ...
    @property
    def megapixels(self) -> float | None: ...
    @property
    def print(self) -> str | None: ...


@dataclass(frozen=True)
class Paper:
    """What a photo is printed on.

    Attributes:
        sides: in `unit`, as they were written.
        unit: "cm", "mm" or "in".
        dpi: dots per inch.
    """

    sides: tuple[float, float]
    unit: str
    dpi: float

    @classmethod
    def read(cls, text: str) -> Paper:
        """Return what was written as "20x30cm@300", "8x12in" or "A4@240".

        Raises:
            OptionValueError: it is no paper, or none that anybody prints on.
        """
        paper, _, dots = (part.strip().lower() for part in text.partition("@"))
        found, density = _SIDES.fullmatch(paper), _DOTS.fullmatch(dots) if "@" in text else None
        if (paper not in _PAPERS and found is None) or ("@" in text and density is None):
            raise _wrong(f"{text} is not understood")
        if found is None:
            sides, unit = _PAPERS[paper], "cm"
        else:
            units = {_UNITS.get(each or "", each or "") for each in (found[2], found[4])} - {""}
            if len(units) != 1:
                raise _wrong(f"{text} {'has two units' if units else 'has no unit'}")
            sides, unit = (_value(found[1]), _value(found[3])), units.pop()
        made = cls(sides, unit, DPI if density is None else _value(density[1]))
        if not all(LEAST_SIDE <= side <= MOST_SIDE for side in made.centimetres):
            raise _wrong(f"{text} is outside its range", f"Sides are {LEAST_SIDE:g} to {MOST_SIDE:g} cm long.")
        if not LEAST_DPI <= made.dpi <= MOST_DPI:
            raise _wrong(f"{text} is outside its range", f"Use {LEAST_DPI:g} to {MOST_DPI:g} dots per inch.")
        return made

    @property
    def centimetres(self) -> tuple[float, float]:
        """Both sides."""
        return self.sides[0] * _CENTIMETRES[self.unit], self.sides[1] * _CENTIMETRES[self.unit]

    def __str__(self) -> str:
        return f"{self.sides[0]:g}x{self.sides[1]:g}{self.unit}@{self.dpi:g}"

    def lying_as(self, size: Size) -> Paper:
        """Return the paper turned as a photo is; for a square photo as it was written."""
        wide, high = self.sides
        turns = (size[0] - size[1]) * (wide - high) < 0
        return Paper((high, wide), self.unit, self.dpi) if turns else self

    def inches(self) -> tuple[float, float]:
        """Return both sides in inches."""
        wide, high = self.centimetres
        return wide / 2.54, high / 2.54


def _value(text: str) -> float:
    return float(text.replace(",", "."))


def _wrong(what: str, advice: str = _HOW) -> OptionValueError:
    return OptionValueError("print", f"--print {what}.", advice)


def paper_as_text(given: Any) -> Any:
    """Return a paper as it is always written, so that one paper is one text; what is no text as it came."""
    return str(Paper.read(given)) if isinstance(given, str) else given


def typed_pixels(given: str | int) -> int:
    """Return the pixels of a long side as they are typed: "3000", "3000px"; raises `UsageError`."""
    if not isinstance(given, str):
        return given
    plain = re.sub(r"\s*px$", "", given.strip(), flags=re.IGNORECASE)
    return int(number(plain, "--long-side", whole=True))


def typed_megapixels(given: str | float) -> float:
    """Return megapixels as they are typed: "24", "24MP"; raises `UsageError`."""
    if not isinstance(given, str):
        return given
    return number(re.sub(r"\s*mp$", "", given.strip(), flags=re.IGNORECASE), "--megapixels")


# ---------------------------------------------------------------------------------------------- what they come to


def in_force(options: Sized) -> str:
    """Return which of `SIZES` says how large a result is."""
    return next((name for name in SIZES[1:] if getattr(options, name) is not None), SIZES[0])


def check(options: Sized) -> None:
    """Refuse two options that say how large a result is.

    Raises:
        UsageError: there are two.
    """
    given = [name for name in SIZES[1:] if getattr(options, name) is not None]
    given += ["scale"] if options.scale != SCALE else []
    if len(given) > 1:
        raise both(*given[:2])


def both(first: str, second: str) -> UsageError:
    """Return the error about two options that say how large a result is."""
    one, other = (f"--{name.replace('_', '-')}" for name in sorted((first, second), key=SIZES.index))
    return UsageError(f"{one} and {other} both say how large the result is.", "Leave one of them out.")


def scale_of(options: Sized, size: Size) -> float:
    """Return how many times larger a photo becomes; with any option but `scale` no photo becomes smaller."""
    return options.scale if in_force(options) == SIZES[0] else max(_asked(options, size), 1.0)


def known_scale(options: Sized) -> float | None:
    """Return the scale of every photo; None where each has its own."""
    return options.scale if in_force(options) == SIZES[0] else None


def result_size(options: Sized, size: Size) -> Size:
    """Return (width, height) of the result for a photo of `size`, of the same shape; at least one pixel."""
    scale = scale_of(options, size)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def dpi_of(options: Sized, size: Size) -> float | None:
    """Return the dots per inch that bring a result onto its paper; None where nothing is said of a print.

    Args:
        options: of the run.
        size: (width, height) of the photo.
    """
    if options.print is None:
        return None
    paper = Paper.read(options.print).lying_as(size)
    if _asked(options, size) >= 1:
        return paper.dpi
    wide, high = paper.inches()
    return max(size[0] / wide, size[1] / high)


def remarks(options: Sized, size: Size) -> list[str]:
    """Return what is to be said of a result's size: that a photo is larger already, or not of its paper's shape.

    Args:
        options: of the run.
        size: (width, height) of the photo.
    """
    name = in_force(options)
    if name == SIZES[0]:
        return []
    lines, scale = [], _asked(options, size)
    value = getattr(options, name)
    typed = (
        f"--{name.replace('_', '-')} {value:g}" if isinstance(value, float) else f"--{name.replace('_', '-')} {value}"
    )
    if math.floor(max(size) * scale + 0.5) < max(size):
        kept = f"The photo is larger than {typed} asks for, and keeps its size"
        dpi = dpi_of(options, size)
        lines.append(f"{kept}: {dpi:.0f} dots per inch." if dpi else f"{kept}; --scale {scale:.3g} makes it smaller.")
    if options.print is not None:
        lines += _other_shape(Paper.read(options.print).lying_as(size), size)
    return lines


def _other_shape(paper: Paper, size: Size) -> list[str]:
    """Return a line about a photo that does not fill its paper; none where it does."""
    across, down = paper.sides[0] / size[0], paper.sides[1] / size[1]
    factor = min(across, down)
    wide, high = size[0] * factor, size[1] * factor
    if max(across, down) * (1 - SAME_SHAPE) <= factor:
        return []
    sheet, print_ = (f"{a:.3g} x {b:.3g} {paper.unit}" for a, b in (paper.sides, (wide, high)))
    return [f"The photo has another shape than paper of {sheet}: whole, it is {print_} there; nothing was cut off."]


def _asked(options: Sized, size: Size) -> float:
    """Return the scale that an option other than `scale` comes to; below 1 for a photo that is larger already."""
    width, height = size
    if options.long_side is not None:
        return options.long_side / max(size)
    if options.megapixels is not None:
        return math.sqrt(options.megapixels * 1e6 / (width * height))
    paper = Paper.read(str(options.print)).lying_as(size)
    wide, high = (max(1, round(side * paper.dpi)) for side in paper.inches())
    return min(wide / width, high / height)
