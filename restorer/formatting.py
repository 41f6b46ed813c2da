"""Figures as people say them, lines that they can type, and names that they may have meant."""

from __future__ import annotations

import math
import numbers
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from restorer.errors import UsageError

_TRUTHS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


def duration(seconds: float) -> str:
    """Return a duration as people say it: "4 ms", "0.8 s", "12 s", "3 min 20 s", "2 h 5 min"."""
    if seconds < 10:
        return f"{seconds:.1f} s" if seconds >= 0.05 else f"{1000 * seconds:.0f} ms"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def time_range(seconds: float, spread: float) -> str:
    """Return a duration that is not known exactly: "about 12 s", and from half a minute on "40 s to 2 min".

    Args:
        seconds: the most likely one.
        spread: how many times less, or more, it may be.
    """
    low, high = (_rounded(value) for value in (seconds / spread, seconds * spread))
    return f"about {duration(seconds)}" if seconds < 30 or low == high else f"{_plain(low)} to {_plain(high)}"


def _rounded(seconds: float) -> int:
    """Return seconds as people round them: to 5 below two minutes, to minutes, to five and thirty of them."""
    step = 5 if seconds < 120 else 60 if seconds < 1800 else 300 if seconds < 7200 else 1800
    return max(round(seconds / step), 1) * step


def _plain(seconds: int) -> str:
    """Return a rounded duration without what is nothing: "2 min", not "2 min 0 s"."""
    return re.sub(r" 0 (s|min)$", "", duration(seconds))


def seconds(text: str) -> float:
    """Return the seconds of a duration as people write it: "90", "90s", "8m", "1.5h".

    Raises:
        UsageError: it is none, or not above 0.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", text.strip())
    value = float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]] if match else 0.0
    if value <= 0:
        raise UsageError(f"{text!r} is no duration.", "Write it like 90s, 8m or 2h.")
    return value


def install_line(package: str) -> str:
    """Return what to type in any shell to add a package to this very installation: by uv, by pipx or by pip."""
    place = Path(sys.prefix)
    if (place / "pipx_metadata.json").is_file():
        return f"pipx inject {place.name} {package}"
    python = _quoted(sys.executable)
    if (place / "uv-receipt.toml").is_file() or find_spec("pip") is None:
        return f"uv pip install --python {python} {package}"
    return f"{python} -m pip install {package}"


def _quoted(word: str) -> str:
    return command_line([word])


def command_line(words: Sequence[str]) -> str:
    """Return words as they are typed in this system's shell."""
    return subprocess.list2cmdline(words) if os.name == "nt" else shlex.join(words)


def either(words: Sequence[str]) -> str:
    """Return words as a choice: "png, jpg or webp"."""
    *most, last = words
    return f"{', '.join(most)} or {last}" if most else last


def meant_by(value: Any, kind: type) -> Any:
    """Return the number or truth that was meant by a value of another type; None where that cannot be told.

    Args:
        value: "2", "yes", 3.0, ...
        kind: bool, int or float; nothing is another type that texts stand for.
    """
    if kind is bool:
        return _TRUTHS.get(str(value).strip().lower())
    if kind not in (int, float) or isinstance(value, bool) or not isinstance(value, (str, bytes, float)):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return kind(number) if kind is float or number.is_integer() else None


def whole_numbers(given: Any) -> list[int] | None:
    """Return a whole number, or a few, as a list of plain ones: 3, [2, 5], an array; None for anything else."""
    if isinstance(given, (str, bytes, Mapping)) or not isinstance(given, (Iterable, numbers.Integral)):
        return None
    found = list(given) if isinstance(given, Iterable) else [given]
    if not found or not all(isinstance(each, numbers.Integral) and not isinstance(each, bool) for each in found):
        return None
    return [int(each) for each in found]


def numbers_as_text(given: Any) -> Any:
    """Return whole numbers, one or several, as the text that names them: "2,5"; anything else as it came."""
    found = whole_numbers(given)
    return ",".join(map(str, found)) if found else given


def path_as_text(given: Any) -> Any:
    """Return a path as the text that names it; anything else as it came."""
    return os.fspath(given) if isinstance(given, os.PathLike) else given


def fidelity(given: str | float) -> str | float:
    """Return a fidelity as people write it: "0.5", "0,5", "auto".

    Raises:
        UsageError: it is no number.
    """
    return number(given, "--fidelity") if isinstance(given, str) and given != "auto" else given


def jobs(given: str | int) -> str | int:
    """Return a number of photos at once as people write it: "4", "auto".

    Raises:
        UsageError: it is no whole number.
    """
    if not isinstance(given, str) or given == "auto":
        return given
    if not given.strip().isdecimal():
        raise UsageError(f"--jobs {given} is no whole number.", "Use a number such as 4, or auto.")
    return int(given)


def paths_as_texts(given: Any) -> Any:
    """Return paths as a tuple of texts, also a single one; anything else as it came."""
    if isinstance(given, (str, os.PathLike)):
        given = [given]
    return tuple(map(path_as_text, given)) if isinstance(given, (list, tuple)) else given


def scale(given: str | float) -> float:
    """Return a scale as people write it: "2", "2,5", "2x".

    Raises:
        UsageError: it is no number.
    """
    return number(given, "--scale", times=True) if isinstance(given, str) else given


def share_of(text: str) -> float:
    """Return the share that a text means: "0.1%" is 0.001.

    Raises:
        UsageError: it is none, or not above 0 and up to 100 %.
    """
    number = text.strip().removesuffix("%").strip().replace(",", ".")
    try:
        share = float(number) / 100
    except ValueError:
        share = math.nan
    if not 0 < share <= 1:
        raise UsageError(f"--report-sample {text} is no share of a run.", "Write it like 0.1% or 5%.")
    return share


def typed_seconds(text: str) -> float:
    """Return the seconds of a time as it is typed: "90", "90s", "5m".

    Raises:
        UsageError: it is no time.
    """
    try:
        return float(text)
    except ValueError:
        return seconds(text)


def nearest(word: str, names: Iterable[str], cutoff: float = 0.6) -> list[str]:
    """Return the names that may have been meant by a word, the likeliest first; at most three.

    Letters that changed places count as a slip too: "dome" for "demo".
    """
    import difflib

    known = {name.lower(): name for name in names}
    word = word.lower()
    swapped = [name for name in known if len(word) > 2 and sorted(name) == sorted(word)]
    found = dict.fromkeys([*swapped, *difflib.get_close_matches(word, known, n=3, cutoff=cutoff)])
    return [known[name] for name in found][:3]


def number(text: str, flag: str, *, whole: bool = False, times: bool = False) -> float:
    """Return a number as people write it: "2.5", and with the comma that half of Europe writes, "2,5".

    Args:
        text: what was typed.
        flag: the option, for the error.
        whole: whether only whole numbers count; the result is an int then.
        times: whether it may be written as a factor: "2x", "x2", "2 ×".

    Raises:
        UsageError: it is no number, or may be two: 1,000.
    """
    plain = text.strip()
    if times:
        plain = re.sub(r"^[x×*]\s*|\s*[x×*]$", "", plain, flags=re.IGNORECASE)
    if not whole and re.fullmatch(r"[+-]?[1-9]\d{0,2},\d{3}", plain):
        both = f"{plain.replace(',', '')} or {plain.replace(',', '.')}"
        raise UsageError(f"{flag} {text} may be {both}.", "Write a point, not a comma.")
    if not whole and re.fullmatch(r"[+-]?\d*,\d+", plain):
        plain = plain.replace(",", ".")
    try:
        if not plain.isascii():  # digits of other scripts: nobody is sure how they were meant
            raise ValueError
        return int(plain) if whole else float(plain)
    except ValueError:
        what, example = ("whole number", "4") if whole else ("number", "2.5")
        raise UsageError(f"{flag} {text} is no {what}.", f"Write it like {flag} {example}.") from None


def ranges(found: Iterable[int]) -> str:
    """Return whole numbers as people write them down: "3", "2, 5-7"."""
    runs: list[list[int]] = []
    for each in sorted(found):
        if runs and each == runs[-1][-1] + 1:
            runs[-1].append(each)
        else:
            runs.append([each])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def face_numbers(text: str) -> frozenset[int] | None:
    """Return the numbers of a list of faces, "2,5" or "1-3,7"; None where it is none."""
    found: set[int] = set()
    for part in text.replace(" ", "").replace("–", "-").split(","):
        ends = part.split("-")
        if len(ends) > 2 or not all(each.isascii() and each.isdecimal() and len(each) < 6 for each in ends):
            return None
        first, last = int(ends[0]), int(ends[-1])
        if not 0 < first <= last:
            return None
        found.update(range(first, last + 1))
    return frozenset(found)
